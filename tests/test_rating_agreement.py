"""Agreement of raters: against scikit-learn, an analysis of variance by loops, and published examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from heatproof.statistics.expert_metrics import expert_metrics, metric_values
from heatproof.statistics.expert_ratings import (
    ALL_MODELS,
    FEW_PEOPLE,
    NO_REPEAT,
    ONE_RATER,
    UNVARIED,
    rater_agreement,
    ratings_by_method,
)
from heatproof.statistics.krippendorff import krippendorff_alpha
from heatproof.statistics.rating_agreement import intraclass_correlations, mean_squares, weighted_kappa

# Shrout and Fleiss 1979, table 2: four judges rate six targets.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


class TestWeightedKappa:
    @pytest.mark.parametrize("seed", range(5))
    def test_is_scikit_learn_s(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        first = random.integers(1, 6, 40)
        second = np.clip(first + random.integers(-1, 2, 40), 1, 5)
        expected = cohen_kappa_score(first, second, labels=range(1, 6), weights="quadratic")
        assert weighted_kappa(first.astype(float), second.astype(float))[0] == pytest.approx(expected, abs=1e-12)

    def test_a_weight_is_a_repetition(self) -> None:
        first, second = np.array([1.0, 2, 4, 5, 3, 2]), np.array([1.0, 3, 4, 4, 3, 1])
        counts = np.array([[2, 0, 1, 1, 3, 1], [1, 1, 1, 1, 1, 1]], dtype=float)
        repeated = [np.repeat(ratings, counts[0].astype(int)) for ratings in (first, second)]
        found = weighted_kappa(first, second, counts)
        assert found[0] == pytest.approx(cohen_kappa_score(*repeated, labels=range(1, 6), weights="quadratic"))
        assert found[1] == pytest.approx(weighted_kappa(first, second)[0])

    def test_limits(self) -> None:
        ratings = np.array([1.0, 2, 3, 4, 5])
        assert weighted_kappa(ratings, ratings)[0] == pytest.approx(1)
        # The reverse order is the worst that two raters with the same marginals can do.
        assert weighted_kappa(ratings, ratings[::-1])[0] == pytest.approx(-1)
        assert np.isnan(weighted_kappa(np.full(4, 3.0), np.full(4, 3.0))[0])
        assert np.isnan(weighted_kappa(np.full(4, np.nan), np.arange(4.0))[0])

    def test_what_one_rater_could_not_judge_is_left_out(self) -> None:
        first, second = np.array([1, np.nan, 3, 5, 4.0]), np.array([2, 5, 3, np.nan, 4.0])
        kept = [0, 2, 4]
        assert weighted_kappa(first, second)[0] == pytest.approx(weighted_kappa(first[kept], second[kept])[0])


class TestIntraclassCorrelation:
    def test_the_published_example(self) -> None:
        found = intraclass_correlations(SHROUT_FLEISS)
        assert round(found["icc_2_1"].value, 2) == 0.29
        assert round(found["icc_3_1"].value, 2) == 0.71
        assert round(found["icc_2_k"].value, 2) == 0.62
        # ICC(1,1) of the same mean squares is .17: one way, raters within targets.
        rows, columns, error = mean_squares(SHROUT_FLEISS)
        within = (3 * columns + 15 * error) / 18
        assert round((rows - within) / (rows + 3 * within), 2) == 0.17

    def test_the_published_intervals(self) -> None:
        # As the R package psych prints them for this example.
        found = intraclass_correlations(SHROUT_FLEISS)
        bounds = {name: (round(each.low, 2), round(each.high, 2)) for name, each in found.items()}
        assert bounds == {"icc_2_1": (0.02, 0.76), "icc_2_k": (0.07, 0.93), "icc_3_1": (0.34, 0.95)}

    def test_mean_squares_are_those_of_loops(self) -> None:
        ratings = np.random.default_rng(3).integers(1, 6, (7, 3)).astype(float)
        grand = ratings.mean()
        rows = columns = error = 0.0
        for i in range(7):
            rows += 3 * (ratings[i].mean() - grand) ** 2
        for j in range(3):
            columns += 7 * (ratings[:, j].mean() - grand) ** 2
        for i in range(7):
            for j in range(3):
                error += (ratings[i, j] - ratings[i].mean() - ratings[:, j].mean() + grand) ** 2
        assert mean_squares(ratings) == pytest.approx((rows / 6, columns / 2, error / 12))

    def test_mean_squares_are_statsmodels_(self) -> None:
        from statsmodels.formula.api import ols
        from statsmodels.stats.anova import anova_lm

        long = pd.DataFrame(SHROUT_FLEISS).melt(ignore_index=False, var_name="rater", value_name="rating")
        table = anova_lm(ols("rating ~ C(item) + C(rater)", long.rename_axis("item").reset_index()).fit())
        assert mean_squares(SHROUT_FLEISS) == pytest.approx(tuple(table["mean_sq"]))

    def test_a_rater_who_is_stricter_agrees_less_but_is_as_consistent(self) -> None:
        ratings = np.random.default_rng(0).normal(size=(20, 1)) + np.array([0.0, 2.0])
        found = intraclass_correlations(ratings)
        assert found["icc_3_1"].value == pytest.approx(1)
        assert found["icc_2_1"].value < 0.5

    def test_the_intervals_cover_what_they_promise(self) -> None:
        """Items, raters and residual of known variances: the true ICC lies inside 95 times in a hundred."""
        random, truth = np.random.default_rng(1), {"icc_2_1": 1 / 2.5, "icc_2_k": 1 / (1 + 1.5 / 4), "icc_3_1": 1 / 2}
        inside = dict.fromkeys(truth, 0)
        for _ in range(300):
            ratings = (
                random.normal(size=(25, 1)) + np.sqrt(0.5) * random.normal(size=(1, 4)) + random.normal(size=(25, 4))
            )
            for name, found in intraclass_correlations(ratings).items():
                inside[name] += found.low <= truth[name] <= found.high
        for name, count in inside.items():
            assert 0.9 < count / 300 < 0.99, name

    def test_items_that_a_rater_left_out_do_not_count(self) -> None:
        more = np.vstack([SHROUT_FLEISS, [5, np.nan, 5, 5]])
        assert intraclass_correlations(more) == intraclass_correlations(SHROUT_FLEISS)

    @pytest.mark.parametrize(
        "ratings", [np.full((5, 3), 4.0), SHROUT_FLEISS[:, :1], SHROUT_FLEISS[:1], np.empty((0, 2))]
    )
    def test_nothing_where_nothing_can_be_said(self, ratings: np.ndarray) -> None:
        assert all(np.isnan(found.value) for found in intraclass_correlations(ratings).values())


def answers(ratings: dict[str, np.ndarray], n_methods: int = 4, models: tuple[str, ...] = ("pr",)) -> pd.DataFrame:
    """Answers of raters, whose ratings (scans, methods) are given; one scan per person and no repeats."""
    rows = []
    for rater, table in ratings.items():
        for model in models:
            for scan, values in enumerate(table):
                for method, rating in enumerate(values[:n_methods]):
                    rows.append({
                        "rater": rater, "item": scan + 1, "panel": "ABCDEFGH"[method], "repeats": 0, "model": model,
                        "fold": 0, "seed": 1, "scan_id": f"s{scan}", "participant_id": f"p{scan}",
                        "method": f"m{method}", "rating": float(rating), "judged": bool(np.isfinite(rating)),
                        "seconds": 2.0, "comment": "",
                    })  # fmt: skip
    return pd.DataFrame(rows)


def drawn(seed: int, n_scans: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 6, (n_scans, 4)).astype(float)


def row_of(table: pd.DataFrame, statistic: str, model: str = "pr", **where: str) -> pd.Series:
    found = table[(table["statistic"] == statistic) & (table["model"] == model)]
    for column, value in where.items():
        found = found[found[column] == value]
    assert len(found) == 1
    return found.iloc[0]


class TestRaterAgreement:
    def test_each_statistic_is_that_of_the_library(self) -> None:
        ratings = {"ada": drawn(0), "ben": np.clip(drawn(0) + (drawn(5) > 4), 1, 5), "eve": drawn(2)}
        table = rater_agreement(answers(ratings), seed=1, n_bootstrap=50)
        flat = {rater: values.ravel() for rater, values in ratings.items()}
        kappas = []
        for one, two in (("ada", "ben"), ("ada", "eve"), ("ben", "eve")):
            kappas.append(cohen_kappa_score(flat[one], flat[two], labels=range(1, 6), weights="quadratic"))
            assert row_of(table, "weighted_kappa", rater_a=one, rater_b=two)["value"] == pytest.approx(kappas[-1])
        assert row_of(table, "weighted_kappa_mean")["value"] == pytest.approx(np.mean(kappas))
        stacked = np.stack(list(flat.values()))
        assert row_of(table, "alpha_ordinal")["value"] == pytest.approx(krippendorff_alpha(stacked))
        assert row_of(table, "icc_2_1")["value"] == pytest.approx(intraclass_correlations(stacked.T)["icc_2_1"].value)
        bounded = table[table["low"].notna()]
        assert (bounded["low"] <= bounded["value"]).all()
        assert (bounded["value"] <= bounded["high"]).all()

    def test_people_are_drawn_not_heatmaps(self) -> None:
        """If all heatmaps of a person are alike, many of them narrow no interval."""
        one, two = drawn(0), drawn(1)
        few = answers({"ada": one[:, :1], "ben": two[:, :1]}, n_methods=1)
        many = answers({"ada": np.repeat(one[:, :1], 4, axis=1), "ben": np.repeat(two[:, :1], 4, axis=1)})
        ranges = [row_of(rater_agreement(each, seed=1), "weighted_kappa_mean")[["low", "high"]] for each in (few, many)]
        assert ranges[0].tolist() == pytest.approx(ranges[1].tolist())

    def test_one_rater_alone_is_told_what_is_missing(self) -> None:
        table = rater_agreement(answers({"ada": drawn(0)}), seed=1)
        for statistic in ("weighted_kappa_mean", "icc_2_1", "icc_2_k", "icc_3_1", "alpha_ordinal"):
            row = row_of(table, statistic)
            assert np.isnan(row["value"])
            assert row["note"] == ONE_RATER
        assert row_of(table, "weighted_kappa_repeats")["note"] == NO_REPEAT

    def test_equal_ratings_and_few_people_are_named(self) -> None:
        equal = rater_agreement(answers({"ada": np.full((6, 4), 3.0), "ben": np.full((6, 4), 3.0)}), seed=1)
        assert set(equal[equal["statistic"] != "weighted_kappa_repeats"]["note"]) == {UNVARIED}
        few = row_of(rater_agreement(answers({"ada": drawn(0, 3), "ben": drawn(1, 3)}), seed=1), "weighted_kappa_mean")
        assert np.isfinite(few["value"])
        assert np.isnan(few["low"])
        assert few["note"] == FEW_PEOPLE

    def test_repeats_measure_a_rater_s_own_consistency(self) -> None:
        first = answers({"ada": drawn(0), "ben": drawn(0)})
        shown = first[first["item"] <= 6]
        second = shown.assign(item=shown["item"] + 20, repeats=shown["item"], rating=shown["rating"])
        # Ben rates the other way round when he sees a scan again.
        turned = second["rater"] == "ben"
        second.loc[turned, "rating"] = 6 - second.loc[turned, "rating"]
        table = rater_agreement(pd.concat([first, second], ignore_index=True), seed=1)
        assert row_of(table, "weighted_kappa_repeats", rater_a="ada")["value"] == pytest.approx(1)
        own = first[(first["rater"] == "ben") & (first["item"] <= 6)]["rating"]
        expected = cohen_kappa_score(own, 6 - own, labels=range(1, 6), weights="quadratic")
        assert row_of(table, "weighted_kappa_repeats", rater_a="ben")["value"] == pytest.approx(expected)
        # What was rated again counts nowhere else.
        alone = rater_agreement(first, seed=1)
        assert row_of(table, "alpha_ordinal")["value"] == row_of(alone, "alpha_ordinal")["value"]

    def test_models_stand_apart_and_together(self) -> None:
        table = rater_agreement(answers({"ada": drawn(0), "ben": drawn(1)}, models=("pr", "qt")), seed=1)
        assert set(table["model"]) == {"pr", "qt", ALL_MODELS}
        assert row_of(table, "weighted_kappa_mean", ALL_MODELS)["n_people"] == 8
        assert row_of(table, "weighted_kappa_mean", ALL_MODELS)["n_heatmaps"] == 64


def test_methods_are_rated_by_people_of_whom_some_have_more_scans() -> None:
    table = answers({"ada": drawn(0), "ben": drawn(1)})
    table.loc[table["scan_id"] == "s7", "participant_id"] = "p6"
    table.loc[(table["scan_id"] == "s0") & (table["method"] == "m1"), ["rating", "judged"]] = [np.nan, False]
    found = ratings_by_method(table, seed=1).set_index("method")
    both = (drawn(0) + drawn(1)) / 2
    people = [*both[:6], both[6:].mean(axis=0)]
    assert found.loc["m0", "mean"] == pytest.approx(np.mean([person[0] for person in people]))
    assert found.loc["m1", "mean"] == pytest.approx(np.mean([person[1] for person in people[1:]]))
    assert found.loc["m1", "n_cannot_judge"] == 2
    assert found.loc["m1", "n_ratings"] == 14
    assert found["mean"].idxmax() == found["rank"].idxmin()
    assert (found["low"] < found["mean"]).all()


def metric_table(values: np.ndarray, metric: str, truth: str = "counterfactual") -> pd.DataFrame:
    rows = [
        {"study": "ecg", "model": "pr", "recipe": "corrected", "fold": 0, "seed": 1, "method": f"m{method}",
         "level": "scan", "scan_id": f"s{scan}", "participant_id": f"p{scan}", "diagnosis": "recording",
         "population": "", "rectify": "abs_before", "truth": truth, "smoothing_mm": 0.0, "metric": metric,
         "value": value, "chance": 0.1}
        for scan, row in enumerate(values)
        for method, value in enumerate(row)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def probe_table(values: np.ndarray, metric: str) -> pd.DataFrame:
    return metric_table(values, metric).assign(null="", setting="mean")


class TestExpertMetrics:
    def test_a_metric_that_says_the_same_agrees_whichever_way_it_runs(self) -> None:
        # A known order of methods in every scan, so that no sample of people ties two of them.
        ratings = np.stack([np.roll([1.0, 2, 3, 5], scan % 2) for scan in range(8)]) - [0, 0.25, 0.5, 0.75]
        same, smaller = metric_table(np.exp(ratings), "average_precision"), probe_table(-ratings, "deletion")
        found = expert_metrics(answers({"ada": ratings}), same, smaller, seed=1).set_index("metric")
        assert found["rho"].tolist() == pytest.approx([1, 1])
        assert found.loc["average_precision", "setting"] == "counterfactual"
        assert bool(found.loc["average_precision", "is_truth"])
        assert found.loc["deletion", "tau"] == pytest.approx(1)

    def test_is_the_mean_rank_correlation_within_scans(self) -> None:
        from scipy.stats import kendalltau, spearmanr

        ratings, values = drawn(0), np.random.default_rng(9).normal(size=(8, 4))
        # A rater who sees no difference in a scan orders nothing in it.
        ratings[3] = 2
        found = expert_metrics(
            answers({"ada": ratings}), metric_table(values, "auroc"), probe_table(values, "aic"), seed=1
        )
        expected = [spearmanr(ratings[scan], values[scan]).statistic for scan in range(8) if scan != 3]
        for _, row in found.iterrows():
            assert row["rho"] == pytest.approx(np.mean(expected))
            assert row["rho_low"] < row["rho"] < row["rho_high"]
            assert row["tau"] == pytest.approx(kendalltau(ratings.mean(axis=0), values.mean(axis=0)).statistic)

    def test_smoothed_scores_nulls_and_other_runs_take_no_part(self) -> None:
        values = np.random.default_rng(9).normal(size=(8, 4))
        scores = metric_table(values, "auroc")
        others = [scores.assign(smoothing_mm=8.0), scores.assign(seed=2), scores.assign(level="group")]
        probes = pd.concat([probe_table(values, "aic"), probe_table(-values, "aic").assign(null="turned")])
        rated = answers({"ada": drawn(0)})
        alone = metric_values(scores, probe_table(values, "aic"), rated)
        pd.testing.assert_frame_equal(metric_values(pd.concat([scores, *others]), probes, rated), alone)

    def test_without_metrics_or_with_two_methods_there_is_no_number(self) -> None:
        values = np.random.default_rng(9).normal(size=(8, 4))
        probes = probe_table(values, "aic")
        empty = expert_metrics(answers({"ada": drawn(0)}), metric_table(values, "auroc")[:0], probes[:0], seed=1)
        assert empty.empty
        two = expert_metrics(answers({"ada": drawn(0)}, n_methods=2), metric_table(values, "auroc"), probes[:0], seed=1)
        assert two["rho"].isna().all()
        assert two["tau"].isna().all()
