"""One forward pass from which several gradient methods take what they need, each backward pass made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import nn

from ..errors import UnsupportedModelError
from .isolation import channels_last, run
from .rectifiers import Switch, refuse_hidden_rectifiers, switched_rectifiers
from .targets import start_values
from .tracing import submodule


class Pass:
    """A recorded forward pass of one batch of scans.

    Parameters
    ----------
    model : nn.Module
        A private network (see `isolation`).
    inputs : Tensor, shape (B, C, *S)
    target : Tensor of int, shape (B,), or None
    start : {"logit", "probability", "value"}
        What is differentiated.
    layers : iterable of str
        Layers whose output and gradient will be asked for.
    to_input : bool
        Whether gradients with respect to the scans will be asked for; else the backward pass ends at the layers.
    rectifiers : bool
        Whether a backward pass will follow another rule for rectifiers than the gradient's.
    several : bool
        Whether there will be more than one backward pass, so that none may free what was recorded.

    Raises
    ------
    UnsupportedModelError
        A layer is not called exactly once or gives no map; with `rectifiers`, a rectification that the rules
        would miss.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        target: torch.Tensor | None,
        start: str,
        *,
        layers: Iterable[str] = (),
        to_input: bool = True,
        rectifiers: bool = False,
        several: bool = False,
    ) -> None:
        self.switch, self.several = Switch(), several
        names = list(layers)
        # of several layers one may lie on the way to another, so none can be where gradients end
        connected = to_input or len(names) > 1
        self.points = channels_last(model, inputs).detach().requires_grad_(connected)
        self.wanted = [self.points] if to_input else []
        self.made: dict[str, list[torch.Tensor]] = {}
        seen: dict[str, list[object]] = {name: [] for name in names}
        switched = switched_rectifiers(model, self.switch) if rectifiers else nullcontext()
        with torch.enable_grad(), recorded(model, seen, connected), switched:
            self.explained = start_values(run(model, self.points), target, start)
        if rectifiers:
            refuse_hidden_rectifiers(self.explained, model)
        self.layers = {name: the_map(outputs, inputs.ndim, name) for name, outputs in seen.items()}

    def backward(self, rule: str) -> list[torch.Tensor]:
        """Return the gradients of the scans and of every layer under a rule for rectifiers."""
        if rule not in self.made:
            self.switch.rule = rule
            wanted = [*self.wanted, *self.layers.values()]
            found = torch.autograd.grad(self.explained.sum(), wanted, retain_graph=self.several, allow_unused=True)
            self.made[rule] = [
                torch.zeros_like(one) if gradient is None else gradient
                for one, gradient in zip(wanted, found, strict=True)
            ]
        return self.made[rule]

    def gradient(self, rule: str = "gradient") -> torch.Tensor:
        """Return the gradient of the explained number with respect to the scans, shape (B, C, *S)."""
        return self.backward(rule)[0]

    def layer(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's output and the gradient with respect to it, both (B, K, *T)."""
        position = len(self.wanted) + list(self.layers).index(name)
        return self.layers[name].detach(), self.backward("gradient")[position]


@contextmanager
def recorded(model: nn.Module, seen: dict[str, list[object]], connected: bool) -> Iterator[None]:
    """Collect the outputs of some layers in the forward passes inside the block.

    Parameters
    ----------
    model : nn.Module
    seen : dict of str to list
        By layer name; filled.
    connected : bool
        Keep the way back to the scans; else the layer's output is where gradients end.
    """

    def keeper(name: str) -> Callable[[nn.Module, object, object], object]:
        def keep(_module: nn.Module, _arguments: object, output: object) -> object:
            if not isinstance(output, torch.Tensor):
                seen[name].append(output)
                return output
            kept = output if connected else output.detach().requires_grad_()
            seen[name].append(kept)
            return kept.clone()  # whatever follows may write into its input; what is kept must stay

        return keep

    with ExitStack() as handles:
        for name in seen:
            handles.callback(submodule(model, name).register_forward_hook(keeper(name)).remove)
        yield


def the_map(outputs: list[object], n_axes: int, layer: str) -> torch.Tensor:
    """Return the one output of a layer, which has to be a map.

    Parameters
    ----------
    outputs : list
        What the layer returned, call by call.
    n_axes : int
        Axes of a map with batch and channels.
    layer : str
        Its name.

    Raises
    ------
    UnsupportedModelError
        The layer was not called exactly once, or its output is not a map.
    """
    if len(outputs) == 1 and isinstance(outputs[0], torch.Tensor) and outputs[0].ndim == n_axes:
        return outputs[0]
    shapes = [tuple(each.shape) if isinstance(each, torch.Tensor) else type(each).__name__ for each in outputs]
    raise UnsupportedModelError(
        f"The layer gave {len(outputs)} outputs, of shapes {shapes}.",
        field=layer,
        remedy="Choose a convolution that is called once and whose output is a map.",
    )
