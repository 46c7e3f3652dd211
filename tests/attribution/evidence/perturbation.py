"""Evidence for occlusion and RISE."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.gradients import linear_network, weight_map
from attribution.networks import SIZE, convolutional, scans
from heatproof.attribution import attribute
from heatproof.attribution.streams import stream


def fall(model, scan, target, occluded) -> float:
    """Return the logit of a scan minus that of the occluded one."""
    with torch.no_grad():
        return float(model(scan[None])[0, target] - model(occluded[None])[0, target])


def mean_fall_of_windows(model, scan, target, *, window, stride):
    """Return the mean fall of the windows that cover a voxel, collected voxel by voxel."""
    shape = scan.shape[1:]
    falls = {place: [] for place in itertools.product(*map(range, shape))}
    firsts = [
        [step * number for number in range(math.ceil((size - length) / step) + 1)]
        for size, length, step in zip(shape, window, stride, strict=True)
    ]
    for corner in itertools.product(*firsts):
        covered = [
            place
            for place in falls
            if all(first <= at < first + length for at, first, length in zip(place, corner, window, strict=True))
        ]
        occluded = scan.clone()
        for place in covered:
            occluded[(slice(None), *place)] = 0
        for place in covered:
            falls[place].append(fall(model, scan, target, occluded))
    found = torch.zeros(1, *shape, dtype=scan.dtype)
    for place, several in falls.items():
        found[(0, *place)] = sum(several) / len(several)
    return found


def by_axes(oracle):
    """Return an oracle that takes window and stride as single numbers."""
    return lambda model, scan, target, *, window, stride: oracle(
        model, scan, target, window=[window] * (scan.ndim - 1), stride=[stride] * (scan.ndim - 1)
    )


def whole_scan(n_axes: int) -> float:
    """Return the deviation from f(x) - f(x') everywhere, with one window over the whole scan."""
    model, inputs, baseline = convolutional(n_axes), scans(n_axes), scans(n_axes, 1, seed=8)
    found = attribute("occlusion", model, inputs, 1, window=list(SIZE[n_axes]), baseline=baseline)
    rise = (model(inputs) - model(baseline)).detach()[:, 1]
    return deviation(found, rise.reshape(-1, 1, *[1] * n_axes).expand_as(found))


def linear(n_axes: int) -> float:
    """Return the deviation from the sums of w (x - x') in windows without overlap."""
    model, inputs, baseline = linear_network(n_axes), scans(n_axes, 1), scans(n_axes, 1, seed=8)
    shares = (weight_map(model, n_axes, 1) * (inputs - baseline)[0]).sum(0)
    expected = torch.zeros_like(shares)
    for corner in itertools.product(*(range(0, size, 3) for size in SIZE[n_axes])):
        place = tuple(slice(first, first + 3) for first in corner)
        expected[place] = shares[place].sum()
    return deviation(attribute("occlusion", model, inputs, 1, window=3, stride=3, baseline=baseline)[0, 0], expected)


def labels(n_axes: int) -> torch.Tensor:
    return torch.randint(0, 5, SIZE[n_axes], generator=torch.Generator().manual_seed(3)) * 10


def regions(n_axes: int) -> float:
    """Return the deviation from one fall per label, and 0 at label 0."""
    model, inputs, areas = convolutional(n_axes), scans(n_axes), labels(n_axes)
    found, worst = attribute("occlusion", model, inputs, 1, by="region", regions=areas), 0.0
    for scan, one in zip(inputs, found, strict=True):
        expected = torch.zeros_like(one[0])
        for label in (10, 20, 30, 40):
            occluded = scan.clone()
            for place in torch.nonzero(areas == label).tolist():
                occluded[(slice(None), *place)] = 0
            expected[areas == label] = fall(model, scan, 1, occluded)
        worst = max(worst, deviation(one[0], expected))
    return worst


def captum_occlusion(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import Occlusion

    n_axes, channels = inputs.ndim - 2, inputs.shape[1]
    maps = Occlusion(model).attribute(inputs, (channels, *[4] * n_axes), (channels, *[3] * n_axes), 0.0, target)
    return maps[:, :1]


def masks_by_loops(model, scan, target, *, n_samples, cells, probability, start, seed, scan_key):
    """Return the sum of score x mask over n p, each mask interpolated voxel by voxel."""
    shape, total = scan.shape[1:], torch.zeros(1, *scan.shape[1:], dtype=scan.dtype)
    for sample in range(n_samples):
        random = stream(seed, "rise", scan_key, sample)
        kept = torch.rand([cells] * len(shape), generator=random) < probability
        extents = [math.ceil(size / cells) for size in shape]
        shifts = [int(torch.randint(extent, (), generator=random)) for extent in extents]
        mask = torch.zeros(shape, dtype=scan.dtype)
        for place in itertools.product(*map(range, shape)):
            near = []
            for at, shift, extent in zip(place, shifts, extents, strict=True):
                there = (at + shift + 0.5) * cells / ((cells + 1) * extent) - 0.5
                there = min(max(there, 0.0), cells - 1.0)
                low = min(int(there), cells - 2) if cells > 1 else 0
                near.append([(low, 1 - (there - low)), (min(low + 1, cells - 1), there - low)])
            for corner in itertools.product(*near):
                mask[place] += math.prod(weight for _, weight in corner) * kept[tuple(cell for cell, _ in corner)]
        with torch.no_grad():
            score = float(model((mask * scan)[None])[0].softmax(0)[target])
        total += score * mask / (n_samples * probability)
    return total


def nothing_masked(n_axes: int) -> float:
    """Return the deviation from the probability of the scan itself, with every cell kept."""
    model, inputs = convolutional(n_axes), scans(n_axes)
    found = attribute("rise", model, inputs, 1, n_samples=3, probability=1.0)
    expected = model(inputs).detach().softmax(1)[:, 1]
    return deviation(found, expected.reshape(-1, 1, *[1] * n_axes).expand_as(found))


class Constant(nn.Module):
    """The same logit whatever is shown."""

    def forward(self, x):
        return x.flatten(1).sum(1, keepdim=True) * 0 + 2


def constant(n_axes: int) -> float:
    """Return how far the map of a network that always says 2 is from 2: masks of mean p."""
    inputs = scans(n_axes, 1)
    found = attribute("rise", Constant(), inputs, n_samples=3000, cells=3, start="logit")
    return deviation(found.mean(), torch.tensor(2.0).double())


EVIDENCE = {
    "occlusion": Evidence(
        by_axes(mean_fall_of_windows),
        {"window": 4, "stride": 3},
        (
            Identity("a window over the whole scan: f(x) - f(x')", whole_scan),
            Identity("linear network: sums of w (x - x')", linear),
            Identity("by region: one fall per label, 0 outside", regions),
        ),
        Peer(
            "captum",
            captum_occlusion,
            {"window": 4, "stride": 3},
            note="single precision maps",
        ),
    ),
    "rise": Evidence(
        masks_by_loops,
        {"n_samples": 3, "cells": 4, "probability": 0.6, "start": "probability"},
        (
            Identity("every cell kept: the probability of the scan", nothing_masked),
            Identity("a constant network: the constant", constant, 0.02),
        ),
        oracle_tolerance=1e-5,
    ),
}
