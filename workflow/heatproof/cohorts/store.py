"""The cohort store: one HDF5 file with every scan on one grid, and a participants table beside it (see `writer`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.errors import IntakeError
from heatproof.files import read_table
from heatproof.geometry import Grid

if TYPE_CHECKING:
    import pandas as pd

# Key of `RawScan.truths` for the exact log-Jacobian of the warp that takes a patient's effect out of the scan.
LOG_JACOBIAN = "log_jacobian"


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
    truths : mapping of str to ndarray, shape (channels, *space), optional
        For each output of the source the scan's signed exact effect (unit of the scan per unit of the output), or 1
        on what defines the output where only that is known, zero elsewhere. Under `LOG_JACOBIAN`, of the places'
        shape, the log of how much of each voxel's tissue there would be without a patient's effect.
    labels : ndarray of int, shape (*space,) or (channels, *space), optional
        The scan's own areas; channel by channel where the channels are places.
    volumes : mapping of int to float, optional
        Volume of each area in mm3, where it is known more exactly than by counting voxels.
    """

    values: np.ndarray
    grid: Grid
    truth: np.ndarray | None = None
    labels: np.ndarray | None = None
    volumes: Mapping[int, float] | None = None
    truths: Mapping[str, np.ndarray] | None = None


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
    channel_names : tuple of str
        Names of channels that are places of their own, such as the leads of an ECG; empty where they are not.
    outputs : dict of str to str
        Numbers of the participants table that a network may predict, each with its unit.
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
    channel_names: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)


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
    channel_names : tuple of str
        Names of channels that are places of their own (leads); empty where they are not.
    outputs : dict of str to str
        Numbers that a network may predict, each with its unit.
    """

    grid: Grid
    classes: tuple[str, ...]
    has_controls: bool
    description: dict[str, Any]
    channel_names: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, file: h5py.File) -> CohortFacts:
        """Return the facts of an open file, without reading a scan."""
        attributes = file.attrs
        spacing = tuple(float(step) for step in attributes["spacing"])
        names = np.asarray(attributes.get("channel_names", ()), dtype=object)
        return cls(
            Grid(file["mask"].shape, attributes.get("affine"), spacing, str(attributes["units"])),
            tuple(str(name) for name in attributes["classes"]),
            bool(attributes.get("has_controls", True)),
            json.loads(attributes["description"]),
            tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names),
            dict(json.loads(attributes.get("outputs", "{}"))),
        )

    @property
    def places_spacing(self) -> tuple[float, ...]:
        """Step along every axis of what is judged: infinite between channels that are places of their own."""
        return ((float("inf"),) if self.channel_names else ()) + tuple(self.grid.spacing)

    def places_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return where maps are judged, from the mask of the grid: (*space,), or (channels, *space) lead by lead."""
        if not self.channel_names:
            return mask
        return np.broadcast_to(mask, (len(self.channel_names), *mask.shape))

    def places(self, heatmap: np.ndarray) -> np.ndarray:
        """Return one map (C, *space) as it is judged: summed over channels, or (channels, *space) lead by lead.

        The map of a method that has one value for all channels stands for each of them.
        """
        if not self.channel_names:
            return heatmap.sum(axis=0, dtype=np.float32)
        return np.broadcast_to(heatmap, (len(self.channel_names), *heatmap.shape[1:])).astype(np.float32)

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
        self.facts = facts = CohortFacts.of(self._file)
        self.grid, self.classes, self.has_controls = facts.grid, facts.classes, facts.has_controls
        self.description, self.channel_names, self.outputs = facts.description, facts.channel_names, facts.outputs
        self.channels = int(self._file["scans"].shape[1])
        self.patient_class = self.classes[-1]
        self.label_names = {int(k): str(v) for k, v in json.loads(attributes["label_names"]).items()}
        self.mask: np.ndarray = self._file["mask"][:]
        self.places_mask: np.ndarray = facts.places_mask(self.mask)
        self.places_spacing = facts.places_spacing
        self.places = facts.places
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

    def truth(self, scan_id: str, output: str = "") -> np.ndarray | None:
        """Return the signed exact effect in one scan, or None where no effect is known.

        Shape (*space,), or (channels, *space) where the channels are places; with an `output`, the effect of that
        number of the participants table, or the scan's `LOG_JACOBIAN`.
        """
        return self._row(f"output_truths/{output}" if output else "truths", scan_id)

    def known_truth(self, scan_id: str, output: str = "") -> np.ndarray | None:
        """Return how strong the effect is at each place of one scan, or None where it has none that is known."""
        truth = self.truth(scan_id, output)
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
