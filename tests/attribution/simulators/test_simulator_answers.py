"""The answer of a network: log-odds of a class, or the number itself."""

from __future__ import annotations

import pytest
import torch

from heatproof.attribution.simulators.answers import answer_of
from heatproof.errors import ConfigError


def test_the_answer_of_two_classes_is_the_difference_of_their_logits():
    logits = torch.tensor([[1.0, 3.5], [2.0, -1.0]])
    torch.testing.assert_close(answer_of(logits, 1), torch.tensor([2.5, -3.0]))
    torch.testing.assert_close(answer_of(logits, 0), torch.tensor([-2.5, 3.0]))
    torch.testing.assert_close(answer_of(logits, torch.tensor([1, 0])), torch.tensor([2.5, 3.0]))


@pytest.mark.parametrize("target", [0, 1, 2])
def test_the_answer_of_more_classes_is_the_log_odds_of_the_class(target: int):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probability = logits.softmax(1)[:, target]
    torch.testing.assert_close(answer_of(logits, target), (probability / (1 - probability)).log())


def test_a_number_and_a_single_logit_are_answered_as_they_are():
    numbers = torch.tensor([[3.0], [-1.0]])
    assert answer_of(numbers, None, "value").tolist() == answer_of(numbers).tolist() == [3.0, -1.0]
    with pytest.raises(ConfigError, match="class, value"):
        answer_of(numbers, None, "number")


def test_half_precision_is_left_for_the_answer():
    assert answer_of(torch.ones(1, 2, dtype=torch.bfloat16), 1).dtype == torch.float32
