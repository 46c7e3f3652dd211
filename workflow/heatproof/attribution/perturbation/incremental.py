"""A forward pass that recomputes only what a change in a box of the scan touches.

Occlusion runs a network thousands of times on scans that differ from one another in a small box. A convolution
or a pooling far from the box returns what it returned before, so each layer is run on patches around what has
changed, cut from the remembered maps of the untouched scan. The numbers are those of the whole forward pass, but
for the order in which a convolution adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.nn import functional

from ...errors import UnsupportedModelError
from ..isolation import ViewsAreReshapes, channels_last
from ..tracing import hooked_layers, traced
from .local_layers import is_pointwise, sliding, without_overwriting


@dataclass
class Boxes:
    """Boxes of a map, one for each window of the scan, all of one size.

    Attributes
    ----------
    starts : Tensor of int, shape (W, A)
    lengths : tuple of int
    """

    starts: torch.Tensor
    lengths: tuple[int, ...]

    def along(self, axis: int, windows: torch.Tensor) -> torch.Tensor:
        """Return the places of some boxes along one axis, shape (N, 1, ..., L, ..., 1)."""
        steps = torch.arange(self.lengths[axis], device=self.starts.device)
        places = self.starts[windows, axis, None] + steps
        return places.reshape([len(windows), *(-1 if other == axis else 1 for other in range(len(self.lengths)))])

    def rows(self, windows: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
        """Return where the voxels of some boxes lie among those of one map, shape (N, *L)."""
        total: torch.Tensor | int = 0
        for axis, size in enumerate(sizes):
            total = total * size + self.along(axis, windows)
        return torch.as_tensor(total)

    def find(self, others: Boxes, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return for the voxels of other boxes whether they lie in these, and where among those of all (N, *L)."""
        n_axes = len(self.lengths)
        inside = torch.ones((), dtype=torch.bool, device=self.starts.device)
        total = torch.arange(len(windows), device=self.starts.device).reshape(-1, *[1] * n_axes)
        for axis, length in enumerate(self.lengths):
            places = others.along(axis, windows) - self.starts[windows, axis].reshape(-1, *[1] * n_axes)
            inside = inside & (places >= 0) & (places < length)
            total = total * length + places.clamp(0, length - 1)
        return inside, total

    def around(self, others: Boxes) -> Boxes:
        """Return boxes that hold both these and others, again of one size."""
        starts = torch.minimum(self.starts, others.starts)
        ends = [each.starts + torch.tensor(each.lengths, device=starts.device) for each in (self, others)]
        lengths = (torch.maximum(*ends) - starts).max(0).values
        latest = torch.maximum(ends[0].max(0).values, ends[1].max(0).values) - lengths
        return Boxes(torch.minimum(starts, latest), tuple(lengths.tolist()))

    def equal(self, others: Boxes) -> bool:
        """Return whether other boxes are the same."""
        return self.lengths == others.lengths and torch.equal(self.starts, others.starts)


def as_rows(values: torch.Tensor) -> torch.Tensor:
    """Return values (N, C, *S) voxel by voxel, shape (N S, C)."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def as_maps(rows: torch.Tensor, n_maps: int, sizes: tuple[int, ...]) -> torch.Tensor:
    """Return rows (N S, C) as maps (N, C, *S), in channels-last order."""
    return rows.reshape(n_maps, *sizes, rows.shape[1]).movedim(-1, 1)


class IncrementalNetwork:
    """A network that remembers its maps of one scan and recomputes what a box changes.

    Parameters
    ----------
    model : nn.Module
        A private network.
    boxes : Boxes
        Where the scan will be changed.

    Raises
    ------
    UnsupportedModelError
        The network has no graph, or does what its graph does not show: hooks, values overwritten while in use.
    """

    def __init__(self, model: nn.Module, boxes: Boxes) -> None:
        if hooked := hooked_layers(model):
            raise UnsupportedModelError("The layer has hooks.", field=hooked[0])
        self.model, self.nodes = model, without_overwriting(traced(model))
        layers = {node: model.get_submodule(str(node.target)) for node in self.nodes if node.op == "call_module"}
        if sum(node.op == "placeholder" for node in self.nodes) != 1:
            raise UnsupportedModelError("The network takes more than a scan.", field=type(model).__name__)
        self.steps = {node: step for node, layer in layers.items() if (step := sliding(layer)) is not None}
        self.boxes = {node: boxes for node in self.nodes if node.op == "placeholder"}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.padded_inputs: dict[fx.Node, torch.Tensor] = {}
        self.maps: dict[fx.Node, torch.Tensor] = {}
        last_used = {source: node for node in self.nodes for source in node.all_input_nodes}
        self.finished = {node: [source for source, last in last_used.items() if last is node] for node in self.nodes}

    def remember(self, scan: torch.Tensor) -> None:
        """Run the untouched scan, shape (1, C, *S), and keep the maps that patches are cut from."""
        values: dict[fx.Node, Any] = {}
        self.padded_inputs.clear()
        self.maps.clear()
        with ViewsAreReshapes():
            for node in self.nodes:
                result = channels_last(self.model, scan) if node.op == "placeholder" else self.whole_step(node, values)
                values[node] = result
                self.shapes[node] = tuple(result.shape) if isinstance(result, torch.Tensor) else ()
                self.place(node)
                for source in node.all_input_nodes:
                    if self.slides(node):
                        self.padded_inputs[node] = as_rows(self.padded(node, values[source]))
                    elif source in self.boxes and not self.is_same_box(source, node):
                        self.maps[source] = as_rows(values[source])
                for source in self.finished[node]:
                    del values[source]

    def place(self, node: fx.Node) -> None:
        """Find the boxes of a step's output, if its input's boxes are all that it needs."""
        sources, shape = node.all_input_nodes, self.shapes[node]
        if not sources or any(source not in self.boxes for source in sources):
            return
        boxes = self.boxes[sources[0]]
        if node in self.steps:
            starts, lengths = self.steps[node].touched(boxes.starts, boxes.lengths, shape[2:])
            self.boxes[node] = Boxes(starts, lengths)
        elif is_pointwise(self.model, node) and all(self.shapes[source][2:] == shape[2:] for source in sources):
            for source in sources[1:]:
                if not boxes.equal(self.boxes[source]):
                    boxes = boxes.around(self.boxes[source])
            self.boxes[node] = boxes

    def slides(self, node: fx.Node) -> bool:
        """Return whether a step is a sliding window over boxes."""
        return node in self.steps and node in self.boxes

    def is_same_box(self, source: fx.Node, node: fx.Node) -> bool:
        """Return whether a step works on the boxes of its input as they are."""
        return node in self.boxes and self.boxes[node].equal(self.boxes[source])

    def padded(self, node: fx.Node, values: torch.Tensor) -> torch.Tensor:
        """Return the input of a sliding step with its margins."""
        step, margins = self.steps[node], []
        for before, inner, needed in zip(step.before, values.shape[2:], step.seen(self.shapes[node][2:]), strict=True):
            margins.append((before, max(0, needed - before - inner)))
        return functional.pad(values, [each for pair in reversed(margins) for each in pair], value=step.filling)

    def outputs(self, windows: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Return the network's output for the remembered scan with some of the boxes changed.

        Parameters
        ----------
        windows : Tensor of int, shape (N,)
            Which of the boxes.
        patches : Tensor, shape (N, C, *L)
            What the scan is there.

        Returns
        -------
        Tensor, shape (N, K)
        """
        values: dict[fx.Node, Any] = {}
        with ViewsAreReshapes():
            for node in self.nodes:
                if node.op == "placeholder":
                    values[node] = patches
                elif self.slides(node):
                    values[node] = self.slide(node, values, windows)
                else:
                    near = {
                        source: self.suited(source, node, values[source], windows) for source in node.all_input_nodes
                    }
                    values[node] = self.whole_step(node, near)
                for source in self.finished[node]:
                    del values[source]
        return values[self.nodes[-1]]

    def slide(self, node: fx.Node, values: dict[fx.Node, Any], windows: torch.Tensor) -> torch.Tensor:
        """Return a sliding step's output in its boxes."""
        step, (source,) = self.steps[node], node.all_input_nodes
        boxes, inner = self.boxes[node], self.boxes[source]
        device = boxes.starts.device
        seen = Boxes(boxes.starts * torch.tensor(step.stride, device=device), step.seen(boxes.lengths))
        changed = Boxes(inner.starts + torch.tensor(step.before, device=device), inner.lengths)
        sizes = self.padded_sizes(node)
        return step.apply(self.cut(self.padded_inputs[node], sizes, seen, changed, values[source], windows))

    def padded_sizes(self, node: fx.Node) -> tuple[int, ...]:
        """Return the size of a sliding step's input with its margins."""
        step, (source,) = self.steps[node], node.all_input_nodes
        needed = step.seen(self.shapes[node][2:])
        return tuple(
            max(each, before + inner)
            for each, before, inner in zip(needed, step.before, self.shapes[source][2:], strict=True)
        )

    def cut(
        self,
        table: torch.Tensor,
        sizes: tuple[int, ...],
        wanted: Boxes,
        changed: Boxes,
        values: torch.Tensor,
        windows: torch.Tensor,
    ) -> torch.Tensor:
        """Return boxes of a map, changed where they meet the boxes that changed, shape (N, C, *L)."""
        rows = table.index_select(0, wanted.rows(windows, sizes).flatten())
        inside, places = changed.find(wanted, windows)
        new = as_rows(values).index_select(0, places.flatten())
        return as_maps(torch.where(inside.reshape(-1, 1), new, rows), len(windows), wanted.lengths)

    def suited(self, source: fx.Node, node: fx.Node, values: Any, windows: torch.Tensor) -> Any:
        """Return what a step that does not slide gets for one of its inputs: its boxes, or whole maps."""
        if source not in self.boxes or self.is_same_box(source, node):
            return values
        sizes = self.shapes[source][2:]
        if node in self.boxes:
            return self.cut(self.maps[source], sizes, self.boxes[node], self.boxes[source], values, windows)
        rows = self.maps[source].repeat(len(windows), 1)
        firsts = torch.arange(len(windows), device=rows.device) * math.prod(sizes)
        places = self.boxes[source].rows(windows, sizes).reshape(len(windows), -1) + firsts[:, None]
        return as_maps(rows.index_copy_(0, places.flatten(), as_rows(values)), len(windows), sizes)

    def whole_step(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """Return the result of one step."""
        if node.op == "get_attr":
            return attrgetter(str(node.target))(self.model)
        args, kwargs = map_arg((node.args, node.kwargs), lambda source: values[source])
        if node.op == "output":
            return args[0]
        if node.op == "call_module":
            return self.model.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def effort(self) -> float:
        """Return how many values a changed box costs, as a share of those of a whole pass."""
        part = total = 0
        for node, shape in self.shapes.items():
            if len(shape) < 2:
                continue
            total += math.prod(shape[1:])
            part += shape[1] * math.prod(self.boxes[node].lengths) if node in self.boxes else math.prod(shape[1:])
            if node not in self.boxes:  # what it reads is rebuilt as whole maps
                part += sum(math.prod(self.shapes[each][1:]) for each in node.all_input_nodes if each in self.boxes)
        return part / total
