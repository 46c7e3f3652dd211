"""One simulated scan: an anatomy, a person's warp, an injected effect and a scanner's appearance.

The phantom and the real anatomies share this road, so both carry the same exact counterfactual truth: the
scan is rendered twice, with and without the effect, under the same warp, gain, contrast and field, before
noise is added. `redrawn` gives the signed difference to the other group, and the warp that is part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from heatproof.cohorts.counterfactuals import CHANGED_SHARE, Counterfactual, inverted, log_jacobian
from heatproof.cohorts.deformations import exponential, identity, sample
from heatproof.cohorts.store import RawScan
from heatproof.geometry import Grid
from heatproof.truths.injected import (
    Effect,
    contraction_velocity,
    exact_truth,
    lose_tissue,
    strength_map,
)

# Warps move the brain's outline by less than this many millimetres; only this shell around it is computed.
SHELL_MM = 14.0
# Darker than this share of fluid is background: scans are skull-stripped, so noise stops there.
BACKGROUND_SHARE = 0.25


@dataclass(frozen=True)
class Anatomy:
    """A brain at rest: what every scan of it is rendered from.

    Attributes
    ----------
    grid : Grid
        Where it lies.
    intensity : ndarray, shape (*space,)
        Skull-stripped intensities, zero outside the brain.
    grey_matter : ndarray, shape (*space,)
        Fraction of grey matter, 0 to 1.
    labels : ndarray of int, shape (*space,)
        Areas.
    fluid : float
        Intensity of cerebrospinal fluid.
    bright : float
        Intensity of white matter: the unit of noise and nuisance.
    ventricles : ndarray, shape (axes, *space), optional
        Displacement, in voxels, of one millimetre of ventricular enlargement.
    """

    grid: Grid
    intensity: np.ndarray
    grey_matter: np.ndarray
    labels: np.ndarray
    fluid: float
    bright: float
    ventricles: np.ndarray | None = None
    support: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        reach = max(1, round(SHELL_MM / min(self.grid.voxel_sizes)))
        object.__setattr__(self, "support", ndimage.binary_dilation(self.intensity > 0, iterations=reach))

    @property
    def centre(self) -> np.ndarray:
        """Middle of the brain, in voxels."""
        return np.argwhere(self.intensity > 0).mean(axis=0)


@dataclass(frozen=True)
class Body:
    """What is a person's own, the same in every scan.

    Attributes
    ----------
    displacement : ndarray, shape (axes, *space)
        Warp from the person to the anatomy, in voxels.
    head_size : float
        Size relative to the anatomy.
    grey_matter_loss : float
        Share of all grey matter that age has taken.
    ventricle_mm : float
        Enlargement of the ventricles by age, in mm.
    strengths : mapping of int to float
        Strength of the disease per label; empty in a control. For a counterfactual, the strength that a control
        would have as a patient.
    """

    displacement: np.ndarray
    head_size: float = 1.0
    grey_matter_loss: float = 0.0
    ventricle_mm: float = 0.0
    strengths: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Appearance:
    """What is the scanner's, different in every scan.

    Attributes
    ----------
    bias : ndarray, shape (*space,)
        Multiplicative field.
    noise : ndarray, shape (*space,)
        Added inside the head.
    gain : float
        Multiplies all intensities.
    contrast : float
        Exponent on intensities relative to white matter; 1 leaves them.
    overlay : ndarray, shape (*space,), optional
        Added to the image, fixed in space (a tag).
    pattern : ndarray, shape (*space,), optional
        Added to the tissue of the anatomy, moves with it (a suppressor).
    """

    bias: np.ndarray
    noise: np.ndarray
    gain: float = 1.0
    contrast: float = 1.0
    overlay: np.ndarray | None = None
    pattern: np.ndarray | None = None


def render(anatomy: Anatomy, body: Body, appearance: Appearance, effect: Effect) -> RawScan:
    """Return one scan with its truth, its areas, and the volume of each area (mm3).

    The volume counts a voxel for the share of it that age and disease have left, so it follows the effect
    more closely than the number of voxels. The truth of a control is zero everywhere.
    """
    support = anatomy.support
    points = _to_anatomy(anatomy, body, identity(anatomy.grid.shape)[:, support], body.displacement[:, support])
    pattern = None if appearance.pattern is None else sample(appearance.pattern, points)
    # Nothing is lost, as an array: both renderings must round alike, so that no effect is a difference of zero.
    lost = np.zeros(points.shape[1], dtype=np.float32)
    healthy, left = _tissue(anatomy, points, body.grey_matter_loss, lost)
    tissue = healthy
    if body.strengths:
        points, lost = _afflicted(anatomy, body, effect, points)
        tissue, left = _tissue(anatomy, points, body.grey_matter_loss, lost)
        tissue = _filled(tissue, healthy, anatomy.fluid)
    head = healthy > BACKGROUND_SHARE * anatomy.fluid
    image = _scanned(tissue, pattern, appearance, anatomy, support) * head
    reference = _scanned(healthy, pattern, appearance, anatomy, support) * head
    labels = sample(anatomy.labels, points, order=0)
    volumes = np.bincount(labels, weights=left) * anatomy.grid.voxel_volume
    return RawScan(
        values=_spread(image + appearance.noise[support] * head, support)[np.newaxis],
        grid=anatomy.grid,
        truth=_spread(exact_truth(image, reference), support),
        labels=_spread(labels, support),
        volumes={int(label): float(volumes[label]) for label in np.unique(labels) if label != 0},
    )


def redrawn(anatomy: Anatomy, body: Body, appearance: Appearance, effect: Effect, *, patient: bool) -> Counterfactual:
    """Return how one scan would look in the other group: without the effect of `body`, or with it.

    What must not change are the areas, and the tag, in which neither the exact scan nor its warp does.
    """
    support, option = anatomy.support, -1 if patient else 1
    voxels = identity(anatomy.grid.shape)[:, support]
    points = _to_anatomy(anatomy, body, voxels, body.displacement[:, support])
    pattern = None if appearance.pattern is None else sample(appearance.pattern, points)
    healthy, _ = _tissue(anatomy, points, body.grey_matter_loss, np.zeros(points.shape[1], dtype=np.float32))
    there, lost = _afflicted(anatomy, body, effect, points)
    ill, _ = _tissue(anatomy, there, body.grey_matter_loss, lost)
    ill = _filled(ill, healthy, anatomy.fluid)
    head = healthy > BACKGROUND_SHARE * anatomy.fluid
    image, reference = (_scanned(tissue, pattern, appearance, anatomy, support) * head for tissue in (ill, healthy))
    change = _spread(option * (image - reference), support)
    gained = _gained(anatomy, body, effect, points, option)
    labels = [_spread(sample(anatomy.labels, where, order=0), support) for where in (points, there)]
    # Beside the affected areas themselves, wherever else tissue comes from or goes to.
    moved = -option * gained
    affected = np.isin(labels, list(body.strengths)).any(axis=0) | (moved > CHANGED_SHARE * moved.max())
    fixed = labels[0] > 0
    if appearance.overlay is not None:
        fixed |= appearance.overlay > CHANGED_SHARE * appearance.overlay.max()
    return Counterfactual(
        option, change[np.newaxis], gained, affected, fixed & ~affected & (change == 0) & (gained == 0)
    )


def regained(anatomy: Anatomy, body: Body, effect: Effect) -> np.ndarray:
    """Return the log of how much of the tissue of each voxel of a patient's scan there is without the effect.

    It is the log-Jacobian of the cure seen from the scan as it is, shape (*space,): above 0 where tissue was lost.
    """
    voxels = identity(anatomy.grid.shape)[:, anatomy.support]
    points = _to_anatomy(anatomy, body, voxels, body.displacement[:, anatomy.support])
    return -_gained(anatomy, body, effect, points, option=1)


def _gained(anatomy: Anatomy, body: Body, effect: Effect, points: np.ndarray, option: int) -> np.ndarray:
    """Return the log-Jacobian of the warp of the scan that injects or removes the contraction, shape (*space,).

    The contraction acts in the anatomy, so the scan is warped from the person to it and back.
    """
    support = anatomy.support
    there, _ = _afflicted(anatomy, body, effect, points, option)
    moving = (there != points).any(axis=0)
    voxels, targets = identity(anatomy.grid.shape)[:, support][:, moving], there[:, moving]

    def to_anatomy(places: np.ndarray) -> np.ndarray:
        return _to_anatomy(anatomy, body, places, np.stack([sample(part, places) for part in body.displacement]))

    shift = np.zeros_like(points)
    shift[:, moving] = inverted(to_anatomy, targets, voxels + (targets - points[:, moving])) - voxels
    return log_jacobian(np.stack([_spread(part, support) for part in shift]))


def _afflicted(
    anatomy: Anatomy, body: Body, effect: Effect, points: np.ndarray, option: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return where tissue at points of the anatomy comes from under the disease, and the share of it that is lost.

    An `option` of -1 undoes the contraction instead.
    """
    spacing = anatomy.grid.voxel_sizes
    strength = strength_map(anatomy.labels, body.strengths, spacing, effect.smoothing_mm)
    velocity = contraction_velocity(strength, spacing, effect.smoothing_mm, option * effect.contraction_mm)
    there = points + np.stack([sample(part, points) for part in exponential(velocity)])
    return there, np.float32(effect.loss) * sample(strength, there)


def _to_anatomy(anatomy: Anatomy, body: Body, places: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Return where in the anatomy places of the person lie, in voxels; all arrays have shape (axes, n)."""
    centre = anatomy.centre[:, np.newaxis].astype(np.float32)
    points = places + displacement
    points = centre + (points - centre) / np.float32(body.head_size)
    if anatomy.ventricles is not None and body.ventricle_mm:
        shift = np.stack([sample(part, points) for part in anatomy.ventricles])
        points = points + shift * np.float32(body.ventricle_mm)
    return points


def _tissue(anatomy: Anatomy, points: np.ndarray, aged: float, lost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return intensity at points of the anatomy, and the share of tissue that age and disease have left."""
    grey_matter = sample(anatomy.grey_matter, points)
    remaining = (1 - aged) * (1 - lost)
    intensity = lose_tissue(sample(anatomy.intensity, points), grey_matter, 1 - remaining, anatomy.fluid)
    return intensity, 1 - grey_matter * (1 - remaining)


def _filled(ill: np.ndarray, healthy: np.ndarray, fluid: float) -> np.ndarray:
    """Return intensities of a head that stays full: where tissue has moved away from its border there is fluid.

    Without it a patient's scan would have holes as dark as the background, which no control has: one look at the
    darkest voxel would tell the groups apart.
    """
    return np.maximum(ill, np.minimum(healthy, np.float32(fluid)))


def _scanned(
    tissue: np.ndarray,
    pattern: np.ndarray | None,
    appearance: Appearance,
    anatomy: Anatomy,
    support: np.ndarray,
) -> np.ndarray:
    """Return what the scanner shows of the tissue, noise-free."""
    shown = tissue
    if appearance.contrast != 1.0:
        shown = anatomy.bright * (shown / anatomy.bright) ** appearance.contrast
    if pattern is not None:
        shown = shown + pattern
    shown = shown * appearance.bias[support] * appearance.gain
    return shown if appearance.overlay is None else shown + appearance.overlay[support]


def _spread(values: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return a volume with `values` inside the support and zero outside."""
    volume = np.zeros(support.shape, dtype=values.dtype if values.dtype.kind == "i" else np.float32)
    volume[support] = values
    return volume
