"""One picture of every method: a phantom brain, a real tumour slice and a real ECG.

    PYTHONPATH=workflow:tests python tests/benchmarks/gallery.py --data FOLDER --study results/alzheimers \
        --write docs/gallery.png

FOLDER holds `brain_tumor_cheng` (slices and labels of Cheng et al.) and `ecg_ludb` (LUDB as PhysioNet ships it).
The brain's network is that of a finished study; the other two are trained here in about a minute each: tumour class
of a slice, and the height of the R wave in lead V5 of 1.2 s of ECG. The picture shows what maps look like; it ranks
nothing.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import nn
from torch.nn import functional

from heatproof.attribution import METHODS, attribute
from heatproof.cohorts.store import Cohort
from heatproof.figures.gallery import paint_plane, paint_trace
from heatproof.figures.maps import top_of
from heatproof.figures.style import drawing, label, save
from heatproof.models import load_weights
from heatproof.training import ScanLoader, read_fold
from heatproof.truths.atlases import anatomical_prior

LEAD, CORONAL, N_COLUMNS = 10, 27, 4  # V5; a slice through the hippocampi; blocks of three panels in a row
LRP = {"rule": "alpha_beta", "beta": 0.5}
# Parameters other than the defaults, so that the picture is drawn in minutes.
FEWER: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"n_steps": 50, "rule": "middle"},
    "smoothgrad_ig": {"n_samples": 10, "n_steps": 10},
    "rise": {"n_samples": 500},
    "lrp": LRP,
    "untrained": {"inner": "lrp", "inner_parameters": LRP},
    "label_permuted": {"inner": "lrp", "inner_parameters": LRP},
}


@dataclass
class Exhibit:
    """One scan with the network that is explained on it.

    Attributes
    ----------
    title : str
    model, permuted : nn.Module
        The network, and the same one trained on permuted labels.
    scan : Tensor, shape (1, C, *S)
    target : int or None
    background : Tensor, shape (N, C, *S)
        Training scans.
    context : dict
        Further context of the methods.
    outline : ndarray, optional
        What is drawn around: a mask on the grid of an image.
    """

    title: str
    model: nn.Module
    permuted: nn.Module
    scan: torch.Tensor
    target: int | None
    background: torch.Tensor
    context: dict[str, Any]
    outline: np.ndarray | None = None

    def map(self, name: str) -> np.ndarray | None:
        """Return the map of a method, shape (C or 1, *S), or None where it does not apply."""
        if name.startswith("svm") or (name == "anatomical_prior" and "prior" not in self.context):
            return None
        more = {"background": self.background, "permuted": self.permuted, **self.context, **FEWER.get(name, {})}
        return attribute(name, self.model, self.scan, self.target, **more)[0].numpy()


def brain(study: Path) -> Exhibit:
    """Return a patient of a finished study, explained by its first network."""
    with Cohort(study / "cohort.h5") as cohort:
        loader = ScanLoader(cohort, "zscore", cache_megabytes=0)
        parts = read_fold(study / "folds.tsv", "corrected", 0, cohort.participants)
        patients = [name for name in parts.test if cohort.participants.loc[name, "target"] == 1]
        run = next(path.parent for path in sorted(study.glob("wang_b/fold-0_seed-*/model.safetensors")))
        permuted = study / "wang_b-permuted" / run.name / "model.safetensors"
        context = {
            "zero_intensity": loader.zero_intensity(patients[:1]),
            "prior": torch.from_numpy(anatomical_prior(cohort.grid)),
        }
        networks = [load_weights(path).module.eval() for path in (run / "model.safetensors", permuted)]
        background = loader.batch(parts.train[:8])
        return Exhibit("phantom brain", *networks, loader.batch(patients[:1]), 1, background, context)


def tumour(folder: Path) -> Exhibit:
    """Return a real slice with a pituitary tumour, and a network that tells the three kinds of tumour apart."""
    from skimage.io import imread
    from skimage.transform import resize

    rows = list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))
    images = np.stack([resize(imread(folder / "images" / f"{row['index']}.png"), (128, 128)) for row in rows])
    classes = torch.tensor([int(row["label"]) - 1 for row in rows])
    scans = torch.from_numpy(images[:, None]).float()
    scans = (scans - scans.mean((2, 3), keepdim=True)) / scans.std((2, 3), keepdim=True)
    # no patient ids: blocks of neighbouring indices, every fifth of them kept for testing
    is_test = torch.tensor([(position // 10) % 5 == 4 for position in range(len(rows))])
    networks = [trained(two_dimensional(), scans[~is_test], classes[~is_test], shuffled) for shuffled in (False, True)]
    report(
        "tumour: accuracy on test slices", (networks[0](scans[is_test]).argmax(1) == classes[is_test]).float().mean()
    )
    found = networks[0](scans).argmax(1)
    shown = next(int(place) for place in torch.nonzero(is_test)[:, 0] if int(classes[place]) == int(found[place]) == 2)
    mask = resize(imread(folder / "masks" / f"{rows[shown]['index']}.png").astype(float), (128, 128))
    return Exhibit(
        "tumour slice", *networks, scans[shown : shown + 1], 2, scans[~is_test][:8], {}, mask > mask.max() / 2
    )


def heart(folder: Path) -> Exhibit:
    """Return 1.2 s of a real ECG, and a network that predicts the height of the R wave in V5."""
    windows, heights = [], []
    for record in range(1, 201):
        signal = record_of(folder / "data" / str(record))
        for first in range(200, signal.shape[1] - 800, 600):
            window = signal[:, first : first + 600]
            windows.append(window - np.median(window, axis=1, keepdims=True))
            heights.append(windows[-1][LEAD].max())
    scans = torch.from_numpy(np.stack(windows)).float()
    values = torch.tensor(np.array(heights)).float()
    is_test = torch.arange(len(scans)) >= 0.8 * len(scans)  # records in order: no record on both sides
    networks = [trained(one_dimensional(), scans[~is_test], values[~is_test], shuffled) for shuffled in (False, True)]
    found = networks[0](scans[is_test])[:, 0]
    report("ECG: R squared on test records", 1 - (found - values[is_test]).var() / values[is_test].var())
    shown = int(torch.nonzero(is_test)[7, 0])
    return Exhibit("ECG, lead V5", *networks, scans[shown : shown + 1], None, scans[~is_test][:8], {})


def record_of(path: Path) -> np.ndarray:
    """Return a WFDB record of format 16, shape (leads, samples), in mV."""
    lines = path.with_suffix(".hea").read_text(encoding="utf-8").splitlines()
    n_leads = int(lines[0].split()[1])
    fields = [line.split() for line in lines[1 : n_leads + 1]]
    if {field[1] for field in fields} != {"16"}:
        raise ValueError(f"{path}: not of format 16")
    counts = np.fromfile(path.with_suffix(".dat"), "<i2").reshape(-1, n_leads).T
    gains = np.array([float(field[2].split("(")[0].split("/")[0]) for field in fields])
    zeros = np.array([float(field[4]) for field in fields])
    return (counts - zeros[:, None]) / gains[:, None]


def report(what: str, value: torch.Tensor) -> None:
    """Print a number."""
    print(f"{what}: {float(value.detach()):.2f}", flush=True)


def blocks(convolution: type, norm: type, pool: type, channels: int, widths: tuple[int, ...]) -> Iterator[nn.Module]:
    """Yield convolution, normalisation, rectifier and maximum of each block."""
    for width in widths:
        yield from (convolution(channels, width, 5, padding=2), norm(width), nn.ReLU(), pool(2))
        channels = width


def two_dimensional() -> nn.Module:
    """Return the network for slices."""
    layers = blocks(nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, 1, (12, 24, 48, 64))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 3))


def one_dimensional() -> nn.Module:
    """Return the network for ECGs."""
    layers = blocks(nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, 12, (24, 32, 48, 64))
    return nn.Sequential(*layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, 1))


def trained(
    model: nn.Module, scans: torch.Tensor, targets: torch.Tensor, shuffled: bool, epochs: int = 20
) -> nn.Module:
    """Return a network trained on classes (integers) or on values, in their order or shuffled."""
    stream = torch.Generator().manual_seed(0)
    if shuffled:
        targets = targets[torch.randperm(len(targets), generator=stream)]
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-3)
    steps = epochs * (len(scans) // 32 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(scans), generator=stream).split(32):
            outputs = model(scans[batch])
            if targets.is_floating_point():
                loss = functional.mse_loss(outputs[:, 0], targets[batch])
            else:
                loss = functional.cross_entropy(outputs, targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def paint(axes: Axes, exhibit: Exhibit, heatmap: np.ndarray | None) -> None:
    """Draw a map over its scan: a slice, or a lead coloured by relevance."""
    axes.set_xticks([])
    axes.set_yticks([])
    scan = exhibit.scan[0].numpy()
    top = 0.0 if heatmap is None else top_of(heatmap, 99.5)
    if scan.ndim == 2:
        values = None if heatmap is None else heatmap[LEAD if len(heatmap) > 1 else 0]
        paint_trace(axes, np.arange(scan.shape[1]), scan[LEAD], values, top=top)
        return
    planes = [None if volume is None else flat(volume[0]) for volume in (scan, heatmap)]
    paint_plane(axes, planes[0], planes[1], exhibit.outline, top=top, signed=True)


def flat(values: np.ndarray) -> np.ndarray:
    """Return an image as it is, and one coronal slice of a volume with its top upwards."""
    return np.rot90(values[:, CORONAL]) if values.ndim == 3 else values


def draw(exhibits: list[Exhibit], path: Path) -> None:
    """Write the picture."""
    # by family, in the order in which the package brings them in; controls last
    families = list(dict.fromkeys(method.family for method in METHODS.values()))
    ordered = sorted(METHODS, key=lambda name: (METHODS[name].is_control, families.index(METHODS[name].family)))
    names = ["scan", *(name for name in ordered if not name.startswith("svm") and METHODS[name].family != "simulators")]
    n_rows = -(-len(names) // N_COLUMNS)
    with drawing() as make:
        figure = make(figsize=(5 * N_COLUMNS, 1.75 * n_rows + 0.8), layout="constrained")
        grid = figure.subplots(
            n_rows, 4 * N_COLUMNS - 1, width_ratios=([1, 1, 1.6, 0.12] * N_COLUMNS)[:-1], squeeze=False
        )
        for axes in grid.flat:
            axes.axis("off")
        for position, name in enumerate(names):
            line, column = divmod(position, N_COLUMNS)
            for offset, exhibit in enumerate(exhibits):
                axes = grid[line, 4 * column + offset]
                heatmap = None if name == "scan" else exhibit.map(name)
                if name == "scan" or heatmap is not None:
                    axes.axis("on")
                    paint(axes, exhibit, heatmap)
                else:
                    axes.text(0.5, 0.5, "none", ha="center", transform=axes.transAxes, color="#8a929c")
                if offset == 0:
                    axes.set_title("The scans" if name == "scan" else label(name))
            print(name, flush=True)
        figure.supxlabel(
            "Red (orange in signals) speaks for the target, blue against it; each map has a scale of its own. Left to\n"
            "right: a phantom brain (target: patient), a slice with a pituitary tumour (outlined; target: this kind),\n"
            "lead V5 of an ECG (target: height of its R wave). None: the method does not apply."
        )
        save(figure, [path])


def main() -> None:
    """Train, explain and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--study", type=Path, default=Path("results/alzheimers"))
    parser.add_argument("--write", type=Path, default=Path("docs/gallery.png"))
    options = parser.parse_args()
    torch.manual_seed(0)
    exhibits = [brain(options.study), tumour(options.data / "brain_tumor_cheng"), heart(options.data / "ecg_ludb")]
    draw(exhibits, options.write)


if __name__ == "__main__":
    main()
