"""F-Fidelity: removal by chance within the map's best and other voxels, judged by a network that has seen holes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.metrics.faithfulness.asking import Predict, answers
from heatproof.metrics.faithfulness.fills import constant_content
from heatproof.metrics.faithfulness.ranking import RankedScan
from heatproof.randomness import generator

SHARE_GRID = tuple(step / 20 for step in range(1, 20))
SCORES = ("accuracy", "probability")


def f_fidelity(
    image: Any,
    maps: Any,
    predict: Predict,
    target: int,
    *,
    alpha: float = 0.5,
    beta: float = 0.1,
    share_grid: Sequence[float] = SHARE_GRID,
    n_samples: int = 50,
    seed: int,
    score: str = "accuracy",
    fill: Any = 0.0,
    mask: Any = None,
    batch_size: int = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """Return F-Fidelity (Zheng et al., ICLR 2025, arXiv 2410.02970), averaged over sizes of the explanation.

    For each share s the voxels are parted into the s most relevant ones and the rest. FFid+ removes a random share
    alpha of the first part, FFid- of the second, but never more than the share beta of all voxels: `predict` has to be
    a network tuned on scans with up to that much removed (`fine_tuning.fine_tuned`, with the same beta, fill and
    mask), so that it judges nothing it has not seen. Each is the score of the whole scan minus the mean score of the
    scans with holes. The mean over `share_grid` is what is returned.

    As in the paper: alpha, the cap beta, both parts, the fine-tuned network, right answers as the score; defaults
    are those of its released code. Different: exactly min(alpha x part, beta x all) voxels go, where the code draws
    every voxel by itself and keeps the cap on average only; all channels of a voxel go together; ``probability``
    takes the answer for the target class instead of right or wrong, which is less coarse for a single scan. The same
    draws, by rank, serve every map.

    Parameters
    ----------
    image, maps, target, mask, seed, batch_size
        See `removal.removal_curves`; the target is the right class for ``accuracy``.
    predict : callable
        The fine-tuned network, from (B, C, *S) to probabilities (B, K).
    alpha : float
        Share of a part that is removed, above 0 and up to 1.
    beta : float
        Largest share of all voxels that is removed, above 0 and up to 1.
    share_grid : sequence of float
        Sizes of the explanation as shares of the mask, above 0 and below 1.
    n_samples : int
        Random removals for each share and map.
    score : {"accuracy", "probability"}
    fill : number or array_like, shape (C, *S)
        What a removed voxel is set to.

    Returns
    -------
    plus : ndarray, shape (M,)
        Loss when relevant voxels are removed; larger is better. NaN for a map that is not finite.
    minus : ndarray, shape (M,)
        Loss when the other voxels are removed; smaller is better. plus - minus is 0 for a map that knows nothing.

    Raises
    ------
    ConfigError
        Shares out of range, no sample, an unknown score, or a target that is no class.
    GeometryError
        Scan, maps, mask and fill are not on one grid.
    UnsupportedModelError
        `predict` does not return (batch, classes), or one class only where right and wrong are counted.
    """
    check_fidelity(alpha, beta, share_grid, n_samples, score)
    scan = RankedScan.of(image, maps, mask, seed)
    content = constant_content(scan.image, fill)
    draws = Draws(scan.places.size, alpha, beta, tuple(share_grid), n_samples, seed)
    columns = np.flatnonzero(scan.valid)
    plus, minus = np.full((2, len(scan.maps)), np.nan)
    if not columns.size:
        return plus, minus

    def altered() -> Iterator[np.ndarray]:
        yield scan.image
        for index in columns.tolist():
            order = scan.order(index)
            for ranks in draws.ranks():
                yield np.where(scan.removed(order[ranks]), content, scan.image)

    found = scored(answers(predict, altered(), image, target, batch_size), target, score)
    losses = found[0] - found[1:].reshape(columns.size, len(share_grid), n_samples, 2)
    plus[columns], minus[columns] = losses.mean(axis=(1, 2)).T
    return plus, minus


@dataclass(frozen=True)
class Draws:
    """Which ranks are removed, the same for every map."""

    n_voxels: int
    alpha: float
    beta: float
    share_grid: tuple[float, ...]
    n_samples: int
    seed: int

    def ranks(self) -> Iterator[np.ndarray]:
        """Yield, for each share and sample, ranks among the most relevant voxels and then among the others."""
        for share in self.share_grid:
            size = int(np.rint(share * self.n_voxels))
            for sample in range(self.n_samples):
                random = generator(self.seed, "faithfulness", "f_fidelity", share, sample)
                for first, n_part in ((0, size), (size, self.n_voxels - size)):
                    n_removed = removable(min(self.alpha * n_part, self.beta * self.n_voxels))
                    yield first + random.choice(n_part, n_removed, replace=False, shuffle=False)


def removable(n_voxels: float) -> int:
    """Return how many whole voxels a number allows; rounding errors of a product do not count."""
    return int(np.floor(n_voxels + 1e-9))


def scored(found: np.ndarray, target: int, score: str) -> np.ndarray:
    """Return the score of each answer, shape (n,): its value for the target class, or 1 where it is the largest.

    Raises
    ------
    UnsupportedModelError
        There is one class only, which is always the largest.
    """
    if score == "probability":
        return found[:, target]
    if found.shape[1] < 2:
        raise UnsupportedModelError(
            "predict returns one class, which is always the largest.",
            field="predict",
            remedy="Let it return the probability of every class, or use score=probability.",
        )
    right = (found.argmax(axis=1) == target).astype(np.float64)
    # A network that answers NaN is neither right nor wrong.
    return np.where(np.isnan(found).any(axis=1), np.nan, right)


def check_fidelity(alpha: float, beta: float, share_grid: Sequence[float], n_samples: int, score: str) -> None:
    """Check the parameters of F-Fidelity.

    Raises
    ------
    ConfigError
        They are out of range.
    """
    for name, share in (("alpha", alpha), ("beta", beta)):
        if not 0 < share <= 1:
            raise ConfigError(f"{name} is {share}.", field=name, remedy="use a share above 0 and up to 1.")
    if not len(share_grid) or not all(0 < share < 1 for share in share_grid):
        raise ConfigError(
            f"the shares {list(share_grid)} do not part the voxels.",
            field="share_grid",
            remedy="use shares above 0 and below 1.",
        )
    if n_samples < 1:
        raise ConfigError(f"n_samples is {n_samples}.", field="n_samples", remedy="use 1 or more.")
    if score not in SCORES:
        raise ConfigError(f"'{score}' is no score.", field="score", remedy=f"use {' or '.join(SCORES)}.")
