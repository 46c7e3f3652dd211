"""A small study on disk whose heatmaps are rated: a cohort, and maps of two models by nine methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from heatproof.cohorts.store import RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.geometry import Grid
from heatproof.stages.rating_kit import KitJob
from schema_defaults import defaults_of

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
METHODS = (
    "saliency", "deconvolution", "guided_backprop", "expected_gradients", "smoothgrad", "input_x_gradient", "deeplift",
    "integrated_gradients", "gradcam",
)  # fmt: skip
OUTPUTS = {"interval": "pr", "amplitude": "r_v5"}
N_PEOPLE = 7


def beat(n_samples: int, shift: float) -> np.ndarray:
    """Twelve leads of one beat in mV, with a P, a QRS and a T wave."""
    time = np.linspace(0, 1, n_samples)
    waves = ((0.25 - shift, 0.03, 0.12), (0.4, 0.012, 1.0), (0.42, 0.01, -0.25), (0.7, 0.06, 0.3))
    shape = sum(size * np.exp(-(((time - place) / width) ** 2)) for place, width, size in waves)
    return np.stack([shape * size for size in (0.6, 1, 0.4, -0.8, 0.2, 0.7, -0.6, 0.3, 0.8, 1.2, 1.1, 0.8)])


def write_study(folder: Path, shape: tuple[int, ...] = (150,), n_people: int = N_PEOPLE) -> dict[str, Any]:
    """Write cohort and maps; returns what `draw_kit` takes. Signals have twelve leads, images and volumes classes."""
    random = np.random.default_rng(0)
    leads = LEADS if len(shape) == 1 else ()
    grid = {1: Grid(shape, None, (4.0,), "ms"), 2: Grid(shape, units="pixel"), 3: None}[len(shape)]
    grid = grid or Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    source = Source(grid, [], mask=np.ones(shape, bool), channel_names=leads, outputs={"pr": "ms"} if leads else {})
    if leads:
        source.classes, source.has_controls = ("recording",), False
    scan_ids = []
    with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source, max(1, len(leads))) as writer:
        for person in range(n_people):
            # The first person was scanned twice.
            for visit in range(1 + (person == 0)):
                target = 0 if leads else person % 2
                row = {"scan_id": f"scan{person}-{visit}", "participant_id": f"person{person}",
                       "diagnosis": source.classes[target], "target": target}  # fmt: skip
                row |= {"pr": 150.0} if leads else {}
                values = beat(shape[0], person / 200) if leads else random.normal(size=(1, *shape))
                writer.add(row, RawScan(values.astype(np.float32), grid))
                scan_ids.append(row["scan_id"])
    maps: dict[str, dict[str, Path]] = {}
    for model, output in OUTPUTS.items():
        for method in METHODS:
            path = folder / model / "fold-0_seed-1" / method / "maps.h5"
            path.parent.mkdir(parents=True)
            channels = len(leads) if leads and method != "gradcam" else 1
            with h5py.File(path, "w") as file:
                file["maps"] = random.normal(size=(len(scan_ids), channels, *shape)).astype(np.float32) ** 3
                file["scan_ids"] = np.array(scan_ids, dtype=object)
                file["target"] = np.zeros(len(scan_ids), int) if leads else np.ones(len(scan_ids), int)
                file.attrs["method"] = method
                if leads:
                    file.attrs["output"] = output
            maps.setdefault(model, {})[method] = path
    files = {"cohort": folder / "cohort.h5", "participants": folder / "participants.tsv", "maps": maps}
    return {**files, "page": folder / "rating.html", "key": folder / "key.tsv"}


def kit_job(**changes: Any) -> KitJob:
    """The job of a kit with three scans per model, one of them repeated."""
    spec = {**defaults_of("rating.yaml"), "n_scans": 3, "n_repeats": 1, **changes}
    return KitJob("demo", 2026, 0, 1, spec)
