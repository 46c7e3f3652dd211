"""How far a probe orders the methods as the truth does, against SciPy on means taken by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from heatproof.statistics import truth_agreement
from heatproof.statistics.faithfulness import EXACT_TRUTH
from heatproof.statistics.resampling import draw_counts, interval
from heatproof.statistics.truth_agreement import TRUTH_AGREEMENT_COLUMNS, spearman_rho
from probe_tables import METHODS, persons, probe_rows, score_rows

CONTROLS = ("random_noise", "edges")
FEW = {"seed": 1, "n_bootstrap": 200}
ORIGIN = {"model": "qt", "metric": "perturbation", "setting": "published 25"}


def values(seed: int, n_scans: int, noise: float = 1.5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: place + random.normal(scale=noise, size=n_scans) for place, name in enumerate(METHODS)}


def scored(truth: dict[str, np.ndarray], people: list[str], **origin: object) -> pd.DataFrame:
    return score_rows(
        truth, people, **{"metric": "average_precision", "truth": "counterfactual", "model": "qt", **origin}
    )


def means_of(table: dict[str, np.ndarray], people: list[str], names=METHODS) -> np.ndarray:
    """Mean over people of the mean over each person's scans, method by method."""
    who = sorted(set(people))
    return np.array([
        np.mean([np.mean([value for value, owner in zip(table[name], people, strict=True) if owner == person])
                 for person in who])
        for name in names
    ])  # fmt: skip


@pytest.mark.parametrize(("metric", "sign"), [("perturbation", 1), ("turbe_bottom", -1)])
def test_agreement_is_that_of_the_means_over_people_oriented_by_the_metric(metric, sign):
    people = persons(18, scans_each=2)
    probed, truth = values(1, 18, 6.0), values(2, 18, 6.0)
    (row,) = truth_agreement(
        probe_rows(probed, people, **{**ORIGIN, "metric": metric}), scored(truth, people), **FEW
    ).to_dict("records")  # fmt: skip
    trained = [name for name in METHODS if name not in CONTROLS]
    for suffix, names in (("", METHODS), ("_methods", trained)):
        pair = sign * means_of(probed, people, names), means_of(truth, people, names)
        assert row[f"rho{suffix}"] == pytest.approx(spearmanr(*pair).statistic)
        assert row[f"tau{suffix}"] == pytest.approx(kendalltau(*pair).statistic)
    scans = [[[table[name][scan] for name in METHODS] for table in (probed, truth)] for scan in range(18)]
    within = [sign * spearmanr(*pair).statistic for pair in scans]
    assert row["rho_scans"] == pytest.approx(np.mean(within))
    assert (row["n_methods"], row["n_controls"], row["n_scans"], row["n_people"]) == (5, 2, 18, 9)
    assert (row["model"], row["truth"], row["truth_metric"]) == ("qt", "counterfactual", "average_precision")


def test_the_interval_is_that_of_the_same_people_drawn_for_both():
    people = persons(30)
    probed, truth = values(3, 30, 9.0), values(4, 30)
    row = truth_agreement(probe_rows(probed, people, **ORIGIN), scored(truth, people), **FEW).iloc[0]
    drawn = []
    for counts in draw_counts(1, 30, 200):
        chosen = np.repeat(np.arange(30), counts.astype(int))
        pair = [[table[name][chosen].mean() for name in METHODS] for table in (probed, truth)]
        drawn.append(spearmanr(*pair).statistic)
    low, high = interval(np.array(drawn)[:, None], 30)
    assert (row["rho_low"], row["rho_high"]) == (pytest.approx(low[0]), pytest.approx(high[0]))
    assert row["rho_low"] < row["rho"] <= row["rho_high"]


def test_the_same_order_is_one_the_reverse_minus_one_and_few_people_have_no_interval():
    people = persons(4)
    truth = {name: place + np.zeros(4) for place, name in enumerate(METHODS)}
    for probed, expected in ((truth, 1), ({name: -column for name, column in truth.items()}, -1)):
        row = truth_agreement(probe_rows(probed, people, **ORIGIN), scored(truth, people), **FEW).iloc[0]
        for name in ("rho", "tau", "rho_methods", "tau_methods", "rho_scans"):
            assert row[name] == pytest.approx(expected) and np.isnan(row[f"{name}_low"]), name


def test_only_scans_and_methods_that_both_have_count():
    people = persons(12)
    probed, truth = values(5, 12), values(6, 12)
    probes = probe_rows(probed, people, **ORIGIN)
    # Excluded for all methods, unknown to the truth, and a method that was not scored.
    probes.loc[probes["scan_id"] == "scan-03", "value"] = np.nan
    scores = scored(truth, people)
    scores = scores[(scores["scan_id"] != "scan-07") & (scores["method"] != "edges")]
    row = truth_agreement(probes, scores, **FEW).iloc[0]
    kept, names = [scan for scan in range(12) if scan not in (3, 7)], [name for name in METHODS if name != "edges"]
    pair = [[table[name][kept].mean() for name in names] for table in (probed, truth)]
    assert row["rho"] == pytest.approx(spearmanr(*pair).statistic)
    assert (row["n_scans"], row["n_methods"]) == (10, 4)


def test_every_target_and_setting_has_its_own_row_and_other_truths_none():
    people = persons(8)
    truth = values(1, 8)
    tables, scores = [], []
    for seed, model in enumerate(("pr", "qt")):
        scores += [scored(truth, people, model=model), scored(truth, people, model=model, metric="auroc"),
                   scored(truth, people, model=model).assign(truth="meta_analysis"),
                   scored(values(9, 8), people, model=model, smoothing_mm=8.0)]  # fmt: skip
        for setting in ("published 25", "corrected mean 1 %"):
            tables.append(probe_rows(values(seed + 10, 8), people, **{**ORIGIN, "model": model, "setting": setting}))
    table = truth_agreement(pd.concat(tables), pd.concat(scores), **FEW)
    assert list(table.columns) == list(TRUTH_AGREEMENT_COLUMNS)
    assert sorted(zip(table["model"], table["setting"], strict=True)) == [
        (model, setting) for model in ("pr", "qt") for setting in ("corrected mean 1 %", "published 25")
    ]
    assert set(table["truth"]) == {"counterfactual"}
    assert truth_agreement(pd.concat(tables), scores[1], **FEW).empty, "no score by this metric"
    nothing = pd.concat(tables).iloc[:0]
    assert list(truth_agreement(nothing, scores[0], **FEW).columns) == list(TRUTH_AGREEMENT_COLUMNS)


def test_the_truth_as_a_map_and_the_nulls_are_a_sanity_check():
    people = persons(6)
    truth = {name: place + np.zeros(6) for place, name in enumerate(METHODS)}
    own = probe_rows(truth, people, **ORIGIN)
    exact = probe_rows({EXACT_TRUTH: np.full(6, 2.5)}, people, **ORIGIN)
    nulls = probe_rows({"saliency": np.full(6, -1.0), "lrp": np.full(6, 4.0), "gradcam": np.full(6, 0.0)}, people,
                       null="turned", **ORIGIN)  # fmt: skip
    row = truth_agreement(pd.concat([own, exact, nulls]), scored(truth, people), **FEW).iloc[0]
    # Two methods (of places 3 and 4) stand above 2.5; saliency and gradcam above their own nulls.
    assert row["exact_rank"] == 3 and row["nulls_beaten"] == pytest.approx(2 / 3)
    row = truth_agreement(own, scored(truth, people), **FEW).iloc[0]
    assert np.isnan(row["exact_rank"]) and np.isnan(row["nulls_beaten"])


def test_rho_equals_scipy_with_ties_and_says_nothing_where_all_are_tied():
    random = np.random.default_rng(0)
    one, two = random.integers(0, 4, (20, 7)) + 0.0, random.integers(0, 4, (20, 7)) + 0.0
    one[3], two[4, 2] = 1.0, np.nan
    found = spearman_rho(one, two)
    assert np.isnan(found[[3, 4]]).all()
    for draw in sorted(set(range(20)) - {3, 4}):
        assert found[draw] == pytest.approx(spearmanr(one[draw], two[draw]).statistic)
    third = np.array([[0.1 + 0.2, 0.3, 0.5]])
    assert spearman_rho(third, np.array([[1.0, 2.0, 3.0]]))[0] == pytest.approx(np.sqrt(3) / 2), (
        "equal but for rounding"
    )
