"""Stage `randomise`: the same scans explained again, with a randomised network, other labels or a slightly moved scan.

A map that stays the same when the weights are drawn anew does not show what the network has learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

from heatproof import attribution
from heatproof.cohorts.store import Cohort
from heatproof.errors import UnsupportedModelError
from heatproof.files import write_parquet
from heatproof.metrics.faithfulness import max_sensitivity
from heatproof.metrics.randomisation import cascading, data_randomisation, efficient, smooth
from heatproof.models import load_weights
from heatproof.randomness import integer_seed
from heatproof.stages.attribute import STAGE_KEYS, AttributionJob, prepared_context
from heatproof.stages.probing import (
    Probed,
    ProbeJob,
    ProbeRows,
    check_similarity,
    explained_scans,
    judged_map,
    predicted_classes,
    probed_scans,
)
from heatproof.training import FoldParts, ScanLoader, read_fold
from heatproof.training.arithmetic import use_arithmetic

# Controls that are made of a network's own twin; randomising the network says nothing about them.
TWINS = ("untrained", "label_permuted")


def randomise(
    job: ProbeJob,
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    predictions: Path,
    maps: Path,
    probes: Path,
    permuted: Path | None = None,
    threads: int = 1,
) -> None:
    """Explain the scans of one run again under each randomisation.

    Parameters
    ----------
    job : ProbeJob
        Which network, which tests.
    cohort, folds : Path
        ``cohort.h5`` and ``folds.tsv``.
    weights, predictions : Path
        The trained network and what it predicts.
    maps : Path
        Any maps file of the run: which scans are explained, and for which class.
    probes : Path
        Table to write (`PROBE_COLUMNS`).
    permuted : Path, optional
        The same network trained on permuted labels, for ``data_randomisation``.
    threads : int
        CPU threads.
    """
    torch.set_num_threads(threads)
    use_arithmetic("float32")
    with Cohort(cohort) as stored, h5py.File(maps, "r") as file:
        check_similarity(str(job.spec["randomisation"]["similarity"]), stored)
        scan_ids, targets = explained_scans(file)
        chosen = probed_scans(job, scan_ids, targets, predicted_classes(predictions))
        parts = read_fold(folds, job.recipe, job.fold, stored.participants)
        rows = ProbeRows(job)
        again = _Again(job, stored, chosen, parts, weights, permuted)
        for method in again.methods:
            again.ask(method, rows)
    write_parquet(rows.table(), probes)


@dataclass
class _Again:
    """The scans of one run, ready to be explained again."""

    job: ProbeJob
    cohort: Cohort
    chosen: Probed
    parts: FoldParts
    weights: Path
    permuted: Path | None

    def __post_init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        loaded = load_weights(self.weights)
        self.network = loaded.module.to(self.device)
        self.output = str(loaded.metadata.get("output", ""))
        self.loader = ScanLoader.for_model(loaded, self.cohort)
        most = int(self.job.spec["randomisation"]["n_scans"])
        self.scan_ids = self.chosen.scan_ids[:most]
        self.targets = torch.from_numpy(self.chosen.targets[:most].astype(np.int64))

    @cached_property
    def scans(self) -> torch.Tensor:
        """The scans, shape (N, C, *space)."""
        return self.loader.batch(self.scan_ids)

    @cached_property
    def twin(self) -> nn.Module | None:
        """The network that learned permuted labels."""
        return None if self.permuted is None else load_weights(self.permuted).module.to(self.device)

    @property
    def methods(self) -> list[str]:
        """Ids of the methods that are explained again; none where no scan is left."""
        listed = self.job.spec["randomisation"]["methods"]
        suited = [name for name, entry in self.job.methods.items() if entry["method"] not in TWINS]
        trained = [name for name in suited if not attribution.METHODS[self.job.methods[name]["method"]].is_control]
        return [name for name in suited if name in (trained if listed is None else listed)] if self.scan_ids else []

    def explainer(self, method: str) -> Callable[..., np.ndarray]:
        """Return (network, scans, places) -> judged maps (N, ...); `places` say which scan each input stands for."""
        entry = self.job.methods[method]
        parameters = {key: value for key, value in entry.items() if key not in STAGE_KEYS}
        job = AttributionJob(
            self.job.model, self.job.recipe, method, entry, self.job.fold, self.job.seed, self.job.study_seed,
            **self.job.attribution,
        )  # fmt: skip
        context = prepared_context(job, parameters, self.cohort, self.loader, self.parts, None, self.device)
        needs_zero = "zero_intensity" in attribution.required_context(entry["method"], parameters)
        zeros = self.loader.zero_intensity(self.scan_ids) if needs_zero else None

        def explain(network: nn.Module, scans: torch.Tensor, places: list[int] | None = None) -> np.ndarray:
            places = list(range(len(scans))) if places is None else places
            zero: dict[str, Any] = {} if zeros is None else {"zero_intensity": zeros[places]}
            found = attribution.attribute(
                entry["method"], network, scans, self.targets[places], batch_size=job.batch_size,
                seed=integer_seed(job.study_seed, "attribute", job.model, job.fold, job.seed, method),
                scan_keys=[self.scan_ids[place] for place in places], precision=job.precision,
                output="value" if self.output else "class",
                **parameters, **context, **zero,
            )  # fmt: skip
            return np.stack([judged_map(self.cohort.places(one), self.job.rectify) for one in found.cpu().numpy()])

        return explain

    def ask(self, method: str, rows: ProbeRows) -> None:
        """Run every test on one method; one that cannot be run on this network is said and left out."""
        explain = self.explainer(method)
        for metric, (setting, answer) in self._tests(explain).items():
            if not self.job.wants(metric):
                continue
            try:
                values = answer()
            except UnsupportedModelError as error:
                print(f"{method}: {metric} is left out: {error}")
                continue
            for scan_id, value in zip(self.scan_ids, values, strict=True):
                rows.add(self.cohort.participants.loc[scan_id], method, "", metric, setting, value)

    def _tests(self, explain: Callable[..., np.ndarray]) -> dict[str, tuple[str, Callable[[], np.ndarray]]]:
        """Return, by metric, its setting and what answers it for every scan."""
        job, spec = self.job, self.job.spec["randomisation"]
        seed = integer_seed(job.study_seed, "randomise", job.model, job.fold, job.seed)
        kind, layers, mask = spec["similarity"], spec["n_layers"], self.cohort.places_mask

        def again(network: nn.Module) -> np.ndarray:
            return explain(network, self.scans)

        tests: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
            "cascading_mprt": (
                kind,
                lambda: cascading(self.network, again, seed=seed, layers=layers, similarity=kind, mask=mask).score,
            ),
            "smooth_mprt": (
                kind,
                lambda: smooth(
                    self.network, explain, self.scans, seed=seed, layers=layers, n_noise=spec["n_noise"],
                    similarity=kind, mask=mask, scan_keys=self.scan_ids,
                ).score,
            ),
            "efficient_mprt": ("", lambda: efficient(self.network, again, seed=seed, mask=mask)),
            "max_sensitivity": ("", lambda: self._sensitivity(explain, seed)),
        }  # fmt: skip
        twin = self.twin
        if twin is not None:
            tests["data_randomisation"] = (
                kind, lambda: data_randomisation(again(self.network), again(twin), similarity=kind, mask=mask),
            )  # fmt: skip
        return tests

    def _sensitivity(self, explain: Callable[..., np.ndarray], seed: int) -> np.ndarray:
        own: dict[str, Any] = self.job.spec["max_sensitivity"]

        leads = bool(self.cohort.channel_names)

        def of(place: int) -> float:
            image = self.scans[place].numpy()

            def explain_copies(copies: np.ndarray) -> np.ndarray:
                scans = torch.from_numpy(np.asarray(copies, np.float32))
                # Every copy is explained with the random numbers of its own scan, so that only the scan differs.
                return explain(self.network, scans[:, 0] if leads else scans, [place] * len(copies))

            return max_sensitivity(
                explain_copies,
                image[None] if leads else image,
                radius=own["radius"] * float(image.std()),
                n_samples=own["n_samples"],
                seed=integer_seed(seed, self.scan_ids[place]),
            )

        return np.array([of(place) for place in range(len(self.scan_ids))])
