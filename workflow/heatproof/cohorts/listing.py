"""From rows with a path to a source: which class each row is, which grid they share, how each is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from heatproof.cohorts.affines import AFFINE_CHOICES
from heatproof.cohorts.alignment import alignment_note, is_oblique, reordering
from heatproof.cohorts.backdrop import open_atlas, open_grid, open_mask
from heatproof.cohorts.findings import FileRecord, FileSource, Finding, Note, refuse
from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.identifiers import comparable
from heatproof.cohorts.images import read_header, read_labels, read_values
from heatproof.cohorts.store import RawScan, Record
from heatproof.cohorts.volumes import label_volumes
from heatproof.errors import ConfigError, GeometryError, HeatproofError, IntakeError
from heatproof.geometry import Grid, resample

CLASSES = ("HC", "AD")


class Listed(Protocol):
    """What every entry of a listing has, whatever its file holds."""

    @property
    def row(self) -> dict[str, Any]:
        """Line of the participants table; ``diagnosis`` as the data name it."""

    @property
    def path(self) -> Path:
        """The image."""


AnyEntry = TypeVar("AnyEntry", bound=Listed)


@dataclass(frozen=True)
class Entry:
    """One row of a listing.

    Attributes
    ----------
    row : dict
        Line of the participants table; ``diagnosis`` as the data name it.
    path : Path
        The image.
    labels : Path, optional
        The scan's own areas.
    """

    row: dict[str, Any]
    path: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Reading:
    """How the files of one source are read.

    Attributes
    ----------
    affine : str
        Which of sform and qform counts where they differ.
    resample : bool
        Whether images on other grids may be interpolated.
    """

    affine: str
    resample: bool

    def inspect(self, entry: Entry, grid: Grid) -> list[Note]:
        """Return notes on the headers of an entry; raise where they show that it cannot be used."""
        header = read_header(entry.path, self.affine)
        notes = list(header.notes)
        if remark := alignment_note(header.grid, grid, self.resample):
            notes.append(("affine", remark))
        if is_oblique(header.grid):
            notes.append(("affine", "stored oblique; the affine is followed"))
        if entry.labels is not None:
            labels = read_header(entry.labels, self.affine)
            self._require_labels_on(header.grid, labels.grid, entry.labels)
        return notes

    def load(self, entry: Entry) -> RawScan:
        """Return the scan of an entry on the grid of its own file."""
        header = read_header(entry.path, self.affine)
        values = read_values(header)[None]
        if entry.labels is None:
            return RawScan(values, header.grid)
        labels_header = read_header(entry.labels, self.affine)
        self._require_labels_on(header.grid, labels_header.grid, entry.labels)
        labels = read_labels(labels_header)
        exact = reordering(labels_header.grid, header.grid)
        return RawScan(
            values,
            header.grid,
            labels=exact.apply(labels)
            if exact is not None
            else resample(labels, labels_header.grid, header.grid, order=0),
            # Counted on the grid that the labels were drawn on, before any resampling.
            volumes=label_volumes(labels, labels_header.grid.voxel_volume),
        )

    def _require_labels_on(self, image: Grid, labels: Grid, path: Path) -> None:
        if not self.resample and reordering(labels, image) is None:
            raise GeometryError(
                "the labels lie on another grid than their image.",
                file=path.name,
                field="labels_path",
                remedy="draw them on the image's grid, or set resample: true",
            )


def file_source(
    spec: Mapping[str, Any],
    root: Path,
    entries: Sequence[Entry],
    findings: Iterable[Finding] = (),
    *,
    density: bool = False,
    description: Mapping[str, Any] | None = None,
) -> FileSource:
    """Return the source of the entries that belong to one of the classes.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``classes``, ``diagnosis``, ``grid``, ``resolution_mm``, ``mask``, ``atlas``,
        ``resample``, ``affine``.
    root : Path
        Data root.
    entries : sequence of Entry
        The listing.
    findings : iterable of Finding
        What the listing could not use.
    density : bool
        Whether values are tissue volume per volume.
    description : mapping, optional
        Facts for the report.

    Raises
    ------
    ConfigError
        If the mapping, the grid, the mask or the atlas cannot be used.
    """
    affine = str(spec.get("affine", "strict"))
    if affine not in AFFINE_CHOICES:
        raise ConfigError(
            f"'{affine}' is not known.", field="cohort.affine", remedy=f"use {', '.join(AFFINE_CHOICES)}."
        )
    reading = Reading(affine, bool(spec.get("resample", False)))
    classes, chosen, left = by_class(spec, root, entries)
    noted = [*findings, *left]
    records: list[Record] = [_record(entry, root, reading, diagnosis) for entry, diagnosis in chosen]
    try:
        grid, template = open_grid(spec, root, [entry.path for entry in entries], affine)
    except IntakeError as error:
        # Without a grid the gate is never reached; what the listing found says more than that.
        bad = [one for one in noted if one.kind == "bad"]
        if not bad:
            raise
        raise refuse(bad, len(entries)) from error
    atlas, names = open_atlas(spec.get("atlas"), root, grid)
    return FileSource(
        grid=grid,
        records=records,
        classes=classes,
        mask=open_mask(str(spec.get("mask", "template")), root, grid),
        template=template,
        atlas=atlas,
        label_names=names,
        resample=reading.resample,
        description={"source": str(spec["source"]), **(description or {})},
        findings=noted,
        density=density,
    )


def by_class(
    spec: Mapping[str, Any], root: Path, entries: Iterable[AnyEntry]
) -> tuple[tuple[str, ...], list[tuple[AnyEntry, str]], list[Finding]]:
    """Return the classes, the entries that may belong to one with their diagnosis, and what was left out.

    Parameters
    ----------
    spec : mapping
        ``classes`` and ``diagnosis``.
    root : Path
        Data root.
    entries : iterable
        Anything with ``row`` and ``path``; a diagnosis that is missing or misspelled stays for the gate to refuse.

    Raises
    ------
    ConfigError
        If the mapping contradicts the classes.
    """
    classes = tuple(str(name) for name in spec.get("classes", CLASSES))
    wanted = _wanted(spec, classes)
    chosen: list[tuple[AnyEntry, str]] = []
    findings: list[Finding] = []
    for entry in entries:
        value = text_of(entry.row.get("diagnosis"))
        name = wanted.get(value)
        if name is None and _is_other(value, wanted, bool(spec.get("diagnosis"))):
            findings.append(left_out(entry, root, f"the diagnosis '{value}' is not part of this study"))
            continue
        chosen.append((entry, value if name is None else name))
    return classes, chosen, findings


def left_out(entry: Listed, root: Path, reason: str) -> Finding:
    """Return the finding that a study did not ask for a scan."""
    return Finding(str(entry.row["scan_id"]), shown(root, entry.path), "diagnosis", reason, "left_out")


def locate(root: Path, base: Path, value: object, scan_id: str, field: str) -> tuple[Path | None, Finding | None]:
    """Return a file of a listing, or the finding that it may not be read.

    Parameters
    ----------
    root, base : Path
        Data root, and the folder that relative paths start from.
    value : object
        The path as listed.
    scan_id, field : str
        For the finding.
    """
    if not comparable(value):
        return None, Finding(scan_id, "", field, "no file is named", "bad", "name the image of the scan")
    try:
        return inside(root, str(value), field=field, base=base), None
    except HeatproofError as error:
        return None, Finding(scan_id, str(value), field, error.problem, "bad", error.remedy or "")


def text_of(value: object) -> str:
    """Return a cell as the text a person would have typed: ``1.0`` is ``1``, missing is empty."""
    if value is None or value != value:
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _wanted(spec: Mapping[str, Any], classes: tuple[str, ...]) -> dict[str, str]:
    """Return raw diagnosis -> class."""
    mapping = spec.get("diagnosis") or {name: [name] for name in classes}
    stray = sorted(set(map(str, mapping)) ^ set(classes))
    if stray or len(classes) < 2:
        raise ConfigError(
            f"the classes are {', '.join(classes)}, but the mapping is for {', '.join(map(str, mapping))}.",
            field="cohort.diagnosis",
            remedy="give each class (two or more, control first) its list of values.",
        )
    pairs = [(text_of(value), str(name)) for name, values in mapping.items() for value in values]
    wanted = dict(pairs)
    if len(wanted) < len(pairs):
        raise ConfigError(
            "a diagnosis belongs to two classes.",
            field="cohort.diagnosis",
            remedy="name each value once.",
        )
    return wanted


def _is_other(value: str, wanted: Mapping[str, str], is_mapped: bool) -> bool:
    """Return whether a diagnosis is plainly another one: not missing, and no misspelling of a wanted one."""
    key = comparable(value)
    return is_mapped and bool(key) and key not in {comparable(name) for name in wanted}


def _record(entry: Entry, root: Path, reading: Reading, diagnosis: str) -> FileRecord:
    return FileRecord(
        row={**entry.row, "diagnosis": diagnosis},
        load=lambda: reading.load(entry),
        file=shown(root, entry.path),
        path=entry.path,
        inspect=lambda grid: reading.inspect(entry, grid),
    )
