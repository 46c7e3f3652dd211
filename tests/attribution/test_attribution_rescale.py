"""DeepLIFT and DeepSHAP: every way to write a rectifier, what is refused, and the limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from attribution.evidence import deviation
from attribution.evidence.rescale import rescaled_by_layers
from attribution.networks import CONVOLUTION, MAXIMUM, SIZE, convolutional, lifted, scans, seasoned
from heatproof.attribution import attribute, attribute_with_residual
from heatproof.attribution.isolation import isolated
from heatproof.attribution.rescale.deeplift import Linearised
from heatproof.attribution.rescale.rules import quotient
from heatproof.errors import ConfigError, UnsupportedModelError


class Net(nn.Module):
    """Two convolutions with a function of the first one's output between them."""

    def __init__(self, between, n_classes: int = 2) -> None:
        super().__init__()
        self.between = between
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.group, self.linear = nn.ReLU(), nn.GroupNorm(2, 4), nn.Linear(4, n_classes)
        self.recurrent = nn.LSTM(11, 11, batch_first=True)

    def forward(self, x):
        return self.linear(self.between(self, self.first(x)).mean((2, 3)))


@torch.jit.script
def scripted(x):
    return torch.relu(x)


class OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(context, gradient):
        return gradient


def overwriting(net, x):
    functional.relu_(x)
    return torch.relu(net.second(x))


def detached_mean(net, x):
    with torch.no_grad():
        mean = x.mean(1, keepdim=True)
    return x * mean


def control(n_axes: int = 2) -> dict:
    return {"baseline": "control_mean", "control_mean": scans(n_axes, 1, seed=3)[0]}


@pytest.mark.parametrize(
    "between",
    [
        lambda net, x: net.relu(net.second(net.relu(x))),  # one layer, called twice
        lambda net, x: functional.relu(net.second(x.relu())),
        lambda net, x: functional.relu(net.second(functional.relu(x, inplace=True)), inplace=True),
        lambda net, x: net.second(x.clamp(min=0)).clamp_(min=0),
        lambda net, x: torch.ops.aten.relu(net.second(functional.threshold(x, 0, 0))),
        overwriting,
    ],
)
def test_it_does_not_matter_how_a_rectifier_is_written(between):
    model, inputs = seasoned(Net(between)), scans(2)
    layers = nn.Sequential(model.first, nn.ReLU(), model.second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    expected = attribute("deeplift", nn.Sequential(*layers, model.linear), inputs, 1, **control())
    torch.testing.assert_close(attribute("deeplift", model, inputs, 1, **control()), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "between",
    [
        lambda net, x: torch.cat([x[:, :2], x[:, 2:].flip(2)], 1).view(x.shape[0], 4, -1).reshape(len(x), 4, 12, 11),
        lambda net, x: 1 - 2 * functional.interpolate(x.tanh(), scale_factor=2, mode="bilinear") / 3,
        lambda net, x: torch.einsum("bchw,cd->bdhw", x, torch.eye(4).double()) + torch.zeros_like(x),
        lambda net, x: net.relu(net.second(net.relu(x)) + x),  # a residual block
        lambda net, x: functional.pad(functional.dropout(x, training=False), (1, 1, 0, 0), mode="reflect")[..., 1:-1],
    ],
)
def test_linear_steps_and_branches_are_complete(between):
    result = attribute_with_residual("deeplift", seasoned(Net(between)), scans(2), 1, **control())
    assert float(result.residual.abs().max()) < 1e-14 and float(result.maps.abs().max()) > 1e-3


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.PReLU(2), nn.RReLU(), nn.ELU(0.7), nn.SELU(), nn.CELU(0.6), nn.GELU(),
    nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Hardshrink(),
    nn.Softshrink(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Softsign(), nn.LogSigmoid(), nn.Threshold(0.2, -1),
]  # fmt: skip


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("layer", ACTIVATIONS, ids=str)
def test_one_activation_gives_each_element_its_own_change(layer, n_axes):
    model = seasoned(nn.Sequential(layer, nn.Flatten(), nn.Linear(2 * torch.Size(SIZE[n_axes]).numel(), 3)))
    inputs, baseline = scans(n_axes), scans(n_axes, 1, seed=3)
    weights = model[2].weight[1].detach().reshape(inputs.shape[1:])
    expected = weights * (model[0](inputs) - model[0](baseline)).detach()
    found = attribute("deeplift", model, inputs, 1, baseline=baseline)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("between", "name"),
    [
        (lambda net, x: x * x.sigmoid(), "mul"),
        (lambda net, x: x * (x > 0), "gt"),
        (lambda net, x: x @ x.transpose(2, 3), "matmul"),
        (lambda net, x: x / (1 + x.abs()), "div"),
        (lambda net, x: 1 / (9 + x), "rdiv"),
        (lambda net, x: net.group(x), "group_norm"),
        (lambda net, x: functional.layer_norm(x, x.shape[1:]), "layer_norm"),
        (lambda net, x: functional.instance_norm(x), "instance_norm"),
        (lambda net, x: functional.batch_norm(x, None, None, training=True), "batch_norm"),
        (lambda net, x: x.softmax(1), "softmax"),
        (lambda net, x: functional.scaled_dot_product_attention(x, x, x), "attention"),
        (lambda net, x: net.recurrent(x.flatten(1, 2))[0][..., None], "lstm"),
        (lambda net, x: functional.dropout(x), "dropout"),
        (lambda net, x: x + x.detach(), "detach"),
        (lambda net, x: x + x.data, "get"),
        (lambda net, x: x * float(x.sum()), "float"),
        (lambda net, x: x * x.sum().item(), "item"),
        (detached_mean, "mean"),
        (lambda net, x: x.amax((2, 3), keepdim=True), "amax"),
        (lambda net, x: torch.maximum(x, torch.zeros_like(x)), "maximum"),
        (lambda net, x: torch.clamp(torch.ones_like(x), min=x), "clamp"),
        (lambda net, x: x**2, "pow"),
        (lambda net, x: scripted(x), "Relu"),
        (lambda net, x: OwnFunction.apply(x), "OwnFunction"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(between, name):
    for method, more in (("deeplift", {}), ("deepshap", {"background": scans(2, 2, seed=3)})):
        with pytest.raises(UnsupportedModelError, match=name) as caught:
            attribute(method, seasoned(Net(between)), scans(2), 1, **more)
        assert caught.value.field and "integrated_gradients" in caught.value.remedy


def test_a_refusal_names_the_layer():
    with pytest.raises(UnsupportedModelError) as caught:
        attribute("deeplift", seasoned(Net(lambda net, x: net.group(x))), scans(2), 1)
    assert caught.value.field == "group"


def test_a_way_that_depends_on_the_scan_is_refused():
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(264, 2)

        def forward(self, x):
            turns = x.detach().sum() > 0 if not x.requires_grad else True
            return self.linear((x.relu() if turns else x).flatten(1))

    with pytest.raises(UnsupportedModelError, match="1 nonlinear calls for a scan, 0"):
        attribute("deeplift", seasoned(Turning()), scans(2), 1, baseline=-torch.ones_like(scans(2)[0]))


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 3)])
def test_maxima_of_any_windows_equal_explicit_loops(n_axes, kernel, stride):
    model = nn.Sequential(CONVOLUTION[n_axes](2, 3, 2), nn.Tanh(), MAXIMUM[n_axes](kernel, stride), nn.Flatten())
    model = nn.Sequential(*model, nn.LazyLinear(3))
    model(torch.zeros(1, 2, *SIZE[n_axes]))
    model, inputs, baseline = seasoned(model), scans(n_axes), scans(n_axes, 1, seed=3)[0]
    smooth = nn.Sequential(model[0], nn.Softplus(), *model[2:])
    found = attribute("deeplift", smooth, inputs, 2, baseline=baseline)
    for scan, one in zip(inputs, found, strict=True):
        assert deviation(one, rescaled_by_layers(smooth, scan, baseline, 2)) < 1e-10


def test_adaptive_maxima_are_maxima():
    windows, adaptive = (
        seasoned(nn.Sequential(nn.Conv2d(2, 3, (1, 4)), layer, nn.Flatten(), nn.Linear(24, 2)))
        for layer in (nn.MaxPool2d((3, 4)), nn.AdaptiveMaxPool2d((4, 2)))
    )
    inputs = scans(2)
    torch.testing.assert_close(
        attribute("deeplift", adaptive, inputs, 1, **control()), attribute("deeplift", windows, inputs, 1, **control())
    )


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_there_and_back_are_opposite(n_axes):
    model, inputs, baseline = convolutional(n_axes), scans(n_axes, 1), scans(n_axes, 1, seed=3)
    there = attribute("deeplift", model, inputs, 1, baseline=baseline)
    torch.testing.assert_close(there, -attribute("deeplift", model, baseline, 1, baseline=inputs), rtol=1e-9, atol=0)


def test_a_scan_that_is_its_baseline_has_an_empty_map():
    inputs = scans(3, 1)
    assert (attribute("deeplift", convolutional(3), inputs, 1, baseline=inputs) == 0).all()


@pytest.mark.parametrize(
    "layer",
    [nn.ReLU(), nn.Tanh(), nn.GELU(), nn.LeakyReLU(), nn.Softplus(), nn.ELU(), nn.SELU(), nn.Hardsigmoid()],
    ids=str,
)
def test_near_its_baseline_a_scan_has_the_gradient(layer):
    stream = torch.Generator().manual_seed(0)
    values = torch.randn(500, generator=stream, dtype=torch.float64)
    point = values.clone().requires_grad_()
    expected = torch.autograd.grad(layer(point).sum(), point)[0]
    for step in (0.0, 1e-15, 1e-12, 1e-9, 1e-7):
        torch.testing.assert_close(quotient(layer, values + step, values), expected, rtol=0, atol=2e-7)


def test_across_a_kink_the_quotient_is_that_of_the_two_pieces():
    values = torch.tensor([3e-10, 1.0, 1e-3], dtype=torch.float64)
    others = torch.tensor([-1e-10, -1.0, 1e-3], dtype=torch.float64)
    found = quotient(nn.LeakyReLU(0.1), values, others)
    torch.testing.assert_close(found, torch.tensor([0.775, 0.55, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("n_classes", [1, 2])
def test_probabilities_of_one_number_are_complete(n_classes):
    model = seasoned(Net(lambda net, x: net.relu(net.second(net.relu(x))), n_classes))
    inputs, baseline, target = scans(2), control()["control_mean"], None if n_classes == 1 else 1
    result = attribute_with_residual("deeplift", model, inputs, target, start="probability", **control())
    ends = [model(each).detach() for each in (inputs, baseline[None])]
    ends = [each.softmax(1)[:, 1] if n_classes == 2 else each.sigmoid()[:, 0] for each in ends]
    torch.testing.assert_close(result.maps.flatten(1).sum(1), ends[0] - ends[1], rtol=1e-10, atol=0)
    if n_classes == 2:  # a logistic function of the difference of the logits
        margin = attribute("deeplift", model, inputs, 1, **control()) - attribute(
            "deeplift", model, inputs, 0, **control()
        )
        scale = result.maps.flatten(1).sum(1) / margin.flatten(1).sum(1)
        torch.testing.assert_close(result.maps, margin * scale.reshape(-1, 1, 1, 1), rtol=1e-8, atol=1e-14)
    shap = attribute_with_residual(
        "deepshap", model, inputs, target, start="probability", background=scans(2, 3, seed=3)
    )
    assert float(shap.residual.abs().max()) < 1e-14


def test_a_probability_of_three_classes_is_refused():
    with pytest.raises(UnsupportedModelError, match="3 classes") as caught:
        attribute("deeplift", convolutional(2), scans(2), 1, start="probability")
    assert "start: logit" in caught.value.remedy


@pytest.mark.parametrize("n_samples", [0, 5])
def test_deepshap_asks_for_training_scans_that_exist(n_samples):
    with pytest.raises(ConfigError, match="training scans"):
        attribute("deepshap", convolutional(2), scans(2), 1, background=scans(2, 4), n_samples=n_samples)
    with pytest.raises(ConfigError, match="training"):
        attribute("deepshap", convolutional(2), scans(2), 1)


def test_no_pass_of_deepshap_is_larger_than_a_batch():
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    model = nn.Sequential(Counting(), *convolutional(2)).eval()
    inputs, background = scans(2, 3), scans(2, 22, seed=3)
    found = attribute("deepshap", model, inputs, 1, background=background, batch_size=3)
    assert max(seen) == 3 and sum(seen) == 22 + 8 * 3
    torch.testing.assert_close(found, attribute("deepshap", model, inputs, 1, background=background, batch_size=22))


def test_nothing_is_left_behind_after_an_exception():
    class Bomb(nn.Module):
        def forward(self, x):
            raise ValueError("boom")

    model = isolated(convolutional(2))
    model.insert(5, Bomb())
    with pytest.raises(ValueError, match="boom"):
        Linearised(model, scans(2))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch._C._len_torch_function_stack() == 0
    del model[5]
    Linearised(model, scans(2)).against(torch.zeros_like(scans(2)), torch.tensor([0, 1, 2]), "logit", keep=False)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_flat_network_in_space_draws_the_same_map():
    model, inputs = convolutional(2), scans(2)
    flat = attribute("deeplift", model, inputs, 1)
    torch.testing.assert_close(attribute("deeplift", lifted(model), inputs[:, :, None], 1)[:, :, 0], flat)


def brightness(n_axes: int) -> nn.Module:
    """Return a network whose logit is the mean of what is brighter than .5 after a small mean filter."""
    convolution = CONVOLUTION[n_axes](1, 1, 3, padding=1)
    convolution.weight.data.fill_(1 / 3**n_axes)
    convolution.bias.data.fill_(-0.5)
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[n_axes](1)
    return nn.Sequential(convolution, nn.ReLU(), pool, nn.Flatten()).double().eval()


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("method", ["deeplift", "deepshap"])
def test_a_planted_square_is_found_and_moves_with_its_voxels(method, n_axes):
    scan = torch.zeros(1, 1, *[12] * n_axes, dtype=torch.float64)
    square = (0, 0, *[slice(3, 7)] * n_axes)
    scan[square] = 1
    more = {"background": torch.zeros_like(scan)} if method == "deepshap" else {}
    found = attribute(method, brightness(n_axes), scan, **more)
    assert float(found[square].sum()) == pytest.approx(float(found.sum())) and float(found[square].min()) > 0
    moved = attribute(method, brightness(n_axes), scan.roll([1] * n_axes, list(range(2, 2 + n_axes))), **more)
    torch.testing.assert_close(moved, found.roll([1] * n_axes, list(range(2, 2 + n_axes))))


def test_bfloat16_draws_nearly_the_same_map():
    model, inputs = convolutional(2).float(), scans(2).float()
    maps = [
        attribute("deeplift", model, inputs, 1, precision=each, baseline=control()["control_mean"].float())
        for each in ("float32", "bfloat16")
    ]
    assert float(torch.corrcoef(torch.stack([each.flatten() for each in maps]))[0, 1]) > 0.98
