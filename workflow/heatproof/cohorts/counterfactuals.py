"""Exact counterfactuals: how a simulated scan would look in the other group, and which warp takes it there.

A source that knows its effect can take it out of a patient's scan and put it into a control's. What networks and the
simulators that explain them make of a scan is held against it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

import heatproof.cohorts
from heatproof.cohorts.deformations import jacobian_determinant
from heatproof.cohorts.store import Source
from heatproof.errors import ConfigError, IntakeError
from heatproof.outputs import SIMULATED
from heatproof.studies import COUNTERFACTUAL_SOURCES

# A place of a lead has changed when it changes by more than this share of the signal's largest change.
CHANGED_SHARE = 0.05
# Scans of the sources that number their people.
SCAN_ID = re.compile(r"sub-(\d{4,})_ses-(\d+)")
INVERSION_STEPS, INVERSION_ERROR = 30, 1e-4


class Visited(Protocol):
    """A person with a number of scans."""

    @property
    def visits(self) -> int:
        """Number of scans."""
        ...


P = TypeVar("P", bound=Visited)


@dataclass(frozen=True)
class Counterfactual:
    """The exact difference between a scan and the same scan in the other group, before noise is added.

    Attributes
    ----------
    option : int
        1 where the effect is injected (into a control's scan), -1 where it is removed (from a patient's).
    change : ndarray, shape (C, *space), float32
        The scan as it would be minus the scan as it is, in the unit of the scan.
    log_jacobian : ndarray, shape (*space,), float32
        How much tissue a voxel of the scan as it would be has gained: minus the logarithm of the Jacobian determinant
        of the pull-back warp that takes the scan there. Loss is negative: below 0 in the affected places of an
        injection, above in those of a removal. Zero everywhere where the change is no warp (signals).
    effect : ndarray of bool, shape (*space,), or (C, *space) for signals
        The places that lose or regain tissue; of signals the places that change, lead by lead.
    nuisance : ndarray of bool, shape (*space,), or (C, *space) for signals
        What must not change.
    """

    option: int
    change: np.ndarray
    log_jacobian: np.ndarray
    effect: np.ndarray
    nuisance: np.ndarray


class Counterfactuals(Protocol):
    """What can show a scan in the other group."""

    def counterfactual(self, scan_id: str) -> Counterfactual:
        """Return the exact counterfactual of one scan."""
        ...


@dataclass
class CounterfactualSource(Source):
    """A source of scans that can be moved into the other group.

    Attributes
    ----------
    redraw : callable
        The exact counterfactual of a scan, from its id.
    """

    redraw: Callable[[str], Counterfactual] = field(kw_only=True)

    def counterfactual(self, scan_id: str) -> Counterfactual:
        """Return the exact counterfactual of one scan.

        A patient's effect is removed; a control gets the one that this person would have as a patient.

        Raises
        ------
        IntakeError
            If the scan is not in the cohort.
        """
        return self.redraw(scan_id)


@dataclass(frozen=True)
class ChangedOutput:
    """A simulated signal with one of its numbers a step larger, or a step smaller.

    Attributes
    ----------
    signals : object
        Has ``counterfactual(scan_id, output, change)`` and ``steps`` (see `heatproof.cohorts.beats`).
    output : str
        The number.
    option : int
        1 makes it larger, -1 smaller.
    """

    signals: Any
    output: str
    option: int = 1

    def counterfactual(self, scan_id: str) -> Counterfactual:
        """Return the exact change of one scan with the number; its log-Jacobian is zero, as it is no warp."""
        step = self.option * float(self.signals.steps[self.output])
        before, after = (self.signals.counterfactual(scan_id, self.output, change) for change in (0.0, step))
        change = (after - before).astype(np.float32)
        size = np.abs(change)
        nothing = np.zeros(change.shape[1:], dtype=np.float32)
        return Counterfactual(self.option, change, nothing, size > CHANGED_SHARE * size.max(), size == 0)


def open_counterfactual(
    spec: Mapping[str, Any], seed: int, root: Path, output: str = "", option: int = 1
) -> Counterfactuals:
    """Return what draws the exact counterfactuals of a cohort.

    Parameters
    ----------
    spec : mapping
        The cohort's entry of the config with its defaults filled.
    seed : int
        Root seed of the study.
    root : Path
        Data root.
    output : str
        The number that the network predicts; empty for a classifier.
    option : int
        For an output: 1 makes the number larger, -1 smaller.

    Raises
    ------
    ConfigError
        If the source knows no exact counterfactual of its scans, or not of this output.
    """
    name = str(spec["source"])
    if name in (*COUNTERFACTUAL_SOURCES, *SIMULATED):
        # The module's name is not written out, so that no scores depend on the code of another cohort.
        module = import_module(f"{heatproof.cohorts.__name__}.{name}")
        source = module.open_source(dict(spec), seed=seed, root=root)
        if not output and isinstance(source, CounterfactualSource):
            return source
        if output and output in getattr(source, "steps", {}):
            return ChangedOutput(source, output, option)
    raise ConfigError(
        f"the source '{name}' knows no exact counterfactual"
        + (f" of the output '{output}'." if output else " of its scans."),
        field="cohort.source",
        remedy="use a simulated cohort, or leave scores against exact counterfactuals out.",
    )


def unknown_scan(scan_id: str) -> IntakeError:
    """Return the error that a cohort has no such scan."""
    return IntakeError("the scan is not in the cohort.", field=scan_id, remedy="ask for one of its records.")


def person_of(scan_id: str, n_participants: int, person: Callable[[int], P]) -> P:
    """Return who was scanned in a scan such as ``sub-0012_ses-1``.

    Parameters
    ----------
    scan_id : str
        The scan.
    n_participants : int
        People of the cohort.
    person : callable
        Participant of an index from 0; has the number of ``visits``.

    Raises
    ------
    IntakeError
        If there is no such scan.
    """
    match = SCAN_ID.fullmatch(scan_id)
    if match and 0 < int(match[1]) <= n_participants:
        found = person(int(match[1]) - 1)
        if 0 < int(match[2]) <= found.visits:
            return found
    raise unknown_scan(scan_id)


def log_jacobian(displacement: np.ndarray) -> np.ndarray:
    """Return how much tissue each voxel of the warped image has gained, shape (*space,), float32.

    Parameters
    ----------
    displacement : ndarray, shape (axes, *space)
        Pull-back displacement in voxels. A map that makes an object smaller samples further out: its Jacobian
        determinant is above 1 there, and the value below 0.

    Raises
    ------
    IntakeError
        If the map folds on this grid, so that tissue has no size.
    """
    determinant = jacobian_determinant(displacement)
    if determinant.min() <= 0:
        raise IntakeError(
            "the effect moves tissue so far that its warp folds on this grid.",
            field="cohort",
            remedy="choose a smaller contraction, or smaller voxels.",
        )
    return (-np.log(determinant)).astype(np.float32)


def inverted(mapping: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the points y with ``mapping(y) == targets`` by fixed-point iteration, shape (axes, n), in voxels.

    Parameters
    ----------
    mapping : callable
        From points (axes, n) to points (axes, n); not far from a shift, as the anatomy of a person is.
    targets : ndarray, shape (axes, n)
        Where the points shall lie.
    start : ndarray, shape (axes, n)
        First guess.

    Raises
    ------
    IntakeError
        If the iteration does not come closer than `INVERSION_ERROR` voxels.
    """
    points = start
    for _ in range(INVERSION_STEPS):
        missing = targets - mapping(points)
        points = points + missing
        if not missing.size or np.abs(missing).max() < INVERSION_ERROR:
            return points
    raise IntakeError(
        "the warp of a person cannot be inverted, so its exact counterfactual is not known.",
        field="cohort",
        remedy="choose a smaller amplitude, or a larger scale, of the individual warp.",
    )
