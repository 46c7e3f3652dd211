"""The MNI152 template that ships inside nilearn, at any resolution, cropped with its affine kept right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import ndimage

from heatproof.errors import GeometryError
from heatproof.geometry import Grid, resample

# A voxel belongs to the brain when at least this share of it does.
BRAIN_SHARE = 0.5
# The brain's voxels with the least tissue (this share of them) tell the intensity of fluid, those with at least
# this much white matter that of white matter; coarse grids have few pure voxels.
FLUID_SHARE, WHITE_SHARE = 0.02, 0.8


@dataclass(frozen=True)
class Template:
    """The template on one grid.

    Attributes
    ----------
    grid : Grid
        Where it lies, in MNI152 space.
    intensity, grey_matter, white_matter : ndarray, shape grid.shape
        T1 intensity (0 to 1, zero outside the brain) and tissue fractions (0 to 1).
    fluid, bright : float
        Typical intensity of cerebrospinal fluid and of white matter.
    """

    grid: Grid
    intensity: np.ndarray
    grey_matter: np.ndarray
    white_matter: np.ndarray
    fluid: float
    bright: float


def mni_template(resolution_mm: float, margin_voxels: int) -> Template:
    """Return the template at `resolution_mm`, cropped to the brain and `margin_voxels` around it."""
    return crop_template(mni_template_on(_full_grid(resolution_mm, margin_voxels)), margin_voxels)


def mni_template_on(grid: Grid) -> Template:
    """Return the template on a given grid in MNI space.

    Raises
    ------
    GeometryError
        If the grid has no affine, or the brain does not lie on it.
    """
    if grid.affine is None:
        raise GeometryError("the grid has no affine.", field="affine", remedy="use a volume in MNI space.")
    return _cached_template(grid.shape, tuple(grid.affine.ravel().tolist()))


def crop_template(template: Template, margin_voxels: int) -> Template:
    """Return the template cropped to its brain and a margin, as far as its grid reaches."""
    box = bounding_box(template.intensity > 0, margin_voxels)
    return replace(
        template,
        grid=crop_grid(template.grid, box),
        intensity=template.intensity[box],
        grey_matter=template.grey_matter[box],
        white_matter=template.white_matter[box],
    )


@lru_cache(maxsize=2)
def _cached_template(shape: tuple[int, ...], affine: tuple[float, ...]) -> Template:
    grid = Grid(shape, np.array(affine).reshape(4, 4))
    return _template(grid, *_on_grid(grid, min(grid.voxel_sizes)))


def bounding_box(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    """Return the slices around a mask, `margin` voxels wider where the volume allows."""
    corners = np.argwhere(mask)
    low = np.maximum(corners.min(axis=0) - margin, 0)
    high = np.minimum(corners.max(axis=0) + 1 + margin, mask.shape)
    return tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))


def crop_grid(grid: Grid, box: tuple[slice, ...]) -> Grid:
    """Return the grid of a cropped volume: the affine's origin moves to the first voxel that is kept."""
    start = np.array([[piece.start for piece in box]])
    affine = np.array(grid.affine)
    affine[:3, 3] = grid.world(start)[0]
    return Grid(tuple(piece.stop - piece.start for piece in box), affine)


def crop_box(whole: Grid, part: Grid) -> tuple[slice, ...] | None:
    """Return the slices that cut `part` out of `whole`, or None if it is not a piece of it, voxel for voxel."""
    start = np.rint(whole.voxel(part.world(np.zeros((1, 3))))[0]).astype(int)
    box = tuple(slice(int(low), int(low) + length) for low, length in zip(start, part.shape, strict=True))
    reaches = all(piece.start >= 0 and piece.stop <= n for piece, n in zip(box, whole.shape, strict=True))
    return box if reaches and crop_grid(whole, box).matches(part) else None


def _template(grid: Grid, intensity: np.ndarray, grey: np.ndarray, white: np.ndarray) -> Template:
    brain = intensity > 0
    if not (white > WHITE_SHARE).any():
        raise GeometryError(
            "the template's brain does not lie on the grid.",
            field="affine",
            remedy="use scans that are registered to MNI space.",
        )
    tissue = (grey + white)[brain]
    fluid = float(np.median(intensity[brain][tissue <= np.quantile(tissue, FLUID_SHARE)]))
    bright = float(np.median(intensity[white > WHITE_SHARE]))
    return Template(grid, intensity, grey, white, fluid, bright)


def _full_grid(resolution_mm: float, margin_voxels: int) -> Grid:
    """Return the template's field of view and a margin at a resolution; world zero lies on a voxel."""
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=1)
    low, high = image.affine[:3, 3], image.affine[:3, 3] + np.array(image.shape) - 1
    # The template ends at the brain stem, so the margin has to reach beyond its field of view.
    first = np.ceil(low / resolution_mm) - margin_voxels
    last = np.floor(high / resolution_mm) + margin_voxels
    affine = np.diag([resolution_mm, resolution_mm, resolution_mm, 1.0])
    affine[:3, 3] = first * resolution_mm
    return Grid(tuple(int(n) for n in last - first + 1), affine)


def _on_grid(grid: Grid, resolution_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return T1, grey and white matter on a grid, smoothed first so that coarse voxels hold averages."""
    from nilearn import datasets

    head = datasets.load_mni152_template(resolution=1)
    fine = Grid(head.shape, head.affine)
    maps = [
        head.get_fdata(dtype=np.float32),
        datasets.load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32),
        datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32),
    ]
    maps.append((maps[0] > 0).astype(np.float32))
    if resolution_mm > 1:
        maps = [ndimage.gaussian_filter(values, resolution_mm / 2.355, truncate=2.0) for values in maps]
    intensity, grey, white, brain = (resample(values, fine, grid, order=1) for values in maps)
    inside = brain >= BRAIN_SHARE
    return intensity * inside, np.clip(grey, 0, 1) * inside, np.clip(white, 0, 1) * inside
