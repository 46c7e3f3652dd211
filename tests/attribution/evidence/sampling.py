"""Evidence for SmoothGrad and its kin, and for expected gradients."""

from __future__ import annotations

import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.gradients import linear_network, weight_map
from attribution.networks import convolutional, scans
from heatproof.attribution import attribute, attribute_with_residual
from heatproof.attribution.streams import normal, stream


def gradient_of(model: nn.Module, scan: torch.Tensor, target: int) -> torch.Tensor:
    """Return the gradient of a logit at one scan (C, *S)."""
    point = scan[None].clone().requires_grad_()
    return torch.autograd.grad(model(point)[0, target], point)[0][0]


def noisy_gradients(model, scan, target, n_samples, noise_level, seed, scan_key) -> list[torch.Tensor]:
    """Return the gradients of the noisy copies, one after the other."""
    deviation_of_noise = noise_level * float(scan.max() - scan.min())
    return [
        gradient_of(
            model,
            scan + deviation_of_noise * normal(scan[None], seed, "smoothgrad", [scan_key], sample)[0],
            target,
        )
        for sample in range(n_samples)
    ]


def mean_of(model, scan, target, *, n_samples, noise_level, seed, scan_key):
    total = torch.zeros_like(scan)
    for gradient in noisy_gradients(model, scan, target, n_samples, noise_level, seed, scan_key):
        total = total + gradient / n_samples
    return total


def mean_square_of(model, scan, target, *, n_samples, noise_level, seed, scan_key):
    total = torch.zeros_like(scan)
    for gradient in noisy_gradients(model, scan, target, n_samples, noise_level, seed, scan_key):
        total = total + gradient**2 / n_samples
    return total


def variance_of(model, scan, target, **more):
    mean = mean_of(model, scan, target, **more)
    total = torch.zeros_like(scan)
    for gradient in noisy_gradients(model, scan, target, **more):
        total = total + (gradient - mean) ** 2 / more["n_samples"]
    return total


def expected_of(model, scan, target, *, n_samples, background, seed, scan_key):
    """Return the mean over samples of (scan - training scan) times the gradient between them."""
    random = stream(seed, "expected_gradients", scan_key)
    drawn = torch.randint(len(background), (n_samples,), generator=random)
    inside = torch.rand(n_samples, generator=random, dtype=torch.float64)
    total = torch.zeros_like(scan)
    for sample in range(n_samples):
        begin = background[drawn[sample]]
        place = begin + (sample + inside[sample]) / n_samples * (scan - begin)
        total = total + (scan - begin) * gradient_of(model, place, target) / n_samples
    return total


def without_noise(name: str, expected):
    """Return the error of the limit without noise against a function of the gradient."""

    def error(n_axes: int) -> float:
        model, inputs = convolutional(n_axes), scans(n_axes, 1)
        found = attribute(name, model, inputs, 1, n_samples=3, noise_level=0.0)
        return deviation(found[0], expected(gradient_of(model, inputs[0], 1)))

    return error


def no_variance_of_a_linear_network(n_axes: int) -> float:
    return float(attribute("vargrad", linear_network(n_axes), scans(n_axes), 1, noise_level=0.5).abs().max())


def expected_on_a_linear_network(n_axes: int) -> float:
    """Return the deviation from w (x - mean of the drawn training scans), here all the same one."""
    model, inputs, background = linear_network(n_axes), scans(n_axes, 1), scans(n_axes, 1, seed=7)
    result = attribute_with_residual("expected_gradients", model, inputs, 1, n_samples=4, background=background)
    expected = weight_map(model, n_axes, 1) * (inputs - background)[0]
    return max(deviation(result.maps[0], expected), float(result.residual.abs().max()))


def fine_expected_gradients_are_integrated_gradients(n_axes: int) -> float:
    model, inputs = convolutional(n_axes), scans(n_axes, 1)
    fine = attribute("expected_gradients", model, inputs, 1, baseline="zero", n_samples=3000)
    path = attribute("integrated_gradients", model, inputs, 1, rule="middle", n_steps=3000)
    return deviation(fine, path)


def captum_smoothgrad(kind: str):
    """Return captum's noise tunnel without noise: with it, the two libraries draw different noise."""

    def call(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
        from captum.attr import NoiseTunnel, Saliency

        tunnel = NoiseTunnel(Saliency(model))
        return tunnel.attribute(inputs, kind, nt_samples=3, stdevs=0.0, target=target, abs=False).detach()

    return call


def captum_gradient_shap(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import GradientShap

    return GradientShap(model).attribute(inputs, torch.zeros_like(inputs), n_samples=50, target=target).detach()


SMALL = {"n_samples": 4, "noise_level": 0.2}
NO_NOISE = {"n_samples": 3, "noise_level": 0.0}
RANDOM = "random draws differ; without noise both are the gradient"
EVIDENCE = {
    "smoothgrad": Evidence(
        mean_of,
        SMALL,
        (Identity("no noise: the gradient", without_noise("smoothgrad", lambda g: g)),),
        Peer("captum", captum_smoothgrad("smoothgrad"), NO_NOISE, note=RANDOM),
    ),
    "smoothgrad_squared": Evidence(
        mean_square_of,
        SMALL,
        (Identity("no noise: the squared gradient", without_noise("smoothgrad_squared", torch.square)),),
        Peer("captum", captum_smoothgrad("smoothgrad_sq"), NO_NOISE, note=RANDOM),
    ),
    "vargrad": Evidence(
        variance_of,
        SMALL,
        (Identity("linear network: 0", no_variance_of_a_linear_network, 1e-12),),
        Peer("captum", captum_smoothgrad("vargrad"), NO_NOISE, relation="none", note="without noise both are 0"),
    ),
    "expected_gradients": Evidence(
        expected_of,
        {"n_samples": 5},
        (
            Identity("linear network: w (x - x'), complete", expected_on_a_linear_network),
            Identity("many samples: integrated gradients", fine_expected_gradients_are_integrated_gradients, 0.02),
        ),
        Peer(
            "captum",
            captum_gradient_shap,
            {"baseline": "zero", "n_samples": 50},
            relation="none",
            note="random draws differ",
        ),
        context=lambda n_axes: {"background": scans(n_axes, 3, seed=11)},
    ),
}
