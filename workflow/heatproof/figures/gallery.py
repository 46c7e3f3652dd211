"""Heatmaps of single scans of every class, with the outline of the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.maps import Slice, cut_slice, world_box
from heatproof.figures.style import (
    BLUE,
    CONTROL,
    INK,
    OUTLINE,
    VERMILION,
    absent,
    drawing,
    escape,
    label,
    note,
    shorten,
    top_of,
)
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_METHODS = 10
# Share of a map's |values| below its brightest colour.
PERCENTILE = 99.5
SIGNED, UNSIGNED = "bwr", "inferno"
OPACITY = 0.85


@dataclass(frozen=True)
class Example:
    """One scan with the maps of its methods.

    Attributes
    ----------
    scan_id : str
        Scan.
    diagnosis, predicted : str
        Its class, and the class that the network gives it.
    image : ndarray, shape (*space,)
        The scan.
    truth : ndarray, shape (*space,), optional
        Where the signal is: not zero.
    maps : mapping of str to ndarray, shape (*space,)
        By method.
    """

    scan_id: str
    diagnosis: str
    predicted: str
    image: np.ndarray
    truth: np.ndarray | None
    maps: Mapping[str, np.ndarray]

    @property
    def words(self) -> str:
        """Class and prediction."""
        if self.diagnosis == self.predicted:
            return f"{label(self.diagnosis)}\nrecognised"
        return f"{label(self.diagnosis)}\ntaken for {label(self.predicted)}"


def draw_gallery(examples: Sequence[Example], methods: Sequence[str], controls: Iterable[str], grid: Grid) -> Figure:
    """Draw one row per scan and one column per method; signals run across, so there it is the other way round.

    Parameters
    ----------
    examples : sequence of Example
        In the order of the rows.
    methods : sequence of str
        In the order of the columns; the first `MOST_METHODS` that have a map are drawn.
    controls : iterable of str
        Named in grey.
    grid : Grid
        Of all images. Of a volume the axial slice with most truth is drawn.

    Raises
    ------
    GeometryError
        If a volume has no affine, so that nobody can say which slice is axial.
    """
    present = [name for name in methods if any(name in example.maps for example in examples)]
    if not present:
        return absent("No map of a single scan was kept, so there is no gallery.")
    shown, grey = present[:MOST_METHODS], set(controls)
    trace = len(grid.shape) == 1
    cuts = [None if len(grid.shape) < 3 else cut_with_most(_target(example), grid) for example in examples]
    with drawing() as make:
        figure, cells = _cells(make, len(examples), len(shown) + 1, trace, height_of(grid))
        signed = {name: any((e.maps[name] < 0).any() for e in examples if name in e.maps) for name in shown}
        for row, example, cut in zip(cells, examples, cuts, strict=True):
            for axes, name in zip(row, ("", *shown), strict=True):
                _paint(axes, example, name, grid, cut, signed=signed.get(name, False))
            _name_scan(row[0], example, cut, above=trace)
        for axes, name in zip(cells[0], ("", *shown), strict=True):
            _name_method(axes, name, name in grey, above=not trace)
        if trace:
            for axes in cells[:, :-1].ravel():
                axes.tick_params(axis="x", bottom=False)
            for axes in cells[:, -1]:
                axes.set_xlabel(f"time ({grid.units})")
        else:
            _key(figure, cells, set(signed.values()))
        _sign(figure, examples, len(present) - len(shown), trace)
    return figure


def paint_plane(
    axes: Axes, image: np.ndarray, heatmap: np.ndarray | None, outline: np.ndarray | None, *, top: float, signed: bool
) -> None:
    """Draw a map over an image, the more opaque the more relevant, and the outline of the truth.

    Parameters
    ----------
    axes : Axes
        Panel.
    image, heatmap, outline : ndarray, shape (height, width)
        First row at the top; the outline runs around what is not zero.
    top : float
        |Value| of the brightest colour; 0 draws no map.
    signed : bool
        Whether colours diverge from zero.
    """
    low, high = np.percentile(image[np.isfinite(image)], (0.5, 99.5))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-12))
    if heatmap is not None and top > 0:
        values = np.nan_to_num(heatmap)
        opacity = OPACITY * np.clip(np.abs(values) / top, 0, 1)
        axes.imshow(
            values, cmap=SIGNED if signed else UNSIGNED, vmin=-top if signed else 0, vmax=top, alpha=opacity
        )  # fmt: skip
    if outline is not None and outline.any() and not outline.all():
        axes.contour(outline != 0, levels=[0.5], colors=OUTLINE, linewidths=0.9)


def paint_trace(axes: Axes, time: np.ndarray, signal: np.ndarray, heatmap: np.ndarray | None, *, top: float) -> None:
    """Draw a signal, coloured where it is relevant: vermilion for the class, blue against it.

    Parameters
    ----------
    axes : Axes
        Panel.
    time, signal, heatmap : ndarray, shape (n,)
        The map is drawn on the signal, the more opaque the more relevant.
    top : float
        |Value| of the full colour; 0 draws no map.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    axes.plot(time, signal, color=CONTROL, linewidth=0.7, zorder=2)
    axes.margins(x=0.01)
    if heatmap is None or top <= 0:
        return
    # Each piece between two samples has the mean relevance of both.
    values = np.nan_to_num((heatmap[1:] + heatmap[:-1]) / 2)
    colours = np.empty((len(values), 4))
    colours[:, :3] = np.where((values > 0)[:, None], to_rgb(VERMILION), to_rgb(BLUE))
    colours[:, 3] = np.clip(np.abs(values) / top, 0, 1)
    points = np.stack([time, signal], axis=1)
    pieces = np.stack([points[:-1], points[1:]], axis=1)
    axes.add_collection(LineCollection(list(pieces), colors=list(colours), linewidths=2.4, zorder=3))


def _cells(
    make: type[Figure], n_examples: int, n_columns: int, trace: bool, height: float
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels, scans by columns."""
    if trace:
        figure = make(figsize=(1.6 + 2.7 * n_examples, 1.1 + 0.62 * n_columns), layout="constrained")
        return figure, figure.subplots(n_columns, n_examples, squeeze=False, sharex=True).T
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = make(
        figsize=(1.1 + 1.08 * n_columns, 1.3 + 1.08 * height * n_examples),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.035),
    )
    return figure, figure.subplots(n_examples, n_columns, squeeze=False)


def height_of(grid: Grid) -> float:
    """Return the height of a panel over its width."""
    if len(grid.shape) == 2:
        return grid.shape[0] / grid.shape[1]
    if len(grid.shape) == 1:
        return 1.0
    corners = world_box(grid, np.ones(grid.shape, dtype=bool))
    extent = np.ptp(corners, axis=0)
    return float(extent[1] / extent[0])


def _target(example: Example) -> np.ndarray:
    """Return the strength of the truth, or the brightness of a scan without a truth."""
    return example.image - example.image.min() if example.truth is None else np.abs(example.truth)


def cut_with_most(target: np.ndarray, grid: Grid) -> Slice:
    """Return the axial slice of a volume that holds most of what is above zero in `target`, shape (*space,)."""
    height = grid.world(np.argwhere(target > 0))[:, 2]
    step = min(grid.spacing)
    levels, places = np.unique(np.round(height / step).astype(int), return_inverse=True)
    if not len(levels):
        return Slice(2, float(grid.coordinates()[..., 2].mean()))
    return Slice(2, float(height[places == np.bincount(places, target[target > 0]).argmax()].mean()))


def plane(values: np.ndarray, grid: Grid, cut: Slice | None) -> np.ndarray:
    """Return what is drawn of an image (itself) or a volume (its cut), the first row at the top."""
    if cut is None:
        return values
    return cut_slice(values, grid, cut, world_box(grid, np.ones(grid.shape, dtype=bool)))[::-1]


def _paint(axes: Axes, example: Example, name: str, grid: Grid, cut: Slice | None, *, signed: bool) -> None:
    """Draw the image alone or under a map; a method without a map of this scan leaves the panel empty."""
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    heatmap = example.maps.get(name) if name else None
    if name and heatmap is None:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no map", ha="center", va="center", transform=axes.transAxes, color=CONTROL, fontsize=7)
        return
    top = 0.0 if heatmap is None else top_of(heatmap, PERCENTILE)
    if len(grid.shape) == 1:
        time = np.arange(grid.shape[0]) * grid.spacing[0]
        if example.truth is not None:
            axes.fill_between(time, 0, 1, where=example.truth != 0, transform=axes.get_xaxis_transform(),
                              color=OUTLINE, alpha=0.25, linewidth=0, zorder=1)  # fmt: skip
        paint_trace(axes, time, example.image, heatmap, top=top)
        return
    axes.set_xticks([])
    planes = [None if v is None else plane(v, grid, cut) for v in (example.image, heatmap, example.truth)]
    paint_plane(axes, np.asarray(planes[0]), planes[1], planes[2], top=top, signed=signed)


def _name_scan(axes: Axes, example: Example, cut: Slice | None, *, above: bool) -> None:
    words = example.words + (f"\n{cut.title}" if cut else "")
    words = "\n".join(escape(shorten(line, 24)) for line in words.split("\n"))
    colour = INK if example.diagnosis == example.predicted else VERMILION
    if above:
        axes.set_title(words, fontsize=8.5, color=colour)
    else:
        axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, color=colour)


def _name_method(axes: Axes, name: str, is_control: bool, *, above: bool) -> None:
    lines = [shorten(line, 15) for line in wrap(label(name), 15)] if name else ["Scan"]
    words = escape("\n".join(lines + ["(control)"] * is_control))
    colour = CONTROL if is_control else INK
    if above:
        axes.set_title(words, fontsize=7.6, color=colour, loc="center")
    else:
        axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, color=colour)


def _key(figure: Figure, cells: np.ndarray, kinds: set[bool]) -> None:
    """Draw one scale of colours for the signed maps and one for the others."""
    from matplotlib.cm import ScalarMappable

    for signed, name, words in ((True, SIGNED, "signed map: against (−) and for (+) the class"),
                                (False, UNSIGNED, "unsigned map")):  # fmt: skip
        if signed in kinds:
            scale = ScalarMappable(cmap=name)
            scale.set_clim(-1 if signed else 0, 1)
            bar = figure.colorbar(
                scale, ax=cells.ravel().tolist(), location="bottom", shrink=0.3, aspect=32, pad=0.02,
                ticks=[-1, 0, 1] if signed else [0, 0.5, 1],
            )  # fmt: skip
            bar.set_label(words, fontsize=7.6)
            bar.ax.tick_params(labelsize=7)


def _sign(figure: Figure, examples: Sequence[Example], n_more: int, trace: bool) -> None:
    first = (
        f"n = {len(examples)} scans, to look at only; 1 is the {PERCENTILE:g}th percentile of each map's own |values|"
    )
    more = ["cyan: the truth"] if any(example.truth is not None for example in examples) else []
    more += ["vermilion: for the class, blue: against it"] if trace else []
    more += [f"not shown: {n_more} more of the methods"] if n_more else []
    text = "; ".join(more)
    note(figure, f"{first}.\n{text[:1].upper()}{text[1:]}." if text else f"{first}.")
