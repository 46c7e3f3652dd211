"""CPU time of occlusion and DeepLIFT on a 3-D network, beside captum at the same settings.

    python tests/benchmarks/perturbation.py --window 10 12 10 --stride 10 12 10

All contestants run by turns in one process on one thread, and each gets its best time: ratios of CPU time hold on
a busy machine. Captum's occlusion gets the number of windows per pass that is fastest for it among those tried.
Captum's DeepLIFT maps differ because it errs where a ReLU touches a maximum; its time is the same.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))


def network() -> nn.Module:
    """Return a network of four blocks with batch normalisation, always with the same weights."""
    torch.manual_seed(0)
    layers, channels = [], 1
    for width in (8, 16, 32, 64):
        layers += [nn.Conv3d(channels, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(2)]
        channels = width
    layers += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(64, 2)]
    return nn.Sequential(*layers).eval()


def compare(title: str, ours: str, contestants: dict[str, Callable[[], torch.Tensor]], repeats: int) -> None:
    """Print the best CPU time of each contestant, the ratio of the fastest peer's to ours, and how maps differ."""
    best: dict[str, float] = {}
    maps: dict[str, torch.Tensor] = {}
    for _ in range(repeats):
        for name, call in contestants.items():
            begin = time.process_time()
            maps[name] = call().detach()
            best[name] = min(best.get(name, float("inf")), time.process_time() - begin)
    peer = min((name for name in best if name != ours), key=best.__getitem__)
    differ = float((maps[peer][:, :1] - maps[ours][:, :1]).abs().max() / maps[peer].abs().max())
    print(title, {name: round(seconds, 3) for name, seconds in best.items()})
    print(
        f"  {peer} / ours: {best[peer] / best[ours]:.2f} in CPU time; maps differ by up to {differ:.1e} of the largest"
    )


def main() -> None:
    """Run all contestants by turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[50, 59, 48])
    parser.add_argument("--window", type=int, nargs=3, default=[10, 12, 10])
    parser.add_argument("--stride", type=int, nargs=3, default=[10, 12, 10])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--background", type=int, default=8, help="training scans of DeepSHAP")
    options = parser.parse_args()
    import captum
    from captum.attr import DeepLift, DeepLiftShap, Occlusion

    from heatproof.attribution import attribute

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("captum", captum.__version__, "PyTorch", torch.__version__, "shape", options.shape)
    model, scan = network(), torch.rand(1, 1, *options.shape)
    background = torch.rand(options.background, 1, *options.shape)
    sliding = {"sliding_window_shapes": (1, *options.window), "strides": (1, *options.stride), "target": 1}

    def captum_occlusion(n_windows: int) -> Callable[[], torch.Tensor]:
        return lambda: Occlusion(model).attribute(scan, perturbations_per_eval=n_windows, **sliding)

    with torch.no_grad():
        compare(
            "occlusion",
            "ours",
            {
                "ours": lambda: attribute("occlusion", model, scan, 1, window=options.window, stride=options.stride),
                **{f"captum, {number} windows a pass": captum_occlusion(number) for number in (1, 8, 32)},
            },
            options.repeats,
        )
    compare(
        "deeplift",
        "ours",
        {
            "ours": lambda: attribute("deeplift", model, scan, 1),
            "captum": lambda: DeepLift(model).attribute(scan, torch.zeros_like(scan), 1),
        },
        3 * options.repeats,
    )
    compare(
        "deepshap",
        "ours",
        {
            "ours": lambda: attribute("deepshap", model, scan, 1, background=background),
            "captum": lambda: DeepLiftShap(model).attribute(scan, background, 1),
        },
        options.repeats,
    )


if __name__ == "__main__":
    main()
