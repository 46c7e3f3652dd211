"""A small study on disk with known answers, in the schema that the stages write: no network, no image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from heatproof.files import write_parquet, write_table
from heatproof.simulation_rows import ROW_COLUMNS
from heatproof.stages.probing import CURVE_COLUMNS, EXCLUSION_COLUMNS, PROBE_COLUMNS, SPREAD_COLUMNS

AREAS = {
    17: "left hippocampus",
    53: "right hippocampus",
    18: "left amygdala",
    54: "right amygdala",
    1006: "entorhinal cortex",
    1023: "posterior cingulate",
    4: "lateral ventricle",
    3: "frontal cortex",
}
# Mean score of each method on the individual truth; the prior lies at .30 by construction.
QUALITY = {
    "lrp": 0.45,
    "integrated_gradients": 0.38,
    "guided_gradcam": 0.31,
    "guided_backprop": 0.28,
    "saliency": 0.20,
    "svm_weights": 0.17,
    "svm_pattern": 0.33,
    "anatomical_prior": 0.30,
    "random_noise": 0.05,
    "smooth_noise": 0.06,
    "input_magnitude": 0.12,
    "edges": 0.10,
    "untrained": 0.07,
    "label_permuted": 0.08,
}
LINEAR = ("svm_weights", "svm_pattern")
MODEL_FREE = ("anatomical_prior", "random_noise", "smooth_noise", "input_magnitude", "edges")
METRICS = {"dice_at_size": 1.0, "auroc": 0.6, "average_precision": 0.9, "mass_accuracy": 0.7}


@dataclass
class Study:
    """What to make: names, sizes and seeds of the synthetic study."""

    folder: Path
    models: dict[str, str] = field(
        default_factory=lambda: {"boehle": "corrected", "svm": "corrected", "boehle_as_published": "as_published"}
    )
    n_people: int = 24
    folds: int = 3
    seeds: int = 1
    shape: tuple[int, ...] = (20, 24, 20)
    smoothing: tuple[float, ...] = (0.0, 4.0, 8.0, 16.0)
    accuracy: float = 0.85
    hostile_id: str = ""

    def methods(self, model: str) -> list[str]:
        """Methods that a model is explained by."""
        if model == "svm":
            return [*LINEAR, *MODEL_FREE]
        return [name for name in QUALITY if name not in LINEAR]


def participants(study: Study) -> pd.DataFrame:
    """Half controls, half patients; the last person has a rescan."""
    people = [f"{position:04d}" for position in range(study.n_people)]
    if study.hostile_id:
        people[0] = study.hostile_id
    rows = [
        {
            "scan_id": f"{person}_1",
            "participant_id": person,
            "diagnosis": "AD" if i % 2 else "HC",
            "target": i % 2,
            "age": 60 + i % 25,
            "sex": "FM"[i % 2],
        }
        for i, person in enumerate(people)
    ]
    rows.append({**rows[-1], "scan_id": f"{people[-1]}_2"})
    return pd.DataFrame(rows)


def predictions(
    study: Study, table: pd.DataFrame, rng: np.random.Generator
) -> dict[tuple[str, int, int], pd.DataFrame]:
    """Test predictions per model, fold and seed, right with probability `accuracy`."""
    result = {}
    person_number = {person: i for i, person in enumerate(dict.fromkeys(table["participant_id"]))}
    fold_of = table["participant_id"].map(lambda person: (person_number[person] // 2) % study.folds)
    for model in study.models:
        for fold in range(study.folds):
            for seed in range(study.seeds):
                frame = table[["scan_id", "participant_id", "diagnosis", "target"]].copy()
                frame["part"] = np.where(
                    fold_of == fold, "test", np.where(fold_of == (fold + 1) % study.folds, "validation", "train")
                )
                right = rng.random(len(frame)) < study.accuracy
                predicted = np.where(right, frame["target"], 1 - frame["target"])
                probability = np.clip(0.5 + (predicted - 0.5) * rng.uniform(0.2, 0.98, len(frame)), 0, 1)
                frame["logit_0"], frame["logit_1"] = 0.0, np.log(probability / (1 - probability))
                frame["probability_0"], frame["probability_1"] = 1 - probability, probability
                frame["predicted"] = predicted
                result[model, fold, seed] = frame
    return result


def scores(study: Study, predicted: dict, rng: np.random.Generator) -> pd.DataFrame:
    """Scan-level scores on the individual truth, group-level scores on two truths."""
    rows: list[dict] = []
    for (model, fold, seed), frame in predicted.items():
        test = frame[frame["part"] == "test"]
        base = {"study": "demo", "model": model, "recipe": study.models[model], "fold": fold, "seed": seed}
        for method in study.methods(model):
            for scan in test.itertuples():
                if scan.target:
                    person = 0.05 * np.sin(sum(map(ord, str(scan.participant_id))))
                    for metric, scale in METRICS.items():
                        for smoothing in study.smoothing:
                            value = scale * (QUALITY[method] + 0.02 * np.log1p(smoothing)) + (1 - scale) * 0.8
                            rows.append(
                                {
                                    **base,
                                    "method": method,
                                    "level": "scan",
                                    "scan_id": scan.scan_id,
                                    "participant_id": scan.participant_id,
                                    "diagnosis": scan.diagnosis,
                                    "population": "scan",
                                    "rectify": "abs_after",
                                    "truth": "injected",
                                    "smoothing_mm": smoothing,
                                    "metric": metric,
                                    "value": value + person + rng.normal(0, 0.04),
                                }
                            )
                residual = abs(rng.normal(0, 1e-3)) if method in ("integrated_gradients", "lrp") else np.nan
                rows.append(
                    {
                        **base,
                        "method": method,
                        "level": "scan",
                        "scan_id": scan.scan_id,
                        "participant_id": scan.participant_id,
                        "diagnosis": scan.diagnosis,
                        "population": "scan",
                        "rectify": "signed",
                        "truth": "",
                        "smoothing_mm": 0.0,
                        "metric": "completeness_residual",
                        "value": residual,
                    }
                )
    for model, recipe in study.models.items():
        for fold, level in [(-1, "group"), *[(fold, "fold") for fold in range(study.folds)]]:
            for method in study.methods(model):
                for truth in ("injected", "meta_analysis"):
                    for smoothing in study.smoothing:
                        for population in ("all", "patients", "true_positives"):
                            value = QUALITY[method] * 0.9 + 0.03 * np.log1p(smoothing) + rng.normal(0, 0.02)
                            value += 0.3 * (method == "anatomical_prior")
                            rows.append(
                                {
                                    "study": "demo",
                                    "model": model,
                                    "recipe": recipe,
                                    "fold": fold,
                                    "seed": -1 if level == "group" else 0,
                                    "method": method,
                                    "level": level,
                                    "scan_id": "",
                                    "participant_id": "",
                                    "diagnosis": "",
                                    "population": population,
                                    "rectify": "abs_after",
                                    "truth": truth,
                                    "smoothing_mm": smoothing,
                                    "metric": "max_dice",
                                    "value": value,
                                }
                            )
    frame = pd.DataFrame(rows)
    return frame.assign(chance=frame["metric"].map({"auroc": 0.5}).fillna(0.03))


def areas(study: Study, predicted: dict, rng: np.random.Generator) -> pd.DataFrame:
    """Relevance per area: LRP follows the disease areas in patients, guided backprop does not."""
    rows = []
    for (model, fold, seed), frame in predicted.items():
        for method in study.methods(model):
            for scan in frame[frame["part"] == "test"].itertuples():
                for position, (label, name) in enumerate(AREAS.items()):
                    volume = 4000.0 / (1 + position) + 200
                    gain = 1 + 6 * scan.target * (position < 6) * (method == "lrp")
                    total = abs(rng.normal(gain, 0.2))
                    rows.append(
                        {
                            "study": "demo",
                            "model": model,
                            "recipe": study.models[model],
                            "fold": fold,
                            "seed": seed,
                            "method": method,
                            "scan_id": scan.scan_id,
                            "participant_id": scan.participant_id,
                            "diagnosis": scan.diagnosis,
                            "target": scan.target,
                            "predicted": scan.predicted,
                            "area": label,
                            "name": name,
                            "n_voxels": int(volume // 64),
                            "volume_mm3": volume,
                            "sum": total,
                            "density": total / (volume // 64),
                        }
                    )
    return pd.DataFrame(rows)


def volumes(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Volume of each area of each scan; patients are smaller."""
    return pd.DataFrame(
        [
            {
                "scan_id": scan.scan_id,
                "area": label,
                "name": name,
                "volume_mm3": (4000.0 / (1 + position) + 200) * (1 - 0.2 * scan.target) * rng.normal(1, 0.05),
            }
            for scan in table.itertuples()
            for position, (label, name) in enumerate(AREAS.items())
        ]
    )


def nulls(study: Study, rng: np.random.Generator) -> pd.DataFrame:
    """Surrogate nulls of the group maps."""
    rows = []
    for model, recipe in study.models.items():
        for method in study.methods(model):
            for truth in ("injected", "meta_analysis"):
                observed = QUALITY[method] * 0.9
                rows.append(
                    {
                        "study": "demo",
                        "model": model,
                        "recipe": recipe,
                        "method": method,
                        "truth": truth,
                        "population": "patients",
                        "rectify": "abs_after",
                        "metric": "max_dice",
                        "smoothing_mm": 0.0,
                        "observed": observed,
                        "null": "surrogate",
                        "null_mean": 0.08 + rng.normal(0, 0.005),
                        "null_sd": 0.02,
                        "null_95": 0.12,
                        "p_value": 0.005 if observed > 0.12 else 0.4,
                        "n_surrogates": 199,
                    }
                )
    return pd.DataFrame(rows)


def blob(shape: tuple[int, ...], centre: tuple[float, ...], width: float) -> np.ndarray:
    """A Gaussian of `width` (share of each axis) at `centre` (shares)."""
    axes = np.meshgrid(*[np.linspace(0, 1, length) for length in shape], indexing="ij")
    return np.exp(-sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=False)) / (2 * width**2))


def anatomy(study: Study) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Template, brain mask, truth strength and affine (volumes only)."""
    n_axes = len(study.shape)
    centre = (0.5,) * n_axes
    brain = blob(study.shape, centre, 0.22)
    mask = brain > 0.15
    sides = [(0.33, 0.52, 0.4), (0.67, 0.52, 0.4)]
    truth = sum(blob(study.shape, side[:n_axes], 0.05) for side in sides)
    truth = np.where(truth > 0.2, truth, 0)
    affine = None
    if n_axes == 3:
        step = 180.0 / max(study.shape)
        affine = np.diag([step, step, step, 1.0])
        affine[:3, 3] = [-step * (length - 1) / 2 for length in study.shape]
    return brain * mask, mask, truth, affine


def probes(study: Study, predicted: dict, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Information curves whose areas follow the quality of each method; nulls lie below, constants tell none apart."""
    asked = {"aic": "nd push_pull information", "sic": "nd push_pull information", "deletion": "mean"}
    rows, curves = [], []
    for (model, fold, seed), frame in predicted.items():
        if model == "svm":
            continue
        origin = {"study": "demo", "model": model, "recipe": study.models[model], "fold": fold, "seed": seed}
        seen = frame[(frame["part"] == "test") & (frame["target"] == 1) & (frame["predicted"] == 1)]
        for scan in seen.itertuples():
            who = {"scan_id": scan.scan_id, "participant_id": scan.participant_id}
            for method in (*study.methods(model), "exact_truth"):
                for null in ("",) if method == "exact_truth" else ("", "turned", "other_scan"):
                    quality = 0.1 if null else QUALITY.get(method, 0.9)
                    for metric, setting in asked.items():
                        value = np.clip(quality + rng.normal(0, 0.05), 0, 1)
                        value = 1 - value if metric == "deletion" else value
                        about = {**origin, "method": method, "null": null, **who, "metric": metric, "setting": setting}
                        rows.append({**about, "diagnosis": scan.diagnosis, "value": value})
                        if metric != "deletion":
                            x = np.linspace(0, 1, 11)
                            curves.append(pd.DataFrame({**about, "x": x, "y": x ** (1 / (0.1 + 2 * value))}))
    table = pd.DataFrame(rows)
    origin = {"study": "demo", "model": next(iter(study.models)), "recipe": "corrected", "fold": 0, "seed": 0}
    spreads = [
        {**origin, "metric": metric, "setting": setting, "constant": constant, "spread": 0.3 * (metric == "deletion")}
        for metric, setting in asked.items()
        for constant in ("right", "wrong")
    ]
    reason = {
        "scan_id": "0001_1",
        "participant_id": "0001",
        "metric": "aic",
        "setting": asked["aic"],
        "reason": "blurred",
    }
    return {
        "probes": table[list(PROBE_COLUMNS)],
        "curves": pd.concat(curves, ignore_index=True)[list(CURVE_COLUMNS)],
        "spreads": pd.DataFrame(spreads)[list(SPREAD_COLUMNS)],
        "exclusions": pd.DataFrame([{**origin, **reason}])[list(EXCLUSION_COLUMNS)],
    }


def write_maps(study: Study, rng: np.random.Generator) -> None:
    """Cohort, truths and group maps with their Dice curves."""
    from scipy.ndimage import gaussian_filter

    template, mask, truth, affine = anatomy(study)
    with h5py.File(study.folder / "cohort.h5", "w") as handle:
        handle["template"], handle["mask"] = template.astype(np.float32), mask
        handle["scans"] = np.zeros((1, 1, *study.shape), np.float32)
        handle.attrs.update({"spacing": (1.0,) * len(study.shape), "units": "mm" if affine is not None else "pixel"})
        handle.attrs.update({"classes": ["HC", "AD"], "description": "{}"})
        if affine is not None:
            handle.attrs["affine"] = affine
    (study.folder / "truths").mkdir()
    for name, values in (("injected", truth), ("meta_analysis", gaussian_filter(truth, 1))):
        with h5py.File(study.folder / "truths" / f"{name}.h5", "w") as handle:
            handle["map"], handle["mask"] = values.astype(np.float32), values > 0.1
            handle.attrs.update({"source": name, "description": f"{name} truth"})
    for model in study.models:
        for method in study.methods(model):
            path = study.folder / model / "pooled" / method / "group.h5"
            path.parent.mkdir(parents=True)
            noise = gaussian_filter(rng.normal(size=study.shape), 1.0)
            values = (QUALITY[method] * truth + 0.25 * noise) * mask
            with h5py.File(path, "w") as handle:
                for population in ("all", "patients"):
                    handle[f"maps/{population}/abs_after"] = np.abs(values).astype(np.float32)
                    for name in ("injected", "meta_analysis"):
                        position = np.linspace(0, 1, 50)
                        dice = QUALITY[method] * np.exp(-((position - 0.4) ** 2) / 0.08)
                        handle[f"curves/{name}/{population}/abs_after"] = np.stack([position * 3, dice])
                handle.attrs.update({"model": model, "method": method})


def write(study: Study) -> Path:
    """Write everything that the stages before `tabulate` leave behind; return the study's folder."""
    rng = np.random.default_rng(7)
    study.folder.mkdir(parents=True, exist_ok=True)
    table = participants(study)
    predicted = predictions(study, table, rng)
    write_table(table, study.folder / "participants.tsv")
    write_table(volumes(table, rng), study.folder / "volumes.tsv")
    write_parquet(scores(study, predicted, rng), study.folder / "scores.parquet")
    write_parquet(areas(study, predicted, rng), study.folder / "areas.parquet")
    write_parquet(nulls(study, rng), study.folder / "nulls.parquet")
    for name, frame in probes(study, predicted, rng).items():
        write_parquet(frame, study.folder / f"{name}.parquet")
    write_parquet(pd.DataFrame(columns=list(ROW_COLUMNS)), study.folder / "simulations.parquet")
    for (model, fold, seed), frame in predicted.items():
        run = study.folder / model / f"fold-{fold}_seed-{seed}"
        write_table(frame, run / "predictions.tsv")
        epochs = np.arange(1, 13)
        write_table(
            pd.DataFrame(
                {
                    "epoch": epochs,
                    "train_loss": 0.7 * np.exp(-epochs / 8),
                    "validation_loss": 0.7 * np.exp(-epochs / 14),
                    "validation_balanced_accuracy": 0.9 - 0.4 * np.exp(-epochs / 4),
                    "learning_rate": 1e-3,
                    "seconds": 1.0,
                }
            ),
            run / "history.tsv",
        )
    intake = [
        {"scan_id": name, "file": f"/home/someone/scans/{name}.nii.gz", "field": "", "reason": "", "action": "accepted"}
        for name in table["scan_id"]
    ]
    intake.append(
        {
            "scan_id": "9999_1",
            "file": "/home/someone/scans/9999_1.nii.gz",
            "field": "voxels",
            "reason": "/home/someone/scans/9999_1.nii.gz has 12 voxels that are not finite.",
            "action": "excluded",
        }
    )
    write_table(pd.DataFrame(intake), study.folder / "intake.tsv")
    write_table(
        pd.DataFrame(
            [
                {
                    "recipe": "corrected",
                    "fold": 0,
                    "check": "participant train-test",
                    "n": 0,
                    "passed": True,
                    "detail": "",
                },
                {
                    "recipe": "as_published",
                    "fold": 0,
                    "check": "participant train-validation",
                    "n": 14,
                    "passed": False,
                    "detail": "14 of 18 validation scans",
                },
            ]
        ),
        study.folder / "leakage.tsv",
    )
    write_maps(study, rng)
    return study.folder


def models_of(study: Study) -> dict[str, dict[str, str]]:
    """The models of the configuration: a model and its published twin are the same network."""
    return {name: {"network": name.split("_")[0], "recipe": recipe} for name, recipe in study.models.items()}


def write_tables(study: Study) -> dict[str, Path]:
    """Run the stage `tabulate` on what `write` left; return the tables by name."""
    from heatproof.publication.captions import TABLES
    from heatproof.stages.tabulate import tabulate

    folder = study.folder
    paths = {name: folder / "tables" / f"{name}.tsv" for name in TABLES}
    tabulate(
        "demo",
        models_of(study),
        {name: {"method": name} for name in QUALITY},
        scores=folder / "scores.parquet",
        areas=folder / "areas.parquet",
        nulls=folder / "nulls.parquet",
        probes=folder / "probes.parquet",
        curves=folder / "curves.parquet",
        spreads=folder / "spreads.parquet",
        exclusions=folder / "exclusions.parquet",
        simulations=folder / "simulations.parquet",
        predictions=sorted(folder.glob("*/fold-*/predictions.tsv")),
        certificates=sorted(folder.glob("*/fold-*/certificate.tsv")),
        intake=folder / "intake.tsv",
        volumes=folder / "volumes.tsv",
        cohort=folder / "cohort.h5",
        settings=("nd push_pull information",),
        simulators={},
        seed=1,
        n_bootstrap=200,
        n_permutations=499,
        tables=paths,
    )
    return paths


def plot_inputs(study: Study, tables: dict[str, Path]):
    """What the stage `plot` wants, for a folder that `write` and `write_tables` filled."""
    from heatproof.stages.results import PlotInputs

    folder = study.folder
    return PlotInputs(
        study="demo",
        models=models_of(study),
        tables=tables,
        areas=folder / "areas.parquet",
        cohort=folder / "cohort.h5",
        participants=folder / "participants.tsv",
        volumes=folder / "volumes.tsv",
        truths={path.stem: path for path in sorted((folder / "truths").glob("*.h5"))},
        group_maps=sorted(folder.glob("*/pooled/*/group.h5")),
        histories=sorted(folder.glob("*/fold-*/history.tsv")),
        predictions=sorted(folder.glob("*/fold-*/predictions.tsv")),
        curves=folder / "curves.parquet",
        examples=sorted(folder.glob("*/fold-0_seed-0/examples.h5")),
    )


def write_figures(
    study: Study, tables: dict[str, Path], folder: str = "figures", names: tuple[str, ...] = ()
) -> dict[str, list[Path]]:
    """Run the stage `plot`; return the files of each figure by name."""
    from heatproof.figures.catalogue import FIGURES
    from heatproof.stages.plot import plot

    paths = {name: [study.folder / folder / f"{name}.{kind}" for kind in ("svg", "png")] for name in names or FIGURES}
    plot(plot_inputs(study, tables), paths)
    return paths
