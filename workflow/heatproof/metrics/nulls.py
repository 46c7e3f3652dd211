"""Surrogates of a map: the same values, the same spatial autocorrelation, no relation to the brain.

A smooth map overlaps a smooth truth by luck more often than white noise does, so overlap is judged against
random maps that are as smooth (Alexander-Bloch et al., NeuroImage 2018;178:540; Burt et al., NeuroImage
2020;220:117038). The map's autocorrelation is estimated inside the mask through the fast Fourier transform (pairs with
a voxel outside do not count). Gaussian fields are drawn, and the map's own values are laid out in the order of
each field; the fields are as smooth as it takes for those values to have the map's autocorrelation. The
autocorrelation is taken to be the same everywhere in the mask.

Where places along an axis are no neighbours (leads; an infinite step of the space) there is no lag along it: the
autocorrelation is that within one lead, over all of them, and every two leads keep their own correlation, so that a map
that says the same in all leads has surrogates that do so too.
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


def autocorrelation(values: np.ndarray, mask: np.ndarray, apart: tuple[int, ...] = ()) -> np.ndarray:
    """Return the autocorrelation of a field inside a mask for every lag on a grid of twice the length.

    Parameters
    ----------
    values : ndarray, shape (n,)
        The field inside the mask.
    mask : ndarray of bool, shape (*space,)
        Where it is known.
    apart : tuple of int
        Axes without lags, see `heatproof.metrics.space.Space.apart`.

    Returns
    -------
    ndarray, shape (2 L_1, 2 L_2, ...) over the other axes
        Correlation at each lag in voxels, lag zero first, negative lags at the end as for an FFT; 0 where
        fewer than a hundredth of the voxels have a partner.
    """
    from scipy.fft import irfftn, rfftn

    axes = tuple(axis for axis in range(mask.ndim) if axis not in apart)
    shape = tuple(2 * mask.shape[axis] for axis in axes)
    field = np.zeros(mask.shape)
    field[mask] = values - values.mean()

    def power(array: np.ndarray) -> np.ndarray:
        return (np.abs(rfftn(array, shape, axes)) ** 2).sum(axis=apart)

    products = irfftn(power(field), shape)
    pairs = np.rint(irfftn(power(mask.astype(np.float64)), shape))
    enough = pairs >= max(1.0, 0.01 * mask.sum())
    covariance = np.divide(products, pairs, out=np.zeros(shape), where=enough)
    variance = covariance[(0,) * len(axes)]
    return covariance / variance if variance > 0 else covariance


@dataclass(frozen=True)
class Surrogates:
    """A source of surrogates of one map.

    Attributes
    ----------
    ascending : ndarray, shape (n,)
        The map's values, sorted.
    amplitude : ndarray, shape (*padded,)
        Square root of the power spectrum of the fields; of length one along axes whose places are no neighbours.
    mask : ndarray of bool, shape (*space,)
        Where surrogates are laid out.
    apart : tuple of int
        Axes whose places are no neighbours.
    mixing : ndarray, shape (k, k), optional
        What makes of k independent fields the k fields of such places, correlated as those of the map are.
    """

    ascending: np.ndarray
    amplitude: np.ndarray
    mask: np.ndarray
    apart: tuple[int, ...] = ()
    mixing: np.ndarray | None = None

    def draw(self, n: int, generator: np.random.Generator) -> Iterator[RankedMap]:
        """Yield n surrogates."""
        from scipy.fft import ifftn

        crop = tuple(slice(0, length) for length in self.mask.shape)
        axes = tuple(axis for axis in range(self.mask.ndim) if axis not in self.apart)
        shape = tuple(self.mask.shape[axis] if axis in self.apart else length
                      for axis, length in enumerate(self.amplitude.shape))  # fmt: skip
        for start in range(0, n, 2):
            noise = np.empty(shape, np.complex64)
            noise.real = generator.standard_normal(shape, np.float32)
            noise.imag = generator.standard_normal(shape, np.float32)
            # The real and the imaginary part of one transform are two independent fields.
            field = self._mixed(ifftn(noise * self.amplitude, axes=axes, overwrite_x=True)[crop])[self.mask]
            yield RankedMap.permuted(self.ascending, field.real)
            if start + 1 < n:
                yield RankedMap.permuted(self.ascending, field.imag)

    def _mixed(self, field: np.ndarray) -> np.ndarray:
        if self.mixing is None:
            return field
        first = range(len(self.apart))
        moved = np.moveaxis(field, self.apart, first)
        # Summed without BLAS, whose order of adding depends on the number of threads.
        mixed = np.einsum("ij,jt->it", self.mixing, moved.reshape(len(self.mixing), -1))
        return np.moveaxis(mixed.reshape(moved.shape), first, self.apart)


def surrogates_of(heatmap: RankedMap, space: Space) -> Surrogates:
    """Return a source of surrogates of a map (see the module's docstring)."""
    ascending = heatmap.descending[::-1]
    lengths = tuple(space.mask.shape[axis] for axis in space.near)
    correlation = _of_scores(autocorrelation(heatmap.values, space.mask, space.apart), ascending)
    reach = _reach(correlation, lengths)
    kernel = correlation
    for axis, (length, lag) in enumerate(zip(lengths, reach, strict=True)):
        kernel = _within(kernel, axis, length, lag)
    amplitude = np.expand_dims(_amplitude(kernel, reach), space.apart)
    mixing = _mixing(heatmap.values, space, ascending) if space.apart else None
    return Surrogates(ascending, amplitude, space.mask, space.apart, mixing)


def _mixing(values: np.ndarray, space: Space, ascending: np.ndarray) -> np.ndarray:
    """Return a square root of the correlations that the fields of places without neighbours must have, shape (k, k)."""
    first = range(len(space.apart))
    n_apart = int(np.prod([space.mask.shape[axis] for axis in space.apart]))
    centred = np.zeros(space.mask.shape)
    centred[space.mask] = values - values.mean()
    by_place = [np.moveaxis(array, space.apart, first).reshape(n_apart, -1) for array in (centred, 1.0 * space.mask)]
    products, pairs = (np.einsum("it,jt->ij", array, array) for array in by_place)
    covariance = np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0)
    lengths = np.sqrt(np.diag(covariance))
    scale = lengths[:, None] * lengths
    correlation = np.divide(covariance, scale, out=np.eye(n_apart), where=scale > 0)
    correlation = _of_scores(np.clip(correlation, -1, 1), ascending)
    power, directions = np.linalg.eigh(correlation)
    root = directions * np.sqrt(np.maximum(power, 0))
    # What the negative power took away is given back, so that every field has the same spread.
    return root / np.sqrt((root**2).sum(axis=1, keepdims=True))


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
