"""Evidence for DeepLIFT and DeepSHAP."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.gradients import linear_network, weight_map
from attribution.networks import AVERAGE, MAXIMUM, convolutional, scans
from heatproof.attribution import attribute


def windows_of(size: tuple[int, ...], kernel: int, stride: int):
    """Yield (place of the output, places of its window) of a pooling without padding."""
    steps = list(itertools.product(range(kernel), repeat=len(size)))
    for place in itertools.product(*(range((each - kernel) // stride + 1) for each in size)):
        yield place, [tuple(at * stride + step for at, step in zip(place, each, strict=True)) for each in steps]


def through_a_maximum(layer, value, other, gradient):
    """Return the multiplier of a maximum's inputs, window by window."""
    found = torch.zeros_like(value)
    for channel in range(value.shape[1]):
        for place, window in windows_of(value.shape[2:], layer.kernel_size, layer.stride):
            here, there = ([float(each[(0, channel, *voxel)]) for voxel in window] for each in (value, other))
            rise = max(here) - max(there)
            if rise == 0:
                continue
            lines = here if rise > 0 else there
            voxel = (0, channel, *window[lines.index(max(lines))])
            found[voxel] += gradient[(0, channel, *place)] * rise / (value[voxel] - other[voxel])
    return found


def rescaled_by_layers(model: nn.Sequential, scan: torch.Tensor, baseline: torch.Tensor, target: int) -> torch.Tensor:
    """Return DeepLIFT by walking back through a sequence of layers with explicit contributions."""
    values, others = [scan[None]], [baseline[None]]
    for layer in model:
        values.append(layer(values[-1]).detach())
        others.append(layer(others[-1]).detach())
    gradient = torch.zeros_like(values[-1])
    gradient[0, target] = 1
    for number in range(len(model) - 1, -1, -1):
        layer, value, other = model[number], values[number], others[number]
        if isinstance(layer, tuple(MAXIMUM.values())):
            gradient = through_a_maximum(layer, value, other, gradient)
        elif isinstance(layer, (nn.ReLU, nn.ELU, nn.Softplus)):
            change = (values[number + 1] - others[number + 1]) / (value - other)
            gradient = gradient * torch.where(value == other, (value > 0).to(change), change)
        else:
            point = value.clone().requires_grad_()
            gradient = torch.autograd.grad(layer(point), point, gradient)[0]
    return gradient[0] * (scan - baseline)


def from_zero(model, scan, target):
    return rescaled_by_layers(model, scan, torch.zeros_like(scan), target)


def from_each(model, scan, target, *, background):
    total = torch.zeros_like(scan)
    for baseline in background:
        total = total + rescaled_by_layers(model, scan, baseline, target) / len(background)
    return total


def of_a_linear_network(n_axes: int) -> float:
    model, inputs, baseline = linear_network(n_axes), scans(n_axes, 1), scans(n_axes, 1, seed=8)
    found = attribute("deeplift", model, inputs, 1, baseline="control_mean", control_mean=baseline[0])
    return deviation(found[0], weight_map(model, n_axes, 1) * (inputs - baseline)[0])


def mean_of_a_linear_network(n_axes: int) -> float:
    model, inputs, background = linear_network(n_axes), scans(n_axes, 1), scans(n_axes, 4, seed=8)
    found = attribute("deepshap", model, inputs, 1, background=background)
    return deviation(found[0], weight_map(model, n_axes, 1) * (inputs[0] - background.mean(0)))


def overlapping(n_axes: int) -> nn.Module:
    """Return the network behind a maximum and an average of overlapping windows and a smooth rectifier."""
    front = [MAXIMUM[n_axes](3, 1, 1), nn.Softplus(), AVERAGE[n_axes](3, 1, 1)]
    return nn.Sequential(*front, *convolutional(n_axes))


def complete(n_axes: int) -> float:
    """Return the miss of f(scan) - f(baseline) as a share of it."""
    inputs, target, worst = scans(n_axes), torch.tensor([0, 1, 2]), 0.0
    for model in (convolutional(n_axes), overlapping(n_axes)):
        ends = [model(each).detach().gather(1, target[:, None])[:, 0] for each in (inputs, torch.zeros_like(inputs))]
        worst = max(worst, deviation(attribute("deeplift", model, inputs, target).flatten(1).sum(1), ends[0] - ends[1]))
    return worst


def complete_on_average(n_axes: int) -> float:
    """Return the miss of f(scan) - mean f(training scan) as a share of it."""
    model, inputs, background = overlapping(n_axes), scans(n_axes), scans(n_axes, 5, seed=8)
    rise = model(inputs).detach()[:, 1] - model(background).detach()[:, 1].mean()
    return deviation(attribute("deepshap", model, inputs, 1, background=background).flatten(1).sum(1), rise)


def one_training_scan_is_deeplift(n_axes: int) -> float:
    model, inputs, baseline = convolutional(n_axes), scans(n_axes), scans(n_axes, 3, seed=8)
    found = attribute("deepshap", model, inputs, 1, background=baseline, n_samples=1)
    return deviation(found, attribute("deeplift", model, inputs, 1, baseline=baseline[0]))


class Once(nn.Module):
    """Keeps two nonlinear layers apart, which captum needs to be right."""

    def forward(self, x):
        return x * 1


def apart(model: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*[each for layer in model for each in (layer, Once())])


def captum_deeplift(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import DeepLift

    return DeepLift(apart(model)).attribute(inputs, torch.zeros_like(inputs), target).detach()


def captum_deepshap(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import DeepLiftShap

    stream = torch.Generator().manual_seed(8)  # on the grid of the tests, the scans of the evidence
    background = torch.randn(3, *inputs.shape[1:], generator=stream, dtype=inputs.dtype)
    return DeepLiftShap(apart(model)).attribute(inputs, background, target).detach()


CAPTUM_NOTE = "given a network with x * 1 between layers: it errs where a ReLU touches a maximum (captum #1082, #1104)"
EVIDENCE = {
    "deeplift": Evidence(
        from_zero,
        identities=(
            Identity("linear network: w (x - x')", of_a_linear_network),
            Identity("complete", complete, 1e-9),
        ),
        peer=Peer("captum", captum_deeplift, note=CAPTUM_NOTE),
    ),
    "deepshap": Evidence(
        from_each,
        identities=(
            Identity("linear network: w (x - mean x')", mean_of_a_linear_network),
            Identity("complete", complete_on_average, 1e-9),
            Identity("one training scan: DeepLIFT", one_training_scan_is_deeplift),
        ),
        peer=Peer("captum", captum_deepshap, note=CAPTUM_NOTE),
        context=lambda n_axes: {"background": scans(n_axes, 3, seed=8)},
    ),
}
