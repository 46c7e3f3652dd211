"""What a simulated change of a scan is worth: against the exact change, by the tissue that moved, and in itself.

A change is the changed scan minus the scan, shape (channels, *space). A log-Jacobian, shape (*space,), is the log of
how much tissue a voxel of the changed scan has gained: loss is negative. All numbers look at the voxels of a mask,
which broadcasts over channels. What has no order at all scores chance, as with maps; what cannot be asked gives NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heatproof.metrics.space import standardised

NAN = float("nan")


def inside(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the values in a mask, all channels one after the other, as float64.

    Parameters
    ----------
    values : ndarray, shape (channels, *space) or (*space,)
        What is looked at.
    mask : ndarray of bool, shape (*space,) or (channels, *space)
        Where.
    """
    return values[np.broadcast_to(mask, values.shape)].astype(np.float64)


def correlation(found: np.ndarray, exact: np.ndarray, mask: np.ndarray) -> float:
    """Return Pearson's correlation of what was found with what is exact, both of one shape.

    For two images this is their normalised cross-correlation.

    Returns
    -------
    float
        From -1 to 1; 0 where nothing was found (the same value everywhere), NaN where the exact values are constant.
    """
    one, two = standardised(inside(found, mask)), standardised(inside(exact, mask))
    if two is None:
        return NAN
    return 0.0 if one is None else float((one * two).sum())


def amplitude(found: np.ndarray, exact: np.ndarray, mask: np.ndarray) -> float:
    """Return the slope of what was found over what is exact: 1 is the right size, 0 nothing of it; NaN as above."""
    one, two = inside(found, mask), inside(exact, mask)
    spread = two - two.mean()
    return float((spread * one).sum() / (spread**2).sum()) if spread.any() else NAN


def leakage(change: np.ndarray, effect: np.ndarray, nuisance: np.ndarray) -> float:
    """Return the share of a change that lies where nothing must change.

    Parameters
    ----------
    change : ndarray, shape (channels, *space) or (*space,)
        A change or a log-Jacobian; only its size counts.
    effect, nuisance : ndarray of bool, shape (*space,) or (channels, *space)
        Where the exact change is, and where other things vary that have no part in it.

    Returns
    -------
    float
        From 0 to 1, of the change in both regions together. A change that is zero in both gets the nuisance's share of
        their voxels, as a blind one would; NaN without a nuisance or an effect.
    """
    wrong, right = (np.abs(inside(change, region)) for region in (nuisance, effect & ~nuisance))
    if not wrong.size or not right.size:
        return NAN
    total = wrong.sum() + right.sum()
    return float(wrong.sum() / total) if total > 0 else wrong.size / (wrong.size + right.size)


def share_inside(log_jacobian: np.ndarray, effect: np.ndarray, mask: np.ndarray, option: int) -> tuple[float, float]:
    """Return how much of the tissue that moves the expected way does so in the effect, and what chance would be.

    Injecting a disease loses tissue, removing it gains tissue; what moves the other way is left aside.

    Parameters
    ----------
    log_jacobian : ndarray, shape (*space,)
        Loss is negative.
    effect, mask : ndarray of bool, shape (*space,)
        Where the exact change is, and where to look.
    option : {1, -1}
        Injection or removal.

    Returns
    -------
    share, chance : float
        Chance is the effect's share of the mask; it is also the share where nothing moves. NaN without an effect.
    """
    where = inside(effect, mask).astype(bool)
    if not where.any():
        return NAN, NAN
    moved = np.maximum(-option * inside(log_jacobian, mask), 0)
    chance, total = float(where.mean()), moved.sum()
    return (float(moved[where].sum() / total) if total > 0 else chance), chance


def folded_share(displacement: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of voxels in a mask where a displacement in voxels, shape (axes, *space), folds space."""
    # SciPy's image functions load for half a second, and every stage reads the names above.
    from heatproof.cohorts.deformations import jacobian_determinant

    return float((inside(jacobian_determinant(displacement), mask) <= 0).mean())


def roughness(displacement: np.ndarray, mask: np.ndarray) -> float:
    """Return the mean length (Frobenius norm) of the gradient of a displacement, voxels per voxel.

    Parameters
    ----------
    displacement : ndarray, shape (axes, *space)
        In voxels.
    mask : ndarray of bool, shape (*space,)
        Where to look.
    """
    space = displacement.shape[1:]
    # An axis of one voxel has no slope.
    slopes = [
        np.gradient(component.astype(np.float64), axis=axis)
        for component in displacement
        for axis, length in enumerate(space)
        if length > 1
    ]
    return float(np.sqrt(sum(slope**2 for slope in slopes))[mask].mean())


def relative_error(found: np.ndarray, wanted: np.ndarray, mask: np.ndarray) -> float:
    """Return the root mean square difference of two images in standard deviations of the second, NaN if it is flat."""
    one, two = inside(found, mask), inside(wanted, mask)
    deviation = float(two.std())
    return float(np.sqrt(((one - two) ** 2).mean()) / deviation) if deviation > 0 else NAN


def dose_tau(doses: Sequence[float], shifts: Sequence[float]) -> float:
    """Return Kendall's tau-b of doses and shifts: 1 where every larger dose shifts the answer further.

    NaN with fewer than two doses; 0 where the answer is the same at all doses.
    """
    if len(doses) < 2:
        return NAN
    from scipy.stats import kendalltau

    tau = float(kendalltau(doses, shifts).statistic)
    return tau if np.isfinite(tau) else 0.0


def answers(
    before: float, after: float, option: float, deviation: float, *, has_sides: bool = True
) -> dict[str, float]:
    """Return what a changed scan did to the answer of a network.

    Parameters
    ----------
    before, after : float
        Its answers to the scan and to the changed scan: log-odds of the target class, or a number.
    option : float
        The dose with the sign of the option.
    deviation : float
        Standard deviation of the network's answers.
    has_sides : bool
        Whether the sign of the answer is a decision, as with log-odds.

    Returns
    -------
    dict of str to float
        ``shift`` in standard deviations, larger than 0 the right way; ``moved``, 1 if it is; ``flipped``, whether the
        decision changed with it, NaN where the scan already was on the side that was asked for.
    """
    sign = 1.0 if option > 0 else -1.0
    shift = (after - before) * sign / deviation
    flipped = float(after * sign > 0) if has_sides and before * sign <= 0 else NAN
    return {"shift": shift, "moved": float(shift > 0), "flipped": flipped}
