"""Controls: the maps of a method for a network that did not learn the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, UnsupportedModelError
from ..models.random_state import random_state
from ..randomness import integer_seed
from .isolation import current_precision, device_of, isolated
from .registry import METHODS, Attribution, check_parameters, lookup, register


@register(
    "untrained",
    family="controls",
    cost="that of the inner method",
    citation="Adebayo et al. 2018, arXiv 1810.03292 (model parameter randomisation)",
    is_control=True,
)
def untrained(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    inner: str,
    inner_parameters: Mapping[str, object] | None = None,
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    regions: torch.Tensor | None = None,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
    output: str,
) -> Attribution:
    """Return the maps of a method for the same architecture with freshly drawn weights.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`. The same weights are drawn for every scan.
    inner : str
        Method that explains the untrained network.
    inner_parameters : mapping, optional
        Its parameters.
    control_mean, zero_intensity, background, regions
        Context of the inner method.
    seed, scan_keys, batch_size, output
        Handed on; `seed` also draws the weights.

    Raises
    ------
    UnsupportedModelError
        Some weights belong to a layer that cannot be drawn anew.
    """
    return inner_maps(
        reinitialised(model, integer_seed(seed, "attribution", "untrained")),
        inputs,
        target,
        inner,
        inner_parameters,
        {
            "control_mean": control_mean,
            "zero_intensity": zero_intensity,
            "background": background,
            "regions": regions,
        },
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
        output=output,
    )


@register(
    "label_permuted",
    family="controls",
    cost="that of the inner method",
    citation="Adebayo et al. 2018, arXiv 1810.03292 (data randomisation)",
    is_control=True,
)
def label_permuted(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    inner: str,
    inner_parameters: Mapping[str, object] | None = None,
    permuted: nn.Module,
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    regions: torch.Tensor | None = None,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
    output: str,
) -> Attribution:
    """Return the maps of a method for a network that was trained on permuted labels.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`; `model` is not looked at.
    inner : str
        Method that explains the permuted network.
    inner_parameters : mapping, optional
        Its parameters.
    permuted : nn.Module
        The network trained on permuted labels.
    control_mean, zero_intensity, background, regions
        Context of the inner method.
    seed, scan_keys, batch_size, output
        Handed on.
    """
    return inner_maps(
        permuted,
        inputs,
        target,
        inner,
        inner_parameters,
        {
            "control_mean": control_mean,
            "zero_intensity": zero_intensity,
            "background": background,
            "regions": regions,
        },
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
        output=output,
    )


def inner_maps(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    inner: str,
    inner_parameters: Mapping[str, object] | None,
    context: Mapping[str, object],
    *,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
    output: str,
) -> Attribution:
    """Return the maps of another method.

    Raises
    ------
    ConfigError
        The inner method is itself a control.
    """
    from .dispatch import attribute_with_residual  # the dispatcher imports nothing from here, but runs us

    if inner in METHODS and METHODS[inner].is_control:
        names = sorted(name for name, method in METHODS.items() if not method.is_control)
        raise ConfigError(
            f"{inner!r} is a control itself.", field="inner", remedy=f"Choose one of: {', '.join(names)}."
        )
    check_parameters(lookup(inner), inner_parameters or {})
    arguments: dict[str, Any] = {**(inner_parameters or {}), **context}
    return attribute_with_residual(
        inner,
        model,
        inputs,
        target,
        seed=seed,
        batch_size=batch_size,
        scan_keys=scan_keys,
        precision=current_precision(),
        output=output,
        **arguments,
    )


def reinitialised(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network with weights drawn anew by each layer's own initialisation.

    Raises
    ------
    UnsupportedModelError
        A layer has weights but no `reset_parameters`, or there are no weights at all.
    """
    twin = isolated(model)
    device = device_of(model)
    twin.to("cpu")
    fresh: set[int] = set()
    with random_state(seed):
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                fresh |= {id(parameter) for parameter in module.parameters(recurse=False)}
    stale = [name for name, parameter in twin.named_parameters() if id(parameter) not in fresh]
    if stale or not fresh:
        raise UnsupportedModelError(
            "These weights cannot be drawn anew." if stale else "The model has no trainable weights.",
            field=", ".join(stale) or type(model).__name__,
            remedy="Give the layer a reset_parameters method, or leave this control out for this model.",
        )
    return twin.to(device)
