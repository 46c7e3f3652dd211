from __future__ import annotations

import dataclasses
import re

import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from figures import simulated_study as synthetic
from heatproof.cohorts.store import CohortFacts
from heatproof.figures.doses import draw_dose_frames, draw_doses
from heatproof.figures.simulated import Window, shown_scans
from heatproof.figures.simulated_scans import draw_simulated_scans
from heatproof.figures.simulated_warps import Flow, draw_simulated_warps
from heatproof.figures.simulator_scores import SCORES, draw_simulator_scores
from heatproof.figures.style import ABSENT, DPI, VERMILION, save
from heatproof.files import write_table
from heatproof.stages.plot import plot
from publication import synthetic_study as study_of_demo

LEADS = ("I", "V1", "V5")


def words(figure) -> str:
    """All text of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def coloured(figure, text: str) -> list[str]:
    """Colours of all words of a figure that hold some text."""
    return [found.get_color() for found in figure.findobj(matplotlib.text.Text) if text in found.get_text()]


def of_two_networks(folder) -> list:
    return synthetic.scans(folder, 2) + synthetic.scans(folder, 2, model="resnet")


DRAWN = [
    lambda scans, grid, leads: draw_simulated_scans(scans, grid, leads),
    lambda scans, grid, leads: draw_simulated_warps(scans, grid, leads),
    lambda scans, grid, leads: draw_doses(scans, grid, synthetic.table(), leads),
    lambda scans, grid, leads: draw_dose_frames(scans, grid, leads),
]


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_every_figure_draws_signals_images_and_volumes(draw, axes, tmp_path):
    leads = LEADS if axes == 1 else ()
    figure = draw(synthetic.scans(tmp_path, axes, channels=max(1, len(leads))), synthetic.grid_of(axes), leads)
    said = words(figure)
    assert "Velocity" in said and "effect injected" in said and "effect removed" in said
    # The lead with the largest change, and of a volume a slice through the effect.
    assert ("lead V5" in said) == (axes == 1)
    assert ("z = -8 mm" in said) == (axes == 3)
    files = [tmp_path / "figure.svg", tmp_path / "figure.png"]
    save(figure, files)
    assert all(2_000 < path.stat().st_size < 600_000 for path in files)


@pytest.mark.parametrize("draw", DRAWN[:2] + DRAWN[3:])
def test_a_study_without_simulators_says_so_and_is_left_out(draw, tmp_path):
    save(draw([], synthetic.grid_of(2), ()), [tmp_path / "absent.svg"])
    assert ABSENT in (tmp_path / "absent.svg").read_text(encoding="utf-8")


def test_tables_without_simulators_say_so_and_are_left_out(tmp_path):
    empty = synthetic.table().head(0)
    figures = [draw_doses([], synthetic.grid_of(2), empty), draw_simulator_scores(empty)]
    # A table without a row has lost its columns too when it is read from an empty file.
    for figure in [*figures, draw_simulator_scores(pd.DataFrame())]:
        save(figure, [tmp_path / "absent.svg"])
        assert ABSENT in (tmp_path / "absent.svg").read_text(encoding="utf-8")


def test_the_first_scan_of_each_network_and_direction_is_shown(tmp_path):
    scans = of_two_networks(tmp_path)
    assert [(scan.model, scan.direction, scan.scan_id) for scan in shown_scans(scans)] == [
        ("conv_net", "injection", "scan-0"), ("conv_net", "removal", "scan-2"),
        ("resnet", "injection", "scan-0"), ("resnet", "removal", "scan-2"),
    ]  # fmt: skip
    assert [scan.model for scan in shown_scans(scans, 2)] == ["conv_net", "conv_net"]
    assert "ResNet" in words(draw_simulated_scans(scans, synthetic.grid_of(2)))
    # The order of the configuration, which is not that of the alphabet.
    assert list(scans[0].simulated) == list(synthetic.SIMULATORS)


def test_lost_tissue_is_blue_and_gained_tissue_is_red(tmp_path):
    injection, removal = synthetic.scans(tmp_path, 2)
    grid = synthetic.grid_of(2)
    for scan, sign in ((injection, -1), (removal, 1)):
        figure = draw_simulated_scans([scan], grid)
        # Columns are the scan, the exact change and the simulators; the third row is the log-Jacobian.
        panel = figure.axes[2 * 6 + 1]
        image = panel.images[-1]
        colours = image.cmap(image.norm(scan.exact_log_jacobian[13, 13]))
        assert (colours[2] > colours[0]) == (sign < 0)
        assert np.sign(scan.exact_log_jacobian[13, 13]) == sign


def test_without_an_exact_change_there_is_no_column_for_it(tmp_path):
    known = synthetic.scans(tmp_path, 2)
    unknown = [dataclasses.replace(scan, exact_change=None, exact_log_jacobian=None, effect=None) for scan in known]
    grid = synthetic.grid_of(2)
    assert "Exact change" in words(draw_simulated_scans(known, grid))
    said = words(draw_simulated_scans(unknown, grid))
    assert "Exact change" not in said and "where the effect is" not in said


@pytest.mark.parametrize("draw", DRAWN)
def test_signals_whose_exact_change_nobody_knows_are_drawn_too(draw, tmp_path):
    nothing = {"exact_change": None, "exact_log_jacobian": None, "effect": None}
    scans = [dataclasses.replace(scan, **nothing) for scan in synthetic.scans(tmp_path, 1)]
    assert "effect removed" in words(draw(scans, synthetic.grid_of(1), ()))


def test_an_answer_that_moves_the_wrong_way_is_vermilion(tmp_path):
    scan = synthetic.scans(tmp_path, 2)[0]
    stubborn = dataclasses.replace(scan.simulated["attack"], answers=np.array([-2.2, -2.5, -3.0, -3.3]))
    scan = dataclasses.replace(scan, simulated={**scan.simulated, "attack": stubborn})
    figure = draw_simulated_scans([scan], synthetic.grid_of(2))
    assert coloured(figure, "−2.1 → −3.3") == [VERMILION]
    assert VERMILION not in coloured(figure, "−2.1 → +2.9")
    assert coloured(draw_doses([scan], synthetic.grid_of(2), synthetic.table()), "−2.5") == [VERMILION]


def test_a_mistaken_network_and_a_number_are_named(tmp_path):
    scan = synthetic.scans(tmp_path, 2)[0]
    assert scan.words == ["Control", "effect injected"]
    assert dataclasses.replace(scan, predicted="patient").words == ["Control", "taken for Patient", "effect injected"]
    number = synthetic.scans(tmp_path, 1, output="qt")[0]
    number = dataclasses.replace(number, predicted="402 ms", answer=402.0)
    assert number.words == ["QT: 402 ms", "to be raised"]
    assert "402" in words(draw_doses([number], synthetic.grid_of(1), synthetic.table()))


@pytest.mark.parametrize("axes", [2, 3])
def test_arrows_point_where_tissue_goes(axes, tmp_path):
    scan = synthetic.scans(tmp_path, axes)[0]
    window = Window.of(scan, synthetic.grid_of(axes))
    flow = Flow.of(scan.simulated["velocity"].displacement, window)
    gained = window.plane(scan.simulated["velocity"].log_jacobian)
    rows, columns = np.indices(gained.shape)
    centre = np.unravel_index(gained.argmin(), gained.shape)
    towards = (centre[0] - rows) * -flow.down + (centre[1] - columns) * -flow.right
    # A contraction draws tissue inwards, in the picture as in the volume, whichever way its axes run.
    assert towards.sum() > 0
    assert (towards < -1e-3 * towards.max()).mean() < 0.05
    assert flow.share == 0


def test_folds_are_counted_and_marked(tmp_path):
    figure = draw_simulated_warps(synthetic.scans(tmp_path, 2), synthetic.grid_of(2))
    said = words(figure)
    assert "no folds" in said
    assert re.search(r"0\.\d % folded", said)
    assert set(coloured(figure, "% folded")) == {VERMILION}
    assert "Attack" not in said, "what moves no tissue has no warp"


def test_simulators_that_move_no_tissue_have_no_figure_of_warps(tmp_path):
    scans = synthetic.scans(tmp_path, 2)
    scans = [dataclasses.replace(s, simulated={"attack": s.simulated["attack"]}) for s in scans]
    assert "No simulator of this study warps" in words(draw_simulated_warps(scans, synthetic.grid_of(2)))


def test_frames_are_as_wide_as_each_other_in_whole_pixels(tmp_path):
    figure = draw_dose_frames(synthetic.scans(tmp_path, 2), synthetic.grid_of(2))
    pixels = figure.get_figwidth() * DPI
    n_frames = 1 + len(synthetic.DOSES)
    assert pixels / n_frames == pytest.approx(round(pixels / n_frames))
    starts = [axes.get_position().x0 * pixels for axes in figure.axes[::2]]
    np.testing.assert_allclose(np.diff(starts), pixels / n_frames)


def test_the_dose_response_is_that_of_the_table():
    figure = draw_doses([], synthetic.grid_of(2), synthetic.table(("conv_net", "resnet")))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Conv net", "ResNet"]
    line = next(line for line in figure.axes[0].lines if line.get_label() == "Attack")
    np.testing.assert_allclose(line.get_xdata(), [0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(line.get_ydata(), [0, 0.5, 1.0, 1.5, 2.0])
    assert "n = 32 scans of 30 people" in words(figure)


def test_a_simulator_is_better_or_worse_than_the_first_by_the_direction_of_the_score():
    figure = draw_simulator_scores(synthetic.table())
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}

    def verdicts(score: str) -> list[str]:
        axes = panels[SCORES[score].words]
        texts = axes.get_legend_handles_labels()[1]
        return [text for text in texts if "first" in text]

    assert verdicts("change_correlation") == ["worse than the first"] * 3 + ["first simulator"]
    # A larger leak is worse.
    assert verdicts("leakage") == ["worse than the first"] * 3 + ["first simulator"]
    assert verdicts("dose_tau")[0] == "better than the first"
    assert verdicts("folded") == ["not told apart from the first", "first simulator"]
    assert "flipped" not in " ".join(panels), "a score that no simulator has takes no room"
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["Attack", "Map generator", "Published", "Velocity"]


def test_scores_of_several_networks_name_them_in_the_order_of_the_study():
    figure = draw_simulator_scores(synthetic.table(("resnet", "conv_net")), ["conv_net", "resnet"])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()][::-1]
    assert names[0] == "Velocity, Conv net"
    assert names[4] == "Velocity, ResNet"


def test_the_stage_draws_what_the_stage_before_has_kept(tables, tmp_path, monkeypatch):
    study, paths, _ = tables
    inputs = study_of_demo.plot_inputs(study, paths)
    shape = CohortFacts.read(inputs.cohort).grid.shape
    monkeypatch.setitem(synthetic.SHAPES, len(shape), shape)
    kept = synthetic.write(tmp_path / "simulations.h5", len(shape))
    write_table(synthetic.table(), tmp_path / "simulations.tsv")
    inputs = dataclasses.replace(
        inputs, simulations=[kept], tables={**inputs.tables, "simulations": tmp_path / "simulations.tsv"}
    )
    names = ("simulated_scans", "simulated_warps", "simulator_scores", "doses", "dose_frames")
    plot(inputs, {name: [tmp_path / f"{name}.svg"] for name in names})
    for name in names:
        drawing = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        assert ABSENT not in drawing, name
        assert "Velocity" in drawing, name
    # The frames are found again by their ids.
    assert re.findall(r'id="frame-([\d.]+)"', (tmp_path / "dose_frames.svg").read_text(encoding="utf-8")) == [
        "0", "0.25", "0.5", "0.75", "1",
    ]  # fmt: skip
