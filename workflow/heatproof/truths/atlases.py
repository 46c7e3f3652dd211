"""Truths made of named areas, and the anatomical prior that needs no image and no network."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.errors import ConfigError, GeometryError, TruthError
from heatproof.geometry import Grid
from heatproof.truths.store import Context, Truth
from heatproof.truths.volumes import onto, read_volume, whole_numbers

# Centres of mass of hippocampus and amygdala, left and right, in mm of MNI152: measured on the Harvard-Oxford
# subcortical atlas (maximum probability, 25 %, 1 mm; Desikan et al. 2006, NeuroImage 31:968), rounded.
PRIOR_CENTRES_MM = ((-25.0, -22.0, -14.0), (26.0, -21.0, -14.0), (-23.0, -5.0, -18.0), (23.0, -4.0, -18.0))
PRIOR_FWHM_MM = 16.0
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
EMBEDDED = "embedded"


def anatomical_prior(
    grid: Grid, centres_mm: Sequence[Sequence[float]] = PRIOR_CENTRES_MM, fwhm_mm: float = PRIOR_FWHM_MM
) -> np.ndarray:
    """Return fixed Gaussian blobs: what anyone would guess about Alzheimer's disease without looking.

    Parameters
    ----------
    grid : Grid
        A volume in MNI space.
    centres_mm : sequence of (x, y, z)
        Centres in mm.
    fwhm_mm : float
        Full width at half maximum of every blob, in mm.

    Returns
    -------
    ndarray, shape grid.shape, float32
        Maximum over the blobs, 1 at a centre.

    Raises
    ------
    GeometryError
        If the grid has no world coordinates.
    """
    if grid.affine is None:
        raise GeometryError(
            "the anatomical prior lies in millimetres of MNI space, and the grid has none.",
            field="anatomical_prior",
            remedy="use this control with volumes only.",
        )
    world = grid.coordinates()
    nearest = np.full(grid.shape, np.inf)
    for centre in centres_mm:
        nearest = np.minimum(nearest, ((world - np.asarray(centre, dtype=np.float64)) ** 2).sum(axis=-1))
    return np.exp(-nearest / (2 * (fwhm_mm / FWHM_PER_SIGMA) ** 2)).astype(np.float32)


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of an ``atlas`` entry: 1 inside the named areas, 0 elsewhere.

    Parameters
    ----------
    spec : mapping
        ``labels`` (label volume, or ``embedded`` for the cohort's own atlas), ``names`` (table index,
        name) and ``areas``: names, indices, or patterns such as ``*hippocampus*`` (upper and lower case are
        the same).
    context : Context
        The cohort's grid and atlas.

    Raises
    ------
    ConfigError
        If an area does not exist; the remedy lists close names.
    GeometryError
        If the label volume cannot be brought to the cohort's grid.
    TruthError
        If a label is no whole number, or there is no atlas.
    """
    field = f"truths.{context.name}"
    if spec.get("labels", EMBEDDED) == EMBEDDED:
        if context.atlas is None:
            raise TruthError("the cohort has no common atlas.", field=f"{field}.labels", remedy="give a label volume.")
        labels, names, file = context.atlas, dict(context.label_names), "the cohort's atlas"
    else:
        path = context.resolve(str(spec["labels"]), f"{field}.labels")
        values, source = read_volume(path, f"{field}.labels")
        whole = whole_numbers(values)
        if whole is None:
            raise TruthError(
                "labels must be whole numbers; this looks like a map of probabilities.",
                file=path,
                field=f"{field}.labels",
                remedy="give the label volume of the atlas (its maximum-probability version).",
            )
        names = read_names(context.resolve(str(spec["names"]), f"{field}.names")) if spec.get("names") else {}
        labels = onto(whole, source, context.grid, order=0, file=path, field=f"{field}.labels")
        names = names or {int(index): str(int(index)) for index in np.unique(whole) if index}
        file = path.name
    chosen = choose_areas(spec["areas"], names, f"{field}.areas")
    present = set(np.unique(labels).tolist())
    lost = [names.get(index, str(index)) for index in chosen if index not in present]
    mask = np.isin(labels, chosen)
    listed = ", ".join(names.get(index, str(index)) for index in chosen)
    return Truth(
        mask.astype(np.float32),
        mask,
        "atlas",
        f"The areas {listed} of {file}, matched through the affine by nearest neighbour.",
        facts={"areas": [names.get(index, str(index)) for index in chosen], "lost_areas": lost},
    )


def choose_areas(areas: Sequence[str | int], names: Mapping[int, str], field: str) -> list[int]:
    """Return the label numbers of areas given by name, pattern or number, sorted.

    Raises
    ------
    ConfigError
        If one matches nothing; the remedy lists the closest names.
    """
    chosen: set[int] = set()
    lowered = {index: name.lower() for index, name in names.items()}
    for area in areas:
        wanted = str(area).strip().lower()
        matches = {index for index, name in lowered.items() if fnmatchcase(name, wanted)}
        if not matches and wanted.isdigit() and int(wanted) in names:
            matches = {int(wanted)}
        if not matches:
            close = difflib.get_close_matches(wanted, list(lowered.values()), n=5, cutoff=0.4)
            listed = ", ".join(name for name in names.values() if name.lower() in close) or "none is close"
            raise ConfigError(
                f"the area '{area}' is not in the atlas.",
                field=field,
                remedy=f"use one of its names ({listed}).",
            )
        chosen |= matches
    return sorted(chosen)


def read_names(path: str | Path) -> dict[int, str]:
    """Return the areas of a table ``index<TAB>name`` (or with commas; with or without a header).

    Raises
    ------
    TruthError
        If a line after the first has no whole number in its first column, or an index occurs twice.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8-sig").splitlines()
    separator = "\t" if any("\t" in line for line in text[:2]) else ","
    names: dict[int, str] = {}
    for number, row in enumerate(csv.reader(text, delimiter=separator), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[0].isdigit():
            if number == 1:
                continue
            raise TruthError(
                f"'{separator.join(cells)}' is not an index and a name.",
                file=path,
                field=f"line {number}",
                remedy="write 'index<TAB>name'.",
            )
        if int(cells[0]) in names:
            raise TruthError(
                f"the index {cells[0]} occurs twice.",
                file=path,
                field=f"line {number}",
                remedy="keep one line.",
            )
        names[int(cells[0])] = cells[1]
    return names
