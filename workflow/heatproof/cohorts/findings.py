"""What intake says about scans, and the sources and records that read files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from heatproof.cohorts.store import Record, Source
from heatproof.errors import HeatproofError, IntakeError
from heatproof.geometry import Grid

# note: the scan enters; left_out: the study did not ask for it; bad: it cannot be used.
Kind = Literal["note", "left_out", "bad"]
Note = tuple[str, str]
LISTED = 100


@dataclass(frozen=True)
class Finding:
    """One remark on one scan.

    Attributes
    ----------
    scan_id, file, field : str
        Where.
    reason : str
        What was seen.
    kind : {"note", "left_out", "bad"}
        Whether the scan enters, was not asked for, or cannot be used.
    remedy : str
        What the user can do.
    """

    scan_id: str
    file: str
    field: str
    reason: str
    kind: Kind
    remedy: str = ""

    @property
    def action(self) -> str:
        """The word for it in intake.tsv."""
        return "noted" if self.kind == "note" else "excluded"

    @classmethod
    def of_error(cls, record: Record, error: HeatproofError) -> Finding:
        """Return the finding that an error in reading a scan amounts to."""
        return cls.of_file(str(record.row["scan_id"]), record.file, error)

    @classmethod
    def of_file(cls, scan_id: str, file: str, error: HeatproofError) -> Finding:
        """Return the finding that an error in a file amounts to, where a listing has no record of it yet."""
        return cls(
            scan_id,
            file,
            error.field or "image",
            error.problem.rstrip("."),
            "bad",
            (error.remedy or "").rstrip("."),
        )


@dataclass
class FileRecord(Record):
    """A scan that lies in a file.

    Attributes
    ----------
    path : Path
        The file itself; its bytes are compared with those of the other scans.
    inspect : callable
        From the cohort's grid to notes (field, remark) read from the headers alone; raises a
        `HeatproofError` where they already show that the scan cannot be used.
    """

    path: Path = Path()
    inspect: Callable[[Grid], list[Note]] = field(default=lambda grid: [])


@dataclass
class FileSource(Source):
    """A source that reads files.

    Attributes
    ----------
    findings : list of Finding
        What the listing already knows: scans left out, labels or files that are missing.
    density : bool
        Values are tissue volume per volume (modulated grey matter), so that their sum over an area times the
        voxel volume is the area's tissue volume.
    """

    findings: list[Finding] = field(default_factory=list)
    density: bool = False


def refuse(findings: Iterable[Finding], n_listed: int) -> IntakeError:
    """Return the error that lists every bad scan: scan, file, field, reason and remedy."""
    bad = list(findings)
    lines = [f"  {one.scan_id}\t{one.file}\t{one.field}\t{one.reason}\t{one.remedy}" for one in bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"  ... and {len(bad) - LISTED} more")
    n_bad = len({(one.scan_id, one.file) for one in bad})
    return IntakeError(
        f"{n_bad} scans cannot enter the cohort ({n_listed} were listed) "
        "(scan_id, file, field, reason, remedy):\n" + "\n".join(lines) + "\n",
        file=bad[0].file,
        field=bad[0].field,
        remedy="mend or remove these scans, or set on_bad_scan: exclude, which counts them in the report.",
    )
