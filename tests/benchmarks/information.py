"""Information curves: agreement of the entropies, parity and speed against PAIR saliency, and curves of an ECG network.

    PYTHONPATH=workflow:tests python tests/benchmarks/information.py [agreement] [speed] [infills] [ecg]

Without a name all parts run. `agreement` and `ecg` need HEATPROOF_SHARED_DATA. Times are CPU time of one thread, ours
and the peer's by turns in one process, the least of the repeats. The peer's calls into NumPy 1 are mended in place.
docs/information.md holds the tables of the last run.
"""

from __future__ import annotations

import argparse
import bz2
import io
import lzma
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy import ndimage, stats

from heatproof.attribution import attribute
from heatproof.metrics.information import THRESHOLDS, Setting, information_curves, information_scores, null_maps
from heatproof.metrics.information.entropies import lorenzo_information, quantised, webp_bytes
from heatproof.metrics.information.infills import linear, push_pull
from heatproof.metrics.information.published import published_infill
from heatproof.metrics.information.revealing import Ranking, corners, scattered_start
from heatproof.models import build
from heatproof.randomness import generator
from heatproof.statistics.resampling import bootstrap_means, interval

SHARES = [0.01, 0.02, 0.05, 0.1, 0.21, 0.34, 0.5, 0.75]
# Leads of an ECG, and how many of its 500 samples per second become one.
LEADS, STEP = 12, 5
AXES = ("information", "fraction")


def shared() -> Path:
    """Return the folder of the shared data."""
    return Path(os.environ["HEATPROOF_SHARED_DATA"])


# ------------------------------------------------------------------------------------------------- agreement


def png_bytes(image: np.ndarray) -> float:
    """Return the bytes of a PNG file of one 2-D image, shape (1, H, W)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, format="png", optimize=True)
    return float(buffer.tell())


def slices_webp(volume: np.ndarray) -> float:
    """Return the bytes of all slices of a volume, shape (1, X, Y, Z), as lossless WebP files."""
    return sum(webp_bytes(volume[:, :, :, place]) for place in range(volume.shape[-1]))


CODECS: dict[int, dict[str, Callable[[np.ndarray], float]]] = {
    1: {
        "bz2": lambda image: float(len(bz2.compress(image.tobytes()))),
        "lzma": lambda image: float(len(lzma.compress(image.tobytes()))),
        "zlib": lambda image: float(len(zlib.compress(image.tobytes(), 9))),
    },
    2: {"webp": webp_bytes, "png": png_bytes},
    3: {"webp of slices": slices_webp, "lzma": lambda image: float(len(lzma.compress(image.tobytes())))},
}


def picture_files(paths: list[Path]) -> Iterator[np.ndarray]:
    """Yield grey pictures of 224 x 224 as bytes, shape (1, H, W)."""
    from PIL import Image

    for path in paths:
        yield np.asarray(Image.open(path).convert("L").resize((224, 224), Image.Resampling.BILINEAR))[None]


def volumes(paths: list[Path]) -> Iterator[np.ndarray]:
    """Yield volumes as bytes, cut to the box that is not empty, at every second voxel, shape (1, X, Y, Z)."""
    import nibabel

    for path in paths:
        values = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
        box = ndimage.find_objects((values > 0).astype(int))[0]
        yield quantised(values[box][::2, ::2, ::2], (0.0, float(np.quantile(values[box], 0.999))))[None]


def template_slices() -> Iterator[np.ndarray]:
    """Yield slices of the MNI template that nilearn ships, shape (1, H, W)."""
    from nilearn.datasets import load_mni152_template

    values = load_mni152_template(resolution=1).get_fdata(dtype=np.float32)
    for place in range(40, 150, 10):
        yield quantised(values[:, :, place], (0.0, float(values.max())))[None]


def records(numbers: list[int]) -> Iterator[np.ndarray]:
    """Yield ECGs in millivolts at 100 Hz, shape (12, 1000): 16-bit interleaved WFDB signals."""
    for number in numbers:
        header = (shared() / f"ecg_ludb/data/{number}.hea").read_text().splitlines()
        gains = [float(line.split()[2].split("/")[0].split("(")[0]) for line in header[1 : LEADS + 1]]
        values = np.fromfile(shared() / f"ecg_ludb/data/{number}.dat", "<i2").reshape(-1, LEADS).T
        scaled = values / np.array(gains)[:, None]
        yield ndimage.uniform_filter1d(scaled, STEP, axis=1)[:, STEP // 2 :: STEP].astype(np.float32)


def data_sets() -> dict[str, tuple[int, list[np.ndarray]]]:
    """Return the number of space axes and the scans, as bytes, of every data set."""
    cheng = sorted((shared() / "brain_tumor_cheng/images").glob("*.png"))[::12]
    lungs = sorted((shared() / "covid_cxr_seg/images").glob("*.png"))[:24]
    brains = sorted((shared() / "oasis_malf/mni2mm_affine").glob("*_T1brain.nii.gz"))[:8]
    hearts = [quantised(record[:1], (-2.0, 2.0)) for record in records(list(range(1, 201, 8)))]
    return {
        "MNI slices": (2, list(template_slices())),
        "brain_tumor_cheng": (2, list(picture_files(cheng))),
        "covid_cxr_seg": (2, list(picture_files(lungs))),
        "ecg_ludb, lead I": (1, hearts),
        "oasis_malf, 4 mm": (3, list(volumes(brains))),
    }


def sequences(scan: np.ndarray, number: int) -> np.ndarray:
    """Return the images along three ways to reveal a scan: scattered, smooth, a blob, shape (25, C, *S)."""
    shape = scan.shape[1:]
    random = generator(0, "benchmark", "information", number)
    start = scattered_start(shape, random) | corners(shape)
    ranking = Ranking(start, random)
    noise = random.normal(size=shape)
    centre = random.random(len(shape)) * shape
    blob = -sum((np.indices(shape)[axis] - at) ** 2 for axis, at in enumerate(centre))
    masks = [start]
    for heatmap in (noise, ndimage.gaussian_filter(noise, max(shape) / 30), blob):
        order = ranking.order(heatmap)
        masks.extend(ranking.mask(order, share) for share in SHARES)
    return push_pull(scan, np.stack(masks))


def normalised(values: np.ndarray) -> np.ndarray:
    """Return x of a sequence whose first image is the blurred one and whose last is the original."""
    return (values - values[0]) / (values[-1] - values[0])


def agreement() -> None:
    """Print how well the n-dimensional entropy agrees with compressed size, over the scans of each data set."""
    print("| data | scans | against | Pearson (95 %) | Spearman (95 %) | mean absolute error (95 %) | left out |")
    print("|---|---|---|---|---|---|---|")
    for name, (n_axes, scans) in data_sets().items():
        rows: dict[str, list[list[float]]] = {codec: [] for codec in CODECS[n_axes]}
        lost = dict.fromkeys(rows, 0)
        for number, scan in enumerate(scans):
            images = np.concatenate([sequences(scan, number), scan[None]])
            ours = lorenzo_information(images)
            for codec, measure in CODECS[n_axes].items():
                theirs = np.array([measure(np.ascontiguousarray(image)) for image in images])
                if ours[-1] <= ours[0] or theirs[-1] <= theirs[0]:
                    lost[codec] += 1
                    continue
                one, other = normalised(ours)[1:-1], normalised(theirs)[1:-1]
                # What enters a curve is clipped.
                apart = float(np.abs(one.clip(0, 1) - other.clip(0, 1)).mean())
                rows[codec].append([stats.pearsonr(one, other)[0], stats.spearmanr(one, other)[0], apart])
        for codec, found in rows.items():
            columns = " | ".join(with_interval(np.array(found).reshape(-1, 3)))
            print(f"| {name} | {len(found)} | {codec} | {columns} | {lost[codec]} |")


def with_interval(values: np.ndarray) -> list[str]:
    """Return the mean of each column with its bootstrap interval over rows, as text."""
    if not len(values):
        return ["-"] * values.shape[1]
    low, high = interval(bootstrap_means(values, 0, 2000), len(values))
    return [f"{m:.3f} ({a:.3f} to {b:.3f})" for m, a, b in zip(values.mean(axis=0), low, high, strict=True)]


# ----------------------------------------------------------------------------------------------------- speed


def mended_peer() -> Any:
    """Return `saliency.metrics.pic` with the functions that NumPy 2.4 no longer has."""
    from saliency.metrics import pic

    names = {name: getattr(np, name) for name in dir(np) if not name.startswith("__")}
    pic.np = SimpleNamespace(**{**names, "trapz": np.trapezoid})
    return pic


def timed(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least CPU seconds of each call, by turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            seconds[name].append(time.process_time() - begin)
    return {name: min(found) for name, found in seconds.items()}


def speed(size: int, repeats: int, maps: list[int]) -> None:
    """Print how much faster than the peer both modes are, with a model that costs nothing."""
    from skimage import data, transform

    pic, random = mended_peer(), np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.normal(size=(20, size, size)), (0, 8, 8))
    print("| image | maps | peer, AIC + SIC | pair, AIC + SIC | ratio | largest deviation of the area | ", end="")
    print("peer, one curve | nd push_pull, AIC + SIC | ratio |\n|---|---|---|---|---|---|---|---|---|")
    for name, colour in (("camera", False), ("astronaut", True)):
        picture = (transform.resize(getattr(data, name)(), (size, size)) * 255).astype(np.uint8)
        image = np.moveaxis(picture, -1, 0) if colour else picture[None]
        start = pic.generate_random_mask(size, size)
        wanted, blurred = image.astype(np.float64), published_infill(image, start[None]).astype(np.float64)
        spread = ((blurred - wanted) ** 2).mean()

        def model(images: np.ndarray, wanted: np.ndarray = wanted, spread: float = spread) -> np.ndarray:
            apart = ((images - wanted) ** 2).mean(axis=(1, 2, 3)) / spread
            right = 1 / (1 + np.exp(-6 * (0.5 - apart)))
            return np.stack([1 - right, right], axis=1)

        for n_maps in maps:
            areas: dict[str, np.ndarray] = {}

            def peer(score: str, picture=picture, start=start, model=model, colour=colour, n_maps=n_maps, areas=areas):
                def answer(images):
                    found = model(np.moveaxis(images, -1, 1) if colour else images[:, None])
                    return found[:, 1] if score == "sic" else (found.argmax(axis=1) == 1).astype(float)

                found = [pic.compute_pic_metric(picture, each, start, answer, THRESHOLDS) for each in smooth[:n_maps]]
                areas[score] = np.array([each.auc for each in found])

            def ours(mode: str, image=image, start=start, model=model, n_maps=n_maps, areas=areas):
                at = start if mode == "pair" else None
                curves = information_curves(image, smooth[:n_maps], model, 1, mode=mode, start=at)
                areas[mode] = np.stack([curves.aic_auc, curves.sic_auc])

            calls = {"both": lambda: (peer("aic"), peer("sic")), "one": lambda: peer("sic")}
            calls |= {"pair": lambda: ours("pair"), "nd": lambda: ours("nd")}
            ours("nd")
            found = timed(calls, repeats)
            apart = np.abs(areas["pair"] - np.stack([areas["aic"], areas["sic"]])).max()
            print(
                f"| {name} {size}^2, {len(image)} channel(s) | {n_maps} | "
                f"{found['both']:.2f} s | {found['pair']:.2f} s | "
                f"{found['both'] / found['pair']:.1f} | {apart:.0e} | {found['one']:.2f} s | {found['nd']:.3f} s | "
                f"{found['one'] / found['nd']:.0f} |"
            )


def infills() -> None:
    """Print what the infills cost for one map of thirteen shares, and how alike they rank maps."""
    print("| grid | push_pull | linear, smooth map | linear, scattered map |\n|---|---|---|---|")
    for shape in ((1000,), (224, 224), (16, 16, 16), (24, 24, 24)):
        random = np.random.default_rng(0)
        image = ndimage.gaussian_filter(random.normal(size=shape), 2)[None].astype(np.float32)
        start = scattered_start(shape, random) | corners(shape)
        ranking, noise = Ranking(start, random), random.normal(size=shape)
        masks = {}
        for name, heatmap in (("scattered", noise), ("smooth", ndimage.gaussian_filter(noise, max(shape) / 30))):
            order = ranking.order(heatmap)
            masks[name] = np.stack([ranking.mask(order, share) for share in THRESHOLDS])
        push_pull(image, masks["smooth"])
        found = timed(
            {
                "push_pull": lambda image=image, masks=masks: push_pull(image, masks["smooth"]),
                "smooth": lambda image=image, masks=masks: linear(image, masks["smooth"]),
                "scattered": lambda image=image, masks=masks: linear(image, masks["scattered"]),
            },
            repeats=1,
        )
        print(
            f"| {' x '.join(map(str, shape))} | " + " | ".join(f"{seconds:.3f} s" for seconds in found.values()) + " |"
        )


# ------------------------------------------------------------------------------------------------------- ECG

METHODS: dict[str, dict[str, object]] = {
    "saliency": {},
    "integrated_gradients": {},
    "gradcam": {},
    "lrp": {"rule": "composite"},
    "random_noise": {},
    "smooth_noise": {},
    "input_magnitude": {},
    "edges": {},
    "centre_prior": {},
}


def ecg() -> None:
    """Train a 1-D network on left ventricular hypertrophy and print its maps' areas with intervals over people."""
    import pandas as pd

    table = pd.read_csv(shared() / "ecg_ludb/ludb.csv")
    labels = table["Hypertrophies"].fillna("").str.contains("Left ventricular hypertrophy").to_numpy().astype(int)
    scans = np.stack(list(records(table["ID"].tolist())))
    order = generator(0, "benchmark", "people").permutation(len(scans))
    test, train = np.sort(order[:80]), np.sort(order[80:])
    scale = scans[train].std(axis=(0, 2), keepdims=True)
    inputs = torch.from_numpy((scans / scale).astype(np.float32))
    network = trained(inputs[train], torch.from_numpy(labels[train]))
    with torch.inference_mode():
        predicted = network(inputs[test]).argmax(1).numpy()
    right = [int(scan) for scan, guess in zip(test, predicted, strict=True) if guess == labels[scan]]
    recall = [float((predicted[labels[test] == group] == group).mean()) for group in (0, 1)]
    print(f"{len(train)} people trained on, {len(test)} tested ({labels[test].sum()} with hypertrophy); ", end="")
    print(f"balanced accuracy {np.mean(recall):.3f}; curves of the {len(right)} that are classified right")
    window = tuple(np.quantile(inputs[train].numpy(), [0.001, 0.999]).tolist())
    settings = [Setting(infill=infill, axis=axis) for infill in ("push_pull", "linear") for axis in AXES]
    curves = [of_person(network, inputs[scan], int(labels[scan]), scan, window, settings) for scan in right]
    names = [*METHODS, *(f"{name}, {null}" for name in list(METHODS)[:4] for null in ("turned", "phase"))]
    for place, setting in enumerate(settings):
        counted = [person[place] for person in curves if not person[place].excluded]
        reasons = sorted({person[place].excluded for person in curves} - {""})
        print(f"\n{setting.name}: {len(counted)} of {len(curves)} people; left out: {'; '.join(reasons) or 'nobody'}\n")
        print("| map | AIC (95 %) | SIC (95 %) |\n|---|---|---|")
        areas = np.stack([np.column_stack([person.aic_auc, person.sic_auc]) for person in counted], axis=0)
        for row, name in enumerate(names):
            print(f"| {name} | {' | '.join(with_interval(areas[:, row]))} |")
    rank_agreement(settings, curves, list(METHODS))


def trained(inputs: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    """Return wang_b for 1-D signals after Adam with weighted cross-entropy, from a fixed seed."""
    network = build("wang_b", in_channels=inputs.shape[1], n_classes=2, shape=tuple(inputs.shape[2:]), seed=0, width=8)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-3)
    weights = len(labels) / (2 * torch.bincount(labels).float())
    random = generator(0, "benchmark", "training")
    network.train()
    torch.manual_seed(0)
    for _ in range(25):
        for few in torch.from_numpy(random.permutation(len(labels))).split(16):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs[few]), labels[few], weight=weights).backward()
            optimiser.step()
    return network.eval()


def of_person(network, scan: torch.Tensor, target: int, number: int, window, settings: list[Setting]) -> list[Any]:
    """Return the curves of one person: methods, controls, and the nulls of the methods."""
    maps = {}
    for name, parameters in METHODS.items():
        found = attribute(name, network, scan[None], target, scan_keys=[number], **parameters)[0]
        maps[name] = found.abs().sum(0).numpy() if len(found) > 1 else found[0].numpy()
    for name in list(METHODS)[:4]:
        for null, heatmap in null_maps(maps[name], generator(0, "benchmark", "nulls", name, number)).items():
            maps[f"{name}, {null}"] = heatmap

    def predict(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(images).softmax(1)

    return information_scores(
        scan, np.stack(list(maps.values())), predict, target, settings, seed=number, window=window
    )


def rank_agreement(settings: list[Setting], curves: list[list[Any]], names: list[str]) -> None:
    """Print Kendall's tau between the settings' orders of the mean areas."""
    print("\n| settings | tau of AIC | tau of SIC |\n|---|---|---|")
    for first, one in enumerate(settings):
        for second in range(first + 1, len(settings)):
            taus = []
            for metric in ("aic_auc", "sic_auc"):
                means = [
                    np.nanmean([getattr(person[place], metric)[: len(names)] for person in curves], axis=0)
                    for place in (first, second)
                ]
                taus.append(stats.kendalltau(*means)[0])
            print(f"| {one.name} / {settings[second].name} | {taus[0]:.2f} | {taus[1]:.2f} |")


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["agreement", "speed", "infills", "ecg"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--maps", type=int, nargs="+", default=[1, 5])
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = {
        "agreement": agreement,
        "speed": lambda: speed(options.size, options.repeats, options.maps),
        "infills": infills,
        "ecg": ecg,
    }
    for name in options.parts:
        print(f"\n## {name}\n")
        parts[name]()


if __name__ == "__main__":
    main()
