"""Source `signals`: a table of signals in CSV or NPY files, one row per recording with the numbers to predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.findings import FileRecord, FileSource, Finding, Note
from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.leads import check_rate, check_signal, per_millivolt, places_of, resampled
from heatproof.cohorts.listed_tables import read_listing
from heatproof.cohorts.listing import locate
from heatproof.cohorts.signal_listing import Column, SignalShape, columns_of, signal_source, with_outputs
from heatproof.cohorts.store import RawScan
from heatproof.errors import IntakeError

DURATION_MS = 10000.0
RATE = Column("sampling_rate", "sampling_rate", "Hz")
ARRAY = ".npy"
TEXTS = (".csv", ".tsv")


@dataclass(frozen=True)
class Reading:
    """How the files of one table are read.

    Attributes
    ----------
    shape : SignalShape
        Leads, sampling rate and length of a scan.
    file_leads : tuple of str
        Order of the leads in an array, which does not name them.
    unit : str
        Of the values.
    start : int
        First sample of a scan.
    """

    shape: SignalShape
    file_leads: tuple[str, ...]
    unit: str
    start: int

    def inspect(self, path: Path, rate: float) -> list[Note]:
        """Return notes on a file; raise where its leads, shape or rate show that it cannot be used."""
        per_millivolt(self.unit, path.name)
        notes = check_rate(rate, self.shape.rate, self.shape.resample, path.name)
        if path.suffix.casefold() == ARRAY:
            self._array(path)
        else:
            places_of(self.shape.leads, self._columns(path), path.name)
        return notes

    def load(self, path: Path, rate: float) -> RawScan:
        """Return the scan of a file in mV."""
        if path.suffix.casefold() == ARRAY:
            values, leads = np.asarray(self._array(path), dtype=np.float64), self.file_leads
        else:
            values, leads = self._table(path), tuple(self._columns(path))
        signal = values[places_of(self.shape.leads, leads, path.name)] / per_millivolt(self.unit, path.name)
        check_signal(signal, self.shape.leads, path.name, self.shape.limb_tolerance)
        signal = self.shape.cut(resampled(signal, rate, self.shape.rate), self.start, path.name)
        # Samples have no volume.
        return RawScan(signal.astype(np.float32), self.shape.grid, volumes={})

    def _array(self, path: Path) -> np.ndarray:
        """Return an array of numbers (leads, n_samples), not read into memory yet."""
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise IntakeError(
                "the array cannot be read.", file=path.name, field="file", remedy="write it again with numpy.save"
            ) from error
        if array.ndim != 2 or len(array) != len(self.file_leads) or array.dtype.kind not in "fiu":
            raise IntakeError(
                f"the array has shape {array.shape} and type {array.dtype}; {len(self.file_leads)} leads x samples of "
                "numbers are expected.",
                file=path.name,
                field="shape",
                remedy="write leads in rows, and name all of them in their order under file_leads",
            )
        return array

    def _columns(self, path: Path) -> list[str]:
        return [str(name) for name in read_listing(path).columns] if path.suffix.casefold() in TEXTS else []

    def _table(self, path: Path) -> np.ndarray:
        """Return the columns of a text file that are leads, shape (columns, n_samples), NaN where not a number."""
        import pandas as pd

        return read_listing(path).apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64).T


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the signals of a table.

    Parameters
    ----------
    spec : dict
        ``table`` (TSV or CSV with scan_id, participant_id, path and the columns of the outputs; paths relative to
        the table; a column sampling_rate goes before the key), ``outputs``, ``leads``, ``file_leads``, ``units``,
        ``sampling_rate``, ``resample``, ``limb_tolerance``, ``start_ms``, ``duration_ms``, ``citation``,
        ``licence``.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root; every path stays inside it.

    Raises
    ------
    HeatproofError
        If the table is missing or lacks a column, or a unit is not known.
    """
    shape = SignalShape.of(spec, float(spec.get("duration_ms", DURATION_MS)))
    columns = columns_of(spec["outputs"])
    reading = Reading(
        shape,
        tuple(str(name) for name in spec.get("file_leads") or shape.leads),
        str(spec["units"]),
        round(float(spec.get("start_ms", 0)) * shape.rate / 1000),
    )
    table = inside(root, str(spec["table"]), field="cohort.table")
    frame = read_listing(table, ("scan_id", "participant_id", "path", *(column.column for column in columns)))
    hidden = {"path", RATE.column, "diagnosis", *(column.column for column in columns)}
    records: list[FileRecord] = []
    findings: list[Finding] = []
    for cells in frame.to_dict("records"):
        row = {str(name): value for name, value in cells.items() if name not in hidden}
        path, finding = locate(root, table.parent, cells["path"], str(row["scan_id"]), "path")
        if path is None:
            findings += [finding] if finding is not None else []
            continue
        row, finding = with_outputs(row, cells, columns, shown(root, path))
        try:
            rate = RATE.value(cells.get(RATE.column), path.name)
        except IntakeError as error:
            rate, finding = shape.rate, Finding.of_file(str(row["scan_id"]), shown(root, path), error)
        findings += [] if finding is None else [finding]
        records.append(_record(reading, row, path, root, shape.rate if rate != rate else rate))
    return signal_source(
        spec,
        shape,
        records,
        findings,
        {column.name: column.unit for column in columns},
        description={"unit": "patients"},
    )


def _record(reading: Reading, row: dict[str, Any], path: Path, root: Path, rate: float) -> FileRecord:
    return FileRecord(
        row=row,
        load=lambda: reading.load(path, rate),
        file=shown(root, path),
        path=path,
        inspect=lambda grid: _readable(reading, path, rate),
    )


def _readable(reading: Reading, path: Path, rate: float) -> list[Note]:
    if not path.is_file():
        raise IntakeError("the file does not exist.", file=path.name, field="path", remedy="correct the path")
    if path.suffix.casefold() not in (ARRAY, *TEXTS):
        raise IntakeError(
            f"'{path.suffix}' files are not read.", file=path.name, field="path", remedy="use .csv, .tsv or .npy"
        )
    return reading.inspect(path, rate)
