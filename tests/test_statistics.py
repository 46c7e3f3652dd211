from __future__ import annotations

import math
import tracemalloc
from itertools import product

import numpy as np
import pandas as pd
import pytest

from heatproof import statistics
from heatproof.metrics import METRICS
from heatproof.metrics.probes import PROBES
from heatproof.statistics.conditions import CONTROLS, SMALLER_IS_BETTER, conditions
from heatproof.statistics.location import LOCATION_METRICS
from heatproof.statistics.performance import scores_of, weighted_auc
from heatproof.statistics.resampling import (
    bootstrap_means,
    draw_counts,
    family_permutations,
    holm,
    interval,
    sign_flip_test,
    t_interval,
    t_test,
)
from heatproof.statistics.stability import DOUBLES, kendall_w, mean_tau

FEW = {"seed": 1, "n_bootstrap": 500}


def scan_scores(values: dict[str, np.ndarray], people: list[str], **extra) -> pd.DataFrame:
    """A score table of one condition: `values[method]` per scan."""
    base = {"study": "s", "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, "level": "scan",
            "population": "scan", "rectify": "abs_before", "truth": "injected", "smoothing_mm": 0.0,
            "metric": "auroc", "diagnosis": "AD", "chance": 0.5, **extra}  # fmt: skip
    return pd.DataFrame([
        {**base, "method": method, "scan_id": f"scan-{i}", "participant_id": people[i], "value": value}
        for method, column in values.items() for i, value in enumerate(column)
    ])  # fmt: skip


# Resampling


def test_every_bootstrap_sample_draws_as_many_people_as_there_are():
    counts = draw_counts(3, 17, 200)
    assert (counts.sum(axis=1) == 17).all() and counts.min() == 0
    assert counts.mean() == pytest.approx(1)


def test_bootstrap_means_equal_a_loop_and_skip_missing_values():
    values = np.array([[1.0, 2], [3, np.nan], [5, 8]])
    counts = draw_counts(5, 3, 50)
    drawn = bootstrap_means(values, 5, 50)
    for row, times in zip(drawn, counts.astype(int), strict=True):
        sample = np.repeat(values, times, axis=0)
        assert row[0] == pytest.approx(sample[:, 0].mean())
        rest = sample[~np.isnan(sample[:, 1]), 1]
        assert (rest.size == 0 and math.isnan(row[1])) or row[1] == pytest.approx(rest.mean())


@pytest.mark.parametrize("n_people", [8, 25])
def test_intervals_cover_the_truth_in_95_of_100_studies(n_people):
    rng = np.random.default_rng(0)
    # Each column is a study of its own, drawn on the same bootstrap counts.
    studies = rng.normal(loc=2.0, size=(n_people, 2000))
    low, high = interval(bootstrap_means(studies, 11, 1000), n_people)
    assert 0.93 <= ((low <= 2) & (high >= 2)).mean() <= 0.97


def test_one_person_has_no_interval():
    assert np.isnan(interval(np.ones((100, 2)), 1)).all()


def test_sign_flips_are_exact_for_few_people():
    differences = np.array([[0.3, -0.1], [0.5, 0.2], [0.1, -0.4], [0.9, 0.1]])
    slow = []
    for column in differences.T:
        sums = [abs(np.dot(signs, column)) for signs in product((1, -1), repeat=4)]
        slow.append(np.mean(np.array(sums) >= abs(column.sum()) - 1e-12))
    np.testing.assert_allclose(sign_flip_test(differences, 1, 1000), slow)
    assert slow[0] == 2 / 16


def test_random_sign_flips_are_calibrated_and_never_zero():
    rng = np.random.default_rng(1)
    p_values = sign_flip_test(rng.normal(size=(40, 1500)), 2, 999)
    assert (p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert sign_flip_test(np.full((40, 1), 3.0), 2, 999)[0] == 1 / 1000
    assert sign_flip_test(np.zeros((40, 1)), 2, 999)[0] == 1


def test_equal_values_in_a_few_folds_are_no_certainty():
    estimate, error = np.array([-0.6, -0.6]), np.array([0.0, 0.2])
    assert np.isnan(t_test(estimate, error, 2)).tolist() == [True, False]
    assert np.isnan(t_interval(estimate, error, 2)[0]).tolist() == [True, False]


@pytest.mark.parametrize("n_tests", [1, 231, 2000])
def test_a_family_has_permutations_enough_to_reach_significance(n_tests):
    least = 1 / (family_permutations(1000, n_tests) + 1)
    assert n_tests * least < 0.05


def test_holm_equals_statsmodels_and_leaves_nan_out():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.array([0.01, np.nan, 0.04, 0.03, 0.2, 0.01])
    known = ~np.isnan(p_values)
    expected = multitest.multipletests(p_values[known], method="holm")[1]
    np.testing.assert_allclose(holm(p_values)[known], expected)
    assert math.isnan(holm(p_values)[1])
    assert holm(np.array([])).size == 0


def test_equal_folds_give_neither_certainty_nor_an_interval():
    estimate, error = np.array([0.5, 0.5]), np.array([0.0, 0.1])
    p_values = t_test(estimate, error, 3)
    low, _ = t_interval(estimate, error, 3)
    assert np.isnan([p_values[0], low[0]]).all() and np.isfinite([p_values[1], low[1]]).all()


# Ranking


def test_constants_agree_with_the_registry_of_metrics():
    judged = METRICS | PROBES
    assert {name for name, metric in judged.items() if not metric.larger_is_better} == SMALLER_IS_BETTER
    assert {name for name, metric in METRICS.items() if metric.same_as} == DOUBLES


def test_ranking_gives_the_mean_over_people_and_the_paired_difference_to_the_prior():
    rng = np.random.default_rng(2)
    person = rng.normal(0.6, 0.2, 20)
    values = {"anatomical_prior": person, "lrp": person + 0.1 + rng.normal(0, 0.01, 20), "edges": person - 0.3}
    table = statistics.ranking(scan_scores(values, [f"p{i}" for i in range(20)]), **FEW).set_index("method")
    assert table["rank"].to_dict() == {"lrp": 1, "anatomical_prior": 2, "edges": 3}
    assert table.loc["lrp", "mean"] == pytest.approx(values["lrp"].mean())
    assert table.loc["lrp", "difference_to_prior"] == pytest.approx((values["lrp"] - person).mean())
    # Pairing removes what people share: the difference is far better known than the mean.
    width = table["high"] - table["low"]
    assert table.loc["lrp", "difference_high"] - table.loc["lrp", "difference_low"] < 0.1 * width["lrp"]
    assert table.loc["lrp", "p_holm"] < 0.05 and math.isnan(table.loc["edges", "p_holm"])
    assert table.loc["lrp", "probability_first"] == 1
    assert table["is_control"].to_dict() == {"lrp": False, "anatomical_prior": True, "edges": True}
    assert (table["n_people"] == 20).all() and (table["chance"] == 0.5).all()


def test_two_scans_per_person_do_not_narrow_the_interval():
    rng = np.random.default_rng(3)
    person = rng.normal(0.6, 0.2, 30)
    one = scan_scores({"lrp": person}, [f"p{i}" for i in range(30)])
    two = scan_scores({"lrp": np.r_[person, person]}, [f"p{i % 30}" for i in range(60)])
    naive = scan_scores({"lrp": np.r_[person, person]}, [f"p{i}" for i in range(60)])
    width = {}
    for name, table in (("one", one), ("two", two), ("naive", naive)):
        row = statistics.ranking(table, seed=1, n_bootstrap=4000).iloc[0]
        width[name] = row["high"] - row["low"]
    assert width["two"] == pytest.approx(width["one"], rel=0.01)
    assert width["naive"] < 0.8 * width["two"]


def test_less_is_better_where_the_metric_says_so():
    values = {"anatomical_prior": np.full(8, 30.0), "lrp": np.full(8, 10.0)}
    people = [f"p{i}" for i in range(8)]
    table = statistics.ranking(scan_scores(values, people, metric="earth_movers_distance"), **FEW).set_index("method")
    assert table.loc["lrp", "rank"] == 1
    assert table.loc["lrp", "difference_to_prior"] == pytest.approx(20)


def test_a_scan_that_one_method_lost_is_left_out_for_all():
    values = {"anatomical_prior": np.array([0.1, 0.2, 0.9]), "lrp": np.array([0.3, 0.4, np.nan])}
    table = statistics.ranking(scan_scores(values, ["a", "b", "c"]), **FEW).set_index("method")
    assert table.loc["anatomical_prior", "mean"] == pytest.approx(0.15)
    assert (table["n_excluded"] == 1).all()


def test_a_method_without_any_score_takes_no_scan_from_the_others_but_stays_in_sight():
    values = {"anatomical_prior": np.array([0.1, 0.2]), "broken": np.full(2, np.nan)}
    table = statistics.ranking(scan_scores(values, ["a", "b"]), **FEW).set_index("method")
    assert table["n_scans"].to_dict() == {"anatomical_prior": 2, "broken": 0}
    assert math.isnan(table.loc["broken", "mean"]) and math.isnan(table.loc["broken", "rank"])
    assert table.loc["anatomical_prior", "rank"] == 1
    nothing = statistics.ranking(scan_scores({"broken": np.full(2, np.nan)}, ["a", "b"]), **FEW)
    assert nothing["mean"].isna().all() and len(nothing) == 1


def test_a_method_on_few_scans_leaves_instead_of_cutting_the_others_down():
    values = {"anatomical_prior": np.arange(5) / 10, "lrp": np.arange(5) / 5, "rare": np.full(5, np.nan)}
    values["rare"][:2] = 0.9
    table = statistics.ranking(scan_scores(values, list("abcde")), **FEW).set_index("method")
    assert table["n_scans"].to_dict() == {"anatomical_prior": 5, "lrp": 5, "rare": 2}
    assert table.loc["lrp", "mean"] == pytest.approx(0.4) and math.isnan(table.loc["rare", "mean"])
    assert table.loc["rare", "n_people"] == 2 and (table.loc[["anatomical_prior", "lrp"], "n_excluded"] == 0).all()


def test_methods_that_share_no_scan_are_not_compared():
    values = {"a": np.array([0.1, np.nan]), "b": np.array([np.nan, 0.3])}
    table = statistics.ranking(scan_scores(values, ["a", "b"]), **FEW)
    assert table["mean"].isna().all() and (table["n_excluded"] == 2).all()


def test_the_prior_is_lent_to_a_model_that_has_none():
    people = [f"p{i}" for i in range(10)]
    network = scan_scores({"anatomical_prior": np.full(10, 0.4), "lrp": np.full(10, 0.5)}, people)
    linear = scan_scores({"svm_weights": np.linspace(0.5, 0.7, 10)}, people, model="svm", seed=7)
    table = statistics.ranking(pd.concat([network, linear]), **FEW)
    row = table[table["model"] == "svm"]
    assert row["method"].tolist() == ["svm_weights"]
    assert row["prior_mean"].iloc[0] == pytest.approx(0.4)
    assert row["difference_to_prior"].iloc[0] == pytest.approx(0.2)


def map_scores(level: str, values: dict[str, list[float]], **extra) -> pd.DataFrame:
    """Scores of mean maps, one per fold."""
    table = scan_scores({name: np.array(column) for name, column in values.items()}, [""] * 9, **extra)
    pooled = level == "group"
    folds = [-1 if pooled else int(name.rsplit("-", 1)[1]) for name in table["scan_id"]]
    return table.assign(level=level, population="patients", rectify="abs_after", scan_id="", fold=folds,
                        seed=1 if level == "fold" else -1)  # fmt: skip


def test_group_maps_take_their_interval_from_leaving_folds_out():
    # For a mean the jackknife over folds is the standard error of the mean: the oracle is the t interval.
    from scipy.stats import t

    folds = {"anatomical_prior": np.array([0.2, 0.3, 0.25, 0.35]), "lrp": np.array([0.5, 0.7, 0.6, 0.8])}
    group = map_scores("group", {name: [column.mean()] for name, column in folds.items()})
    without = map_scores("leave_one_out", {k: [np.delete(v, i).mean() for i in range(4)] for k, v in folds.items()})
    table = statistics.ranking(pd.concat([group, without]), **FEW).set_index("method")
    reach = t.ppf(0.975, 3) * folds["lrp"].std(ddof=1) / 2
    assert table.loc["lrp", "high"] - table.loc["lrp", "mean"] == pytest.approx(reach)
    paired = folds["lrp"] - folds["anatomical_prior"]
    assert table.loc["lrp", "difference_low"] == pytest.approx(paired.mean() - t.ppf(0.975, 3) * paired.std(ddof=1) / 2)
    assert set(table["level"]) == {"group"} and set(table["interval"]) == {"jackknife over folds"}


def test_a_borrowed_prior_leaves_the_group_maps_their_intervals():
    prior, weights = np.array([0.2, 0.3, 0.25, 0.35]), np.array([0.5, 0.7, 0.6, 0.8])
    parts = []
    for model, name, column in (("net", "anatomical_prior", prior), ("svm", "svm_weights", weights)):
        parts.append(map_scores("group", {name: [column.mean()]}, model=model))
        without = [np.delete(column, i).mean() for i in range(4)]
        parts.append(map_scores("leave_one_out", {name: without}, model=model))
    row = statistics.ranking(pd.concat(parts), **FEW).set_index("method").loc["svm_weights"]
    assert row["low"] < row["mean"] < row["high"]
    assert row["difference_low"] < 0.375 < row["difference_high"]


def test_a_method_without_leave_one_out_values_takes_no_interval_from_the_others():
    group = map_scores("group", {"anatomical_prior": [0.3], "lrp": [0.6], "late": [0.5]})
    without = map_scores("leave_one_out", {"anatomical_prior": [0.2, 0.3, 0.4], "lrp": [0.5, 0.6, 0.75]})
    table = statistics.ranking(pd.concat([group, without]), **FEW).set_index("method")
    assert table.loc["lrp", ["low", "difference_low", "p_value"]].notna().all()
    assert table.loc["late", ["low", "difference_low", "p_value"]].isna().all()
    assert table.loc["late", "rank"] == 2


def test_fold_maps_take_theirs_from_the_folds():
    from scipy.stats import ttest_rel

    folds = {"anatomical_prior": [0.2, 0.3, 0.25], "lrp": [0.5, 0.7, 0.61]}
    table = statistics.ranking(map_scores("fold", folds), **FEW).set_index("method")
    assert table.loc["lrp", "p_value"] == pytest.approx(ttest_rel(folds["lrp"], folds["anatomical_prior"]).pvalue)
    assert table.loc["lrp", "n_folds"] == 3


def test_each_recipe_is_judged_by_its_own_group_map():
    kinds = [("as_published", "all", 0.1), ("as_published", "patients", 0.2), ("corrected", "all", 0.3),
             ("corrected", "patients", 0.4)]  # fmt: skip
    parts = [
        map_scores("group", {"lrp": [value]}, recipe=recipe).assign(population=population)
        for recipe, population, value in kinds
    ]
    table = statistics.ranking(pd.concat(parts), **FEW).set_index("recipe")
    assert table["mean"].to_dict() == {"as_published": 0.1, "corrected": 0.4}


def test_p_values_of_the_nulls_join_the_ranking():
    scores = map_scores("group", {"lrp": [0.6], "saliency": [0.5]})
    nulls = pd.DataFrame([{"model": "net", "recipe": "corrected", "method": "lrp", "truth": "injected",
                           "population": "patients", "rectify": "abs_after", "metric": "auroc", "smoothing_mm": 0.0,
                           "p_value": 0.02}])  # fmt: skip
    table = statistics.ranking(scores, nulls, **FEW).set_index("method")
    assert table.loc["lrp", "null_p"] == 0.02 and math.isnan(table.loc["saliency", "null_p"])


def test_the_order_of_rows_does_not_change_the_ranking():
    rng = np.random.default_rng(4)
    values = {name: rng.random(12) for name in ("anatomical_prior", "lrp", "saliency")}
    scores = scan_scores(values, [f"p{i}" for i in range(12)])
    shuffled = scores.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(statistics.ranking(scores, **FEW), statistics.ranking(shuffled, **FEW))


def test_an_empty_table_gives_an_empty_ranking_with_columns():
    empty = scan_scores({"lrp": np.array([0.5])}, ["a"]).iloc[:0]
    assert {"method", "rank", "null_p"} <= set(statistics.ranking(empty, **FEW).columns)
    assert "method_a" in statistics.comparisons(empty, **FEW).columns
    assert "rank" in statistics.rank_stability(empty).columns


def test_conditions_do_not_invent_units():
    scores = pd.concat([
        scan_scores({"lrp": np.ones(2)}, ["a", "b"], fold=0),
        scan_scores({"lrp": np.ones(3)}, ["c", "d", "e"], fold=1),
    ])  # fmt: skip
    (condition,) = conditions(scores)
    assert condition.values.shape == (5, 1) and condition.n_excluded == 0


# Comparisons


def test_comparisons_are_paired_oriented_and_adjusted():
    rng = np.random.default_rng(5)
    person = rng.normal(0.5, 0.3, 15)
    values = {"a": person + 0.1, "b": person, "c": person + rng.normal(0, 0.2, 15)}
    table = statistics.comparisons(scan_scores(values, [f"p{i}" for i in range(15)]), **FEW)
    row = table[(table["method_a"] == "a") & (table["method_b"] == "b")].iloc[0]
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([0.1] * 3)
    assert row["p_holm"] == pytest.approx(min(1, 3 * row["p_value"]))
    assert len(table) == 3 and (table["n_people"] == 15).all()


def test_many_pairs_can_reach_significance_with_few_permutations():
    rng = np.random.default_rng(8)
    values = {f"m{k:02}": k + rng.normal(0, 0.01, 20) for k in range(10)}
    scores = scan_scores(values, [f"p{i}" for i in range(20)])
    assert (statistics.comparisons(scores, **FEW, n_permutations=99)["p_holm"] < 0.05).all()


def test_networks_meet_the_linear_model_scan_by_scan():
    people = [f"p{i}" for i in range(10)]
    network = pd.concat([scan_scores({"lrp": np.full(10, 0.6)}, people, seed=seed) for seed in (1, 2)])
    linear = scan_scores({"svm_pattern": np.full(10, 0.4)}, people, model="svm", seed=9)
    table = statistics.comparisons(pd.concat([network, linear]), **FEW)
    row = table[(table["method_a"] == "lrp") & (table["method_b"] == "svm:svm_pattern")].iloc[0]
    assert row["difference"] == pytest.approx(0.2) and row["n_people"] == 10


# Stability


def test_kendall_w_and_tau_equal_their_definitions():
    from scipy.stats import friedmanchisquare, kendalltau

    rng = np.random.default_rng(6)
    table = np.round(rng.random((6, 5)), 1)
    chi_square = friedmanchisquare(*table.T).statistic
    assert kendall_w(table) == pytest.approx(chi_square / (6 * 4))
    pairs = [kendalltau(table[i], table[j]).statistic for i in range(6) for j in range(i)]
    assert mean_tau(table) == pytest.approx(np.mean(pairs))


def test_agreement_is_one_for_equal_orders_and_none_for_opposite_ones():
    order = np.arange(5.0)
    assert kendall_w(np.stack([order, order])) == pytest.approx(1)
    assert mean_tau(np.stack([order, order])) == pytest.approx(1)
    assert kendall_w(np.stack([order, -order])) == pytest.approx(0)
    assert mean_tau(np.stack([order, -order])) == pytest.approx(-1)
    assert math.isnan(mean_tau(np.ones((3, 4))))


def stable_and_not() -> pd.DataFrame:
    people = ["a", "b"]
    parts = []
    for truth, metric in product(("injected", "meta_analysis"), ("auroc", "earth_movers_distance", "rank_accuracy")):
        better = np.array([3.0, 2, 1]) if truth == "injected" else np.array([1.0, 3, 2])
        sign = -1 if metric == "earth_movers_distance" else 1
        values = {name: np.full(2, sign * value) for name, value in zip("abc", better, strict=True)}
        parts.append(scan_scores(values, people, truth=truth, metric=metric))
    return pd.concat(parts)


def test_ranks_follow_direction_and_doubles_do_not_vote():
    table = statistics.rank_stability(stable_and_not())
    assert set(table["metric"]) == {"auroc", "earth_movers_distance"}
    assert table[table["truth"] == "injected"].groupby("method")["rank"].mean().to_dict() == {"a": 1, "b": 2, "c": 3}
    agreement = statistics.concordance(table).set_index("factor")
    assert agreement.loc["metric", "kendall_w"] == pytest.approx(1)
    assert agreement.loc["truth", "mean_tau"] == pytest.approx(-1 / 3)
    summary = statistics.rank_summary(table).set_index("method")
    assert summary.loc["a", "mean_rank"] == 2 and summary.loc["b", "share_first"] == 0.5


def test_a_lost_scan_is_left_out_of_the_ranks_for_all():
    values = {"a": np.array([0.1, 0.2, 0.9]), "b": np.array([0.3, 0.4, np.nan]), "c": np.array([0.2, 0.3, 0.4])}
    table = statistics.rank_stability(scan_scores(values, ["p", "q", "r"])).set_index("method")
    assert table["value"].to_dict() == pytest.approx({"a": 0.15, "b": 0.35, "c": 0.25})
    assert table["rank"].to_dict() == {"b": 1, "c": 2, "a": 3}


def test_controls_and_groups_without_an_order_do_not_vote_on_agreement():
    scores = stable_and_not()
    controls = [scores[scores["method"] == "a"].assign(method=name, value=-99.0) for name in sorted(CONTROLS)]
    with_controls = statistics.concordance(statistics.rank_stability(pd.concat([scores, *controls])))
    alone = statistics.concordance(statistics.rank_stability(scores))
    pd.testing.assert_frame_equal(with_controls, alone)
    # Under one truth every method ties: that group of metrics has no agreement, the other keeps its own.
    scores.loc[scores["truth"] == "injected", "value"] = 1.0
    tied = statistics.concordance(statistics.rank_stability(scores)).set_index("factor")
    assert tied.loc["metric", "kendall_w"] == pytest.approx(1) and tied.loc["metric", "n_groups"] == 1


def test_a_condition_in_which_a_method_failed_is_left_out():
    scores = stable_and_not()
    scores.loc[(scores["method"] == "a") & (scores["truth"] == "injected"), "value"] = np.nan
    assert set(statistics.rank_stability(scores)["truth"]) == {"meta_analysis"}


# Performance


def predictions(n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, n)
    probability = np.round(np.clip(0.5 + 0.3 * (target - 0.5) + rng.normal(0, 0.3, n), 0, 1), 2)
    return pd.DataFrame({
        "study": "s", "model": "net", "recipe": "corrected", "fold": np.arange(n) % 3, "seed": 1, "part": "test",
        "scan_id": [f"s{i}" for i in range(n)], "participant_id": [f"p{i // 2}" for i in range(n)], "diagnosis": "x",
        "target": target, "probability_0": 1 - probability, "probability_1": probability,
        "predicted": (probability > 0.5).astype(int),
    })  # fmt: skip


def test_performance_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    frame = predictions()
    table = statistics.performance(frame, **FEW)
    pooled = table[table["fold"] == -1].set_index("metric")["value"]
    target, predicted, probability = frame["target"], frame["predicted"], frame["probability_1"]
    assert pooled["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(target, predicted))
    assert pooled["auc"] == pytest.approx(metrics.roc_auc_score(target, probability))
    assert pooled["brier"] == pytest.approx(metrics.brier_score_loss(target, probability))
    tn, fp, fn, tp = metrics.confusion_matrix(target, predicted).ravel()
    counts = pooled[["true_negatives", "false_positives", "false_negatives", "true_positives"]]
    assert counts.tolist() == [tn, fp, fn, tp]
    assert pooled["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert set(table["fold"]) == {-1, 0, 1, 2}


def test_weights_act_as_repeated_scans():
    frame = predictions(30)
    target, probability = frame["target"].to_numpy(), frame[["probability_0", "probability_1"]].to_numpy()
    predicted = frame["predicted"].to_numpy()
    times = np.random.default_rng(1).integers(0, 3, 30)
    weighted = scores_of(target, predicted, probability, times[None].astype(float))
    rows = np.repeat(np.arange(30), times)
    repeated = scores_of(target[rows], predicted[rows], probability[rows], np.ones((1, rows.size)))
    for name, value in weighted.items():
        assert value[0] == pytest.approx(repeated[name][0]), name


def test_people_not_scans_are_resampled_in_performance():
    frame = predictions(40).assign(participant_id=[f"p{i}" for i in range(40)])
    again = pd.concat([frame, frame.assign(scan_id=frame["scan_id"] + "b")])
    width = [
        (row["high"] - row["low"]).iloc[0]
        for row in (
            statistics.performance(table, **FEW).query("fold == -1 and metric == 'auc'") for table in (frame, again)
        )
    ]
    assert width[1] == pytest.approx(width[0], rel=0.05)


def test_a_perfect_a_constant_and_a_one_class_classifier():
    target = np.array([0, 0, 1, 1])
    sure = np.eye(2)[target]
    perfect = scores_of(target, target, sure, np.ones((1, 4)))
    assert [perfect[name][0] for name in ("auc", "brier", "calibration_error")] == [1, 0, 0]
    even = scores_of(target, np.ones(4, int), np.full((4, 2), 0.5), np.ones((1, 4)))
    assert even["auc"][0] == 0.5 and even["balanced_accuracy"][0] == 0.5 and even["calibration_error"][0] == 0
    alone = scores_of(np.ones(4, int), np.ones(4, int), np.full((4, 2), 0.5), np.ones((1, 4)))
    assert math.isnan(alone["auc"][0]) and math.isnan(alone["specificity"][0])


def test_three_classes_are_scored_one_against_the_rest():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    target = rng.integers(0, 3, 60)
    probability = rng.dirichlet((1, 1, 1), 60)
    result = scores_of(target, probability.argmax(axis=1), probability, np.ones((1, 60)))
    expected = metrics.roc_auc_score(target, probability, multi_class="ovr", average="macro")
    assert result["auc"][0] == pytest.approx(expected)
    assert "sensitivity" not in result


def test_ties_count_half_in_the_area():
    area = weighted_auc(np.array([True, False]), np.array([0.5, 0.5]), np.ones((1, 2)))
    assert area[0] == 0.5


def test_the_weighted_area_equals_scikit_learn_without_a_table_of_scans_by_scans():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    positive, score = rng.random(300) < 0.4, np.round(rng.random(300), 2)
    weights = rng.integers(0, 4, (3, 300)).astype(float)
    expected = [metrics.roc_auc_score(positive, score, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_auc(positive, score, weights), expected)
    tracemalloc.start()
    weighted_auc(rng.random(3000) < 0.5, rng.random(3000), np.ones((2, 3000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000


# Location


def test_location_is_the_mean_share_over_people_whatever_the_truth():
    shares = {"lrp": np.array([0.1, 0.1, 0.3, 0.5, 0.2, 0.4]), "rare": np.array([0.9, *[np.nan] * 5])}
    people = ["a", "a", "b", "c", "d", "e"]
    outside = scan_scores(shares, people, metric="outside_brain", truth="", chance=0.6)
    others = scan_scores({"lrp": np.ones(6)}, people)
    table = statistics.location(pd.concat([outside, others]), **FEW).set_index("method")
    assert set(table["metric"]) == {"outside_brain"} and set(table["level"]) == {"scan"}
    assert table.loc["lrp", "mean"] == pytest.approx(0.3) and table.loc["lrp", "chance"] == 0.6
    assert 0 < table.loc["lrp", "low"] < 0.3 < table.loc["lrp", "high"] and table.loc["lrp", "n_people"] == 5
    assert math.isnan(table.loc["rare", "mean"]) and table.loc["rare", "n_people"] == 1
    assert statistics.location(others, **FEW).empty
    assert {name for name, metric in METRICS.items() if metric.needs == ("mask",)} == LOCATION_METRICS


def test_reliability_of_a_calibrated_model_lies_on_the_diagonal():
    rng = np.random.default_rng(3)
    frame = predictions(20000).assign(probability_1=rng.random(20000))
    frame["target"] = (rng.random(20000) < frame["probability_1"]).astype(int)
    curve = statistics.reliability(frame)
    assert len(curve) == 10 and curve["n_scans"].sum() == 20000
    assert np.abs(curve["mean_probability"] - curve["observed_share"]).max() < 0.05


def test_reliability_of_three_classes_is_that_of_the_predicted_class():
    rng = np.random.default_rng(8)
    frame = predictions(300)
    probability = rng.dirichlet((1, 1, 1), 300)
    frame[["probability_0", "probability_1", "probability_2"]] = probability
    frame["target"] = rng.integers(0, 3, 300)
    curve = statistics.reliability(frame, 4).set_index("bin")
    for number in range(4):
        inside = [i for i in range(300) if number / 4 <= max(probability[i]) < (number + 1) / 4]
        assert (number in curve.index) == bool(inside)
        if inside:
            right = sum(probability[i].argmax() == frame["target"][i] for i in inside) / len(inside)
            mean = sum(max(probability[i]) for i in inside) / len(inside)
            assert curve.loc[number, "observed_share"] == pytest.approx(right)
            assert curve.loc[number, "mean_probability"] == pytest.approx(mean)
    table = statistics.reliability(frame)
    error = (table["n_scans"] / 300 * (table["observed_share"] - table["mean_probability"]).abs()).sum()
    scores = scores_of(frame["target"].to_numpy(), probability.argmax(axis=1), probability, np.ones((1, 300)))
    assert error == pytest.approx(scores["calibration_error"][0])
    assert statistics.reliability(frame.drop(columns=["probability_0", "probability_1", "probability_2"])).empty


# Areas


def area_table() -> pd.DataFrame:
    rows = []
    for i in range(12):
        for area, factor in ((17, 9.0), (5000, 1.0), (3, np.nan)):
            patient = i % 2
            rows.append({"model": "net", "recipe": "corrected", "method": "lrp", "fold": 0, "seed": 1,
                         "scan_id": f"s{i}", "participant_id": f"p{i}", "diagnosis": "x", "target": patient,
                         "predicted": patient if i != 1 else 0, "area": area, "name": f"area {area}", "n_voxels": 10,
                         "volume_mm3": 100.0 - i, "sum": (factor if patient else 1.0) * (1 + 0.01 * (i // 2)) * (
                             factor / factor), "density": factor})  # fmt: skip
    return pd.DataFrame(rows)


def test_gain_is_the_ratio_of_means_and_missed_patients_do_not_count():
    areas = area_table()
    table = statistics.gain(areas, **FEW).set_index("area")
    hits = areas[(areas["target"] == 1) & (areas["predicted"] == 1)]
    rest = areas[areas["target"] == 0]
    for area in (17, 5000):
        expected = hits[hits["area"] == area]["sum"].mean() / rest[rest["area"] == area]["sum"].mean()
        assert table.loc[area, "gain"] == pytest.approx(expected)
        assert table.loc[area, "low"] <= expected <= table.loc[area, "high"]
    assert table.loc[17, "low"] > 8 and table.loc[5000, "high"] < 1.1
    assert table.loc[17, "n_true_positives"] == 5 and table.loc[17, "n_controls"] == 6


def test_a_lost_area_stays_as_nan():
    table = statistics.gain(area_table(), **FEW).set_index("area")
    assert math.isnan(table.loc[3, "gain"])
    relevance = statistics.area_relevance(area_table()).set_index("area")
    assert math.isnan(relevance.loc[3, "sum"]) and relevance.loc[3, "n_scans"] == 0
    assert relevance.loc[17, "density_rank"] == 1 and relevance.loc[17, "n_people"] == 5


def test_a_gain_over_controls_around_zero_has_no_interval():
    areas = area_table()
    areas.loc[areas["target"] == 0, "sum"] = [(-1) ** i * 0.01 for i in range((areas["target"] == 0).sum())]
    table = statistics.gain(areas, **FEW).set_index("area")
    assert math.isnan(table.loc[17, "low"]) and math.isnan(table.loc[17, "high"])


def test_a_ratio_of_two_negative_means_is_no_gain():
    areas = area_table()
    areas["sum"] = -areas["sum"]
    table = statistics.gain(areas, **FEW).set_index("area")
    assert math.isnan(table.loc[17, "gain"])


def test_gain_is_paired_where_people_are_patient_and_control():
    rng = np.random.default_rng(0)
    areas = area_table().query("area == 17").drop(columns=["sum", "predicted"])
    level = rng.lognormal(0, 1, size=30)
    rows = [
        {**areas.iloc[0].to_dict(), "scan_id": f"p{i}-{target}", "participant_id": f"p{i}", "target": target,
         "predicted": target, "sum": level[i] * (1.3 if target else 1.0)}
        for i in range(30) for target in (0, 1)
    ]  # fmt: skip
    row = statistics.gain(pd.DataFrame(rows), **FEW).iloc[0]
    # Every person's ratio is 1.3, so resampling people leaves nothing to vary, however much people differ.
    assert row["n_people"] == 30
    assert row["gain"] == pytest.approx(1.3)
    assert row["low"] == pytest.approx(1.3)
    assert row["high"] == pytest.approx(1.3)


def test_controls_do_not_make_methods_agree():
    rng = np.random.default_rng(1)
    controls = sorted(CONTROLS)
    parts = []
    for number in range(12):
        values = {f"m{i}": np.full(2, value) for i, value in enumerate(10 + rng.permutation(6))}
        values |= {name: np.full(2, float(i)) for i, name in enumerate(controls)}
        parts.append(scan_scores(values, ["a", "b"], truth=f"truth {number}"))
    stability = statistics.rank_stability(pd.concat(parts))
    kept = statistics.concordance(stability).set_index("factor")
    fooled = statistics.concordance(stability, controls=()).set_index("factor")
    assert fooled.loc["all", "kendall_w"] > 0.7
    assert kept.loc["all", "kendall_w"] < 0.4


def test_relevance_outside_the_brain_has_a_table():
    values = {"lrp": np.array([0.1, 0.3]), "random_noise": np.array([0.5, 0.5])}
    scores = scan_scores(values, ["a", "b"], truth="", metric="outside_brain", chance=0.5)
    table = statistics.location(scores, **FEW).set_index("method")
    assert table["mean"].to_dict() == pytest.approx({"lrp": 0.2, "random_noise": 0.5})
    assert (table["chance"] == 0.5).all()


@pytest.mark.parametrize(("patients", "controls"), [(-9.0, -1.0), (9.0, -1.0), (-9.0, 1.0)])
def test_there_is_no_gain_unless_both_means_are_positive(patients, controls):
    areas = area_table()
    areas["sum"] = areas["sum"].abs() * np.where(areas["target"] == 1, patients, controls)
    table = statistics.gain(areas, **FEW)
    assert table[["gain", "low", "high"]].isna().all(axis=None)


def test_people_who_are_patient_and_control_are_drawn_once_for_both():
    # Every person's patient scan has three times the control's relevance: the ratio is known exactly.
    own = np.linspace(1, 5, 10)
    base = {"model": "net", "recipe": "corrected", "method": "lrp", "area": 17, "name": "hippocampus"}
    areas = pd.DataFrame([
        {**base, "scan_id": f"s{i}-{target}", "participant_id": f"p{i}", "target": target, "predicted": target,
         "sum": own[i] * (3 if target else 1)} for i in range(10) for target in (0, 1)
    ])  # fmt: skip
    row = statistics.gain(areas, **FEW).iloc[0]
    assert row[["gain", "low", "high"]].tolist() == pytest.approx([3, 3, 3])
    assert row["n_people"] == 10


def paired_volumes(n: int, shared: float) -> pd.DataFrame:
    """Areas of people with a healthy and an atrophied scan; `shared` is what a person's two scans have in common."""
    rng = np.random.default_rng(7)
    rows = []
    for i in range(n):
        volume, relevance = shared * rng.normal(size=2)
        for target in (0, 1):
            rows.append({"model": "net", "recipe": "corrected", "method": "lrp", "area": 17, "name": "hippocampus",
                         "scan_id": f"s{i}-{target}", "participant_id": f"p{i:02}", "target": target,
                         "volume_mm3": 10 + volume - target, "sum": 10 + relevance + 2 * target})  # fmt: skip
    return pd.DataFrame(rows)


def test_a_persons_healthy_and_atrophied_scans_are_not_averaged_away():
    row = statistics.volume_relevance(paired_volumes(12, shared=1e-3), pd.DataFrame(), **FEW).iloc[0]
    assert row["r"] < -0.99 and row["n_people"] == 12
    # All people share that shift; people have nothing of their own that relates volume to relevance.
    assert row["p_value"] > 0.05


def test_volume_p_values_are_adjusted_over_the_areas_of_a_map():
    one = paired_volumes(12, shared=1.0)
    areas = pd.concat([one.assign(area=area, sum=one["sum"] + area * one["volume_mm3"]) for area in range(30)])
    table = statistics.volume_relevance(areas, pd.DataFrame(), **FEW, n_permutations=99)
    np.testing.assert_allclose(table["p_holm"], holm(table["p_value"].to_numpy()))
    assert table.loc[table["area"] == 29, "p_holm"].iloc[0] < 0.05 and (table["n_permutations"] == 1200).all()


def test_volume_follows_relevance_as_pearson_says():
    from scipy.stats import pearsonr

    rng = np.random.default_rng(4)
    n = 40
    volume = rng.normal(4000, 400, n)
    total = -0.002 * volume + rng.normal(0, 0.8, n)
    areas = pd.DataFrame({"model": "net", "recipe": "corrected", "method": "lrp", "area": 17, "name": "hippocampus",
                          "scan_id": [f"s{i}" for i in range(n)], "participant_id": [f"p{i}" for i in range(n)],
                          "target": 0, "sum": total, "volume_mm3": 1.0})  # fmt: skip
    volumes = areas[["scan_id", "area"]].assign(volume_mm3=volume)
    row = statistics.volume_relevance(areas, volumes, **FEW).iloc[0]
    expected = pearsonr(volume, total)
    fisher = expected.confidence_interval()
    assert row["r"] == pytest.approx(expected.statistic)
    assert row["low"] == pytest.approx(fisher.low, abs=0.12) and row["high"] == pytest.approx(fisher.high, abs=0.12)
    assert row["p_value"] == pytest.approx(1 / 1001)
    shuffled = areas.assign(sum=rng.permutation(total))
    assert statistics.volume_relevance(shuffled, volumes, **FEW).iloc[0]["p_value"] > 0.01
    flat = statistics.volume_relevance(areas.assign(sum=1.0), volumes, **FEW).iloc[0]
    assert math.isnan(flat["r"])


def test_the_reference_is_the_first_prior_that_has_scores():
    people = [f"p{i}" for i in range(10)]
    values = {"centre_prior": np.full(10, 0.3), "lrp": np.full(10, 0.5)}
    alone = statistics.ranking(scan_scores(values, people), **FEW).set_index("method")
    assert alone["prior_mean"].tolist() == pytest.approx([0.3, 0.3])
    assert alone.loc["lrp", "difference_to_prior"] == pytest.approx(0.2)
    assert alone.loc["centre_prior", "is_control"]
    both = values | {"anatomical_prior": np.full(10, 0.4)}
    table = statistics.ranking(scan_scores(both, people), **FEW).set_index("method")
    assert table.loc["lrp", "difference_to_prior"] == pytest.approx(0.1)
    # A prior that failed everywhere is no reference.
    broken = values | {"anatomical_prior": np.full(10, np.nan)}
    table = statistics.ranking(scan_scores(broken, people), **FEW).set_index("method")
    assert table.loc["lrp", "difference_to_prior"] == pytest.approx(0.2)


def test_without_controls_class_zero_is_recognised_too_and_there_is_no_gain():
    areas = pd.DataFrame(
        {"model": "net", "recipe": "corrected", "method": "lrp", "scan_id": list("abc"), "participant_id": list("abc"),
         "target": [0, 1, 0], "predicted": [0, 1, 1], "area": 1, "name": "Lesion", "volume_mm3": 8.0,
         "sum": [1.0, 3.0, 90.0], "density": [0.1, 0.3, 9.0]}
    )  # fmt: skip
    without = statistics.area_relevance(areas, has_controls=False).iloc[0]
    assert (without["sum"], without["n_people"], without["population"]) == (2.0, 2, "true_positives")
    assert statistics.area_relevance(areas).iloc[0]["sum"] == 3.0
    assert statistics.gain(areas, has_controls=False, seed=1).empty
    assert len(statistics.gain(areas, seed=1)) == 1


def test_controls_are_those_of_the_attribution_registry():
    attribution = pytest.importorskip("heatproof.attribution")
    named = {name for name, method in attribution.METHODS.items() if method.family == "controls"}
    assert named == CONTROLS
