"""`attribute`: the one door to every attribution method."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import ConfigError
from .batches import default_batch_size, in_batches
from .isolation import device_of, isolated
from .registry import Attribution, Method, check_parameters, lookup
from .targets import class_indices


def attribute(
    method: str,
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | int | None = None,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    scan_keys: Sequence[object] | None = None,
    **params: object,
) -> torch.Tensor:
    """Return the heatmap of each scan by one method.

    Parameters
    ----------
    method : str
        A name in `METHODS`.
    model : nn.Module
        Maps (B, C, *S) to (B, K). It is never written to: methods work on a private copy.
    inputs : Tensor, shape (B, C, *S)
        One to three space axes. Moved to the model's device batch by batch.
    target : Tensor of int, shape (B,), int or None
        Class that is explained; None for a network with one output.
    seed : int
        Root of every random number; the streams are further keyed by method and scan.
    batch_size : int, optional
        Most inputs in one forward pass. It never changes a result. Halved when the memory does not suffice.
    scan_keys : sequence, optional
        One key per scan (its id) for its random stream; by default its position in `inputs`.
    **params
        Parameters of the method, and the context it needs: ``prior`` (*S), ``permuted`` (a network),
        ``control_mean`` (C, *S), ``zero_intensity`` (B, C, *S).

    Returns
    -------
    Tensor, shape (B, C, *S), or (B, 1, *S) for class-activation methods
        On the device of `inputs`.

    Raises
    ------
    ConfigError
        An unknown method, parameter or class, or a missing context array.
    UnsupportedModelError
        The method cannot explain this network honestly.
    """
    return attribute_with_residual(
        method, model, inputs, target, seed=seed, batch_size=batch_size, scan_keys=scan_keys, **params
    ).maps


def attribute_with_residual(
    method: str,
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | int | None = None,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    scan_keys: Sequence[object] | None = None,
    **params: object,
) -> Attribution:
    """Return the heatmaps and, per scan, the residual of the method's completeness equation.

    Parameters are those of `attribute`. The residual is the sum of a map minus what it has to sum to: for
    integrated gradients f(scan) - f(baseline), for relevance propagation the relevance it started from. It is
    NaN where a method promises no sum.
    """
    entry = lookup(method)
    check_parameters(entry, params)
    check_inputs(inputs)
    keys = list(range(len(inputs))) if scan_keys is None else list(scan_keys)
    if len(keys) != len(inputs):
        raise ConfigError(
            f"There are {len(inputs)} scans but {len(keys)} scan keys.",
            field="scan_keys",
            remedy="Pass one per scan.",
        )
    device = device_of(model)
    indices = class_indices(target, len(inputs), device)
    supplied = own_arguments(entry, params) | ({"seed": seed} if "seed" in entry.context else {})
    zeros = supplied.pop("zero_intensity", None)  # the one context that belongs to each scan
    twin = isolated(model)

    def run(part: slice, size: int) -> Attribution:
        extra: dict[str, object] = {}
        if "scan_keys" in entry.context:
            extra["scan_keys"] = keys[part]
        if "batch_size" in entry.context:
            extra["batch_size"] = size
        if isinstance(zeros, torch.Tensor):
            extra["zero_intensity"] = zeros[part]
        scans = inputs[part].detach().to(device)
        result = entry.function(twin, scans, None if indices is None else indices[part], **supplied, **extra)
        return finished(result, inputs.device)

    size = default_batch_size(inputs, device) if batch_size is None else checked_batch_size(batch_size)
    parts = list(in_batches(len(inputs), size, run))
    return Attribution(torch.cat([part.maps for part in parts]), torch.cat([part.residual for part in parts]))


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


def checked_batch_size(batch_size: int) -> int:
    """Return a batch size of at least one, or raise a ConfigError."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"{batch_size!r} is no batch size.", field="batch_size", remedy="Use 1 or more, or None.")
    return batch_size


def own_arguments(method: Method, params: dict[str, object]) -> dict[str, object]:
    """Return the parameters and prepared context that a method takes; context of other methods is dropped.

    Raises
    ------
    ConfigError
        A context array without which the method cannot work is missing.
    """
    for name in method.required:
        if params.get(name) is None:
            raise ConfigError(
                f"The method {method.name!r} needs {name}.",
                field=f"{method.name}.{name}",
                remedy=f"Pass {name}=...",
            )
    names = {*method.parameters, *method.needs}
    return {name: value for name, value in params.items() if name in names}


def finished(result: torch.Tensor | Attribution, device: torch.device) -> Attribution:
    """Return detached maps in plain memory order, with a NaN residual where the method gives none."""
    if not isinstance(result, Attribution):
        result = Attribution(result, torch.full((len(result),), torch.nan))
    maps = result.maps.detach().to(device).contiguous()
    return Attribution(maps, result.residual.detach().to(device, torch.float64))
