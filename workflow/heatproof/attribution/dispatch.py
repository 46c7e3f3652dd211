"""`attribute` and `attribute_together`: the doors to every attribution method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from .engine import Batches, prepared
from .registry import Attribution


def attribute(
    method: str,
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | int | None = None,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    scan_keys: Sequence[object] | None = None,
    precision: str = "float32",
    output: str = "class",
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
        Class or output that is explained; None for a network with one output.
    seed : int
        Root of every random number; the streams are further keyed by method and scan.
    batch_size : int, optional
        Most inputs in one forward pass. It never changes a result. Halved when the memory does not suffice.
    scan_keys : sequence, optional
        One key per scan (its id) for its random stream; by default its position in `inputs`.
    precision : {"float32", "bfloat16"}
        Arithmetic of the network's passes. bfloat16 (autocast) halves what a GPU that has it must keep; in our tests
        maps correlate by more than .95 with those of single precision, and single voxels change more where a
        rectifier or a maximum flips. lrp, ablationcam and occlusion, which walk the network
        themselves or look at small differences, keep single precision.
    output : {"class", "value"}
        What the network's outputs are: scores of classes, or numbers with a unit (regression). A value is explained
        as it is, ``start`` is ``value`` for every method, and no map depends on its unit or origin but for one
        factor: where the published form does, the value above that of an empty scan takes its place (lrp, scorecam,
        rise, ablationcam, gradcam_plus_plus; see each).
    **params
        Parameters of the method, and the context it needs: ``prior`` (*S), ``permuted`` (a network),
        ``control_mean`` (C, *S), ``zero_intensity`` (B, C, *S), ``background`` (N, C, *S), ``regions`` (*S).

    Returns
    -------
    Tensor, shape (B, C, *S), or (B, 1, *S) for class-activation and region methods
        On the device of `inputs`.

    Raises
    ------
    ConfigError
        An unknown method, parameter or class, a missing context array, or the probability of a value.
    UnsupportedModelError
        The method cannot explain this network honestly.
    """
    return attribute_with_residual(
        method,
        model,
        inputs,
        target,
        seed=seed,
        batch_size=batch_size,
        scan_keys=scan_keys,
        precision=precision,
        output=output,
        **params,
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
    precision: str = "float32",
    output: str = "class",
    **params: object,
) -> Attribution:
    """Return the heatmaps and, per scan, the residual of the method's completeness equation.

    Parameters are those of `attribute`. The residual is the sum of a map minus what it has to sum to: for
    integrated gradients f(scan) - f(baseline), for relevance propagation the relevance it started from. It is
    NaN where a method promises no sum.
    """
    request = prepared(method, params, output)
    batch = Batches(model, inputs, target, seed, batch_size, scan_keys, precision, output)
    return batch.run([request])[0]


def attribute_together(
    methods: Mapping[str, tuple[str, Mapping[str, object]]],
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | int | None = None,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    scan_keys: Sequence[object] | None = None,
    precision: str = "float32",
    output: str = "class",
    **context: object,
) -> dict[str, Attribution]:
    """Return the maps of several methods; those of one forward pass share it, and each backward pass.

    Parameters
    ----------
    methods : mapping of str to (str, mapping)
        By any name: the method's name in `METHODS` and its parameters.
    model, inputs, target, seed, batch_size, scan_keys, precision, output
        See `attribute`.
    **context
        What the methods need beside the model: see `attribute`.

    Returns
    -------
    dict of str to Attribution
        By the names given. The same maps as one call each.

    Raises
    ------
    ConfigError, UnsupportedModelError
        As `attribute`, of any of the methods.
    """
    requests = [prepared(name, {**context, **parameters}, output) for name, parameters in methods.values()]
    batch = Batches(model, inputs, target, seed, batch_size, scan_keys, precision, output)
    return dict(zip(methods, batch.run(requests), strict=True))
