"""What the probes say about each method, and whether the metrics pass their own tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from heatproof import statistics
from heatproof.statistics.faithfulness import FAITHFULNESS_COLUMNS
from heatproof.statistics.resampling import draw_counts, interval, sign_flip_test
from heatproof.statistics.sanity import SANITY_COLUMNS
from probe_tables import persons, probe_rows

FEW = {"seed": 1, "n_bootstrap": 300, "n_permutations": 999}
NAN = np.nan


def row_of(table: pd.DataFrame, method: str) -> pd.Series:
    (position,) = np.flatnonzero(table["method"] == method)
    return table.iloc[position]


def values(n: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    person = np.repeat(rng.normal(0, 0.2, n // 2), 2)
    merits = {"saliency": 0.6, "lrp": 0.8, "edges": 0.4, "random_noise": 0.3}
    return {method: merit + person + 0.05 * rng.normal(size=n) for method, merit in merits.items()}


def test_a_row_holds_what_a_loop_over_people_finds():
    own = values()
    people = persons(24, 2)
    turned = {method: column - 0.1 for method, column in values(24, 1).items()}
    other = {method: column - 0.3 for method, column in values(24, 2).items()}
    probes = pd.concat([probe_rows(own, people), probe_rows(turned, people, null="turned"),
                        probe_rows(other, people, null="other_scan")])  # fmt: skip
    table = statistics.faithfulness(probes, **FEW)
    assert list(table.columns) == list(FAITHFULNESS_COLUMNS)
    row = row_of(table, "lrp")
    nulls = (turned["lrp"] + other["lrp"]) / 2
    person_means, person_gaps = [], []
    for start in range(0, 24, 2):
        person_means.append(own["lrp"][start : start + 2].mean())
        person_gaps.append((own["lrp"] - nulls)[start : start + 2].mean())
    assert row["mean"] == pytest.approx(np.mean(person_means))
    assert row["null_mean"] == pytest.approx(nulls.mean())
    assert row["difference_to_null"] == pytest.approx(np.mean(person_gaps))
    counts = draw_counts(1, 12, 300)
    draws = {"": counts @ np.array(person_means) / 12, "difference_": counts @ np.array(person_gaps) / 12}
    for name, drawn in draws.items():
        low, high = interval(drawn[:, None], 12)
        assert row[[f"{name}low", f"{name}high"]].tolist() == pytest.approx([low[0], high[0]])
    assert row["p_value"] == pytest.approx(sign_flip_test(np.array(person_gaps)[:, None], 1, 999)[0])
    # Two methods are claimed, two are controls.
    both = sorted([row["p_value"], row_of(table, "saliency")["p_value"]])
    assert row["p_holm"] == pytest.approx(max(2 * both[0], both[1]) if row["p_value"] == both[1] else 2 * both[0])
    assert np.isnan(row_of(table, "edges")["p_holm"]) and np.isfinite(row_of(table, "edges")["p_value"])
    assert row[["n_scans", "n_people", "n_seeds", "n_excluded"]].tolist() == [24, 12, 1, 0]
    assert (table["random_mean"] == row_of(table, "random_noise")["mean"]).all()
    assert dict(zip(table["method"], table["rank"], strict=True)) == {
        "lrp": 1,
        "saliency": 2,
        "edges": 3,
        "random_noise": 4,
    }
    assert row["probability_first"] == 1 and row["rank_high"] == 1
    assert row_of(table, "edges")["is_control"] and not row["is_control"]


def test_less_is_better_where_the_metric_says_so():
    own, people = values(), persons(24, 2)
    nulls = {method: column + 0.2 for method, column in own.items()}
    probes = pd.concat([probe_rows(own, people), probe_rows(nulls, people, null="phase")])
    table = statistics.faithfulness(probes.assign(metric="earth_movers_distance"), **FEW)
    assert row_of(table, "random_noise")["rank"] == 1
    assert table["difference_to_null"].to_numpy() == pytest.approx(0.2) and (table["difference_low"] > 0).all()


def test_a_scan_that_one_method_lost_is_left_out_for_all_its_nulls_and_the_truth():
    own, people = values(), persons(24, 2)
    own["saliency"][[3, 5]] = NAN
    probes = pd.concat([probe_rows(own, people), probe_rows(values(24, 1), people, null="turned"),
                        probe_rows({"exact_truth": np.arange(24.0)}, people)])  # fmt: skip
    table = statistics.faithfulness(probes, **FEW)
    kept = np.setdiff1d(np.arange(24), [3, 5])
    assert (table["n_scans"] == 22).all() and (table["n_excluded"] == 2).all()
    frame = pd.DataFrame(
        {"person": np.array(people)[kept], "value": own["lrp"][kept], "null": values(24, 1)["lrp"][kept]}
    )
    means = frame.groupby("person").mean().mean()
    assert row_of(table, "lrp")[["mean", "null_mean"]].tolist() == pytest.approx(means.tolist())
    expected = pd.Series(np.arange(24.0)[kept]).groupby(np.array(people)[kept]).mean().mean()
    assert row_of(table, "exact_truth")["mean"] == pytest.approx(expected)


def test_a_truth_that_few_scans_have_takes_no_scan_from_the_methods_and_no_rank():
    own, people = values(), persons(24, 2)
    truth = np.full(24, NAN)
    truth[:6] = 2.0
    probes = pd.concat([probe_rows(own, people), probe_rows({"exact_truth": truth[:6]}, people)])
    table = statistics.faithfulness(probes, **FEW)
    alone = statistics.faithfulness(probe_rows(own, people), **FEW)
    pd.testing.assert_frame_equal(
        table[table["method"] != "exact_truth"].reset_index(drop=True), alone, check_dtype=False
    )
    row = row_of(table, "exact_truth")
    assert row[["mean", "n_scans", "n_people"]].tolist() == [2, 6, 3] and row["is_control"]
    assert np.isnan([row["rank"], row["probability_first"], row["null_mean"], row["p_value"]]).all()


def test_a_method_without_nulls_is_not_compared_with_any():
    own, people = values(), persons(24, 2)
    nulls = {"lrp": own["lrp"] - 0.1}
    table = statistics.faithfulness(
        pd.concat([probe_rows(own, people), probe_rows(nulls, people, null="phase")]), **FEW
    )
    columns = ["null_mean", "difference_to_null", "difference_low", "p_value", "p_holm"]
    assert table.loc[table["method"] != "lrp", columns].isna().all(axis=None)
    assert row_of(table, "lrp")[columns].notna().all()


def test_a_person_without_a_null_counts_in_the_mean_but_not_in_the_difference():
    own, people = values(), persons(24, 2)
    nulls = {"lrp": own["lrp"] - np.linspace(0.1, 0.2, 24)}
    part = probe_rows(nulls, people, null="phase")
    part = part[~part["participant_id"].isin(["person-00", "person-01"])]
    row = row_of(statistics.faithfulness(pd.concat([probe_rows(own, people), part]), **FEW), "lrp")
    gaps = np.linspace(0.1, 0.2, 24).reshape(12, 2).mean(axis=1)[2:]
    assert row["difference_to_null"] == pytest.approx(gaps.mean()) and row["n_people"] == 12
    # Ten people, all positive: two of 1,024 sign patterns are as extreme, up to the random choice of patterns.
    assert row["p_value"] < 0.02


def test_folds_seeds_models_and_settings_are_kept_apart_or_together_as_they_should():
    own, people = values(), persons(24, 2)
    first = probe_rows(own, people)
    probes = pd.concat([first, first.assign(seed=2, value=first["value"] + 1), first.assign(model="other"),
                        first.assign(setting="nd push_pull fraction"), first.assign(metric="sic")])  # fmt: skip
    table = statistics.faithfulness(probes, **FEW)
    assert len(table) == 4 * 4
    both = table[
        (table["model"] == "net") & (table["metric"] == "aic") & (table["setting"] == "nd push_pull information")
    ]
    assert (both["n_seeds"] == 2).all() and (both["n_scans"] == 24).all()
    single = statistics.faithfulness(first, **FEW)
    assert row_of(both, "lrp")["mean"] == pytest.approx(row_of(single, "lrp")["mean"] + 0.5)


def test_what_has_no_value_has_a_row_without_numbers():
    own, people = values(), persons(24, 2)
    own["broken"] = np.full(24, NAN)
    own["broken"][:3] = 1.0
    table = statistics.faithfulness(probe_rows(own, people), **FEW)
    row = row_of(table, "broken")
    assert np.isnan([row["mean"], row["rank"]]).all() and row["n_scans"] == 3
    assert row_of(table, "lrp")["n_scans"] == 24
    nothing = statistics.faithfulness(probe_rows({"lrp": np.full(4, NAN)}, persons(4)), **FEW)
    assert nothing["mean"].isna().all() and nothing["n_excluded"].tolist() == [4]
    assert list(statistics.faithfulness(pd.DataFrame(), **FEW).columns) == list(FAITHFULNESS_COLUMNS)


def test_rows_of_no_scan_have_a_mean_without_an_interval():
    table = statistics.faithfulness(probe_rows({"lrp": np.array([0.7]), "edges": np.array([1.0])}, [""]), **FEW)
    row = row_of(table, "lrp")
    assert row["mean"] == 0.7 and np.isnan([row["low"], row["high"]]).all() and row["rank"] == 2


# Sanity


def checks(probes: pd.DataFrame, spreads: pd.DataFrame | None = None) -> pd.DataFrame:
    empty = pd.DataFrame(columns=["model", "metric", "setting", "constant", "spread"])
    return statistics.sanity(probes, empty if spreads is None else spreads, seed=1, n_bootstrap=300)


def test_a_constant_network_must_not_tell_maps_apart():
    spreads = pd.DataFrame({
        "model": "net", "metric": "aic", "constant": ["right", "right", "wrong", "right", "wrong"],
        "setting": ["nd", "nd", "nd", "pair", "pair"], "spread": [NAN, 1e-12, NAN, 0.108, 0.0],
    })  # fmt: skip
    table = checks(probe_rows(values(), persons(24, 2)), spreads)
    assert list(table.columns) == list(SANITY_COLUMNS)
    found = table[table["check"].str.startswith("constant")].set_index(["setting", "check"])
    # A metric that leaves every scan out under a constant network has not been tested by it.
    assert found["passed"].to_dict() == {
        ("nd", "constant_right"): True,
        ("pair", "constant_right"): False, ("pair", "constant_wrong"): True,
    }  # fmt: skip
    assert found.loc[("pair", "constant_right"), "value"] == 0.108 and (found["recipe"] == "corrected").all()
    assert (table["meaning"].str.len() > 20).all()


@pytest.mark.parametrize(("lift", "passed"), [(0.3, True), (0.0, False), (-0.3, False)])
def test_the_truth_must_beat_noise_on_the_scans_that_have_one(lift, passed):
    own, people = values(), persons(24, 2)
    truth = probe_rows(
        {"exact_truth": own["random_noise"][:16] + lift + np.tile([0.05, 0.05, -0.05, -0.05], 4)}, people
    )
    table = checks(pd.concat([probe_rows(own, people), truth])).set_index("check")
    row = table.loc["truth_beats_noise"]
    assert row["passed"] == passed and row["limit"] == 0
    gaps = np.full(8, lift) + np.tile([0.05, -0.05], 4)
    drawn = draw_counts(1, 12, 300)[:, :8]
    low, _ = interval((drawn @ gaps / drawn.sum(axis=1))[:, None], 8)
    assert row["value"] == pytest.approx(low[0])
    assert "truth_beats_noise" not in checks(probe_rows(own, people)).set_index("check").index


def test_noise_must_not_be_better_than_the_median_method():
    own, people = values(), persons(24, 2)
    good = checks(probe_rows(own, people)).set_index("check").loc["noise_beats_methods"]
    assert good["passed"] and good["value"] < 0
    means = np.array([own[name].reshape(12, 2).mean(axis=1) for name in ("random_noise", "saliency", "lrp")])
    drawn = draw_counts(1, 12, 300) @ means.T / 12
    low, _ = interval((drawn[:, 0] - np.median(drawn[:, 1:], axis=1))[:, None], 12)
    assert good["value"] == pytest.approx(low[0])
    own["random_noise"] = own["lrp"] + 0.5
    bad = checks(probe_rows(own, people)).set_index("check").loc["noise_beats_methods"]
    assert not bad["passed"] and bad["value"] > 0
    turned = (
        checks(probe_rows(own, people, metric="earth_movers_distance")).set_index("check").loc["noise_beats_methods"]
    )
    assert turned["passed"] and turned["value"] < 0


def test_without_noise_or_people_nothing_is_claimed():
    own, people = values(), persons(24, 2)
    assert checks(probe_rows({"lrp": own["lrp"]}, people)).empty
    lone = pd.concat([probe_rows(own, ["a"] * 24), probe_rows({"exact_truth": own["lrp"]}, ["a"] * 24)])
    table = checks(lone).set_index("check")
    assert not table.loc["truth_beats_noise", "passed"] and table.loc["noise_beats_methods", "passed"]
    assert statistics.sanity(pd.DataFrame(), pd.DataFrame(), seed=1).empty


def test_numbers_depend_on_the_seed_and_not_on_the_order_of_the_rows():
    own, people = values(), persons(24, 2)
    probes = pd.concat([probe_rows(own, people), probe_rows(values(24, 1), people, null="turned")])
    shuffled = probes.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(statistics.faithfulness(shuffled, **FEW), statistics.faithfulness(probes, **FEW))
    other = statistics.faithfulness(probes, **{**FEW, "seed": 2})
    assert (other["low"] != statistics.faithfulness(probes, **FEW)["low"]).any()


def curve_rows(curves: dict[str, list[list[float]]], *, null: str = "") -> pd.DataFrame:
    """Curves of one network on a grid of their own length: `curves[method][scan]`."""
    return pd.concat([
        pd.DataFrame({
            "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, "method": method, "null": null,
            "scan_id": f"s{scan}", "metric": "aic", "setting": "pair webp", "x": np.linspace(0, 1, len(heights)),
            "y": np.array(heights, float),
        })
        for method, scans in curves.items() for scan, heights in enumerate(scans)
    ], ignore_index=True)  # fmt: skip


def test_the_median_curve_is_degenerate_where_half_the_scans_are_never_right_and_the_mean_is_not():
    from heatproof.statistics import median_curves

    own = {"saliency": [[0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]}
    table = median_curves(pd.concat([curve_rows(own), curve_rows({"saliency": [[1] * 5] * 3}, null="turned")]))
    (row,) = table.itertuples()
    assert (row.n_scans, row.median_curve_area) == (3, 0.0)
    # One scan in three is right from x = .5 on, halfway from .25 on; what the whole scan adds does not count.
    assert row.mean_curve_area == pytest.approx((0.125 + 0.5) / 3)
    assert list(median_curves(pd.DataFrame()).columns) == list(table.columns)


def test_the_area_of_a_straight_curve_does_not_shrink_with_the_grid():
    from heatproof.statistics import median_curves

    for n in (5, 41):
        rising = np.linspace(0, 1, n)
        (row,) = median_curves(curve_rows({"saliency": [rising]})).itertuples()
        # A half but for the last triangle, which the whole scan reaches.
        assert row.median_curve_area == pytest.approx(0.5 - 0.5 / (n - 1) ** 2)


def test_median_curves_count_the_scans_that_every_method_has():
    from heatproof.statistics import median_curves

    flat, gone = [0.2] * 5, [0.2, np.nan, 0.2, 0.2, 0.2]
    own = {
        "saliency": [[0.4] * 5, [1.0] * 5, [0.6] * 5, [0.6] * 5],
        "lrp": [flat, gone, flat, flat],
        "gradcam": [gone, gone, flat, gone],
        "exact_truth": [[0.9] * 5, [0.9] * 5],
    }
    curves = curve_rows(own)
    for rows in (curves, curves.dropna(subset="y"), curves.sample(frac=1, random_state=0)):
        table = median_curves(rows).set_index("method")
        # The second scan lacks a method; one that fails almost everywhere and the truth take no scan with them.
        assert table["n_scans"].to_dict() == {"saliency": 3, "lrp": 3, "gradcam": 1, "exact_truth": 1}
        assert table.loc["saliency", "mean_curve_area"] == pytest.approx((0.4 + 0.6 + 0.6) / 3)
        assert table.loc["saliency", "median_curve_area"] == pytest.approx(0.6)
        assert table.loc["exact_truth", "mean_curve_area"] == pytest.approx(0.9)
        assert np.isnan(table.loc["gradcam", "mean_curve_area"])
    # Another network's gaps are its own.
    both = median_curves(pd.concat([curves, curve_rows({"saliency": own["saliency"]}).assign(model="other")]))
    assert both.set_index(["model", "method"]).loc[("other", "saliency"), "n_scans"] == 4
