"""Run again only the part of a network that comes after one of its layers, on other outputs of that layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from ..batches import is_out_of_memory
from ..isolation import ViewsAreReshapes, channels_last, run
from ..tracing import submodule
from .layers import features_and_output

# Largest deviation of the cached tail from the network, relative to the largest output, that rounding explains.
AGREEMENT = 1e-4

Run = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Tail:
    """The network after one of its layers, for one batch of scans.

    Attributes
    ----------
    features : Tensor, shape (B, K, *T)
        The layer's output.
    output : Tensor, shape (B, classes)
        The network's output.
    run : callable
        Output of the network for other outputs of the layer, shape (B, K, *T), or (n B, K, *T) with the scans
        repeated as a block.
    size : float or None
        Values that one scan brings into `run`, as a share of those of the scan; None where n has to be one.
    """

    features: torch.Tensor
    output: torch.Tensor
    run: Run
    size: float | None

    def copies(self, batch_size: int) -> int:
        """Return how many times all scans go into one run that is no larger than a pass of some scans."""
        return 1 if self.size is None else max(1, int(batch_size / len(self.features) / self.size))


def network_after(model: nn.Module, inputs: torch.Tensor, layer: str) -> Tail:
    """Return the network after a layer.

    It is found in the traced graph: the operations that depend on the layer's output are run again, on values of
    the others that are kept from one pass. Where the network cannot be traced, where an operation writes into a
    value that is kept, or where the result deviates from the network's own output, the whole network is run
    instead, with the layer's output replaced: the same numbers, slower.

    Raises
    ------
    UnsupportedModelError
        There is no such layer, it is not called exactly once, or its output is not a map.
    """
    points = channels_last(model, inputs)
    features, output = features_and_output(model, inputs, layer)
    cached = cached_tail(model, points, layer)
    if cached is None or not agrees(cached[0], features, output):
        return Tail(features, output, whole_network(model, points, layer), 1.0)
    # a pass of whole scans holds the layer's output too, so that nothing is lost by counting it as one scan
    size = min(1.0, features[0].numel() / inputs[0].numel())
    return Tail(features, output, cached[0], size if cached[1] else None)


def whole_network(model: nn.Module, points: torch.Tensor, layer: str) -> Run:
    """Return a function that runs the whole network, with the output of a layer replaced."""

    def again(features: torch.Tensor) -> torch.Tensor:
        handle = submodule(model, layer).register_forward_hook(lambda *_: features)
        try:
            return run(model, points.repeat(len(features) // len(points), *[1] * (points.ndim - 1)))
        finally:
            handle.remove()

    return again


def agrees(tail: Run, features: torch.Tensor, output: torch.Tensor) -> bool:
    """Return whether a tail gives the network's own output for the layer's own output."""
    try:
        found = tail(features.clone())  # what follows may write into it
    except Exception as error:  # a graph that does not run is not the network's
        if is_out_of_memory(error):
            raise
        return False
    if not isinstance(found, torch.Tensor) or found.shape != output.shape:
        return False
    return bool((found - output).abs().max() <= AGREEMENT * output.abs().max())


def cached_tail(model: nn.Module, points: torch.Tensor, layer: str) -> tuple[Run, bool] | None:
    """Return a function that runs the operations after a layer, and whether it takes any batch; None without one.

    A tail that needs values of the operations before the layer (a shortcut, a size of the scans) takes batches
    of the scans themselves only, since nothing says which axis of such a value is that of the scans.
    """
    try:
        graph = LayerTracer(submodule(model, layer)).trace(model)
    except Exception:  # fx raises many kinds of errors; each means that there is no graph
        return None
    calls = [node for node in graph.nodes if is_call(model, node, submodule(model, layer))]
    after = reached(graph, calls)
    before = reached(graph, [node for node in graph.nodes if node.op == "placeholder"]) - after
    if len(calls) != 1 or not any(node.op == "output" for node in after):
        return None
    needed = {source for node in after - set(calls) for source in node.all_input_nodes} & before
    kept = recorded_values(model, graph, points, needed) if needed else {}
    if kept is None:
        return None
    known: dict[fx.Node, object] = {node: kept.get(node) for node in before}

    def again(features: torch.Tensor) -> torch.Tensor:
        with ViewsAreReshapes():
            return fx.Interpreter(model, graph=graph).run(initial_env=known | {calls[0]: features})

    return again, not needed


class LayerTracer(fx.Tracer):
    """Traces a network without looking into one of its layers."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module stays one call."""
        return module is self.layer or super().is_leaf_module(module, module_qualified_name)


def is_call(model: nn.Module, node: fx.Node, layer: nn.Module) -> bool:
    """Return whether a node calls a layer."""
    return node.op == "call_module" and model.get_submodule(str(node.target)) is layer


def reached(graph: fx.Graph, sources: list[fx.Node]) -> set[fx.Node]:
    """Return the nodes that depend on some nodes, with these."""
    found = set(sources)
    for node in graph.nodes:
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def recorded_values(
    model: nn.Module, graph: fx.Graph, points: torch.Tensor, needed: set[fx.Node]
) -> dict[fx.Node, object] | None:
    """Return the values of some nodes in one pass; None if one of them was written into afterwards."""
    recorder = Recorder(model, graph, needed)
    try:
        with ViewsAreReshapes():
            recorder.run(points)
    except Exception as error:  # a graph that does not run is not the network's
        if is_out_of_memory(error):
            raise
        return None
    changed = any(versions(value) != recorder.versions[node] for node, value in recorder.values.items())
    return None if changed else recorder.values


class Recorder(fx.Interpreter):
    """Runs a graph and keeps the values of some nodes, and how often each had been written into by then."""

    def __init__(self, model: nn.Module, graph: fx.Graph, needed: set[fx.Node]) -> None:
        super().__init__(model, graph=graph)
        self.needed = needed
        self.values: dict[fx.Node, object] = {}
        self.versions: dict[fx.Node, list[int]] = {}

    def run_node(self, n: fx.Node) -> object:
        """Return the value of a node."""
        value = super().run_node(n)
        if n in self.needed:
            self.values[n], self.versions[n] = value, versions(value)
        return value


def versions(value: Any) -> list[int]:
    """Return how often each tensor of a value has been written into."""
    found: list[int] = []

    def count(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            found.append(leaf._version)
        return leaf

    fx.node.map_aggregate(value, count)
    return found
