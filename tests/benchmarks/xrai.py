"""XRAI of images after integrated gradients, against PAIR saliency: CPU time of one thread, and the same map.

    PYTHONPATH=workflow:tests:PEERS python tests/benchmarks/xrai.py [--repeats 3] [--size 224]

PEERS is a folder that holds the saliency package. Both get the same base map; what is timed is all that follows:
segments, their dilation, and the order they are taken in. Ours and the peer's run by turns in one process, the
least time of each counts. One call of ours before compiles the loop over edges (its time is printed).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from skimage import data, transform
from torch import nn

from heatproof.attribution import attribute

IMAGES = ("camera", "coins", "coffee", "astronaut", "gravel", "brick")


def timed(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return CPU seconds and the map."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def compared(picture: np.ndarray, algorithm: str, repeats: int) -> tuple[float, float, float]:
    """Return the least seconds of ours and of the peer, and how far the maps are apart."""
    from saliency.core.xrai import XRAI, XRAIParameters

    base = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=picture.shape), (3, 3, 0))
    scan, first = (torch.from_numpy(each).movedim(-1, 0)[None] for each in (picture, base))
    settings = XRAIParameters(algorithm=algorithm)
    calls = {
        "ours": lambda: attribute("xrai", nn.Identity(), scan, 0, base=first, algorithm=algorithm)[0, 0].numpy(),
        "peer": lambda: XRAI().GetMask(picture, None, base_attribution=base, extra_parameters=settings),
    }
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    maps = {}
    for _ in range(repeats):
        for who, call in calls.items():
            seconds, maps[who] = timed(call)
            times[who].append(seconds)
    apart = np.abs(maps["ours"] - maps["peer"]).max() / np.abs(maps["peer"]).max()
    return min(times["ours"]), min(times["peer"]), float(apart)


def main() -> None:
    """Run both on every image and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    flat = torch.rand(1, 1, 32, 32)
    attribute("xrai", nn.Identity(), flat, 0, base=flat)
    print(f"first call: {time.perf_counter() - begin:.2f} s")
    version = importlib.metadata.version("saliency")
    for name in IMAGES:
        picture = transform.resize(getattr(data, name)(), (options.size, options.size)).astype(np.float64)
        picture = picture.reshape(options.size, options.size, -1)
        for algorithm in ("full", "fast"):
            ours, peer, apart = compared(picture, algorithm, options.repeats)
            print(
                f"{name}, {options.size}^2, {picture.shape[2]} channels, {algorithm}: saliency {version} {peer:.3f} s, "
                f"ours {ours:.3f} s: {peer / ours:.1f} times, deviation {apart:.0e}"
            )


if __name__ == "__main__":
    main()
