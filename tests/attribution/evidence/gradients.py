"""Evidence for the methods of one forward and one backward pass."""

from __future__ import annotations

import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.networks import SIZE, convolutional, scans, seasoned
from heatproof.attribution import attribute


def linear_network(n_axes: int) -> nn.Module:
    """Return one dense layer over the whole scan."""
    return seasoned(nn.Sequential(nn.Flatten(), nn.Linear(2 * torch.Size(SIZE[n_axes]).numel(), 3)))


def weight_map(model: nn.Module, n_axes: int, target: int) -> torch.Tensor:
    """Return the weights of a linear network's class on the grid, shape (C, *S)."""
    return model[1].weight.detach()[target].reshape(2, *SIZE[n_axes])


def by_differences(model: nn.Module, scan: torch.Tensor, target: int, step: float = 1e-6) -> torch.Tensor:
    """Return the gradient of a logit by central differences, voxel by voxel."""
    slope = torch.zeros(scan.numel(), dtype=scan.dtype)
    with torch.no_grad():
        for voxel in range(scan.numel()):
            ends = []
            for sign in (1, -1):
                moved = scan.clone().flatten()
                moved[voxel] += sign * step
                ends.append(model(moved.reshape(1, *scan.shape))[0, target])
            slope[voxel] = (ends[0] - ends[1]) / (2 * step)
    return slope.reshape(scan.shape)


def saliency_of_a_linear_network(n_axes: int) -> float:
    model = linear_network(n_axes)
    return deviation(attribute("saliency", model, scans(n_axes, 1), 1)[0], weight_map(model, n_axes, 1))


def input_x_differences(model: nn.Module, scan: torch.Tensor, target: int) -> torch.Tensor:
    return scan * by_differences(model, scan, target)


def by_layers(rectified):
    """Return an oracle that walks back through a sequence of layers, with an own rule for rectifiers.

    `rectified` takes the gradient and the input of a rectifier.
    """

    def oracle(model: nn.Sequential, scan: torch.Tensor, target: int) -> torch.Tensor:
        values = [scan[None]]
        for layer in model:
            values.append(layer(values[-1]).detach())
        gradient = torch.zeros_like(values[-1])
        gradient[0, target] = 1
        for layer, value in zip(reversed(model), reversed(values[:-1]), strict=True):
            if isinstance(layer, nn.ReLU):
                gradient = rectified(gradient, value)
            else:
                point = value.clone().requires_grad_()
                gradient = torch.autograd.grad(layer(point), point, gradient)[0]
        return gradient[0]

    return oracle


guided_by_layers = by_layers(lambda gradient, value: gradient * (gradient > 0) * (value > 0))
deconvolved_by_layers = by_layers(lambda gradient, value: gradient * (gradient > 0))


def input_x_gradient_of_a_linear_network(n_axes: int) -> float:
    model, inputs = linear_network(n_axes), scans(n_axes, 1)
    expected = weight_map(model, n_axes, 1) * inputs[0]
    return deviation(attribute("input_x_gradient", model, inputs, 1)[0], expected)


def positive_network(n_axes: int) -> nn.Module:
    """Return a network whose weights are positive, and biases, so that every rectifier is open."""
    model = convolutional(n_axes)
    for tensor in model.parameters():
        tensor.data.abs_()
    for layer in model:
        if hasattr(layer, "running_mean"):
            layer.running_mean.abs_().neg_()
    return model


def rules_agree_where_rectifiers_are_open(name: str):
    """Return the deviation from the gradient, for positive scans, weights and biases."""

    def error(n_axes: int) -> float:
        model, inputs = positive_network(n_axes), scans(n_axes, 2).abs()
        return deviation(attribute(name, model, inputs, 1), attribute("saliency", model, inputs, 1))

    return error


def captum_call(name: str, **options):
    """Return the call of a method of captum that needs no more than the target."""

    def call(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
        from captum import attr

        return getattr(attr, name)(model).attribute(inputs.clone().requires_grad_(), target=target, **options).detach()

    return call


EVIDENCE = {
    "saliency": Evidence(
        by_differences,
        identities=(Identity("linear network: w", saliency_of_a_linear_network),),
        peer=Peer("captum", captum_call("Saliency", abs=False)),
        oracle_tolerance=1e-6,
    ),
    "input_x_gradient": Evidence(
        input_x_differences,
        identities=(Identity("linear network: w x", input_x_gradient_of_a_linear_network),),
        peer=Peer("captum", captum_call("InputXGradient")),
        oracle_tolerance=1e-6,
    ),
    "guided_backprop": Evidence(
        guided_by_layers,
        identities=(
            Identity("open rectifiers: the gradient", rules_agree_where_rectifiers_are_open("guided_backprop")),
        ),
        peer=Peer("captum", captum_call("GuidedBackprop")),
    ),
    "deconvolution": Evidence(
        deconvolved_by_layers,
        identities=(Identity("open rectifiers: the gradient", rules_agree_where_rectifiers_are_open("deconvolution")),),
        peer=Peer("captum", captum_call("Deconvolution")),
    ),
}
