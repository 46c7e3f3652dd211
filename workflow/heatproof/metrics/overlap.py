"""Metrics of overlap between a map and a truth.

Rules that hold for all of them: only voxels inside the mask count; ties are settled in expectation over
random tie-breaking; a map without any order (constant, all zero) scores chance, except that the published
Dice sweep keeps nothing of it and gives 0; a map with a NaN or infinite value, or an empty truth, gives NaN.
"""

from __future__ import annotations

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.registry import register, share_of_truth
from heatproof.metrics.space import RankedMap, Space, Truth, standardised

NAN = float("nan")


def _undefined(heatmap: RankedMap, truth: Truth) -> bool:
    return not heatmap.valid or not truth.n


def dice_sweep(
    heatmap: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None, n_thresholds: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Return thresholds and the Dice overlap of ``|heatmap| > threshold`` with the truth.

    The thresholds are equally spaced from the smallest to the largest absolute value inside the mask, both
    included (Wang et al., NeuroImage 2023;269:119929). Nothing exceeds the last, so its Dice is 0.

    Parameters
    ----------
    heatmap : ndarray, shape (*space,)
        The map.
    truth : ndarray, shape (*space,)
        Anything that is not zero belongs to the truth.
    mask : ndarray of bool, shape (*space,), optional
        Where to compare; everywhere by default.
    n_thresholds : int
        Number of thresholds, at least 2.

    Returns
    -------
    thresholds, dice : ndarray, shape (n_thresholds,)
        NaN where the map holds a NaN or infinite value inside the mask.

    Raises
    ------
    GeometryError
        If the shapes differ or the mask is empty.
    ConfigError
        If there are fewer than two thresholds.
    """
    heatmap = np.asarray(heatmap)
    space = Space.of(heatmap, mask)
    ranked = RankedMap.of(np.abs(heatmap.astype(np.float64)), space)
    return dice_curve(ranked, Truth.of(truth, space), n_thresholds)


def dice_curve(heatmap: RankedMap, truth: Truth, n_thresholds: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return thresholds and Dice of ``heatmap > threshold``; as `dice_sweep`, for a map that is ready."""
    if n_thresholds < 2:
        raise ConfigError(
            f"{n_thresholds} thresholds do not span a range.", field="n_thresholds", remedy="use 2 or more."
        )
    if not heatmap.valid:
        return np.full(n_thresholds, NAN), np.full(n_thresholds, NAN)
    descending = heatmap.descending
    thresholds = np.linspace(descending[-1], descending[0], n_thresholds)
    kept = descending.size - np.searchsorted(descending[::-1], thresholds, side="right")
    found = np.append(0, heatmap.found(truth))[kept]
    return thresholds, 2 * found / np.maximum(kept + truth.n, 1)


@register(
    "max_dice",
    needs=("truth",),
    chance=lambda truth, space: 2 * share_of_truth(truth, space) / (1 + share_of_truth(truth, space)),
    citation="Wang et al., NeuroImage 2023;269:119929; chance = all voxels kept",
)
def max_dice(heatmap: RankedMap, truth: Truth, space: Space | None = None, n_thresholds: int = 50) -> float:
    """Return the largest Dice over the published sweep; optimistic, because chosen on the map it judges."""
    if _undefined(heatmap, truth):
        return NAN
    return float(dice_curve(heatmap, truth, n_thresholds)[1].max())


def _expected_found(heatmap: RankedMap, truth: Truth, size: int) -> float:
    """Return how many voxels of the truth are among the `size` largest, in expectation over ties."""
    found = np.append(0, heatmap.found(truth)[heatmap.ends])
    reached = np.append(0, heatmap.ends + 1)
    # Between the ends of two runs the expectation is linear (hypergeometric mean).
    return float(np.interp(size, reached, found))


@register(
    "dice_at_size",
    needs=("truth",),
    chance=share_of_truth,
    citation="Dice, Ecology 1945;26:297, at the threshold that keeps as many voxels as the truth has",
)
def dice_at_size(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the Dice of the largest voxels, as many as the truth has: no threshold is chosen on the map."""
    if _undefined(heatmap, truth):
        return NAN
    return _expected_found(heatmap, truth, truth.n) / truth.n


def _expected_iou(n_found: int, n_tied: int, n_tied_inside: int, n_open: int, size: int) -> float:
    """Return the mean intersection over union of two sets of one size over random tie-breaking.

    Parameters
    ----------
    n_found : int
        Voxels of the truth among those that are kept in any case.
    n_tied, n_tied_inside : int
        Voxels with the value at the cut, and those of them in the truth.
    n_open : int
        How many of the tied voxels are kept.
    size : int
        Voxels kept, and voxels in the truth.
    """
    from scipy.special import gammaln

    def log_choices(n: int, k: np.ndarray) -> np.ndarray:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    # The hypergeometric distribution: hits when some of the tied voxels are drawn without putting back.
    hits = np.arange(max(0, n_open - (n_tied - n_tied_inside)), min(n_open, n_tied_inside) + 1)
    weights = log_choices(n_tied_inside, hits) + log_choices(n_tied - n_tied_inside, n_open - hits)
    weights = np.exp(weights - weights.max())
    shared = n_found + hits
    return float((weights * shared / (2 * size - shared)).sum() / weights.sum())


def _chance_iou(truth: Truth | None, space: Space) -> float:
    """Return the mean intersection over union of a blind pick of as many voxels as the truth has."""
    if truth is None:
        return NAN
    return _expected_iou(0, truth.inside.size, truth.n, truth.n, truth.n)


@register(
    "iou_at_size",
    needs=("truth",),
    chance=_chance_iou,
    citation="Jaccard, Bull Soc Vaudoise Sci Nat 1901;37:547, with as many voxels kept as the truth has",
)
def iou_at_size(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the intersection over union of the largest voxels, as many as the truth has, with the truth.

    Without ties at the cut this is ``D / (2 - D)`` of `dice_at_size` and ranks the maps of one truth alike; means over
    scans differ.
    """
    if _undefined(heatmap, truth):
        return NAN
    run = int(np.searchsorted(heatmap.ends, truth.n - 1))
    first = int(heatmap.ends[run - 1]) + 1 if run else 0
    found = np.append(0, heatmap.found(truth))
    before, tied = int(found[first]), int(heatmap.ends[run]) + 1 - first
    inside = int(found[first + tied]) - before
    return _expected_iou(before, tied, inside, truth.n - first, truth.n)


@register(
    "max_iou",
    needs=("truth",),
    chance=share_of_truth,
    citation="Jaccard, Bull Soc Vaudoise Sci Nat 1901;37:547, over the sweep of max_dice; chance = all voxels kept",
)
def max_iou(heatmap: RankedMap, truth: Truth, space: Space | None = None, n_thresholds: int = 50) -> float:
    """Return the largest intersection over union over the published sweep of thresholds.

    It is ``D / (2 - D)`` of `max_dice`, which grows with D, so the best threshold is the same.
    """
    dice = max_dice(heatmap, truth, space, n_thresholds)
    return dice / (2 - dice)


@register(
    "rank_accuracy",
    needs=("truth",),
    chance=share_of_truth,
    citation="relevance rank accuracy, Arras et al., Information Fusion 2022;81:14",
    same_as="dice_at_size",
)
def rank_accuracy(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the share of the k largest voxels that lie in the truth of k voxels.

    With equal sizes Dice is ``2 found / (k + k)``, so this equals `dice_at_size` by definition; both names
    are kept because both are quoted.
    """
    return dice_at_size(heatmap, truth, space)


@register(
    "mass_accuracy",
    needs=("truth",),
    chance=share_of_truth,
    citation="relevance mass accuracy, Arras et al., Information Fusion 2022;81:14",
)
def mass_accuracy(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the share of the positive values' sum that lies in the truth."""
    if _undefined(heatmap, truth):
        return NAN
    return float(heatmap.mass[truth.inside].sum())


@register(
    "pointing_game",
    needs=("truth",),
    chance=share_of_truth,
    citation="Zhang et al., IJCV 2018;126:1084",
)
def pointing_game(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return 1 if the largest value lies in the truth, else 0; with ties, the share of them that does."""
    if _undefined(heatmap, truth):
        return NAN
    top = heatmap.order[: heatmap.ends[0] + 1]
    return float(truth.inside[top].mean())


@register(
    "auroc",
    needs=("truth",),
    chance=lambda truth, space: 0.5,
    citation="Hanley and McNeil, Radiology 1982;143:29",
)
def auroc(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the probability that a voxel of the truth outranks one outside it (ties count half)."""
    if _undefined(heatmap, truth) or truth.n == truth.inside.size:
        return NAN
    found = np.append(0, heatmap.found(truth)[heatmap.ends]).astype(np.float64)
    missed = np.append(0, heatmap.ends + 1) - found
    area = (np.diff(missed) * (found[1:] + found[:-1])).sum() / 2
    return float(area / (truth.n * (truth.inside.size - truth.n)))


@register(
    "average_precision",
    needs=("truth",),
    chance=share_of_truth,
    citation="area under the precision-recall steps, as scikit-learn defines it",
)
def average_precision(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the mean precision over the steps in recall, one step per distinct value."""
    if _undefined(heatmap, truth):
        return NAN
    found = heatmap.found(truth)[heatmap.ends]
    precision = found / (heatmap.ends + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / truth.n)


@register(
    "spearman",
    needs=("truth",),
    chance=lambda truth, space: 0.0,
    citation="Spearman, Am J Psychol 1904;15:72, against the strength of the truth",
)
def spearman(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the rank correlation of the map with the truth's strength; NaN where that is constant."""
    if _undefined(heatmap, truth) or truth.standard_ranks is None:
        return NAN
    ranks = heatmap.standard_ranks
    return 0.0 if ranks is None else float((ranks * truth.standard_ranks).sum())


@register(
    "correlation",
    needs=("truth",),
    chance=lambda truth, space: 0.0,
    citation="Pearson, Philos Trans R Soc A 1896;187:253, against the strength of the truth",
)
def correlation(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the product-moment correlation of the map with the truth's strength; NaN where that is constant.

    Unlike `spearman` it asks for the amounts, so that faint differences far from the truth weigh little.
    """
    if _undefined(heatmap, truth):
        return NAN
    values, strength = standardised(heatmap.values), standardised(truth.strength)
    if strength is None:
        return NAN
    return 0.0 if values is None else float((values * strength).sum())
