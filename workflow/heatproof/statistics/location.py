"""Where the relevance lies, whatever the truth: its share outside the brain and at the brain's edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heatproof.statistics.conditions import chance_levels, conditions
from heatproof.statistics.sampling import sample

if TYPE_CHECKING:
    import pandas as pd

# Metrics that need no truth; the registry of metrics says the same (a test compares them).
LOCATION_METRICS = frozenset({"outside_brain", "edge_share"})
LOCATION_COLUMNS = ("model", "recipe", "level", "metric", "method", "mean", "low", "high", "n_people", "chance")


def location(scores: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Return how much of each method's relevance lies outside the brain and at its edge, over single scans.

    Parameters
    ----------
    scores : DataFrame
        Long score table; rows of `LOCATION_METRICS` at the level of scans and the least smoothing are taken.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people.

    Returns
    -------
    DataFrame
        `LOCATION_COLUMNS`: mean share over people with its 95 % interval, and the share expected by chance. A
        method without a finite score on half of the scans has a row without a mean.
    """
    import pandas as pd

    scored = scores[scores["metric"].isin(LOCATION_METRICS) & (scores["level"] == "scan")]
    scored = scored[scored["smoothing_mm"] == scored["smoothing_mm"].min()]
    chances = chance_levels(scored)
    rows: list[dict[str, Any]] = []
    for condition in conditions(scored):
        sampled = sample(condition, None, seed, n_bootstrap)
        low, high = sampled.interval()
        numbers = dict(zip(condition.methods, zip(sampled.estimate, low, high, strict=True), strict=True))
        n_people = condition.units["participant_id"].nunique()
        for method, chance in chances[tuple(condition.key.values())].items():
            own = dict(zip(("mean", "low", "high"), numbers.get(method, ()), strict=False))
            people = n_people if method in numbers else condition.dropped.get(method, (0, 0))[1]
            rows.append({**condition.key, "method": method, **own, "n_people": people, "chance": chance})
    return pd.DataFrame(rows, columns=list(LOCATION_COLUMNS))
