"""What the stages `probe`, `randomise` and `agree` share: the job, which scans are probed, and rows of their table.

A scan is probed (by `probe` and `randomise`) only if the network gives it the class that is explained: a map of a
class that the network does not see cannot be faithful. (A network that answers with a number has one class.) The choice
depends on the study's seed, the fold and the network, never on a map, so every method is asked about the same scans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError
from heatproof.files import read_table
from heatproof.metrics.aggregation import rectified
from heatproof.randomness import generator

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = ("study", "model", "recipe", "fold", "seed")
PROBE_COLUMNS = (
    *RUN_COLUMNS, "method", "null", "scan_id", "participant_id", "diagnosis", "metric", "setting", "value",
)  # fmt: skip
CURVE_COLUMNS = (*RUN_COLUMNS, "method", "null", "scan_id", "participant_id", "metric", "setting", "x", "y")
SPREAD_COLUMNS = (*RUN_COLUMNS, "metric", "setting", "constant", "spread")
EXCLUSION_COLUMNS = (*RUN_COLUMNS, "scan_id", "participant_id", "metric", "setting", "reason")
# The truth used as a map: what a perfect heatmap would score.
EXACT_TRUTH = "exact_truth"


@dataclass(frozen=True)
class ProbeJob:
    """Which network is probed, with which maps, and how.

    Attributes
    ----------
    study, model, recipe : str
        Names of the study and the model, and the model's recipe.
    fold, seed : int
        Fold and repetition.
    study_seed : int
        Root seed.
    spec : mapping
        What the stage reads of the `probes` section of the configuration.
    methods : mapping of str to mapping
        Entries of the methods that explain the model, by id, for those that are run again.
    rectify : {"abs_before", "signed"}
        Whether maps are ranked by absolute value, as in the scores of single scans.
    attribution : mapping
        The `attribution` section, for methods that are run again.
    keep_examples : bool
        Whether maps are kept for the gallery.
    """

    study: str
    model: str
    recipe: str
    fold: int
    seed: int
    study_seed: int
    spec: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rectify: str = "abs_before"
    attribution: Mapping[str, Any] = field(default_factory=dict)
    keep_examples: bool = False

    def origin(self) -> dict[str, Any]:
        """Return the columns that every row of this job shares."""
        return {
            "study": self.study,
            "model": self.model,
            "recipe": self.recipe,
            "fold": self.fold,
            "seed": self.seed,
        }

    def wants(self, *metrics: str) -> bool:
        """Return whether any of these is measured."""
        return any(metric in self.spec["metrics"] for metric in metrics)


@dataclass(frozen=True)
class Probed:
    """The scans of one run that are probed.

    Attributes
    ----------
    scan_ids : list of str
        In the order of the maps files.
    targets : ndarray of int, shape (n,)
        The class that is explained, and that the network predicts.
    positions : ndarray of int, shape (n,)
        Rows in the maps files.
    unseen : list of str
        Explained scans left out because the network does not give them the class that is explained.
    """

    scan_ids: list[str]
    targets: np.ndarray
    positions: np.ndarray
    unseen: list[str]


def probed_scans(job: ProbeJob, scan_ids: list[str], targets: np.ndarray, predicted: Mapping[str, int]) -> Probed:
    """Choose the scans that are probed, the classes alike.

    Parameters
    ----------
    job : ProbeJob
        ``spec["n_scans"]`` limits their number.
    scan_ids : list of str
        The explained scans.
    targets : ndarray of int, shape (n,)
        The class explained for each.
    predicted : mapping of str to int
        The class that the network gives each.
    """
    seen = np.array([predicted[scan_id] == target for scan_id, target in zip(scan_ids, targets, strict=True)], bool)
    positions = np.flatnonzero(seen)
    most = job.spec["n_scans"]
    if most is not None and len(positions) > most:
        order = generator(job.study_seed, "probe", "scans", job.recipe, job.fold).permutation(len(scan_ids))
        positions = balanced([int(p) for p in order if seen[p]], targets, int(most))
    unseen = [scan_ids[p] for p in np.flatnonzero(~seen)]
    return Probed([scan_ids[p] for p in positions], targets[positions], positions, unseen)


def balanced(order: Iterable[int], targets: np.ndarray, most: int) -> np.ndarray:
    """Return the first positions of an order, taken in turn from every class.

    Parameters
    ----------
    order : iterable of int
        Positions, the preferred ones first.
    targets : ndarray of int, shape (n,)
        Class of every position.
    most : int
        How many to keep.

    Returns
    -------
    ndarray of int
        Ascending positions; a class that has too few leaves its share to the others.
    """
    queues: dict[int, list[int]] = {}
    for position in order:
        queues.setdefault(int(targets[position]), []).append(position)
    kept: list[int] = []
    while len(kept) < most and any(queues.values()):
        kept += [queues[label].pop(0) for label in sorted(queues) if queues[label]]
    return np.array(sorted(kept[:most]), dtype=int)


def explained_scans(file: h5py.File) -> tuple[list[str], np.ndarray]:
    """Return the scans of a maps file and the class explained for each."""
    return [str(scan_id) for scan_id in file["scan_ids"].asstr()[:]], file["target"][:].astype(int)


def predicted_classes(predictions: Path) -> dict[str, int]:
    """Return the predicted class of every test scan."""
    table = read_table(predictions, ("scan_id", "part", "predicted"))
    test = table[table["part"] == "test"]
    return dict(zip(test["scan_id"].astype(str), test["predicted"].astype(int), strict=True))


@dataclass
class ProbeRows:
    """Rows of the long table of probes, filled scan by scan."""

    job: ProbeJob
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, person: Mapping[str, Any], method: str, null: str, metric: str, setting: str, value: float) -> None:
        """Add one number about one map."""
        self.rows.append(
            {
                **self.job.origin(),
                "method": method,
                "null": null,
                "scan_id": str(person["scan_id"]),
                "participant_id": str(person["participant_id"]),
                "diagnosis": str(person["diagnosis"]),
                "metric": metric,
                "setting": setting,
                "value": float(value),
            }
        )

    def table(self) -> pd.DataFrame:
        """Return the rows with every column of `PROBE_COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(PROBE_COLUMNS))


def judged_map(places: np.ndarray, rectify: str) -> np.ndarray:
    """Return one map of places (`Cohort.places`) as it is ranked: absolute where the scores are."""
    return rectified(places, np.abs(places), rectify)


def check_similarity(kind: str, cohort: Cohort) -> None:
    """Check that two maps of a cohort can be compared in a way.

    Raises
    ------
    ConfigError
        For a window that would slide across channels that are no neighbours.
    """
    if kind == "ssim" and cohort.channel_names:
        raise ConfigError(
            "the window of ssim slides along every axis, and the channels of this cohort are no neighbours.",
            field="probes.randomisation.similarity",
            remedy="use spearman, absolute_spearman or pearson.",
        )
