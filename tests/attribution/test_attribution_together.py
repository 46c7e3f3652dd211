"""Several methods in one call: the same maps, fewer passes; reduced precision within its tolerance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attribution.networks import convolutional, scans
from heatproof.attribution import METHODS, attribute, attribute_together, attribute_with_residual
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


@pytest.mark.parametrize("name", ["saliency", "guided_backprop", "integrated_gradients", "gradcam", "smoothgrad"])
def test_bfloat16_stays_within_its_tolerance(name):
    model, inputs = convolutional(3).float(), scans(3).float()
    few = {"n_steps": 8} if name == "integrated_gradients" else {}
    exact = attribute(name, model, inputs, 0, **few)
    coarse = attribute(name, model, inputs, 0, precision="bfloat16", **few)
    assert coarse.dtype == torch.float32 and not torch.equal(coarse, exact)
    correlation = torch.corrcoef(torch.stack([exact.flatten(), coarse.flatten()]))[0, 1]
    assert correlation > 0.98


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError) as caught:
        attribute("saliency", convolutional(2), scans(2), 1, precision="int8")
    assert caught.value.field == "precision"
