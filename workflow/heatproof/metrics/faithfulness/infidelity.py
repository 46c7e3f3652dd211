"""Infidelity: how far a map is from foretelling what a change of the scan does to the network's answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.faithfulness.asking import Predict, answers, as_array
from heatproof.metrics.faithfulness.fills import constant_content
from heatproof.randomness import generator

PERTURBATIONS = ("gaussian", "square")


def infidelity(
    image: Any,
    maps: Any,
    logits: Predict,
    target: int,
    *,
    n_samples: int,
    perturbation: str = "gaussian",
    seed: int,
    scale: float,
    normalise: bool = True,
    contributions: bool = False,
    fill: Any = 0.0,
    batch_size: int = 32,
) -> np.ndarray:
    """Return the infidelity of every map (Yeh et al., NeurIPS 2019, arXiv 1901.09392, definition 2.1), shape (M,).

    The mean over perturbations I of (b I.map - (f(x) - f(x - I)))^2. With `normalise` the factor b is the one that
    serves the map best (the paper's optimal scaling, which may be negative), else 1. Smaller is better; the unit is
    that of the logits, squared. All maps see the same perturbations and share the forwards.

    With `normalise` a network that always says the same gives every map 0; without it the size of the map counts.

    Parameters
    ----------
    image : ndarray or Tensor, shape (C, *S)
    maps : ndarray or Tensor, shape (M, *S) or (M, C, *S)
        One channel stands for the sum over the scan's channels.
    logits : callable
        From (B, C, *S), of the kind of `image`, to logits (B, K).
    target : int
    n_samples : int
        Perturbations.
    perturbation : {"gaussian", "square"}
        Independent normal noise in every voxel, or a square (cube, segment) at a random place that is set to `fill`.
        Noise is the same in all channels when the maps have one.
    scale : float
        Standard deviation of the noise in the unit of the scan, or the edge of the square in voxels.
    contributions : bool
        Whether the maps hold contributions, map = (x - fill) x steepness (input x gradient, integrated gradients,
        Shapley values), as opposed to the steepness itself. I is then taken relative to x - fill: 1 inside the
        square, 0 outside. For squares only.
    fill : number or array_like, shape (C, *S)
        What a square is set to.
    batch_size : int

    Raises
    ------
    ConfigError
        Parameters that are out of range, or noise for contributions.
    GeometryError
        Maps on another grid, or with one channel where a square changes several by different amounts.
    UnsupportedModelError
        `logits` does not return (batch, classes).
    """
    check_perturbation(perturbation, n_samples, scale, contributions)
    scan, maps = as_array(image), as_array(maps)
    shape = foretelling_shape(scan, maps, perturbation, contributions)
    perturbations = Perturbations(
        scan, constant_content(scan, fill), shape, perturbation, scale, contributions, seed
    )  # fmt: skip
    flat = maps.reshape(len(maps), -1)
    foretold = np.empty((n_samples, len(maps)))

    def altered() -> Iterator[np.ndarray]:
        yield scan
        for sample in range(n_samples):
            change, weight = perturbations.draw(sample)
            # Summed without BLAS, whose order of adding depends on the number of threads.
            foretold[sample] = np.einsum("mv,v->m", flat, weight.reshape(-1))
            yield scan - change

    found = answers(logits, altered(), image, target, batch_size)[:, target]
    return best_fit(foretold, (found[0] - found[1:])[:, None], normalise)


@dataclass(frozen=True)
class Perturbations:
    """Random changes of a scan, each with a stream of its own.

    Attributes
    ----------
    scan, content : ndarray, shape (C, *S)
        The scan, and what a square is set to.
    shape : tuple of int
        Of what a map is multiplied with: (C, *S), or (*S,) for maps with one channel.
    kind, scale, contributions, seed
        See `infidelity`.
    """

    scan: np.ndarray
    content: np.ndarray
    shape: tuple[int, ...]
    kind: str
    scale: float
    contributions: bool
    seed: int

    def draw(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is taken from the scan, and what the map is multiplied with for it (of `shape`)."""
        random = generator(self.seed, "faithfulness", "infidelity", sample)
        if self.kind == "gaussian":
            noise = self.scale * random.standard_normal(self.shape)
            return noise, noise
        inside = square(self.scan.shape[1:], int(self.scale), random)
        change = inside * (self.scan - self.content)
        return change, np.broadcast_to(inside, self.shape) if self.contributions else change


def foretelling_shape(scan: np.ndarray, maps: np.ndarray, perturbation: str, contributions: bool) -> tuple[int, ...]:
    """Return the shape of what one map is multiplied with: (C, *S), or (*S,) for maps with one channel.

    Raises
    ------
    GeometryError
        Maps on another grid, or with one channel where a square changes several by different amounts.
    """
    if maps.shape[1:] == scan.shape:
        return scan.shape
    if maps.shape[1:] != scan.shape[1:]:
        raise GeometryError(
            f"a scan of shape {scan.shape} does not fit maps of shape {maps.shape}.",
            field="maps",
            remedy="pass maps as (M, *S) or (M, C, *S).",
        )
    if len(scan) > 1 and perturbation == "square" and not contributions:
        raise GeometryError(
            f"a square changes {len(scan)} channels by different amounts, and the maps have one.",
            field="maps",
            remedy="pass maps as (M, C, *S), or contributions summed over channels with contributions=True.",
        )
    return scan.shape[1:]


def best_fit(foretold: np.ndarray, found: np.ndarray, normalise: bool) -> np.ndarray:
    """Return the mean squared difference of changes foretold (n, M) and found (n, 1), shape (M,)."""
    factor = np.ones(foretold.shape[1])
    if normalise:
        power = (foretold**2).sum(axis=0)
        # A map that foretells nothing has no scale: it is held against the changes as it is.
        factor = np.divide((foretold * found).sum(axis=0), power, out=np.zeros_like(power), where=power != 0)
    return ((factor * foretold - found) ** 2).mean(axis=0)


def square(sizes: tuple[int, ...], edge: int, random: np.random.Generator) -> np.ndarray:
    """Return a square (cube, segment) at a random place wholly inside the grid, 1 inside and 0 outside, shape (*S,)."""
    edges = [min(edge, size) for size in sizes]
    corner = [int(random.integers(size - side + 1)) for size, side in zip(sizes, edges, strict=True)]
    inside = np.zeros(sizes)
    inside[tuple(slice(first, first + side) for first, side in zip(corner, edges, strict=True))] = 1
    return inside


def check_perturbation(perturbation: str, n_samples: int, scale: float, contributions: bool) -> None:
    """Check the parameters of the perturbations.

    Raises
    ------
    ConfigError
        They are out of range, or contradict each other.
    """
    if perturbation not in PERTURBATIONS:
        raise ConfigError(
            f"'{perturbation}' is no perturbation.", field="perturbation", remedy=f"use {' or '.join(PERTURBATIONS)}."
        )
    if n_samples < 1:
        raise ConfigError(f"n_samples is {n_samples}.", field="n_samples", remedy="use 1 or more.")
    if not 0 < scale < np.inf or (perturbation == "square" and scale != int(scale)):
        raise ConfigError(
            f"scale is {scale}.", field="scale", remedy="use a deviation above 0, or an edge of whole voxels."
        )
    if contributions and perturbation != "square":
        raise ConfigError(
            "noise is no share of the way from a scan to its fill, so contributions foretell nothing about it.",
            field="contributions",
            remedy="use perturbation=square for maps of contributions.",
        )
