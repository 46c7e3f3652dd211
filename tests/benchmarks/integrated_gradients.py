"""Time and memory of integrated gradients on a 3-D network, beside captum at the same settings.

    python tests/benchmarks/integrated_gradients.py --steps 50 --threads 2

Each contestant runs in a process of its own, by turns, so that peak memory is its own and noise hits both.
On a busy machine read the CPU time of one thread (--threads 1).
Captum gets the internal batch size that is fastest for it among those tried.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def network():
    """Return a network of four blocks with batch normalisation, always with the same weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers, channels = [], 1
    for width, pool in zip((8, 16, 32, 64), (2, 2, 2, 2), strict=True):
        layers += [nn.Conv3d(channels, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(pool)]
        channels = width
    layers += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(64, 2)]
    return nn.Sequential(*layers).eval()


def run(contestant: str, steps: int, threads: int, shape: tuple[int, ...]) -> dict[str, float]:
    """Return seconds, peak memory (GB) above that of the imports, and the sum of one map."""
    import torch

    torch.set_num_threads(threads)
    model, scan = network(), torch.rand(1, 1, *shape)
    if contestant == "ours":
        sys.path.insert(0, str(ROOT / "workflow"))
        from heatproof.attribution import attribute

        call = lambda: attribute("integrated_gradients", model, scan, 1, n_steps=steps)  # noqa: E731
    else:
        from captum.attr import IntegratedGradients

        size = int(contestant.removeprefix("captum-"))
        options = {"n_steps": steps, "method": "riemann_left", "internal_batch_size": size}
        call = lambda: IntegratedGradients(model).attribute(scan, 0.0, 1, **options)  # noqa: E731
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()  # compiles the kernels
    begin, busy = time.perf_counter(), time.process_time()
    result = call()
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    return {"seconds": seconds, "cpu_seconds": busy, "gigabytes": peak, "sum": float(result.double().sum())}


def main() -> None:
    """Run all contestants by turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs="+", default=[50, 59, 48])
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options.steps, options.threads, tuple(options.shape))))
        return
    best: dict[str, dict[str, float]] = {}
    for _ in range(options.repeats):
        for name in ("ours", "captum-1", "captum-5", f"captum-{options.steps}"):
            command = [sys.executable, __file__, "--only", name, "--steps", str(options.steps)]
            command += ["--threads", str(options.threads), "--shape", *map(str, options.shape)]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if name not in best or result["cpu_seconds"] < best[name]["cpu_seconds"]:
                best[name] = result
    import captum

    for name, result in best.items():
        print(name, {key: round(value, 4) for key, value in result.items()})
    peer = min((name for name in best if name != "ours"), key=lambda name: best[name]["cpu_seconds"])
    wall, busy = (best[peer][key] / best["ours"][key] for key in ("seconds", "cpu_seconds"))
    print(f"captum {captum.__version__} ({peer}) / ours: {wall:.2f} in time, {busy:.2f} in CPU time")


if __name__ == "__main__":
    main()
