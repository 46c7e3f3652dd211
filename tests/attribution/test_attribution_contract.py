"""What `attribute` promises for every method: an untouched network, no effect of batches, named errors."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from torch import nn

from attribution.evidence.activation_oracles import lively
from attribution.evidence.controls import line
from attribution.networks import CONVOLUTION, FITTED, SIZE, convolutional, lifted, scans, seasoned
from heatproof.attribution import METHODS, attribute, attribute_together, attribute_with_residual, required_context
from heatproof.attribution.batches import in_batches
from heatproof.errors import ConfigError, HeatproofError, UnsupportedModelError

ROOT = Path(__file__).resolve().parents[2]
UNFITTED_METHODS = sorted(set(METHODS) - set(FITTED))
NETWORK_METHODS = [name for name in METHODS if not name.startswith("svm") and name not in FITTED]


def model_for(name: str, n_axes: int) -> nn.Module:
    return line(n_axes) if name.startswith("svm") else convolutional(n_axes, inplace=True)


FEW = {"n_steps": 8, "n_samples": 3}


def arguments(name: str, n_axes: int) -> dict:
    parameters = {"inner": "lrp", "inner_parameters": {"beta": 0.25}} if "inner" in METHODS[name].parameters else {}
    parameters |= {key: value for key, value in FEW.items() if key in METHODS[name].parameters}
    stream = torch.Generator().manual_seed(2)
    context = {
        "prior": torch.rand(SIZE[n_axes], generator=stream),
        "permuted": convolutional(n_axes),
        "control_mean": None,
        "background": scans(n_axes, 4, seed=6),
        "regions": torch.randint(0, 4, SIZE[n_axes], generator=stream),
    }
    return parameters | context


def draw(name: str, n_axes: int = 2, **more):
    keys = {"scan_keys": [f"sub-{number}" for number in range(5)]}
    inputs, target = scans(n_axes, 5), torch.tensor([0, 1, 1, 0, 1])
    return attribute_with_residual(
        name, model_for(name, n_axes), inputs, target, **(keys | arguments(name, n_axes) | more)
    )


NAMES = [
    "saliency", "input_x_gradient", "deconvolution", "guided_backprop", "smoothgrad", "smoothgrad_squared",
    "vargrad", "integrated_gradients", "expected_gradients", "idgi", "smoothgrad_ig", "blur_ig", "guided_ig",
    "deeplift", "deepshap", "lrp", "gradcam", "gradcam_plus_plus", "hirescam", "layercam", "xgradcam", "eigencam",
    "scorecam", "ablationcam", "guided_gradcam", "xrai", "occlusion", "rise", "svm_weights", "svm_pattern",
    "random_noise", "smooth_noise", "input_magnitude", "edges", "centre_prior", "anatomical_prior", "untrained",
    "label_permuted", "simulator",
]  # fmt: skip
# Maps with one channel, whatever the scans have.
ONE_CHANNEL = {
    "gradcam", "gradcam_plus_plus", "hirescam", "layercam", "xgradcam", "eigencam", "scorecam", "ablationcam", "xrai",
    "occlusion", "rise",
}  # fmt: skip


def test_every_promised_method_is_registered_with_cost_and_citation():
    assert set(METHODS) == set(NAMES)
    controls = {name for name, method in METHODS.items() if method.is_control}
    assert controls == {name for name in NAMES if METHODS[name].family == "controls"}
    for method in METHODS.values():
        assert method.cost and method.citation and method.function.__doc__


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", UNFITTED_METHODS)
def test_maps_lie_on_the_grid_of_the_scans_in_any_dimension(name, n_axes):
    maps = draw(name, n_axes).maps
    channels = 1 if name in ONE_CHANNEL else 2
    assert maps.shape == (5, channels, *SIZE[n_axes])
    assert maps.isfinite().all() and maps.is_contiguous()
    assert maps.abs().sum() > 0 or METHODS[name].family == "activations"  # nothing may speak for a class


@pytest.mark.parametrize("name", UNFITTED_METHODS)
def test_batch_size_never_changes_a_result(name):
    whole = draw(name, batch_size=5)
    for size in (1, 2, 3):
        part = draw(name, batch_size=size)
        torch.testing.assert_close(part.maps, whole.maps, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(part.residual, whole.residual, rtol=0, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("name", UNFITTED_METHODS)
def test_order_of_the_scans_never_changes_a_map(name):
    model, more, order = model_for(name, 2), arguments(name, 2), torch.tensor([3, 0, 2, 1])
    keys, inputs = ["a", "b", "c", "d"], scans(2, 4)
    straight = attribute(name, model, inputs, 1, scan_keys=keys, **more)
    mixed = attribute(name, model, inputs[order], 1, scan_keys=[keys[i] for i in order], **more)
    torch.testing.assert_close(mixed, straight[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", UNFITTED_METHODS)
def test_same_seed_same_map_and_global_generators_are_left_alone(name):
    model, inputs, more = model_for(name, 2), scans(2), arguments(name, 2)
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (attribute(name, model, inputs, 1, seed=3, **more) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert torch.equal(first, again)
    is_random = "seed" in METHODS[name].context and name != "label_permuted"  # its randomness is its network
    assert torch.equal(first, attribute(name, model, inputs, 1, seed=4, **more)) != is_random


@pytest.mark.parametrize("name", NETWORK_METHODS)
def test_network_and_scans_come_back_untouched(name):
    model, inputs = convolutional(2, inplace=True), scans(2)
    model.train()
    model[1].eval()
    next(model.parameters()).requires_grad_(False)
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    state, scans_before = copy.deepcopy(model.state_dict()), inputs.clone()
    attribute(name, model, inputs, 1, **arguments(name, 2))
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert all(module.inplace for module in model.modules() if isinstance(module, nn.ReLU))
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(inputs, scans_before) and not inputs.requires_grad


def brightness(n_axes: int) -> nn.Module:
    """Return a network whose class 1 is how much of a scan is brighter than a fifth."""
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[n_axes]
    model = nn.Sequential(CONVOLUTION[n_axes](1, 2, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.fill_(1 / 3**n_axes)
        model[0].bias.fill_(-0.2)
        model[4].weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
        model[4].bias.zero_()
    return model.eval()


class Bomb(nn.Module):
    """Raises in mid-network."""

    def forward(self, x):
        raise ValueError("boom")


RUN_THE_NETWORK = [name for name in NETWORK_METHODS if METHODS[name].cost != "none" and name != "label_permuted"]


@pytest.mark.parametrize("name", RUN_THE_NETWORK)
def test_network_is_untouched_after_an_exception(name):
    model = convolutional(2, inplace=True)
    model.insert(6, Bomb())
    model.train()
    state = copy.deepcopy(model.state_dict())
    with pytest.raises((ValueError, UnsupportedModelError)):
        attribute(name, model, scans(2), 1, **arguments(name, 2))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.modules())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    tried = []

    def run(part: slice, size: int) -> list[int]:
        tried.append(part.stop - part.start)
        if part.stop - part.start > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return list(range(10))[part]

    assert sum(in_batches(10, 8, run), []) == list(range(10))
    assert tried == [8, 4, 2, 2, 2, 2, 2]


def test_one_scan_that_does_not_fit_and_other_errors_are_raised():
    def too_large(part: slice, size: int) -> None:
        raise torch.OutOfMemoryError("out of memory")

    def broken(part: slice, size: int) -> None:
        raise RuntimeError("shapes differ")

    for run, error in ((too_large, torch.OutOfMemoryError), (broken, RuntimeError)):
        with pytest.raises(error):
            list(in_batches(4, 4, run))


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ({"method": "salency"}, "saliency"),
        ({"method": "lrp", "betta": 1}, "beta"),
        ({"method": "saliency", "n_steps": 3}, "start"),
        ({"method": "untrained"}, "inner"),
        ({"method": "untrained", "inner": "edges"}, "saliency"),
        ({"method": "anatomical_prior"}, "prior"),
        ({"method": "anatomical_prior", "prior": torch.zeros(3, 3)}, "grid"),
        ({"method": "label_permuted", "inner": "lrp"}, "permuted"),
        ({"method": "saliency", "start": "softmax"}, "probability"),
        ({"method": "integrated_gradients", "baseline": "black"}, "control_mean"),
        ({"method": "integrated_gradients", "baseline": "control_mean"}, "control_mean"),
        ({"method": "integrated_gradients", "baseline": torch.zeros(2, 3, 3)}, "grid"),
        ({"method": "integrated_gradients", "zero_intensity": torch.zeros(3, 1, *SIZE[2])}, "grid"),
        ({"method": "integrated_gradients", "n_steps": 0}, "1 or more"),
        ({"method": "saliency", "target": 7}, "0 to 2"),
        ({"method": "saliency", "target": -1}, "0 to 2"),
        ({"method": "saliency", "target": None}, "class index"),
        ({"method": "saliency", "target": torch.tensor([0, 1])}, "one class index per scan"),
        ({"method": "saliency", "target": torch.tensor([0.5, 1, 1])}, "integers"),
        ({"method": "saliency", "batch_size": 0}, "1 or more"),
        ({"method": "random_noise", "scan_keys": ["a"]}, "one per scan"),
        ({"method": "saliency", "inputs": torch.full((1, 2, *SIZE[2]), torch.nan).double()}, "exclude"),
        ({"method": "saliency", "inputs": torch.zeros(4, 4)}, "space axes"),
        ({"method": "saliency", "inputs": torch.zeros(0, 2, *SIZE[2])}, "one scan"),
    ],
    ids=str,
)
def test_a_wrong_call_ends_in_an_error_that_says_what_is_allowed(call, part):
    with pytest.raises(ConfigError) as caught:
        attribute(**({"model": convolutional(2), "inputs": scans(2), "target": 1} | call))
    assert caught.value.field and part in f"{caught.value.remedy}"


@pytest.mark.parametrize("name", ["svm_weights", "svm_pattern"])
def test_linear_maps_are_refused_for_other_models(name):
    with pytest.raises(UnsupportedModelError, match="network"):
        attribute(name, convolutional(2), scans(2), 1)


def test_a_network_without_a_table_of_classes_is_refused():
    with pytest.raises(UnsupportedModelError, match="batch, classes"):
        attribute("saliency", nn.Conv2d(2, 3, 3).double(), scans(2), 1)


def test_one_output_needs_no_target():
    stream = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 1)).double()
    model[1].weight.data = torch.randn(1, 24, generator=stream, dtype=torch.float64)
    maps = attribute("saliency", model, scans(1))
    torch.testing.assert_close(maps, model[1].weight.data.reshape(1, 2, 12).expand(3, -1, -1))


def test_required_context_follows_the_configured_parameters():
    assert required_context("lrp", {}) == set()
    assert required_context("anatomical_prior", {}) == {"prior"}
    assert required_context("integrated_gradients", {"baseline": "control_mean"}) == {"control_mean"}
    inner = {"inner": "integrated_gradients", "inner_parameters": {"baseline": "control_mean"}}
    assert required_context("label_permuted", inner) == {"permuted", "control_mean"}
    assert required_context("untrained", {"inner": "lrp"}) == set()
    assert required_context("integrated_gradients", {}) == {"zero_intensity"}
    assert required_context("integrated_gradients", {"baseline": "zero"}) == {"zero_intensity"}
    assert required_context("integrated_gradients", {"baseline": "blurred"}) == set()
    assert required_context("untrained", {"inner": "integrated_gradients"}) == {"zero_intensity"}


# Their settings go with the number of axes: segments, windows and cells of another shape.
BY_AXES = ("xrai", "occlusion", "rise")


@pytest.mark.parametrize("name", [name for name in RUN_THE_NETWORK if name not in (*BY_AXES, "untrained")])
def test_a_network_over_planes_lifted_into_volumes_gives_the_same_map(name):
    plane, inputs, more = lively(2), scans(2), arguments(name, 2)
    thin = more | {"background": more["background"][:, :, None]}
    expected = attribute(name, plane, inputs, torch.tensor([0, 1, 2]), **more)
    found = attribute(name, lifted(plane), inputs[:, :, None], torch.tensor([0, 1, 2]), **thin)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-7, atol=1e-10)


# Deconvolution does not look at the scan and VarGrad at what varies, on the square's edge; XRAI and RISE want larger
# grids and more masks, in their own tests.
NOT_ON_TOP = ("untrained", "deconvolution", "vargrad", "xrai", "rise")


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in RUN_THE_NETWORK if name not in NOT_ON_TOP])
def test_a_planted_bright_square_comes_out_positive_and_on_top(name, n_axes):
    size = {1: 60, 2: 30, 3: 12}[n_axes]
    scan = torch.zeros(1, 1, *[size] * n_axes)
    place = (0, 0, *[slice(size // 3, size // 2)] * n_axes)
    scan[place] = 1
    model = brightness(n_axes)
    few = {key: value for key, value in {"n_steps": 8, "noise_level": 0.05}.items() if key in METHODS[name].parameters}
    few["background"] = scan * 0
    found = attribute(name, model, scan, 1, **few)[0, 0]
    inside = torch.zeros_like(found, dtype=torch.bool)
    inside[place[2:]] = True
    assert found[inside].mean() > 0
    assert found[inside].mean() > 1.05 * found[~inside].mean()


class Standardised(nn.Conv2d):
    """A convolution with its own forward pass."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, padding=1)


def test_a_layer_with_its_own_forward_pass_keeps_it():
    model = seasoned(nn.Sequential(Standardised(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 132, 2)))
    inputs = scans(2, channels=1)
    points = inputs.clone().requires_grad_()
    expected = torch.autograd.grad(model(points)[:, 1].sum(), points)[0]
    torch.testing.assert_close(attribute("saliency", model, inputs, 1), expected)


class Overwriting(nn.Module):
    """Reads again what its rectifier has overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(3, 2)

    def forward(self, x):
        x = self.first(x)
        y = self.second(self.act(x))
        return self.head((x + y).mean((2, 3)))


@pytest.mark.parametrize("name", ["saliency", "lrp", "deeplift", "occlusion", "gradcam"])
def test_a_network_that_reads_what_it_has_overwritten_is_refused(name):
    with pytest.raises(UnsupportedModelError, match="overwritten") as caught:
        attribute(name, seasoned(Overwriting()), scans(2), 1)
    assert caught.value.field == "act"


def test_a_normalisation_over_the_batch_is_refused_by_name():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten())
    with pytest.raises(UnsupportedModelError, match="depends on its batch") as caught:
        attribute("saliency", model.double(), scans(2), 1)
    assert caught.value.field == "1"


def test_scans_of_another_type_than_the_weights_are_refused():
    with pytest.raises(ConfigError) as caught:
        attribute("saliency", convolutional(2), scans(2).float(), 1)
    assert caught.value.field == "inputs" and "float32" in caught.value.problem


def test_a_network_that_drops_the_batch_axis_is_refused():
    class Squeezing(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).squeeze()

    with pytest.raises(UnsupportedModelError, match="rows"):
        attribute("saliency", Squeezing(), scans(2, 1), torch.tensor([1]))


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["saliency", "gradcam", "integrated_gradients", "lrp", "deeplift"])
def test_a_caller_without_gradients_gets_the_same_map(name, guard):
    model, inputs = convolutional(2), scans(2)
    expected = attribute(name, model, inputs, 1)
    with guard():
        found = attribute(name, model, scans(2), 1)
    torch.testing.assert_close(found.clone(), expected)


@pytest.mark.parametrize("word", ["seed", "batch_size", "scan_keys", "shared"])
def test_what_belongs_to_the_call_is_no_parameter_of_a_method(word):
    for wanted in (
        lambda: attribute_together({"a": ("smoothgrad", {word: 1})}, convolutional(2), scans(2), 1),
        lambda: attribute("untrained", convolutional(2), scans(2), 1, inner="saliency", inner_parameters={word: 1}),
    ):
        with pytest.raises(ConfigError) as caught:
            wanted()
        assert caught.value.field.endswith(word)


def schema() -> dict:
    return yaml.safe_load((ROOT / "workflow" / "schemas" / "methods.yaml").read_text(encoding="utf-8"))


def test_schema_and_functions_agree_on_methods_parameters_and_defaults():
    entries = schema()
    assert set(entries) == set(METHODS)
    for name, entry in entries.items():
        jsonschema.Draft202012Validator.check_schema(entry)
        parameters = METHODS[name].parameters
        assert entry["additionalProperties"] is False
        named = {"simulator"} if name in FITTED else set()
        assert set(entry["properties"]) == {"method", "target", *parameters, *named}, name
        assert entry["properties"]["method"]["const"] == name
        for key, rules in entry["properties"].items():
            assert rules["description"] and rules["unit"], (name, key)
            assert "default" in rules or key in entry["required"], (name, key)
            default = parameters.get(key, inspect.Parameter.empty)
            if default is not inspect.Parameter.empty:
                assert rules["default"] == default, (name, key)


def test_schema_offers_as_inner_methods_what_explains_a_network():
    allowed = {name for name in NETWORK_METHODS if not METHODS[name].is_control}
    assert set(schema()["untrained"]["properties"]["inner"]["enum"]) == allowed


def test_every_error_is_one_of_ours():
    with pytest.raises(HeatproofError):
        attribute("nothing", nn.Identity(), torch.zeros(1, 1, 3), 0)
