"""One heatmap on its scan, drawn so that nothing but the map itself tells which method it is from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.ecg import MM_PER_INCH, PERCENTILE, axes_at, paint_sheet
from heatproof.figures.ecg_paper import LeadExample, sheet_of
from heatproof.figures.gallery import paint_plane, paint_trace
from heatproof.figures.maps import Slice, cut_slice, top_of, world_box
from heatproof.figures.style import drawing, own_look
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 180
PLANE_INCHES = 2.6
# What lies at the left and right edge of a slice across each world axis.
SIDES = (("P", "A"), ("L", "R"), ("L", "R"))


def draw_rated(
    image: np.ndarray, heatmap: np.ndarray | None, grid: Grid, *, leads: Sequence[str] = (), cuts: Sequence[Slice] = ()
) -> Figure:
    """Draw a scan, alone or with a heatmap of which only the magnitude is shown.

    Every map has the same colours, without sign: two colours would tell families of methods apart.

    Parameters
    ----------
    image : ndarray, shape (*space,) or (n_leads, n_samples)
        The scan; of several leads in mV.
    heatmap : ndarray, shape of the image, optional
        Its map.
    grid : Grid
        Of both.
    leads : sequence of str
        Names of the leads, for ECG paper; empty for anything else.
    cuts : sequence of Slice
        Through a volume, side by side (see `shared_cuts`).
    """
    magnitude = None if heatmap is None else np.abs(np.nan_to_num(heatmap))
    if leads:
        return _paper(image, magnitude, grid, leads)
    top = 0.0 if magnitude is None else top_of(magnitude, PERCENTILE)
    with drawing() as make:
        if len(grid.shape) == 1:
            figure = make(figsize=(6.0, 2.0), layout="constrained")
            axes = figure.add_subplot()
            paint_trace(axes, np.arange(grid.shape[0]) * grid.spacing[0], image, magnitude, top=top)
            axes.set_xlabel(f"time ({grid.units})")
            axes.set_yticks([])
            return figure
        planes = _planes(image, magnitude, grid, cuts)
        widths = [plane.shape[1] / plane.shape[0] for plane, _ in planes]
        figure = make(figsize=(PLANE_INCHES * sum(widths), PLANE_INCHES), layout="tight")
        panels = figure.subplots(1, len(planes), squeeze=False, gridspec_kw={"width_ratios": widths})[0]
        for axes, (plane, coloured) in zip(panels, planes, strict=True):
            axes.axis("off")
            paint_plane(axes, plane, coloured, None, top=top, signed=False)
        for axes, cut in zip(panels, cuts, strict=False):
            axes.set_title(cut.title, fontsize=8)
            for place, letter in zip((0.03, 0.97), SIDES[cut.axis], strict=True):
                axes.text(
                    place, 0.96, letter, transform=axes.transAxes, color="white", fontsize=7, ha="center", va="top"
                )
    return figure


def shared_cuts(maps: Iterable[np.ndarray], grid: Grid) -> tuple[Slice, ...]:
    """Return one slice across each axis of a volume, where all maps together are most relevant.

    The same slices serve all maps of a scan, so that they tell nothing about any of them; each map counts by shares,
    so that none outshouts the others. Images and signals are not cut.

    Raises
    ------
    GeometryError
        If a volume has no affine.
    """
    if len(grid.shape) < 3:
        return ()
    total = np.zeros(grid.shape)
    for heatmap in maps:
        magnitude = np.abs(np.nan_to_num(heatmap)).astype(np.float64)
        total += magnitude / max(magnitude.sum(), np.finfo(np.float64).tiny)
    voxels = np.argwhere(total > 0)
    world = grid.world(voxels) if len(voxels) else grid.coordinates().reshape(-1, 3)
    weights = total[tuple(voxels.T)] if len(voxels) else np.ones(len(world))
    step = min(grid.spacing)
    cuts = []
    for axis in range(3):
        levels, places = np.unique(np.round(world[:, axis] / step).astype(int), return_inverse=True)
        cuts.append(Slice(axis, float(levels[np.bincount(places.ravel(), weights).argmax()] * step)))
    return tuple(cuts)


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG, without any metadata and with the same bytes for the same figure."""
    written = BytesIO()
    with own_look():
        figure.savefig(written, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return written.getvalue()


def _paper(image: np.ndarray, magnitude: np.ndarray | None, grid: Grid, leads: Sequence[str]) -> Figure:
    example = LeadExample("", "", image, None, {}, tuple(leads), float(grid.spacing[0]))
    sheet = sheet_of(example)
    with drawing() as make:
        figure = make(figsize=(sheet.width / MM_PER_INCH, sheet.height / MM_PER_INCH))
        paint_sheet(axes_at(figure, sheet, 0, 0), example, sheet, magnitude)
    return figure


def _planes(
    image: np.ndarray, magnitude: np.ndarray | None, grid: Grid, cuts: Sequence[Slice]
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return (image, map) of every plane, the first row at the top."""
    if not cuts:
        return [(image, magnitude)]
    box = world_box(grid, np.ones(grid.shape, dtype=bool))
    return [
        (
            cut_slice(image, grid, cut, box)[::-1],
            None if magnitude is None else cut_slice(magnitude, grid, cut, box)[::-1],
        )
        for cut in cuts
    ]
