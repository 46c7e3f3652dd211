"""From a listing of 2-D images to a source: one grid, who is who, lesions as truths and regions as labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.findings import FileRecord, FileSource, Finding, Note
from heatproof.cohorts.folders import shown
from heatproof.cohorts.framing import Framing
from heatproof.cohorts.listing import by_class
from heatproof.cohorts.pictures import Picture
from heatproof.cohorts.store import RawScan, Record
from heatproof.errors import HeatproofError, IntakeError
from heatproof.geometry import Grid

IMAGE_SIZE = (128, 128)
# Pixels are one size if they agree to this share; scanners print six digits.
SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Outline:
    """What the header of an image says, before its pixels are decoded.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    spacing : tuple of float, optional
        Distance of rows and of columns in mm.
    unit : str
        Unit of the values, where the file knows it.
    notes : list of (field, remark)
        What will be done to read it.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float] | None = None
    unit: str = ""
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class PictureEntry:
    """One image of a listing.

    Attributes
    ----------
    row : dict
        Line of the participants table; ``diagnosis`` as the data name it.
    path : Path
        The file.
    outline : callable
        Reads the header and raises where it already shows that the image cannot be used.
    read : callable
        Decodes the image and its masks.
    has_mask : bool
        Whether a mask of its lesion is known.
    has_spacing : bool
        Whether the header may know the size of a pixel.
    is_whole : bool
        Whether it is all of its file, so that equal files are equal images.
    """

    row: dict[str, Any]
    path: Path
    outline: Callable[[], Outline]
    read: Callable[[], Picture]
    has_mask: bool = False
    has_spacing: bool = False
    is_whole: bool = True


def picture_source(
    spec: Mapping[str, Any],
    root: Path,
    entries: Sequence[PictureEntry],
    findings: Iterable[Finding] = (),
    *,
    has_controls: bool = True,
    label_names: Mapping[int, str] | None = None,
    description: Mapping[str, Any] | None = None,
) -> FileSource:
    """Return the source of the images that belong to one of the classes.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``classes``, ``diagnosis``, ``image_size``, ``fit``, ``require_masks``.
    root : Path
        Data root.
    entries : sequence of PictureEntry
        The listing.
    findings : iterable of Finding
        What the listing could not use.
    has_controls : bool
        Whether the first class is a control, which needs no mask.
    label_names : mapping of int to str, optional
        Names of the regions.
    description : mapping, optional
        Facts for the report, among them ``unit``: what the folds keep together.

    Raises
    ------
    ConfigError
        If the classes contradict the mapping, or the size or the fit cannot be used.
    """
    rows, columns = spec.get("image_size", IMAGE_SIZE)
    framing = Framing((int(rows), int(columns)), str(spec.get("fit", "pad")))
    classes, chosen, left = by_class(spec, root, entries)
    used = [entry for entry, _ in chosen]
    outlines = _outlines(used)
    grid = shared_grid(framing, [outlines.get(index) for index in range(len(used))])
    control = classes[0] if has_controls else None
    noted = [*findings, *left, *_foreign_units(used, outlines, root)]
    strict = bool(spec.get("require_masks", True)) and any(entry.has_mask for entry in used)
    if strict:
        noted += [_unmasked(entry, root) for entry, diagnosis in chosen if diagnosis != control and not entry.has_mask]
    records: list[Record] = [
        _record(entry, diagnosis, root, framing, grid, strict and diagnosis != control) for entry, diagnosis in chosen
    ]
    return FileSource(
        grid=grid,
        records=records,
        classes=classes,
        has_controls=has_controls,
        mask=None,
        label_names=dict(label_names or {}),
        description={"source": str(spec["source"]), "fit": framing.fit, **(description or {})},
        findings=noted,
    )


def shared_grid(framing: Framing, outlines: Sequence[Outline | None]) -> Grid:
    """Return the grid, in mm if every image says how large its pixels are and they come out alike, else in pixels.

    Parameters
    ----------
    framing : Framing
        How images are brought to the grid.
    outlines : sequence of Outline or None
        The headers, None where one says nothing.
    """
    steps = [
        tuple(step * size for step, size in zip(framing.steps(one.shape), one.spacing, strict=True))
        for one in outlines
        if one is not None and one.spacing is not None
    ]
    alike = len(steps) == len(outlines) > 0 and np.allclose(steps, steps[0], rtol=SPACING_TOLERANCE, atol=0)
    return Grid(framing.size, spacing=steps[0], units="mm") if alike else Grid(framing.size, units="pixel")


def _outlines(entries: Sequence[PictureEntry]) -> dict[int, Outline]:
    """Return the headers that may know a pixel's size; one that cannot be read is the gate's to refuse."""
    found = {}
    for index, entry in enumerate(entries):
        if entry.has_spacing:
            try:
                found[index] = entry.outline()
            except HeatproofError:
                continue
    return found


def _foreign_units(entries: Sequence[PictureEntry], outlines: Mapping[int, Outline], root: Path) -> list[Finding]:
    first = next(iter(outlines.values()), None)
    return [
        Finding(
            str(entries[index].row["scan_id"]),
            shown(root, entries[index].path),
            "unit",
            f"values are in {one.unit}, those of the first image in {first.unit}",
            "bad",
            "use images of one kind",
        )
        for index, one in outlines.items()
        if first is not None and one.unit != first.unit
    ]


def _unmasked(entry: PictureEntry, root: Path) -> Finding:
    return Finding(
        str(entry.row["scan_id"]),
        shown(root, entry.path),
        "mask",
        "other images have a mask of the lesion, this one has none",
        "bad",
        "add the mask, or set require_masks: false",
    )


def _record(
    entry: PictureEntry, diagnosis: str, root: Path, framing: Framing, grid: Grid, has_lesion: bool
) -> FileRecord:
    return FileRecord(
        row={**entry.row, "diagnosis": diagnosis},
        load=lambda: _scan(entry, framing, grid, has_lesion),
        file=shown(root, entry.path),
        path=entry.path if entry.is_whole else Path(),
        inspect=lambda grid: entry.outline().notes,
    )


def _scan(entry: PictureEntry, framing: Framing, grid: Grid, has_lesion: bool) -> RawScan:
    picture = entry.read()
    lesion = picture.lesion
    truth = None if lesion is None else framing.mask(lesion)
    if lesion is not None and has_lesion and not lesion.any():
        raise IntakeError(
            "the mask of the lesion is empty.",
            file=entry.path.name,
            field="mask",
            remedy="draw it, or set require_masks: false (radiography: lungs_as_lesion: false).",
        )
    if lesion is not None and truth is not None and lesion.any() and not truth.any():
        raise IntakeError(
            f"the lesion of {np.count_nonzero(lesion)} pixels is lost on a grid of {grid.shape}.",
            file=entry.path.name,
            field="mask",
            remedy="choose a larger image_size.",
        )
    return RawScan(
        framing.image(picture.values)[None],
        grid,
        truth=None if truth is None else truth.astype(np.float32),
        labels=None if picture.regions is None else framing.labels(picture.regions),
        # A picture is flat: its areas have no volume.
        volumes={},
    )
