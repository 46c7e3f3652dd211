"""Time and memory of the LRP beta rule on the network of Boehle et al. 2019 at 1 mm, beside its peer.

    python tests/benchmarks/lrp.py --peer PATH_TO_A_CHECKOUT_OF_moboehle/Pytorch-LRP --threads 2

Each contestant runs in a process of its own, by turns, so that peak memory is its own and noise hits both.
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
SHAPE = (193, 229, 193)


def network():
    """Return the network always with the same weights and running statistics."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers, channels = [], 1
    for width, pool in zip((8, 16, 32, 64), (2, 3, 2, 3), strict=True):
        layers += [nn.Conv3d(channels, width, 3), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(pool)]
        channels = width
    layers += [
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(5120, 128),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(128, 2),
    ]
    model = nn.Sequential(*layers)
    for layer in model:
        if isinstance(layer, nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.02, 0.1)
    return model.eval()


def run(contestant: str, beta: float, threads: int, peer: str, memory: str) -> dict[str, float]:
    """Return seconds and peak memory (GB) of one map, after a warm-up at small size."""
    import torch

    sys.path.insert(0, str(ROOT / "workflow"))
    if memory == "kept":
        from heatproof.training.memory import keep_freed_memory

        keep_freed_memory()
    torch.set_num_threads(threads)
    model, scan = network(), torch.rand(1, 1, *SHAPE)
    if contestant == "forward":
        call = lambda: model(scan)  # noqa: E731
    elif contestant == "ours":
        from heatproof.attribution import attribute

        call = lambda: attribute("lrp", model, scan, 1, beta=beta, batch_norm="identity")  # noqa: E731
    else:
        sys.path.insert(0, peer)
        from innvestigator import InnvestigateModel
        from inverter_util import RelevancePropagator

        RelevancePropagator.allowed_pass_layers += (torch.nn.Flatten,)
        wrapped = InnvestigateModel(model, beta=beta, method="b-rule")
        call = lambda: wrapped.innvestigate(in_tensor=scan, rel_for_class=1)[1]  # noqa: E731
    with torch.no_grad():
        begin = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "seconds": seconds,
        "gigabytes": peak,
        "sum": float(result.double().sum()),
        "norm": float(result.norm()),
    }


def main() -> None:
    """Run all contestants by turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="", help="folder with innvestigator.py; without it only ours is run")
    parser.add_argument("--beta", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    # The study's own jobs keep freed memory; here every contestant does, or none.
    parser.add_argument("--memory", choices=("kept", "returned"), default="kept")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options.beta, options.threads, options.peer, options.memory)))
        return
    contestants = ["forward", "ours", *(["peer"] if options.peer else [])]
    best: dict[str, dict[str, float]] = {}
    for _ in range(options.repeats):
        for name in contestants:
            command = [sys.executable, __file__, "--only", name, "--peer", options.peer]
            command += ["--beta", str(options.beta), "--threads", str(options.threads), "--memory", options.memory]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if name not in best or result["seconds"] < best[name]["seconds"]:
                best[name] = result
    for name, result in best.items():
        print(name, {key: round(value, 4) for key, value in result.items()})
    if options.peer:
        ratio = best["peer"]["seconds"] / best["ours"]["seconds"]
        memory = best["peer"]["gigabytes"] / best["ours"]["gigabytes"]
        print(f"peer / ours: {ratio:.2f} in time, {memory:.2f} in memory")


if __name__ == "__main__":
    main()
