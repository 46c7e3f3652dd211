from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import roc_curve

from heatproof.errors import HeatproofError
from heatproof.figures import selection
from heatproof.figures.areas import draw_areas, draw_fingerprints, draw_gain
from heatproof.figures.curves import draw_dice_curves, draw_smoothing
from heatproof.figures.maps import Slice, _normalised, cut_slice, draw_mean_maps, world_box
from heatproof.figures.networks import _roc, draw_performance, draw_training
from heatproof.figures.nulls import draw_nulls
from heatproof.figures.ranking import draw_ranking
from heatproof.figures.recipes import draw_recipes
from heatproof.figures.stability import draw_rank_stability
from heatproof.figures.style import (
    CONTROL,
    SERIES,
    VERDICT_COLOURS,
    drawing,
    label,
    method_styles,
    note,
    save,
    shorten,
    spread,
)
from heatproof.figures.volumes import draw_volume_relevance
from heatproof.geometry import Grid
from heatproof.stages.plot import plot
from publication import synthetic_study as synthetic

EMPTY = pd.DataFrame(columns=["model", "method", "recipe", "metric", "part", "name", "panel"])


def words(figure) -> str:
    """All text of a figure."""
    import matplotlib.text

    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_an_unknown_figure_is_refused(tables):
    study, paths, _ = tables
    with pytest.raises(HeatproofError, match="no such figure"):
        plot(synthetic.plot_inputs(study, paths), {"pie": []})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_ranking(EMPTY),
        lambda: draw_smoothing(EMPTY, [], []),
        lambda: draw_dice_curves({}, [], []),
        lambda: draw_areas(EMPTY, [("m", "lrp")]),
        lambda: draw_gain(EMPTY, [("m", "lrp")]),
        lambda: draw_fingerprints(EMPTY, [("m", "lrp")]),
        lambda: draw_volume_relevance(EMPTY, EMPTY, [("m", "lrp")], "hippocampus"),
        lambda: draw_rank_stability(EMPTY, []),
        lambda: draw_training(EMPTY, ["m"]),
        lambda: draw_performance(EMPTY, EMPTY, ["m"]),
        lambda: draw_nulls(EMPTY, [("m", "lrp")], []),
        lambda: draw_recipes(EMPTY, [], []),
        lambda: draw_mean_maps({}, None, None, np.ones((3, 3, 3), bool), Grid((3, 3, 3))),
    ],
)
def test_nothing_to_draw_is_said_not_raised(draw, tmp_path):
    figure = draw()
    assert len(words(figure).strip()) > 15
    save(figure, [tmp_path / "empty.svg", tmp_path / "empty.png"])
    assert (tmp_path / "empty.png").stat().st_size > 500


def test_ranking_sorts_by_mean_and_sets_controls_apart(tables):
    figure = draw_ranking(tables[2]["ranking"], ["boehle", "svm"])
    first = figure.axes[0]
    names = [text.get_text() for text in first.get_yticklabels()]
    assert names[-2:] == ["Integrated gradients", "LRP"]
    assert {"Anatomical prior", "Random noise", "Untrained"} <= set(names)
    markers = {line.get_marker(): to_hex(line.get_color()) for line in first.lines if line.get_marker() in "osXD"}
    assert markers["o"] == VERDICT_COLOURS["yes"].lower()
    assert markers["X"] == VERDICT_COLOURS["no"].lower()
    assert markers["s"] in (CONTROL, "#1d2733")
    labels = first.get_legend_handles_labels()[1]
    assert "anatomical prior, 95 % interval" in labels
    assert "chance" in labels
    assert "n = 13 scans of 12 people" in words(figure)


def test_headline_view_prefers_the_individual_truth_and_never_looks_at_scores(tables):
    ranking = tables[2]["ranking"]
    view = selection.headline_view(ranking)
    assert view == selection.View("scan", "injected", "dice_at_size", 0.0, "abs_after")
    assert selection.headline_view(ranking.assign(mean=-ranking["mean"])) == view
    assert selection.headline_view(ranking, "auroc").metric == "auroc"
    group = selection.headline_view(ranking[ranking["level"] == "group"])
    assert (group.level, group.individual) == ("group", False)


def test_smaller_is_better_turns_the_order():
    rows = {
        "model": "m",
        "recipe": "corrected",
        "level": "scan",
        "truth": "t",
        "smoothing_mm": 0.0,
        "rectify": "signed",
    }
    table = pd.DataFrame({**rows, "metric": "earth_movers_distance", "method": ["far", "near"], "mean": [9.0, 2.0]})
    view = selection.headline_view(table)
    assert selection.method_order(table, view) == ["near", "far"]


def test_every_method_is_shown_once_from_the_first_model_that_has_it():
    pairs = pd.DataFrame({"model": ["net", "net", "svm", "svm"], "method": ["lrp", "edges", "edges", "svm_weights"]})
    assert selection.representatives(pairs, ["net", "svm"]) == [
        ("net", "lrp"),
        ("net", "edges"),
        ("svm", "svm_weights"),
    ]


@pytest.mark.parametrize("flip", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_a_slice_does_not_depend_on_how_the_volume_is_stored(flip):
    random = np.random.default_rng(0)
    shape = (9, 11, 10)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-16, -20, -18)
    values = random.normal(size=shape).astype(np.float32)
    turned = affine.copy()
    for axis in flip:
        turned[:3, 3] += turned[:3, axis] * (shape[axis] - 1)
        turned[:3, axis] *= -1
    plain, other = Grid(shape, affine), Grid(shape, turned)
    mask = np.ones(shape, bool)
    for axis in range(3):
        cut = Slice(axis, 4.0)
        flipped = np.flip(values, flip)
        expected = cut_slice(values, plain, cut, world_box(plain, mask))
        np.testing.assert_array_equal(cut_slice(flipped, other, cut, world_box(other, np.flip(mask, flip))), expected)


def test_left_is_left_and_up_is_up():
    values = np.zeros((10, 10, 10), np.float32)
    values[1, 5, 8] = 1  # x = -3.5 (left), z = +3.5 (top) under the affine below
    affine = np.eye(4)
    affine[:3, 3] = -4.5
    grid = Grid(values.shape, affine)
    drawn = cut_slice(values, grid, Slice(1, 0.5), world_box(grid, np.ones(values.shape, bool)))
    up, right = np.argwhere(drawn == 1)[0] / np.array(drawn.shape)
    assert right < 0.4
    assert up > 0.6


def test_one_bright_voxel_outside_the_brain_changes_no_colour():
    values = np.random.default_rng(0).normal(size=(12, 12, 12))
    mask = np.zeros(values.shape, bool)
    mask[2:10, 2:10, 2:10] = True
    bright = values.copy()
    bright[0, 0, 0] = 1e6
    np.testing.assert_array_equal(_normalised(values, mask), _normalised(bright, mask))
    assert _normalised(np.zeros_like(values), mask).max() == 0
    assert np.isfinite(_normalised(np.where(mask, values, np.nan), mask)).all()


@pytest.mark.parametrize("shape", [(40,), (12, 15), (8, 9, 10)])
def test_mean_maps_of_any_number_of_axes(shape, tmp_path):
    random = np.random.default_rng(0)
    affine = np.diag([4.0, 4.0, 4.0, 1.0]) if len(shape) == 3 else None
    grid = Grid(shape, affine, units="mm" if affine is not None else "ms")
    maps = {"lrp": random.normal(size=shape), "edges": np.zeros(shape)}
    truth = np.zeros(shape, bool)
    truth[tuple(slice(3, 6) for _ in shape)] = True
    figure = draw_mean_maps(maps, random.random(shape), truth, np.ones(shape, bool), grid, controls=["edges"])
    assert "LRP" in words(figure)
    save(figure, [tmp_path / "maps.png"])
    assert (tmp_path / "maps.png").stat().st_size > 2000


def test_roc_equals_scikit_learn_with_ties():
    random = np.random.default_rng(3)
    target = random.random(60) < 0.4
    probability = np.round(random.random(60) + 0.3 * target, 1)
    false_rate, true_rate = _roc(target, probability)
    expected = roc_curve(target, probability, drop_intermediate=False)
    np.testing.assert_allclose(false_rate, expected[0])
    np.testing.assert_allclose(true_rate, expected[1])


def test_spread_labels_keep_their_distance_and_move_as_little_as_they_can():
    values = [0.0, 0.1, 0.15, 2.0]
    placed = spread(values, 0.5)
    assert all(b - a >= 0.5 - 1e-12 for a, b in itertools.pairwise(placed))
    assert placed[3] == 2.0
    assert np.mean(placed[:3]) == pytest.approx(np.mean(values[:3]))
    assert spread([1.0, 5.0], 0.5) == [1.0, 5.0]
    assert spread([], 1.0) == []


def test_methods_keep_colour_and_controls_stay_grey():
    methods = ["lrp", "saliency", "edges", "untrained"]
    styles = method_styles(methods, ["edges", "untrained"])
    assert method_styles(methods[::-1], ["edges", "untrained"]) == styles
    assert styles["lrp"]["color"] != styles["saliency"]["color"]
    assert styles["edges"]["color"] == CONTROL
    assert styles["edges"]["linestyle"] != styles["untrained"]["linestyle"]
    many = method_styles([f"m{i}" for i in range(len(SERIES) * 3)], [])
    assert len({(style["color"], str(style["linestyle"])) for style in many.values()}) == len(many)


def test_a_dollar_sign_in_a_name_is_drawn_as_it_is(tables, tmp_path):
    ranking = tables[2]["ranking"].replace({"method": {"lrp": r"lrp_$\frac{"}})
    save(draw_ranking(ranking), [tmp_path / "ranking.svg"])
    assert r"$\frac{" in (tmp_path / "ranking.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "words_"),
    [
        ("lrp_beta_0.5", "LRP beta 0.5"),
        ("guided_gradcam", "Guided Grad-CAM"),
        ("ig_zero", "IG zero"),
        ("wang_b_published", "Wang b published"),
        ("", ""),
    ],
)
def test_labels(name, words_):
    assert label(name) == words_


@pytest.mark.parametrize("width", [3.0, 5.6, 10.4])
def test_a_note_fits_the_width_of_its_figure(width):
    text = "n = 24 scans of 12 people (3 more left out); network: DenseNet; bars: 95 % bootstrap interval over people."
    with drawing() as make:
        figure = make(figsize=(width, 2.0), layout="constrained")
        figure.add_subplot()
        note(figure, text)
        figure.draw_without_rendering()
    words_below = figure._supxlabel
    assert words_below.get_window_extent().x1 <= figure.bbox.x1
    assert " ".join(words_below.get_text().split()) == text


def test_long_names_are_cut():
    assert len(shorten("a" * 80)) == 28
    assert shorten("short") == "short"


def test_recipes_show_both_ends_and_the_accuracy(tables):
    figure = draw_recipes(tables[2]["recipes"], ["lrp", "saliency"], [])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "Balanced accuracy, test scans" in titles
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["as published", "corrected"]


def test_rank_stability_shows_the_corrected_recipe_only(tables):
    stability = tables[2]["rank_stability"]
    doubled = pd.concat([stability, stability.assign(recipe="as_published", rank=99.0)])
    controls = selection.controls_of(tables[2]["ranking"])
    for table in (stability, doubled):
        figure = draw_rank_stability(table, controls)
        image = figure.axes[0].images[0].get_array()
        assert np.nanmax(np.ma.filled(image, np.nan)) < 99


def test_volume_figure_quotes_the_table(tables):
    who = {"model": ["m"] * 4, "method": ["lrp"] * 4, "target": [0, 1, 0, 1]}
    points = pd.DataFrame({**who, "volume_mm3": [4e3, 3e3, 4.2e3, 2.9e3], "sum": [1.0, 2.0, 1.1, 2.2]})
    line = pd.DataFrame(
        {"model": ["m"], "method": ["lrp"], "r": [-0.56], "low": [-0.7], "high": [-0.4], "p_value": [0.001]}
    )
    text = words(draw_volume_relevance(points, line, [("m", "lrp")], "hippocampus"))
    assert "r = -0.56 [-0.70, -0.40]\np = 0.001" in text
    assert "n = 4 people" in text
    undefined = words(draw_volume_relevance(points, line.assign(r=np.nan), [("m", "lrp")], "hippocampus"))
    assert "r not defined" in undefined


def test_the_caption_of_the_areas_names_the_networks_whose_maps_are_drawn():
    columns = {"method": "lrp", "area": 1, "name": "V5 qrs", "volume_mm3": 90.0, "sum": 0.5, "density": 2.0}
    n_scans = {"pr": 6, "qt": 7, "qrs": 9}
    table = pd.DataFrame([{"model": model, "n_scans": count, **columns} for model, count in n_scans.items()])
    words = draw_areas(table, [("pr", "lrp"), ("qt", "lrp")]).get_supxlabel()
    assert "networks: PR, QT;" in words.replace("\n", " ") and "mean over 7 scans" in words
    assert "network: QRS;" in draw_areas(table, [("qrs", "lrp")]).get_supxlabel().replace("\n", " ")


def test_an_area_whose_gain_is_refused_has_no_row():
    rows = [("refused", np.nan), ("hippocampus", 2.0), ("amygdala", 1.5)]
    gain = pd.DataFrame([
        {"model": "net", "method": "lrp", "area": i, "name": name, "gain": value, "low": value, "high": value,
         "n_true_positives": 5, "n_controls": 6}
        for i, (name, value) in enumerate(rows)
    ])  # fmt: skip
    figure = draw_gain(gain, [("net", "lrp")])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["amygdala", "hippocampus"]
