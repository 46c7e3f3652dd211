"""What the lesion phantom draws: an outline, the way a kind spreads its brightness, a bar and a scanner's tag.

Everything is exact: a voxel belongs to an object or it does not, and each object is added to the tissue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from heatproof.cohorts.deformations import random_field
from heatproof.errors import ConfigError

# The outline moves in and out by this share of the radius (standard deviation), and never by more than twice it.
IRREGULARITY = 0.12
# A ring begins at this share of the way from the middle of a lesion to its outline.
RIM = 0.65
# Length and width of the bar that knows nothing of the class.
BAR_MM = (18.0, 6.0)
TAG_MM, TAG_GAP_MM = 10.0, 4.0
# Rows run from front to back, columns from left to right.
CORNERS = ("front left", "front right", "back left", "back right")

Profile = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Outline:
    """A lesion's place and shape.

    Attributes
    ----------
    depth : ndarray, shape (*space,)
        0 in the middle, 1 at the outline, larger outside.
    mask : ndarray of bool, shape (*space,)
        The lesion: depth below 1, inside the brain.
    """

    depth: np.ndarray
    mask: np.ndarray


def outline(
    brain: np.ndarray,
    spacing: Sequence[float],
    radius_mm: float,
    random: np.random.Generator,
) -> Outline:
    """Return a lesion anywhere in the middle slice where a ball of its radius fits into the brain.

    Parameters
    ----------
    brain : ndarray of bool, shape (rows, columns, slices)
        The person's brain.
    spacing : sequence of float
        Steps along the three axes, in mm.
    radius_mm : float
        Mean distance from the middle to the outline.
    random : numpy Generator
        Of the person's lesion, whatever its kind.

    Raises
    ------
    ConfigError
        If the brain is nowhere wide enough.
    """
    middle = (brain.shape[-1] - 1) / 2
    fits = np.argwhere(_distance_inside(brain[..., int(middle)], spacing[:2]) >= radius_mm)
    if not len(fits):
        raise ConfigError(
            f"a lesion with a radius of {radius_mm:.1f} mm does not fit into the brain.",
            field="lesion_radius_mm",
            remedy="choose smaller lesions, or slices nearer to the middle of the brain (height_mm).",
        )
    centre = np.array([*fits[random.integers(len(fits))], middle], dtype=np.float64)
    steps = np.moveaxis(np.indices(brain.shape), 0, -1) - centre
    distance = np.linalg.norm(steps * np.asarray(spacing), axis=-1)
    bumps = np.clip(random_field(brain.shape, spacing, radius_mm / 2, random), -2, 2)
    depth = distance / (radius_mm * (1 + IRREGULARITY * bumps))
    return Outline(depth, (depth < 1) & brain)


def least_radius(n_slices: int, slice_mm: float) -> float:
    """Return the radius (mm) from which every slice of a person is certain to show the lesion."""
    return (n_slices - 1) / 2 * slice_mm / (1 - 2 * IRREGULARITY)


def spread_brightness(kind: str, lesion: Outline, texture: np.ndarray, amount: float) -> np.ndarray:
    """Return how the brightness of a lesion is spread over it, shape (*space,), 0 outside; its mean inside is 1.

    The kinds differ in nothing else: ``ring`` and ``speckled`` also have the same standard deviation, `amount`,
    so that neither the place nor the size nor the brightness of a lesion gives its class away.

    Parameters
    ----------
    kind : str
        A name of `KINDS`.
    lesion : Outline
        Where it is.
    texture : ndarray, shape (*space,)
        Smooth noise of the person.
    amount : float
        Standard deviation of the spread relative to its mean; ``solid`` has none.
    """
    pattern = KINDS[kind](lesion.depth, texture)[lesion.mask]
    deviation = float(pattern.std())
    profile = np.zeros(lesion.mask.shape, dtype=np.float32)
    profile[lesion.mask] = 1.0 if deviation == 0 else 1 + amount * (pattern - pattern.mean()) / deviation
    return profile


# How each kind is patterned, from depth and texture; mean and scale are set afterwards.
KINDS: dict[str, Profile] = {
    # As a meningioma: enhanced evenly.
    "solid": lambda depth, texture: np.zeros_like(depth),
    # As a high-grade glioma: an enhanced rim about a dark core.
    "ring": lambda depth, texture: (depth > RIM).astype(np.float64),
    # Unevenly, as a tumour with patches of blood and necrosis.
    "speckled": lambda depth, texture: texture,
}


def bar(brain: np.ndarray, lesion: np.ndarray, spacing: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """Return the mask of a bar at a random place and angle, inside the brain and clear of the lesion.

    Parameters
    ----------
    brain, lesion : ndarray of bool, shape (rows, columns)
        One slice.
    spacing : sequence of float
        Steps in mm.
    random : numpy Generator
        Of the scan.

    Raises
    ------
    ConfigError
        If lesion and brain leave no room for it.
    """
    reach = float(np.hypot(*BAR_MM)) / 2
    room = np.minimum(_distance_inside(brain, spacing), _distance_inside(~lesion, spacing))
    places = np.argwhere(room > reach)
    if not len(places):
        raise ConfigError(
            "lesion and brain leave no room for the distractor.",
            field="lesion_radius_mm",
            remedy="choose smaller lesions, or set distractor_contrast: 0.",
        )
    centre = places[random.integers(len(places))]
    angle = random.uniform(0, np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    offset = (np.moveaxis(np.indices(brain.shape), 0, -1) - centre) * np.asarray(spacing)
    return (np.abs(offset @ along) <= BAR_MM[0] / 2) & (np.abs(offset @ across) <= BAR_MM[1] / 2)


def tag(shape: Sequence[int], spacing: Sequence[float], corner: str) -> np.ndarray:
    """Return the mask of the square tag in one of `CORNERS`, bool, shape (rows, columns)."""
    back, right = divmod(CORNERS.index(corner), 2)
    mask = np.zeros(tuple(shape), dtype=bool)
    gap, size = ([round(length / step) for step in spacing] for length in (TAG_GAP_MM, TAG_MM))
    pieces = [
        slice(length - near - wide, length - near) if far else slice(near, near + wide)
        for length, near, wide, far in zip(shape, gap, size, (back, right), strict=True)
    ]
    mask[tuple(pieces)] = True
    return mask


def _distance_inside(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return how far (mm) each voxel of a mask lies from the outside; the border of the image is outside."""
    inner = tuple(slice(1, -1) for _ in mask.shape)
    return ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[inner]
