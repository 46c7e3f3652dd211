"""Surrogates of a map: the same values, the same spatial autocorrelation, no relation to the brain.

A smooth map overlaps a smooth truth by luck more often than white noise does, so overlap is judged against
random maps that are as smooth (Alexander-Bloch et al., NeuroImage 2018;178:540; Burt et al., NeuroImage
2020;220:117038). The map's autocorrelation is estimated inside the mask through the fast Fourier transform (pairs with
a voxel outside do not count). Gaussian fields are drawn, and the map's own values are laid out in the order of
each field; the fields are as smooth as it takes for those values to have the map's autocorrelation. The
autocorrelation is taken to be the same everywhere in the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from heatproof.metrics.space import RankedMap, Space

Way = TypeVar("Way", bound=Hashable)
# Correlations below this are estimation noise; they set how far the field is padded.
NEGLIGIBLE = 0.05
# More change nothing in the second decimal, for values as skewed as log-normal ones.
HERMITE_TERMS = 30
PROJECTIONS = 15


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
        Correlation at each lag in voxels, lag zero first, negative lags at the end as for an FFT; 0 where
        fewer than a hundredth of the voxels have a partner.
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
    ascending = heatmap.descending[::-1]
    correlation = _of_scores(autocorrelation(heatmap.values, space.mask), ascending)
    reach = _reach(correlation, space.mask.shape)
    kernel = correlation
    for axis, (length, lag) in enumerate(zip(space.mask.shape, reach, strict=True)):
        kernel = _within(kernel, axis, length, lag)
    return Surrogates(ascending, _amplitude(kernel, reach), space.mask)


def _of_scores(correlation: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Return the correlation that a Gaussian field must have for its rank-matched values to have `correlation`.

    A rising function of a Gaussian field with correlation r has correlation ``sum c_k^2 r^k / sum c_k^2``, where
    the c_k are its Hermite coefficients (Mehler's formula). Heavy tails lower it, so the field must be smoother.
    """
    from scipy.special import ndtri

    n = ascending.size
    centred = ascending - ascending.mean()
    scores = ndtri((np.arange(n) + 0.5) / n)
    before, now = np.ones(n), scores
    shares = np.zeros(HERMITE_TERMS + 1)
    for order in range(1, HERMITE_TERMS + 1):
        shares[order] = (centred * now).mean() ** 2
        # Hermite polynomials scaled to variance one.
        before, now = now, (scores * now - np.sqrt(order) * before) / np.sqrt(order + 1)
    if shares.sum() == 0:
        return correlation
    known = np.linspace(-1, 1, 401)
    reached = np.polynomial.polynomial.polyval(known, shares / shares.sum())
    return np.interp(correlation, np.maximum.accumulate(reached), known)


def _reach(correlation: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return for each axis the lag after which the correlation stays negligible, at most half the axis' length."""
    reach = []
    for axis, length in enumerate(shape):
        line = correlation[tuple(slice(None) if a == axis else 0 for a in range(len(shape)))]
        small = np.flatnonzero(np.abs(line[:length]) < NEGLIGIBLE)
        reach.append(max(1, min(int(small[0]) if small.size else length, length // 2)))
    return tuple(reach)


def _within(kernel: np.ndarray, axis: int, length: int, lag: int) -> np.ndarray:
    """Return the kernel on a circle that is `length` and twice the reach long, without longer lags."""
    from scipy.fft import next_fast_len

    size = next_fast_len(length + 2 * lag)
    lags = np.concatenate([np.arange(2 * lag), np.arange(-2 * lag + 1, 0)])
    form = [1] * kernel.ndim
    form[axis] = -1
    # Beyond the reach a cosine takes the estimate down to zero.
    fade = 0.5 * (1 + np.cos(np.pi * np.clip((np.abs(lags) - lag) / lag, 0, 1)))
    taken = np.take(kernel, lags, axis=axis) * fade.reshape(form)
    padded = np.zeros([*taken.shape[:axis], size, *taken.shape[axis + 1 :]])
    padded[(slice(None),) * axis + (lags % size,)] = taken
    return padded


def _amplitude(kernel: np.ndarray, reach: tuple[int, ...]) -> np.ndarray:
    """Return the square root of the power of fields whose correlation is the kernel, up to its reach.

    A correlation estimated from one map need not be a possible one: some of its power may be negative. Taking that
    away changes the short lags too, so power and short lags are put right in turns.
    """
    from scipy.fft import fftn, irfftn, rfftn

    short = np.ones(kernel.shape, bool)
    for axis, lag in enumerate(reach):
        index = np.arange(kernel.shape[axis])
        form = [1] * kernel.ndim
        form[axis] = -1
        short &= (np.minimum(index, kernel.shape[axis] - index) <= lag).reshape(form)
    wanted = kernel[short]
    current = kernel.copy()
    for _ in range(PROJECTIONS):
        current = irfftn(np.maximum(rfftn(current).real, 0), kernel.shape)
        current[short] = wanted
    return np.sqrt(np.maximum(fftn(current).real, 0)).astype(np.float32)


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
