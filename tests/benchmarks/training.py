"""Training step: ours (channels-last, freed memory kept) against a plain PyTorch loop (contiguous).

    PYTHONPATH=workflow python tests/benchmarks/training.py [--threads 1] [--repeats 3]

Every measurement is a process of its own, the two kinds in turn. Prints, per network and grid, the median
seconds and peak memory of both, the ratio plain / ours, and the version of PyTorch.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional

from heatproof.models import NetworkSpec
from heatproof.training.loop import choose_memory_format
from heatproof.training.memory import keep_freed_memory

CASES = {
    "wang_b, width 8, 3 blocks, 38x46x38": (
        NetworkSpec("wang_b", (38, 46, 38), parameters={"width": 8, "n_blocks": 3}),
        8,
    ),
    "boehle, 3 blocks, 97x115x97": (NetworkSpec("boehle", (97, 115, 97), parameters={"n_blocks": 3}), 4),
    "wang_b, width 44, 4 blocks, 97x115x97": (
        NetworkSpec("wang_b", (97, 115, 97), parameters={"width": 44, "n_blocks": 4}),
        2,
    ),
    "resnet, 91x109x91": (NetworkSpec("resnet", (91, 109, 91)), 4),
}
STEPS = 4


def measure(case: str, kind: str, threads: int) -> tuple[float, float]:
    """Return the median seconds of a step (after one to warm up) and the peak memory in megabytes."""
    torch.set_num_threads(threads)
    spec, batch = CASES[case]
    if kind == "ours":
        keep_freed_memory()
    memory_format = choose_memory_format("auto" if kind == "ours" else "contiguous", len(spec.shape))
    network = spec.build().train().to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    inputs = torch.randn(batch, 1, *spec.shape, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(batch) % 2
    seconds = []
    for _ in range(STEPS):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(inputs.to(memory_format=memory_format)), targets).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return statistics.median(seconds[1:]), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "KIND"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure, arguments.threads)))
        return
    print(f"torch {torch.__version__}, {arguments.threads} thread(s)")
    for case in CASES:
        found: dict[str, list[list[float]]] = {"plain": [], "ours": []}
        for _ in range(arguments.repeats):
            for kind, values in found.items():
                command = [sys.executable, __file__, "--threads", str(arguments.threads), "--measure", case, kind]
                values.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        seconds = {kind: statistics.median(value[0] for value in values) for kind, values in found.items()}
        peaks = {kind: statistics.median(value[1] for value in values) for kind, values in found.items()}
        print(
            f"{case}: plain {seconds['plain']:.3f} s, {peaks['plain']:.0f} MB; ours {seconds['ours']:.3f} s, "
            f"{peaks['ours']:.0f} MB; ratio {seconds['plain'] / seconds['ours']:.2f}"
        )


if __name__ == "__main__":
    main()
