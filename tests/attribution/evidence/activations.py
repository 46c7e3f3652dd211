"""Evidence for class-activation methods: identities and peers; the oracles are in `activation_oracles`."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.activation_oracles import (
    DEEPEST,
    POOLED,
    RECTIFIER,
    ablated,
    by_channel_weights,
    by_voxel_weights,
    guided,
    lively,
    mean_slope,
    plus_plus,
    pooled,
    positive,
    principal,
    scored,
    steep,
    under_activation,
)
from attribution.networks import CONVOLUTION, MAXIMUM, SIZE, scans, seasoned
from heatproof.attribution import attribute

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
FIRST = 2  # the first rectifier of `lively`, on the grid of the scans
LIFTED = {1: 2, 2: 2}  # seeds for which no rectified map is zero


# --- identities ---------------------------------------------------------------------------------------------------


def features_of(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the rectified feature maps of `pooled`."""
    with torch.no_grad():
        return model[:2](inputs)


def weighted(model: nn.Module, features: torch.Tensor, target: int) -> torch.Tensor:
    """Return class activation (Zhou et al. 2016) of `pooled`: feature maps times the dense layer's weights."""
    weights = model[-1].weight.detach()[target]
    return torch.einsum("k,bk...->b...", weights, features)[:, None]


def class_activation(n_axes: int, name: str) -> float:
    """Grad-CAM, and XGrad-CAM alike, of a network that averages and weighs: CAM over the number of voxels."""
    model, inputs = pooled(n_axes), scans(n_axes)
    expected = weighted(model, features_of(model, inputs), 1).clamp(min=0) / math.prod(SIZE[n_axes])
    return deviation(attribute(name, model, inputs, 1, layer="1"), expected)


def completeness_of_hirescam(n_axes: int) -> float:
    model, inputs = pooled(n_axes), scans(n_axes)
    found = attribute("hirescam", model, inputs, 1, layer="1").flatten(1).sum(1)
    return deviation(found, model(inputs)[:, 1].detach() - model[-1].bias.detach()[1])


def gradcam_of_rectified_hirescam(n_axes: int) -> float:
    model, inputs = pooled(n_axes), scans(n_axes)
    signed = attribute("hirescam", model, inputs, 2, layer="1")
    return deviation(attribute("gradcam", model, inputs, 2, layer="1"), signed.clamp(min=0))


def layercam_of_a_positive_gradient(n_axes: int) -> float:
    model, inputs = pooled(n_axes, positive_head=True), scans(n_axes)
    return deviation(
        attribute("layercam", model, inputs, 1, layer="1"), attribute("hirescam", model, inputs, 1, layer="1")
    )


def plus_plus_of_a_constant_gradient(n_axes: int) -> float:
    model, inputs = pooled(n_axes), scans(n_axes)
    features, voxels = features_of(model, inputs), math.prod(SIZE[n_axes])
    slope = model[-1].weight.detach()[1] / voxels
    weights = voxels * slope.clamp(min=0) / (2 + slope * features.flatten(2).sum(2))
    expected = torch.einsum("bk,bk...->b...", weights, features)[:, None]
    return deviation(attribute("gradcam_plus_plus", model, inputs, 1, layer="1"), expected)


def conservation_of_xgradcam(n_axes: int) -> float:
    model, inputs = pooled(n_axes, positive_head=True), scans(n_axes)
    found = attribute("xgradcam", model, inputs, 1, layer="1").flatten(1).sum(1)
    return deviation(found, model(inputs)[:, 1].detach() - model[-1].bias.detach()[1])


def guided_is_the_product(n_axes: int) -> float:
    model, inputs = lively(n_axes), scans(n_axes)
    product = attribute("gradcam", model, inputs, 1) * attribute("guided_backprop", model, inputs, 1)
    return deviation(attribute("guided_gradcam", model, inputs, 1), product)


def component_of_one_pattern(n_axes: int) -> float:
    """Channels that are one pattern at different strengths: the component is the pattern at their joint strength."""
    strengths = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    model = nn.Sequential(CONVOLUTION[n_axes](1, 3, 1, bias=False), POOLED[n_axes](1), nn.Flatten()).double()
    model[0].weight.data = strengths.reshape(3, 1, *[1] * n_axes)
    inputs = scans(n_axes, channels=1)
    return deviation(attribute("eigencam", model, inputs, 1, layer="0"), inputs * strengths.norm())


def component_does_not_depend_on_the_class(n_axes: int) -> float:
    model, inputs = lively(n_axes), scans(n_axes)
    return deviation(attribute("eigencam", model, inputs, 0), attribute("eigencam", model, inputs, 2))


def score_of_one_channel(n_axes: int) -> float:
    """A softmax over one channel is one, whatever the network makes of it."""
    model, inputs = pooled(n_axes, channels=1), scans(n_axes)
    return deviation(attribute("scorecam", model, inputs, 1, layer="1"), features_of(model, inputs))


def score_of_equal_channels(n_axes: int) -> float:
    model, inputs = pooled(n_axes), scans(n_axes)
    model[0].weight.data[:] = model[0].weight.data[:1]
    model[0].bias.data[:] = model[0].bias.data[:1]
    return deviation(attribute("scorecam", model, inputs, 1, layer="1"), features_of(model, inputs)[:, :1])


def ablation_of_a_linear_tail(n_axes: int) -> float:
    """A channel's loss is what it contributes: weight x mean over the score."""
    model, inputs = pooled(n_axes), scans(n_axes)
    features = features_of(model, inputs)
    weights = model[-1].weight.detach()[1] * features.flatten(2).mean(2) / model(inputs)[:, 1:2].detach().abs()
    expected = torch.einsum("bk,bk...->b...", weights, features)[:, None].clamp(min=0)
    return deviation(attribute("ablationcam", model, inputs, 1, layer="1"), expected)


def whole_batches(name: str, n_axes: int) -> float:
    model, inputs = lively(n_axes), scans(n_axes)
    whole = attribute(name, model, inputs, 1, batch_size=32)
    return max(deviation(attribute(name, model, inputs, 1, batch_size=size), whole) for size in (1, 2))


def circular(n_axes: int) -> nn.Module:
    convolution = CONVOLUTION[n_axes](2, 4, 3, padding=1, padding_mode="circular")
    return seasoned(nn.Sequential(convolution, nn.ReLU(), POOLED[n_axes](1), nn.Flatten(), nn.Linear(4, 3)), seed=3)


def shift(name: str, n_axes: int) -> float:
    model, inputs = circular(n_axes), scans(n_axes)
    places = {"shifts": (1, -2, 3)[:n_axes], "dims": tuple(range(2, n_axes + 2))}
    found = attribute(name, model, inputs, 1, layer="1")
    return deviation(attribute(name, model, inputs.roll(**places), 1, layer="1"), found.roll(**places))


def lifted(name: str, n_axes: int) -> float:
    """The same network with more axes, along which kernels and pools have length one and the scan is constant."""
    base, more = {1: (1, 1), 2: (2, 1), 3: (1, 2)}[n_axes]
    model, deeper, inputs = lift_network(base), lift_network(base, more), scans(base)
    for theirs, ours in zip(model.parameters(), deeper.parameters(), strict=True):
        ours.data = theirs.data.reshape(ours.shape)
    flat = attribute(name, model, inputs, 1)
    length = (4,) * more
    thick = attribute(name, deeper, repeated(inputs, length), 1)
    # the mean over voxels divides the gradient of each by the length of the new axes
    factor = math.prod(length) if name in ("gradcam", "hirescam", "layercam", "xgradcam") else 1
    assert bool(flat.flatten(1).abs().amax(1).gt(0).all())
    return deviation(thick * factor, repeated(flat, length))


def repeated(maps: torch.Tensor, length: tuple[int, ...]) -> torch.Tensor:
    """Return maps (B, C, *S) repeated along new axes before those of space."""
    spread = maps.reshape(*maps.shape[:2], *[1] * len(length), *maps.shape[2:])
    return spread.repeat(1, 1, *length, *[1] * (maps.ndim - 2))


def lift_network(base: int, more: int = 0) -> nn.Module:
    axes, ones = base + more, (1,) * more
    layers = [CONVOLUTION[axes](2, 4, (*ones, *[3] * base)), nn.ReLU(), MAXIMUM[axes]((*ones, *[2] * base))]
    layers += [CONVOLUTION[axes](4, 5, 1), nn.ReLU(), POOLED[axes](1), nn.Flatten(), nn.Linear(5, 3)]
    return seasoned(nn.Sequential(*layers), seed=LIFTED[base])


# --- peers --------------------------------------------------------------------------------------------------------


def captum_layer(method: str, model: nn.Module, inputs: torch.Tensor, target: int, **options: Any) -> torch.Tensor:
    import captum.attr

    coarse = getattr(captum.attr, method)(model, model[DEEPEST]).attribute(inputs, target, **options)
    coarse = coarse.sum(1, keepdim=True).detach()
    return functional.interpolate(coarse, size=inputs.shape[2:], mode=LINEAR[inputs.ndim - 2])


def captum_guided(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import GuidedGradCam

    leaf = inputs.clone().requires_grad_()
    method = GuidedGradCam(model, model[DEEPEST])
    return method.attribute(leaf, target, interpolate_mode=LINEAR[inputs.ndim - 2]).detach()


def torch_cam(
    method: str, model: nn.Module, inputs: torch.Tensor, target: int, layer: int = DEEPEST, **options: Any
) -> torch.Tensor:
    import torchcam.methods

    with getattr(torchcam.methods, method)(
        copy.deepcopy(model), str(layer), input_shape=tuple(inputs.shape[1:])
    ) as extractor:
        logits = extractor.model(inputs.clone().requires_grad_())
        (coarse,) = extractor(target, logits, normalized=False, **options)
    return functional.interpolate(coarse[:, None].detach(), size=inputs.shape[2:], mode=LINEAR[inputs.ndim - 2])


def pytorch_grad_cam(method: str, model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    import pytorch_grad_cam as library
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    twin = copy.deepcopy(model)
    with getattr(library, method)(twin, [twin[FIRST]]) as extractor:
        maps = extractor(inputs.clone(), [ClassifierOutputTarget(target)] * len(inputs))
    return torch.from_numpy(maps)[:, None]


def grad_cam_component(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    """Return what the library projects, before it is clipped at zero and rescaled, with our choice of sign."""
    from pytorch_grad_cam import EigenCAM

    with torch.no_grad():
        features = model[: FIRST + 1](inputs)
    maps = torch.from_numpy(EigenCAM.get_cam_image(None, None, None, None, features.numpy(), None, False)).to(inputs)
    sign = (maps * features.sum(1)).flatten(1).sum(1).sign()
    return (maps * sign.reshape(-1, *[1] * (maps.ndim - 1)))[:, None]


def shared_identities(name: str) -> tuple[Identity, ...]:
    return (
        Identity("shift of the scan: shift of the map", partial(shift, name)),
        Identity("one more, constant, axis: the same map", partial(lifted, name)),
    )


ON_FIRST, ON_RECTIFIER = {"layer": str(FIRST)}, {"layer": str(RECTIFIER)}
EVIDENCE = {
    "gradcam": Evidence(
        oracle=partial(by_channel_weights, mean_slope),
        identities=(
            Identity("averaging network: class activation mapping", partial(class_activation, name="gradcam")),
            *shared_identities("gradcam"),
        ),
        peer=Peer("captum", partial(captum_layer, "LayerGradCam", relu_attributions=True)),
        model=lively,
    ),
    "guided_gradcam": Evidence(
        oracle=guided,
        identities=(Identity("Grad-CAM x guided backpropagation", guided_is_the_product),),
        peer=Peer("captum", captum_guided),
        model=lively,
    ),
    "gradcam_plus_plus": Evidence(
        oracle=partial(by_channel_weights, plus_plus),
        parameters=ON_RECTIFIER,
        identities=(
            Identity("averaging network: closed form", plus_plus_of_a_constant_gradient),
            *shared_identities("gradcam_plus_plus"),
        ),
        peer=Peer(
            "grad-cam",
            partial(pytorch_grad_cam, "GradCAMPlusPlus"),
            parameters=ON_FIRST,
            axes=(2, 3),
            relation="proportional",
            note="Rescales each map to 0..1, refuses 1-D, adds 1e-6 to a denominator of squared gradients, which "
            "small gradients do not survive (compared here with large ones); torch-cam's division by the "
            "denominator has no effect.",
            tolerance=1e-5,
        ),
        model=steep,
    ),
    "hirescam": Evidence(
        oracle=partial(by_voxel_weights, lambda feature, g: feature * g, float),
        identities=(
            Identity("averaging network: sum of the map = logit - bias", completeness_of_hirescam),
            Identity("averaging network, rectified: Grad-CAM", gradcam_of_rectified_hirescam),
            *shared_identities("hirescam"),
        ),
        peer=Peer(
            "captum",
            partial(captum_layer, "LayerGradientXActivation"),
            note="There it is the layer's gradient x activation, summed over channels.",
        ),
        model=lively,
    ),
    "layercam": Evidence(
        oracle=partial(by_voxel_weights, lambda feature, g: feature * max(g, 0.0), lambda total: max(total, 0.0)),
        identities=(
            Identity("positive gradient: HiResCAM", layercam_of_a_positive_gradient),
            *shared_identities("layercam"),
        ),
        peer=Peer("torchcam", partial(torch_cam, "LayerCAM")),
        model=lively,
    ),
    "xgradcam": Evidence(
        oracle=partial(by_channel_weights, under_activation),
        parameters=ON_RECTIFIER,
        identities=(
            Identity("averaging network: class activation mapping", partial(class_activation, name="xgradcam")),
            Identity("positive weights: sum of the map = logit - bias", conservation_of_xgradcam),
            *shared_identities("xgradcam"),
        ),
        peer=Peer("torchcam", partial(torch_cam, "XGradCAM", layer=RECTIFIER), parameters=ON_RECTIFIER),
        model=lively,
    ),
    "eigencam": Evidence(
        oracle=principal,
        parameters=ON_RECTIFIER,
        identities=(
            Identity("channels of one pattern: the pattern", component_of_one_pattern),
            Identity("another class: the same map", component_does_not_depend_on_the_class),
            *shared_identities("eigencam"),
        ),
        peer=Peer(
            "grad-cam",
            grad_cam_component,
            parameters=ON_FIRST | {"centred": True},
            note="Its sign is arbitrary; compared with ours. It centres the channels, which the paper does not.",
            tolerance=1e-5,
        ),
        model=lively,
    ),
    "scorecam": Evidence(
        oracle=scored,
        identities=(
            Identity("one channel: that channel", score_of_one_channel),
            Identity("equal channels: each of them", score_of_equal_channels),
            Identity("any batch size: the same map", partial(whole_batches, "scorecam")),
            *shared_identities("scorecam"),
        ),
        peer=Peer(
            "torchcam",
            partial(torch_cam, "ScoreCAM", layer=FIRST - 1),
            parameters={"layer": str(FIRST - 1)},
            note="Interpolates by nearest neighbours in 1-D, counts a constant feature map as an empty mask, and "
            "scales to 0..1 before the interpolation, the paper after it (compared on feature maps of the scan's "
            "own grid); pytorch-grad-cam fails in 3-D and aligns corners.",
        ),
        model=lively,
    ),
    "ablationcam": Evidence(
        oracle=ablated,
        identities=(
            Identity("linear after the layer: what a channel contributes", ablation_of_a_linear_tail),
            Identity("any batch size: the same map", partial(whole_batches, "ablationcam")),
            *shared_identities("ablationcam"),
        ),
        peer=Peer(
            "grad-cam",
            partial(pytorch_grad_cam, "AblationCAM"),
            parameters=ON_FIRST,
            axes=(2,),
            relation="proportional",
            note="Fails in 1-D and 3-D; rescales each map to 0..1 in single precision; where no feature is zero it "
            "sets a channel to -10,000,000 instead of zero; divides by a negative score too.",
            tolerance=1e-4,
        ),
        model=positive,
    ),
}
