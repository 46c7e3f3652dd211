"""From maps of scans to maps of groups: which scans, and whether the absolute value comes before or after.

The published recipe takes the mean over all test scans of a fold, the mean of the folds' means, then the
absolute value. Both choices change what the group map shows, so both are factors here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from heatproof.errors import ConfigError

POPULATIONS = ("all", "patients", "controls", "true_positives")
RECTIFICATIONS = ("abs_before", "abs_after", "signed")


def is_patient(target: int, *, has_controls: bool = True) -> bool:
    """Return whether a scan of a class shows a disease: class 0 is the controls', where there are any."""
    return target > 0 or not has_controls


def belongs(population: str, target: int, predicted: int, *, has_controls: bool = True) -> bool:
    """Return whether a scan counts in a population.

    Parameters
    ----------
    population : str
        One of `POPULATIONS`.
    target, predicted : int
        Class of the scan and of the prediction.
    has_controls : bool
        Whether class 0 is the control class; without one all scans are patients.
    """
    if population not in POPULATIONS:
        raise ConfigError(
            f"'{population}' is not a population.",
            field="populations",
            remedy=f"use {', '.join(POPULATIONS)}.",
        )
    patient = is_patient(target, has_controls=has_controls)
    return {
        "all": True,
        "patients": patient,
        "controls": not patient,
        "true_positives": patient and predicted == target,
    }[population]


@dataclass
class GroupMean:
    """Mean map of one group of scans, kept as sums so that memory does not grow with the group.

    Attributes
    ----------
    n : int
        Scans (or folds) so far.
    signed_sum, absolute_sum : ndarray, shape (*space,), float64
        Sum of the maps, and of their absolute values.
    """

    n: int = 0
    signed_sum: np.ndarray | None = field(default=None, repr=False)
    absolute_sum: np.ndarray | None = field(default=None, repr=False)

    def add(self, signed: np.ndarray, absolute: np.ndarray | None = None) -> None:
        """Add one map, or one fold's signed mean together with its mean of absolute values."""
        absolute = np.abs(signed) if absolute is None else absolute
        if self.signed_sum is None or self.absolute_sum is None:
            self.signed_sum = np.zeros(signed.shape)
            self.absolute_sum = np.zeros(signed.shape)
        self.signed_sum += signed
        self.absolute_sum += absolute
        self.n += 1

    @property
    def signed(self) -> np.ndarray:
        """Mean of the maps."""
        if self.signed_sum is None:
            raise ValueError("the mean of no map is not defined")
        return self.signed_sum / self.n

    @property
    def absolute(self) -> np.ndarray:
        """Mean of the absolute values."""
        if self.absolute_sum is None:
            raise ValueError("the mean of no map is not defined")
        return self.absolute_sum / self.n


class GroupMeans:
    """Mean maps of several populations, filled scan by scan.

    Parameters
    ----------
    populations : iterable of str
        Any of `POPULATIONS`.
    has_controls : bool
        Whether class 0 is the control class.
    """

    def __init__(self, populations: Iterable[str], *, has_controls: bool = True) -> None:
        self._has_controls = has_controls
        self.groups = {population: GroupMean() for population in populations}

    def add(self, heatmap: np.ndarray, target: int, predicted: int) -> None:
        """Add the map of one scan, shape (*space,), to every population that it belongs to."""
        for population, group in self.groups.items():
            if belongs(population, target, predicted, has_controls=self._has_controls):
                group.add(heatmap)


def mean_of_folds(means: Iterable[Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> dict[str, GroupMean]:
    """Return the mean over folds (and seeds) of their mean maps; a fold without scans of a group is left out.

    Parameters
    ----------
    means : iterable of mapping of str to (signed, absolute)
        For each fold the mean maps per population, shape (*space,).
    """
    pooled: dict[str, GroupMean] = {}
    for fold in means:
        for population, (signed, absolute) in fold.items():
            pooled.setdefault(population, GroupMean()).add(signed, absolute)
    return pooled


def rectified(signed: np.ndarray, absolute: np.ndarray, rectify: str) -> np.ndarray:
    """Return the group map under one order of mean and absolute value.

    Parameters
    ----------
    signed, absolute : ndarray, shape (*space,)
        Mean of the maps, and mean of their absolute values.
    rectify : {"abs_before", "abs_after", "signed"}
        Mean of absolute values, absolute value of the mean, or the mean itself.
    """
    if rectify not in RECTIFICATIONS:
        raise ConfigError(
            f"'{rectify}' is not a way to rectify.",
            field="rectify",
            remedy=f"use {', '.join(RECTIFICATIONS)}.",
        )
    if rectify == "abs_before":
        return absolute
    return np.abs(signed) if rectify == "abs_after" else signed
