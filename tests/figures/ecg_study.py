"""A small ECG study as the stages before `tabulate` leave it: simulated beats, maps whose quality is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from heatproof.cohorts.store import Cohort, RawScan, Source
from heatproof.cohorts.waves import wave_labels, wave_names
from heatproof.cohorts.writer import CohortWriter
from heatproof.files import write_parquet, write_table
from heatproof.geometry import Grid
from heatproof.metrics.areas import relevance_by_area
from heatproof.simulation_rows import ROW_COLUMNS
from heatproof.stages.examples import write_examples
from heatproof.stages.probing import CURVE_COLUMNS, EXCLUSION_COLUMNS, PROBE_COLUMNS, SPREAD_COLUMNS

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
STEP, N_SAMPLES = 4.0, 300
# Heights (mV) of P, R and T; the other limb leads follow by Einthoven and Goldberger.
WAVES = {
    "I": (0.1, 0.7, 0.25), "II": (0.15, 1.1, 0.35), "V1": (0.06, -0.9, 0.05), "V2": (0.08, -1.2, 0.5),
    "V3": (0.08, 0.4, 0.6), "V4": (0.09, 1.4, 0.55), "V5": (0.1, 1.5, 0.45), "V6": (0.1, 1.1, 0.3),
}  # fmt: skip
OUTPUTS = {"pr": "ms", "qt": "ms"}
MODELS = {name: {"network": "ecg_resnet", "recipe": "corrected", "output": name} for name in OUTPUTS}
# Noise of each method's maps, in units of the largest truth.
METHODS = {"smoothgrad": 0.05, "saliency": 0.2, "integrated_gradients": 0.1, "gradcam": 0.4,
           "random_noise": 1e3}  # fmt: skip
WHO = {"study": "ecg", "recipe": "corrected", "fold": 0, "seed": 0}
QRS_MS = 92.0


def beat(pr: float = 160.0, qt: float = 390.0, onset: float = 360.0, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return a beat of twelve leads in mV whose QRS begins `onset` ms after the first sample."""
    time = np.arange(N_SAMPLES) * STEP

    def bump(centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((time - centre) / width) ** 2)

    leads = {
        name: p * bump(onset - pr + 50, 20) + r * (bump(onset + 42, 11) - 0.25 * bump(onset + 76, 9))
        + t * bump(onset + qt - 110, 38)
        for name, (p, r, t) in WAVES.items()
    }  # fmt: skip
    one, two = leads["I"], leads["II"]
    leads |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    signal = np.stack([leads[name] for name in LEADS])
    return signal + np.random.default_rng(seed).normal(0, noise, signal.shape)


def effect(output: str, step: float = 8.0, **parameters: float) -> np.ndarray:
    """Return the signed exact effect of an output, in mV per ms."""
    up, down = (beat(**{**parameters, output: parameters[output] + sign * step}) for sign in (1, -1))
    return (up - down) / (2 * step)


def labels(pr: float, qt: float, onset: float = 360.0) -> np.ndarray:
    """Return the areas of a beat, the same in every lead."""
    bounds = [("p", onset - pr, onset - pr + 100), ("qrs", onset, onset + QRS_MS), ("t", onset + qt - 190, onset + qt)]
    return wave_labels([[(name, a / STEP, b / STEP) for name, a, b in bounds]] * len(LEADS), N_SAMPLES)


def maps_of(truth: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return a map by each method: the truth with noise; one method shows the same in all leads and no sign."""
    random = np.random.default_rng(seed)
    top = np.abs(truth).max()
    found = {name: truth + level * top * random.normal(size=truth.shape) for name, level in METHODS.items()}
    found["gradcam"] = np.broadcast_to(np.abs(found["gradcam"]).mean(axis=0), truth.shape)
    return {name: values.astype(np.float32) for name, values in found.items()}


def write(folder: Path, n_people: int = 8) -> Path:
    """Write everything that `tabulate` and `plot` read."""
    random = np.random.default_rng(3)
    grid = Grid((N_SAMPLES,), None, (STEP,), "ms")
    source = Source(
        grid, [], ("recording",), has_controls=False, mask=np.ones(N_SAMPLES, bool), label_names=wave_names(LEADS),
        channel_names=LEADS, outputs=OUTPUTS, description={"truth_kind": "counterfactual"},
    )  # fmt: skip
    people = [{"pr": random.uniform(130, 200), "qt": random.uniform(350, 450)} for _ in range(n_people)]
    with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source, len(LEADS)) as writer:
        for i, numbers in enumerate(people):
            row = {"scan_id": f"s{i}", "participant_id": f"p{i}", "diagnosis": "recording", "target": 0, **numbers}
            truths = {name: effect(name, **numbers) for name in OUTPUTS}
            scan = RawScan(beat(**numbers, noise=0.01, seed=i), grid, truths=truths, labels=labels(**numbers))
            writer.add(row, scan)
    tables: dict[str, list] = {name: [] for name in ("scores", "areas", "probes", "curves")}
    with Cohort(folder / "cohort.h5") as cohort:
        for model in MODELS:
            _write_model(folder, cohort, model, people, tables)
    for name, parts in tables.items():
        write_parquet(pd.concat(parts, ignore_index=True), folder / f"{name}.parquet")
    for name, columns in (
        ("spreads", SPREAD_COLUMNS), ("exclusions", EXCLUSION_COLUMNS), ("nulls", _NULLS), ("simulations", ROW_COLUMNS),
    ):  # fmt: skip
        write_parquet(pd.DataFrame(columns=list(columns)), folder / f"{name}.parquet")
    write_table(pd.DataFrame(columns=["scan_id", "file", "field", "reason", "action"]), folder / "intake.tsv")
    volumes = pd.concat(tables["areas"])[["scan_id", "area", "name", "volume_mm3"]].drop_duplicates()
    write_table(volumes, folder / "volumes.tsv")
    _write_truth(folder)
    return folder


_NULLS = ("study", "model", "recipe", "method", "truth", "population", "rectify", "metric", "smoothing_mm", "observed",
          "null", "null_mean", "null_sd", "null_95", "p_value", "n_surrogates")  # fmt: skip


def _write_model(folder: Path, cohort: Cohort, model: str, people: list[dict], tables: dict[str, list]) -> None:
    run = folder / model / "fold-0_seed-0"
    found = [maps_of(cohort.truth(scan_id, model), seed) for seed, scan_id in enumerate(cohort.scan_ids)]
    run.mkdir(parents=True)
    _write_run(run, model, people)
    files = {}
    for method in METHODS:
        stack = np.stack([maps[method] for maps in found])
        files[method] = h5py.File.in_memory()
        files[method]["maps"], files[method]["target"] = stack, np.zeros(len(stack), int)
        files[method].create_dataset("scan_ids", data=cohort.scan_ids, dtype=h5py.string_dtype())
        group = folder / model / "pooled" / method / "group.h5"
        group.parent.mkdir(parents=True)
        with h5py.File(group, "w") as handle:
            handle["maps/all/abs_after"] = np.abs(stack.mean(axis=0))
        tables["scores"].append(_scores(model, method, cohort))
        tables["areas"].append(_areas(model, method, stack, cohort))
        probes, curves = _probes(model, method, cohort)
        tables["probes"].append(probes)
        tables["curves"].append(curves)
    write_examples(cohort, files, dict.fromkeys(cohort.scan_ids, 0), 1, run / "examples.h5", model)
    for file in files.values():
        file.close()


def _write_run(run: Path, model: str, people: list[dict]) -> None:
    random = np.random.default_rng(len(model))
    measured = np.array([numbers[model] for numbers in people])
    write_table(
        pd.DataFrame({
            "scan_id": [f"s{i}" for i in range(len(people))], "participant_id": [f"p{i}" for i in range(len(people))],
            "diagnosis": "recording", "part": "test", "target": 0, "predicted": 0, "output": model,
            "measured": measured, "estimate": measured + random.normal(0, 2, len(people)),
        }), run / "predictions.tsv",
    )  # fmt: skip
    epochs = np.arange(1, 9)
    history = {"epoch": epochs, "train_loss": np.exp(-epochs / 3), "validation_loss": np.exp(-epochs / 4)}
    history |= {"validation_balanced_accuracy": np.nan, "validation_r2": 1 - np.exp(-epochs / 4)}
    write_table(pd.DataFrame({**history, "learning_rate": 1e-3, "seconds": 1.0}), run / "history.tsv")
    checks = {"output": model, "unit": "ms", "part": "test", "n": 8, "check": "r2", "value": 0.98, "ci_low": 0.96,
              "ci_high": 0.99, "least": 0.95, "most": np.nan, "passes": True}  # fmt: skip
    write_table(pd.DataFrame([checks]), run / "certificate.tsv")


def _people(cohort: Cohort) -> dict[str, list]:
    who = cohort.participants[["scan_id", "participant_id", "diagnosis"]]
    return {name: who[name].tolist() for name in who}


def _quality(method: str, n: int, salt: int) -> np.ndarray:
    return 1 / (1 + METHODS[method]) + np.random.default_rng(salt).normal(0, 0.03, n)


def _scores(model: str, method: str, cohort: Cohort) -> pd.DataFrame:
    parts = []
    for salt, metric in enumerate(("average_precision", "auroc", "mass_accuracy")):
        parts.append(pd.DataFrame({
            **WHO, "model": model, "method": method, "level": "scan", **_people(cohort), "population": "scan",
            "rectify": "abs_before", "truth": "counterfactual", "smoothing_mm": 0.0, "metric": metric,
            "value": _quality(method, len(cohort), salt), "chance": 0.1,
        }))  # fmt: skip
    return pd.concat(parts)


def _areas(model: str, method: str, stack: np.ndarray, cohort: Cohort) -> pd.DataFrame:
    areas = np.stack([cohort.labels(scan_id) for scan_id in cohort.scan_ids])
    table = relevance_by_area(stack, areas, sorted(cohort.label_names), cohort.scan_ids)
    mass = relevance_by_area(np.abs(stack), areas, sorted(cohort.label_names), cohort.scan_ids)["sum"]
    table = table.rename(columns={"scan": "scan_id"})
    table["participant_id"] = table["scan_id"].str.replace("s", "p")
    return table.assign(
        **WHO, model=model, method=method, diagnosis="recording", target=0, predicted=0, mass=mass,
        name=table["area"].map(cohort.label_names), volume_mm3=table["n_voxels"] * STEP,
    )  # fmt: skip


def _probes(model: str, method: str, cohort: Cohort) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, curves = [], []
    for null, share in (("", 1.0), ("turned", 0.5)):
        for salt, (metric, setting) in enumerate(
            (("perturbation", "published 5"), ("perturbation", "published 25"), ("perturbation", "mean 10 %"),
             ("turbe_f", "mean"))
        ):  # fmt: skip
            about = {**WHO, "model": model, "method": method, "null": null, "metric": metric, "setting": setting}
            values = share * _quality(method, len(cohort), salt)
            rows.append(pd.DataFrame({**about, **_people(cohort), "value": values}))
            if setting in ("published 25", "mean 10 %"):
                x = np.linspace(0, 25 if "published" in setting else 0.1, 11)
                for i, value in enumerate(values):
                    who = {"scan_id": f"s{i}", "participant_id": f"p{i}"}
                    curves.append(pd.DataFrame({**about, **who, "x": x, "y": value * x / x[-1]}))
    return pd.concat(rows)[list(PROBE_COLUMNS)], pd.concat(curves)[list(CURVE_COLUMNS)]


def _write_truth(folder: Path) -> None:
    (folder / "truths").mkdir()
    with h5py.File(folder / "truths" / "counterfactual.h5", "w") as handle, Cohort(folder / "cohort.h5") as cohort:
        for output in OUTPUTS:
            mean = np.mean([np.abs(cohort.truth(scan_id, output)) for scan_id in cohort.scan_ids], axis=0)
            handle[f"outputs/{output}/map"] = mean
            handle[f"outputs/{output}/mask"] = mean > 0.05 * mean.max()
        handle["map"], handle["mask"] = mean, mean > 0.05 * mean.max()


def without_truths(folder: Path, copy: Path) -> Path:
    """Copy a study and take what is known about the truth out of its kept scans."""
    shutil.copytree(folder, copy)
    for path in copy.glob("*/fold-0_seed-0/examples.h5"):
        with h5py.File(path, "a") as handle:
            for entry in handle.values():
                del entry["truth"], entry["labels"]
    return copy


def write_tables(folder: Path) -> dict[str, Path]:
    """Run the stage `tabulate`; return the tables by name."""
    from heatproof.publication.captions import TABLES
    from heatproof.stages.tabulate import tabulate

    paths = {name: folder / "tables" / f"{name}.tsv" for name in TABLES}
    parquet = {name: folder / f"{name}.parquet" for name in (
        "scores", "areas", "nulls", "probes", "curves", "spreads", "exclusions", "simulations")}  # fmt: skip
    tabulate(
        "ecg", MODELS, {name: {"method": name} for name in METHODS}, **parquet, intake=folder / "intake.tsv",
        predictions=sorted(folder.glob("*/fold-*/predictions.tsv")),
        certificates=sorted(folder.glob("*/fold-*/certificate.tsv")), volumes=folder / "volumes.tsv",
        cohort=folder / "cohort.h5", settings=(), simulators={}, seed=1, n_bootstrap=100, n_permutations=99,
        tables=paths,
    )  # fmt: skip
    return paths


def plot_inputs(folder: Path, tables: dict[str, Path]):
    """What the stage `plot` wants."""
    from heatproof.stages.results import PlotInputs

    return PlotInputs(
        study="ecg", models=MODELS, tables=tables, areas=folder / "areas.parquet", cohort=folder / "cohort.h5",
        participants=folder / "participants.tsv", volumes=folder / "volumes.tsv",
        truths={"counterfactual": folder / "truths" / "counterfactual.h5"},
        group_maps=sorted(folder.glob("*/pooled/*/group.h5")),
        histories=sorted(folder.glob("*/fold-*/history.tsv")),
        predictions=sorted(folder.glob("*/fold-*/predictions.tsv")), curves=folder / "curves.parquet",
        examples=sorted(folder.glob("*/fold-0_seed-0/examples.h5")),
    )  # fmt: skip
