"""Source `cheng`: slices of brain tumours with their masks (Cheng et al. 2015, figshare 1512427)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.archives import visible
from heatproof.cohorts.blocks import unit_of, with_people
from heatproof.cohorts.findings import FileSource, Finding
from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.listed_tables import read_listing
from heatproof.cohorts.listing import text_of
from heatproof.cohorts.picture_listing import Outline, PictureEntry, picture_source
from heatproof.cohorts.picture_table import PictureFile, entry_of
from heatproof.cohorts.pictures import Picture, require_file, require_size
from heatproof.errors import ConfigError, IntakeError

FOLDER = "brain_tumor_cheng"
CLASSES = ("meningioma", "glioma", "pituitary")
LAYOUTS = ("mat", "png")
# A patient has 13 slices on average, side by side in the order of the files.
BLOCK_SIZE = 20
ABOUT = {
    "citation": "Cheng et al. 2015, PLoS ONE 10:e0140381; Cheng et al. 2016, PLoS ONE 11:e0157112; figshare 1512427",
    "licence": "CC BY 4.0",
}
GROUP = "cjdata"
FOLDS_FILE = "cvind.mat"
LABELS_FILE = "labels.csv"


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return T1 contrast-enhanced slices of the three tumours; there are no controls.

    Parameters
    ----------
    spec : dict
        ``folder``; ``layout``: ``mat`` for the original files (patients are known; the authors' folds of
        ``cvind.mat`` become the column ``published_fold``), ``png`` for images/, masks/ and labels.csv
        (patients are not known); for the latter only ``participants`` (blocks, images) and ``block_size``; and the
        keys of `heatproof.cohorts.picture_listing.picture_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root.

    Raises
    ------
    HeatproofError
        If the folder holds no such files, two of one number or a table of labels that contradicts itself; if a
        choice is not known, or has no meaning for the layout.
    """
    layout = str(spec.get("layout", "mat"))
    if layout not in LAYOUTS:
        raise ConfigError(f"'{layout}' is not known.", field="cohort.layout", remedy=f"use {' or '.join(LAYOUTS)}.")
    participants, block_size = str(spec.get("participants", "blocks")), int(spec.get("block_size", BLOCK_SIZE))
    if layout == "mat" and (participants, block_size) != ("blocks", BLOCK_SIZE):
        raise ConfigError(
            "the original files name their patients, whom the folds keep together.",
            field="cohort.participants" if participants != "blocks" else "cohort.block_size",
            remedy="remove the key, or use exported images with layout: png.",
        )
    folder = inside(root, spec.get("folder", FOLDER), field="cohort.folder")
    if layout == "mat":
        entries, findings = _original(folder, root)
        unit = "patients"
    else:
        entries, findings = _exported(folder, root, participants, block_size)
        unit = unit_of(participants, block_size)
    chosen = {"classes": list(CLASSES), **spec}
    return picture_source(
        chosen, root, entries, findings, has_controls=False, description={**ABOUT, "layout": layout, "unit": unit}
    )


def read_slice(path: Path) -> Picture:
    """Return image and tumour mask of an original file, shape (rows, columns).

    MATLAB stores columns first, so both are turned to rows and columns as they are looked at.

    Raises
    ------
    IntakeError
        If the file is damaged, or the mask has another size.
    """
    rows, columns = _outline(path).shape
    data = _fields(path, ("image", "tumorMask"))
    mask = data["tumorMask"].T
    if mask.shape != (rows, columns):
        raise IntakeError(
            f"the mask has {mask.shape} pixels, its image {(rows, columns)}.",
            file=path.name,
            field="tumorMask",
            remedy="copy the file again from its origin.",
        )
    return Picture(data["image"].T.astype(np.float32), mask > 0)


def _original(folder: Path, root: Path) -> tuple[list[PictureEntry], list[Finding]]:
    """Return the entries of the original .mat files, in the order of their numbers."""
    files = _numbered(visible(folder, "**/*.mat"))
    if not files:
        raise IntakeError(
            "there is no original file (1.mat, 2.mat ...) in the folder.",
            file=folder.name,
            field="cohort.folder",
            remedy="unpack the archive there, set fetch: true, or set layout: png for exported images.",
        )
    folds = _published_folds(folder)
    entries: list[PictureEntry] = []
    findings: list[Finding] = []
    for number, path in sorted(files.items()):
        scan_id = f"slice-{number:04d}"
        try:
            path = inside(root, path, field="path")
            data = _fields(path, ("label", "PID"))
            row = {"scan_id": scan_id, "participant_id": _text(data["PID"]), "diagnosis": _class(data["label"], path)}
        except (IntakeError, ConfigError) as error:
            findings.append(Finding.of_file(scan_id, shown(root, path), error))
            continue
        if number <= len(folds):
            row["published_fold"] = str(folds[number - 1])
        entries.append(
            PictureEntry(
                row,
                path,
                partial(_outline, path),
                partial(read_slice, path),
                has_mask=True,
            )
        )
    return entries, findings


def _exported(folder: Path, root: Path, participants: str, block_size: int) -> tuple[list[PictureEntry], list[Finding]]:
    """Return the entries of images/, masks/ and labels.csv, in the order of the original files' numbers."""
    if participants == "column":
        raise ConfigError(
            "exported images name no patients.",
            field="cohort.participants",
            remedy="use blocks or images, or the original files with layout: mat.",
        )
    labels = _labels(inside(root, folder / LABELS_FILE, field="cohort.folder"))
    images = _numbered(visible(folder, "images/*.png"))
    masks = folder / "masks"
    findings = [
        Finding(
            f"slice-{number:04d}", shown(root, images[number]), "label", f"{LABELS_FILE} has no label", "bad", "add it"
        )
        for number in sorted(set(images) - set(labels))
    ]
    rows = [
        {"scan_id": f"slice-{number:04d}", "diagnosis": _name(labels[number]), "number": number}
        for number in sorted(labels)
    ]
    entries = []
    for row in with_people(rows, participants, block_size):
        number = row.pop("number")
        path = images.get(number, folder / "images" / f"{number:04d}.png")
        try:
            path = inside(root, path, field="path")
            mask = inside(root, masks / path.name, field="mask")
        except ConfigError as error:
            findings.append(Finding.of_file(str(row["scan_id"]), shown(root, path), error))
            continue
        entries.append(entry_of(PictureFile(path, mask if mask.is_file() else None, {}), row))
    return entries, findings


def _numbered(paths: Iterable[Path]) -> dict[int, Path]:
    """Return the files that are named by a number, by that number."""
    found: dict[int, Path] = {}
    for path in paths:
        if not path.stem.isdecimal():
            continue
        other = found.setdefault(int(path.stem), path)
        if other != path:
            raise IntakeError(
                f"it has the number of {other.parent.name}/{other.name}.",
                file=f"{path.parent.name}/{path.name}",
                field="index",
                remedy="keep one of them.",
            )
    return found


def _labels(path: Path) -> dict[int, str]:
    """Return number of a file -> label as it is written in labels.csv."""
    found: dict[int, str] = {}
    for line, row in enumerate(read_listing(path, ("index", "label")).to_dict("records"), start=2):
        index, label = text_of(row["index"]), text_of(row["label"])
        problem, field = (
            (f"'{index}' in line {line} is no number of a file", "index")
            if not index.isdecimal()
            else (f"the number {int(index)} comes again in line {line}", "index")
            if int(index) in found
            else (f"there is no label in line {line}", "label")
            if not label
            else ("", "")
        )
        if problem:
            raise IntakeError(
                f"{problem}.",
                file=path.name,
                field=field,
                remedy="give every image one line with its number and label.",
            )
        found[int(index)] = label
    return found


def _outline(path: Path) -> Outline:
    """Return rows and columns of an original file after checking that its image can be read."""
    import h5py

    with _opened(path) as file:
        image = file.get(f"{GROUP}/image")
        if not isinstance(image, h5py.Dataset) or image.ndim != 2 or image.dtype.kind not in "iuf":
            raise _damaged(path, "there is no image of rows and columns", f"{GROUP}.image")
        require_size(image.shape[1], image.shape[0], path)
        return Outline((int(image.shape[1]), int(image.shape[0])))


def _fields(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return fields of an original file as MATLAB stored them (axes reversed)."""
    import h5py

    found = {}
    with _opened(path) as file:
        for name in names:
            field = file.get(f"{GROUP}/{name}")
            if not isinstance(field, h5py.Dataset) or field.ndim != 2:
                raise _damaged(path, f"there is no field '{name}' of rows and columns", f"{GROUP}.{name}")
            require_size(field.shape[1], field.shape[0], path)
            try:
                found[name] = field[:]
            except OSError as error:
                raise _damaged(path, f"'{name}' cannot be decoded", f"{GROUP}.{name}") from error
    return found


def _opened(path: Path) -> Any:
    import h5py

    require_file(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, "this is no MATLAB file of version 7.3, or not all of one", "file") from error


def _damaged(path: Path, problem: str, field: str) -> IntakeError:
    return IntakeError(f"{problem}.", file=path.name, field=field, remedy="copy it again from its origin.")


def _text(codes: np.ndarray) -> str:
    """Return a MATLAB string, which is an array of character codes."""
    return "".join(chr(int(code)) for code in codes.ravel() if int(code)).strip()


def _class(label: np.ndarray, path: Path) -> str:
    value = label.ravel()
    if value.size != 1 or float(value[0]) not in (1, 2, 3):
        raise _damaged(path, f"the label {value.tolist()[:3]} is none of 1, 2, 3", f"{GROUP}.label")
    return CLASSES[int(value[0]) - 1]


def _name(label: str) -> str:
    """Return the class of a label of labels.csv; another one stays for the gate to refuse."""
    return {str(number): name for number, name in enumerate(CLASSES, start=1)}.get(label, label)


def _published_folds(folder: Path) -> list[int]:
    """Return the authors' fold of each file in the order of their numbers, empty without cvind.mat."""
    path = next(iter(visible(folder, f"**/{FOLDS_FILE}")), None)
    if path is None:
        return []
    import h5py
    from scipy.io import loadmat

    contents: Mapping[str, Any]
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            contents = {name: file[name][:] for name in file if isinstance(file[name], h5py.Dataset)}
    else:
        try:
            contents = loadmat(path)
        except (ValueError, TypeError, OSError, NotImplementedError) as error:
            raise _damaged(path, "the folds cannot be read", FOLDS_FILE) from error
    if "cvind" not in contents:
        raise _damaged(path, "there is no variable 'cvind'", FOLDS_FILE)
    return [int(value) for value in np.asarray(contents["cvind"]).ravel()]
