"""Controls: maps made without looking at the network, or without a network that learned the task.

A method whose maps score no better than these has shown nothing about the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ..errors import ConfigError, UnsupportedModelError
from ..randomness import integer_seed
from .isolation import device_of, isolated
from .registry import METHODS, Attribution, register
from .smoothing import FWHM_PER_SIGMA, smooth_periodic

OURS = "control of this project"


def noise(inputs: torch.Tensor, seed: int, scan_keys: Sequence[object], name: str) -> torch.Tensor:
    """Return standard normal noise, one stream per scan, drawn on the CPU so that no device changes it."""
    maps = []
    for key in scan_keys:
        stream = torch.Generator().manual_seed(integer_seed(seed, "attribution", name, key))
        maps.append(torch.randn(inputs.shape[1:], generator=stream, dtype=torch.float32))
    return torch.stack(maps).to(inputs)


@register("random_noise", family="controls", cost="none", citation=OURS, is_control=True)
def random_noise(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    seed: int,
    scan_keys: Sequence[object],
) -> torch.Tensor:
    """Return white noise, standard normal in every voxel, shape (B, C, *S)."""
    return noise(inputs, seed, scan_keys, "random_noise")


@register("smooth_noise", family="controls", cost="none", citation=OURS, is_control=True)
def smooth_noise(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    fwhm: float = 4.0,
    seed: int,
    scan_keys: Sequence[object],
) -> torch.Tensor:
    """Return smooth noise of unit variance, shape (B, C, *S): smoothness alone raises an overlap.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    fwhm : float
        Full width at half maximum of the Gaussian in voxels.
    seed, scan_keys
        Keys of the random streams.
    """
    smooth = smooth_periodic(noise(inputs, seed, scan_keys, "smooth_noise"), fwhm / FWHM_PER_SIGMA)
    axes = tuple(range(2, inputs.ndim))
    return smooth / smooth.std(dim=axes, keepdim=True).clamp(min=torch.finfo(smooth.dtype).tiny)


@register("input_magnitude", family="controls", cost="none", citation=OURS, is_control=True)
def input_magnitude(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
    """Return the absolute value of the scan, shape (B, C, *S)."""
    return inputs.abs()


@register(
    "edges",
    family="controls",
    cost="none",
    citation="Adebayo et al. 2018, arXiv 1810.03292 (edge detector as control)",
    is_control=True,
)
def edges(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
    """Return the length of the scan's Sobel gradient, shape (B, C, *S), per voxel."""
    squares = torch.zeros_like(inputs)
    axes = range(2, inputs.ndim)
    for axis in axes:
        slope = neighbour(inputs, axis, 1) - neighbour(inputs, axis, -1)
        for other in axes:
            if other != axis:
                slope = (neighbour(slope, other, 1) + 2 * slope + neighbour(slope, other, -1)) / 4
        squares += (slope / 2) ** 2
    return squares.sqrt()


def neighbour(scans: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """Return each voxel's neighbour along an axis; beyond the grid the edge voxel itself."""
    size = scans.shape[axis]
    positions = (torch.arange(size, device=scans.device) + step).clamp(0, size - 1)
    return scans.index_select(axis, positions)


@register(
    "anatomical_prior",
    family="controls",
    cost="none",
    citation="control of this project: where the disease is known to be, with no image and no network",
    is_control=True,
)
def anatomical_prior(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, prior: torch.Tensor
) -> torch.Tensor:
    """Return the same prior map for every scan, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    prior : Tensor, shape (*S)

    Raises
    ------
    ConfigError
        The prior is on another grid.
    """
    prior = torch.as_tensor(prior)
    if tuple(prior.shape) != tuple(inputs.shape[2:]):
        raise ConfigError(
            f"The prior has shape {tuple(prior.shape)}, the scans {tuple(inputs.shape[2:])}.",
            field="prior",
            remedy="Resample the prior onto the cohort's grid.",
        )
    return prior.to(inputs).expand(inputs.shape)


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
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
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
    control_mean
        Context of the inner method.
    seed, scan_keys, batch_size
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
        {"control_mean": control_mean},
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
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
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
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
    control_mean
        Context of the inner method.
    seed, scan_keys, batch_size
        Handed on.
    """
    return inner_maps(
        permuted,
        inputs,
        target,
        inner,
        inner_parameters,
        {"control_mean": control_mean},
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
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
    arguments: dict[str, object] = {**(inner_parameters or {}), **context}
    return attribute_with_residual(
        inner,
        model,
        inputs,
        target,
        seed=seed,
        batch_size=batch_size,
        scan_keys=scan_keys,
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
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which would also reseed every GPU
        torch.default_generator.manual_seed(seed)
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                fresh |= {id(parameter) for parameter in module.parameters()}
    stale = [name for name, parameter in twin.named_parameters() if id(parameter) not in fresh]
    if stale or not fresh:
        raise UnsupportedModelError(
            "These weights cannot be drawn anew." if stale else "The model has no trainable weights.",
            field=", ".join(stale) or type(model).__name__,
            remedy="Give the layer a reset_parameters method, or leave this control out for this model.",
        )
    return twin.to(device)
