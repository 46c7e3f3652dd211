"""The intake gate: every scan of every source passes these rules before anything is computed from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.cohorts.alignment import bring_to_grid
from heatproof.cohorts.findings import FileRecord, FileSource, Finding
from heatproof.cohorts.identifiers import comparable, identifier_findings
from heatproof.cohorts.store import RawScan, Record, Source
from heatproof.errors import ConfigError, HeatproofError, IntakeError
from heatproof.files import sha256_of

if TYPE_CHECKING:
    import pandas as pd

INTAKE_COLUMNS = ("scan_id", "file", "field", "reason", "action")
POLICIES = ("stop", "exclude")


def check_listing(source: Source, records: Sequence[Record]) -> list[Finding]:
    """Return what can be said without decoding a voxel: identifiers, labels, headers, equal files.

    Parameters
    ----------
    source : Source
        Grid, classes and, for files, what its listing found.
    records : sequence of Record
        Its scans.
    """
    found = list(source.findings) if isinstance(source, FileSource) else []
    found += identifier_findings(records)
    found += [finding for record in records for finding in _unseen_characters(record)]
    found += [finding for record in records for finding in _label_findings(record, source.classes)]
    found += [finding for record in records for finding in _age_findings(record)]
    for record in records:
        if not isinstance(record, FileRecord):
            continue
        try:
            notes = record.inspect(source.grid)
        except HeatproofError as error:
            found.append(Finding.of_error(record, error))
        else:
            scan_id = str(record.row["scan_id"])
            found += [Finding(scan_id, record.file, name, text, "note") for name, text in notes]
    return found + _equal_files(records)


def check_scan(record: Record, source: Source, channels: int | None, fill_not_finite: bool) -> RawScan:
    """Load one scan, bring it to the grid and return it if it can be used.

    Parameters
    ----------
    record : Record
        The scan.
    source : Source
        Grid and whether scans may be resampled.
    channels : int or None
        Channels of the scans before it.
    fill_not_finite : bool
        Whether NaN and infinite values become zero (maps that are undefined outside the brain) instead of a
        reason to refuse the scan.

    Raises
    ------
    HeatproofError
        With the field and the reason, if the scan cannot be used.
    """
    scan = record.load()
    n_axes = len(source.grid.shape)
    if scan.values.ndim != n_axes + 1:
        raise IntakeError(
            f"the scan has shape {scan.values.shape}; channels and {n_axes} space axes are expected.",
            field="shape",
            remedy="give one image per scan",
        )
    if channels is not None and len(scan.values) != channels:
        raise IntakeError(
            f"the scan has {len(scan.values)} channels, the ones before it {channels}.",
            field="shape",
            remedy="give all scans the same channels",
        )
    finite = np.isfinite(scan.values)
    if not finite.all():
        if not fill_not_finite:
            raise IntakeError(
                f"{finite.size - np.count_nonzero(finite)} voxels are NaN or infinite.",
                field="values",
                remedy="mend the image, or set fill_not_finite: true if they lie outside the brain",
            )
        scan = replace(scan, values=np.where(finite, scan.values, 0).astype(scan.values.dtype))
    _require_contrast(scan.values)
    # Where channels are places of their own, a truth or a label belongs to one of them.
    places = scan.values.shape if source.channel_names else scan.values.shape[1:]
    of_outputs = {f"truth of {name}": values for name, values in (scan.truths or {}).items()}
    for name, extra in {"truth": scan.truth, "labels": scan.labels, **of_outputs}.items():
        if extra is not None and extra.shape != places:
            raise IntakeError(
                f"the {name} has shape {extra.shape}, the scan {places}.",
                field=name,
                remedy="draw it on the grid of its scan",
            )
    scan = bring_to_grid(scan, source.grid, source.resample)
    _require_contrast(scan.values)
    return scan


def participant_row(record: Record, source: Source) -> dict[str, Any]:
    """Return the scan's line of the participants table, with the number of its class as `target`."""
    row = dict(record.row)
    row["target"] = source.classes.index(str(row["diagnosis"]))
    return row


def policy(spec: Mapping[str, Any]) -> str:
    """Return what to do with a bad scan: ``stop`` (the default) or ``exclude``."""
    chosen = str(spec.get("on_bad_scan", "stop"))
    if chosen not in POLICIES:
        raise ConfigError(f"'{chosen}' is not known.", field="on_bad_scan", remedy=f"use {' or '.join(POLICIES)}.")
    return chosen


def bad_ones(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that keep a scan out although the study asked for it."""
    return [finding for finding in findings if finding.kind == "bad"]


def intake_table(findings: Iterable[Finding], accepted: Iterable[Record]) -> pd.DataFrame:
    """Return intake.tsv: one row per finding and one per accepted scan, sorted by scan."""
    import pandas as pd

    rows: list[tuple[str | None, ...]] = [
        (one.scan_id, one.file, one.field, one.reason, one.action) for one in findings
    ]
    rows += [(str(record.row["scan_id"]), record.file, None, None, "accepted") for record in accepted]
    frame = pd.DataFrame(rows, columns=list(INTAKE_COLUMNS))
    return frame.sort_values("scan_id", kind="stable", ignore_index=True)


def _unseen_characters(record: Record) -> list[Finding]:
    """Return a finding per identifier that looks like another one, or tears a line of a table or a log."""
    return [
        Finding(
            str(record.row.get("scan_id") or ""),
            record.file,
            field,
            f"{ascii(text)} holds a character that cannot be seen",
            "bad",
            "spell it again",
        )
        for field in ("scan_id", "participant_id")
        if not (text := str(record.row.get(field) or "")).isprintable()
    ]


def _label_findings(record: Record, classes: Sequence[str]) -> list[Finding]:
    value = record.row.get("diagnosis")
    if not comparable(value):
        reason, remedy = "the diagnosis is missing", "fill it in"
    elif str(value) not in classes:
        reason = f"the diagnosis '{value}' is none of {', '.join(classes)}"
        remedy = "name it in the config's diagnosis mapping, or correct it"
    else:
        return []
    return [Finding(str(record.row.get("scan_id") or ""), record.file, "diagnosis", reason, "bad", remedy)]


def _age_findings(record: Record) -> list[Finding]:
    """Return a finding if an age that is given is no number of years: it would not count where folds are balanced."""
    value = record.row.get("age")
    if not comparable(value):
        return []
    try:
        is_age = 0 <= float(str(value)) < float("inf")
    except ValueError:
        is_age = False
    reason, remedy = f"the age '{value}' is no number of years", "write years, with a point for fractions, or n/a"
    return [] if is_age else [Finding(str(record.row.get("scan_id") or ""), record.file, "age", reason, "bad", remedy)]


def require_classes(records: Iterable[Record], source: Source) -> None:
    """Raise an IntakeError if nobody is left of a class that the study compares."""
    present = {str(record.row.get("diagnosis")) for record in records}
    absent = [name for name in source.classes if name not in present]
    if absent:
        raise IntakeError(
            f"no scan has the diagnosis {' or '.join(absent)}.",
            field="diagnosis",
            remedy="add scans of the class, name it in the config's diagnosis mapping, or take it out of classes.",
        )


def _equal_files(records: Sequence[Record]) -> list[Finding]:
    """Return a finding for each scan whose file holds the same bytes as another scan's."""
    by_size: dict[int, list[FileRecord]] = defaultdict(list)
    for record in records:
        if isinstance(record, FileRecord) and record.path.is_file() and record.path.stat().st_size:
            by_size[record.path.stat().st_size].append(record)
    by_bytes: dict[str, list[FileRecord]] = defaultdict(list)
    for group in by_size.values():
        # Only files of equal length can be equal, so most are never read here.
        for record in group if len(group) > 1 else []:
            by_bytes[sha256_of(record.path)].append(record)
    return [
        same_image(record, [str(one.row["scan_id"]) for one in group])
        for group in by_bytes.values()
        if len(group) > 1
        for record in group
    ]


def same_image(record: Record, scan_ids: Sequence[str]) -> Finding:
    """Return the finding that several ids hold one image."""
    return Finding(
        str(record.row["scan_id"]),
        record.file,
        "image",
        f"the same image is filed under several ids: {', '.join(scan_ids)}",
        "bad",
        "find out whose image it is and remove the others",
    )


def _require_contrast(values: np.ndarray) -> None:
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if low < high:
        return
    what = "is zero everywhere" if low == 0 else f"is constant ({low:.6g})" if low == high else "is empty"
    raise IntakeError(
        f"the image {what} on the grid.",
        field="values",
        remedy="look at the image; it holds nothing to learn",
    )
