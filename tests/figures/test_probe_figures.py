"""Figures about metrics that ask the network, single scans, and classes."""

from __future__ import annotations

import warnings

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import confusion_matrix, roc_auc_score

from heatproof.errors import GeometryError
from heatproof.figures import selection
from heatproof.figures.agreement import draw_metric_agreement
from heatproof.figures.confusion import count_confusions, draw_confusion
from heatproof.figures.faithfulness import draw_faithfulness
from heatproof.figures.gallery import MOST_METHODS, Example, draw_gallery
from heatproof.figures.information import draw_information_curves
from heatproof.figures.metric_ranks import draw_metric_ranks
from heatproof.figures.networks import N_BINS, _mean_roc, _roc, draw_performance, draw_training
from heatproof.figures.style import BLUE, CONTROL, INK, OUTLINE, VERMILION, condition_label, save
from heatproof.geometry import Grid
from heatproof.statistics import performance, reliability
from heatproof.statistics.resampling import bootstrap_means, interval

METHODS = ["best", "second", "third", "fourth", "fifth", "sixth", "last", "random_noise"]
CONTROLS = ["random_noise"]
WHO = {"model": "net", "recipe": "corrected"}
SETTING = "nd push_pull information"
NONE = pd.DataFrame()


def words(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def curve_table(n_people: int = 6) -> pd.DataFrame:
    """Two scans of each person; a method's curves are powers of x, the better the smaller; one null lies below."""
    random = np.random.default_rng(0)
    x = np.linspace(0, 1, 11)
    frames = []
    for metric in ("aic", "sic"):
        for setting in (SETTING, "nd push_pull fraction", "third setting"):
            for number, method in enumerate([*METHODS, "exact_truth"]):
                for scan in range(2 * n_people):
                    power = 0.2 if method == "exact_truth" else 0.5 + 0.3 * number + 0.1 * random.random()
                    for null, factor in (("", 1.0), ("turned", 3.0)):
                        about = {**WHO, "method": method, "null": null, "metric": metric, "setting": setting,
                                 "scan_id": f"s{scan}", "participant_id": f"p{scan // 2}"}  # fmt: skip
                        frames.append(pd.DataFrame({**about, "x": x, "y": x ** (factor * power)}))
    return pd.concat(frames, ignore_index=True)


def faithfulness_rows(metric: str, means: dict[str, float], setting: str = SETTING, **columns) -> pd.DataFrame:
    table = pd.DataFrame({"method": list(means), "mean": list(means.values())})
    sign = -1 if metric == "deletion" else 1
    ranks = (-sign * table["mean"]).where(table["method"] != "exact_truth").rank(method="min")
    defaults = {
        **WHO, "metric": metric, "setting": setting, "is_control": table["method"].isin([*CONTROLS, "exact_truth"]),
        "low": table["mean"] - 0.02, "high": table["mean"] + 0.02, "n_scans": 8, "n_people": 4, "n_excluded": 3,
        "null_mean": 0.1, "difference_to_null": 0.2, "difference_low": 0.1, "difference_high": 0.3, "p_holm": 0.01,
        "random_mean": 0.15, "rank": ranks,
    }  # fmt: skip
    return table.assign(**{**defaults, **columns})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_information_curves(NONE, NONE, [], []),
        lambda: draw_information_curves(curve_table(1).query("metric == 'none'"), NONE, [], []),
        lambda: draw_faithfulness(NONE),
        lambda: draw_metric_ranks(NONE, NONE, []),
        lambda: draw_metric_agreement(NONE, NONE, NONE),
        lambda: draw_gallery([], ["lrp"], [], Grid((4, 4))),
        lambda: draw_gallery([Example("s", "a", "a", np.ones((4, 4)), None, {})], ["lrp"], [], Grid((4, 4))),
        lambda: draw_confusion(NONE, ["a", "b"], ["net"]),
        lambda: draw_confusion(class_predictions().assign(part="train"), ["a", "b", "c"], ["net"]),
    ],
)
def test_a_study_without_probes_or_maps_says_so(draw, tmp_path):
    figure = draw()
    assert len(words(figure).strip()) > 15
    save(figure, [tmp_path / "empty.svg"])


# Information curves


def test_the_drawn_curve_is_the_mean_over_people_with_their_bootstrap_interval():
    curves = curve_table()
    figure = draw_information_curves(curves, NONE, METHODS, CONTROLS, seed=3, n_bootstrap=100)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "AIC, nd push-pull information", "AIC, nd push-pull fraction",
        "SIC, nd push-pull information", "SIC, nd push-pull fraction",
    ]  # fmt: skip
    panel = figure.axes[0]
    own = curves[(curves["metric"] == "aic") & (curves["setting"] == SETTING) & (curves["null"] == "")]
    own = own[own["method"] == "best"]
    people = np.stack([
        np.mean([scan["y"].to_numpy() for _, scan in person.groupby("scan_id")], axis=0)
        for _, person in own.groupby("participant_id")
    ])  # fmt: skip
    lines = {line.get_label(): line for line in panel.lines}
    np.testing.assert_allclose(lines["Best"].get_ydata(), people.mean(axis=0))
    low, high = interval(bootstrap_means(people, 3, 100), 6)
    band = panel.collections[0].get_paths()[0].vertices
    for place, bound in enumerate((low, high)):
        heights = [(band[np.isclose(band[:, 0], x), 1].min(), band[np.isclose(band[:, 0], x), 1].max())[place]
                   for x in lines["Best"].get_xdata()[1:-1]]  # fmt: skip
        np.testing.assert_allclose(heights, bound[1:-1])


def test_six_methods_are_coloured_and_the_key_is_in_the_order_of_the_areas():
    areas = faithfulness_rows(
        "aic", {"second": 0.9, "best": 0.8, "third": 0.7, "fourth": 0.6, "fifth": 0.5, "sixth": 0.4, "last": 0.3,
                "random_noise": 0.2, "exact_truth": 0.95},
    )  # fmt: skip
    figure = draw_information_curves(curve_table(), areas, METHODS, CONTROLS, n_bootstrap=20)
    key = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert key[:3] == [
        "The truth as a map  0.95 [0.93, 0.97]", "Second  0.90 [0.88, 0.92]", "Best  0.80 [0.78, 0.82]",
    ]  # fmt: skip
    assert key[-2:] == ["1 other methods", "null: own map turned"]
    lines = {line.get_label().split("  ")[0]: line for line in figure.axes[0].lines}
    assert to_hex(lines["Random noise"].get_color()) == CONTROL
    assert (lines["The truth as a map"].get_color(), lines["The truth as a map"].is_dashed()) == ("black", True)
    coloured = ("Second", "Best", "Third", "Fourth", "Fifth", "Sixth")
    assert len({to_hex(lines[name].get_color()) for name in coloured} - {CONTROL, "#000000"}) == 6
    assert len(figure.axes[0].collections) == 6
    assert "n = 8 scans of 4 people (3 more left out)" in words(figure)


def test_the_null_is_that_of_methods_and_not_of_controls_or_the_truth():
    curves = curve_table()
    wild = curves["method"].isin(["random_noise", "exact_truth"]) & (curves["null"] == "turned")
    spoiled = curves.assign(y=np.where(wild, 99.0, curves["y"]))
    drawn = []
    for table in (curves, spoiled):
        figure = draw_information_curves(table, NONE, METHODS, CONTROLS, n_bootstrap=20)
        line = next(line for line in figure.axes[0].lines if line.get_label() == "null: own map turned")
        drawn.append(line.get_ydata())
    np.testing.assert_array_equal(*drawn)
    assert (drawn[0] <= 1).all()


def test_curves_of_different_networks_are_not_mixed():
    curves = curve_table()
    other = curves.assign(model="other", y=0.5)
    both = pd.concat([other, curves])
    heights = []
    for table in (curves, both):
        figure = draw_information_curves(table, NONE, METHODS, CONTROLS, models=["net", "other"], n_bootstrap=20)
        heights.append(np.concatenate([line.get_ydata() for line in figure.axes[0].lines]))
    np.testing.assert_array_equal(*heights)
    published = pd.concat([curves.assign(recipe="as_published", y=0.5), curves])
    figure = draw_information_curves(published, NONE, METHODS, CONTROLS, n_bootstrap=20)
    np.testing.assert_array_equal(np.concatenate([line.get_ydata() for line in figure.axes[0].lines]), heights[0])


# Faithfulness


def test_verdicts_need_both_a_clear_interval_and_holm():
    table = faithfulness_rows(
        "insertion", {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2, "random_noise": 0.15, "exact_truth": 0.9},
        difference_low=[0.1, 0.1, -0.3, -0.1, np.nan, 0.1], difference_high=[0.3, 0.3, -0.1, 0.1, np.nan, 0.3],
        p_holm=[0.01, 0.2, 0.01, 0.01, np.nan, np.nan],
    )  # fmt: skip
    axes = draw_faithfulness(table).axes[0]
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == ["Random noise", "D", "C", "B", "A", "The truth as a map"]
    marks = {rows[int(line.get_ydata()[0])]: (line.get_marker(), to_hex(line.get_color()))
             for line in axes.lines if line.get_marker() in "osXD*"}  # fmt: skip
    assert marks == {
        "A": ("o", BLUE.lower()), "B": ("D", INK), "C": ("X", VERMILION.lower()), "D": ("D", INK),
        "Random noise": ("s", CONTROL), "The truth as a map": ("*", INK),
    }  # fmt: skip
    hollow = [line for line in axes.lines if line.get_marker() in "s*"]
    assert all(line.get_markerfacecolor() == "white" for line in hollow)


def test_a_panel_says_which_way_is_better():
    means = {"a": 0.5, "b": 0.4, "random_noise": 0.3}
    table = pd.concat([faithfulness_rows("insertion", means), faithfulness_rows("deletion", means, "")])
    insertion, deletion = draw_faithfulness(table).axes[:2]
    assert "larger is better" in insertion.get_xlabel()
    assert "smaller is better" in deletion.get_xlabel()
    only_first = pd.concat([table, faithfulness_rows("insertion", means, "another fill")])
    assert [axes.get_title(loc="left") for axes in draw_faithfulness(only_first).axes] == ["Insertion", "Deletion"]


def test_a_method_without_a_number_keeps_its_row_and_has_no_mark():
    table = faithfulness_rows("insertion", {"a": 0.5, "failed": np.nan, "random_noise": 0.3})
    axes = draw_faithfulness(table).axes[0]
    row = [text.get_text() for text in axes.get_yticklabels()].index("Failed")
    assert not [line for line in axes.lines if line.get_marker() in "osXD" and row in line.get_ydata()]


def test_no_more_than_six_metrics_are_drawn():
    table = pd.concat([faithfulness_rows(f"metric_{i}", {"a": 0.5, "b": 0.4}) for i in range(8)])
    assert sum(axes.axison for axes in draw_faithfulness(table).axes) == 6


# Ranks


def rank_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth prefers a, b, c; insertion c, b, a; deletion does not know c."""
    faithful = pd.concat([
        faithfulness_rows("insertion", {"a": 0.1, "b": 0.2, "c": 0.3, "exact_truth": 0.9}),
        faithfulness_rows("deletion", {"a": 0.1, "b": 0.2}, ""),
    ])  # fmt: skip
    view = {**WHO, "level": "scan", "truth": "injected", "smoothing_mm": 0.0, "rectify": "abs_after"}
    ranking = pd.concat([
        pd.DataFrame({**view, "metric": name, "method": ["a", "b", "c"], "rank": [1.0, 2.0, 3.0]})
        for name in ("dice_at_size", "auroc", "spearman")
    ])  # fmt: skip
    return faithful, ranking


def test_ranks_stand_in_their_cells_in_the_order_of_the_truth():
    faithful, ranking = rank_tables()
    axes = draw_metric_ranks(faithful, ranking, ["b"], failed={"net": {("insertion", SETTING)}}).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["A", "B", "C"]
    columns = [text.get_text() for text in axes.get_xticklabels()]
    assert columns == ["Dice, size-matched", "AUROC", "Insertion, nd push-pull information *", "Deletion"]
    drawn = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(drawn, [[1, 1, 3, 1], [2, 2, 2, 2], [3, 3, 1, np.nan]])
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[2, 0] == "3"
    assert (3, 2) not in cells
    hatched = [patch for patch in axes.patches if patch.get_hatch()]
    assert [patch.get_x() for patch in hatched] == [1.5]
    assert [to_hex(text.get_color()) for text in axes.get_yticklabels()] == [INK, CONTROL, INK]


def test_ranks_without_a_truth_are_sorted_by_what_there_is():
    faithful, _ = rank_tables()
    figure = draw_metric_ranks(faithful[faithful["metric"] == "insertion"], NONE, [])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["C", "B", "A"]
    assert "against the truth" not in words(figure)
    assert "failed a test" not in words(figure)


# Agreement


def agreement_rows(*pairs: tuple) -> pd.DataFrame:
    columns = ["metric_a", "setting_a", "metric_b", "setting_b", "tau", "is_truth"]
    table = pd.DataFrame(pairs, columns=columns)
    return table.assign(**WHO, low=table["tau"] - 0.2, high=table["tau"] + 0.2, tau_methods=table["tau"] / 2,
                        n_methods=7, n_scans=8)  # fmt: skip


AGREEMENT = agreement_rows(
    ("road", "", "infidelity", "", -0.5, False), ("road", "", "auroc", "", 0.9, True),
    ("road", "", "dice_at_size", "", 0.7, True), ("dice_at_size", "", "infidelity", "", -0.3, True),
    ("infidelity", "", "auroc", "", 0.1, True), ("auroc", "", "dice_at_size", "", 0.8, True),
)  # fmt: skip
SANITY = pd.DataFrame({
    **WHO, "metric": ["road", "infidelity", "infidelity"], "setting": "", "check": ["x", "x", "y"],
    "passed": [True, True, False],
})  # fmt: skip


def test_each_pair_stands_once_below_the_diagonal_whatever_its_order():
    for table in (AGREEMENT, AGREEMENT.sample(frac=1, random_state=0)):
        axes = draw_metric_agreement(table, NONE, SANITY).axes[0]
        down = [text.get_text() for text in axes.get_yticklabels()]
        across = [text.get_text() for text in axes.get_xticklabels()]
        values = np.ma.filled(axes.images[0].get_array().astype(float), np.nan)
        assert across[0] == "Dice, size-matched"
        assert down[0] == "AUROC"
        found = {frozenset((a, b)): values[i, j] for i, a in enumerate(down) for j, b in enumerate(across)
                 if np.isfinite(values[i, j])}  # fmt: skip
        assert found == {
            frozenset(("ROAD", "Infidelity *")): -0.5, frozenset(("ROAD", "AUROC")): 0.9,
            frozenset(("ROAD", "Dice, size-matched")): 0.7, frozenset(("Infidelity *", "Dice, size-matched")): -0.3,
            frozenset(("Infidelity *", "AUROC")): 0.1, frozenset(("AUROC", "Dice, size-matched")): 0.8,
        }  # fmt: skip
        assert np.isnan(values[np.triu_indices_from(values, 1)]).all()


def test_metrics_are_sorted_by_their_agreement_with_the_headline_truth():
    alphas = pd.DataFrame({**WHO, "metric": ["road"], "setting": "", "alpha_ordinal": 0.6, "alpha_ordinal_low": 0.5,
                           "alpha_ordinal_high": 0.7})  # fmt: skip
    figure = draw_metric_agreement(AGREEMENT, alphas, SANITY)
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "Against Dice, size-matched")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Infidelity *", "ROAD"]
    marks = {line.get_marker(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert marks["o"] == (0.7, 1)
    assert marks["X"] == (-0.3, 0)
    assert marks["^"] == (0.6, pytest.approx(0.7))
    ticks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    assert ticks == [-0.15, 0.35]


def test_without_a_truth_the_matrix_stands_alone():
    figure = draw_metric_agreement(AGREEMENT[~AGREEMENT["is_truth"]], NONE, NONE)
    assert "truth" not in words(figure)
    assert len(figure.axes[0].images) == 1


def test_checks_of_another_network_star_nothing():
    assert selection.failed_conditions(SANITY) == {("infidelity", "")}
    assert "*" not in words(draw_metric_agreement(AGREEMENT, NONE, SANITY.assign(model="other")))


def test_conditions_are_named():
    assert condition_label("sic", SETTING) == "SIC, nd push-pull information"
    assert condition_label("infidelity", "") == "Infidelity"


def test_figures_of_the_tables_as_the_study_writes_them(tables, tmp_path):
    study, _, frames = tables
    curves = pd.read_parquet(study.folder / "curves.parquet")
    controls = selection.controls_of(frames["ranking"])
    methods = sorted(frames["ranking"]["method"].unique())
    drawings = [
        lambda: draw_information_curves(curves, frames["faithfulness"], methods, controls, n_bootstrap=20),
        lambda: draw_faithfulness(frames["faithfulness"]),
        lambda: draw_metric_ranks(frames["faithfulness"], frames["ranking"], controls),
        lambda: draw_metric_agreement(frames["metric_agreement"], frames["metric_reliability"], frames["sanity"]),
    ]
    for draw in drawings:
        files = [tmp_path / "once.svg", tmp_path / "again.svg"]
        for file in files:
            figure = draw()
            assert "n = " in words(figure)
            save(figure, [file])
        assert files[0].read_bytes() == files[1].read_bytes()


# Gallery


def example(shape: tuple[int, ...], **changes) -> Example:
    random = np.random.default_rng(0)
    truth = np.zeros(shape)
    truth[tuple(slice(3, 6) for _ in shape)] = 1.0
    maps = {"lrp": random.normal(size=shape), "gradcam": random.random(shape), "edges": random.random(shape)}
    fields = {"scan_id": "s", "diagnosis": "glioma", "predicted": "glioma", "image": random.random(shape)}
    return Example(**{**fields, "truth": truth, "maps": maps, **changes})


def grid_of_shape(shape: tuple[int, ...]) -> Grid:
    affine = np.diag([4.0, 4.0, 4.0, 1.0]) if len(shape) == 3 else None
    return Grid(shape, affine, (4.0,) * len(shape), {1: "ms", 2: "pixel", 3: "mm"}[len(shape)])


@pytest.mark.parametrize("shape", [(40,), (12, 15), (8, 9, 10)])
def test_gallery_of_any_number_of_axes(shape, tmp_path):
    wrong = example(shape, predicted="meningioma", truth=None, maps={"lrp": np.ones(shape)})
    figure = draw_gallery(
        [example(shape), wrong], ["lrp", "gradcam", "edges", "absent"], ["edges"], grid_of_shape(shape)
    )
    text = words(figure)
    for expected in (
        "Glioma\nrecognised",
        "Glioma\ntaken for Meningioma",
        "LRP",
        "Edges\n(control)",
        "no map",
        "n = 2",
    ):
        assert expected in text
    assert "Absent" not in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(figure, [tmp_path / "gallery.png"])
    assert (tmp_path / "gallery.png").stat().st_size > 2000


def test_signed_maps_diverge_around_zero_and_each_has_a_scale_of_its_own():
    one, other = example((12, 15)), example((12, 15))
    other.maps["lrp"][:] = np.abs(other.maps["lrp"]) * 50
    figure = draw_gallery([one, other], ["lrp", "gradcam"], [], grid_of_shape((12, 15)))
    panels = np.array(figure.axes[:6]).reshape(2, 3)
    for row, shown in zip(panels, (one, other), strict=True):
        signed, unsigned = row[1].images[-1], row[2].images[-1]
        top = np.percentile(np.abs(shown.maps["lrp"]), 99.5)
        assert (signed.norm.vmin, signed.norm.vmax) == (pytest.approx(-top), pytest.approx(top))
        assert unsigned.norm.vmin == 0
        assert unsigned.norm.vmax == pytest.approx(np.percentile(shown.maps["gradcam"], 99.5))
        assert len(row[0].images) == 1
        # Where nothing is relevant the image shows through.
        np.testing.assert_allclose(signed.get_alpha(), 0.85 * np.clip(np.abs(shown.maps["lrp"]) / top, 0, 1))
        for axes in row:
            outline = axes.collections[0]
            assert to_hex(outline.get_edgecolor()[0]) == OUTLINE
            inside = np.concatenate([path.vertices for path in outline.get_paths()])
            assert (inside.min(), inside.max()) == (2.5, 5.5)


def test_a_volume_is_cut_where_its_truth_is_largest_however_it_is_stored():
    shape = (8, 9, 10)
    truth = np.zeros(shape)
    truth[2:4, 2:4, 2] = 1
    truth[2:7, 2:7, 7] = 1
    image = np.random.default_rng(1).random(shape)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    turned = affine.copy()
    turned[2] = [0, 0, -4.0, 36.0]
    drawn = []
    for matrix, flip in ((affine, False), (turned, True)):
        parts = [values[:, :, ::-1] if flip else values for values in (image, truth)]
        shown = example(shape, image=parts[0], truth=parts[1], maps={"lrp": parts[0]})
        figure = draw_gallery([shown], ["lrp"], [], Grid(shape, matrix))
        assert "z = 28 mm" in words(figure)
        drawn.append(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(*drawn)
    # Left is left, and the front of the head is above.
    centre = drawn[0][2:-2, 2:-2]
    np.testing.assert_allclose(centre, image[:, :, 7].T[::-1])


def test_a_volume_without_an_affine_is_refused():
    with pytest.raises(GeometryError):
        draw_gallery([example((8, 9, 10))], ["lrp"], [], Grid((8, 9, 10)))


def test_a_trace_is_as_opaque_as_it_is_relevant():
    heatmap = np.zeros(40)
    heatmap[10:20], heatmap[30:] = 2.0, -1.0
    figure = draw_gallery([example((40,), truth=None, maps={"lrp": heatmap})], ["lrp"], [], grid_of_shape((40,)))
    pieces = figure.axes[1].collections[0]
    colours, segments = pieces.get_colors(), pieces.get_segments()
    assert len(segments) == 39
    assert to_hex(colours[15]) == VERMILION.lower()
    assert to_hex(colours[35]) == BLUE.lower()
    np.testing.assert_allclose(colours[[5, 15, 35], 3], [0, 1, 0.5])
    np.testing.assert_allclose(segments[1][:, 0], [4.0, 8.0])


def test_more_methods_than_fit_are_counted():
    maps = {f"m{i}": np.ones((6, 6)) for i in range(MOST_METHODS + 3)}
    figure = draw_gallery([example((6, 6), maps=maps)], list(maps), [], grid_of_shape((6, 6)))
    assert "not shown: 3 more of the methods" in words(figure)


# Classes


def class_predictions(n: int = 90, n_classes: int = 3) -> pd.DataFrame:
    random = np.random.default_rng(2)
    target = np.arange(n) % n_classes
    probability = random.dirichlet(np.ones(n_classes), n) * 0.6
    probability[np.arange(n), target] += 0.4
    return pd.DataFrame({
        **WHO, "fold": np.arange(n) % 3, "seed": 1, "part": "test", "scan_id": [f"s{i}" for i in range(n)],
        "participant_id": [f"p{i // 2}" for i in range(n)], "target": target, "predicted": probability.argmax(axis=1),
        **{f"probability_{k}": probability[:, k] for k in range(n_classes)},
    })  # fmt: skip


def test_confusions_equal_scikit_learn_and_rows_are_shares_of_the_true_class():
    table = class_predictions()
    expected = confusion_matrix(table["target"], table["predicted"], labels=[0, 1, 2, 3])
    np.testing.assert_array_equal(count_confusions(table, 4), expected)
    figure = draw_confusion(table, ["meningioma", "glioma", "pituitary"], ["net"])
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, expected[:3, :3] / expected[:3, :3].sum(axis=1, keepdims=True))
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells[:2] == [f"{100 * shares[0, 0]:.0f} %", str(expected[0, 0])]
    assert "n = 90 test scans of 45 people" in words(figure)


def test_a_class_without_test_scans_has_no_shares():
    figure = draw_confusion(class_predictions(), ["a", "b", "c", "unseen"], ["net"])
    assert words(figure).count("n/a") == 4
    assert np.isnan(np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)[3]).all()


def test_the_mean_curve_of_the_classes_has_the_mean_of_their_areas():
    table = class_predictions()
    probability = table[["probability_0", "probability_1", "probability_2"]].to_numpy()
    curves = [_roc((table["target"] == k).to_numpy(), probability[:, k]) for k in range(3)]
    false, true = _mean_roc(curves)
    area = (np.diff(false) * true[:-1]).sum()
    assert area == pytest.approx(roc_auc_score(table["target"], probability, multi_class="ovr", average="macro"))
    assert (false[0], false[-1], true[-1]) == (0, 1, 1)


def test_performance_of_three_classes_shows_the_predicted_class():
    table = class_predictions()
    figure = draw_performance(table, performance(table, seed=1, n_bootstrap=50), ["net"])
    accuracy, roc, calibration = figure.axes
    chance = next(line for line in accuracy.lines if line.get_label() == "chance")
    assert chance.get_xdata()[0] == pytest.approx(1 / 3)
    assert len(roc.lines) == 3 + 1 + 1
    assert calibration.get_xlabel() == "probability of the predicted class"
    curve = reliability(table, N_BINS)
    np.testing.assert_allclose(calibration.collections[0].get_offsets(), curve[["mean_probability", "observed_share"]])


def test_performance_of_two_classes_speaks_of_patients():
    table = class_predictions(n_classes=2)
    figure = draw_performance(table, performance(table, seed=1, n_bootstrap=50), ["net"])
    assert figure.axes[2].get_xlabel() == "predicted probability of disease"
    false, true = _roc((table["target"] == 1).to_numpy(), table["probability_1"].to_numpy())
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xydata(), np.stack([false, true], axis=1))


def test_a_model_without_probabilities_has_an_accuracy_and_no_curves():
    table = class_predictions().drop(columns=["probability_0", "probability_1", "probability_2"])
    figure = draw_performance(table, performance(table, seed=1, n_bootstrap=50), ["net"])
    assert [line.get_label() for line in figure.axes[1].lines] == ["chance"]


def test_chance_in_training_is_one_over_the_classes():
    history = pd.DataFrame({
        **WHO, "fold": 0, "seed": 1, "epoch": [1, 2], "train_loss": 1.0, "validation_loss": 1.0,
        "validation_balanced_accuracy": 0.5,
    })  # fmt: skip
    chance = draw_training(history, ["net"], 4).axes[1].lines[-1]
    assert chance.get_ydata()[0] == 0.25
