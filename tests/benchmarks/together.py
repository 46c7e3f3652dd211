"""All methods of one forward and one backward pass: in one call, against one call each.

PYTHONPATH=workflow:tests python tests/benchmarks/together.py [--threads 1] [--repeats 5]
"""

from __future__ import annotations

import argparse
import time

import torch
from integrated_gradients import network

from heatproof.attribution import METHODS, attribute, attribute_together

SHAPE = (4, 1, 50, 59, 48)


def main() -> None:
    """Measure both by turns and print the share of time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, scans = network(), torch.rand(*SHAPE)
    names = [name for name, method in METHODS.items() if method.shares]
    best = {"together": float("inf"), "alone": float("inf")}
    for _ in range(options.repeats):
        begin = time.process_time()
        attribute_together({name: (name, {}) for name in names}, model, scans, 1)
        middle = time.process_time()
        for name in names:
            attribute(name, model, scans, 1)
        best["together"] = min(best["together"], middle - begin)
        best["alone"] = min(best["alone"], time.process_time() - middle)
    print(", ".join(names))
    print(f"together {best['together']:.2f} s, alone {best['alone']:.2f} s: {best['together'] / best['alone']:.0%}")


if __name__ == "__main__":
    main()
