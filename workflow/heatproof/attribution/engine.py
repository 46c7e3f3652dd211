"""Check what is asked for, run it batch by batch, and let methods share forward passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError
from .activations.layers import chosen_layer, rectified_layer
from .batches import default_batch_size, in_batches
from .isolation import PRECISIONS, arithmetic, device_of, isolated, refuse_side_effects
from .registry import Attribution, Method, check_parameters, choice, lookup, whole_number
from .shared import Pass
from .targets import OUTPUTS, class_indices

# Arguments that may hold one array per scan.
PER_SCAN = ("zero_intensity", "base")
# What a method shares of a layer, and how its name follows from the parameter `layer`.
LAYERS: dict[str, Callable[[nn.Module, Any], str]] = {"layer": chosen_layer, "rectified_layer": rectified_layer}


@dataclass(frozen=True)
class Request:
    """A method with its checked parameters and context.

    Attributes
    ----------
    method : Method
    arguments : mapping
        The parameters that were given and the context it takes.
    """

    method: Method
    arguments: Mapping[str, object]

    def value(self, parameter: str) -> object:
        """Return the value of a parameter."""
        return self.arguments.get(parameter, self.method.parameters[parameter])

    def of_part(self, part: slice, n_scans: int) -> dict[str, object]:
        """Return the arguments for some of the scans: arrays with one entry per scan are cut."""
        return {
            name: value[part]
            if name in PER_SCAN and isinstance(value, torch.Tensor) and len(value) == n_scans
            else value
            for name, value in self.arguments.items()
        }


def prepared(name: str, params: Mapping[str, object], output: str = "class") -> Request:
    """Return a method with what it takes of some parameters and context; context of other methods is dropped.

    Raises
    ------
    ConfigError
        An unknown method or parameter, a context array without which the method cannot work, or the probability of
        a value.
    """
    method = lookup(name)
    check_parameters(method, params)
    for needed in method.required:
        if params.get(needed) is None:
            raise ConfigError(
                f"The method {method.name!r} needs {needed}.",
                field=f"{method.name}.{needed}",
                remedy=f"Pass {needed}=...",
            )
    names = {*method.parameters, *method.needs}
    arguments = {key: value for key, value in params.items() if key in names}
    if choice(output, OUTPUTS, "output") == "value" and "start" in method.parameters:
        arguments["start"] = value_start(method, arguments)
    return Request(method, arguments)


def value_start(method: Method, arguments: Mapping[str, object]) -> str:
    """Return what a method explains of a network that answers with a value.

    Raises
    ------
    ConfigError
        The probability is asked for, other than by default.
    """
    if arguments.get("start") == "probability" != method.parameters["start"]:
        raise ConfigError(
            f"The method {method.name!r} is to explain a probability, but the network answers with a value.",
            field=f"{method.name}.start",
            remedy="Leave start out: a value is explained as it is.",
        )
    return "value"


class Batches:
    """Some scans of one network, explained batch by batch.

    Parameters
    ----------
    model, inputs, target, seed, batch_size, scan_keys, precision, output
        See `attribute`.

    Raises
    ------
    ConfigError
        Inputs, targets, keys, batch size or precision that cannot be right.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        target: torch.Tensor | int | None,
        seed: int,
        batch_size: int | None,
        scan_keys: Sequence[object] | None,
        precision: str,
        output: str = "class",
    ) -> None:
        check_inputs(inputs)
        self.inputs, self.seed, self.output, self.device = inputs, seed, output, device_of(model)
        check_types(model, inputs)
        self.precision = choice(precision, PRECISIONS, "precision")
        self.keys = list(range(len(inputs))) if scan_keys is None else list(scan_keys)
        if len(self.keys) != len(inputs):
            raise ConfigError(
                f"There are {len(inputs)} scans but {len(self.keys)} scan keys.",
                field="scan_keys",
                remedy="Pass one per scan.",
            )
        self.target = class_indices(target, len(inputs), self.device)
        default = default_batch_size(inputs, self.device)
        self.size = default if batch_size is None else whole_number(batch_size, 1, "batch_size")
        self.model = model

    def run(self, requests: Sequence[Request]) -> list[Attribution]:
        """Return the maps of each method, in order."""
        with torch.inference_mode(False), torch.enable_grad():
            return self.explained(requests)

    def explained(self, requests: Sequence[Request]) -> list[Attribution]:
        """Return the maps of each method, in order, where gradients can be taken."""
        # a method may change its private network, so each has its own; those that can share a pass share one
        sharing = [request.method.shares for request in requests]
        common = isolated(self.model) if any(sharing) else self.model
        twins = [common if shares else isolated(self.model) for shares in sharing]
        refuse_side_effects(self.model, twins[0], self.inputs[:1].detach().clone().to(self.device))

        def run(part: slice, size: int) -> list[Attribution]:
            return self.part(requests, twins, part, size)

        parts = list(in_batches(len(self.inputs), self.size, run))
        return [
            Attribution(torch.cat([each.maps for each in maps]), torch.cat([each.residual for each in maps]))
            for maps in zip(*parts, strict=True)
        ]

    def part(
        self, requests: Sequence[Request], twins: Sequence[nn.Module], part: slice, size: int
    ) -> list[Attribution]:
        """Return the maps of one batch by each method."""
        scans = self.inputs[part].detach().clone().to(self.device)
        target = None if self.target is None else self.target[part].clone()
        supplied: dict[str, object] = {
            "seed": self.seed,
            "scan_keys": self.keys[part],
            "batch_size": size,
            "output": self.output,
        }
        results = []
        with arithmetic(self.precision):
            passes = shared_passes(requests, twins, scans, target)
            for position, (request, twin) in enumerate(zip(requests, twins, strict=True)):
                extra = {name: value for name, value in supplied.items() if name in request.method.context}
                if position in passes:
                    extra["shared"] = passes[position]
                own = request.of_part(part, len(self.inputs))
                result = request.method.function(twin, scans, target, **own, **extra)
                results.append(finished(result, self.inputs))
        return results


def shared_passes(
    requests: Sequence[Request], twins: Sequence[nn.Module], scans: torch.Tensor, target: torch.Tensor | None
) -> dict[int, Pass]:
    """Return the forward pass that each method shares with another one, by the method's position."""
    groups: dict[str, list[int]] = {}
    for position, request in enumerate(requests):
        if request.method.shares:
            groups.setdefault(str(request.value("start")), []).append(position)
    passes: dict[int, Pass] = {}
    for start, positions in groups.items():
        if len(positions) < 2:
            continue
        members = [requests[position] for position in positions]
        wanted = {word for member in members for word in member.method.shares}
        model = twins[positions[0]]
        layers = {
            LAYERS[word](model, member.value("layer"))
            for member in members
            for word in member.method.shares
            if word in LAYERS
        }
        one = Pass(
            model,
            scans,
            target,
            start,
            layers=sorted(layers),
            to_input="input" in wanted,
            rectifiers="rectifiers" in wanted,
            several=True,
        )
        passes |= dict.fromkeys(positions, one)
    return passes


def check_inputs(inputs: torch.Tensor) -> None:
    """Check that inputs are a non-empty batch of finite scans.

    Raises
    ------
    ConfigError
        They are not.
    """
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point() or not 3 <= inputs.ndim <= 5:
        shape = tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise ConfigError(
            f"Inputs are {shape}.",
            field="inputs",
            remedy="Pass a floating-point tensor (batch, channel, one to three space axes).",
        )
    if not len(inputs):
        raise ConfigError("There are no scans to explain.", field="inputs", remedy="Pass at least one scan.")
    if not bool(torch.isfinite(inputs).all()):
        raise ConfigError("A scan holds NaN or infinite values.", field="inputs", remedy="Repair or exclude the scan.")


def check_types(model: nn.Module, inputs: torch.Tensor) -> None:
    """Check that scans and weights are of one type.

    Raises
    ------
    ConfigError
        They are not.
    """
    kinds = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    if kinds and inputs.dtype not in kinds:
        raise ConfigError(
            f"The scans are {inputs.dtype}, the network's weights {', '.join(map(str, kinds))}.",
            field="inputs",
            remedy="Convert one of them, for example inputs.to(next(network.parameters()).dtype).",
        )


def finished(result: torch.Tensor | Attribution, like: torch.Tensor) -> Attribution:
    """Return detached maps in plain memory order and the scans' type, with a NaN residual where there is none."""
    if not isinstance(result, Attribution):
        result = Attribution(result, torch.full((len(result),), torch.nan))
    maps = result.maps.detach().to(like).contiguous()
    return Attribution(maps, result.residual.detach().to(like.device, torch.float64))
