"""The course of the learning rate, as a function of the step: there is no state to lose."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Of Smith & Topin (2019) as PyTorch's OneCycleLR has them: share of the steps that rise, the ratio of
# peak to start, and the ratio of start to end.
RISING_SHARE, PEAK_TO_START, START_TO_END = 0.3, 25.0, 1e4
# Of PyTorch's ReduceLROnPlateau: a loss counts as lower if it is lower by this share of the lowest one.
LEAST_IMPROVEMENT = 1e-4


def learning_rate(kind: str, peak: float, step: int, n_steps: int) -> float:
    """Return the learning rate of one step.

    Parameters
    ----------
    kind : {"constant", "one_cycle", "plateau"}
        ``one_cycle`` rises along a cosine from peak / 25 to the peak over the first 30 % of the steps
        and falls along a cosine to peak / 250,000. ``plateau`` is constant within an epoch (see `reductions`).
    peak : float
        Largest rate.
    step : int
        Steps done so far, 0 to n_steps - 1.
    n_steps : int
        Steps of the whole training.
    """
    if kind in ("constant", "plateau"):
        return peak
    start = peak / PEAK_TO_START
    top = RISING_SHARE * n_steps - 1
    if step <= top:
        return _cosine(start, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, start / START_TO_END, (step - top) / (n_steps - 1 - top))


def reductions(losses: Sequence[float], patience: int) -> int:
    """Return how often the learning rate of ``plateau`` was reduced, as PyTorch's ReduceLROnPlateau does it.

    Parameters
    ----------
    losses : sequence of float
        Validation loss of every epoch so far.
    patience : int
        Epochs without a lower loss that are waited for; the next one reduces the rate, and the count starts again.
    """
    lowest, waited, reduced = math.inf, 0, 0
    for loss in losses:
        if loss < lowest * (1 - LEAST_IMPROVEMENT):
            lowest, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            waited, reduced = 0, reduced + 1
    return reduced


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
