"""Source `wfdb`: a folder of WFDB recordings with a table of labels, as median beats or full records.

Labels are numbers: measured at marks that readers have set (`heatproof.cohorts.wave_measurements`), or columns of a
table. Where waves are marked they become the areas of a scan, and the waves that define a number its truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.delineation import beat_times
from heatproof.cohorts.findings import FileRecord, FileSource, Note
from heatproof.cohorts.folders import shown
from heatproof.cohorts.leads import check_rate, check_signal, resampled
from heatproof.cohorts.median_beats import median_beat, r_peaks, whole_windows, window_marks
from heatproof.cohorts.signal_listing import SignalShape, columns_of, signal_source
from heatproof.cohorts.store import RawScan
from heatproof.cohorts.wave_areas import areas_of, output_truths
from heatproof.cohorts.wave_measurements import check_outputs, known_unit, measured
from heatproof.cohorts.wfdb_files import RecordHeader, read_marks, read_record, read_record_header
from heatproof.cohorts.wfdb_listing import Listed, list_records
from heatproof.errors import ConfigError, IntakeError

MEASURED = ("heart_rate", "pr", "qrs", "qt", "r_v5", "t_v5", "j_v5")
BEFORE_MS, AFTER_MS, DURATION_MS, MIN_BEATS = 400.0, 800.0, 10000.0, 3


@dataclass(frozen=True)
class Reading:
    """How the recordings of one source are read.

    Attributes
    ----------
    shape : SignalShape
        Leads, sampling rate and length of a scan.
    is_beat : bool
        Whether a scan is a median beat, else a full record.
    n_before : int
        Samples of a median beat before its R peak, or of a record before the scan begins.
    by_marks : bool
        Whether beats are aligned by marks, else by R peaks that are looked for.
    measured : tuple of str
        Outputs that are measured at the marks.
    outputs : tuple of str
        All outputs.
    n_least : int
        Fewest beats of a median.
    counts_per_mv : float or None
        See `heatproof.cohorts.wfdb_files.read_record_header`.
    """

    shape: SignalShape
    is_beat: bool
    n_before: int
    by_marks: bool
    measured: tuple[str, ...]
    outputs: tuple[str, ...]
    n_least: int
    counts_per_mv: float | None

    @classmethod
    def of(cls, spec: Mapping[str, Any], outputs: Mapping[str, str]) -> Reading:
        """Return how a configuration wants its recordings to be read.

        Raises
        ------
        ConfigError
            If marks are needed and no annotations are named, or an output cannot be measured.
        """
        is_beat = str(spec.get("view", "median_beat")) == "median_beat"
        before = float(spec.get("before_ms", BEFORE_MS)) if is_beat else float(spec.get("start_ms", 0))
        length = (
            before + float(spec.get("after_ms", AFTER_MS)) if is_beat else float(spec.get("duration_ms", DURATION_MS))
        )
        shape = SignalShape.of(spec, length)
        from_marks = str(spec.get("labels_from", "marks")) == "marks"
        by_marks = str(spec.get("align", "marks")) == "marks"
        if (from_marks or (is_beat and by_marks)) and not spec.get("annotations"):
            raise ConfigError(
                "labels or beats come from marks, and no annotations are named.",
                field="cohort.annotations",
                remedy="name them, such as '{name}.{lead}', or set labels_from: table and align: r_peaks.",
            )
        if from_marks:
            check_outputs(outputs, shape.leads, "cohort.measured")
        counts = spec.get("counts_per_mv")
        return cls(
            shape,
            is_beat,
            round(before * shape.rate / 1000),
            by_marks,
            tuple(outputs) if from_marks else (),
            tuple(outputs),
            int(spec.get("min_beats", MIN_BEATS)),
            None if counts is None else float(counts),
        )

    def header(self, listed: Listed) -> RecordHeader:
        """Return the header of a recording; raise where it cannot be used."""
        return read_record_header(listed.path, self.shape.leads, self.counts_per_mv)

    def inspect(self, listed: Listed) -> list[Note]:
        """Return notes on the header of a recording; raise where it shows that the recording cannot be used."""
        header = self.header(listed)
        notes = check_rate(header.rate, self.shape.rate, self.shape.resample, listed.path.name)
        for path in listed.annotations(header.leads, self.shape.leads):
            if not path.is_file():
                raise IntakeError(
                    "the file with the marks is missing.",
                    file=path.name,
                    field="annotations",
                    remedy="add it, or correct the pattern under annotations",
                )
        seconds = header.n_samples / header.rate
        needed = self.shape.n_samples / self.shape.rate + (0 if self.is_beat else self.n_before / self.shape.rate)
        # Half a sample is lost where a recording is resampled.
        if seconds + 0.5 / self.shape.rate < needed:
            raise IntakeError(
                f"the recording has {seconds:.3g} s; {needed:.3g} s are needed.",
                file=listed.path.name,
                field="duration_ms",
                remedy="shorten the scan, or leave the recording out",
            )
        return notes

    def load(self, listed: Listed, row: dict[str, Any]) -> RawScan:
        """Return the scan of a recording, and enter what its marks measure in its row."""
        header, shape = self.header(listed), self.shape
        signal = read_record(header, self.counts_per_mv is not None)
        check_signal(signal, shape.leads, listed.path.name, shape.limb_tolerance)
        signal = resampled(signal, header.rate, shape.rate)
        paths = listed.annotations(header.leads, shape.leads)
        marks = None
        if paths:
            marks = read_marks(paths, len(shape.leads), header.rate, shape.rate, header.n_samples)
            row |= measured(signal, marks, shape.rate, shape.leads, self.measured, self.n_least)
        values, in_scan = self._beat(signal, marks) if self.is_beat else self._record(signal, marks, listed.path.name)
        return RawScan(
            values.astype(np.float32),
            shape.grid,
            labels=None if in_scan is None else areas_of(in_scan, shape.n_samples),
            truths=None
            if in_scan is None
            else output_truths(in_scan, shape.n_samples, shape.leads, self.outputs, shape.rate),
            # Samples have no volume.
            volumes={},
        )

    def _beat(self, signal: np.ndarray, marks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the median beat and where its waves lie."""
        n_after = self.shape.n_samples - self.n_before
        by_marks = marks is not None and self.by_marks
        times = beat_times(marks) if by_marks and marks is not None else r_peaks(signal, self.shape.rate)
        whole = whole_windows(times, self.n_before, n_after, signal.shape[1], self.n_least)
        values = median_beat(signal, times[whole], self.n_before, n_after)
        if marks is None or not by_marks:
            return values, None
        return values, window_marks(marks, whole, self.n_before, n_after, self.n_least)

    def _record(self, signal: np.ndarray, marks: np.ndarray | None, file: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the part of a record that is the scan, and where its waves lie."""
        return self.shape.cut(signal, self.n_before, file), None if marks is None else marks - self.n_before


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the recordings of a folder.

    Parameters
    ----------
    spec : dict
        ``folder``, ``records``, ``table`` and its columns, ``joined`` (see `heatproof.cohorts.wfdb_listing`);
        ``leads``, ``sampling_rate``, ``resample``, ``counts_per_mv``, ``limb_tolerance``; ``view`` (median_beat:
        ``before_ms``, ``after_ms``, ``align``, ``min_beats``; record: ``start_ms``, ``duration_ms``);
        ``annotations``, ``annotation_folder``; ``labels_from`` (marks: ``measured``; table: ``outputs``);
        ``citation``, ``licence``.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root; every path stays inside it.

    Raises
    ------
    HeatproofError
        If folder, list or table are missing, or keys contradict each other.
    """
    from_marks = str(spec.get("labels_from", "marks")) == "marks"
    columns = [] if from_marks else columns_of(spec.get("outputs") or {})
    outputs = {name: known_unit(name) for name in spec.get("measured", MEASURED)} if from_marks else {}
    outputs |= {column.name: column.unit for column in columns}
    if not outputs:
        raise ConfigError(
            "there is no number to predict.", field="cohort.outputs", remedy="name columns of the table under outputs."
        )
    reading = Reading.of(spec, outputs)
    listing, findings = list_records(spec, root, columns)
    records = [_record(one, reading, root) for one in listing]
    return signal_source(
        spec,
        reading.shape,
        records,
        findings,
        outputs,
        is_delineated=bool(spec.get("annotations")) and (not reading.is_beat or reading.by_marks),
        description={"view": "median beats" if reading.is_beat else "records", "unit": "patients"},
    )


def _record(listed: Listed, reading: Reading, root: Path) -> FileRecord:
    row = {**listed.row, **{name: listed.row.get(name, np.nan) for name in reading.outputs}}
    data = listed.path.with_name(listed.path.name + ".dat")
    return FileRecord(
        row=row,
        load=lambda: reading.load(listed, row),
        file=shown(root, listed.path),
        # Equal samples are one recording; a recording whose samples have another name is compared once it is read.
        path=data if data.is_file() else Path(),
        inspect=lambda grid: reading.inspect(listed),
    )
