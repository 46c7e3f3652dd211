"""Figures of ECG studies: paper, grids of methods, tables of waves, perturbation, and all others on signals."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb

from figures import ecg_study
from heatproof.cohorts.waves import wave_names
from heatproof.figures.catalogue import FIGURES
from heatproof.figures.confusion import draw_confusion
from heatproof.figures.ecg import (
    AGAINST,
    FOR,
    LEVELS,
    MM_PER_INCH,
    draw_ecg,
    first_of_each_model,
    paint_sheet,
    quantised,
    ribbon_boxes,
    ribbon_colours,
    spans,
)
from heatproof.figures.ecg_grid import PUBLISHED, decisive_part, draw_ecg_grid, nine_methods
from heatproof.figures.ecg_paper import LeadExample, draw_paper, lead_rows, one_lead, sheet_of
from heatproof.figures.estimates import draw_estimates, score_words
from heatproof.figures.lead_maps import draw_lead_maps
from heatproof.figures.metric_ranks import draw_metric_ranks
from heatproof.figures.networks import draw_performance, draw_training
from heatproof.figures.perturbation import draw_perturbation
from heatproof.figures.style import drawing, save
from heatproof.figures.waves import CHANCE, draw_wave_tables, hit_words, truth_cells, wave_table
from heatproof.geometry import Grid
from heatproof.stages.plot import plot
from heatproof.stages.recordings import areas_with_truth, lead_examples, methods_by_model, output_truths, waves_of
from heatproof.stages.results import StudyResults
from heatproof.stages.runs import read_text_table
from heatproof.statistics.resampling import bootstrap_means, interval

NONE = pd.DataFrame()
LEADS = ecg_study.LEADS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The results of a small ECG study: two networks, eight people."""
    folder = ecg_study.write(tmp_path_factory.mktemp("ecg"))
    return StudyResults(ecg_study.plot_inputs(folder, ecg_study.write_tables(folder)))


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(matplotlib.text.Text))


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def example(duration: float = 1200.0, step: float = 4.0, leads: tuple[str, ...] = LEADS, **changes) -> LeadExample:
    """A scan whose lead k has the voltage k / 100 mV but for one spike of 1 mV."""
    n = round(duration / step)
    image = np.repeat(np.arange(len(leads))[:, None] / 100, n, axis=1)
    image[:, n // 2] += 1.0
    truth = np.zeros_like(image)
    plain = LeadExample("s0", "pr", image, truth, {"saliency": image.copy()}, leads, step)
    return replace(plain, **changes)


def on_paper(recording: LeadExample, sheet, heatmap=None):
    with drawing() as make:
        axes = make(figsize=(5, 5)).add_subplot()
        paint_sheet(axes, recording, sheet, heatmap)
    return axes


# The paper


def test_twelve_leads_stand_in_the_usual_four_columns_whatever_their_order():
    usual = [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]]
    for order in (LEADS, LEADS[::-1], tuple(name.lower() for name in LEADS)):
        rows = [[order[lead].lower() for lead in row] for row in lead_rows(order)]
        assert rows == [[name.lower() for name in row] for row in usual]


@pytest.mark.parametrize(
    ("leads", "rows"),
    [
        (("I", "II", "V5"), [["I"], ["II", "V5"]]),
        (("II",), [["II"]]),
        (("X", "Y", "Z"), [["X"], ["Y"], ["Z"]]),
        (("a", "b", "c", "d", "e"), [["a", "d"], ["b", "e"], ["c"]]),
        (("II", "II"), [["II"], ["II"]]),
    ],
)
def test_other_leads_fill_the_sheet_and_none_is_lost(leads, rows):
    found = lead_rows(leads)
    assert [[leads[lead] for lead in row] for row in found] == rows
    assert sorted(lead for row in found for lead in row) == list(range(len(leads)))


def test_a_second_is_25_mm_and_a_millivolt_10_mm():
    recording = example()
    sheet = sheet_of(recording)
    axes = on_paper(recording, sheet)
    traces = [line for line in axes.lines if len(line.get_xdata()) == 300]
    assert len(traces) == 12
    for line, strip in zip(traces, sheet.strips, strict=True):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert x[250] - x[0] == pytest.approx(25.0)
        assert y[150] - strip.baseline == pytest.approx(10.0)
        np.testing.assert_allclose(y[:150], strip.baseline)
    pulse = next(line for line in axes.lines if len(line.get_xdata()) == 6)
    assert np.ptp(pulse.get_ydata()) == 10.0
    assert pulse.get_xdata()[3] - pulse.get_xdata()[2] == 5.0


def test_squares_are_one_and_five_millimetres():
    sheet = sheet_of(example())
    with drawing() as make:
        axes = make(figsize=(5, 5)).add_subplot()
        draw_paper(axes, sheet)
    for lines, step in zip(axes.collections, (1.0, 5.0), strict=True):
        upright = sorted({path.vertices[0, 0] for path in lines.get_paths() if np.ptp(path.vertices[:, 0]) == 0})
        np.testing.assert_allclose(np.diff(upright), step)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, sheet.width), (0, sheet.height))


def test_the_paper_is_printed_at_its_size():
    figure = draw_ecg([example()], {"pr": ["saliency"]})
    sheet = sheet_of(example())
    for axes in figure.axes[:2]:
        box = axes.get_position()
        assert box.width * figure.get_figwidth() * MM_PER_INCH == pytest.approx(sheet.width)
        assert box.height * figure.get_figheight() * MM_PER_INCH == pytest.approx(sheet.height)


def test_traces_do_not_run_into_other_rows():
    image = ecg_study.beat()
    recording = example(image=image, truth=None, maps={})
    sheet = sheet_of(recording)
    rows: dict[float, list] = {}
    for strip in sheet.strips:
        height = (image[strip.lead] - np.median(image[strip.lead])) * 10
        rows.setdefault(strip.baseline, []).append((strip.baseline + height.min(), strip.baseline + height.max()))
        assert strip.bottom < strip.baseline + height.min()
    bounds = sorted((min(a for a, _ in row), max(b for _, b in row)) for row in rows.values())
    assert len(bounds) == 3
    for (_, top), (bottom, _) in zip(bounds, bounds[1:], strict=False):
        assert bottom > top
    assert bounds[-1][1] < sheet.height


def test_a_long_recording_is_cut_into_columns_and_one_lead_runs_below():
    recording = example(duration=10_000)
    sheet = sheet_of(recording)
    *parts, rhythm = sheet.strips
    assert (recording.leads[rhythm.lead], rhythm.start, rhythm.stop) == ("II", 0, 2500)
    assert len(parts) == 12
    for strip in parts:
        # A column shows the same time as the rhythm strip under it.
        assert strip.left == pytest.approx(rhythm.left + strip.start * 4 / 40)
        assert strip.stop - strip.start == 625
    assert {(strip.start, recording.leads[strip.lead]) for strip in parts} >= {(0, "I"), (625, "aVL"), (1875, "V6")}


# Ribbons


def test_a_box_reaches_half_way_to_its_neighbours_and_encloses_the_trace():
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 8.0, 0.0])
    boxes = ribbon_boxes(x, y, np.zeros(4))
    strong = ribbon_boxes(x, y, np.ones(4))
    for i, box in enumerate(boxes):
        low, high = box.min(axis=0), box.max(axis=0)
        assert low[0] < x[i] - 0.5 < x[i] + 0.5 < high[0]
        assert low[1] < y[i] < high[1]
        assert (high - low < np.ptp(strong[i], axis=0)).all()
    assert boxes[2][:, 1].min() < 4 < 8 < boxes[2][:, 1].max()
    assert boxes[0][:, 0].max() < x[1]


def test_levels_count_from_zero_and_keep_their_sign():
    shares = np.array([0.0, 0.124, 0.126, -0.5, 0.99, 1.0, 7.0, -7.0])
    assert quantised(shares).tolist() == [0, 0, 1, -4, 7, 8, 8, -8]


def test_ribbons_lie_where_the_map_is_and_show_its_sign():
    heatmap = np.zeros((12, 300))
    heatmap[10, 100:110], heatmap[10, 200:205] = 1.0, -1.0
    recording, sheet = example(), sheet_of(example())
    axes = on_paper(recording, sheet, heatmap)
    ribbon = next(one for one in axes.collections if isinstance(one, PolyCollection) and one.get_zorder() == 3)
    strip = next(strip for strip in sheet.strips if strip.lead == 10)
    centres = np.array([path.vertices[:4].mean(axis=0) for path in ribbon.get_paths()])
    samples = np.rint((centres[:, 0] - strip.left) * 40 / recording.step).astype(int)
    assert sorted(samples) == [*range(100, 110), *range(200, 205)]
    np.testing.assert_allclose(centres[:, 1], strip.baseline, atol=1e-6)
    colours = [to_hex(colour) for colour in ribbon.get_facecolor()]
    assert {colour for colour, sample in zip(colours, samples, strict=True) if sample < 150} == {FOR[1]}
    assert {colour for colour, sample in zip(colours, samples, strict=True) if sample > 150} == {AGAINST[1]}


def test_the_full_ribbon_belongs_to_the_whole_map_not_to_each_lead():
    heatmap = np.zeros((12, 300))
    heatmap[0], heatmap[1] = 1.0, 0.25
    axes = on_paper(example(), sheet_of(example()), heatmap)
    ribbon = next(one for one in axes.collections if isinstance(one, PolyCollection) and one.get_zorder() == 3)
    colours = {to_hex(colour) for colour in ribbon.get_facecolor()}
    ramp = ribbon_colours(signed=False)
    assert colours == {to_hex(ramp(1.0)), to_hex(ramp(2 / LEVELS))}


def test_a_print_without_colour_still_tells_signs_apart_and_strong_from_weak():
    def grey(colour) -> float:
        return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))

    assert grey(FOR[1]) - grey(AGAINST[1]) > 0.2
    unsigned = ribbon_colours(signed=False)
    shades = [grey(unsigned(share)) for share in np.linspace(0, 1, LEVELS)]
    assert (np.diff(shades) < 0).all()
    for weak, strong in (FOR, AGAINST):
        assert grey(weak) - grey(strong) > 0.2


def test_an_effect_that_only_rises_has_the_colours_of_signed_maps_and_a_mark_has_not():
    effect = np.zeros((12, 300))
    effect[10, 140:160] = np.hanning(20)
    marks = (effect > 0).astype(float)
    maps = {"saliency": np.where(marks > 0, 1.0, -1.0)}
    for truth in (effect, marks):
        figure = draw_ecg([example(truth=truth, maps=maps)], {"pr": ["saliency"]})
        ribbon = next(one for one in figure.axes[0].collections if one.get_zorder() == 3)
        signed = to_hex(ribbon.get_facecolor()[-1]) == FOR[1]
        assert signed == (truth is effect)
        assert ("unsigned map" in words(figure)) == (truth is marks)


def test_a_map_of_nothing_or_of_noughts_draws_no_ribbon():
    for heatmap in (np.zeros((12, 300)), np.full((12, 300), np.nan)):
        axes = on_paper(example(), sheet_of(example()), heatmap)
        ribbons = [one for one in axes.collections if isinstance(one, PolyCollection) and one.get_zorder() == 3]
        assert sum(len(one.get_paths()) for one in ribbons) == 0


# Delineation


def test_bars_run_from_onset_to_end_of_every_wave():
    inside = np.zeros((12, 300), bool)
    inside[:, 100:121], inside[:, 290:300] = True, True
    recording = example(waves={"qrs": inside})
    sheet = sheet_of(recording)
    axes = on_paper(recording, sheet)
    bars = [one.get_paths()[0].vertices for one in axes.collections if "FillBetween" in type(one).__name__]
    assert len(bars) == 24
    first = sheet.strips[0]
    ends = {(round(float(bar[:, 0].min()), 6), round(float(bar[:, 0].max()), 6)) for bar in bars}
    assert (round(first.left + 10.0, 6), round(first.left + 12.0, 6)) in ends
    assert (round(first.left + 29.0, 6), round(first.left + 29.9, 6)) in ends
    # The rest of a wave that the recording cuts off is too short for its name.
    assert sum(text.get_text() == "QRS" for text in axes.texts) == 12


def test_spans_are_found():
    assert spans(np.array([1, 1, 0, 1, 0, 0, 1])) == [(0, 2), (3, 4), (6, 7)]
    assert spans(np.zeros(3)) == []


def test_waves_come_from_the_names_of_the_areas():
    names = wave_names(LEADS)
    found = waves_of(ecg_study.labels(160, 390), names)
    assert set(found) == {"p", "pq", "qrs", "st", "t", "tp"}
    np.testing.assert_array_equal(sum(inside.astype(int) for inside in found.values()), 1)
    time = np.arange(ecg_study.N_SAMPLES) * ecg_study.STEP
    np.testing.assert_array_equal(found["qrs"][5], (time >= 360) & (time <= 360 + ecg_study.QRS_MS))


# One scan per model, and the grid of methods


def test_truth_and_the_best_method_stand_side_by_side_for_each_model(study):
    figure = draw_ecg(lead_examples(study), methods_by_model(study), units=study.units)
    assert titles(figure) == [
        "PR (ms): exact truth", "PR (ms): SmoothGrad", "QT (ms): exact truth", "QT (ms): SmoothGrad",
    ]  # fmt: skip
    assert "25 mm/s, 10 mm/mV; n = 1 scan (s0)" in words(figure)


def test_a_model_without_a_map_is_left_out():
    scans = [example(), example(model="qt", maps={}), example(model="qt", scan_id="s1")]
    chosen = first_of_each_model(scans, {"qt": ["saliency"], "pr": ["saliency"], "none": ["saliency"]})
    assert [(one.model, one.scan_id) for one in chosen] == [("qt", "s1"), ("pr", "s0")]


def test_nine_methods_are_those_of_the_paper_in_its_order_and_controls_come_last():
    for other in ("gradient_shap", "expected_gradients"):
        # Gradient SHAP goes by either name.
        nine = [name for name in PUBLISHED if name != other]
        own = [*reversed(nine), "lrp", "random_noise"]
        assert nine_methods(own, ["random_noise"], own) == nine
    few = ["random_noise", "lrp", "gradcam", "untrained", "saliency"]
    assert nine_methods(few, ["random_noise", "untrained"], few) == [
        "saliency", "gradcam", "lrp", "random_noise", "untrained",
    ]  # fmt: skip
    assert nine_methods(few, [], ["gradcam"]) == ["gradcam"]


@pytest.mark.parametrize("leads", ["all", "one"])
def test_the_grid_is_three_by_three_with_the_truth_beside_it(leads):
    maps = {name: np.ones((12, 300)) for name in PUBLISHED}
    truth = np.zeros((12, 300))
    truth[7, 100:150] = 1
    figure = draw_ecg_grid([example(truth=truth, maps=maps)], {"pr": list(maps)}, leads=leads)
    places = [axes.get_position() for axes in figure.axes[:10]]
    assert titles(figure)[-1] == "Exact truth"
    columns = sorted({round(place.x0, 4) for place in places})
    rows = sorted({round(place.y0, 4) for place in places}, reverse=True)
    assert (len(columns), len(rows)) == (4, 3)
    grid = [(rows.index(round(p.y0, 4)), columns.index(round(p.x0, 4))) for p in places]
    assert grid == [*((i // 3, i % 3) for i in range(9)), (1, 3)]
    assert ("lead V2 of s0" in words(figure)) == (leads == "one")


def test_the_decisive_part_holds_most_of_the_truth():
    recording = example(duration=10_000, truth=np.zeros((12, 2500)))
    recording.truth[3, 1900:2000], recording.truth[4, 100:110] = -1.0, 5.0
    (strip,) = decisive_part(recording).strips
    assert strip.lead == 3
    assert strip.stop - strip.start == 625
    assert strip.start <= 1900
    assert strip.stop >= 2000
    for unknown in (None, np.zeros((12, 2500))):
        (strip,) = decisive_part(replace(recording, truth=unknown)).strips
        assert (strip.lead, strip.start) == (1, 0)
    assert one_lead(recording, 0, 0, 250).width == pytest.approx(9 + 25 + 5)


# Waves and leads


def areas_of(values: dict[str, np.ndarray], counts: np.ndarray | None = None) -> pd.DataFrame:
    """Area rows of two leads and three waves; `values` by method has shape (n_scans, 2, 3), two scans a person."""
    rows = []
    cells = [(lead, wave) for lead in ("I", "V5") for wave in ("p", "qrs", "t")]
    for method, table in values.items():
        for scan, masses in enumerate(table):
            for area, ((lead, wave), mass) in enumerate(zip(cells, masses.reshape(-1), strict=True)):
                rows.append({"model": "pr", "method": method, "scan_id": f"s{scan}", "participant_id": f"p{scan // 2}",
                             "area": area + 1, "name": f"{lead} {wave}", "mass": mass, "sum": -mass,
                             "n_voxels": 10 if counts is None else counts.reshape(-1)[area]})  # fmt: skip
    return pd.DataFrame(rows)


def test_shares_are_means_over_people_of_each_scans_own_shares():
    values = np.random.default_rng(0).uniform(1, 9, (6, 2, 3))
    values[5, 1, 2] = np.nan
    rows = areas_of({"lrp": values})
    rows[["lead", "wave"]] = rows["name"].str.split(" ", expand=True)
    table = wave_table(rows, "mass")
    expected = np.zeros((2, 3))
    for person in range(3):
        for scan in (2 * person, 2 * person + 1):
            masses = np.nan_to_num(values[scan])
            expected += masses / masses.sum() / 2 / 3
    np.testing.assert_allclose(table.mean, expected)
    assert table.mean.sum() == pytest.approx(1)
    assert (table.leads, table.waves) == (("I", "V5"), ("p", "qrs", "t"))


def test_the_tables_show_truth_and_chance_first_and_box_what_the_truth_has_above_chance():
    random = np.random.default_rng(1)
    truth = np.full((12, 2, 3), 1e-3)
    truth[:, 1, 1] = 1.0
    methods = {"lrp": random.uniform(0, 1, (12, 2, 3)), "random_noise": np.ones((12, 2, 3))}
    counts = np.array([[10, 20, 30], [10, 20, 10]])
    rows = areas_of({"exact_truth": truth, **methods}, counts)
    figure = draw_wave_tables(rows, ["random_noise", "lrp"], ["random_noise"], ["pr"], n_bootstrap=50, seed=2)
    panels = [axes for axes in figure.findobj(matplotlib.axes.Axes) if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["Exact truth", "Chance", "LRP", "Random noise"]
    np.testing.assert_allclose(np.asarray(panels[1].images[0].get_array()), counts)
    boxes = [(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in panels[2].patches]
    assert boxes == [(1.0, 1.0)]
    assert "boxed: 20 % [20, 20]" in words(figure)
    shares = methods["lrp"] / methods["lrp"].sum(axis=(1, 2), keepdims=True)
    people = 100 * shares[:, 1, 1].reshape(6, 2).mean(axis=1)
    low, high = interval(bootstrap_means(people[:, None], 2, 50), 6)
    assert f"boxed: {people.mean():.0f} % [{low[0]:.0f}, {high[0]:.0f}]" in words(figure)
    assert "n = 6 people" in words(figure)


def test_without_a_truth_nothing_is_boxed():
    rows = areas_of({"lrp": np.ones((2, 2, 3))})
    figure = draw_wave_tables(rows, ["lrp"], [], ["pr"])
    assert "boxed" not in words(figure)
    assert "Chance" in words(figure)


def test_mass_is_that_of_the_sum_where_no_other_was_kept():
    rows = areas_of({"lrp": np.ones((2, 2, 3))})
    kept, made = (draw_wave_tables(table, ["lrp"], [], ["pr"]) for table in (rows, rows.drop(columns="mass")))
    assert "share of |relevance|" in words(kept)
    assert "share of the |sum| of relevance" in words(made)


def test_a_network_that_was_right_has_its_mass_where_the_truth_is(study):
    areas = areas_with_truth(study)
    rows = areas[areas["model"] == "qt"]
    parts = rows["name"].str.rsplit(" ", n=1, expand=True)
    rows = rows.assign(lead=parts[0], wave=parts[1])
    tables = {name: wave_table(rows[rows["method"] == name], "mass") for name in ("exact_truth", "smoothgrad")}
    tables[CHANCE] = wave_table(rows[rows["method"] == "smoothgrad"], "n_voxels")
    marked = truth_cells(tables)
    waves = tables["exact_truth"].waves
    assert {waves[column] for _, column in np.argwhere(marked)} <= {"st", "t", "tp"}
    hits = {name: float(table.mean[marked].sum()) for name, table in tables.items()}
    assert hits["exact_truth"] > hits["smoothgrad"] > 2 * hits[CHANCE]
    assert hit_words(tables["exact_truth"], marked, 0, 20).startswith(f"boxed: {100 * hits['exact_truth']:.0f} %")
    own = np.abs(ecg_study.effect("qt", **study_numbers(study, "s0")))
    assert rows.query("method == 'exact_truth' and scan_id == 's0'")["mass"].sum() == pytest.approx(own.sum(), rel=1e-5)


def study_numbers(study, scan_id: str) -> dict[str, float]:
    table = read_text_table(study.inputs.participants).set_index("scan_id")
    return {name: float(table.loc[scan_id, name]) for name in ecg_study.OUTPUTS}


# Perturbation


def test_the_longest_published_setting_and_the_corrected_ones_are_drawn_per_model(study):
    curves = pd.read_parquet(study.inputs.curves)
    figure = draw_perturbation(
        curves, study.table("faithfulness"), list(ecg_study.METHODS), ["random_noise"], ["qt", "pr"], n_bootstrap=50
    )
    assert titles(figure) == [
        "QT: Perturbation, published 25", "QT: Perturbation, mean 10 %", "Perturbation", "Perturbation", "Turbé's F",
        "PR: Perturbation, published 25", "PR: Perturbation, mean 10 %", "Perturbation", "Perturbation", "Turbé's F",
    ]  # fmt: skip
    assert "published 25" in figure.axes[2].get_xlabel()
    own = curves.query("model == 'qt' and method == 'saliency' and setting == 'published 25' and null == ''")
    people = own.pivot_table(index="participant_id", columns="x", values="y").to_numpy()
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["Saliency"].get_ydata(), people.mean(axis=0))
    assert figure.axes[0].get_ylabel() == "|measured − answer| / measured"
    assert figure.axes[1].get_ylabel() == "change of the answer (SD of the target)"


def test_areas_stand_alone_where_no_curve_was_kept(study):
    figure = draw_perturbation(NONE, study.table("faithfulness"), list(ecg_study.METHODS), [], ["pr"])
    assert titles(figure)[0] == "PR: Perturbation"
    assert "curves" not in words(figure)


# Numbers instead of classes


def test_estimates_lie_on_the_identity_and_quote_the_table(study):
    figure = draw_estimates(study.predictions, study.table("performance"), ["qt", "pr"], study.facts.outputs)
    assert titles(figure) == ["QT", "PR"]
    axes = figure.axes[0]
    assert axes.get_xlabel() == "measured QT (ms)"
    own = study.predictions.query("model == 'qt'")
    np.testing.assert_allclose(axes.collections[0].get_offsets(), own[["measured", "estimate"]].to_numpy())
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    rows = study.table("performance").query("model == 'qt' and fold == -1 and metric == 'r2'")
    assert f"R² {rows['value'].iloc[0]:#.3g}" in words(figure)
    assert score_words(NONE, "qt") == ""


def test_classes_have_no_figure_where_numbers_are_predicted(study):
    performance = draw_performance(study.predictions, study.table("performance"), ["pr", "qt"])
    confusion = draw_confusion(study.predictions, ["recording"], ["pr", "qt"])
    assert "numbers" in words(performance)
    assert "numbers" in words(confusion)
    mixed = pd.concat([study.predictions, pd.DataFrame([
        {"model": "net", "seed": 0, "part": "test", "participant_id": "p", "target": 0, "predicted": 0}
    ])])  # fmt: skip
    assert titles(draw_confusion(mixed, ["a", "b"], ["net", "pr"])) == ["Net"]


def test_training_shows_the_share_of_variance_of_numbers_and_accuracy_of_classes(study):
    epochs = {"epoch": [1, 2], "train_loss": 1.0, "validation_loss": 1.0, "fold": 0, "seed": 0}
    history = pd.concat([
        pd.DataFrame({**epochs, "model": "pr", "validation_r2": [-40.0, 0.9], "validation_balanced_accuracy": np.nan}),
        pd.DataFrame({**epochs, "model": "net", "validation_r2": np.nan, "validation_balanced_accuracy": [0.5, 0.8]}),
    ])  # fmt: skip
    _, number, _, accuracy = draw_training(history, ["pr", "net"]).axes
    assert (number.get_ylabel(), accuracy.get_ylabel()) == ("R² (share of variance)", "balanced accuracy")
    assert number.get_ylim() == (-1.03, 1.03)
    np.testing.assert_array_equal(number.lines[0].get_ydata(), [-40.0, 0.9])
    assert [axes.lines[-1].get_ydata()[0] for axes in (number, accuracy)] == [0.0, 0.5]


# Several models


def test_ranks_and_agreement_have_a_panel_per_network(study):
    failed = {"qt": {("turbe_f", "mean")}}
    figure = draw_metric_ranks(
        study.table("faithfulness"), study.table("ranking"), study.controls, failed=failed, models=["qt", "pr"]
    )
    blocks = [axes for axes in figure.axes if axes.get_title(loc="left") in ("QT", "PR")]
    stars = [sum("*" in text.get_text() for text in axes.get_xticklabels()) for axes in blocks]
    assert stars == [1, 0]
    assert "* hatched" in words(figure)


def test_mean_maps_have_a_strip_per_lead_and_the_truth_of_each_network(study):
    truths = output_truths(study, "counterfactual")
    assert set(truths) == {"pr", "qt"}
    maps = {(model, "lrp"): np.arange(3600.0).reshape(12, 300) for model in ("pr", "qt")}
    figure = draw_lead_maps(maps, {"qt": truths["qt"]}, LEADS, Grid((300,), None, (4.0,), "ms"))
    panels = [axes for axes in figure.findobj(matplotlib.axes.Axes) if axes.images]
    assert [axes.get_title(loc="left") for axes in panels] == ["LRP", "The truth", "LRP"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == list(LEADS)
    assert panels[0].get_xlim() == (-2.0, 1198.0)
    assert panels[0].get_xlabel() == "time (ms)"
    drawn = np.asarray(panels[0].images[0].get_array())
    np.testing.assert_allclose(drawn, np.clip(maps["pr", "lrp"] / np.percentile(maps["pr", "lrp"], 99.9), 0, 1))
    outlined = [line for line in panels[1].lines if len(line.get_xdata()) == 5]
    first = np.flatnonzero(truths["qt"][1][0])
    assert min(outlined[0].get_xdata()) == (first[0] - 0.5) * 4
    assert max(outlined[0].get_xdata()) == (first[-1] + 0.5) * 4


# The whole study


def test_every_figure_of_a_signal_study_is_drawn_or_says_why_not(study, tmp_path):
    paths = {name: [tmp_path / f"{name}.svg"] for name in FIGURES}
    paths["ecg"].append(tmp_path / "ecg.png")
    plot(study.inputs, paths)
    assert paths["ecg"][1].stat().st_size > 20_000
    said = {name for name, (svg, *_) in paths.items() if svg.stat().st_size < 8000}
    assert said >= {"gallery", "confusion", "performance", "gain", "recipes", "information_curves"}
    assert not said & {"ecg", "ecg_grid", "ecg_lead", "waves", "perturbation", "estimates", "mean_maps", "training"}


def test_kept_scans_have_signed_truths_labels_and_all_leads(study):
    with h5py.File(next(iter(study.inputs.examples)), "r") as file:
        (entry,) = (one for one in file.values() if one.attrs["scan_id"] == "s0")
        assert entry["image"].shape == entry["truth"].shape == entry["labels"].shape == (12, 300)
        assert entry["maps/gradcam"].shape == (12, 300)
        np.testing.assert_allclose(entry["truth"][:], ecg_study.effect("pr", **study_numbers(study, "s0")), atol=1e-6)
        assert (entry["truth"][:] < 0).any()


def test_scans_without_a_known_truth_are_drawn_all_the_same(study, tmp_path):
    copy = ecg_study.without_truths(study.inputs.cohort.parent, tmp_path / "copy")
    other = StudyResults(ecg_study.plot_inputs(copy, dict(study.inputs.tables)))
    scans, methods = lead_examples(other), methods_by_model(other)
    assert titles(draw_ecg(scans, methods, units=other.units)) == ["PR (ms): SmoothGrad", "QT (ms): SmoothGrad"]
    assert "lead II of s0" in words(draw_ecg_grid(scans, methods, leads="one"))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_ecg([], {}),
        lambda: draw_ecg([example()], {"pr": ["lrp"]}),
        lambda: draw_ecg_grid([], {}),
        lambda: draw_wave_tables(NONE, [], [], ["pr"]),
        lambda: draw_wave_tables(areas_of({"lrp": np.ones((1, 2, 3))}).assign(name="Hippocampus"), ["lrp"], [], ["pr"]),
        lambda: draw_perturbation(NONE, NONE, [], []),
        lambda: draw_estimates(NONE, NONE, ["pr"]),
        lambda: draw_lead_maps({}, {}, LEADS, Grid((300,), None, (4.0,), "ms")),
    ],
)
def test_nothing_to_draw_is_said(draw, tmp_path):
    figure = draw()
    assert len(words(figure).strip()) > 15
    save(figure, [tmp_path / "empty.svg"])


@pytest.mark.real_data
def test_a_record_of_ludb_fits_the_paper(tmp_path):
    folder = Path(os.environ.get("HEATPROOF_SHARED_DATA", ""), "ecg_ludb", "data")
    if "HEATPROOF_SHARED_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("HEATPROOF_SHARED_DATA does not hold ecg_ludb")
    import wfdb

    record = wfdb.rdrecord(str(folder / "1"))
    image = record.p_signal.T
    recording = LeadExample("1", "qt", image, None, {"input_magnitude": np.abs(image)}, tuple(record.sig_name), 2.0)
    figure = draw_ecg([recording], {"qt": ["input_magnitude"]})
    assert sheet_of(recording).width == pytest.approx(9 + 250 + 5)
    save(figure, [tmp_path / "record.png", tmp_path / "record.svg"])
    assert (tmp_path / "record.svg").stat().st_size < 3e6
