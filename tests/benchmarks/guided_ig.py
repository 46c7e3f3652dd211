"""Guided integrated gradients of a batch of images, against PAIR saliency, which takes one image at a time.

    PYTHONPATH=workflow:tests:PEERS python tests/benchmarks/guided_ig.py [--scans 16] [--sizes 28 64 128] [--threads 1]

PEERS is a folder that holds the saliency package; its call of `numpy.quantile` is mended, as NumPy 2.4 refuses it.
Ours and the peer's run by turns in one process, the least time of each counts. The time of the gradients alone,
which either has to take, shows what the batch is worth on the machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from collections.abc import Callable

import torch
from torch import nn

from attribution.evidence import deviation
from attribution.evidence.guided_ig import gradients_for_saliency, saliency_guided_ig
from heatproof.attribution import attribute
from heatproof.attribution.isolation import isolated
from heatproof.attribution.passes import input_gradient

N_STEPS = 25


def network() -> nn.Module:
    """Return three convolutions with normalisation and pooling, and a dense layer, in single precision."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((1, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)).eval()


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return seconds and CPU seconds."""
    begin, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begin, time.process_time() - busy


def least(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Return the least seconds and CPU seconds of calls that run by turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(timed(call))
    return {name: (min(wall for wall, _ in each), min(busy for _, busy in each)) for name, each in times.items()}


def calls(model: nn.Module, scans: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Return what is timed: both maps, and the gradients of one step of each."""
    one_by_one, twin = gradients_for_saliency(model, 1), isolated(model)
    pictures, target = scans.movedim(1, -1).numpy(), torch.ones(len(scans), dtype=torch.long)
    return {
        "ours": lambda: attribute("guided_ig", model, scans, 1, batch_size=len(scans), n_steps=N_STEPS),
        "peer": lambda: saliency_guided_ig(model, scans, 1),
        "our gradients": lambda: input_gradient(twin, scans, target, "logit"),
        "peer's gradients": lambda: [one_by_one(each[None]) for each in pictures],
    }


def main() -> None:
    """Run both at every size and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=16)
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 64, 128])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    version = importlib.metadata.version("saliency")
    model = network()
    for size in options.sizes:
        scans = torch.rand(options.scans, 1, size, size, generator=torch.Generator().manual_seed(1))
        found = least(calls(model, scans), options.repeats)
        # in double precision, as in single precision rounding swaps values of nearly equal gradient
        exact, few = model.double(), scans[:2].double()
        apart = deviation(attribute("guided_ig", exact, few, 1, n_steps=N_STEPS), saliency_guided_ig(exact, few, 1))
        model.float()
        ratios = [
            f"{found[peer][kind] / found[ours][kind]:.2f}"
            for ours, peer in (("ours", "peer"), ("our gradients", "peer's gradients"))
            for kind in (0, 1)
        ]
        print(
            f"{options.scans} images of {size}^2, {options.threads} threads: saliency {version} / ours {ratios[0]} in "
            f"time, {ratios[1]} in CPU time; gradients alone {ratios[2]}, {ratios[3]}; deviation {apart:.0e}"
        )


if __name__ == "__main__":
    main()
