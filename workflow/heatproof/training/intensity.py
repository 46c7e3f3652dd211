"""Normalisation of intensities: by the scan itself, or by what was fitted to the scans of training.

``zscore``, ``minmax`` and ``none`` look at one scan alone. ``dataset`` and ``pixelwise`` are fitted: means and
deviations over many scans, which is where the test scans can leak into training. What they were fitted to is
stored with the model, so that nothing is ever normalised in another way than in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import ConfigError, IntakeError, UnsupportedModelError
from heatproof.intensities import FITTED_INTENSITIES, OWN_INTENSITIES

# A pixel whose deviation is below this share of the channel's largest is taken for constant: single precision
# stores an intensity to 6e-8 of its value, so such a deviation may be rounding alone.
DEVIATION_FLOOR = 1e-6
# Names of the tensors that are stored with a model.
CENTRE, SPREAD = "centre", "spread"


@dataclass(frozen=True)
class FittedIntensity:
    """What a normalisation was fitted to.

    Attributes
    ----------
    centre : ndarray of float32, shape (channels, *space) or (channels, 1, ..., 1)
        Mean over the scans of each pixel (``pixelwise``) or of all pixels in the mask (``dataset``).
    spread : ndarray of float32, same shape
        Standard deviation (divided by n) likewise; 0 where a pixel counts as constant.
    """

    centre: np.ndarray
    spread: np.ndarray

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Return (values - centre) / spread, and 0 where a pixel was constant; float32, shape (channels, *space)."""
        varies = np.broadcast_to(self.spread > 0, values.shape)
        result = np.zeros(values.shape, dtype=np.float64)
        np.divide(values.astype(np.float64) - self.centre, self.spread, out=result, where=varies)
        return result.astype(np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """Return what has to be stored with a model."""
        return {CENTRE: torch.from_numpy(self.centre), SPREAD: torch.from_numpy(self.spread)}

    @classmethod
    def from_tensors(cls, stored: Mapping[str, Tensor]) -> FittedIntensity:
        """Return what `tensors` has given.

        Raises
        ------
        UnsupportedModelError
            If centre or spread is missing: the model was not stored with what it needs.
        """
        if not {CENTRE, SPREAD} <= set(stored):
            raise UnsupportedModelError(
                "the weights come without the intensities that their normalisation was fitted to.",
                field="intensity",
                remedy="train the model again.",
            )
        return cls(stored[CENTRE].numpy(), stored[SPREAD].numpy())


def fit_intensity(scans: Iterable[np.ndarray], mask: np.ndarray, kind: str) -> FittedIntensity:
    """Return mean and standard deviation over scans, which are read one at a time and once.

    Counts, means and sums of squares are merged scan by scan in float64 (Chan, Golub & LeVeque 1983, equations
    2.1): the same scans in the same order give the same bits; another order changes them by rounding alone,
    about 1e-15 of the deviation a scan, before the result is stored as float32.

    Parameters
    ----------
    scans : iterable of ndarray, shape (channels, *space)
        Scans as stored.
    mask : ndarray of bool, shape (*space,)
        The brain, or the whole image. ``dataset`` looks at nothing else; ``pixelwise`` has no use for it.
    kind : {"pixelwise", "dataset"}
        ``pixelwise``: one mean and deviation for every pixel, as Brima & Atemkeng (2024) did. ``dataset``: one
        for each channel.

    Raises
    ------
    IntakeError
        If there is no scan, or a channel is constant over all of them.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for scan in scans:
        n, its_mean, its_squares = _moments(scan.astype(np.float64), mask, kind)
        difference, total = its_mean - mean, count + n
        mean = mean + difference * (n / total)
        squares = squares + its_squares + difference**2 * (count * n / total)
        count = total
    deviation = np.sqrt(squares / max(count, 1))
    largest = deviation.reshape(len(deviation), -1).max(axis=1) if count else np.zeros(1)
    if not (largest > 0).all():
        raise IntakeError(
            f"channel {int(np.argmin(largest > 0))} is the same everywhere in the scans of training.",
            field="intensity",
            remedy="use another intensity, or look at the scans of the cohort.",
        )
    floor = DEVIATION_FLOOR * largest.reshape(-1, *(1,) * (deviation.ndim - 1))
    return FittedIntensity(mean.astype(np.float32), np.where(deviation > floor, deviation, 0).astype(np.float32))


def _moments(scan: np.ndarray, mask: np.ndarray, kind: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Return count, mean and sum of squared deviations of one scan, shaped like what is fitted."""
    if kind == "pixelwise":
        return 1, scan, np.zeros_like(scan)
    inside = scan[:, mask]
    mean = inside.mean(axis=1, keepdims=True)
    shape = (len(scan), *(1,) * mask.ndim)
    return inside.shape[1], mean.reshape(shape), ((inside - mean) ** 2).sum(axis=1).reshape(shape)


def normalise(scan: np.ndarray, mask: np.ndarray, kind: str, fitted: FittedIntensity | None = None) -> np.ndarray:
    """Return one scan with its intensities normalised.

    Parameters
    ----------
    scan : ndarray, shape (channels, *space)
        Intensities.
    mask : ndarray of bool, shape (*space,)
        The brain.
    kind : {"zscore", "minmax", "none", "pixelwise", "dataset"}
        ``zscore``: mean 0 and deviation 1 inside the mask, zero outside. ``minmax``: the whole channel
        to 0..1, as Wang et al. (2023) did. ``none``: as stored. None of them looks at another scan, so
        nothing can leak between the parts of a fold. ``pixelwise``: every pixel by its own mean and deviation
        over the scans of training, zero where it was constant, inside the mask and out. ``dataset``: by one mean
        and deviation over the masks of the scans of training, zero outside.
    fitted : FittedIntensity, optional
        What ``pixelwise`` and ``dataset`` go by.

    Returns
    -------
    ndarray of float32, shape (channels, *space)

    Raises
    ------
    IntakeError
        If a channel is constant, so that it cannot be normalised.
    ConfigError
        If the kind is not known, or needs a fit and has none.
    """
    return rescaled(scan, scan, mask, kind, fitted)


def zero_intensity(scan: np.ndarray, mask: np.ndarray, kind: str, fitted: FittedIntensity | None = None) -> np.ndarray:
    """Return what `normalise` makes of the stored intensity zero in this scan: a head without tissue.

    Under ``zscore`` zero is the mean intensity of the brain after normalisation, and no tissue is
    -mean / deviation inside the mask (zero outside). Under ``minmax`` it is zero where the darkest voxel is.
    Under ``pixelwise`` and ``dataset`` it is the same for every scan.

    Parameters, errors and shape are those of `normalise`.
    """
    return rescaled(np.zeros_like(scan), scan, mask, kind, fitted)


def rescaled(
    values: np.ndarray, scan: np.ndarray, mask: np.ndarray, kind: str, fitted: FittedIntensity | None
) -> np.ndarray:
    """Return other values (channels, *space) on the scale that normalises a scan: a changed scan beside it.

    Mask, kind, fit and errors are those of `normalise`.
    """
    if kind == "none":
        return np.asarray(values, dtype=np.float32)
    if kind in FITTED_INTENSITIES:
        standardised = _required(fitted, kind).standardise(values)
        return standardised if kind == "pixelwise" else np.where(mask, standardised, np.float32(0))
    if kind not in OWN_INTENSITIES:
        raise ConfigError(
            f"the intensity normalisation '{kind}' does not exist.",
            field="intensity",
            remedy=f"use {', '.join((*FITTED_INTENSITIES, *OWN_INTENSITIES[:-1]))} or {OWN_INTENSITIES[-1]}.",
        )
    result = np.zeros(scan.shape, dtype=np.float32)
    where: np.ndarray | EllipsisType = mask if kind == "zscore" else ...
    for channel, intensities in enumerate(scan):
        inside = intensities[where]
        if kind == "zscore":
            centre, spread = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
        else:
            centre, spread = float(inside.min()), float(inside.max()) - float(inside.min())
        if not spread > 0:
            raise IntakeError(
                f"channel {channel} is constant.",
                field="intensity",
                remedy="exclude the scan from the cohort.",
            )
        result[channel][where] = ((values[channel][where] - centre) / spread).astype(np.float32)
    return result


def _required(fitted: FittedIntensity | None, kind: str) -> FittedIntensity:
    if fitted is None:
        raise ConfigError(
            f"the intensity normalisation '{kind}' has not been fitted.",
            field="intensity",
            remedy="read scans through ScanLoader.fit in training and ScanLoader.for_model after it.",
        )
    return fitted
