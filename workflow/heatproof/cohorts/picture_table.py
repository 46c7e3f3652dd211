"""Source `images`: a table of 2-D images (PNG, JPEG, DICOM), with masks of lesions and regions, whole or in tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.blocks import unit_of, with_people
from heatproof.cohorts.dicom import WINDOWS, is_dicom, read_dicom, read_dicom_header
from heatproof.cohorts.findings import FileSource, Finding
from heatproof.cohorts.folders import inside
from heatproof.cohorts.listed_tables import read_listing
from heatproof.cohorts.listing import locate, text_of
from heatproof.cohorts.picture_listing import Outline, PictureEntry, picture_source
from heatproof.cohorts.pictures import COLOURS, Picture, picture_shape, read_mask, read_picture
from heatproof.cohorts.tiles import TileRule, cut
from heatproof.errors import ConfigError, IntakeError

MASK_COLUMN = "mask_path"
BLOCK_SIZE = 10


@dataclass(frozen=True)
class PictureFile:
    """An image with its masks, each in a file of its own.

    Attributes
    ----------
    path : Path
        The image.
    mask : Path, optional
        Mask of the lesion.
    regions : mapping of int to Path
        Label -> mask of that region.
    colour, window : str
        As `read_picture` and `read_dicom` take them.
    allow_burnt_in : bool
        As `read_dicom_header` takes it.
    same_size : bool
        Whether a mask must have the image's size; if not, its aspect ratio is enough.
    """

    path: Path
    mask: Path | None
    regions: Mapping[int, Path]
    colour: str = "refuse"
    window: str = "none"
    allow_burnt_in: bool = False
    same_size: bool = True

    def outline(self) -> Outline:
        """Return what the headers say; raise where they show that image and masks cannot be used."""
        if is_dicom(self.path):
            header = read_dicom_header(self.path, allow_burnt_in=self.allow_burnt_in)
            outline = Outline(header.shape, header.spacing, header.unit, header.notes)
        else:
            shape, notes = picture_shape(self.path)
            outline = Outline(shape, notes=notes)
        for mask in filter(None, (self.mask, *self.regions.values())):
            self._require_fitting(picture_shape(mask)[0], outline.shape, mask)
        return outline

    def read(self) -> Picture:
        """Return the image and its masks."""
        values = read_dicom(self.path, self.window) if is_dicom(self.path) else read_picture(self.path, self.colour)
        regions: np.ndarray | None = None
        for label, path in self.regions.items():
            region = read_mask(path)
            regions = np.zeros(region.shape, np.int32) if regions is None else regions
            # Where two regions overlap the first one listed keeps the pixel.
            regions[region & (regions == 0)] = label
        return Picture(values, None if self.mask is None else read_mask(self.mask), regions)

    def _require_fitting(self, mask: tuple[int, int], image: tuple[int, int], path: Path) -> None:
        alike = mask == image if self.same_size else mask[0] * image[1] == mask[1] * image[0]
        if not alike:
            raise IntakeError(
                f"the mask has {mask[0]} x {mask[1]} pixels, its image {image[0]} x {image[1]}.",
                file=path.name,
                field="mask",
                remedy="draw it on the image itself.",
            )


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the images of a table, or the tiles that they are cut into.

    Parameters
    ----------
    spec : dict
        ``table`` (TSV or CSV with scan_id, path, diagnosis and, where known, participant_id, mask_path, age, sex,
        site, family; paths relative to the table), ``diagnosis_column``, ``participants`` (column, blocks,
        images), ``block_size``, ``regions`` (name -> column with a mask of it), ``colour``, ``window``,
        ``allow_burnt_in``, ``tiles``, ``has_controls``, ``citation``, ``licence``, and the keys of
        `heatproof.cohorts.picture_listing.picture_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root; every path stays inside it.

    Raises
    ------
    HeatproofError
        If the table is missing or lacks a column, a choice is not known, or tiles contradict other keys.
    """
    for name, allowed in (("colour", COLOURS), ("window", WINDOWS)):
        if str(spec.get(name, allowed[0])) not in allowed:
            raise ConfigError(
                f"'{spec[name]}' is not known.", field=f"cohort.{name}", remedy=f"use {' or '.join(allowed)}."
            )
    rule = _tile_rule(spec)
    participants, block_size = str(spec.get("participants", "column")), int(spec.get("block_size", BLOCK_SIZE))
    entries, findings = _listing(spec, root, participants, block_size, is_labelled=rule is None)
    if rule is not None:
        entries, found = cut(entries, rule, root)
        findings += found
    return picture_source(
        spec,
        root,
        entries,
        findings,
        has_controls=bool(spec.get("has_controls", True)),
        label_names=dict(enumerate(spec.get("regions") or {}, start=1)),
        description={
            "unit": unit_of(participants, block_size),
            **{name: spec[name] for name in ("citation", "licence") if spec.get(name)},
        },
    )


def _tile_rule(spec: Mapping[str, Any]) -> TileRule | None:
    """Return how images are cut, or None where they stay whole; raise where other keys contradict tiles."""
    tiles = spec.get("tiles")
    if not tiles:
        return None
    if spec.get("diagnosis"):
        raise ConfigError(
            "tiles are labelled by their masks, not by a diagnosis.",
            field="cohort.diagnosis",
            remedy="remove the mapping, or the tiles.",
        )
    if not spec.get("has_controls", True):
        raise ConfigError(
            "the first class of tiles is the unaffected one, which is a control.",
            field="cohort.has_controls",
            remedy="set has_controls: true, or remove the tiles.",
        )
    return TileRule.of(tiles, spec["classes"], needs_region=bool(spec.get("regions")))


def _listing(
    spec: Mapping[str, Any], root: Path, participants: str, block_size: int, *, is_labelled: bool
) -> tuple[list[PictureEntry], list[Finding]]:
    """Return the rows of the table whose files may be read, and findings on the others."""
    table = inside(root, spec["table"], field="cohort.table")
    column = str(spec.get("diagnosis_column", "diagnosis"))
    regions = {str(name): str(value) for name, value in (spec.get("regions") or {}).items()}
    required = ("scan_id", "path", *regions.values())
    frame = read_listing(
        table,
        (*required, *((column,) if is_labelled else ()), *(("participant_id",) if participants == "column" else ())),
    )
    cells = frame.to_dict("records")
    hidden = {"path", MASK_COLUMN, column, *regions.values()}
    rows = [
        {
            **{str(name): value for name, value in one.items() if name not in hidden},
            "diagnosis": text_of(one.get(column)),
        }
        for one in cells
    ]
    entries: list[PictureEntry] = []
    findings: list[Finding] = []
    for row, cell in zip(with_people(rows, participants, block_size), cells, strict=True):
        paths: dict[str, Path] = {}
        problem: Finding | None = None
        for name in ("path", MASK_COLUMN, *regions.values()):
            if problem is None and (name == "path" or text_of(cell.get(name))):
                found, problem = locate(root, table.parent, cell[name], str(row["scan_id"]), name)
                paths |= {} if found is None else {name: found}
        if problem is not None:
            findings.append(problem)
            continue
        file = PictureFile(
            paths["path"],
            paths.get(MASK_COLUMN),
            {label: paths[name] for label, name in enumerate(regions.values(), start=1) if name in paths},
            str(spec.get("colour", "refuse")),
            str(spec.get("window", "none")),
            bool(spec.get("allow_burnt_in", False)),
        )
        entries.append(entry_of(file, row))
    return entries, findings


def entry_of(file: PictureFile, row: dict[str, Any]) -> PictureEntry:
    """Return the entry of an image in a file of its own."""
    return PictureEntry(
        row, file.path, file.outline, file.read, has_mask=file.mask is not None, has_spacing=is_dicom(file.path)
    )
