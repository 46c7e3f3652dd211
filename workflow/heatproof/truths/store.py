"""A truth: a map of strength, a mask, and where both come from; written as HDF5 and, for volumes, NIfTI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.errors import TruthError
from heatproof.files import atomic, sha256_of_array, write_nifti
from heatproof.geometry import Grid

if TYPE_CHECKING:
    import pandas as pd

STUDY_COLUMNS = (
    "study_id",
    "experiments",
    "title",
    "space",
    "n_subjects",
    "n_foci",
    "n_outside_mask",
    "cohort",
    "status",
    "reason",
    "file",
)


@dataclass(frozen=True)
class Context:
    """What a source may know about the cohort, and nothing else.

    Attributes
    ----------
    grid : Grid
        Grid of the cohort; the truth comes back on it.
    mask : ndarray of bool, shape (*space,)
        The brain (or the whole image).
    seed : int
        Root seed of the study.
    name : str
        Name of the truth in the configuration; keys its random numbers.
    resolve : callable
        (path from the configuration, field) to a readable Path inside the data root.
    patient_truths : callable
        Yields the exact effect or the lesion in each patient's scan, shape (*space,); nothing where none is known.
    atlas : ndarray of int, shape (*space,), optional
        The cohort's own common areas.
    label_names : mapping of int to str
        Their names.
    cohorts : tuple of str
        Names under which the training data may appear in a meta-analysis (``ADNI``, ``OASIS``).
    outputs : tuple of str
        Numbers of the participants that a network may predict.
    output_truths : callable
        Yields the signed truth of an output in each scan, shape (channels, *space), or each scan's log-Jacobian
        (`heatproof.cohorts.store.LOG_JACOBIAN`), shape (*space,); nothing where none is known.
    truth_kind : str
        ``counterfactual``, ``waves``, or empty where no output has a truth.
    n_cores : int
        Threads that the job may use; never changes a result.
    """

    grid: Grid
    mask: np.ndarray
    seed: int
    name: str
    resolve: Callable[[str, str], Path]
    patient_truths: Callable[[], Iterator[np.ndarray]] = lambda: iter(())
    atlas: np.ndarray | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    cohorts: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    output_truths: Callable[[str], Iterator[np.ndarray]] = lambda output: iter(())
    truth_kind: str = ""
    n_cores: int = 1


@dataclass
class Truth:
    """A truth on one grid.

    Attributes
    ----------
    values : ndarray, shape (*space,), float32
        Strength; 0 outside.
    mask : ndarray of bool, shape (*space,)
        Where the signal is.
    source : str
        ``injected``, ``contraction``, ``lesions``, ``counterfactual``, ``waves``, ``meta_analysis``,
        ``literature``, ``atlas`` or ``mask``.
    description : str
        One or more sentences for the methods text.
    studies : DataFrame, optional
        Studies of a meta-analysis, with `STUDY_COLUMNS`.
    foci : str
        The foci that were used, as Sleuth text in MNI space; empty for other sources.
    facts : dict
        Numbers for the report (number of foci, threshold, ...).
    by_output : dict of str to (ndarray, ndarray of bool)
        Strength and mask of each output, where networks predict different numbers; shapes as `values`.
    """

    values: np.ndarray
    mask: np.ndarray
    source: str
    description: str
    studies: pd.DataFrame | None = None
    foci: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    by_output: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = np.asarray(self.values, dtype=np.float32)
        self.mask = np.asarray(self.mask, dtype=bool)
        if self.values.shape != self.mask.shape:
            raise TruthError(
                f"the map has shape {self.values.shape} but its mask {self.mask.shape}.", field=self.source
            )
        if not np.isfinite(self.values).all():
            raise TruthError(
                "the map has values that are not finite.",
                field=self.source,
                remedy="replace NaN and infinity in the source.",
            )
        if not self.mask.any():
            raise TruthError(
                "the truth is empty on the cohort's grid: no voxel is inside its mask.",
                field=self.source,
                remedy="check the grid, the threshold and the space of the source.",
            )


def context_hash(spec: Mapping[str, Any], context: Context) -> str:
    """Return a SHA-256 of everything that the truth depends on apart from the files it reads.

    Parameters
    ----------
    spec : mapping
        The truth's entry of the configuration.
    context : Context
        Grid, mask, seed and name enter; the number of cores does not.
    """
    affine = context.grid.affine
    parts = {
        "spec": dict(spec),
        "shape": context.grid.shape,
        "affine": None if affine is None else np.round(affine, 6).tolist(),
        "mask": sha256_of_array(context.mask),
        "seed": context.seed,
        "name": context.name,
        "cohorts": context.cohorts,
        "outputs": context.outputs,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def write_truth(truth: Truth, grid: Grid, path: str | Path, nifti: str | Path | None = None, context: str = "") -> None:
    """Write a truth.

    Parameters
    ----------
    truth : Truth
        What to write.
    grid : Grid
        The cohort's grid.
    path : str or Path
        HDF5: datasets ``map`` (float32) and ``mask`` (bool), the same in ``outputs/{output}`` where outputs have
        truths of their own, attributes ``source``, ``description``, ``facts`` (JSON), ``context_hash`` and, for
        volumes, ``affine``.
    nifti : str or Path, optional
        The map as ``.nii.gz``; an empty file where the grid is no volume, so that whoever waits for it goes on.
    context : str
        Result of `context_hash`.
    """
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        _write_maps(file, truth.values, truth.mask)
        for output, (strength, mask) in truth.by_output.items():
            _write_maps(file.create_group(f"outputs/{output}"), strength.astype(np.float32), mask)
        file.attrs["source"] = truth.source
        file.attrs["description"] = truth.description
        file.attrs["facts"] = json.dumps(truth.facts, sort_keys=True)
        file.attrs["context_hash"] = context
        if grid.affine is not None:
            file.attrs["affine"] = grid.affine
    if nifti is not None and grid.affine is not None:
        write_nifti(truth.values, grid.affine, nifti)
    elif nifti is not None:
        with atomic(nifti) as temporary:
            temporary.touch()


def _write_maps(group: h5py.Group, strength: np.ndarray, mask: np.ndarray) -> None:
    group.create_dataset("map", data=strength, compression="gzip")
    group.create_dataset("mask", data=mask, compression="gzip")


def read_truth(path: str | Path) -> Truth:
    """Read what `write_truth` wrote (without studies and foci, which have files of their own).

    Raises
    ------
    TruthError
        If the file is not a truth.
    """
    with h5py.File(Path(path), "r") as file:
        if "map" not in file or "mask" not in file:
            raise TruthError("the file has no datasets 'map' and 'mask'.", file=path, remedy="run rule 'truth' again.")
        return Truth(
            file["map"][:],
            file["mask"][:],
            str(file.attrs["source"]),
            str(file.attrs["description"]),
            facts=json.loads(file.attrs["facts"]),
            by_output={name: (one["map"][:], one["mask"][:]) for name, one in file.get("outputs", {}).items()},
        )
