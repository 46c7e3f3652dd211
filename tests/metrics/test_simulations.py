"""Scores of a simulated change: what a perfect, a blind and a wrong simulator get."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from heatproof.cohorts.deformations import exponential, identity, jacobian_determinant, scaling
from heatproof.metrics.simulations import (
    answers,
    correlation,
    dose_tau,
    folded_share,
    leakage,
    relative_error,
    roughness,
    share_inside,
)

SHAPE = (24, 20)
MASK = np.zeros(SHAPE, bool)
MASK[2:-2, 2:-2] = True


def noise(seed: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, *SHAPE))


def disc(row: float, column: float, radius: float = 4) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


EFFECT, NUISANCE = disc(7, 7), disc(16, 13)


def test_correlation_is_pearsons_over_all_channels_inside_the_mask():
    found, exact = noise(1, 3), noise(2, 3)
    exact[:, ~MASK] = 1e6
    expected = np.corrcoef(found[:, MASK].ravel(), exact[:, MASK].ravel())[0, 1]
    assert correlation(found, exact, MASK) == pytest.approx(expected)
    assert correlation(3 * exact + 1, exact, MASK) == pytest.approx(1)
    assert correlation(-exact, exact, MASK) == pytest.approx(-1)


def test_a_scan_left_as_it_is_correlates_with_nothing_and_no_exact_change_is_no_question():
    assert correlation(np.zeros((1, *SHAPE)), noise(1), MASK) == 0
    assert math.isnan(correlation(noise(1), np.zeros((1, *SHAPE)), MASK))


def test_leads_are_places_of_their_own():
    mask = np.stack([MASK, np.zeros_like(MASK)])
    found, exact = noise(1, 2), noise(2, 2)
    assert correlation(found, exact, mask) == pytest.approx(np.corrcoef(found[0, MASK], exact[0, MASK])[0, 1])


def test_leakage_is_what_lies_in_the_nuisance_whatever_its_sign():
    right = np.where(EFFECT, -2.0, 0.0)[None]
    assert leakage(right, EFFECT, NUISANCE) == 0
    assert leakage(right + np.where(NUISANCE, 5.0, 0.0), EFFECT, NUISANCE) == pytest.approx(5 / 7)
    assert leakage(right + np.where(EFFECT | NUISANCE, 0, 9.0), EFFECT, NUISANCE) == 0, "the rest is nobody's"


def test_a_change_of_nothing_leaks_like_a_blind_one():
    blind = leakage(np.ones((1, *SHAPE)), EFFECT, NUISANCE)
    assert leakage(np.zeros((1, *SHAPE)), EFFECT, NUISANCE) == blind == NUISANCE.sum() / (EFFECT | NUISANCE).sum()
    assert math.isnan(leakage(noise(1), EFFECT, np.zeros(SHAPE, bool)))


@pytest.mark.parametrize("option", [1, -1])
def test_a_shrunken_blob_is_a_loss_inside_at_injection_and_a_grown_one_a_gain_at_removal(option):
    centre = (7.0, 7.0)
    near = np.exp(-(((identity(SHAPE) - np.reshape(centre, (2, 1, 1))) / 3) ** 2).sum(axis=0))
    field = exponential(scaling(SHAPE, 0.7 if option > 0 else 1 / 0.7, centre) * near)
    moved = -np.log(jacobian_determinant(field))
    assert option * moved[7, 7] < -0.1, "loss is negative"
    share, chance = share_inside(moved, EFFECT, MASK, option)
    assert share > 0.95
    assert chance == pytest.approx((EFFECT & MASK).sum() / MASK.sum())
    wrong_way, _ = share_inside(moved, EFFECT, MASK, -option)
    assert wrong_way < 0.5


def test_tissue_that_stays_scores_chance_and_without_an_effect_nothing_is_asked():
    share, chance = share_inside(np.zeros(SHAPE), EFFECT, MASK, 1)
    assert share == chance
    assert all(map(math.isnan, share_inside(np.zeros(SHAPE), np.zeros(SHAPE, bool), MASK, 1)))


def test_folds_are_counted_inside_the_mask():
    flipped = np.zeros((2, *SHAPE))
    flipped[0, :, :10] = -2 * np.arange(SHAPE[0])[:, None]
    folds = jacobian_determinant(flipped) <= 0
    assert folds.any() and folded_share(flipped, MASK) == pytest.approx(folds[MASK].mean())
    assert folded_share(np.zeros((2, *SHAPE)), MASK) == 0
    line = np.zeros((1, 30))
    line[0, 10:20] = -2 * np.arange(10)
    assert folded_share(line, np.ones(30, bool)) > 0.2


def test_roughness_is_the_length_of_the_gradient():
    rows, columns = np.indices(SHAPE).astype(float)
    assert roughness(np.stack([0.3 * rows, 0.4 * rows]), MASK) == pytest.approx(0.5)
    assert roughness(np.stack([np.ones(SHAPE), np.ones(SHAPE)]), MASK) == 0
    assert roughness(0.2 * columns[:1, :], np.ones(SHAPE[1], bool)) == pytest.approx(0.2)


def test_an_error_is_measured_in_deviations_of_the_scan():
    scan = noise(3)
    assert relative_error(scan, scan, MASK) == 0
    assert relative_error(scan + 0.5, scan, MASK) == pytest.approx(0.5 / scan[:, MASK].std())
    assert math.isnan(relative_error(scan, np.ones_like(scan), MASK))


def test_the_dose_orders_the_answers():
    assert dose_tau((0.25, 0.5, 1), (1, 2, 9)) == 1
    assert dose_tau((0.25, 0.5, 1), (3, 2, 1)) == -1
    values = [0.1, 0.5, 0.5, 0.3]
    assert dose_tau((0.25, 0.5, 0.75, 1), values) == pytest.approx(kendalltau((1, 2, 3, 4), values).statistic)
    assert dose_tau((0.5, 1), (2, 2)) == 0
    assert math.isnan(dose_tau((1.0,), (2.0,)))


@pytest.mark.parametrize(
    ("before", "after", "option", "shift", "moved", "flipped"),
    [
        (-2.0, 3.0, 1, 2.5, 1, 1),
        (-2.0, -1.0, 1, 0.5, 1, 0),
        (-2.0, -3.0, 1, -0.5, 0, 0),
        (2.0, -3.0, -1, 2.5, 1, 1),
        (-2.0, -3.0, -0.5, 0.5, 1, math.nan),  # a patient whom the network takes for a control
    ],
)
def test_answers_are_judged_by_where_they_were_sent(before, after, option, shift, moved, flipped):
    found = answers(before, after, option, deviation=2.0)
    assert found == pytest.approx({"shift": shift, "moved": moved, "flipped": flipped}, nan_ok=True)


def test_a_number_has_no_sides():
    assert math.isnan(answers(-1.0, 2.0, 1, 1.0, has_sides=False)["flipped"])
