"""Source `radiography`: the folders of the COVID-19 Radiography Database, with masks of the lungs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from heatproof.cohorts.blocks import unit_of, with_people
from heatproof.cohorts.findings import FileSource, Finding
from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.picture_listing import PictureEntry, picture_source
from heatproof.cohorts.picture_table import PictureFile, entry_of
from heatproof.errors import ConfigError, IntakeError

FOLDER = "COVID-19_Radiography_Dataset"
# The control first.
CLASSES = ("Normal", "COVID", "Lung_Opacity", "Viral Pneumonia")
CONTROL = "Normal"
LUNGS = 1
BLOCK_SIZE = 10
NAME = re.compile(r".*?(\d+)")
ABOUT = {
    "citation": (
        "Chowdhury et al. 2020, IEEE Access 8:132665; Rahman et al. 2021, Comput Biol Med 132:104319; "
        "COVID-19 Radiography Database"
    ),
    "licence": "stated by the database for each of its origins",
}


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the chest X-rays of the classes asked for.

    The database names no patients, so participants are blocks of neighbouring files of a class, or single images.

    Parameters
    ----------
    spec : dict
        ``folder`` with a folder ``<class>/images`` (and ``<class>/masks``) per class; ``classes``; ``lung_masks``:
        whether the lungs become labels; ``lungs_as_lesion``: whether they also stand in for the lesion of patients,
        which the database does not mark; ``participants`` (blocks, images) and ``block_size``; ``colour``; and the
        keys of `heatproof.cohorts.picture_listing.picture_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root.

    Raises
    ------
    HeatproofError
        If the folder of a class is missing or empty, a choice is not known, or lungs are to stand in for lesions
        while the first class is not Normal.
    """
    participants, block_size = str(spec.get("participants", "blocks")), int(spec.get("block_size", BLOCK_SIZE))
    if participants == "column":
        raise ConfigError(
            "the database names no patients.", field="cohort.participants", remedy="use blocks or images."
        )
    folder = inside(root, spec.get("folder", FOLDER), field="cohort.folder")
    classes = [str(name) for name in spec.get("classes", CLASSES)]
    wanted = [str(name) for names in (spec.get("diagnosis") or {}).values() for name in names] or classes
    has_lungs, is_lesion = bool(spec.get("lung_masks", True)), bool(spec.get("lungs_as_lesion", False))
    if is_lesion and not has_lungs:
        raise ConfigError(
            "lungs that are not read cannot stand in for lesions.",
            field="cohort.lungs_as_lesion",
            remedy="set lung_masks: true.",
        )
    has_controls = classes[0] == CONTROL or CONTROL in map(str, (spec.get("diagnosis") or {}).get(classes[0], ()))
    if is_lesion and CONTROL in wanted and not has_controls:
        raise ConfigError(
            f"'{CONTROL}' has no lesion that lungs can stand in for, but it is not the first class, the control.",
            field="cohort.classes",
            remedy=f"name the class of {CONTROL} first, leave it out, or set lungs_as_lesion: false.",
        )
    rows = with_people([row for name in wanted for row in _images(folder, name)], participants, block_size)
    colour = str(spec.get("colour", "refuse"))
    found = [_entry(row, root, has_lungs, is_lesion, colour) for row in rows]
    return picture_source(
        {**spec, "classes": classes},
        root,
        [one for one in found if isinstance(one, PictureEntry)],
        [one for one in found if isinstance(one, Finding)],
        has_controls=has_controls,
        label_names={LUNGS: "lungs"} if has_lungs else {},
        description={
            **ABOUT,
            "unit": unit_of(participants, block_size),
            **({"lesion": "the lungs stand in for the lesion"} if is_lesion else {}),
        },
    )


def _entry(row: dict[str, Any], root: Path, has_lungs: bool, is_lesion: bool, colour: str) -> PictureEntry | Finding:
    """Return the entry of an image, or the finding that it may not be read or has no mask of the lungs."""
    path, scan_id = row.pop("path"), str(row["scan_id"])
    try:
        path = inside(root, path, field="path")
        lungs = inside(root, path.parent.parent / "masks" / path.name, field="mask")
    except ConfigError as error:
        return Finding.of_file(scan_id, path.name, error)
    if has_lungs and not lungs.is_file():
        reason = f"there is no mask {lungs.parent.name}/{lungs.name}"
        return Finding(scan_id, shown(root, path), "mask", reason, "bad", "add it, or set lung_masks: false")
    file = PictureFile(
        path,
        lungs if is_lesion and row["diagnosis"] != CONTROL else None,
        {LUNGS: lungs} if has_lungs else {},
        colour,
        # The database's masks are coarser than its images and as square.
        same_size=False,
    )
    return entry_of(file, row)


def _images(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a class in the order of the numbers in its files' names."""
    place = folder / name / "images"
    found = {path: match for path in place.glob("*.png") if (match := NAME.fullmatch(path.stem))}
    if not found:
        raise IntakeError(
            f"the class '{name}' has no image (looked for {name}/images/*.png).",
            file=folder.name,
            field="cohort.classes",
            remedy="unpack the whole database there, or name the classes that it has.",
        )
    ordered = sorted(found, key=lambda path: (int(found[path][1]), path.stem))
    return [{"scan_id": path.stem.replace(" ", "_"), "diagnosis": name, "path": path} for path in ordered]
