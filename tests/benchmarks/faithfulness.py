"""CPU time of faithfulness scores beside other libraries.

    PYTHONPATH=workflow python tests/benchmarks/faithfulness.py --repeats 3

One thread, contestants by turns, best of the repeats: the ratio of CPU times survives a busy machine. Imputation of one
scan against pytorch-grad-cam's, with holes scattered and in one piece; infidelity of twenty maps against captum's,
which takes one map a call. pytorch-grad-cam's imputation knows images only, so volumes show our own time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from heatproof.metrics.faithfulness import infidelity, noisy_linear

N_MAPS, N_SAMPLES = 20, 50


def best(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least CPU time of each call, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            times[name].append(time.process_time() - begin)
    return {name: min(values) for name, values in times.items()}


def imputation(shape: tuple[int, ...], n_channels: int, repeats: int) -> None:
    """Print the times of one imputation for holes of several sizes and shapes."""
    random = np.random.default_rng(0)
    image = np.stack([gaussian_filter(random.normal(size=shape), 3) for _ in range(n_channels)])
    for kind, sigma in (("scattered", 0), ("smooth", 6)):
        field = gaussian_filter(random.normal(size=shape), sigma) if sigma else random.normal(size=shape)
        for share in (0.1, 0.5, 0.9):
            removed = field > np.quantile(field, 1 - share)
            calls: dict[str, Callable[[], Any]] = {"ours": lambda gone=removed: noisy_linear(image, gone)}
            if len(shape) == 2:
                calls |= grad_cam(image, removed)
            times = best(calls, repeats)
            ratio = f", peer / ours {times['peer'] / times['ours']:.1f}" if "peer" in times else ""
            print(f"imputation {shape} x {n_channels}, {kind} {share}: ours {1e3 * times['ours']:.0f} ms{ratio}")


def grad_cam(image: np.ndarray, removed: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return the peer's imputation, if it is installed."""
    try:
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer
    except ImportError:
        return {}
    imputer = NoisyLinearImputer(noise=0.0)
    scan, kept = torch.from_numpy(image).float(), torch.from_numpy((~removed).astype(np.float32))
    return {"peer": lambda: imputer(scan, kept)}


def infidelities(repeats: int) -> None:
    """Print the times of the infidelity of all maps of one scan."""
    from captum.metrics import infidelity as captum_infidelity

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3, stride=2), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(256, 2),
    ).eval()  # fmt: skip
    scan, maps = torch.randn(1, 128, 128), torch.randn(N_MAPS, 1, 128, 128)

    def noise(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = 0.2 * torch.randn_like(inputs)
        return drawn, inputs - drawn

    def peer() -> list[torch.Tensor]:
        return [
            captum_infidelity(network, noise, scan[None], one[None], target=1, n_perturb_samples=N_SAMPLES,
                              max_examples_per_batch=32, normalize=True)
            for one in maps
        ]  # fmt: skip

    times = best(
        {"ours": lambda: infidelity(scan, maps, network, 1, n_samples=N_SAMPLES, seed=0, scale=0.2), "peer": peer},
        repeats,
    )
    print(f"infidelity of {N_MAPS} maps, captum {version('captum')}: peer / ours {times['peer'] / times['ours']:.1f}")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        print(f"peer of the imputation: grad-cam {version('grad-cam')}")
    except PackageNotFoundError:
        print("grad-cam is not installed")
    with threadpool_limits(1):
        imputation((224, 224), 3, options.repeats)
        imputation((48, 58, 48), 1, options.repeats)
        infidelities(options.repeats)


if __name__ == "__main__":
    main()
