"""Metrics of maps over leads and time: how much relevance is right, in which lead, how far off in time, of which sign.

The first two and the last make sense on any grid. Those that need leads want a space whose first axis holds them
(`Space.leads`) and give NaN elsewhere. Rules of `overlap` hold here too: only voxels inside the mask count, ties are
settled in expectation, a map without any order scores chance.
"""

from __future__ import annotations

import numpy as np

from heatproof.metrics.registry import register, share_of_truth
from heatproof.metrics.space import RankedMap, Space, Truth

NAN = float("nan")
# Shares of the relevance that the identified voxels hold; the mean over them is the area under the curve.
ISMAIL_SHARES = tuple(step / 10 for step in range(1, 10))
ISMAIL = "Ismail, Gunady, Corrada Bravo and Feizi, NeurIPS 2020, arXiv 2010.13924"


def saliency_weighted(
    heatmap: RankedMap, truth: Truth, shares: tuple[float, ...] = ISMAIL_SHARES
) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted precision and recall of the voxels that hold given shares of the relevance.

    For a share d the identified voxels are the fewest largest ones whose positive values sum to d of all. Precision is
    the sum of those in the truth over the sum of all identified, recall the sum of those in the truth over the sum in
    the whole truth (Ismail et al., NeurIPS 2020, section 3, and their code).

    Parameters
    ----------
    heatmap, truth : RankedMap, Truth
        Of one space.
    shares : tuple of float
        Between 0 and 1.

    Returns
    -------
    precision, recall : ndarray, shape (n_shares,)
        In expectation over the order of equal values; recall is 0 for a map without any relevance in the truth.
    """
    mass = heatmap.mass[heatmap.order]
    right = mass * truth.inside[heatmap.order]
    ends = np.append(np.flatnonzero(np.diff(mass)), mass.size - 1)
    reached = np.cumsum(mass)
    # A share that is met but for rounding is met.
    sizes = np.searchsorted(reached, np.asarray(shares) * reached[-1] * (1 - 1e-12)) + 1
    # Within a run of equal values the expectation is linear.
    found = np.interp(sizes, np.append(0, ends + 1), np.append(0.0, np.cumsum(right)[ends]))
    total = right.sum()
    recall = found / total if total > 0 else np.zeros(len(sizes))
    return found / reached[sizes - 1], recall


@register(
    "weighted_precision",
    needs=("truth",),
    chance=share_of_truth,
    citation=f"{ISMAIL}: area under the weighted precision over 10 to 90 % of the relevance",
)
def weighted_precision(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the mean share of the identified relevance that lies in the truth, see `saliency_weighted`."""
    if not heatmap.valid or not truth.n:
        return NAN
    return float(saliency_weighted(heatmap, truth)[0].mean())


@register(
    "weighted_recall",
    needs=("truth",),
    chance=lambda truth, space: float(np.mean(ISMAIL_SHARES)),
    citation=f"{ISMAIL}: area under the weighted recall over 10 to 90 % of the relevance",
)
def weighted_recall(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the mean share of the truth's relevance that is identified, see `saliency_weighted`.

    It asks whether the relevance in the truth is among the largest of the map. A map with a single spot in the truth
    and nothing elsewhere has a recall of 1, however much of the truth it misses.
    """
    if not heatmap.valid or not truth.n:
        return NAN
    return float(saliency_weighted(heatmap, truth)[1].mean())


def _true_mass(truth: Truth) -> np.ndarray:
    """Return the truth's strength as a distribution over the voxels inside it, shape (n,); zeros where it has none."""
    strength = np.where(truth.inside, truth.strength, 0.0)
    total = strength.sum()
    return strength / total if total > 0 else strength


def _by_lead(mass: np.ndarray, leads: np.ndarray, n_leads: int) -> np.ndarray:
    return np.bincount(leads, mass, minlength=n_leads)


def _uniform(space: Space) -> RankedMap:
    return RankedMap(np.ones(space.n), np.arange(space.n))


def _uniform_distance(truth: Truth | None, space: Space) -> float:
    return NAN if truth is None else time_distance(_uniform(space), truth, space)


@register(
    "time_distance",
    needs=("truth", "leads"),
    chance=_uniform_distance,
    larger_is_better=False,
    unit="ms",
    citation="Rubner et al., IJCV 2000;40:99, along time and over all leads; chance: uniform map",
)
def time_distance(heatmap: RankedMap, truth: Truth, space: Space) -> float:
    """Return the time by which the map's positive mass must move to lie like the truth's strength, leads pooled.

    Mass is summed over the leads and moved along the last axis, the only one beside the leads; there the distance is
    exactly the area between the two cumulative masses (Vallender, Theory Probab Appl 1974;18:784). In the unit of the
    step, ms for signals. A map without positive mass counts as uniform.
    """
    if not heatmap.valid or not truth.n or space.leads is None or space.mask.ndim != 2:
        return NAN
    samples = np.nonzero(space.mask)[1]
    surplus = np.bincount(samples, heatmap.mass - _true_mass(truth), minlength=space.mask.shape[1])
    return float(np.abs(np.cumsum(surplus)[:-1]).sum() * space.spacing[-1])


def _chance_lead(truth: Truth | None, space: Space) -> float:
    return NAN if truth is None or space.leads is None else 1 / space.mask.shape[0]


@register(
    "lead_accuracy",
    needs=("truth", "leads"),
    chance=_chance_lead,
    citation="pointing game of Zhang et al., IJCV 2018;126:1084, among leads",
)
def lead_accuracy(heatmap: RankedMap, truth: Truth, space: Space) -> float:
    """Return 1 if the lead with most relevance is the one with most of the truth, else 0.

    Leads that share the first place in the map count by the part of them that is right; any lead that shares the
    first place in the truth is right.
    """
    if not heatmap.valid or not truth.n or space.leads is None:
        return NAN
    here, there = (_by_lead(mass, space.leads, space.mask.shape[0]) for mass in (heatmap.mass, _true_mass(truth)))
    # Sums of the same values in another order are equal but for rounding.
    first, right = (sums >= sums.max() * (1 - 1e-9) for sums in (here, there))
    return float(right[first].mean())


def _uniform_overlap(truth: Truth | None, space: Space) -> float:
    return NAN if truth is None else lead_overlap(_uniform(space), truth, space)


@register(
    "lead_overlap",
    needs=("truth", "leads"),
    chance=_uniform_overlap,
    citation="Swain and Ballard, IJCV 1991;7:11 (intersection of histograms), of mass over leads; chance: uniform map",
)
def lead_overlap(heatmap: RankedMap, truth: Truth, space: Space) -> float:
    """Return how much of the relevance lies in the leads where the truth has it, wherever in time.

    The sum over leads of the smaller one of the map's share and the truth's: 1 where both spread alike over leads, 0
    where they share no lead. For a truth in one lead this is the share of the relevance in that lead; for one in all
    leads, where any lead is right, it still asks for the right amounts.
    """
    if not heatmap.valid or not truth.n or space.leads is None:
        return NAN
    here, there = (_by_lead(mass, space.leads, space.mask.shape[0]) for mass in (heatmap.mass, _true_mass(truth)))
    return float(np.minimum(here, there).sum())


@register(
    "signed_cosine",
    needs=("truth", "signs"),
    chance=lambda truth, space: 0.0,
    citation="cosine of the angle between the map and the exact effect, both with their signs",
)
def signed_cosine(heatmap: RankedMap, truth: Truth, space: Space | None = None) -> float:
    """Return the cosine similarity of the signed map with the signed truth, from -1 to 1.

    NaN where either has no sign (`RankedMap.signed`, `Truth.signed`); 0 for a map that is zero everywhere. A method
    whose maps are never negative can reach the share of the truth's length that is positive, no more.
    """
    if heatmap.signed is None or truth.signed is None or not truth.n or not np.isfinite(heatmap.signed).all():
        return NAN
    # Summed without BLAS, whose order of adding depends on the number of threads. Scaled, so that no square vanishes.
    one, two = (values / max(np.abs(values).max(), np.finfo(float).tiny) for values in (heatmap.signed, truth.signed))
    length = float(np.sqrt((one * one).sum() * (two * two).sum()))
    return float((one * two).sum() / length) if length > 0 else 0.0
