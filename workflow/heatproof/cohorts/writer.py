"""Writing a cohort store scan by scan; `store` reads it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from heatproof.cohorts.store import RawScan, Source
from heatproof.errors import IntakeError
from heatproof.files import atomic, sha256_of_array, write_table

LEADING_COLUMNS = ("scan_id", "participant_id", "diagnosis", "target", "age", "sex")


class CohortWriter:
    """Write a cohort scan by scan; nothing is visible before `close`.

    Parameters
    ----------
    path : Path
        The HDF5 file.
    participants : Path
        The table.
    source : Source
        Grid, classes, mask, template, atlas and names are taken from it.
    channels : int
        Channels of every scan.
    """

    def __init__(self, path: str | Path, participants: str | Path, source: Source, channels: int = 1) -> None:
        self._participants = Path(participants)
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic(path))
        self._file = self._stack.enter_context(h5py.File(temporary, "w"))
        self._rows: list[dict[str, Any]] = []
        self._source = source
        space = source.grid.shape
        self._places = (channels, *space) if source.channel_names else space
        self._create("scans", (channels, *space), np.float32)
        for name, values, kind in (
            ("mask", np.ones(space, bool) if source.mask is None else source.mask, bool),
            ("template", source.template, np.float32),
            ("atlas", source.atlas, np.int32),
        ):
            if values is not None:
                self._file.create_dataset(name, data=np.asarray(values).astype(kind), compression="gzip")
        attributes = self._file.attrs
        attributes["spacing"] = source.grid.spacing
        attributes["units"] = source.grid.units
        if source.grid.affine is not None:
            attributes["affine"] = source.grid.affine
        attributes["classes"] = list(source.classes)
        attributes["has_controls"] = source.has_controls
        attributes["label_names"] = json.dumps({str(k): v for k, v in source.label_names.items()})
        attributes["channel_names"] = np.array(source.channel_names, dtype=h5py.string_dtype())
        attributes["outputs"] = json.dumps(source.outputs)
        attributes["description"] = json.dumps(source.description, sort_keys=True, default=str)

    def __enter__(self) -> CohortWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        with self._stack:
            if kind is None:
                self._finish()
            else:
                # Lets the stack see the error, so that the half-written file is removed.
                raise error if error is not None else kind()

    def add(self, row: dict[str, Any], scan: RawScan) -> None:
        """Append one scan that has passed the gate; `row` holds its line of the participants table."""
        index = len(self._rows)
        self._append("scans", index, scan.values.astype(np.float32))
        of_outputs = {f"output_truths/{name}": values for name, values in (scan.truths or {}).items()}
        floats = {"truths": scan.truth, **of_outputs}
        for name, values in {**floats, "labels": scan.labels}.items():
            if values is not None:
                kind = np.int32 if name == "labels" else np.float32
                if name not in self._file:
                    self._create(name, self._places, kind)
                self._append(name, index, values.astype(kind))
        self._rows.append({**row, "image_sha256": sha256_of_array(scan.values.astype(np.float32))})

    def _create(self, name: str, shape: tuple[int, ...], kind: Any) -> None:
        # One chunk per scan: a batch reads exactly the bytes it needs, however large the cohort.
        packed = None if name == "scans" else "gzip"
        self._file.create_dataset(
            name, (0, *shape), kind, maxshape=(None, *shape), chunks=(1, *shape), compression=packed
        )

    def _append(self, name: str, index: int, values: np.ndarray) -> None:
        dataset = self._file[name]
        dataset.resize(index + 1, axis=0)
        dataset[index] = values

    def _finish(self) -> None:
        import pandas as pd

        if not self._rows:
            raise IntakeError(
                "no scan is left after intake.",
                file=self._participants,
                remedy="read intake.tsv for the reasons.",
            )
        of_outputs = [f"output_truths/{name}" for name in self._file.get("output_truths", ())]
        for name in ("truths", "labels", *of_outputs):
            if name in self._file:
                self._file[name].resize(len(self._rows), axis=0)
        ids = [row["scan_id"] for row in self._rows]
        self._file.create_dataset("scan_ids", data=np.array(ids, dtype=object), dtype=h5py.string_dtype())
        frame = pd.DataFrame(self._rows)
        leading = [name for name in LEADING_COLUMNS if name in frame.columns]
        rest = [name for name in frame.columns if name not in leading]
        write_table(frame[leading + rest], self._participants)
