"""Areas of an electrocardiogram: every sample belongs to one wave or segment of its lead."""

from __future__ import annotations

import numpy as np
import pytest

from heatproof.cohorts.waves import WAVES, wave_label, wave_labels, wave_names
from heatproof.errors import IntakeError


def slow_label(marked, sample):
    """Name one sample from the marks around it, by asking every wave in turn."""
    inside = [(onset, wave) for wave, onset, offset in marked if onset <= sample <= offset]
    if inside:
        return max(inside)[1]
    before = max(((offset, wave) for wave, _, offset in marked if offset < sample), default=(None, ""))[1]
    after = min(((onset, wave) for wave, onset, _ in marked if onset > sample), default=(None, ""))[1]
    return {"pqrs": "pq", "qrst": "st"}.get(before + after, "tp")


def test_labels_count_waves_within_leads_and_have_the_names_of_both():
    names = wave_names(["I", "II", "V5"])
    assert WAVES == ("p", "pq", "qrs", "st", "t", "tp")
    assert list(names) == list(range(1, 19))
    assert (names[1], names[7], names[15], names[18]) == ("I p", "II p", "V5 qrs", "V5 tp")
    assert all(names[wave_label(lead, wave)].endswith(f" {wave}") for lead in range(3) for wave in WAVES)


def test_segments_lie_between_the_waves_that_bound_them():
    beat = [("p", 2, 4), ("qrs", 7, 9), ("t", 12, 14)]
    waves = [WAVES[label - 7] for label in wave_labels([[], beat], 17)[1]]
    assert waves == ["tp", "tp", "p", "p", "p", "pq", "pq", "qrs", "qrs", "qrs", "st", "st", "t", "t", "t", "tp", "tp"]
    assert (wave_labels([[], beat], 17)[0] == 6).all()


@pytest.mark.parametrize("seed", range(30))
def test_labels_agree_with_a_slow_reader_of_the_marks(seed):
    random = np.random.default_rng(seed)
    marked, leads = [], 3
    for _ in range(leads):
        position, waves = random.uniform(-40, 10), []
        while position < 130:
            for wave in ("p", "qrs", "t"):
                length = random.uniform(2, 9)
                if random.random() < 0.8:  # readers leave waves out
                    waves.append((wave, position, position + length))
                position += length + random.uniform(0.1, 6)
        marked.append([waves[index] for index in random.permutation(len(waves))])
    labels = wave_labels(marked, 120)
    assert labels.shape == (leads, 120)
    for lead in range(leads):
        for sample in range(120):
            assert labels[lead, sample] == wave_label(lead, slow_label(marked[lead], sample)), (lead, sample)


def test_where_two_waves_overlap_the_later_one_is_right():
    row = wave_labels([[("p", 5, 9), ("t", 0, 6)]], 12)[0]
    assert [WAVES[label - 1] for label in row] == ["t"] * 5 + ["p"] * 5 + ["tp"] * 2


def test_waves_may_reach_out_of_the_record_and_lie_beyond_it():
    row = wave_labels([[("t", -30, -20), ("p", -9, -3), ("qrs", 2, 40), ("t", 50, 60)]], 6)[0]
    assert [WAVES[label - 1] for label in row] == ["pq", "pq", "qrs", "qrs", "qrs", "qrs"]


@pytest.mark.parametrize("bound", [("u", 1, 2), ("pq", 1, 2), ("p", 3, 2), ("t", float("nan"), 2)])
def test_marks_that_mean_nothing_are_refused_with_their_lead(bound):
    with pytest.raises(IntakeError, match="lead 2.*Remedy"):
        wave_labels([[], [bound]], 10)
