"""Simulated scans as the stage `simulate` leaves them: a good and three bad simulators on blobs of 1 to 3 axes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from heatproof.cohorts.deformations import exponential, jacobian_determinant, warp
from heatproof.figures.simulated import SimulatedScan
from heatproof.geometry import Grid
from heatproof.stages.simulated import read_simulated

DOSES = (0.25, 0.5, 0.75, 1.0)
SHAPES = {1: (96,), 2: (48, 48), 3: (20, 24, 20)}
SIMULATORS = {"velocity": "warp", "published": "warp", "map_generator": "additive", "attack": "attack"}
# The answer of the network to a scan, and how far each simulator moves it at the full dose.
BEFORE, REACHED = -2.1, {"velocity": 5.0, "published": 6.5, "map_generator": 4.0, "attack": 8.0}
SCORES = {
    "change_correlation": (0.62, 0.41, 0.3, 0.04), "jacobian_correlation": (0.55, 0.33, None, None),
    "image_correlation": (0.97, 0.95, 0.94, 0.9), "leakage": (0.2, 0.4, 0.5, 0.6),
    "loss_inside": (0.6, 0.3, None, None), "moved": (1.0, 1.0, 0.95, 1.0), "referee_moved": (0.97, 0.9, 0.8, 0.2),
    "folded": (0.0, 0.03, None, None),
    "dose_tau": (0.9, 0.5, 0.6, 0.98),
}  # fmt: skip


def grid_of(axes: int) -> Grid:
    """The grid of the blobs: in 3-D with an affine of 4 mm, whose first axis runs to the left."""
    shape = SHAPES[axes]
    if axes < 3:
        return Grid(shape, spacing=(2.0,) * axes, units="ms" if axes == 1 else "pixel")
    affine = np.diag([-4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (38, -46, -30)
    return Grid(shape, affine)


def bump(shape: tuple[int, ...], centre: float, width: float) -> np.ndarray:
    """A Gaussian on the diagonal, at a share of the grid."""
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij"))
    return np.exp(-0.5 * ((places - centre) ** 2).sum(axis=0) / width**2)


def contraction(shape: tuple[int, ...], centre: float, strength: float) -> np.ndarray:
    """Pull-back displacement (voxels) that draws tissue towards a point."""
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij"))
    scale = np.reshape([n - 1 for n in shape], (-1, *[1] * len(shape)))
    return exponential(strength * scale * (places - centre) * bump(shape, centre, 0.12))


def example(axes: int, direction: str = "injection", channels: int = 1, seed: int = 0) -> dict:
    """One scan with what four simulators made of it: arrays and attributes by the names of the file."""
    shape, random = SHAPES[axes], np.random.default_rng(seed)
    image = sum(0.8 * (bump(shape, c, 0.11) > 0.5) + 0.2 * bump(shape, c, 0.2) for c in (0.27, 0.73))
    image = image + 0.15 * np.sin(np.arange(shape[0]) / 1.5).reshape(-1, *[1] * (axes - 1))
    image = np.stack([(0.3 + channel) * image for channel in range(channels)]) if channels > 1 else image[None]
    sign = 1 if direction == "injection" else -1
    fields = {"exact": contraction(shape, 0.27, sign * 0.6), "velocity": contraction(shape, 0.3, sign * 0.5)}
    noise = random.normal(0, 0.35, (axes, *shape))
    fields["published"] = contraction(shape, 0.27, sign * 0.3) + noise
    changes = {name: np.stack([warp(channel, field) for channel in image]) - image for name, field in fields.items()}
    changes["map_generator"] = -sign * 0.3 * (bump(shape, 0.27, 0.1) + bump(shape, 0.73, 0.1)) * np.ones_like(image)
    changes["attack"] = random.normal(0, 0.01, image.shape)
    jacobians = {name: -np.log(np.maximum(jacobian_determinant(field), 1e-3)) for name, field in fields.items()}
    simulated = {
        name: {
            "change": np.stack([dose * changes[name] for dose in DOSES]),
            "answers": np.array([sign * (BEFORE + REACHED[name] * dose) for dose in DOSES]),
            **({"displacement": fields[name], "log_jacobian": jacobians[name]} if name in fields else {}),
        }
        for name in SIMULATORS
    }
    return {
        "scan_id": f"scan-{seed}", "diagnosis": "control" if sign > 0 else "patient", "direction": direction,
        "predicted": "control" if sign > 0 else "patient", "answer": sign * BEFORE, "image": image,
        "exact_change": changes["exact"], "exact_log_jacobian": jacobians["exact"],
        "effect": bump(shape, 0.27, 0.12) > 0.4, "simulated": simulated,
    }  # fmt: skip


def write(path: Path, axes: int, *, model: str = "conv_net", output: str = "", channels: int = 1) -> Path:
    """Write ``simulations.h5`` of one network: two scans with an injection, one with a removal."""
    kept = (("injection", 0), ("injection", 1), ("removal", 2))
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["model"], file.attrs["output"] = model, output
        for place, (direction, seed) in enumerate(kept):
            found = example(axes, direction, channels, seed)
            entry = file.create_group(f"{place:04d}", track_order=True)
            for name in ("scan_id", "diagnosis", "direction", "predicted", "answer"):
                entry.attrs[name] = found[name]
            for name in ("image", "exact_change", "exact_log_jacobian", "effect"):
                entry.create_dataset(name, data=found[name], compression="gzip")
            for name, parts in found["simulated"].items():
                group = entry.create_group(name)
                group.attrs["doses"], group.attrs["kind"] = DOSES, SIMULATORS[name]
                for part, values in parts.items():
                    group.create_dataset(part, data=values)
    return path


def scans(folder: Path, axes: int, **kinds: object) -> list[SimulatedScan]:
    """The kept scans of one network, as the stage `plot` reads them."""
    return read_simulated(write(folder / f"simulations_{axes}.h5", axes, **kinds))


def table(models: tuple[str, ...] = ("conv_net",)) -> pd.DataFrame:
    """What `tabulate` makes of such simulators: ``simulations.tsv``."""
    rows = []
    for model in models:
        for place, (name, kind) in enumerate(SIMULATORS.items()):
            shared = {"model": model, "recipe": "corrected", "simulator": name, "kind": kind, "direction": "both"}
            entries = [("answer_shift", dose, dose * REACHED[name] / 4) for dose in DOSES]
            entries += [(score, 1.0, values[place]) for score, values in SCORES.items() if values[place] is not None]
            entries += [("untouched_correlation", 1.0, 0.93)]
            entries += [("loss_inside_chance", 1.0, 0.12)] if kind == "warp" else []
            for score, dose, mean in entries:
                first = SCORES[score][0] if score in SCORES else dose * REACHED["velocity"] / 4
                gap = np.nan if place == 0 else mean - first
                rows.append({
                    **shared, "dose": dose, "score": score, "mean": mean, "low": mean - 0.04, "high": mean + 0.04,
                    "n_people": 30, "n_scans": 32, "n_runs": 3, "run_low": mean - 0.1, "run_high": mean + 0.1,
                    "reference": "velocity", "difference": gap, "difference_low": gap - 0.05,
                    "difference_high": gap + 0.05, "p_value": 0.001, "p_holm": 0.003, "runs_agree": "yes",
                })  # fmt: skip
    return pd.DataFrame(rows)
