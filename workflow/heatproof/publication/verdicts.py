"""The decision rule of the study, in one place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05


def beats_prior(difference_low: float, difference_high: float, p_holm: float) -> str:
    """Decide whether a method beats the prior.

    The difference is paired by person: score of the method minus score of the prior, oriented so that
    positive is better for the method.

    Parameters
    ----------
    difference_low, difference_high : float
        95 % bootstrap interval of the difference, over people.
    p_holm : float
        P value of the paired test, adjusted by Holm over the methods that are compared.

    Returns
    -------
    str
        ``yes`` if the whole interval lies above 0 and `p_holm` is below .05; ``no`` if the whole interval lies below 0;
        else ``undecided``. Without an interval or a p value nothing is decided: ``undecided``.
    """
    if math.isfinite(difference_high) and difference_high < 0:
        return "no"
    if math.isfinite(difference_low) and difference_low > 0 and math.isfinite(p_holm) and p_holm < ALPHA:
        return "yes"
    return "undecided"


def passes(certificates: pd.DataFrame) -> dict[str, bool]:
    """Return whether each network with a certificate passes every check that has a bar, in every run."""
    words = certificates["passes"].astype(str).str.lower()
    judged = certificates[words.isin(("true", "false"))]
    return {
        str(model): bool(good) for model, good in words[judged.index].eq("true").groupby(judged["model"]).all().items()
    }


def above_chance(low: float, chance: float) -> bool:
    """Return whether a score is clearly above chance: its whole 95 % interval is."""
    return math.isfinite(low) and low > chance
