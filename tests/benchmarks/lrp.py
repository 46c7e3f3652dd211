"""Time and memory of relevance propagation beside its peers.

    python tests/benchmarks/lrp.py --peer PATH_TO_A_CHECKOUT_OF_moboehle/Pytorch-LRP --threads 2
    python tests/benchmarks/lrp.py --captum --threads 1

The first is the beta rule on the network of Boehle et al. 2019 at 1 mm: each contestant runs in a process of its
own, by turns, so that peak memory is its own and noise hits both. The second is the epsilon rule of captum on a
network like VGG-11 at 224 x 224, which captum can explain, and the other rules of ours on the same: all in one
process, by turns, in processor time.
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


def plane_network():
    """Return a network like VGG-11 whose forward pass captum can follow, always with the same weights."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers, channels = [], 3
            for width, is_last in ((64, 1), (128, 1), (256, 0), (256, 1), (512, 0), (512, 1), (512, 0), (512, 1)):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] + [nn.MaxPool2d(2)] * is_last
                channels = width
            self.features = nn.Sequential(*layers)
            self.head = nn.Sequential(nn.Linear(512 * 7 * 7, 256), nn.ReLU(), nn.Linear(256, 10))

        def forward(self, scans):
            return self.head(self.features(scans).flatten(1))

    torch.manual_seed(0)
    return Network().eval()


def beside_captum(threads: int, repeats: int, batch: int) -> None:
    """Print the processor time of captum's LRP and of ours, by turns, and the ratios of the least times."""
    import captum
    import torch
    from captum.attr import LRP

    sys.path.insert(0, str(ROOT / "workflow"))
    from heatproof.attribution import attribute

    torch.set_num_threads(threads)
    model, scans = plane_network(), torch.randn(batch, 3, 224, 224)

    def ours(**parameters):
        return lambda: attribute("lrp", model, scans, 1, batch_size=batch, **parameters)

    same = {"rule": "epsilon", "epsilon": 1e-9, "stabiliser": "absolute", "bias": "absorb"}
    contestants = {
        "captum": lambda: LRP(model).attribute(scans.clone().requires_grad_(), target=1).detach(),
        "epsilon, as captum": ours(**same),
        **{rule: ours(rule=rule) for rule in ("epsilon", "alpha_beta", "zplus", "gamma", "flat", "w_squared", "z_box")},
        **{name: ours(rule="composite", composite=name) for name in ("epsilon_plus_flat", "epsilon_gamma_box")},
    }
    least: dict[str, float] = {}
    maps = {}
    for _ in range(repeats + 1):
        for name, call in contestants.items():
            begin = time.process_time()
            maps[name] = call()
            least[name] = min(time.process_time() - begin, least.get(name, float("inf")))
    expected, found = maps["captum"].double(), maps["epsilon, as captum"].double()
    difference = float((found - expected).abs().max() / expected.abs().max())
    print(f"captum {captum.__version__}, {batch} x 3 x 224 x 224, {threads} threads, best of {repeats + 1}")
    print(f"largest difference of the maps, relative to the largest value: {difference:.1e}")
    for name, seconds in least.items():
        print(f"{name}: {seconds:.3f} s, captum / this {least['captum'] / seconds:.2f}")


def main() -> None:
    """Run all contestants by turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="", help="folder with innvestigator.py; without it only ours is run")
    parser.add_argument("--beta", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    # The study's own jobs keep freed memory; here every contestant does, or none.
    parser.add_argument("--memory", choices=("kept", "returned"), default="kept")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--captum", action="store_true", help="compare with captum in two dimensions instead")
    parser.add_argument("--batch", type=int, default=2, help="scans at once, beside captum")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options.beta, options.threads, options.peer, options.memory)))
        return
    if options.captum:
        beside_captum(options.threads, options.repeats, options.batch)
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
