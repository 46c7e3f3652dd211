"""The file ``maps.h5`` of one method and run: maps in the order of their scans, and what they show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.attribution import Attribution
from heatproof.cohorts.store import Cohort
from heatproof.models.weights import LoadedModel

if TYPE_CHECKING:
    from heatproof.stages.attribute import AttributionJob


def append_maps(file: h5py.File, start: int, n_scans: int, result: Attribution) -> None:
    """Write the maps of a batch, and how far each is from completeness, at their places among `n_scans`."""
    maps = result.maps.cpu().numpy().astype(np.float32)
    if "maps" not in file:
        file.create_dataset("maps", (n_scans, *maps.shape[1:]), np.float32, chunks=(1, *maps.shape[1:]))
        file.create_dataset("residual", (n_scans,), np.float64)
    file["maps"][start : start + len(maps)] = maps
    file["residual"][start : start + len(maps)] = result.residual.cpu().numpy()


def describe_maps(
    file: h5py.File,
    job: AttributionJob,
    parameters: Mapping[str, Any],
    scan_ids: list[str],
    targets: np.ndarray,
    loaded: LoadedModel,
    cohort: Cohort,
) -> None:
    """Write which scans the maps explain, and by which method of which network."""
    file.create_dataset("scan_ids", data=np.array(scan_ids, dtype=object), dtype=h5py.string_dtype())
    file.create_dataset("target", data=targets)
    file.attrs["method"] = job.entry["method"]
    # The simulator that the method shows; empty for all others.
    file.attrs["simulator"] = job.entry.get("simulator", "")
    file.attrs["parameters"] = json.dumps({**parameters, "target": job.entry.get("target", "patient")}, sort_keys=True)
    file.attrs["seed"] = job.study_seed
    file.attrs["model_sha256"] = loaded.sha256
    file.attrs["output"] = str(loaded.metadata.get("output", ""))
    file.attrs["precision"] = job.precision
    file.attrs["n_background"] = job.n_background
    if cohort.grid.affine is not None:
        file.attrs["affine"] = cohort.grid.affine
