"""Evidence for the path methods."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.gradients import linear_network, weight_map
from attribution.evidence.sampling import gradient_of
from attribution.networks import convolutional, scans
from heatproof.attribution import attribute, attribute_with_residual
from heatproof.attribution.smoothing import gaussian_smooth
from heatproof.attribution.streams import normal


def left_sum(model, scan, target, *, n_steps):
    """Return integrated gradients from zero by a left Riemann sum, step by step."""
    total = torch.zeros_like(scan)
    for step in range(n_steps):
        total = total + gradient_of(model, step / n_steps * scan, target) / n_steps
    return scan * total


def noisy_left_sums(model, scan, target, *, n_samples, noise_level, n_steps, seed, scan_key):
    total = torch.zeros_like(scan)
    for sample in range(n_samples):
        noise = normal(scan[None], seed, "smoothgrad_ig", [scan_key], sample)[0]
        copy = scan + noise_level * (scan.max() - scan.min()) * noise
        total = total + left_sum(model, copy, target, n_steps=n_steps) / n_samples
    return total


def squared_rises(model, scan, target, *, n_steps, start):
    """Return IDGI from zero, step by step."""
    total = torch.zeros_like(scan)
    for step in range(n_steps):
        here, there = (model((each / n_steps * scan)[None])[0].detach() for each in (step, step + 1))
        gradient = gradient_of(model, step / n_steps * scan, target)
        total = total + gradient**2 / (gradient**2).sum() * (there[target] - here[target])
    return total


def blur(scan: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return a scan blurred by scipy, channel by channel."""
    from scipy import ndimage

    return torch.from_numpy(
        np.stack([ndimage.gaussian_filter(channel.numpy(), sigma, mode="nearest") for channel in scan])
    )


def blur_sum(model, scan, target, *, n_steps, max_sigma):
    """Return blur integrated gradients, step by step."""
    total, blurred = torch.zeros_like(scan), blur(scan, max_sigma)
    for step in range(n_steps - 1, -1, -1):
        sharper = blur(scan, max_sigma * step / n_steps) if step else scan
        total = total + gradient_of(model, (blurred + sharper) / 2, target) * (sharper - blurred)
        blurred = sharper
    return total


def complete(name: str, **parameters):
    """Return the error of completeness, as a share of the largest rise."""

    def error(n_axes: int) -> float:
        model, inputs = convolutional(n_axes), scans(n_axes)
        result = attribute_with_residual(name, model, inputs, 1, **parameters)
        return float(result.residual.abs().max() / result.maps.flatten(1).sum(1).abs().max())

    return error


def linear(name: str, **parameters):
    """Return the deviation from w x on a linear network."""

    def error(n_axes: int) -> float:
        model, inputs = linear_network(n_axes), scans(n_axes, 1)
        return deviation(attribute(name, model, inputs, 1, **parameters)[0], weight_map(model, n_axes, 1) * inputs[0])

    return error


def blur_of_a_linear_network(n_axes: int) -> float:
    """Return the deviation from w (x - strongest blur)."""
    model, inputs = linear_network(n_axes), scans(n_axes, 1)
    expected = weight_map(model, n_axes, 1) * (inputs - gaussian_smooth(inputs, 2.0))[0]
    return deviation(attribute("blur_ig", model, inputs, 1, max_sigma=2.0, n_steps=3)[0], expected)


def noiseless_smoothgrad_ig(n_axes: int) -> float:
    model, inputs = convolutional(n_axes), scans(n_axes)
    noiseless = attribute("smoothgrad_ig", model, inputs, 1, n_samples=2, noise_level=0.0, n_steps=5)
    return deviation(noiseless, attribute("integrated_gradients", model, inputs, 1, n_steps=5))


def captum_integrated_gradients(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import IntegratedGradients

    options = {"n_steps": 50, "method": "riemann_left", "internal_batch_size": 5 * len(inputs)}
    return IntegratedGradients(model).attribute(inputs, 0.0, target, **options).detach()


def gradients_for_saliency(model: nn.Module, target: int):
    """Return the function by which the saliency library asks for gradients, channels last."""

    def call(batch, call_model_args=None, expected_keys=None):
        points = torch.from_numpy(np.asarray(batch)).movedim(-1, 1).requires_grad_()
        gradient = torch.autograd.grad(model(points)[:, target].sum(), points)[0]
        return {"INPUT_OUTPUT_GRADIENTS": gradient.movedim(1, -1).numpy()}

    return call


def saliency_blur_ig(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from saliency.core import BlurIG

    maps = [
        BlurIG().GetMask(scan.movedim(0, -1).numpy(), gradients_for_saliency(model, target), max_sigma=2, steps=50)
        for scan in inputs
    ]
    return torch.from_numpy(np.stack(maps)).movedim(-1, 1)


def captum_smoothgrad_ig(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import IntegratedGradients, NoiseTunnel

    tunnel = NoiseTunnel(IntegratedGradients(model))
    options = {"nt_samples": 2, "nt_samples_batch_size": 1, "stdevs": 0.0, "n_steps": 5, "method": "riemann_left"}
    return tunnel.attribute(inputs, "smoothgrad", target=target, **options).detach()


EVIDENCE = {
    "integrated_gradients": Evidence(
        left_sum,
        {"n_steps": 4},
        (
            Identity("linear network: w x", linear("integrated_gradients", n_steps=2)),
            Identity("complete", complete("integrated_gradients", rule="middle", n_steps=2000), 1e-3),
            Identity("adaptive: complete", complete("integrated_gradients", steps="adaptive", n_steps=400), 0.011),
        ),
        Peer("captum", captum_integrated_gradients, {"n_steps": 50}, tolerance=1e-5, note="points in single precision"),
    ),
    "smoothgrad_ig": Evidence(
        noisy_left_sums,
        {"n_samples": 3, "noise_level": 0.2, "n_steps": 3},
        (Identity("no noise: integrated gradients", noiseless_smoothgrad_ig),),
        Peer(
            "captum",
            captum_smoothgrad_ig,
            {"n_samples": 2, "noise_level": 0.0, "n_steps": 5},
            tolerance=1e-5,
            note="without noise: random draws differ",
        ),
    ),
    "idgi": Evidence(
        squared_rises,
        {"n_steps": 4, "start": "logit"},
        (Identity("complete with any number of steps", complete("idgi", n_steps=3)),),
    ),
    "blur_ig": Evidence(
        blur_sum,
        {"n_steps": 4, "max_sigma": 2.0},
        (
            Identity("linear network: w (x - blur)", blur_of_a_linear_network),
            Identity("complete", complete("blur_ig", n_steps=1500, max_sigma=2.0), 3e-3),
        ),
        Peer(
            "saliency",
            saliency_blur_ig,
            {"n_steps": 50, "max_sigma": 2.0},
            axes=(2,),
            relation="none",
            note="2-D only; blurs against black outside the grid, takes gradients at the sharper end",
        ),
    ),
}
