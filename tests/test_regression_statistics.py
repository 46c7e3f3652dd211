"""How well a network predicts a number: loops, scikit-learn, fitted lines, and people as the unit of the intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from heatproof import statistics
from heatproof.statistics.regression import regression_scores
from heatproof.statistics.resampling import draw_counts, interval

FEW = {"seed": 1, "n_bootstrap": 60}
METRICS = ["r2", "mean_absolute_error", "bias", "slope"]


def numbers(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What was measured, in ms, and an estimate that shrinks, is biased and noisy."""
    random = np.random.default_rng(seed)
    measured = random.normal(160, 20, n)
    return measured, 160 + 0.8 * (measured - 160) + 3 + random.normal(0, 6, n)


def predictions(n_people: int = 30, scans_each: int = 1, model: str = "pr") -> pd.DataFrame:
    measured, estimate = numbers(n_people)
    people = [f"p{number:02d}" for number in range(n_people)]
    frame = pd.DataFrame({
        "model": model, "recipe": "corrected", "fold": np.arange(n_people) % 2, "seed": 1, "participant_id": people,
        "scan_id": people, "diagnosis": "recording", "part": "test", "target": 0, "predicted": 0, "output": model,
        "measured": measured, "estimate": estimate,
    })  # fmt: skip
    return pd.concat([frame] * scans_each, ignore_index=True)


def by_loops(measured: list[float], estimate: list[float]) -> dict[str, float]:
    """The four numbers from their definitions, scan by scan."""
    n = len(measured)
    centre, middle = sum(measured) / n, sum(estimate) / n
    squared = spread = shared = absolute = signed = 0.0
    for true, said in zip(measured, estimate, strict=True):
        squared += (said - true) ** 2
        spread += (true - centre) ** 2
        shared += (true - centre) * (said - middle)
        absolute += abs(said - true)
        signed += said - true
    return dict(zip(METRICS, (1 - squared / spread, absolute / n, signed / n, shared / spread), strict=True))


def test_numbers_are_those_of_their_definitions_and_of_scikit_learn() -> None:
    from scipy.stats import linregress
    from sklearn.metrics import mean_absolute_error, r2_score

    measured, estimate = numbers()
    found = regression_scores(measured, estimate, np.ones((1, 40)))
    assert list(found) == METRICS
    for name, value in by_loops(measured.tolist(), estimate.tolist()).items():
        assert found[name] == pytest.approx([value]), name
    assert found["r2"][0] == pytest.approx(r2_score(measured, estimate))
    assert found["mean_absolute_error"][0] == pytest.approx(mean_absolute_error(measured, estimate))
    assert found["slope"][0] == pytest.approx(linregress(measured, estimate).slope)


def test_a_weight_is_a_scan_that_stands_there_so_often() -> None:
    from sklearn.metrics import r2_score

    measured, estimate = numbers()
    weights = np.random.default_rng(2).integers(0, 4, (5, 40)).astype(float)
    found = regression_scores(measured, estimate, weights)
    for row, counts in enumerate(weights):
        chosen = np.repeat(np.arange(40), counts.astype(int))
        for name, value in by_loops(measured[chosen].tolist(), estimate[chosen].tolist()).items():
            assert found[name][row] == pytest.approx(value), name
        assert found["r2"][row] == pytest.approx(r2_score(measured, estimate, sample_weight=counts))


def test_limiting_cases() -> None:
    measured, estimate = numbers()
    one = np.ones((1, 40))
    right = regression_scores(measured, measured, one)
    assert {name: value[0] for name, value in right.items()} == pytest.approx(
        {"r2": 1, "mean_absolute_error": 0, "bias": 0, "slope": 1}
    )
    mean = regression_scores(measured, np.full(40, measured.mean()), one)
    assert (mean["r2"][0], mean["slope"][0]) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))
    assert regression_scores(measured, estimate + 100, one)["r2"][0] < 0
    shifted = regression_scores(measured, measured - 7, one)
    assert (shifted["bias"][0], shifted["mean_absolute_error"][0]) == (pytest.approx(-7), pytest.approx(7))
    # Another unit changes what is in the unit, and nothing else.
    here, there = (regression_scores(unit * measured, unit * estimate, one) for unit in (1, 1e-3))
    for name, factor in zip(METRICS, (1, 1e-3, 1e-3, 1), strict=True):
        assert there[name] == pytest.approx(factor * here[name], rel=1e-6)


def test_measurements_that_do_not_vary_have_errors_and_no_share_of_variance() -> None:
    measured, estimate = numbers()
    weights = np.zeros((2, 40))
    weights[0, 3] = 5
    weights[1] = 1
    found = regression_scores(measured, estimate, weights)
    assert np.isnan([found["r2"][0], found["slope"][0]]).all()
    assert found["mean_absolute_error"][0] == pytest.approx(abs(estimate[3] - measured[3]))
    assert np.isfinite([found[name][1] for name in METRICS]).all()
    for same in (0.0, 0.1, 160.3):
        flat = regression_scores(np.full(40, same), estimate, weights[1:])
        assert np.isnan(flat["r2"][0]) and np.isnan(flat["slope"][0])


class TestPerformance:
    def test_rows_are_those_of_the_test_scans_with_intervals_over_people(self) -> None:
        frame = predictions()
        table = statistics.performance(frame, **FEW).query("fold == -1").set_index("metric")
        assert list(table.index) == METRICS
        expected = by_loops(frame["measured"].tolist(), frame["estimate"].tolist())
        assert table["value"].to_dict() == pytest.approx(expected)
        drawn: dict[str, list[float]] = {name: [] for name in METRICS}
        for counts in draw_counts(1, 30, 60):
            chosen = frame.iloc[np.repeat(np.arange(30), counts.astype(int))]
            for name, value in by_loops(chosen["measured"].tolist(), chosen["estimate"].tolist()).items():
                drawn[name].append(value)
        for name, values in drawn.items():
            low, high = interval(np.array(values)[:, None], 30)
            assert tuple(table.loc[name, ["low", "high"]]) == pytest.approx((low[0], high[0])), name

    def test_people_not_scans_are_resampled(self) -> None:
        once, thrice = (statistics.performance(predictions(scans_each=n), **FEW).query("fold == -1") for n in (1, 3))
        assert thrice["n_scans"].unique().tolist() == [90] and thrice["n_people"].unique().tolist() == [30]
        columns = ["value", "low", "high"]
        np.testing.assert_allclose(thrice[columns], once[columns], rtol=1e-9)

    def test_every_run_has_its_rows_and_training_scans_have_none(self) -> None:
        frame = predictions()
        learned = frame.assign(part="train", estimate=frame["measured"])
        table = statistics.performance(pd.concat([frame, learned]), **FEW)
        assert set(table["part"]) == {"test"}
        for fold in (0, 1):
            own = frame[frame["fold"] == fold]
            value = table.query(f"fold == {fold} and metric == 'r2'")["value"]
            assert value.tolist() == pytest.approx([by_loops(own["measured"].tolist(), own["estimate"].tolist())["r2"]])

    def test_networks_of_numbers_and_of_classes_stand_in_one_table(self) -> None:
        random = np.random.default_rng(4)
        patient = np.arange(30) % 2
        probability = np.clip(patient + random.normal(0, 0.4, 30), 0.01, 0.99)
        classes = predictions(model="wang_b").drop(columns=["output", "measured", "estimate"]).assign(
            target=patient, predicted=(probability > 0.5).astype(int), probability_0=1 - probability,
            probability_1=probability,
        )  # fmt: skip
        table = statistics.performance(pd.concat([predictions(), classes], ignore_index=True), **FEW)
        assert set(table.loc[table["model"] == "pr", "metric"]) == set(METRICS)
        own = table[table["model"] == "wang_b"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, statistics.performance(classes, **FEW))
        assert set(METRICS).isdisjoint(own["metric"]) and {"balanced_accuracy", "auc"} <= set(own["metric"])

    def test_few_people_have_no_interval(self) -> None:
        table = statistics.performance(predictions(n_people=4), **FEW)
        assert table["value"].notna().any() and table[["low", "high"]].isna().all(axis=None)
