"""The certificate of a network that measures: each number against loops and fitted regressions, and the bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from heatproof.statistics.certificate import COLUMNS, Measurements, certificate, empty_certificate


def measurements(
    n: int = 200, slope: float = 1.0, leak: float = 0.0, noise: float = 1.0, scans_each: int = 1, **more: Any
) -> Measurements:
    """Return estimates = 5 + slope own + leak other + noise, of an output with deviation 10 and another with 2."""
    random = np.random.default_rng(3)
    own = random.normal(160, 10, n)
    other = 70 + 0.1 * (own - 160) + random.normal(0, 2, n)
    estimates = own.mean() * (1 - slope) + slope * own + leak * (other - 70) + random.normal(0, noise, n)
    people = np.repeat(np.arange(n // scans_each), scans_each).astype(str)
    return Measurements("pr", "ms", estimates, own, people, 10.0, {"rate": other}, {"rate": 2.0}, **more)


def values(test: Measurements) -> dict[str, Any]:
    return certificate(test, seed=1).set_index("check").to_dict("index")


def test_real_scans_have_the_slopes_of_a_fitted_regression() -> None:
    import statsmodels.api as sm

    test = measurements(slope=0.8, leak=0.6)
    found = values(test)
    residual = test.estimates - test.measured
    simple = sm.OLS(test.estimates, sm.add_constant(test.measured)).fit().params
    both = sm.OLS(test.estimates, sm.add_constant(np.stack([test.measured, test.others["rate"]], 1))).fit().params
    assert found["slope"]["value"] == pytest.approx(simple[1])
    assert found["leakage:rate"]["value"] == pytest.approx(both[2] * 2 / 10)
    assert found["mae"]["value"] == pytest.approx(np.abs(residual).mean())
    spread = ((test.measured - test.measured.mean()) ** 2).sum()
    assert found["r2"]["value"] == pytest.approx(1 - (residual**2).sum() / spread)
    assert "sensitivity:rate" not in found


def test_a_correlate_is_no_leak() -> None:
    # The other output goes along with the own one, but the estimate looks at the own one only.
    assert abs(values(measurements(noise=0.1))["leakage:rate"]["value"]) < 0.01


def test_simulated_scans_have_the_mean_response_of_those_that_were_asked() -> None:
    own, other = np.full(200, np.nan), np.full(200, np.nan)
    own[:4], other[:4] = [0.9, 1.0, 1.1, 1.2], [0.3, -0.3, 0.3, -0.1]
    found = values(measurements(responses={"pr": own, "rate": other}))
    assert (found["slope"]["value"], found["slope"]["n"]) == (pytest.approx(1.05), 4)
    assert found["leakage:rate"]["value"] == pytest.approx(0.05 * 2 / 10)
    assert found["sensitivity:rate"]["value"] == pytest.approx(0.25 * 2 / 10)
    assert found["r2"]["n"] == 200


def test_the_slope_without_extrapolation_stands_beside_the_one_that_counts() -> None:
    own = np.where(np.arange(200) < 50, 0.5, 1.0)
    found = values(measurements(responses={"pr": own}, within=np.arange(200) >= 50))
    assert found["slope"]["value"] == pytest.approx(0.875)
    assert found["slope"]["passes"] == "false"
    assert (found["slope_within"]["value"], found["slope_within"]["n"]) == (pytest.approx(1.0), 150)
    assert found["slope_within"]["passes"] == ""


def test_an_output_that_the_simulator_cannot_change_is_left_out() -> None:
    assert list(values(measurements(responses={"pr": np.ones(200)}))) == ["r2", "mae", "slope"]


def test_intervals_are_those_of_drawing_people_with_all_their_scans() -> None:
    test = measurements(n=120, scans_each=3, noise=4.0)
    found = values(test)["mae"]
    error = np.abs(test.estimates - test.measured).reshape(40, 3).mean(axis=1)
    random = np.random.default_rng(0)
    draws = [error[random.integers(0, 40, 40)].mean() for _ in range(4000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found["ci_high"] - found["ci_low"] == pytest.approx(high - low, rel=0.1)
    assert (found["ci_low"] + found["ci_high"]) / 2 == pytest.approx((low + high) / 2, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({}, set()),
        ({"noise": 4.0}, {"r2"}),
        ({"slope": 0.87}, {"slope"}),
        ({"slope": 1.13}, {"slope"}),
        ({"leak": 0.35}, {"leakage:rate"}),
        ({"leak": -0.35}, {"leakage:rate"}),
    ],
)
def test_a_value_beyond_its_bar_does_not_pass(changes: dict[str, float], failing: set[str]) -> None:
    found = values(measurements(**changes))
    assert {check for check, row in found.items() if row["passes"] == "false"} == failing
    assert {check for check, row in found.items() if row["passes"] == ""} == {"mae"}
    assert (found["slope"]["least"], found["slope"]["most"]) == (0.9, 1.1)
    assert (found["r2"]["least"], found["leakage:rate"]["most"]) == (0.95, 0.05)


def test_what_cannot_be_known_does_not_pass() -> None:
    flat = measurements(n=20)
    flat = Measurements(**{**vars(flat), "others": {"rate": np.full(20, np.nan)}, "measured": np.full(20, 160.0)})
    found = values(flat)
    assert {found[check]["passes"] for check in ("r2", "slope", "leakage:rate")} == {"false"}
    assert found["leakage:rate"]["n"] == 0


def test_few_people_have_no_interval_and_a_classifier_has_no_rows() -> None:
    assert np.isnan(values(measurements(n=4))["slope"]["ci_low"])
    assert list(empty_certificate().columns) == list(COLUMNS)
    assert empty_certificate().empty
