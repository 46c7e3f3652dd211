"""What the scans of a file source share: grid, template, mask and atlas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.alignment import is_bare, reordering
from heatproof.cohorts.folders import inside
from heatproof.cohorts.images import read_header, read_labels, read_values
from heatproof.errors import ConfigError, HeatproofError, IntakeError
from heatproof.geometry import Grid, resample

RESOLUTION_MM = 2


def open_grid(
    spec: Mapping[str, Any], root: Path, paths: Iterable[Path], affine: str
) -> tuple[Grid, np.ndarray | None]:
    """Return the grid of the cohort and a background image on it.

    Parameters
    ----------
    spec : mapping
        ``grid``: ``first`` (that of the first image whose header can be read), ``mni152`` (nilearn's template
        at ``resolution_mm``) or the path of a NIfTI volume.
    root : Path
        Data root.
    paths : iterable of Path
        The images of the cohort, in order.
    affine : str
        Which affine of an image counts.

    Raises
    ------
    IntakeError
        If the grid is that of the first image and none can be read.
    """
    choice = str(spec.get("grid", "first"))
    if choice == "mni152":
        return _mni152(int(spec.get("resolution_mm", RESOLUTION_MM)))
    if choice != "first":
        header = read_header(inside(root, choice, field="cohort.grid"), affine)
        return header.grid, np.nan_to_num(read_values(header))
    problem: HeatproofError | None = None
    for path in paths:
        try:
            grid = read_header(path, affine).grid
        except HeatproofError as error:
            problem = problem or error
            continue
        return grid, None if is_bare(grid) else _mni152_on(grid)
    raise IntakeError(
        f"no image can be read, so there is no grid ({problem.problem if problem else 'none is listed'}).",
        file=problem.file if problem else None,
        field="cohort.grid",
        remedy="check folder, pattern and diagnosis of the cohort, or mend the files.",
    )


def open_mask(choice: str, root: Path, grid: Grid) -> np.ndarray | None:
    """Return the brain mask on the grid, shape grid.shape, or None for the whole image.

    Parameters
    ----------
    choice : str
        ``template`` (nilearn's MNI152 brain), ``none``, or the path of a NIfTI volume.
    root : Path
        Data root.
    grid : Grid
        Grid of the cohort.

    Raises
    ------
    ConfigError
        If the mask is empty on the grid, or the grid does not say where it lies.
    """
    if choice == "none":
        return None
    if choice == "template":
        if is_bare(grid):
            raise ConfigError(
                "the grid has an identity affine, so the template's mask cannot be laid on it.",
                field="cohort.mask",
                remedy="give a mask of your own, or mask: none.",
            )
        from nilearn.datasets import load_mni152_brain_mask

        image = load_mni152_brain_mask(resolution=1)
        values, source = np.asarray(image.dataobj, dtype=np.int16), Grid(image.shape, image.affine)
    else:
        header = read_header(inside(root, choice, field="cohort.mask"))
        values, source = read_labels(header), header.grid
    mask = on_grid(values, source, grid) > 0
    if not mask.any():
        raise ConfigError(
            "the mask is empty on the cohort's grid.",
            field="cohort.mask",
            remedy="give a mask in the same space as the scans.",
        )
    return mask


def open_atlas(spec: Mapping[str, Any] | None, root: Path, grid: Grid) -> tuple[np.ndarray | None, dict[int, str]]:
    """Return the common areas on the grid, shape grid.shape, and their names.

    Parameters
    ----------
    spec : mapping, optional
        ``path`` of a label volume and ``names``, a table of index and name. Without a path only the names
        are used, for scans with labels of their own.
    root : Path
        Data root.
    grid : Grid
        Grid of the cohort. An area that no voxel of it falls into keeps its name.
    """
    if not spec:
        return None, {}
    names = read_label_names(inside(root, spec["names"], field="cohort.atlas.names")) if spec.get("names") else {}
    if not spec.get("path"):
        return None, names
    header = read_header(inside(root, spec["path"], field="cohort.atlas.path"))
    labels = read_labels(header)
    for area in np.unique(labels[labels != 0]).tolist():
        names.setdefault(area, str(area))
    return on_grid(labels, header.grid, grid), dict(sorted(names.items()))


def read_label_names(path: Path) -> dict[int, str]:
    """Return index -> name of a table whose first two columns are index and name (tab or comma).

    Raises
    ------
    ConfigError
        If a line has no whole number and name, or an index appears twice.
    """
    if not path.is_file():
        raise ConfigError("the table does not exist.", file=path.name, field="cohort.atlas.names")
    names: dict[int, str] = {}
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines):
        cells = [cell.strip().strip('"') for cell in re.split("\t" if "\t" in line else ",", line)]
        if not line.strip() or line.startswith("#") or (number == 0 and not cells[0].isdigit()):
            continue
        if len(cells) < 2 or not cells[0].isdigit() or not cells[1] or int(cells[0]) in names:
            raise ConfigError(
                f"line {number + 1} is not a new whole number and a name: '{line}'.",
                file=path.name,
                field="cohort.atlas.names",
                remedy="write index, tab, name on every line.",
            )
        names[int(cells[0])] = cells[1]
    names.pop(0, None)
    return names


def on_grid(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Return integers on another grid, reordered where that is exact, else by nearest neighbour."""
    exact = reordering(source, target)
    return exact.apply(labels) if exact is not None else resample(labels, source, target, order=0)


def _mni152(resolution_mm: int) -> tuple[Grid, np.ndarray]:
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=resolution_mm)
    return Grid(image.shape, image.affine), np.clip(np.asarray(image.dataobj, dtype=np.float32), 0, 1)


def _mni152_on(grid: Grid) -> np.ndarray | None:
    """Return the template on a grid, or None where the grid does not meet it."""
    fine, values = _mni152(1)
    moved = resample(values, fine, grid, order=1)
    return moved if moved.any() else None
