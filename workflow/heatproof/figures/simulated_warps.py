"""How each simulator moves tissue: the grid it carries along, arrows from where tissue was, and folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heatproof.cohorts.deformations import jacobian_determinant
from heatproof.figures.gallery import height_of, paint_plane
from heatproof.figures.simulated import (
    MOST_SIMULATORS,
    NONE_KEPT,
    Simulated,
    SimulatedScan,
    Window,
    bare,
    empty,
    name_scan,
    shown_scans,
    simulators_of,
    write,
)
from heatproof.figures.style import (
    INK,
    OUTLINE,
    SERIES,
    VERMILION,
    absent,
    drawing,
    escape,
    label,
    note,
    shorten,
)
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

PANEL, GAP = 1.9, 0.1
# Lines of the grid, and arrows, along the longer side of a picture.
LINES, ARROWS = 24, 20
# Arrows shorter than this share of the longest say nothing.
SHORTEST = 0.08
# Shorter steps than this share of the distance of two arrows are drawn longer.
VISIBLE = 0.9


@dataclass(frozen=True)
class Flow:
    """A warp in the plane that is drawn.

    Attributes
    ----------
    down, right : ndarray, shape (height, width)
        Displacement in pixels of the picture, its first row at the top: the simulated scan shows in a pixel what the
        scan shows `down` and `right` of it.
    folded : ndarray of bool, shape (height, width)
        Where the warp turns tissue inside out.
    share : float
        Of all voxels, not of the plane alone.
    """

    down: np.ndarray
    right: np.ndarray
    folded: np.ndarray
    share: float

    @classmethod
    def of(cls, displacement: np.ndarray, window: Window) -> Flow:
        """Return the warp of shape (axes, *space) in voxels in the plane of a window."""
        grid = window.grid
        folded = jacobian_determinant(displacement) <= 0
        down, right = displacement[:2]
        if grid.affine is not None:
            world = np.tensordot(grid.affine[:3, :3], displacement, axes=1) / min(grid.spacing)
            # In an axial slice the front of the head is at the top.
            right, down = world[0], -world[1]
        planes = [window.plane(values.astype(np.float32)) for values in (down, right, folded)]
        return cls(planes[0], planes[1], planes[2] > 0, float(folded.mean()))


def draw_simulated_warps(scans: Sequence[SimulatedScan], grid: Grid, channels: Sequence[str] = ()) -> Figure:
    """Draw for each scan a row of grids carried along and a row of arrows, a column per simulator that warps.

    Parameters
    ----------
    scans : sequence of SimulatedScan
        The first of each network and direction is drawn.
    grid : Grid
        Of all scans. Of a volume the axial slice with most of the effect is drawn, of signals the shift.
    channels : sequence of str
        Names of the channels, where they are leads.

    Raises
    ------
    GeometryError
        If a volume has no affine, so that nobody can say which slice is axial.
    """
    shown = shown_scans(scans)
    if not shown:
        return absent(NONE_KEPT)
    warping = [name for name in simulators_of(shown) if any(_warp(scan, name) is not None for scan in shown)]
    if not warping:
        return absent("No simulator of this study warps the scans.")
    windows, names = [Window.of(scan, grid) for scan in shown], warping[:MOST_SIMULATORS]
    if len(grid.shape) == 1:
        return _draw_shifts(windows, names, channels, len(warping) - len(names))
    return _draw_planes(windows, names, channels, len(warping) - len(names))


def _warp(scan: SimulatedScan, name: str) -> np.ndarray | None:
    one: Simulated | None = scan.simulated.get(name)
    return None if one is None else one.displacement


def _draw_planes(windows: Sequence[Window], names: Sequence[str], channels: Sequence[str], n_more: int) -> Figure:
    several = len({window.scan.model for window in windows}) > 1
    high = PANEL * height_of(windows[0].grid)
    left, top, bottom, step = 1.25, 0.32, 0.6, high + GAP
    columns = [(window, row) for window in windows for row in (_paint_grid, _paint_arrows)]
    # Wide enough for the note, however few simulators there are.
    width, height = left + max(len(names), 2) * (PANEL + GAP) + 0.1, top + len(columns) * step + bottom
    with drawing() as make:
        figure = make(figsize=(width, height))
        for row, (window, paint) in enumerate(columns):
            for column, name in enumerate(names):
                place = (left + column * (PANEL + GAP), height - top - row * step - high, PANEL, high)
                axes = figure.add_axes((place[0] / width, place[1] / height, PANEL / width, high / height))
                displacement = _warp(window.scan, name)
                if displacement is None:
                    empty(axes, "no warp")
                else:
                    paint(axes, window, name, Flow.of(displacement, window))
                if row == 0:
                    axes.set_title(escape(shorten(label(name), 24)), fontsize=8.5, loc="center", color=INK)
                if column == 0 and row % 2 == 0:
                    name_scan(axes, window, several=several, channels=channels)
        _sign(figure, len(windows), n_more, trace=False)
    return figure


def _paint_grid(axes: Axes, window: Window, name: str, flow: Flow) -> None:
    """Draw the simulated scan with the lines that a regular grid on the scan has become."""
    bare(axes)
    scan = window.scan
    picture = window.plane(scan.image + scan.simulated[name].change[-1])
    paint_plane(axes, picture, None, None, top=0, signed=True)
    rows, columns = np.indices(picture.shape, dtype=np.float32)
    step = max(picture.shape) / LINES
    for source, length in ((rows + flow.down, picture.shape[0]), (columns + flow.right, picture.shape[1])):
        levels = np.arange(step, length - 1, step)
        lines = axes.contour(source, levels=levels, colors=OUTLINE, linewidths=0.55, alpha=0.9)
        lines.set_rasterized(True)
    if flow.folded.any():
        axes.imshow(np.ma.masked_equal(flow.folded, 0), cmap=_one_colour(VERMILION), vmin=0, vmax=1, alpha=0.85)
    words = f"{flow.share:.1%} folded".replace("%", " %") if flow.share else "no folds"
    write(axes, 0.03, 0.02, words, VERMILION if flow.share else INK)


def _paint_arrows(axes: Axes, window: Window, name: str, flow: Flow) -> None:
    """Draw arrows from where tissue was in the scan to where it is in the simulated scan."""
    bare(axes)
    paint_plane(axes, window.plane(window.scan.image), None, None, top=0, signed=True)
    axes.images[0].set_alpha(0.35)
    step = max(1, round(max(flow.down.shape) / ARROWS))
    rows, columns = np.indices(flow.down.shape)[:, step // 2 :: step, step // 2 :: step].reshape(2, -1)
    down, right = flow.down[rows, columns], flow.right[rows, columns]
    length = np.hypot(down, right)
    if not length.max() > 0:
        return
    longer = max(1.0, np.floor(VISIBLE * step / length.max()))
    there = length > SHORTEST * length.max()
    axes.quiver(
        columns[there] + longer * right[there], rows[there] + longer * down[there], -longer * right[there],
        -longer * down[there], angles="xy", scale_units="xy", scale=1, color=INK, width=0.005, headwidth=3.2,
        headlength=3.2, headaxislength=3, minlength=0.5, rasterized=True,
    )  # fmt: skip
    # Tissue from beyond the edge must not make the picture smaller.
    axes.set_xlim(-0.5, flow.down.shape[1] - 0.5)
    axes.set_ylim(flow.down.shape[0] - 0.5, -0.5)
    if longer > 1:
        write(axes, 0.03, 0.02, f"arrows × {longer:.0f}")


def _one_colour(colour: str) -> Colormap:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])


def _draw_shifts(windows: Sequence[Window], names: Sequence[str], channels: Sequence[str], n_more: int) -> Figure:
    """Draw how far each simulator moves every place of a signal."""
    grid, several = windows[0].grid, len({window.scan.model for window in windows}) > 1
    place = np.arange(grid.shape[0]) * grid.spacing[0]
    with drawing() as make:
        figure = make(figsize=(7.6, 0.9 + 1.5 * len(windows)), layout="constrained")
        panels = figure.subplots(len(windows), 1, squeeze=False, sharex=True)[:, 0]
        for axes, window in zip(panels, windows, strict=True):
            axes.axhline(0, color="#c3c9d0", linewidth=0.7, zorder=1)
            axes.margins(x=0.01)
            if window.scan.effect is not None:
                axes.fill_between(
                    place, 0, 1, where=window.plane(window.scan.effect) != 0, transform=axes.get_xaxis_transform(),
                    color=OUTLINE, alpha=0.2, linewidth=0,
                )  # fmt: skip
            for name, colour in zip(names, SERIES, strict=False):
                displacement = _warp(window.scan, name)
                if displacement is not None:
                    share = float((jacobian_determinant(displacement) <= 0).mean())
                    words = f"{label(name)} ({f'{share:.1%} folded'.replace('%', ' %') if share else 'no folds'})"
                    # Where tissue is now minus where it was.
                    axes.plot(place, -displacement[0] * grid.spacing[0], color=colour, label=escape(words))
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
            name_scan(axes, window, several=several, channels=channels)
        panels[-1].set_xlabel(f"{'time' if grid.units == 'ms' else 'place'} ({grid.units})")
        _sign(figure, len(windows), n_more, trace=True)
    return figure


def _sign(figure: Figure, n_scans: int, n_more: int, *, trace: bool) -> None:
    parts = [f"n = {n_scans} scans, to look at only"]
    if trace:
        parts += ["above zero: what was here has come from the left; cyan: where the effect is"]
    else:
        parts += ["lines: a regular grid carried along with the tissue, closer where it was lost"]
        parts += ["arrows: from where tissue was to where it is", "vermilion: folds"]
    parts += [f"not shown: {n_more} more of the simulators"] if n_more else []
    note(figure, "; ".join(parts) + ".")
