"""Several methods in one call: the same maps, fewer passes; reduced precision within its tolerance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attribution.evidence.activation_oracles import lively
from attribution.networks import FITTED, SIZE, convolutional, scans, seasoned
from heatproof.attribution import METHODS, attribute, attribute_together, attribute_with_residual
from heatproof.attribution.smoothing import gaussian_smooth
from heatproof.errors import ConfigError, UnsupportedModelError

SHARING = {name: (name, {}) for name, method in METHODS.items() if method.shares}


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_methods_together_draw_the_same_maps_as_alone(n_axes):
    model, inputs = convolutional(n_axes, inplace=True), scans(n_axes, 3)
    wanted = SHARING | {
        "probable": ("saliency", {"start": "probability"}),
        "probable_guided": ("guided_backprop", {"start": "probability"}),
        "early": ("gradcam", {"layer": "0"}),
        "lrp": ("lrp", {}),
        "path": ("integrated_gradients", {"n_steps": 3}),
    }
    together = attribute_together(wanted, model, inputs, torch.tensor([0, 1, 2]), batch_size=2)
    assert list(together) == list(wanted)
    for key, (name, parameters) in wanted.items():
        alone = attribute_with_residual(name, model, inputs, torch.tensor([0, 1, 2]), **parameters)
        torch.testing.assert_close(together[key].maps, alone.maps, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(together[key].residual, alone.residual, rtol=0, atol=1e-10, equal_nan=True)


class Two(nn.Module):
    """A layer on the way to another one, and around it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.act, self.head = nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x):
        x = self.first(x)
        x = self.act(x + self.second(x.relu()))
        return self.head(x.mean((2, 3)))


def test_layers_on_the_way_to_each_other_share_a_pass():
    model, inputs = seasoned(Two()), scans(2)
    wanted = {layer: ("hirescam", {"layer": layer}) for layer in ("first", "second", "act")}
    together = attribute_together(wanted, model, inputs, 1)
    for layer, (name, parameters) in wanted.items():
        torch.testing.assert_close(together[layer].maps, attribute(name, model, inputs, 1, **parameters))


class Counting(nn.Module):
    """Counts forward and backward passes, also in copies of itself."""

    passes = {"forward": 0, "backward": 0}

    def forward(self, x):
        self.passes["forward"] += 1
        if x.requires_grad:
            x = x.clone()
            x.register_hook(self.count)
        return x

    def count(self, gradient):
        self.passes["backward"] += 1


def test_one_forward_serves_all_gradient_methods_and_each_backward_rule_runs_once():
    model, inputs = nn.Sequential(Counting(), *convolutional(2)).eval(), scans(2)
    # a named layer needs no graph, which the counting module does not have
    wanted = {name: (name, {"layer": "6"} if "layer" in METHODS[name].parameters else {}) for name in SHARING}
    Counting.passes.update(forward=0, backward=0)
    attribute_together(wanted, model, inputs, 1, batch_size=3)
    assert Counting.passes == {"forward": 1, "backward": 3}  # gradient, guided, deconvolution


def test_what_a_network_does_not_allow_is_refused_together_as_alone():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(torch.relu(self.act(self.conv(x))).mean((2, 3)))

    model = Functional().double()
    with pytest.raises(UnsupportedModelError, match="by a function"):
        attribute_together({"a": ("saliency", {}), "b": ("guided_backprop", {})}, model, scans(2), 1)
    assert attribute_together({"a": ("saliency", {}), "b": ("gradcam", {})}, model, scans(2), 1)["b"].maps.shape[1] == 1


def test_an_unknown_method_or_parameter_is_refused_before_anything_runs():
    for wanted in ({"a": ("salency", {})}, {"a": ("saliency", {"n_steps": 2})}):
        with pytest.raises(ConfigError):
            attribute_together(wanted, convolutional(2), scans(2), 1)


FEW = {"n_steps": 8, "n_samples": 4}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, method in METHODS.items()
        if not method.is_control and not name.startswith("svm") and name not in FITTED
    ],
)
def test_bfloat16_stays_within_its_tolerance_and_only_the_network_is_rounded(name):
    stream = torch.Generator().manual_seed(3)
    inputs = gaussian_smooth(torch.randn(3, 2, *SIZE[3], generator=stream), 1.0) * 3
    few = {key: value for key, value in FEW.items() if key in METHODS[name].parameters}
    more = few | {"background": scans(3, 4, seed=5).float()}
    classes = torch.tensor([0, 1, 2])
    exact = attribute(name, lively(3).float(), inputs, classes, **more)
    coarse = attribute(name, lively(3).float(), inputs, classes, precision="bfloat16", **more)
    assert coarse.dtype == torch.float32
    correlation = torch.corrcoef(torch.stack([exact.flatten(), coarse.flatten()]))[0, 1]
    assert correlation > (0.8 if name == "xrai" else 0.95)  # the order of segments jumps
    # a network that computes in single precision all the same leaves nothing to round
    full = FullPrecision(lively(3).float())
    alike = attribute(name, full, inputs, classes, **more) if name not in WALKERS else exact
    other = attribute(name, full, inputs, classes, precision="bfloat16", **more) if name not in WALKERS else coarse
    torch.testing.assert_close(other, alike, rtol=1e-4, atol=1e-5 * float(alike.abs().max()))


# They walk the network's layers themselves, or look at small differences: always in single precision.
WALKERS = ("lrp", "ablationcam", "occlusion")


class FullPrecision(nn.Module):
    """Computes in single precision whatever the caller asks for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.inner(x)


def test_controls_compute_as_their_inner_method():
    inputs = scans(3).float()
    drawn = [
        attribute("untrained", convolutional(3).float(), inputs, 1, inner="saliency", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    assert not torch.equal(*drawn)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError) as caught:
        attribute("saliency", convolutional(2), scans(2), 1, precision="int8")
    assert caught.value.field == "precision"
