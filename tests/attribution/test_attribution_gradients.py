"""Gradient, path and class-activation methods: identities, parity with captum, refusals."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from attribution.networks import SIZE, convolutional, scans, seasoned
from heatproof.attribution import attribute, attribute_with_residual, separate_activations
from heatproof.attribution.paths.straight import path_points
from heatproof.attribution.tracing import last_convolution
from heatproof.errors import UnsupportedModelError

TARGET = torch.tensor([0, 2, 1])


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_equals_captum_at_the_same_settings(n_axes):
    captum = pytest.importorskip("captum.attr")
    model, inputs = convolutional(n_axes), scans(n_axes)
    theirs, leaf = copy.deepcopy(model), inputs.clone().requires_grad_()
    layer = theirs[4]
    cam = captum.LayerGradCam(theirs, layer).attribute(leaf, TARGET, relu_attributions=True)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[n_axes]
    cam = functional.interpolate(cam, size=SIZE[n_axes], mode=mode, align_corners=False)
    guided = captum.GuidedBackprop(copy.deepcopy(model)).attribute(leaf, TARGET)
    left = captum.IntegratedGradients(theirs).attribute(leaf, 0.0, TARGET, n_steps=9, method="riemann_left")
    expected = {
        "saliency": captum.Saliency(theirs).attribute(leaf, TARGET, abs=False),
        "input_x_gradient": captum.InputXGradient(theirs).attribute(leaf, TARGET),
        "guided_backprop": guided,
        "gradcam": cam,
        "guided_gradcam": cam * guided,
        "integrated_gradients": left,
    }
    for name, maps in expected.items():
        more = {"n_steps": 9} if name == "integrated_gradients" else {}
        found = attribute(name, model, inputs, TARGET, **more)
        torch.testing.assert_close(found, maps.detach(), rtol=1e-8, atol=1e-11, msg=name)


@pytest.mark.parametrize(("rule", "theirs"), [("right", "riemann_right"), ("middle", "riemann_middle")])
def test_other_riemann_sums_equal_captum(rule, theirs):
    captum = pytest.importorskip("captum.attr")
    model, inputs = convolutional(2), scans(2)
    expected = captum.IntegratedGradients(model).attribute(inputs, 0.0, TARGET, n_steps=6, method=theirs)
    found = attribute("integrated_gradients", model, inputs, TARGET, rule=rule, n_steps=6)
    # captum places its points in single precision
    torch.testing.assert_close(found, expected.detach(), rtol=1e-6, atol=1e-8)


def test_trapezoid_weights_sum_to_one_and_halve_the_ends():
    positions, weights = path_points(5, "trapezoid")
    assert positions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert weights.tolist() == [0.125, 0.25, 0.25, 0.25, 0.125]
    for rule in ("left", "right", "middle"):
        assert float(path_points(7, rule)[1].sum()) == pytest.approx(1)


@pytest.mark.parametrize("rule", ["left", "right", "middle", "trapezoid"])
@pytest.mark.parametrize("baseline", ["zero", "blurred", "control_mean"])
def test_linear_model_identity(rule, baseline):
    model = seasoned(nn.Sequential(nn.Flatten(), nn.Linear(2 * 12 * 11, 3)))
    inputs, mean = scans(2), scans(2, 1, seed=8)[0]
    weight = model[1].weight.detach()[TARGET].reshape(inputs.shape)
    result = attribute_with_residual(
        "integrated_gradients",
        model,
        inputs,
        TARGET,
        rule=rule,
        n_steps=3,
        baseline=baseline,
        control_mean=mean,
    )
    if baseline == "zero":
        torch.testing.assert_close(result.maps, weight * inputs)
    if baseline == "control_mean":
        torch.testing.assert_close(result.maps, weight * (inputs - mean))
    torch.testing.assert_close(result.residual, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(attribute("input_x_gradient", model, inputs, TARGET), weight * inputs)


@pytest.mark.parametrize("start", ["logit", "probability"])
def test_integrated_gradients_approach_completeness(start):
    model, inputs = convolutional(3), scans(3)
    errors = [
        attribute_with_residual(
            "integrated_gradients", model, inputs, TARGET, n_steps=steps, rule="trapezoid", start=start
        ).residual.abs()
        for steps in (10, 640)
    ]
    logits = model(torch.cat([inputs, torch.zeros_like(inputs)])).detach()
    values = logits.softmax(1) if start == "probability" else logits
    rise = values[:3].gather(1, TARGET[:, None]) - values[3:].gather(1, TARGET[:, None])
    assert (errors[1] < 0.01 * rise.abs().max()).all() and errors[1].sum() < errors[0].sum()


def test_baseline_as_array_equals_the_named_one():
    model, inputs = convolutional(2), scans(2)
    mean = inputs.mean(0)
    named = attribute("integrated_gradients", model, inputs, 1, n_steps=4, baseline="control_mean", control_mean=mean)
    for array in (mean, mean[None]):
        torch.testing.assert_close(
            attribute("integrated_gradients", model, inputs, 1, n_steps=4, baseline=array), named
        )


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_zero_intensity_is_the_baseline_of_each_scan_through_every_control(batch_size):
    model, inputs, zeros = convolutional(2), scans(2), scans(2, seed=9)
    keys = {"n_steps": 4, "rule": "middle"}
    expected = torch.cat(
        [
            attribute("integrated_gradients", model, inputs[i : i + 1], 1, baseline=zeros[i], **keys)
            for i in range(len(inputs))
        ]
    )
    found = attribute("integrated_gradients", model, inputs, 1, zero_intensity=zeros, batch_size=batch_size, **keys)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    more = {"inner": "integrated_gradients", "inner_parameters": keys, "zero_intensity": zeros}
    inner = attribute("label_permuted", convolutional(2), inputs, 1, permuted=model, batch_size=batch_size, **more)
    torch.testing.assert_close(inner, expected, rtol=1e-9, atol=1e-12)
    fresh = attribute("untrained", model, inputs, 1, **more)
    assert not torch.equal(fresh, attribute("untrained", model, inputs, 1, **{**more, "zero_intensity": None}))


def test_blurred_baseline_of_a_constant_scan_is_the_scan():
    model, flat = convolutional(2), torch.full((1, 2, *SIZE[2]), 3.0, dtype=torch.float64)
    maps = attribute("integrated_gradients", model, flat, 1, n_steps=2, baseline="blurred", blur_sigma=2.0)
    torch.testing.assert_close(maps, torch.zeros_like(maps), rtol=0, atol=1e-12)


class Recording(nn.Module):
    """Remembers the largest batch that passed, also in copies of itself."""

    largest: list[int] = []

    def forward(self, x):
        self.largest.append(len(x))
        return x


def test_passes_hold_no_more_inputs_than_the_batch_size_whatever_the_steps():
    model = nn.Sequential(Recording(), *convolutional(2)).eval()
    for steps in (3, 30):
        Recording.largest.clear()
        attribute("integrated_gradients", model, scans(2), 1, n_steps=steps, batch_size=2)
        assert max(Recording.largest) == 2


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "integrated_gradients", "guided_backprop", "gradcam"])
def test_probability_start_follows_the_chain_rule(name):
    stream = torch.Generator().manual_seed(0)
    model = seasoned(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    )
    inputs = torch.rand(2, 2, 9, 9, generator=stream, dtype=torch.float64)
    one_step = {"n_steps": 1, "rule": "right"} if name == "integrated_gradients" else {}
    found = attribute(name, model, inputs, 1, start="probability", **one_step)
    share = model(inputs).softmax(1).detach()
    if name in ("guided_backprop", "gradcam"):
        assert not torch.allclose(found, attribute(name, model, inputs, 1))
        return
    logits = [attribute(name, model, inputs, each, **one_step) for each in (0, 1)]
    factor = (share[:, 0] * share[:, 1]).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(found, factor * (logits[1] - logits[0]))


def bright_square_detector() -> nn.Module:
    """Return a network whose class 1 is the brightness of the scan."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[0].bias.fill_(-0.2)
        model[4].weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
        model[4].bias.zero_()
    return model


@pytest.mark.parametrize("name", ["gradcam", "guided_gradcam", "integrated_gradients", "lrp", "guided_backprop"])
def test_a_planted_bright_square_comes_out_positive(name):
    scan = torch.zeros(1, 1, 24, 24)
    scan[..., 6:12, 9:15] = 1
    found = attribute(name, bright_square_detector(), scan, 1)
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[4:14, 7:17] = True  # two 3 x 3 neighbourhoods
    assert found[0, 0][inside].sum() > 0
    assert found[0, 0][inside].sum() > 0.99 * found.abs().sum()


@pytest.mark.parametrize("name", ["saliency", "guided_backprop", "integrated_gradients", "gradcam"])
def test_one_voxel_shift_of_the_scan_shifts_the_map(name):
    model = seasoned(
        nn.Sequential(
            nn.Conv3d(1, 3, 3, padding=1, padding_mode="circular"),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(3, 2),
        )
    )
    scan = torch.randn(1, 1, 6, 7, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = attribute(name, model, scan, 1)
    moved = attribute(name, model, scan.roll((1, -2, 3), (2, 3, 4)), 1)
    torch.testing.assert_close(moved, found.roll((1, -2, 3), (2, 3, 4)))


class Functional(nn.Module):
    """A network that rectifies by a function after its layer."""

    def __init__(self, rectify) -> None:
        super().__init__()
        self.conv1, self.act, self.conv2 = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3)
        self.head, self.rectify = nn.Linear(3, 2), rectify

    def forward(self, x):
        return self.head(self.rectify(self.conv2(self.act(self.conv1(x)))).mean((2, 3)))


class Reused(Functional):
    def forward(self, x):
        return self.head(self.act(self.conv2(self.act(self.conv1(x)))).mean((2, 3)))


@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam"])
@pytest.mark.parametrize(
    "rectify", [functional.relu, torch.relu, lambda x: x.clamp(min=0), lambda x: x.relu_()], ids=range(4)
)
def test_functional_rectifiers_are_found_and_refused(name, rectify):
    with pytest.raises(UnsupportedModelError, match="by a function"):
        attribute(name, seasoned(Functional(rectify)), scans(2), 1)


@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam"])
def test_reused_rectifiers_are_found_and_refused(name):
    with pytest.raises(UnsupportedModelError, match="2 times") as caught:
        attribute(name, seasoned(Reused(None)), scans(2), 1)
    assert caught.value.field == "act" and "separate_activations" in caught.value.remedy


@pytest.mark.parametrize("network", [lambda: Reused(None), lambda: Functional(torch.relu)])
def test_separated_rectifiers_are_accepted_and_compute_the_same(network):
    model, inputs = seasoned(network()), scans(2)
    separated = separate_activations(model)
    torch.testing.assert_close(separated(inputs), model(inputs))
    assert separated.state_dict().keys() == model.state_dict().keys()
    layers = nn.Sequential(
        model.conv1, nn.ReLU(), model.conv2, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head
    )
    torch.testing.assert_close(
        attribute("guided_backprop", separated, inputs, 1), attribute("guided_backprop", layers, inputs, 1)
    )


@pytest.mark.parametrize("other", [nn.LeakyReLU(), nn.ELU(), nn.PReLU(), nn.GELU(), nn.SiLU()], ids=repr)
@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam"])
def test_relatives_of_a_rectifier_beside_it_are_refused_by_name(name, other):
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), other, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with pytest.raises(UnsupportedModelError) as caught:
        attribute(name, model.double(), scans(2), 1)
    assert type(other).__name__.lower() in caught.value.problem.lower().replace("kernel", "")
    assert "ReLU only" in str(caught.value.remedy)


def test_guided_methods_refuse_a_network_without_rectifiers():
    model = seasoned(nn.Sequential(nn.Conv2d(2, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(180, 2)))
    with pytest.raises(UnsupportedModelError, match="no nn.ReLU"):
        attribute("guided_backprop", model, scans(2), 1)


@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam", "gradcam", "saliency", "lrp"])
def test_rectifiers_in_place_change_nothing(name):
    inputs = scans(3)
    plain = attribute(name, convolutional(3), inputs, 1)
    torch.testing.assert_close(attribute(name, convolutional(3, inplace=True), inputs, 1), plain)


@pytest.mark.parametrize("name", ["gradcam", "guided_gradcam"])
def test_class_activation_refuses_a_network_without_convolution_or_an_unknown_layer(name):
    dense = seasoned(nn.Sequential(nn.Flatten(), nn.Linear(264, 4), nn.ReLU(), nn.Linear(4, 2)))
    with pytest.raises(UnsupportedModelError, match="no convolution"):
        attribute(name, dense, scans(2), 1)
    with pytest.raises(UnsupportedModelError) as caught:
        attribute(name, convolutional(2), scans(2), 1, layer="features.9")
    assert "0, 4" in caught.value.remedy


class Shortcut(nn.Module):
    """A residual block whose shortcut is run, and registered, last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.shortcut = (nn.Conv2d(2, 2, k, padding=k // 2) for k in (3, 3, 1))
        self.act, self.head = nn.ReLU(), nn.Linear(2, 2)

    def forward(self, x):
        out = self.conv2(self.act(self.conv1(x)))
        out = out + self.shortcut(x)
        return self.head(out.mean((2, 3)))


def test_the_last_convolution_is_the_deepest_not_the_shortcut():
    assert last_convolution(Shortcut()) == "conv2"


def test_a_named_layer_needs_no_graph():
    class Branching(Shortcut):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    model = seasoned(Branching())
    assert attribute("gradcam", model, scans(2), 1, layer="conv1").shape == (3, 1, *SIZE[2])
    with pytest.raises(UnsupportedModelError, match="traced"):
        attribute("gradcam", model, scans(2), 1)


def test_views_of_volumes_work_in_any_memory_order():
    class View(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv3d(2, 3, 3), nn.Linear(3 * 4 * 5 * 4, 2)

        def forward(self, x):
            x = self.conv(x)
            return self.head(x.view(x.size(0), -1))

    model, inputs = seasoned(View()), scans(3)
    points = inputs.clone().requires_grad_()
    expected = torch.autograd.grad(model(points)[:, 1].sum(), points)[0]
    torch.testing.assert_close(attribute("saliency", model, inputs, 1), expected)


def test_separating_leaves_the_network_alone_and_turns_functional_dropout_off():
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 3, 3), nn.Linear(3, 2)

        def forward(self, x):
            x = functional.dropout(torch.relu(self.conv(x)), 0.5, self.training)
            return self.head(x.mean((2, 3))) * torch.tensor([1.0, 2.0], dtype=x.dtype)

    model, inputs = seasoned(Dropping()), scans(2)
    model.train()
    own = set(vars(model))
    separated = separate_activations(model)
    assert model.training and separated.training and set(vars(model)) == own
    torch.testing.assert_close(separated.eval()(inputs), model.eval()(inputs))
