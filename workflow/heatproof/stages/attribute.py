"""Stage `attribute`: the heatmaps of one method on the test scans of one fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import torch

from heatproof import attribution
from heatproof.attribution.simulators.fitted import FittedSimulator, load_simulator
from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError
from heatproof.files import atomic
from heatproof.models import load_weights
from heatproof.randomness import generator, integer_seed
from heatproof.stages.maps_file import append_maps, describe_maps
from heatproof.stages.probing import balanced, predicted_classes
from heatproof.studies import needs_permuted
from heatproof.training import FoldParts, ScanLoader, read_fold
from heatproof.training.arithmetic import use_arithmetic
from heatproof.training.memory import keep_freed_memory
from heatproof.truths.atlases import anatomical_prior

# Keys of a method's config entry that are for this stage and not for the method itself.
STAGE_KEYS = ("method", "target", "simulator")


class LimitedRun(Protocol):
    """A run that looks at some of its test scans only: a job of `attribute`, or of `simulate`."""

    @property
    def recipe(self) -> str:
        """Its recipe."""
        ...

    @property
    def fold(self) -> int:
        """Its fold."""
        ...

    @property
    def study_seed(self) -> int:
        """Root seed."""
        ...

    @property
    def max_scans(self) -> int | None:
        """Most test scans, None for all."""
        ...


@dataclass(frozen=True)
class AttributionJob:
    """What is explained, and how.

    Attributes
    ----------
    model : str
        The model's name in the config.
    recipe : str
        Its recipe.
    method : str
        Id of the method in the config.
    entry : mapping
        Its config entry: ``method``, ``target``, perhaps ``simulator``, and the method's parameters.
    fold, seed : int
        Fold and repetition.
    study_seed : int
        Root seed.
    batch_size : int
        Most inputs in one forward pass.
    max_scans : int or None
        Most test scans of a fold.
    keep_memory : bool
        Keep freed memory in the process (see `heatproof.training.memory`).
    n_background : int
        Most training scans that a method begins at.
    precision : str
        Arithmetic of convolutions and dense layers (see `heatproof.attribution.attribute`).
    """

    model: str
    recipe: str
    method: str
    entry: Mapping[str, Any]
    fold: int
    seed: int
    study_seed: int
    batch_size: int = 16
    max_scans: int | None = None
    keep_memory: bool = True
    n_background: int = 16
    precision: str = "float32"


def attribute_each(
    jobs: Sequence[AttributionJob],
    maps: Sequence[Path],
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    predictions: Path,
    permuted: Path | None = None,
    simulators: Mapping[str, Path] | None = None,
    threads: int = 1,
) -> None:
    """Write the maps of several methods of one run, one after the other (see `attribute`)."""
    for job, path in zip(jobs, maps, strict=True):
        attribute(
            job, cohort=cohort, folds=folds, weights=weights, predictions=predictions, maps=path,
            permuted=permuted if needs_permuted(job.entry) else None,
            simulator=(simulators or {}).get(str(job.entry.get("simulator"))), threads=threads,
        )  # fmt: skip


def attribute(
    job: AttributionJob,
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    predictions: Path,
    maps: Path,
    permuted: Path | None = None,
    simulator: Path | None = None,
    threads: int = 1,
) -> None:
    """Write ``maps.h5``: one map per test scan, its target and its completeness residual.

    Parameters
    ----------
    job : AttributionJob
        What to explain.
    cohort, folds : Path
        ``cohort.h5`` and ``folds.tsv``.
    weights, predictions : Path
        The trained model and what it predicts.
    maps : Path
        Output.
    permuted : Path, optional
        The same network trained on permuted labels.
    simulator : Path, optional
        The simulator that was fitted to the model, for a method that shows one.
    threads : int
        CPU threads.

    Raises
    ------
    ConfigError, UnsupportedModelError
        The method cannot explain this model, or has a wrong parameter.
    """
    torch.set_num_threads(threads)
    if job.keep_memory:
        keep_freed_memory()
    use_arithmetic("float32")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_weights(weights)
    model = loaded.module.to(device)
    parameters = {key: value for key, value in job.entry.items() if key not in STAGE_KEYS}
    with Cohort(cohort) as stored, atomic(maps) as temporary, h5py.File(temporary, "w") as file:
        loader = ScanLoader.for_model(loaded, stored)
        parts = read_fold(folds, job.recipe, job.fold, stored.participants)
        output = str(loaded.metadata.get("output", ""))
        scan_ids = chosen_scans(job, measured(parts.test, output, stored), stored)
        targets = target_classes(job, scan_ids, stored, predictions)
        fitted = load_simulator(simulator, loaded.sha256).to(device) if simulator else None
        context = prepared_context(job, parameters, stored, loader, parts, permuted, device, fitted)
        needs_zero = "zero_intensity" in attribution.required_context(job.entry["method"], parameters)
        for start in range(0, len(scan_ids), job.batch_size):
            chunk = scan_ids[start : start + job.batch_size]
            own: dict[str, Any] = {"zero_intensity": loader.zero_intensity(chunk)} if needs_zero else {}
            result = attribution.attribute_with_residual(
                job.entry["method"],
                model,
                loader.batch(chunk),
                torch.from_numpy(targets[start : start + len(chunk)]),
                seed=integer_seed(job.study_seed, "attribute", job.model, job.fold, job.seed, job.method),
                batch_size=job.batch_size,
                scan_keys=chunk,
                precision=job.precision,
                output="value" if output else "class",
                **parameters,
                **context,
                **own,
            )
            append_maps(file, start, len(scan_ids), result)
        describe_maps(file, job, parameters, scan_ids, targets, loaded, stored)


def measured(scan_ids: list[str], output: str, cohort: Cohort) -> list[str]:
    """Return the scans in which a number that a network predicts was measured; all for a network of classes."""
    if not output:
        return scan_ids
    known = cohort.participants.loc[scan_ids, output].notna().to_numpy()
    return [scan_id for scan_id, is_known in zip(scan_ids, known, strict=True) if is_known]


def chosen_scans(job: LimitedRun, test: list[str], cohort: Cohort) -> list[str]:
    """Return the test scans to explain: all, or `max_scans` of them with patients and controls alike.

    With more than two classes, or without controls, all classes get their share in turn. The choice depends on the
    study's seed and the fold alone, so every method explains the same scans.
    """
    if job.max_scans is None or len(test) <= job.max_scans:
        return list(test)
    random = generator(job.study_seed, "attribute", "scans", job.recipe, job.fold)
    targets = cohort.participants.loc[test, "target"].to_numpy()
    order = random.permutation(len(test))
    if len(cohort.classes) > 2 or not cohort.has_controls:
        return [test[position] for position in balanced(order, targets, job.max_scans)]
    is_patient = targets == 1
    patients, others = order[is_patient[order]], order[~is_patient[order]]
    n_patients = min(len(patients), max(job.max_scans - len(others), (job.max_scans + 1) // 2))
    kept = [*patients[:n_patients], *others[: job.max_scans - n_patients]]
    return [test[position] for position in sorted(kept)]


def target_classes(job: AttributionJob, scan_ids: list[str], cohort: Cohort, predictions: Path) -> np.ndarray:
    """Return the class that is explained for each scan: the patient class, the predicted or the true one."""
    kind = job.entry.get("target", "patient")
    if kind == "patient":
        return np.full(len(scan_ids), len(cohort.classes) - 1, dtype=np.int64)
    if kind == "label":
        return cohort.participants.loc[scan_ids, "target"].to_numpy(np.int64, copy=True)
    if kind == "predicted":
        predicted = predicted_classes(predictions)
        return np.array([predicted[scan_id] for scan_id in scan_ids], dtype=np.int64)
    raise ConfigError(f"the target '{kind}' is not known.", field="target", remedy="use patient, predicted or label.")


def prepared_context(
    job: AttributionJob,
    parameters: Mapping[str, Any],
    cohort: Cohort,
    loader: ScanLoader,
    parts: FoldParts,
    permuted: Path | None,
    device: torch.device,
    fitted: FittedSimulator | None = None,
) -> dict[str, Any]:
    """Return the arrays and networks that a method needs beside the model, made from training scans only."""
    needed = attribution.required_context(job.entry["method"], parameters)
    context: dict[str, Any] = {}
    if "prior" in needed:
        context["prior"] = torch.from_numpy(anatomical_prior(cohort.grid))
    if "control_mean" in needed:
        context["control_mean"] = control_mean(loader, parts.train, cohort)
    if "background" in needed:
        context["background"] = loader.batch(background_scans(job, parts.train))
    if "regions" in needed:
        if cohort.atlas is None:
            raise ConfigError(
                "the cohort has no common atlas.", field="by", remedy="use by: window, or a cohort with an atlas."
            )
        context["regions"] = torch.from_numpy(cohort.atlas.astype(np.int64))
    if "permuted" in needed:
        if permuted is None:
            raise ConfigError("no network with permuted labels was trained.", field="label_permuted")
        context["permuted"] = load_weights(permuted).module.to(device)
    if "fitted" in needed:
        if fitted is None:
            raise ConfigError(
                "the simulator was not fitted.", field="simulator", remedy="name one of the study's simulators."
            )
        context["fitted"] = fitted
    return context


def background_scans(job: AttributionJob, train: list[str]) -> list[str]:
    """Return the training scans that methods begin at: the same of a fold for every method and seed."""
    random = generator(job.study_seed, "attribute", "background", job.recipe, job.fold)
    kept = random.permutation(len(train))[: job.n_background]
    return [train[position] for position in sorted(kept)]


def control_mean(loader: ScanLoader, train: list[str], cohort: Cohort) -> torch.Tensor:
    """Return the mean normalised training scan of the controls, shape (C, *S), read scan by scan.

    Raises
    ------
    ConfigError
        If the cohort has no controls.
    """
    if not cohort.has_controls:
        raise ConfigError(
            f"the mean of the controls is asked for, but every class of the cohort is a disease "
            f"({', '.join(cohort.classes)}).",
            field="control_mean",
            remedy="use another baseline or fill (zero, blurred, training), or a cohort with controls.",
        )
    controls = [scan_id for scan_id in train if cohort.participants.loc[scan_id, "target"] == 0]
    total = torch.zeros(loader.shape, dtype=torch.float64)
    for scan_id in controls:
        total += loader.scan(scan_id)
    return (total / len(controls)).float()
