"""All metrics of one map in one call, and what they need of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.overlap import max_dice, max_iou
from heatproof.metrics.registry import METRICS
from heatproof.metrics.space import RankedMap, Space, Truth

LEVELS = ("scan", "fold", "group")
# Metrics that take the number of thresholds of the published sweep.
SWEPT = {"max_dice": max_dice, "max_iou": max_iou}


@dataclass(frozen=True)
class Score:
    """One number about one map."""

    truth: str
    metric: str
    value: float
    chance: float


@dataclass
class Evaluator:
    """Metrics by name, ready to be applied to many maps of one space.

    Attributes
    ----------
    space : Space
        Mask, steps, shell and cells.
    names : sequence of str
        Metrics to compute, in this order.
    n_thresholds : int
        Thresholds of the published Dice sweep.
    """

    space: Space
    names: tuple[str, ...]
    n_thresholds: int = 50
    _chances: dict[tuple[str, int], float] = field(default_factory=dict, repr=False)
    _kept: dict[int, Truth] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in METRICS:
                raise ConfigError(
                    f"'{name}' is not a metric.",
                    field="metrics.names",
                    remedy=f"use any of {', '.join(sorted(METRICS))}.",
                )

    def against_truths(self, heatmap: RankedMap, truths: Mapping[str, Truth]) -> list[Score]:
        """Return the score of a map on every metric that needs a truth, for every truth."""
        names = [name for name in self.names if "truth" in METRICS[name].needs]
        return [
            Score(label, name, self.value(name, heatmap, truth), self._chance(name, truth))
            for label, truth in truths.items()
            for name in names
        ]

    def against_mask(self, heatmap: RankedMap) -> list[Score]:
        """Return the score of a map on every metric that needs the mask alone."""
        return [
            Score("", name, METRICS[name].function(heatmap, self.space), self._chance(name, None))
            for name in self.names
            if METRICS[name].needs == ("mask",)
        ]

    def value(self, name: str, heatmap: RankedMap, truth: Truth) -> float:
        """Return one metric of a map against one truth."""
        if name in SWEPT:
            return SWEPT[name](heatmap, truth, self.space, self.n_thresholds)
        return METRICS[name].function(heatmap, truth, self.space)

    def _chance(self, name: str, truth: Truth | None) -> float:
        key = (name, id(truth))
        if key not in self._chances:
            # The truth is kept alive so that its identity stays its own.
            if truth is not None:
                self._kept[id(truth)] = truth
            self._chances[key] = METRICS[name].chance_level(truth, self.space)
        return self._chances[key]


def names_at(spec: Mapping[str, Any], level: str) -> tuple[str, ...]:
    """Return the metrics that the configuration wants at a level.

    Parameters
    ----------
    spec : mapping
        The `metrics` entry of the configuration: ``names`` and optionally ``only_at``, which limits a metric
        to some levels.
    level : {"scan", "fold", "group"}
        Where.
    """
    limits: Mapping[str, Iterable[str]] = spec.get("only_at", {})
    return tuple(name for name in spec["names"] if level in limits.get(name, LEVELS))


def evaluator(spec: Mapping[str, Any], level: str, mask: np.ndarray, spacing: tuple[float, ...]) -> Evaluator:
    """Return the evaluator of one level from the `metrics` entry of the configuration."""
    space = Space(mask, tuple(spacing), edge=float(spec["edge_mm"]), cell=float(spec["cell_mm"]))
    return Evaluator(space, names_at(spec, level), int(spec["n_thresholds"]))
