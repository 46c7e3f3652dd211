"""Metrics judged themselves: alpha against published examples and a coincidence matrix, tau against SciPy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from heatproof import statistics
from heatproof.statistics.krippendorff import krippendorff_alpha, weighted_alpha
from heatproof.statistics.meta_evaluation import AGREEMENT_COLUMNS, RELIABILITY_COLUMNS, kendall_tau
from heatproof.statistics.resampling import draw_counts
from probe_tables import METHODS, persons, probe_rows, score_rows

NAN = np.nan
FEW = {"seed": 1, "n_bootstrap": 200}
# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example D: four observers, twelve units.
FOUR_OBSERVERS = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
])  # fmt: skip
# The example of three coders in the encyclopaedia article on the coefficient.
THREE_CODERS = np.array([
    [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
    [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
    [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
])  # fmt: skip


def slow_alpha(values: np.ndarray, level: str) -> float:
    """Alpha by the definition: the coincidence matrix and the distance of every two categories."""
    units = [column[~np.isnan(column)] for column in values.T]
    units = [unit for unit in units if len(unit) > 1]
    categories = sorted({value for unit in units for value in unit})
    index = {category: position for position, category in enumerate(categories)}
    coincidences = np.zeros((len(categories), len(categories)))
    for unit in units:
        for one, two in permutations(unit, 2):
            coincidences[index[one], index[two]] += 1 / (len(unit) - 1)
    totals = coincidences.sum(axis=1)
    n, observed, expected = totals.sum(), 0.0, 0.0
    for c in range(len(categories)):
        for k in range(len(categories)):
            if level == "interval":
                distance = (categories[c] - categories[k]) ** 2
            else:
                low, high = min(c, k), max(c, k)
                distance = (totals[low : high + 1].sum() - (totals[c] + totals[k]) / 2) ** 2
            observed += coincidences[c, k] * distance / n
            expected += totals[c] * totals[k] * distance / (n * (n - 1))
    return 1 - observed / expected


# Krippendorff's alpha


@pytest.mark.parametrize(
    ("table", "level", "published"),
    [(FOUR_OBSERVERS, "ordinal", 0.815), (FOUR_OBSERVERS, "interval", 0.849), (THREE_CODERS, "interval", 0.811)],
)
def test_alpha_equals_the_published_examples(table, level, published):
    assert krippendorff_alpha(table, level) == pytest.approx(published, abs=5e-4)
    assert slow_alpha(table, level) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("level", ["ordinal", "interval"])
def test_alpha_equals_the_coincidence_matrix(level):
    rng = np.random.default_rng(0)
    for case in range(20):
        values = rng.integers(0, 5, (4, 7)) + rng.integers(0, 3, 7)
        values = values.astype(float)
        if case % 2:
            values[rng.random(values.shape) < 0.3] = NAN
        assert krippendorff_alpha(values, level) == pytest.approx(slow_alpha(values, level), abs=1e-10)
    ranks = np.argsort(rng.normal(size=(6, 9)), axis=1) + 1.0
    assert krippendorff_alpha(ranks, level) == pytest.approx(slow_alpha(ranks, level), abs=1e-10)


def test_alpha_of_full_agreement_is_one_of_chance_zero_and_of_nothing_none():
    rng = np.random.default_rng(1)
    item = rng.normal(size=30)
    for level in ("ordinal", "interval"):
        assert krippendorff_alpha(np.tile(item, (5, 1)), level) == pytest.approx(1)
        assert krippendorff_alpha(rng.normal(size=(40, 60)), level) == pytest.approx(0, abs=0.02)
        assert krippendorff_alpha(np.array([item, -item]), level) < -0.9
        assert np.isnan(krippendorff_alpha(np.full((3, 4), 0.1), level))
        assert np.isnan(krippendorff_alpha(np.array([[1.0, NAN], [NAN, 2.0]]), level))
        assert np.isnan(krippendorff_alpha(np.full((2, 2), NAN), level))
    with pytest.raises(ValueError, match="nominal"):
        krippendorff_alpha(np.ones((2, 2)), "nominal")


def test_only_the_order_counts_for_ordinal_alpha():
    values = np.random.default_rng(2).integers(1, 6, (4, 12)).astype(float)
    assert krippendorff_alpha(np.exp(values)) == pytest.approx(krippendorff_alpha(values))
    assert krippendorff_alpha(np.exp(values), "interval") != pytest.approx(
        krippendorff_alpha(values, "interval"), abs=0.01
    )
    assert krippendorff_alpha(3 - 2 * values, "interval") == pytest.approx(krippendorff_alpha(values, "interval"))


@pytest.mark.parametrize("level", ["ordinal", "interval"])
@pytest.mark.parametrize("kind", ["ties", "ranks", "missing"])
def test_a_rater_drawn_twice_is_not_compared_with_himself(level, kind):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 4, (6, 8)).astype(float)
    if kind == "ranks":
        values = np.argsort(rng.normal(size=(6, 8)), axis=1) + 1.0
    if kind == "missing":
        values[rng.random(values.shape) < 0.3] = NAN
    weights = draw_counts(1, 6, 40)
    found = weighted_alpha(values, weights, level)
    for row, counts in zip(found, weights.astype(int), strict=True):
        drawn = np.repeat(np.arange(6), counts)
        pool = [
            (drawn_rater, item) for item in range(8) for drawn_rater in drawn if not np.isnan(values[drawn_rater, item])
        ]
        paired = {item for item in range(8) if len({rater for rater, unit in pool if unit == item}) > 1}
        rated = np.array([values[rater, item] for rater, item in pool if item in paired])
        scale = {v: v if level == "interval" else (rated < v).sum() + (rated == v).sum() / 2 for v in rated}
        observed, total = 0.0, len(rated)
        for item in paired:
            own = [rater for rater, unit in pool if unit == item]
            gaps = [(scale[values[a, item]] - scale[values[b, item]]) ** 2 for a in own for b in own if a != b]
            observed += len(own) * np.mean(gaps) / total
        cells = [(rater, item) for rater, item in pool if item in paired]
        gaps = [(scale[values[one]] - scale[values[two]]) ** 2 for one in cells for two in cells if one != two]
        assert row == pytest.approx(1 - observed / np.mean(gaps), abs=1e-9)


def test_bootstrap_of_alpha_is_not_lifted_by_repeated_raters():
    values = np.random.default_rng(4).normal(size=(12, 30))
    drawn = weighted_alpha(values, draw_counts(1, 12, 2000), "interval")
    # Copies that were compared with themselves would lift the mean by about 1 / 12.
    assert drawn.mean() == pytest.approx(krippendorff_alpha(values, "interval"), abs=0.015)


# Kendall's tau


def test_tau_equals_scipy_with_ties_and_leaves_out_what_only_one_has_judged():
    from scipy.stats import kendalltau

    rng = np.random.default_rng(5)
    values = rng.normal(size=(130, 4, 9))
    values[:, 1] = values[:, 1].round()
    values[:, 2, :3] = NAN
    values[:, 3] = 0.25
    tau = kendall_tau(values)
    for draw in (0, 1, 64, 129):
        for one in range(3):
            for two in range(3):
                known = np.isfinite(values[draw, one]) & np.isfinite(values[draw, two])
                expected = kendalltau(values[draw, one, known], values[draw, two, known])[0]
                assert tau[draw, one, two] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(tau[:, 3]).all()


def test_equal_means_are_tied_though_rounding_tells_them_apart():
    values = np.array([[[0.1 + 0.2, 0.3, 0.9], [1.0, 2.0, 3.0]]])
    assert kendall_tau(values)[0, 0, 1] == pytest.approx(2 / np.sqrt(2 * 3))


def judged(n: int = 60, noise: float = 0.05) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probes and scores in which the methods' merits are known: METHODS from the best to the worst."""
    rng = np.random.default_rng(6)
    merit = dict(zip(METHODS, (0.9, 0.7, 0.5, 0.1, 0.2), strict=True))
    people = persons(n, 2)

    def drawn(direction: float) -> dict[str, np.ndarray]:
        return {method: direction * value + noise * rng.normal(size=n) for method, value in merit.items()}

    probes = pd.concat([
        probe_rows(drawn(1), people, metric="aic"),
        probe_rows(drawn(-1), people, metric="infidelity", setting="gaussian"),
        probe_rows({m: rng.normal(size=n) for m in merit}, people, metric="sic", setting="blind"),
        probe_rows({"exact_truth": np.ones(n)}, people, metric="aic"),
        probe_rows(drawn(-1), people, metric="aic", null="turned"),
    ])  # fmt: skip
    return probes, score_rows(drawn(1), people, metric="dice_at_size")


def test_metrics_that_see_the_same_merit_agree_whatever_their_direction():
    probes, scores = judged()
    table = statistics.metric_agreement(probes, scores, **FEW)
    assert list(table.columns) == list(AGREEMENT_COLUMNS) and len(table) == 6
    pairs = table.set_index(["metric_a", "metric_b"])
    same = pairs.loc[("aic", "dice_at_size")]
    assert same["tau"] == same["tau_methods"] == 1 and same["low"] > 0.7 and same["is_truth"]
    assert same[["n_methods", "n_scans", "n_people"]].tolist() == [5, 60, 30]
    # The name of the metric says that less is better.
    assert pairs.loc[("aic", "infidelity"), "tau"] == 1 and not pairs.loc[("aic", "infidelity"), "is_truth"]
    blind = pairs.loc[("aic", "sic")]
    assert blind["low"] < 0 < blind["high"]


def test_agreement_equals_a_loop_over_the_same_bootstrap_samples():
    from scipy.stats import kendalltau

    from heatproof.statistics.resampling import interval

    probes, scores = judged(24, noise=0.6)
    # One scan is lost for one metric and so for all its methods.
    lost = (probes["metric"] == "aic") & (probes["scan_id"] == "scan-03") & (probes["method"] == "lrp")
    probes["value"] = probes["value"].mask(lost)
    row = statistics.metric_agreement(probes, scores, **FEW)
    row = row[(row["metric_a"] == "aic") & (row["metric_b"] == "dice_at_size")].iloc[0]
    own = probes[(probes["metric"] == "aic") & (probes["null"] == "") & (probes["method"] != "exact_truth")]
    tables = []
    for part in (own[own["scan_id"] != "scan-03"], scores):
        wide = part.pivot(index=["participant_id", "scan_id"], columns="method", values="value")
        tables.append(wide.groupby("participant_id").mean()[list(METHODS)].sort_index())
    assert row["tau"] == pytest.approx(kendalltau(*[table.mean() for table in tables])[0])
    trained = list(METHODS[:3])
    assert row["tau_methods"] == pytest.approx(kendalltau(*[table[trained].mean() for table in tables])[0])
    assert row["n_scans"] == 23 and row["n_people"] == 12
    draws = {"tau": [], "tau_methods": []}
    for counts in draw_counts(1, 12, 200).astype(int):
        sample = [table.iloc[np.repeat(np.arange(12), counts)].mean() for table in tables]
        draws["tau"].append(kendalltau(*sample)[0])
        draws["tau_methods"].append(kendalltau(*[mean[trained] for mean in sample])[0])
    for name, bounds in (("tau", ("low", "high")), ("tau_methods", ("tau_methods_low", "tau_methods_high"))):
        low, high = interval(np.array(draws[name])[:, None], 12)
        assert row[list(bounds)].tolist() == pytest.approx([low[0], high[0]], abs=1e-6)


def test_only_probed_scans_against_their_own_truth_take_part():
    probes, scores = judged(20)
    more = score_rows({method: np.full(40, 0.5) for method in METHODS}, persons(40), metric="dice_at_size")
    unprobed = more[more["scan_id"].isin([f"scan-{i:02d}" for i in range(20, 40)])]
    others = [unprobed, scores.assign(truth="meta_analysis"), scores.assign(smoothing_mm=8.0),
              scores.assign(metric="edge_share"), scores.assign(model="other")]  # fmt: skip
    expected = statistics.metric_agreement(probes, scores, **FEW)
    pd.testing.assert_frame_equal(statistics.metric_agreement(probes, pd.concat([scores, *others]), **FEW), expected)


def test_a_method_that_one_metric_lacks_is_not_compared_there():
    probes, scores = judged(20)
    probes = probes[(probes["metric"] != "infidelity") | ~probes["method"].isin(["edges", "lrp"])]
    table = statistics.metric_agreement(probes, scores, **FEW).set_index(["metric_a", "metric_b"])
    assert table.loc[("aic", "infidelity"), "n_methods"] == 3 and table.loc[("aic", "dice_at_size"), "n_methods"] == 5


# Reliability


def test_reliability_tells_a_steady_metric_from_a_blind_one():
    probes, scores = judged(noise=0.15)
    table = statistics.metric_reliability(probes, scores, **FEW)
    assert list(table.columns) == list(RELIABILITY_COLUMNS)
    rows = table.set_index("metric")
    assert rows["is_truth"].to_dict() == {"aic": False, "infidelity": False, "sic": False, "dice_at_size": True}
    for name in ("alpha_ordinal", "alpha_interval", "alpha_methods"):
        assert rows.loc["aic", f"{name}_low"] < rows.loc["aic", name] < rows.loc["aic", f"{name}_high"]
        assert rows.loc["aic", f"{name}_low"] > 0.4
        assert rows.loc["sic", f"{name}_low"] < 0 < rows.loc["sic", f"{name}_high"] < 0.2
    assert (rows[["n_methods", "n_raters", "n_scans", "n_people"]] == [5, 60, 60, 30]).all(axis=None)


def test_reliability_is_alpha_of_ranks_and_values_with_scans_as_raters():
    from scipy.stats import rankdata

    probes, scores = judged(16, noise=0.5)
    row = statistics.metric_reliability(probes, scores, **FEW).set_index("metric").loc["dice_at_size"]
    wide = scores.pivot(index="scan_id", columns="method", values="value")
    ranks = rankdata(wide.to_numpy(), axis=1)
    assert row["alpha_ordinal"] == pytest.approx(slow_alpha(ranks, "ordinal"))
    assert row["alpha_interval"] == pytest.approx(slow_alpha(wide.to_numpy(), "interval"))
    trained = rankdata(wide[list(METHODS[:3])].to_numpy(), axis=1)
    assert row["alpha_methods"] == pytest.approx(slow_alpha(trained, "ordinal"))


def test_several_seeds_of_a_scan_are_several_raters_of_one_person():
    probes, scores = judged(16)
    twice = [pd.concat([table, table.assign(seed=2)]) for table in (probes, scores)]
    row = statistics.metric_reliability(*twice, **FEW).set_index("metric").loc["aic"]
    assert row[["n_raters", "n_scans", "n_people"]].tolist() == [32, 16, 8]


def test_without_probes_or_truths_the_tables_are_empty_or_shorter():
    probes, scores = judged(8)
    for function, columns in (
        (statistics.metric_agreement, AGREEMENT_COLUMNS),
        (statistics.metric_reliability, RELIABILITY_COLUMNS),
    ):
        assert list(function(pd.DataFrame(), scores, **FEW).columns) == list(columns)
        assert not function(probes, scores.iloc[:0], **FEW)["is_truth"].any()
    lone = probes.assign(participant_id="only")
    row = statistics.metric_agreement(lone, scores.iloc[:0], **FEW).iloc[0]
    assert np.isfinite(row["tau"]) and np.isnan([row["low"], row["high"]]).all()
