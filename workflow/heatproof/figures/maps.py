"""Group mean heatmaps on the template, drawn through the affine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.figures.lead_maps import draw_signal_maps
from heatproof.figures.style import (
    INK,
    OUTLINE,
    absent,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    note,
    shorten,
    top_of,
)
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_ABOVE = 0.3
# Panels that are less high than this (inches) leave the colour bar's label two lines.
LOW = 2.5
PLANES_IN_A_ROW = 5
GAP = 2
NUDGE_MM = 1e-4


@dataclass(frozen=True)
class Slice:
    """One cut through a volume.

    Attributes
    ----------
    axis : int
        World axis it is perpendicular to: 0 left-right, 1 back-front, 2 bottom-top.
    position : float
        World coordinate in mm.
    """

    axis: int
    position: float

    @property
    def title(self) -> str:
        """Coordinate as readers of brain maps write it."""
        return f"{'xyz'[self.axis]} = {self.position:.0f} mm"


def draw_mean_maps(
    maps: Mapping[str, np.ndarray],
    template: np.ndarray | None,
    truth: np.ndarray | None,
    mask: np.ndarray,
    grid: Grid,
    *,
    controls: Sequence[str] = (),
    truth_name: str = "truth",
    population: str = "all",
) -> Figure:
    """Draw one row per map (of images, one panel) with the outline of the truth on every slice.

    Parameters
    ----------
    maps : mapping of str to ndarray, shape (*space,)
        Group map of each method, in the order of the rows.
    template : ndarray, shape (*space,), optional
        Background; the mask where there is none.
    truth : ndarray of bool, shape (*space,), optional
        Outlined where given.
    mask : ndarray of bool, shape (*space,)
        The brain (or the whole image).
    grid : Grid
        Of all of them.
    controls : sequence of str
        Maps whose name is written in grey.
    truth_name, population : str
        Named in the note.
    """
    if not maps:
        return absent("No group map was written.")
    background = mask.astype(np.float32) if template is None else template.astype(np.float32)
    if len(grid.shape) == 1:
        return draw_signal_maps(maps, background, truth, grid, controls)
    cuts, box = _cuts(grid, truth if truth is not None and truth.any() else mask), world_box(grid, mask)
    behind = _mosaic(background, grid, cuts, box)
    outline = None if truth is None else _mosaic(truth.astype(np.float32), grid, cuts, box)
    height, width = behind.pixels.shape
    # Planes stand side by side; of a volume the slices of one map fill a row.
    rows, columns = grid_of(len(maps), PLANES_IN_A_ROW if len(grid.shape) == 2 else 1)
    row_height = (1.3 if columns > 1 else 6.3) * height / width
    with drawing() as make:
        figure = make(figsize=(8.3, (row_height + 0.3 * (columns > 1)) * rows + 0.75), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        image = None
        for place, (axes, (name, values)) in enumerate(zip(panels.ravel(), maps.items(), strict=False)):
            drawn = _mosaic(_normalised(values, mask), grid, cuts, box)
            image = _paint(axes, behind, drawn, outline)
            _furnish(axes, behind, cuts, name, titled=place == 0, grey=name in controls, above=columns > 1)
        hide_unused(panels, len(maps))
        gap = "\n" if row_height * rows < LOW else " "
        figure.colorbar(
            image, ax=panels.ravel().tolist(), shrink=min(1.0, 3.0 / (row_height * rows)), pad=0.01, aspect=18,
            label=f"|relevance|, share of{gap}the map's 99.9th percentile",
        )  # fmt: skip
        _sign(figure, truth_name, population, outline is not None, len(grid.shape))
    return figure


def _paint(axes: Axes, behind: _Mosaic, drawn: _Mosaic, outline: _Mosaic | None) -> Any:
    """Draw one map over its background and return the image, for the colour bar."""
    axes.imshow(behind.pixels, cmap="gray", origin="lower", aspect="equal")
    shown = np.ma.masked_less(np.abs(drawn.pixels), SHOWN_ABOVE)
    image = axes.imshow(shown, cmap="inferno", vmin=0, vmax=1, origin="lower", aspect="equal", alpha=0.9)
    if outline is not None:
        axes.contour(outline.pixels, levels=[0.5], colors=OUTLINE, linewidths=0.8)
    return image


@dataclass(frozen=True)
class _Mosaic:
    pixels: np.ndarray
    starts: list[int]
    widths: list[int]
    sides: list[tuple[str, str]]


def _normalised(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return |values| inside the mask as shares of their 99.9th percentile, clipped at one."""
    top = top_of(values[mask] if mask.any() else values, 99.9)
    scaled = np.abs(np.nan_to_num(values)) * mask
    return np.clip(scaled / top, 0, 1) if top > 0 else np.zeros_like(scaled)


def _cuts(grid: Grid, target: np.ndarray) -> list[Slice]:
    """Return slices through the densest parts of the target (one image: no cut)."""
    if len(grid.shape) < 3 or grid.affine is None:
        return []
    weights = grid.world(np.argwhere(target))
    cuts: list[Slice] = []
    for axis, shares in ((0, (0.25, 0.75)), (1, (0.2, 0.5, 0.8)), (2, (0.35, 0.65))):
        cuts += [Slice(axis, float(np.round(np.quantile(weights[:, axis], share)))) for share in shares]
    return cuts


def world_box(grid: Grid, mask: np.ndarray) -> np.ndarray:
    """Return the corners of the brain in world coordinates, shape (2, 3), with a margin of two voxels."""
    if len(grid.shape) < 3 or grid.affine is None:
        return np.zeros((2, 3))
    world = grid.world(np.argwhere(mask if mask.any() else np.ones_like(mask)))
    margin = 2 * min(grid.spacing)
    return np.stack([world.min(axis=0) - margin, world.max(axis=0) + margin])


def cut_slice(values: np.ndarray, grid: Grid, cut: Slice, box: np.ndarray) -> np.ndarray:
    """Return one slice as (up, right): world axes, nearest voxel, neurological convention (left is left)."""
    step = min(grid.spacing)
    across, up = [axis for axis in range(3) if axis != cut.axis]
    lines = [np.arange(box[0, axis], box[1, axis] + step / 2, step) for axis in (across, up)]
    points = np.full((len(lines[1]), len(lines[0]), 3), cut.position)
    points[..., across], points[..., up] = np.meshgrid(*lines)
    # Half-way points go to the voxel on the same side of the head, however the axes of the file run.
    voxels = np.rint(grid.voxel(points.reshape(-1, 3) + NUDGE_MM)).astype(int)
    valid = ((voxels >= 0) & (voxels < np.array(grid.shape))).all(axis=1)
    result = np.zeros(len(voxels), dtype=np.float32)
    result[valid] = values[tuple(voxels[valid].T)]
    return result.reshape(points.shape[:2])


def _mosaic(values: np.ndarray, grid: Grid, cuts: Sequence[Slice], box: np.ndarray) -> _Mosaic:
    """Set the slices side by side on one canvas, so that a row costs one image however many slices it has."""
    # An image has its first axis downwards, as files of images do; the canvas has its origin below.
    tiles = [cut_slice(values, grid, cut, box) for cut in cuts] or [np.asarray(values, dtype=np.float32)[::-1]]
    height = max(tile.shape[0] for tile in tiles)
    starts, position = [], 0
    canvas = np.zeros((height, sum(tile.shape[1] for tile in tiles) + GAP * (len(tiles) - 1)), np.float32)
    for tile in tiles:
        below = (height - tile.shape[0]) // 2
        canvas[below : below + tile.shape[0], position : position + tile.shape[1]] = tile
        starts.append(position)
        position += tile.shape[1] + GAP
    letters = {0: ("P", "A"), 1: ("L", "R"), 2: ("L", "R")}
    sides = [letters[cut.axis] for cut in cuts]
    return _Mosaic(canvas, starts, [tile.shape[1] for tile in tiles], sides)


def _furnish(
    axes: Axes, mosaic: _Mosaic, cuts: Sequence[Slice], name: str, *, titled: bool, grey: bool, above: bool
) -> None:
    """Write the method beside its row or above its panel, coordinates and sides."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    words = escape(shorten(label(name), 24)) + ("\n(control)" if grey else "")
    colour = "#6b747e" if grey else INK
    if above:
        axes.set_title(words, color=colour, fontsize=8, loc="center")
    else:
        axes.set_ylabel(words, rotation=0, ha="right", va="center", color=colour)
    height = mosaic.pixels.shape[0]
    for start, width, sides, cut in zip(mosaic.starts, mosaic.widths, mosaic.sides, cuts, strict=False):
        if titled:
            axes.text(start + width / 2, height + 0.5, cut.title, ha="center", va="bottom", fontsize=7.6)
        for letter, place, align in ((sides[0], start, "left"), (sides[1], start + width - 1, "right")):
            axes.text(place, height * 0.97, letter, ha=align, va="top", color="white", fontsize=6.5)


def _sign(figure: Figure, truth_name: str, population: str, outlined: bool, n_axes: int) -> None:
    parts = [f"mean over {label(population).lower()}" if population else "mean"]
    parts.append(f"below {SHOWN_ABOVE:.0%} of the top: not coloured")
    if outlined:
        parts.append(f"cyan outline: {label(truth_name).lower()} truth")
    if n_axes == 3:
        parts.append("left of the brain is on the left (L), mm in template space")
    note(figure, "; ".join(parts) + ".")
