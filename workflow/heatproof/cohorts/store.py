"""The cohort store: one HDF5 file with every scan on one grid, and a participants table beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.errors import IntakeError
from heatproof.files import atomic, read_table, sha256_of_array, write_table
from heatproof.geometry import Grid

if TYPE_CHECKING:
    import pandas as pd

LEADING_COLUMNS = ("scan_id", "participant_id", "diagnosis", "target", "age", "sex")


@dataclass
class RawScan:
    """What a source delivers for one scan, before the gate has looked at it.

    Attributes
    ----------
    values : ndarray, shape (channels, *space)
        Intensities.
    grid : Grid
        Where they lie.
    truth : ndarray, shape (*space,), optional
        Exact strength of the injected effect, zero where there is none.
    labels : ndarray of int, shape (*space,), optional
        The scan's own areas.
    volumes : mapping of int to float, optional
        Volume of each area in mm3, where it is known more exactly than by counting voxels.
    """

    values: np.ndarray
    grid: Grid
    truth: np.ndarray | None = None
    labels: np.ndarray | None = None
    volumes: Mapping[int, float] | None = None


@dataclass
class Record:
    """One row of a source: who it is, which file it is, and how to read it."""

    row: dict[str, Any]
    load: Callable[[], RawScan]
    file: str = ""


@dataclass
class Source:
    """A cohort before it is stored.

    Attributes
    ----------
    grid : Grid
        The grid that every scan must have (or, for `resample`, is brought to).
    records : iterable of Record
        The scans; may be read more than once.
    classes : tuple of str
        Diagnoses in the order of their target index: control first, where there is one.
    has_controls : bool
        Whether the first class is a control; without one every class is a disease.
    mask : ndarray of bool, shape (*space,)
        The brain (or the whole image). Never fitted to the scans.
    template : ndarray, shape (*space,), optional
        Background for figures.
    atlas : ndarray of int, shape (*space,), optional
        Common areas; scans with labels of their own use those.
    label_names : dict of int to str
        Names of the areas.
    resample : bool
        Whether scans on another grid are brought to `grid` through their affine instead of refused.
    description : dict
        Free facts for the report (source, seed, citation).
    """

    grid: Grid
    records: Iterable[Record]
    classes: tuple[str, ...] = ("HC", "AD")
    has_controls: bool = True
    mask: np.ndarray | None = None
    template: np.ndarray | None = None
    atlas: np.ndarray | None = None
    label_names: dict[int, str] = field(default_factory=dict)
    resample: bool = False
    description: dict[str, Any] = field(default_factory=dict)


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
        for name, values, kind in (("truths", scan.truth, np.float32), ("labels", scan.labels, np.int32)):
            if values is not None:
                if name not in self._file:
                    self._create(name, self._source.grid.shape, kind)
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
        for name in ("truths", "labels"):
            if name in self._file:
                self._file[name].resize(len(self._rows), axis=0)
        ids = [row["scan_id"] for row in self._rows]
        self._file.create_dataset("scan_ids", data=np.array(ids, dtype=object), dtype=h5py.string_dtype())
        frame = pd.DataFrame(self._rows)
        leading = [name for name in LEADING_COLUMNS if name in frame.columns]
        rest = [name for name in frame.columns if name not in leading]
        write_table(frame[leading + rest], self._participants)


@dataclass(frozen=True)
class CohortFacts:
    """What a stored cohort says about itself.

    Attributes
    ----------
    grid : Grid
        Of every scan.
    classes : tuple of str
        Diagnoses by their target number.
    has_controls : bool
        Whether the first class is a control.
    description : dict
        Free facts for the report.
    """

    grid: Grid
    classes: tuple[str, ...]
    has_controls: bool
    description: dict[str, Any]

    @classmethod
    def of(cls, file: h5py.File) -> CohortFacts:
        """Return the facts of an open file, without reading a scan."""
        attributes = file.attrs
        spacing = tuple(float(step) for step in attributes["spacing"])
        return cls(
            Grid(file["mask"].shape, attributes.get("affine"), spacing, str(attributes["units"])),
            tuple(str(name) for name in attributes["classes"]),
            bool(attributes.get("has_controls", True)),
            json.loads(attributes["description"]),
        )

    @classmethod
    def read(cls, path: str | Path) -> CohortFacts:
        """Return the facts of a file on disk."""
        with h5py.File(path, "r") as file:
            return cls.of(file)


class Cohort:
    """A stored cohort, read scan by scan.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.
    participants : str or Path, optional
        The table; ``participants.tsv`` beside the file by default.
    """

    def __init__(self, path: str | Path, participants: str | Path | None = None) -> None:
        self.path = Path(path)
        self._file = h5py.File(self.path, "r")
        attributes = self._file.attrs
        self.scan_ids: list[str] = [value.decode() for value in self._file["scan_ids"][:]]
        self._index = {scan_id: position for position, scan_id in enumerate(self.scan_ids)}
        facts = CohortFacts.of(self._file)
        self.grid, self.classes, self.has_controls = facts.grid, facts.classes, facts.has_controls
        self.description = facts.description
        self.channels = int(self._file["scans"].shape[1])
        self.patient_class = self.classes[-1]
        self.label_names = {int(k): str(v) for k, v in json.loads(attributes["label_names"]).items()}
        self.mask: np.ndarray = self._file["mask"][:]
        table = read_table(participants or self.path.with_name("participants.tsv"), ("scan_id", "participant_id"))
        self.participants: pd.DataFrame = table.set_index("scan_id", drop=False).loc[self.scan_ids]

    def __enter__(self) -> Cohort:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.scan_ids)

    @property
    def template(self) -> np.ndarray | None:
        """Background for figures, shape (*space,)."""
        return self._file["template"][:] if "template" in self._file else None

    @property
    def atlas(self) -> np.ndarray | None:
        """Common areas, integers, shape (*space,)."""
        return self._file["atlas"][:] if "atlas" in self._file else None

    def scan(self, scan_id: str) -> np.ndarray:
        """Return one scan, shape (channels, *space), float32."""
        return self._file["scans"][self._position(scan_id)]

    def scans(self, scan_ids: Iterable[str]) -> np.ndarray:
        """Return several scans in the order asked for, shape (n, channels, *space)."""
        return np.stack([self.scan(scan_id) for scan_id in scan_ids])

    def iterate(self, scan_ids: Iterable[str] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (scan id, scan) one at a time, so that memory does not grow with the cohort."""
        for scan_id in self.scan_ids if scan_ids is None else scan_ids:
            yield scan_id, self.scan(scan_id)

    def truth(self, scan_id: str) -> np.ndarray | None:
        """Return the exact effect in one scan, shape (*space,), or None where no effect is known."""
        return self._row("truths", scan_id)

    def known_truth(self, scan_id: str) -> np.ndarray | None:
        """Return how strong the effect is in one scan, shape (*space,), or None where it has none that is known."""
        truth = self.truth(scan_id)
        return np.abs(truth) if truth is not None and truth.any() else None

    def labels(self, scan_id: str) -> np.ndarray | None:
        """Return the areas of one scan: its own, else the common atlas, else None."""
        own = self._row("labels", scan_id)
        return self.atlas if own is None else own

    def _row(self, name: str, scan_id: str) -> np.ndarray | None:
        position = self._position(scan_id)
        return self._file[name][position] if name in self._file else None

    def _position(self, scan_id: str) -> int:
        if scan_id not in self._index:
            raise IntakeError("the scan is not in the cohort.", file=self.path, field=scan_id)
        return self._index[scan_id]
