"""Single scans with the maps of every method, kept for the gallery of a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.files import atomic
from heatproof.stages.probing import explained_scans


def write_examples(
    cohort: Cohort,
    files: Mapping[str, h5py.File],
    predicted: Mapping[str, int],
    n_per_class: int,
    path: Path,
    output: str = "",
) -> None:
    """Write the maps of the first scans of every class; right ones first, then wrong ones.

    Parameters
    ----------
    cohort : Cohort
        Images and truths.
    files : mapping of str to h5py.File
        Open maps files by method; all with the same scans.
    predicted : mapping of str to int
        Class that the network gives each scan.
    n_per_class : int
        Scans of each class; 0 writes an empty file.
    path : Path
        One group per scan: ``image`` (*space,), optionally ``truth``, and ``maps/{method}`` (*space,) in float32;
        attributes diagnosis and predicted (names of classes). Where channels are places all are (channels, *space), the
        truth has its sign, and ``labels`` has the areas of the scan, if it has any.
    output : str
        The number that the network estimates, whose truth is kept; empty for a classifier.
    """
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        if not n_per_class or not files:
            return
        scan_ids, _ = explained_scans(next(iter(files.values())))
        for label, name in enumerate(cohort.classes):
            own = [p for p, s in enumerate(scan_ids) if cohort.participants.loc[s, "target"] == label]
            own.sort(key=lambda p: predicted[scan_ids[p]] != label)
            for position in own[:n_per_class]:
                scan_id = scan_ids[position]
                # By number: an identifier may hold a slash, which would be a group inside a group.
                entry = file.create_group(f"{len(file):04d}")
                entry.attrs["scan_id"] = scan_id
                entry.attrs["diagnosis"], entry.attrs["predicted"] = name, cohort.classes[predicted[scan_id]]
                image = cohort.scan(scan_id)
                _keep(entry, "image", image if cohort.channel_names else image.mean(axis=0))
                truth = cohort.known_truth(scan_id, output)
                if truth is not None:
                    signed = cohort.truth(scan_id, output) if cohort.channel_names else None
                    _keep(entry, "truth", truth if signed is None else signed)
                labels = cohort.labels(scan_id) if cohort.channel_names else None
                if labels is not None:
                    _keep(entry, "labels", labels)
                for method, maps in files.items():
                    _keep(entry, f"maps/{method}", cohort.places(maps["maps"][position]))


def _keep(entry: h5py.Group, name: str, values: np.ndarray) -> None:
    entry.create_dataset(name, data=values.astype(np.float32), compression="gzip")
