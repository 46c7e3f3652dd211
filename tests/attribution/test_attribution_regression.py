"""Every method on networks that answer with a number: what is explained, in which unit, on twelve leads."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from attribution.evidence import deviation
from attribution.networks import FITTED, seasoned
from heatproof.attribution import METHODS, attribute, attribute_together, attribute_with_residual
from heatproof.attribution.linear_maps import Convolution
from heatproof.attribution.network_controls import reinitialised
from heatproof.attribution.perturbation.rise import random_mask
from heatproof.attribution.streams import normal, stream
from heatproof.errors import ConfigError
from heatproof.models import build
from heatproof.randomness import integer_seed

LEADS, POINTS = 12, 120
# The settings of Storås et al. (2025), as far as their paper tells them, by our names.
PUBLISHED = {
    "saliency": {},
    "deconvolution": {},
    "guided_backprop": {},
    "expected_gradients": {"baseline": "zero", "n_samples": 50, "positions": "random"},
    "smoothgrad": {"n_samples": 25, "noise_level": 0.02},
    "input_x_gradient": {},
    "deeplift": {"baseline": "zero"},
    "integrated_gradients": {"baseline": "zero", "n_steps": 50, "rule": "gauss_legendre"},
    "gradcam": {"layer": "block8"},
}


def network(n_outputs: int = 1, seed: int = 3) -> nn.Module:
    """Return a narrow network of the paper's kind in double precision, all weights and statistics drawn."""
    settings = {"in_channels": LEADS, "n_classes": n_outputs, "shape": (POINTS,)}
    return seasoned(build("ecg_resnet", **settings, width=4, n_blocks=2, kernel=10), seed)


def records(n_scans: int = 2, n_points: int = POINTS, seed: int = 5) -> torch.Tensor:
    """Return random records, shape (n_scans, 12, n_points), smooth enough to have segments."""
    noise = torch.randn(n_scans, LEADS, n_points, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.avg_pool1d(noise, 5, 1, 2, count_include_pad=False) * 2


def last_layer(model: nn.Module) -> nn.Linear:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


def in_other_unit(model: nn.Module, factor: float = 1000.0, offset: float = 300.0) -> nn.Module:
    """Return the network whose answers are factor x answer + offset."""
    twin = copy.deepcopy(model)
    layer = last_layer(twin)
    layer.weight.data *= factor
    layer.bias.data = layer.bias.data * factor + offset
    return twin


class Line(nn.Module):
    """A linear model, as the SVM methods know it."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        weights = torch.randn(LEADS, POINTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.weight, self.pattern = nn.Parameter(factor * weights), factor * weights.flip(1)

    def forward(self, x):
        return (x * self.weight).flatten(1).sum(1, keepdim=True)


def arguments(name: str, permuted: nn.Module) -> dict:
    few = {"n_steps": 8, "n_samples": 4, "inner": "rise", "inner_parameters": {"n_samples": 4}}
    context = {"background": records(4, seed=6), "permuted": permuted, "prior": torch.rand(POINTS)}
    return {key: value for key, value in few.items() if key in METHODS[name].parameters} | context


def explained(name: str, model: nn.Module, target: int | None = None, **more) -> torch.Tensor:
    inputs = records()
    more = arguments(name, model) | more
    return attribute(name, model, inputs, target, seed=4, scan_keys=["a", "b"], output="value", **more)


def normalised(maps: torch.Tensor) -> torch.Tensor:
    largest = maps.flatten(1).abs().amax(1)
    assert bool((largest > 0).all())
    return maps / largest.reshape(-1, 1, 1)


# --- a number and its unit ----------------------------------------------------------------------------------------

RULES_OF_LRP = [
    {"rule": "alpha_beta"}, {"rule": "zplus"}, {"rule": "epsilon"}, {"rule": "gamma"}, {"rule": "flat"},
    {"rule": "w_squared"}, {"rule": "z_box"}, {"rule": "composite"}, {"rule": "alpha_beta", "bias": "absorb"},
    {"rule": "epsilon", "bias": "ignore"}, {"rule": "composite", "composite": "epsilon_alpha2_beta1"},
]  # fmt: skip
SETTINGS = [
    *[(name, {}) for name in sorted(METHODS) if name not in ("anatomical_prior", "layercam", *FITTED)],
    ("layercam", {"layer": "block2"}),
    *[("lrp", rule) for rule in RULES_OF_LRP],
    ("integrated_gradients", {"steps": "adaptive", "n_steps": 20}),
    ("integrated_gradients", {"steps": "nonuniform", "n_steps": 20}),
    ("occlusion", {"channels": "apart", "window": 30}),
    ("scorecam", {"rectified": False}),
    ("ablationcam", {"rectified": False}),
    ("gradcam", {"rectified": False}),
]


@pytest.mark.parametrize(("name", "more"), SETTINGS)
def test_no_map_depends_on_unit_and_origin_of_the_value(name, more):
    if name.startswith("svm"):
        first, second = explained(name, Line()), explained(name, Line(1000.0))
    else:
        first, second = explained(name, network(), **more), explained(name, in_other_unit(network()), **more)
    assert deviation(normalised(second), normalised(first)) < 1e-6


@pytest.mark.parametrize("name", ["lrp", "rise", "scorecam", "ablationcam", "gradcam_plus_plus", "idgi", "occlusion"])
def test_one_of_several_outputs_is_that_output_alone(name):
    model = network(3)
    alone = copy.deepcopy(model)
    layer = last_layer(alone)
    layer.weight.data, layer.bias.data = layer.weight.data[1:2], layer.bias.data[1:2]
    more = {"rule": "zplus"} if name == "lrp" else {}
    torch.testing.assert_close(explained(name, model, 1, **more), explained(name, alone, **more))
    torch.testing.assert_close(explained(name, alone, 0, **more), explained(name, alone, **more))


def test_milliseconds_are_not_squeezed_into_a_probability():
    model = in_other_unit(network())
    with torch.no_grad():
        assert bool((model(records()).abs().sigmoid() == 1).all())  # what start: probability would explain
    for name in ("rise", "idgi"):
        assert explained(name, model).abs().max() > 1


def test_what_has_no_form_of_its_own_for_values_is_the_map_of_the_output_as_it_is():
    own = {"lrp", "rise", "scorecam", "ablationcam", "gradcam_plus_plus", "svm_weights", "svm_pattern", "idgi"}
    model, inputs = network(), records()
    for name in sorted(set(METHODS) - own - {"untrained", "label_permuted", *FITTED}):
        more = arguments(name, model)
        plain = attribute(name, model, inputs, None, seed=4, scan_keys=["a", "b"], **more)
        assert torch.equal(explained(name, model, **more), plain), name


def test_the_probability_of_a_value_is_refused():
    with pytest.raises(ConfigError, match="value") as caught:
        attribute("lrp", network(), records(), output="value", start="probability")
    assert caught.value.field == "lrp.start"
    with pytest.raises(ConfigError) as caught:
        attribute("saliency", network(), records(), output="number")
    assert caught.value.field == "output"
    # a config writes every default, so the default probability of RISE is no wish
    written = explained("rise", network(), start="probability")
    assert torch.equal(written, explained("rise", network()))


def test_methods_of_a_value_share_their_passes():
    model, inputs = network(), records()
    asked = {name: (name, {}) for name in ("saliency", "guided_backprop", "gradcam", "gradcam_plus_plus", "xgradcam")}
    together = attribute_together(asked, model, inputs, output="value")
    for name in asked:
        torch.testing.assert_close(together[name].maps, attribute(name, model, inputs, output="value"))


def test_controls_hand_on_that_the_network_answers_with_a_value():
    model, other, inputs = network(), network(seed=9), records()
    options = {"seed": 4, "output": "value"}
    inner = {"inner": "rise", "inner_parameters": {"n_samples": 3}}
    fresh = reinitialised(model, integer_seed(4, "attribution", "untrained"))
    expected = attribute("rise", fresh, inputs, n_samples=3, **options)
    assert torch.equal(attribute("untrained", model, inputs, **inner, **options), expected)
    expected = attribute("rise", other, inputs, n_samples=3, **options)
    assert torch.equal(attribute("label_permuted", model, inputs, permuted=other, **inner, **options), expected)


def test_a_linear_model_of_a_value_shows_its_weights_with_their_sign():
    model, inputs = Line(), records()
    for name, array in (("svm_weights", model.weight), ("svm_pattern", model.pattern)):
        for target in (None, 0):
            assert torch.equal(attribute(name, model, inputs, target, output="value")[0], array.data)


# --- the form of each method for values, by explicit loops ----------------------------------------------------------


@torch.no_grad()
def answer(model: nn.Module, scan: torch.Tensor) -> float:
    return model(scan[None]).item()


def features_of(model: nn.Module, layer: str, scan: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2].detach()))
    answer(model, scan)
    handle.remove()
    return seen[0][0]


def upsampled(line: torch.Tensor) -> torch.Tensor:
    """Return a line interpolated linearly onto the record, centres to centres, beyond the outer ones constant."""
    centres = (np.arange(len(line)) + 0.5) * POINTS / len(line) - 0.5
    return torch.from_numpy(np.interp(np.arange(POINTS), centres, line.numpy()))


def test_rise_weighs_by_the_value_above_that_of_the_masked_scan():
    model, inputs = network(), records(1)
    found = attribute("rise", model, inputs, seed=4, scan_keys=["a"], n_samples=5, cells=4, output="value")[0, 0]
    expected = torch.zeros(POINTS, dtype=torch.float64)
    for sample in range(5):
        mask = random_mask((POINTS,), 4, 0.5, stream(4, "rise", "a", sample)).double()
        rise = answer(model, inputs[0] * mask) - answer(model, inputs[0] * 0)
        expected += rise * mask / (5 * 0.5)
    assert deviation(found, expected) < 1e-9


def test_scorecam_weighs_by_the_increase_of_the_value():
    model, inputs = network(), records(1)
    features = features_of(model, "block2", inputs[0])
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    for channel in features:
        mask = upsampled(channel)
        if mask.max() > mask.min():
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            total += (answer(model, inputs[0] * mask) - answer(model, inputs[0] * 0)) * channel
    for rectified in (True, False):
        found = attribute("scorecam", model, inputs, layer="block2", rectified=rectified, output="value")[0, 0]
        assert deviation(found, upsampled(total.clamp(min=0) if rectified else total)) < 1e-9


def test_ablationcam_weighs_by_the_value_that_is_lost():
    model, inputs = network(), records(1)
    features = features_of(model, "block2", inputs[0])
    head = model.get_submodule("head")
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    for number, channel in enumerate(features):
        without = features.clone()
        without[number] = 0
        with torch.no_grad():
            total += (head(features[None]) - head(without[None])).item() * channel
    found = attribute("ablationcam", model, inputs, layer="block2", rectified=False, output="value")[0, 0]
    assert deviation(found, upsampled(total)) < 1e-9


def test_gradcam_plus_plus_of_a_value_is_the_limit_of_a_flat_exponential():
    model, inputs = network(), records()
    flat = in_other_unit(model, 1e-7, 0.0)
    limit = attribute("gradcam_plus_plus", flat, inputs) * 1e7
    assert deviation(attribute("gradcam_plus_plus", model, inputs, output="value"), limit) < 1e-5


@pytest.mark.parametrize("more", RULES_OF_LRP)
def test_lrp_of_a_value_is_that_of_the_network_measured_from_an_empty_scan(more):
    model, inputs = network(2), records()
    measured = copy.deepcopy(model)
    with torch.no_grad():
        last_layer(measured).bias -= model(torch.zeros(1, LEADS, POINTS, dtype=torch.float64))[0]
    # Biases take no share unless asked: they would absorb the shift, and with it most of the value.
    expected = attribute("lrp", measured, inputs, 1, **{"bias": "ignore", **more})
    assert deviation(attribute("lrp", model, inputs, 1, output="value", **more), expected) < 1e-9


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "composite"])
def test_lrp_of_a_value_adds_up_to_its_distance_from_an_empty_scan(rule):
    model, inputs = network(), records()
    with torch.no_grad():
        promised = model(inputs)[:, 0] - model(torch.zeros_like(inputs))[:, 0]
    found = attribute("lrp", model, inputs, rule=rule, epsilon=1e-9, output="value").sum(dim=(1, 2))
    torch.testing.assert_close(found, promised, rtol=1e-5, atol=1e-7)
    absorbed = attribute("lrp", model, inputs, rule=rule, epsilon=1e-9, bias="absorb", output="value").sum(dim=(1, 2))
    assert not torch.allclose(absorbed, promised, rtol=0.01)


def test_lrp_of_a_value_without_biases_is_the_published_one():
    model, inputs = network(), records()
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias.data.zero_()
        if hasattr(module, "running_mean"):
            module.running_mean.zero_()
    for more in RULES_OF_LRP:
        torch.testing.assert_close(
            attribute("lrp", model, inputs, output="value", **more), attribute("lrp", model, inputs, **more)
        )


def test_lrp_of_a_network_that_ends_in_an_average_starts_from_the_same_difference():
    model = seasoned(
        nn.Sequential(nn.Conv1d(LEADS, 3, 4), nn.ReLU(), nn.Conv1d(3, 1, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    )
    inputs = records()
    found = attribute_with_residual("lrp", model, inputs, rule="zplus", output="value")
    with torch.no_grad():
        rise = (model(inputs) - model(inputs * 0))[:, 0]
    torch.testing.assert_close(found.maps.flatten(1).sum(1) - found.residual, rise)


# --- completeness ---------------------------------------------------------------------------------------------------

COMPLETE = {
    "integrated_gradients": ({"n_steps": 400, "rule": "middle"}, 2e-2),
    "deeplift": ({}, 1e-9),
    "deepshap": ({"n_samples": 3}, 1e-9),
    "idgi": ({"n_steps": 5}, 1e-9),
    "xrai": ({"n_steps": 200}, 5e-2),
    "lrp": ({"rule": "zplus"}, 1e-9),
}


@pytest.mark.parametrize("name", COMPLETE)
def test_maps_sum_to_the_rise_of_the_value_in_its_unit(name):
    model, inputs, background = in_other_unit(network()), records(), records(3, seed=6)
    more, tolerance = COMPLETE[name]
    more = more | ({"baseline": "zero"} if name == "xrai" else {})
    found = attribute_with_residual(name, model, inputs, background=background, output="value", **more)
    with torch.no_grad():
        below = model(background).mean() if name == "deepshap" else model(inputs * 0)[:, 0]
        rise = model(inputs)[:, 0] - below
    assert float((found.maps.flatten(1).sum(1) - rise).abs().max()) < tolerance * float(rise.abs().max())
    assert float(found.residual.abs().max()) < tolerance * float(rise.abs().max())


# --- the paper's nine, against captum -------------------------------------------------------------------------------


def published(n_outputs: int = 1, **smaller) -> nn.Module:
    settings = {"in_channels": LEADS, "n_classes": n_outputs, "shape": (600,)} | smaller
    return seasoned(build("ecg_resnet", **settings), 2)


def captum_map(name: str, model: nn.Module, scan: torch.Tensor, monkeypatch) -> torch.Tensor:
    """Return captum's map at the settings of the paper; its random numbers are ours."""
    from captum import attr

    scan = scan.clone().requires_grad_()
    if name == "expected_gradients":
        random = stream(4, "expected_gradients", "a")
        torch.randint(1, (50,), generator=random)
        positions = torch.rand(50, generator=random, dtype=torch.float64).numpy()
        monkeypatch.setattr(np.random, "uniform", lambda low, high, size: positions)
        return attr.GradientShap(model).attribute(scan, scan.detach() * 0, n_samples=50, stdevs=0.0)
    if name == "smoothgrad":
        deviations = 0.02 * float(scan.detach().max() - scan.detach().min())
        noise = torch.cat([normal(scan.detach(), 4, "smoothgrad", ["a"], copy) for copy in range(25)])
        monkeypatch.setattr(torch, "normal", lambda mean, deviation: mean + deviation * noise)
        tunnel = attr.NoiseTunnel(attr.Saliency(model))
        return tunnel.attribute(scan, nt_type="smoothgrad", nt_samples=25, stdevs=deviations, abs=False)
    if name == "gradcam":
        coarse = attr.LayerGradCam(model, list(model.children())[-2]).attribute(scan)
        return nn.functional.interpolate(coarse, size=scan.shape[2:], mode="linear")
    calls = {
        "saliency": lambda: attr.Saliency(model).attribute(scan, abs=False),
        "deconvolution": lambda: attr.Deconvolution(model).attribute(scan),
        "guided_backprop": lambda: attr.GuidedBackprop(model).attribute(scan),
        "input_x_gradient": lambda: attr.InputXGradient(model).attribute(scan),
        "deeplift": lambda: attr.DeepLift(model).attribute(scan, scan.detach() * 0),
        "integrated_gradients": lambda: attr.IntegratedGradients(model).attribute(scan, 0.0, n_steps=50),
    }
    return calls[name]()


@pytest.mark.filterwarnings("ignore:Setting")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_nine_methods_of_the_paper_equal_captum(name, monkeypatch):
    repeated = name in ("expected_gradients", "smoothgrad", "integrated_gradients")
    model = published(width=4) if repeated else published()
    if not repeated:
        assert sum(parameter.numel() for parameter in model.parameters()) == 1_653_313
    scan = records(1, 600)
    more = PUBLISHED[name] | ({"rectified": False} if name == "gradcam" else {})
    found = attribute(name, model, scan, seed=4, scan_keys=["a"], output="value", **more)
    assert found.shape == (1, 1 if name == "gradcam" else LEADS, 600) and found.abs().max() > 0
    expected = captum_map(name, copy.deepcopy(model), scan, monkeypatch).detach()
    assert deviation(found, expected) < 1e-8


def test_gradients_keep_their_sign_and_class_activation_where_it_is_asked_to():
    for name in ("saliency", "smoothgrad"):
        assert explained(name, network()).min() < 0 < explained(name, network()).max()
    for name in ("gradcam", "xgradcam", "scorecam", "ablationcam"):
        rising, falling = network(), in_other_unit(network(), -1.0, 0.0)
        signed = explained(name, rising, layer="block2", rectified=False)
        torch.testing.assert_close(explained(name, falling, layer="block2", rectified=False), -signed)
        kept = explained(name, rising, layer="block2")
        assert float(kept.min()) >= 0 and float((kept - signed).min()) >= -1e-12
        lowered = explained(name, falling, layer="block2")
        torch.testing.assert_close(kept - lowered, signed)


def test_gauss_legendre_is_exact_for_polynomials():
    class Cubed(nn.Module):
        def forward(self, x):
            return (x**4).flatten(1).sum(1, keepdim=True)

    inputs = records()
    found = attribute("integrated_gradients", Cubed(), inputs, n_steps=2, rule="gauss_legendre", output="value")
    torch.testing.assert_close(found, inputs**4)


def test_random_positions_lie_anywhere_and_stratified_ones_in_their_own_part():
    class Positions(nn.Module):
        def forward(self, x):
            return (x**2).flatten(1).sum(1, keepdim=True)

    scan = torch.ones(1, 1, 4, dtype=torch.float64)
    options = {"n_samples": 200, "baseline": "zero", "output": "value"}
    stratified, random = (
        [float(attribute("expected_gradients", Positions(), scan, seed=seed, positions=kind, **options)[0, 0, 0])
         for seed in range(30)]
        for kind in ("stratified", "random")
    )  # fmt: skip
    # 2 x the mean position: of sd 2 sqrt(1 / (12 n)), stratified smaller by n
    assert abs(np.mean(random) - 1) < 0.03 and 0.025 < np.std(random) < 0.06
    assert np.std(stratified) < 1e-3


# --- leads apart ----------------------------------------------------------------------------------------------------


def occluded_by_loops(model: nn.Module, scan: torch.Tensor, window: int, stride: int) -> torch.Tensor:
    """Return the mean fall of the windows over each point, lead by lead."""
    total, count = torch.zeros_like(scan), torch.zeros_like(scan)
    for lead in range(LEADS):
        first = 0
        while True:
            covered = scan.clone()
            covered[lead, first : first + window] = 0
            total[lead, first : first + window] += answer(model, scan) - answer(model, covered)
            count[lead, first : first + window] += 1
            if first + window >= POINTS:
                break
            first += stride
    return total / count


def small_kernels() -> nn.Module:
    settings = {"in_channels": LEADS, "n_classes": 1, "shape": (POINTS,)}
    return seasoned(build("ecg_resnet", **settings, width=3, n_blocks=1, kernel=4, stem_kernel=4), 7)


@pytest.mark.parametrize("model", [network(), small_kernels()], ids=["whole passes", "incremental passes"])
def test_occlusion_of_leads_apart_equals_explicit_loops(model):
    inputs = records()
    found = attribute("occlusion", model, inputs, window=25, stride=20, channels="apart", output="value")
    assert found.shape == inputs.shape
    for scan, one in zip(inputs, found, strict=True):
        assert deviation(one, occluded_by_loops(model, scan, 25, 20)) < 1e-9


def test_occlusion_of_leads_apart_equals_captum():
    from captum.attr import Occlusion

    model, inputs = small_kernels(), records(1)
    found = attribute("occlusion", model, inputs, window=30, stride=30, channels="apart", output="value")
    expected = Occlusion(model).attribute(inputs, sliding_window_shapes=(1, 30), strides=(1, 30))
    assert deviation(found, expected) < 1e-7  # captum averages in single precision


def test_occluded_regions_of_leads_apart():
    model, inputs = network(), records(1)
    regions = torch.zeros(POINTS, dtype=torch.long)
    regions[10:40], regions[60:90] = 3, 7
    found = attribute("occlusion", model, inputs, by="region", regions=regions, channels="apart", output="value")[0]
    for lead in range(LEADS):
        for label in (3, 7):
            covered = inputs[0].clone()
            covered[lead, regions == label] = 0
            fall = answer(model, inputs[0]) - answer(model, covered)
            torch.testing.assert_close(found[lead, regions == label], torch.full((30,), fall, dtype=torch.float64))
    assert bool((found[:, regions == 0] == 0).all())


def test_leads_together_are_one_map_and_another_word_is_refused():
    assert explained("occlusion", network(), window=30).shape == (2, 1, POINTS)
    with pytest.raises(ConfigError) as caught:
        explained("occlusion", network(), channels="lead")
    assert caught.value.field == "channels"


@pytest.mark.parametrize("name", ["random_noise", "smooth_noise"])
def test_noise_is_independent_between_leads_and_records(name):
    maps = attribute(name, network(), torch.zeros(3, LEADS, 4000, dtype=torch.float64), seed=1, output="value")
    lines = maps.flatten(0, 1)
    correlation = torch.corrcoef(lines) - torch.eye(len(lines))
    assert float(correlation.abs().max()) < (0.08 if name == "random_noise" else 0.2)
    torch.testing.assert_close(lines.std(1), torch.ones(len(lines), dtype=torch.float64), rtol=0, atol=0.05)


def test_controls_of_signals_look_along_each_lead_alone():
    inputs = records()
    expected = np.abs(np.gradient(np.pad(inputs.numpy(), ((0, 0), (0, 0), (1, 1)), mode="edge"), axis=2))[..., 1:-1]
    torch.testing.assert_close(attribute("edges", network(), inputs), torch.from_numpy(expected))
    assert torch.equal(attribute("input_magnitude", network(), inputs), inputs.abs())
    centred = attribute("centre_prior", network(), inputs)
    assert centred.shape == inputs.shape and torch.equal(centred[0, 0], centred[1, 7])
    torch.testing.assert_close(centred[0, 0], centred[0, 0].flip(0))


def test_a_signal_has_no_anatomical_prior():
    with pytest.raises(ConfigError, match="prior") as caught:
        attribute("anatomical_prior", network(), records(), output="value")
    assert caught.value.field == "anatomical_prior.prior"
    with pytest.raises(ConfigError, match="grid|shape"):
        attribute("anatomical_prior", network(), records(), prior=torch.rand(8, 8, 8), output="value")


# --- margins that differ ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (nn.Conv1d(3, 5, 50, padding="same"), (60,)),
        (nn.Conv1d(4, 6, 8, padding="same", dilation=3, groups=2), (41,)),
        (nn.Conv2d(3, 5, (4, 3), padding="same"), (9, 8)),
        (nn.Conv3d(2, 3, (2, 4, 3), padding="same"), (5, 6, 7)),
        (nn.Conv1d(3, 5, 4, padding=1, stride=3), (20,)),
        (nn.Conv2d(3, 5, (3, 4), padding=(0, 2), stride=(2, 3)), (10, 9)),
    ],
)
def test_a_transposed_convolution_is_the_gradient_whatever_the_margins(layer, sizes):
    layer = layer.double()
    values = torch.randn(2, layer.in_channels, *sizes, dtype=torch.float64).requires_grad_()
    outputs = layer(values)
    weights = torch.randn_like(outputs)
    (expected,) = torch.autograd.grad(outputs, values, weights)
    found = Convolution(layer).transpose(weights, layer.weight.detach(), values.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("axis_end", ["before", "after"])
def test_a_transposed_convolution_with_more_zeros_at_one_end(axis_end):
    layer = nn.Conv1d(2, 3, 4, stride=3).double()
    convolution = Convolution(layer)
    convolution.margins = [4, 1] if axis_end == "before" else [1, 4]
    convolution.is_plain = False
    values = torch.randn(2, 2, 17, dtype=torch.float64).requires_grad_()
    outputs = convolution.apply(values, layer.weight)
    weights = torch.randn_like(outputs)
    (expected,) = torch.autograd.grad(outputs, values, weights)
    torch.testing.assert_close(convolution.transpose(weights, layer.weight.detach(), values.detach()), expected)
