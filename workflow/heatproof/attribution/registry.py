"""The registry of attribution methods: one function and one `register` line make a method.

A method is a function ``f(model, inputs, target, *, parameters..., context...)``. It is handed a private copy
of the network (see `isolation`), one batch of scans and the class index of each, and returns the maps, or an
`Attribution` that also carries the residual of its completeness equation.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..errors import ConfigError

# Keyword arguments that are handed in by the caller of `attribute` or by the dispatcher and can therefore not
# be written in a config: arrays, networks, seeds and the batch size.
CONTEXT = (
    "seed",
    "scan_keys",
    "batch_size",
    "shared",
    "output",
    "prior",
    "permuted",
    "control_mean",
    "zero_intensity",
    "background",
    "regions",
    "fitted",
)
# Of these, what the caller has to prepare (the dispatcher supplies the others).
PREPARED = ("prior", "permuted", "control_mean", "zero_intensity", "background", "regions", "fitted")
# Context that only one value of a parameter asks for.
CONDITIONS = {
    "control_mean": ("baseline", "control_mean"),
    "zero_intensity": ("baseline", "zero"),
    "background": ("baseline", "training"),
    "regions": ("by", "region"),
}


@dataclass(frozen=True)
class Attribution:
    """Maps of a batch and how far each is from its completeness or conservation equation.

    Attributes
    ----------
    maps : Tensor, shape (B, C, *S) or (B, 1, *S)
    residual : Tensor, shape (B,)
        Sum of the map minus what it has to sum to; NaN for methods that promise no sum.
    """

    maps: torch.Tensor
    residual: torch.Tensor

    @classmethod
    def promising(cls, maps: torch.Tensor, promised: torch.Tensor) -> Attribution:
        """Return maps with the residual of what each has to sum to, shape (B,)."""
        return cls(maps, maps.double().flatten(1).sum(1) - promised)


@dataclass(frozen=True)
class Method:
    """One attribution method.

    Attributes
    ----------
    name : str
        Name in configs and tables.
    function : callable
        ``function(model, inputs, target, **parameters)``.
    family : str
        gradients, sampling, paths, rescale, activations, relevance, regions, perturbation, patterns, simulators or
        controls.
    cost : str
        Forward and backward passes per scan, in words.
    citation : str
        Where the method was published.
    is_control : bool
        Whether the map is made without looking at the model, or without a trained one.
    shares : tuple of str
        What it takes from a forward pass that it can share (see `shared.Pass`): "input", the gradient of the
        scans; "layer" or "rectified_layer", output and gradient of its layer, by default the deepest convolution or the
        rectifier after it; "rectifiers", other rules for rectifiers.
    """

    name: str
    function: Callable[..., torch.Tensor | Attribution]
    family: str
    cost: str
    citation: str
    is_control: bool = False
    shares: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters that a config may set, with their defaults (``inspect.Parameter.empty``: required)."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in CONTEXT
        }

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the context arguments that the function takes."""
        return tuple(name for name in inspect.signature(self.function).parameters if name in CONTEXT)

    @property
    def needs(self) -> tuple[str, ...]:
        """Context that the caller may have to prepare: any of `PREPARED`."""
        return tuple(name for name in self.context if name in PREPARED)

    @property
    def required(self) -> tuple[str, ...]:
        """Context arrays without which the method never works."""
        signature = inspect.signature(self.function).parameters
        return tuple(name for name in self.needs if signature[name].default is inspect.Parameter.empty)


METHODS: dict[str, Method] = {}
Function = TypeVar("Function", bound=Callable[..., torch.Tensor | Attribution])


def register(
    name: str, *, family: str, cost: str, citation: str, is_control: bool = False, shares: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Return a decorator that enters a function into `METHODS`."""

    def enter(function: Function) -> Function:
        METHODS[name] = Method(name, function, family, cost, citation, is_control, shares)
        return function

    return enter


def lookup(name: str) -> Method:
    """Return the method of a name.

    Raises
    ------
    ConfigError
        There is no such method; the message lists those that exist and the closest one.
    """
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(str(name), METHODS, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ConfigError(
        f"There is no attribution method {name!r}.",
        field="method",
        remedy=f"{hint}Choose one of: {', '.join(sorted(METHODS))}.",
    )


def check_parameters(method: Method, parameters: Mapping[str, object]) -> None:
    """Check that a method knows every parameter it is given and is given every one it requires.

    Raises
    ------
    ConfigError
        An unknown or missing parameter; the message lists what is allowed.
    """
    allowed = method.parameters
    remedy = f"Allowed parameters of {method.name}: {', '.join(sorted(allowed)) or 'none'}."
    for name in parameters:
        if name not in allowed and name not in PREPARED:
            raise ConfigError(
                f"The method {method.name!r} has no parameter {name!r}.",
                field=f"{method.name}.{name}",
                remedy=remedy,
            )
    for name, default in allowed.items():
        if default is inspect.Parameter.empty and name not in parameters:
            raise ConfigError(
                f"The method {method.name!r} needs the parameter {name!r}.",
                field=f"{method.name}.{name}",
                remedy=remedy,
            )


def required_context(name: str, parameters: Mapping[str, object]) -> set[str]:
    """Return which context arrays a configured method really needs.

    Parameters
    ----------
    name : str
        Method name.
    parameters : mapping
        Its parameters as they stand in the config.

    Returns
    -------
    set of str
        Any of ``prior`` (an array on the grid), ``permuted`` (a network trained on permuted labels),
        ``control_mean`` (the mean training scan of the controls), ``zero_intensity`` (what the intensity zero
        became in each normalised scan), ``background`` (some training scans), ``regions`` (integer labels on the
        grid) and ``fitted`` (a simulator that was fitted to the network).
    """
    method = lookup(name)
    unmet = {
        context
        for context, (parameter, value) in CONDITIONS.items()
        if parameters.get(parameter, method.parameters.get(parameter)) != value
    }
    needed = set(method.needs) - unmet | set(method.required)
    if "inner" in parameters:
        inner_parameters = parameters.get("inner_parameters") or {}
        if isinstance(inner_parameters, Mapping):
            needed |= required_context(str(parameters["inner"]), inner_parameters)
    return needed


def whole_number(value: object, least: int, field: str) -> int:
    """Return a whole number that must not be below the least.

    Raises
    ------
    ConfigError
        It is none, or below.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        remedy = f"Use {least} or more, a whole number from {least} on."
        raise ConfigError(f"{value!r} is not possible here.", field=field, remedy=remedy)
    return value


def choice(value: object, allowed: tuple[str, ...], field: str) -> str:
    """Return a value that must be one of a few words.

    Raises
    ------
    ConfigError
        It is none of them.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise ConfigError(f"{value!r} is not possible here.", field=field, remedy=f"Choose one of: {', '.join(allowed)}.")
