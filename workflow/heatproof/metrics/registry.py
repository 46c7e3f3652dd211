"""The registry of metrics: what each needs, which way is better, and what chance looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from heatproof.metrics.space import Space, Truth

# What a metric can ask for beside the map.
NEEDS = ("truth", "model", "atlas", "mask", "signs", "leads")
Function = TypeVar("Function", bound=Callable[..., float])


@dataclass(frozen=True)
class Metric:
    """One way to judge a map.

    Attributes
    ----------
    function : callable
        ``(heatmap: RankedMap, truth: Truth, space: Space) -> float`` for metrics that need a truth,
        ``(heatmap: RankedMap, space: Space) -> float`` for those that need the mask only.
    needs : tuple of str
        Any of `NEEDS`. ``signs`` stands for the signed values of map and truth, ``leads`` for a first axis of leads
        (`Space.leads`); a metric gives NaN where these are absent.
    larger_is_better : bool
        Direction.
    chance : callable or str
        ``(truth: Truth or None, space: Space) -> float``, the score of a map that knows nothing, or a text
        where no number exists.
    unit : str
        ``none`` for shares and coefficients.
    citation : str
        Where it comes from.
    same_as : str
        Another metric that has the same value by definition; empty where there is none.
    """

    function: Callable[..., float]
    needs: tuple[str, ...]
    larger_is_better: bool
    chance: Callable[[Truth | None, Space], float] | str
    unit: str
    citation: str
    same_as: str = ""

    def chance_level(self, truth: Truth | None, space: Space) -> float:
        """Return the chance level as a number, NaN where it is a text or the truth is empty."""
        if isinstance(self.chance, str) or (truth is not None and not truth.n):
            return float("nan")
        return float(self.chance(truth, space))


METRICS: dict[str, Metric] = {}


def register(
    name: str,
    *,
    needs: tuple[str, ...],
    chance: Callable[[Truth | None, Space], float] | str,
    citation: str,
    larger_is_better: bool = True,
    unit: str = "none",
    same_as: str = "",
) -> Callable[[Function], Function]:
    """Return a decorator that enters a function into `METRICS` under `name`."""
    unknown = set(needs) - set(NEEDS)
    if unknown or name in METRICS:
        raise ValueError(f"metric '{name}' is registered twice or needs something unknown: {sorted(unknown)}")

    def enter(function: Function) -> Function:
        METRICS[name] = Metric(function, needs, larger_is_better, chance, unit, citation, same_as)
        return function

    return enter


def share_of_truth(truth: Truth | None, space: Space) -> float:
    """Return the share of the mask that the truth fills: what blind picking of voxels finds."""
    return truth.share if truth is not None else float("nan")
