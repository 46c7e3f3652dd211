"""The MNI152 template that ships inside nilearn, at any resolution, cropped with its affine kept right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from heatproof.geometry import Grid, resample

# Below this share of the maximum the template is background.
BRAIN_SHARE = 0.05
# Voxels with less tissue than this are fluid.
TISSUE_SHARE = 0.2


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


@lru_cache(maxsize=2)
def mni_template(resolution_mm: float, margin_voxels: int) -> Template:
    """Return the template at `resolution_mm`, cropped to the brain and `margin_voxels` around it."""
    full = _full_grid(resolution_mm)
    intensity, grey, white = _on_grid(full, resolution_mm)
    box = bounding_box(intensity > 0, margin_voxels)
    grid = crop_grid(full, box)
    return _template(grid, intensity[box], grey[box], white[box])


def mni_template_on(grid: Grid) -> Template:
    """Return the template on a given grid in MNI space."""
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


def _template(grid: Grid, intensity: np.ndarray, grey: np.ndarray, white: np.ndarray) -> Template:
    brain = intensity > 0
    fluid = float(np.median(intensity[brain & (grey + white < TISSUE_SHARE)]))
    bright = float(np.median(intensity[white > 1 - TISSUE_SHARE]))
    return Template(grid, intensity, grey, white, fluid, bright)


def _full_grid(resolution_mm: float) -> Grid:
    """Return the template's whole field of view at a resolution; world zero lies on a voxel."""
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=1)
    low, high = image.affine[:3, 3], image.affine[:3, 3] + np.array(image.shape) - 1
    first, last = np.ceil(low / resolution_mm), np.floor(high / resolution_mm)
    affine = np.diag([resolution_mm, resolution_mm, resolution_mm, 1.0])
    affine[:3, 3] = first * resolution_mm
    return Grid(tuple(int(n) for n in last - first + 1), affine)


def _on_grid(grid: Grid, resolution_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return T1, grey and white matter on a grid, smoothed first so that coarse voxels hold averages."""
    from nilearn import datasets

    loaders = (
        datasets.load_mni152_template,
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
    )
    volumes = []
    for load in loaders:
        image = load(resolution=1)
        values = image.get_fdata(dtype=np.float32)
        if resolution_mm > 1:
            values = ndimage.gaussian_filter(values, resolution_mm / 2.355, truncate=2.0)
        fine = Grid(values.shape, image.affine)
        volumes.append(np.clip(resample(values, fine, grid, order=1), 0, 1).astype(np.float32))
    intensity, grey, white = volumes
    intensity[intensity < BRAIN_SHARE] = 0
    return intensity, grey, white
