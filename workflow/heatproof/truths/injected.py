"""The injected effect: which areas lose tissue in which patient, how the loss acts, and where it is.

Two things happen inside an affected area, both in proportion to its strength there (0 to 1):

* contraction: tissue moves down the gradient of strength towards the middle of the area, and what lies
  around it (mostly cerebrospinal fluid) expands;
* loss: grey matter is replaced by fluid, so its intensity falls towards that of fluid.

The truth of a scan is the exact counterfactual: the noise-free scan with the effect minus the same scan
without it, under the same anatomy, field and gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from heatproof.errors import TruthError

# A voxel belongs to a truth mask when its effect is above this share of the largest effect. Below it lies the
# tail of the smoothing kernel, which no reader would call the lesion.
MASK_SHARE = 0.05
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
# The kernel ends here (in standard deviations): beyond it the effect is exactly zero.
KERNEL_EXTENT = 2.5
# Two people with equal severity differ by this much in how hard one area is hit.
LEAST_AREA_FACTOR = 0.5


@dataclass(frozen=True)
class Effect:
    """How strongly and how unevenly the disease acts.

    Attributes
    ----------
    regions : mapping of str to sequence of int
        Label numbers of each region (left and right together; they are drawn together and differ in degree).
    region_probability : float
        Chance that one patient has one region, 0 to 1.
    loss : float
        Share of grey matter lost at strength 1.
    contraction_mm : float
        Largest displacement of tissue at strength 1, in mm.
    smoothing_mm : float
        Full width at half maximum of the transition at the border of an area, in mm.
    asymmetry : float
        How much milder one side may be than the other, 0 (equal) to 1.
    """

    regions: Mapping[str, Sequence[int]]
    region_probability: float
    loss: float
    contraction_mm: float
    smoothing_mm: float
    asymmetry: float

    def __post_init__(self) -> None:
        if not self.regions or not all(self.regions.values()):
            raise TruthError(
                "the effect has no region, or a region without labels.",
                field="regions",
                remedy="give at least one region with at least one label.",
            )


def draw_strengths(effect: Effect, severity: float, random: np.random.Generator) -> dict[int, float]:
    """Return the strength (0 to 1) of each affected label of one patient.

    Parameters
    ----------
    effect : Effect
        Regions and their variability.
    severity : float
        Stage of the disease, 0 to 1; multiplies every strength.
    random : numpy Generator
        Keyed by the patient, so that rescans share the regions.
    """
    names = list(effect.regions)
    # Everything is drawn for every region, whether hit or not, so that one region more or less in the config
    # does not change the others.
    hit = random.random(len(names)) < effect.region_probability
    factor = LEAST_AREA_FACTOR + (1 - LEAST_AREA_FACTOR) * random.random(len(names))
    if not hit.any():
        hit[int(factor.argmax())] = True
    strengths: dict[int, float] = {}
    for index, name in enumerate(names):
        milder = random.random(len(effect.regions[name]))
        for label, share in zip(effect.regions[name], milder, strict=True):
            if hit[index]:
                strengths[int(label)] = float(severity * factor[index] * (1 - effect.asymmetry * share))
    return strengths


def strength_map(
    labels: np.ndarray, strengths: Mapping[int, float], spacing: Sequence[float], smoothing_mm: float
) -> np.ndarray:
    """Return the strength of the effect at every voxel, shape (*space,), 0 to 1, smooth at the borders.

    Parameters
    ----------
    labels : ndarray of int, shape (*space,)
        Areas.
    strengths : mapping of int to float
        Strength of each affected label.
    spacing : sequence of float
        Voxel size, in mm.
    smoothing_mm : float
        Full width at half maximum of the transition, in mm.

    Raises
    ------
    TruthError
        If an affected label does not occur: the effect would silently be missing.
    """
    table = np.zeros(max(int(labels.max()), max(strengths, default=0)) + 1, dtype=np.float32)
    present = np.bincount(labels.ravel(), minlength=table.size) > 0
    for label, strength in strengths.items():
        if not present[label]:
            raise TruthError(
                f"the affected area {label} has no voxel in the label volume.",
                field="regions",
                remedy="correct the label number, or remove the region.",
            )
        table[label] = strength
    sigmas = [smoothing_mm / FWHM_PER_SIGMA / size for size in spacing]
    return ndimage.gaussian_filter(table[labels], sigmas, mode="constant", truncate=KERNEL_EXTENT)


def contraction_velocity(
    strength: np.ndarray, spacing: Sequence[float], smoothing_mm: float, contraction_mm: float
) -> np.ndarray:
    """Return the pull-back velocity, in voxels, that makes tissue shrink where `strength` is high.

    The velocity points against the gradient of strength: a voxel at the border shows what lay further out.
    Its length reaches about `contraction_mm` at the edge of a large area of strength 1, because a step
    smoothed with a Gaussian of full width w has a slope of .94 / w.

    Returns
    -------
    ndarray, shape (axes, *space)
        Velocity in voxels; negative `contraction_mm` lets the area expand.
    """
    slopes = [
        np.gradient(strength, axis=axis) if strength.shape[axis] > 1 else np.zeros_like(strength)
        for axis in range(strength.ndim)
    ]
    # d(strength)/d(mm) times w times contraction in mm, then from mm to voxels.
    scale = [contraction_mm * smoothing_mm / size**2 for size in spacing]
    return np.stack([-slope * factor for slope, factor in zip(slopes, scale, strict=True)]).astype(np.float32)


def lose_tissue(intensity: np.ndarray, grey_matter: np.ndarray, share: np.ndarray | float, fluid: float) -> np.ndarray:
    """Return intensities after a share of the grey matter has been replaced by fluid.

    Parameters
    ----------
    intensity : ndarray
        Intensities.
    grey_matter : ndarray, same shape
        Fraction of grey matter, 0 to 1.
    share : ndarray or float
        Share of the grey matter that is lost, 0 to 1.
    fluid : float
        Intensity of cerebrospinal fluid; what is darker already stays as it is.
    """
    return intensity - share * grey_matter * np.maximum(intensity - fluid, 0)


def exact_truth(with_effect: np.ndarray, without_effect: np.ndarray) -> np.ndarray:
    """Return the size of the effect per voxel: ``|with - without|``, both noise-free, shape (*space,)."""
    return np.abs(with_effect - without_effect).astype(np.float32)


def group_truth(truths: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean effect over patients, shape (*space,), float32; scans are read one at a time.

    Raises
    ------
    TruthError
        If there is no patient.
    """
    total: np.ndarray | None = None
    count = 0
    for truth in truths:
        total = truth.astype(np.float64) if total is None else total + truth
        count += 1
    if total is None:
        raise TruthError(
            "no scan has an injected effect.", field="truths", remedy="use a simulated cohort with patients."
        )
    return (total / count).astype(np.float32)


def truth_mask(truth: np.ndarray, share: float = MASK_SHARE) -> np.ndarray:
    """Return where the effect exceeds `share` of its maximum, bool, shape (*space,); empty without effect."""
    return truth > share * float(truth.max())
