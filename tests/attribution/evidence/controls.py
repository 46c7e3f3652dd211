"""Evidence for the controls and for the maps of linear classifiers."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from attribution.evidence import Evidence, Identity, deviation
from attribution.evidence.gradients import linear_network
from attribution.networks import SIZE, convolutional, scans
from heatproof.attribution import attribute
from heatproof.attribution.streams import normal


class Line(nn.Module):
    """A linear classifier with weights and pattern as arrays, as `heatproof.models` builds it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(5)
        self.register_buffer("weight", torch.randn(shape, generator=stream, dtype=torch.float64))
        self.register_buffer("pattern", torch.randn(shape, generator=stream, dtype=torch.float64))

    def forward(self, x):
        decision = (x * self.weight).flatten(1).sum(1)
        return torch.stack([-decision / 2, decision / 2], 1)


def line(n_axes: int) -> nn.Module:
    return Line((2, *SIZE[n_axes]))


def signed(name: str):
    """Return the oracle of a linear map: towards the class, away from it for class 0."""
    return lambda model, scan, target: getattr(model, name) * (1 if target == 1 else -1)


def weights_are_half_the_gradient_of_the_margin(n_axes: int) -> float:
    model, inputs = line(n_axes), scans(n_axes, 1)
    margin = attribute("saliency", model, inputs, 1) - attribute("saliency", model, inputs, 0)
    return deviation(attribute("svm_weights", model, inputs, 1), margin)


def edges_by_loops(model, scan, target):
    """Return the length of the Sobel gradient, voxel by voxel; beyond the grid the edge voxel itself."""
    shape, n_axes = scan.shape[1:], scan.ndim - 1
    found = torch.zeros_like(scan)
    for channel, place in itertools.product(range(len(scan)), itertools.product(*map(range, shape))):
        squares = 0.0
        for axis in range(n_axes):
            slope = 0.0
            for step in itertools.product((-1, 0, 1), repeat=n_axes):
                weight = step[axis] / 2
                for other in range(n_axes):
                    if other != axis:
                        weight *= (0.25, 0.5, 0.25)[step[other] + 1]
                where = [min(max(a + b, 0), size - 1) for a, b, size in zip(place, step, shape, strict=True)]
                slope += weight * float(scan[(channel, *where)])
            squares += slope**2
        found[(channel, *place)] = squares**0.5
    return found


def centre_by_loops(model, scan, target, *, fwhm_share):
    """Return a Gaussian that has fallen to one half at `fwhm_share` / 2 of each axis from the centre."""
    found = torch.empty_like(scan)
    for place in itertools.product(*map(range, scan.shape)):
        halvings = sum(
            ((at - (size - 1) / 2) / (fwhm_share * size / 2)) ** 2
            for at, size in zip(place[1:], scan.shape[1:], strict=True)
        )
        found[place] = 0.5**halvings
    return found


def unit_moments(name: str, **parameters):
    """Return how far mean and variance of the noise are from 0 and 1, over many maps."""

    def error(n_axes: int) -> float:
        model, inputs = linear_network(n_axes), scans(n_axes, 1).expand(400, *scans(n_axes, 1).shape[1:])
        maps = attribute(name, model, inputs, 1, **parameters)
        return max(float(maps.mean().abs()), float((maps.var() - 1).abs()))

    return error


def smooth_by_loops(model, scan, target, *, fwhm, seed, scan_key):
    """Return noise averaged with Gaussian weights by distance around the grid, scaled to unit deviation."""
    white = normal(scan[None], seed, "smooth_noise", [scan_key])[0]
    smooth, sigma = white, fwhm / 2.3548200450309493
    for axis in range(1, scan.ndim):
        size = scan.shape[axis]
        places = torch.arange(size, dtype=torch.float64)
        frequency = torch.fft.fftfreq(size, dtype=torch.float64)
        response = torch.exp(-2 * (torch.pi * sigma * frequency) ** 2)
        # the kernel whose transform is the response, as an explicit sum of cosines
        kernel = torch.stack(
            [(response * torch.cos(2 * torch.pi * frequency * place)).sum() / size for place in places]
        )
        rolled = [kernel[place] * smooth.roll(int(place), axis) for place in range(size)]
        smooth = torch.stack(rolled).sum(0)
    axes = tuple(range(1, scan.ndim))
    return smooth / smooth.std(dim=axes, keepdim=True)


def inner_map_of_the_other_network(n_axes: int) -> float:
    other, inputs = convolutional(n_axes), scans(n_axes)
    found = attribute("label_permuted", linear_network(n_axes), inputs, 1, inner="saliency", permuted=other)
    return deviation(found, attribute("saliency", other, inputs, 1))


def untrained_ignores_the_weights(n_axes: int) -> float:
    """Return how much the map changes with the trained weights (running statistics are alike)."""
    one, other = linear_network(n_axes), linear_network(n_axes)
    other[1].weight.data.mul_(-3)
    inputs = scans(n_axes)
    maps = [attribute("untrained", model, inputs, 1, inner="saliency", seed=2) for model in (one, other)]
    return deviation(maps[0], maps[1]) + float(maps[0].abs().max() == 0)


def prior(n_axes: int) -> torch.Tensor:
    return torch.rand(SIZE[n_axes], generator=torch.Generator().manual_seed(2), dtype=torch.float64)


EVIDENCE = {
    "svm_weights": Evidence(
        signed("weight"),
        identities=(Identity("the gradient of the margin", weights_are_half_the_gradient_of_the_margin),),
        model=line,
    ),
    "svm_pattern": Evidence(signed("pattern"), model=line),
    "random_noise": Evidence(
        lambda model, scan, target, seed, scan_key: normal(scan[None], seed, "random_noise", [scan_key])[0],
        identities=(Identity("mean 0, variance 1", unit_moments("random_noise"), 0.05),),
    ),
    "smooth_noise": Evidence(
        smooth_by_loops,
        {"fwhm": 3.0},
        (Identity("fwhm 0: mean 0, variance 1", unit_moments("smooth_noise", fwhm=0.0), 0.05),),
    ),
    "input_magnitude": Evidence(lambda model, scan, target: torch.where(scan < 0, -scan, scan)),
    "edges": Evidence(edges_by_loops),
    "centre_prior": Evidence(centre_by_loops, {"fwhm_share": 0.4}),
    "anatomical_prior": Evidence(
        lambda model, scan, target, prior: torch.stack([prior] * len(scan)),
        context=lambda n_axes: {"prior": prior(n_axes)},
    ),
    "untrained": Evidence(
        None, identities=(Identity("does not depend on the trained weights", untrained_ignores_the_weights),)
    ),
    "label_permuted": Evidence(
        None, identities=(Identity("the inner map of the other network", inner_map_of_the_other_network),)
    ),
}
