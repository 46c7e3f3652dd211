"""Run a traced network forward, keeping what relevance needs, and backward by the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ..linear_maps import Convolution, Dense
from ..tracing import hooked_layers, overwrites, traced
from .layers import Layer, Linear, Normalisation, PassThrough, Reshape
from .resolve import is_plain_value, is_reshape, node_layer, refusal
from .settings import WEIGHTED, Plan, Settings

Recorder = Callable[[str, torch.Tensor], None]


@dataclass
class Network:
    """A network as a list of steps that relevance can walk backward.

    Parameters
    ----------
    model : nn.Module
        A private network in evaluation mode (see `isolation`).
    settings : Settings
        Whether batch normalisations are folded into the convolution before them, biases take their share of
        relevance, and which rule each layer has.

    Attributes
    ----------
    first : set of fx.Node
        The convolutions and dense layers that no other one comes before.
    origin : Tensor, shape (1, K), or None
        What is taken from the output, where no last layer has a bias to take it from.
    """

    model: nn.Module
    settings: Settings
    plan: Plan = field(init=False)
    graph: fx.Graph = field(init=False)
    layers: dict[fx.Node, Layer] = field(init=False, default_factory=dict)
    first: set[fx.Node] = field(init=False)
    origin: torch.Tensor | None = field(init=False, default=None)
    scan: fx.Node = field(init=False)

    def __post_init__(self) -> None:
        self.plan = self.settings.plan()
        self.graph = traced(self.model)
        inputs = [node for node in self.graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise refusal(f"The network takes {len(inputs)} inputs.", type(self.model).__name__, "It must take one.")
        (self.scan,) = inputs
        folds = self.settings.batch_norm == "fold"
        pass_on = not (folds and self.settings.absorbs and "normalisation" in self.plan.rules)
        if hooked := hooked_layers(self.model):
            raise refusal("Hooks change what the layer computes.", hooked[0], "Remove the hooks and weight norms.")
        for node in self.graph.nodes:
            if node.op in ("placeholder", "output") or is_plain_value(node):
                continue
            if overwrites(node) and (len(node.all_input_nodes[0].users) > 1 or is_reshape(node.all_input_nodes[0])):
                raise refusal(
                    "The operation overwrites a tensor that is used again.", node.name, "Write it out of place."
                )
            if node.op == "get_attr":
                raise refusal("The network computes with a tensor that is not an input.", str(node.target))
            if not is_reshape(node):
                self.layers[node] = self.simplified(node, node_layer(self.model, node, pass_on))
        self.first = self.first_layers()

    def first_layers(self) -> set[fx.Node]:
        """Return the convolutions and dense layers that no other one comes before.

        Raises
        ------
        UnsupportedModelError
            The plan has a rule for such layers and none of them takes it.
        """
        behind: set[fx.Node] = set()
        first: set[fx.Node] = set()
        for node in self.graph.nodes:
            is_weighted = node in self.layers and self.layers[node].kind in WEIGHTED
            if any(source in behind for source in node.all_input_nodes):
                behind.add(node)
            elif is_weighted:
                first.add(node)
                behind.add(node)
        if self.plan.at_input and not any(self.layers[node].kind in self.plan.at_input for node in first):
            raise refusal(
                f"No {' or '.join(self.plan.at_input)} layer reads the scan, to take the rule of the input.",
                type(self.model).__name__,
                "Use rule: z_box, flat or w_squared, or a composite without a rule for the input.",
            )
        return first

    def simplified(self, node: fx.Node, layer: Layer) -> Layer:
        """Fold a batch normalisation into what it follows; rectify in place where nobody else looks."""
        source = node.all_input_nodes[0]
        before = self.layers.get(source)
        if before is None or len(source.users) != 1:
            return layer
        follows_map = isinstance(before, Linear) and isinstance(before.linear, (Convolution, Dense))
        if isinstance(layer, Normalisation) and self.settings.batch_norm == "fold" and follows_map:
            assert isinstance(before, Linear)
            self.layers[source] = before.folded(layer.scaling)
            return Folded()
        rectifies = isinstance(layer, PassThrough) and (layer.function is torch.relu or type(layer.function) is nn.ReLU)
        return PassThrough(functional.relu_) if rectifies and before.makes_new_tensor else layer

    def measure_from(self, scan: torch.Tensor) -> None:
        """Let the outputs be differences from those for a scan (1, C, *S), by the bias of a dense last layer."""
        reference, _ = self.forward(scan)
        (node,) = next(node for node in self.graph.nodes if node.op == "output").all_input_nodes
        while is_reshape(node) or isinstance(self.layers.get(node), (Folded, Reshape)):
            node = node.all_input_nodes[0]
        layer = self.layers.get(node)
        is_dense = isinstance(layer, Linear) and isinstance(layer.linear, Dense)
        if isinstance(layer, Linear) and is_dense and len(layer.linear.weight) == reference.numel():
            self.layers[node] = layer.lowered(reference.flatten())
        else:
            self.origin = reference

    def forward(self, scans: torch.Tensor) -> tuple[torch.Tensor, dict[fx.Node, Any]]:
        """Return the network's output for some scans, and what each step has kept."""
        values: dict[fx.Node, Any] = {self.scan: scans}
        kept: dict[fx.Node, Any] = {}
        waiting = {node: len(node.users) for node in self.graph.nodes}
        for node in self.graph.nodes:
            if node.op == "output":
                outputs = self.output(values, node)
                return outputs if self.origin is None else outputs - self.origin, kept
            if node.op != "placeholder":
                values[node], kept[node] = self.step(node, values)
            for source in node.all_input_nodes:
                waiting[source] -= 1
                if not waiting[source]:
                    del values[source]
        raise refusal("The network returns nothing.", type(self.model).__name__)

    def step(self, node: fx.Node, values: dict[fx.Node, Any]) -> tuple[Any, Any]:
        """Return the value of one node and what it has kept."""
        if node in self.layers:
            return self.layers[node].forward(*[values[source] for source in self.sources(node)])
        arguments: Any = fx.map_arg(node.args, values.__getitem__)
        keywords: Any = fx.map_arg(node.kwargs, values.__getitem__)
        target: Any = node.target
        function = target if node.op == "call_function" else getattr(torch.Tensor, target)
        if is_plain_value(node):
            return function(*arguments, **keywords), None
        first, *rest = arguments
        return Reshape(lambda tensor: function(tensor, *rest, **keywords)).forward(first)

    def sources(self, node: fx.Node) -> list[Any]:
        """Return the nodes whose tensors a layer works on, with repetitions."""
        first = node.args[0] if node.args else next(iter(node.kwargs.values()))
        if isinstance(first, (list, tuple)):
            return list(first)
        return [each for each in node.args if isinstance(each, fx.Node)] or [first]

    def output(self, values: dict[fx.Node, Any], node: fx.Node) -> torch.Tensor:
        """Return the one tensor that the network returns."""
        (source,) = node.all_input_nodes
        value = values[source]
        if node.args[0] is not source or not isinstance(value, torch.Tensor):
            raise refusal("The network returns more than one tensor.", type(self.model).__name__, "Return the logits.")
        return value

    def backward(self, relevance: torch.Tensor, kept: dict[fx.Node, Any], record: Recorder | None) -> torch.Tensor:
        """Return the relevance of the scans, given that of the output; frees what was kept on its way."""
        output = next(node for node in self.graph.nodes if node.op == "output")
        arriving: dict[fx.Node, torch.Tensor] = {output.all_input_nodes[0]: relevance}
        for node in reversed(self.graph.nodes):
            saved = kept.pop(node, None)
            if node not in arriving or node is self.scan:
                continue
            relevance = arriving.pop(node)
            if record is not None:
                record(node.name, relevance)
            layer = self.layers.get(node)
            if layer is None:
                parts, sources = [relevance.reshape(saved)], node.all_input_nodes[:1]
            else:
                rule = self.plan.rule(layer.kind, node in self.first)
                parts, sources = layer.backward(relevance, saved, rule), self.sources(node)
            for source, part in zip(sources, parts, strict=True):
                arriving[source] = part if source not in arriving else arriving[source] + part
        if self.scan not in arriving:
            raise refusal("The output does not depend on the input.", type(self.model).__name__, "Check the network.")
        return arriving[self.scan]


class Folded(PassThrough):
    """The place of a batch normalisation that has been folded into the map before it."""

    makes_new_tensor = True

    def __init__(self) -> None:
        super().__init__(lambda values: values)
