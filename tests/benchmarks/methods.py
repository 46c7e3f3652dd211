"""What every method was checked against and what it costs, measured, as the table of docs/methods.md.

    PYTHONPATH=workflow:tests python tests/benchmarks/methods.py [--write docs/methods.md] [--only METHOD ...]

Peers that are not among the pins are compared with where Python finds them (grad-cam, torchcam, zennit).
Errors come from the tests' own evidence (`tests/attribution/evidence`), at the size of the tests. Times and
memory are of one call and one thread, in pairs: ours and the peer's run by turns, each in a process
of its own; the least CPU time of each counts. Passes are arithmetic: the operations of a method over those of
one forward pass.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from attribution.evidence import Evidence
from attribution.evidence.catalogue import EVIDENCE
from attribution.networks import AVERAGE, CONVOLUTION, MAXIMUM, NORMALISATION
from attribution.test_attribution_evidence import oracle_errors, peer_error
from heatproof.attribution import METHODS, attribute

SHAPES = {1: (12, 600), 2: (1, 128, 128), 3: (1, 32, 40, 32)}
# At their defaults these take minutes where a peer takes as long; cost grows in proportion.
FEWER = {"n_samples": 25, "n_steps": 25}
REPEATS = 3
PATIENCE = 60  # seconds for one measurement
N_SCANS = {1: 32, 2: 4, 3: 4}


def network(n_axes: int) -> nn.Module:
    """Return the network of the tests, wider and in single precision, so that layers have the same names."""
    torch.manual_seed(0)
    layers = [CONVOLUTION[n_axes](SHAPES[n_axes][0], 16, 3, padding=1), NORMALISATION[n_axes](16), nn.ReLU()]
    layers += [MAXIMUM[n_axes](2), CONVOLUTION[n_axes](16, 32, 3, padding=1), nn.ReLU(), AVERAGE[n_axes](4)]
    layers += [nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(32), nn.ReLU(), nn.Linear(32, 3)]
    return nn.Sequential(*layers).eval()


def benchmark_model(name: str, n_axes: int) -> tuple[nn.Module, torch.Tensor]:
    """Return the network that is explained, and some scans."""
    scan = torch.randn(N_SCANS[n_axes], *SHAPES[n_axes], generator=torch.Generator().manual_seed(1))
    model = network(n_axes)
    if name.startswith("svm"):
        from heatproof.models.linear import LinearSVM

        model = LinearSVM(SHAPES[n_axes][0], SHAPES[n_axes][1:])
    model(scan)
    return model, scan


def arguments(name: str, n_axes: int, evidence: Evidence) -> dict[str, Any]:
    """Return our parameters: those of the comparison with the peer, else fewer steps than the defaults."""
    shape = SHAPES[n_axes]
    stream = torch.Generator().manual_seed(3)
    context: dict[str, Any] = {
        "prior": torch.rand(shape[1:], generator=stream),
        "background": torch.randn(3, *shape, generator=stream),
        "permuted": network(n_axes),
    }
    context["permuted"](torch.zeros(1, *shape))
    if "inner" in METHODS[name].parameters:
        return context | {"inner": "saliency"}
    own = METHODS[name].parameters
    chosen = dict(evidence.peer.parameters) if evidence.peer else {}
    fewer = {key: value for key, value in FEWER.items() if own.get(key) is not None}
    # peers are told the layer, too
    layer = {"layer": "4"} if "layer" in own and "layer" not in chosen else {}
    return context | fewer | layer | chosen


def in_own_process(function: Callable[..., Any], *values: Any) -> Any:
    """Return what a function returns in a forked process, or the exception it raises."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        try:
            sender.send(function(*values))
        except Exception as error:  # a peer may fail in any way; the table says how
            sender.send(error)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    sender.close()
    try:
        if receiver.poll(PATIENCE):
            return receiver.recv()
        return TimeoutError(f"more than {PATIENCE} s")
    except EOFError:
        return RuntimeError("the process died")
    finally:
        process.kill()
        process.join()


def measured(call: Callable[[], torch.Tensor]) -> tuple[float, float]:
    """Return CPU seconds and peak memory (MB) above what was there."""
    call()  # compiles kernels
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    begin = time.process_time()
    call()
    return time.process_time() - begin, memory("VmHWM") - before


def memory(field: str) -> float:
    """Return a line of the process's status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field}")


def ours(name: str, n_axes: int) -> tuple[float, float]:
    """Measure our method."""
    model, scan = benchmark_model(name, n_axes)
    parameters = arguments(name, n_axes, EVIDENCE[name])
    return measured(lambda: attribute(name, model, scan, 1, **parameters))


def theirs(name: str, n_axes: int) -> tuple[float, float]:
    """Measure the peer."""
    model, scan = benchmark_model(name, n_axes)
    peer = EVIDENCE[name].peer
    assert peer is not None
    return measured(lambda: peer.call(model, scan, 1))


class Operations(TorchDispatchMode):
    """Counts the floating-point operations of convolutions and products (PyTorch's own counter hooks modules)."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        count = flop_registry.get(function._overloadpacket)
        self.total += count(*arguments, **(keywords or {}), out_val=result) if count else 0
        return result


def passes(name: str, n_axes: int) -> float:
    """Return the operations of a method over those of a forward pass."""
    model, scan = benchmark_model(name, n_axes)
    parameters = arguments(name, n_axes, EVIDENCE[name])
    if name.startswith("svm"):
        return 0.0
    with Operations() as forward, torch.no_grad():
        model(scan)
    with Operations() as whole:
        attribute(name, model, scan, 1, **parameters)
    return whole.total / forward.total


def checks(name: str, n_axes: int) -> tuple[str, str]:
    """Return the largest deviation from the oracle and by how much each identity is missed, as text."""
    evidence = EVIDENCE[name]
    oracle = f"{max(oracle_errors(name, n_axes)):.0e}" if evidence.oracle else "-"
    return oracle, "; ".join(f"{each.name}: {each.error(n_axes):.0e}" for each in evidence.identities) or "-"


def row(name: str, n_axes: int) -> list[str]:
    """Return one line of the table."""
    evidence = EVIDENCE[name]
    oracle, identities = in_own_process(checks, name, n_axes)
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    peak, peer_text, ratio = 0.0, "none", "-"
    for _ in range(REPEATS):
        result = in_own_process(ours, name, n_axes)
        if isinstance(result, Exception):
            raise result
        times["ours"].append(result[0])
        peak = result[1]
        if evidence.peer is None or n_axes not in evidence.peer.axes:
            continue
        other = in_own_process(theirs, name, n_axes)
        if isinstance(other, Exception):
            reason = f"{type(other).__name__}, {other}".splitlines()[0]
            peer_text = f"{evidence.peer.library}: {reason[:100]}"
            break
        times["theirs"].append(other[0])
    if evidence.peer is not None:
        if times["theirs"]:
            peer_text = agreement(name, n_axes)
            ratio = f"{min(times['theirs']) / min(times['ours']):.2f}"
        elif n_axes not in evidence.peer.axes:
            peer_text = f"{evidence.peer.library}: {evidence.peer.note}"
    count = in_own_process(passes, name, n_axes)
    seconds = f"{1000 * min(times['ours']):.1f}"
    return [name, f"{n_axes}-D", oracle, identities, peer_text, ratio, f"{count:.1f}", seconds, f"{peak:.1f}"]


def agreement(name: str, n_axes: int) -> str:
    """Return the peer with its version and how far our map is from its."""
    peer = EVIDENCE[name].peer
    assert peer is not None
    version = importlib.metadata.version(peer.library)
    if peer.relation == "none":
        return f"{peer.library} {version} ({peer.note})"
    return f"{peer.library} {version}: {in_own_process(peer_error, name, n_axes):.0e}"


HEAD = ["method", "axes", "oracle", "identities", "peer, deviation", "peer / ours", "passes", "ms", "peak MB"]


def text(rows: list[list[str]]) -> str:
    """Return the page."""
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    sizes = [f"{N_SCANS[axes]} scans of {'x'.join(map(str, shape))}" for axes, shape in SHAPES.items()]
    lines = [
        "# The methods, measured",
        "",
        "Made by `envs/run env PYTHONPATH=workflow:tests python tests/benchmarks/methods.py --write docs/methods.md`.",
        f"One call explains {', '.join(sizes)} (channels first), a",
        f"network of two convolutions, one thread of {processor}, PyTorch {torch.__version__}.",
        "",
        "- **oracle**: largest deviation from a slow, independent implementation, relative to the largest value, in",
        "  double precision, at the size of the tests;",
        "- **identities**: what holds exactly, and by how much it is missed;",
        "- **peer, deviation**: the same map by an installed library at the same settings, as the oracle; a random",
        "  method is compared in time only, or without its noise;",
        "- **peer / ours**: CPU time;",
        "- **passes**: operations over those of one forward pass (a forward and a backward pass are about 2), at the",
        f"  peer's settings, else {FEWER['n_samples']} samples or {FEWER['n_steps']} steps where a method has them;",
        "- **ms**, **peak MB**: CPU time, and memory above that of the process before.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
    ]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows), ""])


def main() -> None:
    """Measure all methods, or some, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(EVIDENCE))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = []
    for name in options.only:
        for n_axes in (1, 2, 3):
            rows.append(row(name, n_axes))
            print(" | ".join(rows[-1]), flush=True)
    if options.write:
        options.write.write_text(text(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
