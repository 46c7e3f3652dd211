"""What all sources of signals share: the numbers that a table gives, the grid, and the source made of records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.cohorts.findings import FileSource, Finding
from heatproof.cohorts.leads import STANDARD_LEADS, check_lead_names
from heatproof.cohorts.listing import text_of
from heatproof.cohorts.store import Record
from heatproof.cohorts.wave_measurements import known_unit
from heatproof.cohorts.waves import wave_names
from heatproof.errors import ConfigError, IntakeError
from heatproof.geometry import Grid

SAMPLING_RATE = 500.0
LIMB_TOLERANCE = 0.1
# The one class of a cohort whose targets are numbers.
RECORDING = "recording"
# What the truths of these cohorts are called (`heatproof.truths.outputs`).
TRUTH_KIND = "waves"
# What a measured number of a unit can be; beyond it the unit is another one.
PLAUSIBLE = {"ms": (2.0, 3000.0), "bpm": (10.0, 400.0), "mV": (-20.0, 20.0)}


@dataclass(frozen=True)
class Column:
    """A number of a table that a network may predict.

    Attributes
    ----------
    name : str
        Of the output.
    column : str
        Of the table.
    unit : str
        After the factor.
    factor : float
        What the table's number is multiplied by.
    missing : tuple of float
        Numbers of the table that stand for unknown.
    """

    name: str
    column: str
    unit: str
    factor: float = 1.0
    missing: tuple[float, ...] = ()

    def value(self, cell: object, file: str) -> float:
        """Return the number of a cell, NaN where it is missing.

        Raises
        ------
        IntakeError
            If it is no number, or one that cannot be in this unit.
        """
        text = text_of(cell)
        if not text:
            return np.nan
        try:
            number = float(text)
        except ValueError:
            raise IntakeError(
                f"'{text}' is no number.", file=file, field=self.column, remedy="correct it, or leave it empty"
            ) from None
        if not np.isfinite(number) or number in self.missing:
            return np.nan
        least, most = PLAUSIBLE.get(self.unit, (-np.inf, np.inf))
        if not least <= number * self.factor <= most:
            raise IntakeError(
                f"{number * self.factor:g} {self.unit} cannot be.",
                file=file,
                field=self.column,
                remedy="give the factor between the table's unit and this one, list the number under missing, or "
                "correct it",
            )
        return number * self.factor


def columns_of(outputs: Mapping[str, Mapping[str, Any]]) -> list[Column]:
    """Return the numbers that a configuration takes from a table.

    Parameters
    ----------
    outputs : mapping of str to mapping
        Output -> ``column``, and optionally ``unit``, ``factor``, ``missing``.

    Raises
    ------
    ConfigError
        If a unit is neither given nor known from the output's name.
    """
    columns = []
    for name, entry in outputs.items():
        unit = entry.get("unit") or known_unit(name)
        if not unit:
            raise ConfigError(
                "the unit of this output is not known.",
                field=f"cohort.outputs.{name}.unit",
                remedy="give it.",
            )
        columns.append(
            Column(
                name,
                str(entry["column"]),
                str(unit),
                float(entry.get("factor", 1)),
                tuple(float(value) for value in entry.get("missing", ())),
            )
        )
    return columns


@dataclass(frozen=True)
class SignalShape:
    """What every scan of a cohort of signals has in common.

    Attributes
    ----------
    leads : tuple of str
        Names in the order of the channels.
    rate : float
        Samples per second.
    n_samples : int
        Length of a scan.
    resample : bool
        Whether recordings with another rate are brought to this one.
    limb_tolerance : float or None
        See `heatproof.cohorts.leads.check_signal`.
    """

    leads: tuple[str, ...]
    rate: float
    n_samples: int
    resample: bool
    limb_tolerance: float | None

    @classmethod
    def of(cls, spec: Mapping[str, Any], duration_ms: float) -> SignalShape:
        """Return the shape that a configuration asks for, for scans of a duration.

        Raises
        ------
        ConfigError
            If a lead is listed twice, or the duration is less than two samples.
        """
        leads = tuple(str(name) for name in spec.get("leads", STANDARD_LEADS))
        check_lead_names(leads)
        rate = float(spec.get("sampling_rate", SAMPLING_RATE))
        n_samples = round(duration_ms * rate / 1000)
        if n_samples < 2:
            raise ConfigError(
                f"{duration_ms:g} ms are {n_samples} samples.", field="cohort", remedy="choose a longer duration."
            )
        tolerance = spec.get("limb_tolerance", LIMB_TOLERANCE)
        return cls(
            leads, rate, n_samples, bool(spec.get("resample", False)), None if tolerance is None else float(tolerance)
        )

    @property
    def grid(self) -> Grid:
        """Samples, in ms."""
        return Grid((self.n_samples,), None, (1000 / self.rate,), "ms")

    def cut(self, signal: np.ndarray, start: int, file: str) -> np.ndarray:
        """Return the samples of a recording from `start` on that are a scan, shape (leads, n_samples).

        Raises
        ------
        IntakeError
            If the recording is too short.
        """
        if signal.shape[1] < start + self.n_samples:
            raise IntakeError(
                f"the recording ends after {signal.shape[1] / self.rate:.3g} s; the scan needs "
                f"{(start + self.n_samples) / self.rate:.3g} s.",
                file=file,
                field="duration_ms",
                remedy="shorten duration_ms, or leave the recording out",
            )
        return signal[:, start : start + self.n_samples]


def signal_source(
    spec: Mapping[str, Any],
    shape: SignalShape,
    records: Iterable[Record],
    findings: Iterable[Finding],
    outputs: Mapping[str, str],
    *,
    is_delineated: bool = False,
    description: Mapping[str, Any] | None = None,
) -> FileSource:
    """Return the source of the records: one class, leads as places, numbers to predict.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry.
    shape : SignalShape
        Of every scan.
    records : iterable of Record
        The scans.
    findings : iterable of Finding
        What the listing could not use.
    outputs : mapping of str to str
        Output -> unit.
    is_delineated : bool
        Whether scans have waves as areas.
    description : mapping, optional
        Facts for the report.
    """
    return FileSource(
        grid=shape.grid,
        records=list(records),
        classes=(RECORDING,),
        has_controls=False,
        label_names=wave_names(shape.leads) if is_delineated else {},
        description={
            "source": str(spec["source"]),
            "sampling_rate": shape.rate,
            **({"truth_kind": TRUTH_KIND} if is_delineated else {}),
            **(description or {}),
            **{name: spec[name] for name in ("citation", "licence") if spec.get(name)},
        },
        findings=list(findings),
        channel_names=shape.leads,
        outputs=dict(outputs),
    )


def with_outputs(
    row: Mapping[str, Any], cells: Mapping[str, Any], columns: Sequence[Column], file: str
) -> tuple[dict[str, Any], Finding | None]:
    """Return a line of the participants table with its class and its numbers, or the finding that one is wrong."""
    values: dict[str, float] = {}
    finding = None
    for column in columns:
        try:
            values[column.name] = column.value(cells.get(column.column), file)
        except IntakeError as error:
            values[column.name] = np.nan
            finding = finding or Finding.of_file(str(row["scan_id"]), file, error)
    return {**row, "diagnosis": RECORDING, **values}, finding
