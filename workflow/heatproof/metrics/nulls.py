"""Surrogates of a map: the same values, the same spatial autocorrelation, no relation to the brain.

A smooth map overlaps a smooth truth by luck more often than white noise does, so overlap is judged against
random maps that are as smooth (Alexander-Bloch et al., NeuroImage 2018;178:540; Burt et al., NeuroImage 2020;220:117038).
Here the map is brought to normal scores, its autocorrelation is estimated inside the mask through the fast Fourier
transform (pairs with a voxel outside do not count), Gaussian fields with that autocorrelation are drawn, and the
map's own values are laid out in the order of each field. The autocorrelation is taken to be the same
everywhere in the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from heatproof.metrics.space import RankedMap, Space, average_ranks

Way = TypeVar("Way", bound=Hashable)
# Correlations below this are estimation noise; they set how far the field is padded.
NEGLIGIBLE = 0.05


def autocorrelation(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of a field inside a mask for every lag on a grid of twice the length.

    Parameters
    ----------
    values : ndarray, shape (n,)
        The field inside the mask.
    mask : ndarray of bool, shape (*space,)
        Where it is known.

    Returns
    -------
    ndarray, shape (2 L_1, 2 L_2, ...)
        Correlation at each lag in voxels, lag zero first, negative lags at the end as for an FFT; 0 where fewer
        than a hundredth of the voxels have a partner.
    """
    from scipy.fft import irfftn, rfftn

    shape = tuple(2 * length for length in mask.shape)
    field = np.zeros(mask.shape)
    field[mask] = values - values.mean()
    products = irfftn(np.abs(rfftn(field, shape)) ** 2, shape)
    pairs = np.rint(irfftn(np.abs(rfftn(mask.astype(np.float64), shape)) ** 2, shape))
    enough = pairs >= max(1.0, 0.01 * mask.sum())
    covariance = np.divide(products, pairs, out=np.zeros(shape), where=enough)
    variance = covariance[(0,) * mask.ndim]
    return covariance / variance if variance > 0 else covariance


@dataclass(frozen=True)
class Surrogates:
    """A source of surrogates of one map.

    Attributes
    ----------
    ascending : ndarray, shape (n,)
        The map's values, sorted.
    amplitude : ndarray, shape (*padded,)
        Square root of the power spectrum of the fields.
    mask : ndarray of bool, shape (*space,)
        Where surrogates are laid out.
    """

    ascending: np.ndarray
    amplitude: np.ndarray
    mask: np.ndarray

    def draw(self, n: int, generator: np.random.Generator) -> Iterator[RankedMap]:
        """Yield n surrogates."""
        from scipy.fft import ifftn

        crop = tuple(slice(0, length) for length in self.mask.shape)
        shape = self.amplitude.shape
        for start in range(0, n, 2):
            noise = np.empty(shape, np.complex64)
            noise.real = generator.standard_normal(shape, np.float32)
            noise.imag = generator.standard_normal(shape, np.float32)
            # The real and the imaginary part of one transform are two independent fields.
            field = ifftn(noise * self.amplitude, overwrite_x=True)[crop][self.mask]
            yield RankedMap.permuted(self.ascending, field.real)
            if start + 1 < n:
                yield RankedMap.permuted(self.ascending, field.imag)


def surrogates_of(heatmap: RankedMap, space: Space) -> Surrogates:
    """Return a source of surrogates of a map (see the module's docstring)."""
    from scipy.fft import fftn, next_fast_len
    from scipy.special import ndtri

    ranks = average_ranks(heatmap.values)
    scores = ndtri(ranks / (ranks.size + 1))
    correlation = autocorrelation(scores, space.mask)
    reach = _reach(correlation, space.mask.shape)
    shape = tuple(next_fast_len(length + lag) for length, lag in zip(space.mask.shape, reach, strict=True))
    kernel = correlation
    for axis, (length, size, lag) in enumerate(zip(space.mask.shape, shape, reach, strict=True)):
        kernel = _fold_lags(kernel, axis, length, size, lag)
    # A correlation estimated from one map need not be a valid one; negative power is not.
    power = np.maximum(fftn(kernel).real, 0).astype(np.float32)
    return Surrogates(heatmap.descending[::-1], np.sqrt(power), space.mask)


def _reach(correlation: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return for each axis the lag after which the correlation stays negligible, at most the axis' length."""
    reach = []
    for axis, length in enumerate(shape):
        line = correlation[tuple(slice(None) if a == axis else 0 for a in range(len(shape)))]
        small = np.flatnonzero(np.abs(line[:length]) < NEGLIGIBLE)
        reach.append(int(small[0]) + 1 if small.size else length)
    return tuple(reach)


def _fold_lags(kernel: np.ndarray, axis: int, length: int, size: int, lag: int) -> np.ndarray:
    """Return the kernel cut to lags below half of `size` along an axis, fading out towards the last lag."""
    half = min((size - 1) // 2, length - 1)
    lags = np.concatenate([np.arange(half + 1), np.arange(-half, 0)])
    # Long lags are estimated from few pairs: a cosine takes them down to zero.
    end = min(half, 2 * lag)
    fade = np.where(np.abs(lags) <= end, 0.5 * (1 + np.cos(np.pi * lags / (end + 1))), 0.0)
    taken = np.take(kernel, lags, axis=axis)
    form = [1] * kernel.ndim
    form[axis] = -1
    taken = taken * fade.reshape(form)
    padded = np.zeros([*taken.shape[:axis], size, *taken.shape[axis + 1 :]])
    place = [slice(None)] * kernel.ndim
    place[axis] = lags % size  # type: ignore[call-overload]
    padded[tuple(place)] = taken
    return padded


@dataclass(frozen=True)
class NullResult:
    """Where an observed score stands among those of surrogates."""

    observed: float
    null_mean: float
    null_sd: float
    null_95: float
    p_value: float
    n_surrogates: int


def compare(observed: float, null: np.ndarray, larger_is_better: bool = True) -> NullResult:
    """Return the place of an observed score among null scores.

    Parameters
    ----------
    observed : float
        Score of the map.
    null : ndarray, shape (n,)
        Scores of the surrogates.
    larger_is_better : bool
        Direction; `null_95` is the score that the best twentieth of the surrogates reach.

    Returns
    -------
    NullResult
        ``p_value`` is ``(1 + as good or better) / (1 + n)``, never zero; NaN if the observed score is.
    """
    sign = 1 if larger_is_better else -1
    if np.isnan(observed) or not null.size or np.isnan(null).any():
        return NullResult(observed, np.nan, np.nan, np.nan, np.nan, null.size)
    as_good = int((sign * null >= sign * observed - 1e-12).sum())
    return NullResult(
        observed,
        float(null.mean()),
        float(null.std(ddof=1)) if null.size > 1 else 0.0,
        float(sign * np.quantile(sign * null, 0.95)),
        (1 + as_good) / (1 + null.size),
        null.size,
    )


def null_scores(
    heatmap: RankedMap,
    space: Space,
    scores: Mapping[Way, Callable[[RankedMap], float]],
    n: int,
    generator: np.random.Generator,
) -> dict[Way, np.ndarray]:
    """Return the scores of n surrogates of a map, each surrogate scored in every way, shape (n,) each."""
    drawn = {name: np.empty(n) for name in scores}
    for row, surrogate in enumerate(surrogates_of(heatmap, space).draw(n, generator)):
        for name, score in scores.items():
            drawn[name][row] = score(surrogate)
    return drawn
