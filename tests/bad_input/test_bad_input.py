"""Every bad input is refused by its gate, in words that help, and docs/bad-input.md tells them as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bad_input import Trial
from bad_input.answers import AcceptedError, answer
from bad_input.page import GROUPS, page

ROOT = Path(__file__).resolve().parents[2]
TRIALS = [pytest.param(trial, id=f"{title}: {trial.wrong}") for title, trials in GROUPS.items() for trial in trials]


@pytest.mark.parametrize("trial", TRIALS)
def test_a_bad_input_is_refused_and_the_user_told_where_and_what_to_do(trial: Trial) -> None:
    said = answer(trial)
    assert said.message and said.remedy
    assert said.file or said.field


def test_the_page_tells_what_the_gates_say() -> None:
    assert (ROOT / "docs/bad-input.md").read_text(encoding="utf-8") == page()


def test_no_two_bad_inputs_are_called_alike() -> None:
    for trials in GROUPS.values():
        names = [trial.wrong for trial in trials]
        assert len(set(names)) == len(names)


def test_an_input_that_is_let_through_or_ends_in_a_traceback_is_noticed() -> None:
    with pytest.raises(AcceptedError, match="accepted: a good one"):
        answer(Trial("a good one", lambda folder: None))
    with pytest.raises(ZeroDivisionError):
        answer(Trial("a crash", lambda folder: 1 / 0))
