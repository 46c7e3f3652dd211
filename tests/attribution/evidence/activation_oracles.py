"""Slow oracles of the class-activation methods: every voxel, channel and derivative by a loop; their networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import nn

from attribution.evidence.gradients import by_differences
from attribution.networks import CONVOLUTION, convolutional, seasoned

POOLED = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
DEEPEST = 4  # the last convolution of `convolutional`
RECTIFIER = 5  # after it
# Seeds for which no rectified map is zero.
LIVELY = {1: 53, 2: 12, 3: 64}


def lively(n_axes: int) -> nn.Module:
    """Return the usual network with weights for which no rectified map of the scans is zero."""
    return seasoned(convolutional(n_axes), seed=LIVELY[n_axes])


def positive(n_axes: int) -> nn.Module:
    """Return the usual network with logits that are all positive."""
    model = lively(n_axes)
    model[-1].bias.data += 20
    return model


def steep(n_axes: int) -> nn.Module:
    """Return the usual network with gradients that are large beside what a library adds to denominators."""
    model = lively(n_axes)
    model[-1].weight.data *= 1e4
    return model


def pooled(n_axes: int, channels: int = 4, positive_head: bool = False) -> nn.Module:
    """Return conv - ReLU - global average - linear, with feature maps on the grid of the scans."""
    model = nn.Sequential(
        CONVOLUTION[n_axes](2, channels, 3, padding=1),
        nn.ReLU(),
        POOLED[n_axes](1),
        nn.Flatten(),
        nn.Linear(channels, 3),
    )
    seasoned(model, seed=3)
    if positive_head:
        model[-1].weight.data.abs_()
        model[-1].bias.data.abs_()
    return model


def interpolated(coarse: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Return a map (*T) interpolated linearly onto a grid, voxel centres to voxel centres, voxel by voxel."""
    result = torch.zeros(size, dtype=coarse.dtype)
    for voxel in itertools.product(*map(range, size)):
        corners = []
        for place, fine, rough in zip(voxel, size, coarse.shape, strict=True):
            position = min(max((place + 0.5) * rough / fine - 0.5, 0.0), rough - 1.0)
            below = min(int(position), rough - 1)
            above, share = min(below + 1, rough - 1), position - below
            corners.append(((below, 1 - share), (above, share)))
        for corner in itertools.product(*corners):
            result[voxel] += coarse[tuple(index for index, _ in corner)] * math.prod(share for _, share in corner)
    return result


def split(model: nn.Module, scan: torch.Tensor, layer: str | None) -> tuple[torch.Tensor, nn.Module]:
    """Return a layer's output for one scan (K, *T), and the rest of the network."""
    position = DEEPEST if layer is None else int(layer)
    with torch.no_grad():
        return model[: position + 1](scan[None])[0], model[position + 1 :]


def slopes(model: nn.Module, scan: torch.Tensor, target: int, layer: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output and the gradient with respect to it by central differences."""
    features, tail = split(model, scan, layer)
    return features, by_differences(tail, features, target)


def by_channel_weights(
    weigh: Callable[[torch.Tensor, torch.Tensor], float],
    model: nn.Module,
    scan: torch.Tensor,
    target: int,
    layer: str | None = None,
) -> torch.Tensor:
    """Return the rectified sum of feature maps, each weighted by (map, gradient) -> number."""
    features, gradient = slopes(model, scan, target, layer)
    coarse = torch.zeros_like(features[0])
    for one, slope in zip(features, gradient, strict=True):
        coarse += weigh(one, slope) * one
    return interpolated(coarse.clamp(min=0), scan.shape[1:])[None]


def by_voxel_weights(
    term: Callable[[float, float], float],
    finish: Callable[[float], float],
    model: nn.Module,
    scan: torch.Tensor,
    target: int,
    layer: str | None = None,
) -> torch.Tensor:
    """Return the sum over channels of (feature, gradient) -> number, voxel by voxel."""
    features, gradient = slopes(model, scan, target, layer)
    coarse = torch.zeros_like(features[0])
    for voxel in itertools.product(*map(range, coarse.shape)):
        total = sum(term(float(one[voxel]), float(slope[voxel])) for one, slope in zip(features, gradient, strict=True))
        coarse[voxel] = finish(total)
    return interpolated(coarse, scan.shape[1:])[None]


def mean_slope(_one: torch.Tensor, slope: torch.Tensor) -> float:
    return sum(slope.flatten().tolist()) / slope.numel()


def plus_plus(one: torch.Tensor, slope: torch.Tensor) -> float:
    """The paper's equation 19 with the derivatives of exp(S), S = 0 here and linear, taken literally."""
    total, weight = sum(one.flatten().tolist()), 0.0
    for g in slope.flatten().tolist():
        second, third = g**2, g**3
        alpha = second / (2 * second + total * third) if second > 0 else 0.0
        weight += alpha * max(g, 0.0)
    return weight


def under_activation(one: torch.Tensor, slope: torch.Tensor) -> float:
    values, gradients = one.flatten().tolist(), slope.flatten().tolist()
    total = sum(values)
    return sum(value / total * g for value, g in zip(values, gradients, strict=True)) if total else 0.0


def guided(model: nn.Module, scan: torch.Tensor, target: int, layer: str | None = None) -> torch.Tensor:
    """Grad-CAM by loops times guided backpropagation, layer by layer through a network of layers."""
    values = [scan[None]]
    with torch.no_grad():
        for module in model:
            values.append(module(values[-1]))
    relevance = torch.zeros_like(values[-1])
    relevance[0, target] = 1
    for module, before in zip(reversed(list(model)), reversed(values[:-1]), strict=True):
        if isinstance(module, nn.ReLU):
            relevance = relevance * (relevance > 0) * (before > 0)
            continue
        point = before.clone().requires_grad_()
        relevance = torch.autograd.grad(module(point), point, relevance)[0]
    return by_channel_weights(mean_slope, model, scan, target, layer) * relevance[0]


def principal(
    model: nn.Module, scan: torch.Tensor, target: int, layer: str | None = None, centred: bool = False
) -> torch.Tensor:
    """The first right singular vector of voxels x channels by a decomposition of that matrix."""
    features, _ = split(model, scan, layer)
    table = features.flatten(1).T
    if centred:
        table = table - table.mean(0)
    vector = torch.linalg.svd(table, full_matrices=False).Vh[0]
    flat = table @ vector
    if float(flat @ table.sum(1)) < 0:
        flat = -flat
    return interpolated(flat.reshape(features.shape[1:]), scan.shape[1:])[None]


def scored(model: nn.Module, scan: torch.Tensor, target: int, layer: str | None = None) -> torch.Tensor:
    """Algorithm 1 of Score-CAM, one channel at a time."""
    features, _ = split(model, scan, layer)
    gains, used = [], []
    with torch.no_grad():
        baseline = float(model(torch.zeros_like(scan)[None])[0, target])
        for one in features:
            mask = interpolated(one, scan.shape[1:])
            if float(mask.max() - mask.min()) < 1e-12:
                continue
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            gains.append(float(model((scan * mask)[None])[0, target]) - baseline)
            used.append(one)
    total = sum(math.exp(gain) for gain in gains)
    coarse = torch.zeros_like(features[0])
    for gain, one in zip(gains, used, strict=True):
        coarse += math.exp(gain) / total * one
    return interpolated(coarse.clamp(min=0), scan.shape[1:])[None]


def ablated(model: nn.Module, scan: torch.Tensor, target: int, layer: str | None = None) -> torch.Tensor:
    """The paper's weights, one channel at a time; the absolute value matters for negative scores only."""
    features, tail = split(model, scan, layer)
    coarse = torch.zeros_like(features[0])
    with torch.no_grad():
        complete = float(tail(features[None])[0, target])
        for channel in range(len(features)):
            without = features.clone()
            without[channel] = 0
            coarse += (complete - float(tail(without[None])[0, target])) / abs(complete) * features[channel]
    return interpolated(coarse.clamp(min=0), scan.shape[1:])[None]
