"""Model parameter randomisation: what is re-drawn, and which methods notice."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from attribution.networks import CONVOLUTION, MAXIMUM, NORMALISATION, convolutional, scans
from heatproof.attribution import attribute
from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.metrics.randomisation import (
    cascading,
    efficient,
    histogram_entropy,
    randomised,
    similarity,
    smooth,
    stages,
)
from heatproof.models import build

AXES = (1, 2, 3)
SIZE = {1: (40,), 2: (20, 20), 3: (10, 10, 10)}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def states(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# Layers


def test_stages_run_from_the_output_to_the_input_and_take_normalisations_along():
    model = convolutional(2)
    assert stages(model) == [("11",), ("9",), ("4",), ("0", "1")]
    assert stages(model, "bottom_up") == stages(model)[::-1]


def test_order_is_that_of_the_calls_not_of_the_listing_and_an_unused_layer_is_no_stage():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.output = nn.Linear(4, 2)
            self.spare = nn.Linear(9, 9)
            self.scale = nn.BatchNorm1d(6)
            self.shared, self.middle = nn.Linear(4, 4), nn.Linear(4, 4)
            self.entry = nn.Linear(6, 4)

        def forward(self, values):
            hidden = self.middle(self.shared(self.entry(self.scale(values)).relu()).relu())
            return self.output(nn.functional.linear(hidden, self.shared.weight))

    assert stages(Backwards()) == [("output",), ("shared",), ("middle",), ("scale", "entry")]


def test_a_network_without_a_graph_is_taken_as_it_is_listed():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, values):
            return self.two(self.one(values)) if values.sum() > 0 else self.two(values)

    assert stages(Branching()) == [("two",), ("one",)]


@pytest.mark.parametrize("name", ["resnet", "densenet"])
def test_every_weight_of_a_real_network_is_redrawn_exactly_once(name):
    model = build(name, shape=(32, 32))
    named = [layer for stage in stages(model) for layer in stage]
    assert len(named) == len(set(named))
    held = {key.rpartition(".")[0] for key in model.state_dict()}
    assert set(named) == held


def test_weights_that_cannot_be_drawn_anew_are_refused_before_anything_is_explained():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))
            self.layer = nn.Linear(3, 2)

        def forward(self, values):
            return self.layer(self.gain * values)

    def never(network):
        raise AssertionError("explained")

    with pytest.raises(UnsupportedModelError, match="reset_parameters"):
        cascading(Bare(), never, seed=1)
    with pytest.raises(UnsupportedModelError, match="no trainable weights"):
        cascading(nn.Sequential(nn.ReLU()), never, seed=1)
    with pytest.raises(ConfigError, match="order"):
        stages(convolutional(1), "sideways")
    for layers in (0, -1, 1.5, True):
        with pytest.raises(ConfigError, match="layers"):
            cascading(convolutional(1), never, seed=1, layers=layers)


def test_redrawing_leaves_the_network_and_the_global_random_state_untouched():
    model = convolutional(2).train()
    before, random_before = states(model), torch.get_rng_state()
    for _, network in randomised(model, seed=3):
        assert not network.training and not any(weight.requires_grad for weight in network.parameters())
    assert torch.equal(torch.get_rng_state(), random_before) and model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.requires_grad for weight in model.parameters())


def test_each_stage_redraws_its_own_layers_and_no_other():
    model = convolutional(2)
    before = states(model)
    redrawn: set[str] = set()
    for names, network in randomised(model, seed=3):
        redrawn |= set(names)
        for name, tensor in network.state_dict().items():
            # A count of batches stays 0: these networks were never trained.
            assert torch.equal(tensor, before[name]) != (name.rpartition(".")[0] in redrawn) or "batches" in name
    assert redrawn == {"0", "1", "4", "9", "11"}


def test_normalisations_forget_their_gains_and_running_statistics():
    *_, (_, network) = randomised(convolutional(3), seed=3)
    scale = network.get_submodule("1")
    for tensor, value in ((scale.weight, 1), (scale.bias, 0), (scale.running_mean, 0), (scale.running_var, 1)):
        assert (tensor == value).all()


def test_weights_come_from_the_layers_own_initialisation():
    model = nn.Sequential(nn.Linear(400, 300))
    nn.init.constant_(model[0].weight, 9.0)
    ((_, network),) = randomised(model, seed=1)
    weight = network.get_submodule("0").weight
    assert weight.abs().max() <= 400**-0.5
    assert weight.std() == pytest.approx((400 * 3) ** -0.5, rel=0.02)


def test_new_weights_depend_on_seed_and_layer_alone():
    model = convolutional(2)
    ends = {}
    for name, options in {"all": {}, "two": {"layers": 2}, "up": {"order": "bottom_up"}}.items():
        *_, (_, network) = randomised(model, seed=3, **options)
        ends[name] = states(network)
    *_, (_, network) = randomised(model, seed=4)
    assert all(
        torch.equal(ends["all"][k], ends["two"][k]) and torch.equal(ends["all"][k], ends["up"][k]) for k in ends["all"]
    )
    assert not torch.equal(ends["all"]["0.weight"], network.state_dict()["0.weight"])
    # Layers of one shape do not share their numbers.
    twins = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    *_, (_, network) = randomised(twins, seed=3)
    assert not torch.equal(network.get_submodule("0").weight, network.get_submodule("1").weight)


@pytest.mark.parametrize(
    ("layers", "chosen"), [(1, [10]), (2, [5, 10]), (3, [3, 7, 10]), (4, [3, 5, 8, 10]), (99, range(1, 11))]
)
def test_stages_are_chosen_evenly_and_the_last_is_among_them(layers, chosen):
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(10)])
    sizes = [len(names) for names, _ in randomised(model, seed=1, layers=layers)]
    assert np.cumsum(sizes).tolist() == list(chosen)


# Tests


def test_cascading_equals_explaining_each_randomised_network_in_a_loop():
    model, inputs = convolutional(2), scans(2)
    target = torch.tensor([0, 1, 2])

    def explain(network):
        return attribute("saliency", network, inputs, target)

    result = cascading(model, explain, seed=5, layers=3)
    original, slow = explain(model), []
    for _, network in randomised(model, seed=5, layers=3):
        maps = explain(copy.deepcopy(network))
        slow.append([similarity(original[i], maps[i]) for i in range(3)])
    np.testing.assert_array_equal(result.similarities, slow)
    np.testing.assert_allclose(result.score, np.mean(slow, axis=0))
    assert result.layers == (("11",), ("9", "4"), ("0", "1"))
    absolute = cascading(model, explain, seed=5, layers=3, similarity="absolute_spearman", mask=np.eye(12, 11) > 0)
    picked = [similarity(original[i], maps[i], "absolute_spearman", np.eye(12, 11) > 0) for i in range(3)]
    np.testing.assert_array_equal(absolute.similarities[-1], picked)


@pytest.mark.parametrize("n_axes", AXES)
def test_a_method_that_ignores_the_network_never_changes(n_axes):
    model, inputs = convolutional(n_axes), scans(n_axes)
    for method in ("edges", "random_noise"):
        result = cascading(model, lambda network, method=method: attribute(method, network, inputs, 0), seed=1)
        assert result.similarities.shape == (4, 3) and (result.similarities == pytest.approx(1))
        again = smooth(model, lambda network, moved, method=method: attribute(method, network, moved, 0), inputs,
                       seed=1, n_noise=3)  # fmt: skip
        assert again.similarities == pytest.approx(1)
        risen = efficient(model, lambda network, method=method: attribute(method, network, inputs, 0), seed=1)
        assert risen == pytest.approx(0)


def test_a_method_that_shows_the_weights_loses_all_likeness():
    model = nn.Sequential(nn.Flatten(), nn.Linear(50 * 50, 2))
    result = cascading(model, lambda network: network[1].weight.reshape(2, 50, 50), seed=1)
    # The spread of a rank correlation of 2,500 unrelated voxels is 0.02.
    assert np.abs(result.similarities).max() < 0.1


def trained(n_axes: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network that has learnt to see a bright corner, with scans and their classes."""
    size, stream = SIZE[n_axes], torch.Generator().manual_seed(0)
    inputs, target = torch.randn(64, 1, *size, generator=stream), torch.arange(64) % 2
    corner = torch.zeros(size)
    corner[tuple([slice(2, 6)] * n_axes)] = 1.5
    inputs = inputs + target.reshape(-1, 1, *[1] * n_axes) * corner
    convolution, scale = CONVOLUTION[n_axes], NORMALISATION[n_axes]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = [convolution(1, 6, 3, padding=1), scale(6), nn.ReLU(), convolution(6, 8, 3, padding=1), scale(8)]
        layers += [nn.ReLU(), MAXIMUM[n_axes](2), nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2)]
        model = nn.Sequential(*layers)
        model(inputs[:2])
    steps = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(25):
        steps.zero_grad()
        nn.functional.cross_entropy(model(inputs), target).backward()
        steps.step()
    model.eval()
    assert (model(inputs).argmax(1) == target).all()
    return model, inputs[:6], target[:6]


@pytest.mark.parametrize("n_axes", AXES)
def test_guided_backpropagation_outlives_the_weights_and_the_gradient_does_not(n_axes):
    """Adebayo et al. 2018, figure 3; and Binder et al. 2022: what multiplies with the scan keeps a floor."""
    model, inputs, target = trained(n_axes)
    scores = {}
    for method in ("saliency", "guided_backprop", "input_x_gradient"):
        result = cascading(model, lambda network, method=method: attribute(method, network, inputs, target), seed=1)
        # Guided backpropagation shows nothing at all for some scans of the second class: these are not tested.
        dead = attribute(method, model, inputs, target).flatten(1).abs().amax(1) == 0
        assert np.isnan(result.score).tolist() == dead.tolist() and dead.sum() <= 3
        scores[method] = np.nanmean(result.score)
    assert scores["guided_backprop"] > scores["saliency"] + 0.25
    floor = cascading(model, lambda network: attribute("input_x_gradient", network, inputs, target), seed=1,
                      similarity="absolute_spearman").similarities[-1].mean()  # fmt: skip
    assert floor > 0.35 > abs(scores["input_x_gradient"])


@pytest.mark.parametrize("kind", ["spearman", "ssim"])
def test_a_dead_map_is_not_tested_and_a_map_that_dies_has_lost_everything(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    trained = np.random.default_rng(0).normal(size=(4, 20, 20))
    trained[0], trained[3, 0, 0] = 0, np.inf
    stages = [trained.copy(), trained.copy()]
    # scan 1 dies at the last stage, scan 2 breaks there; scan 0 was dead and wakes up, scan 3 was broken and dies
    stages[1][0], stages[1][1], stages[1][2, 0, 0], stages[1][3] = trained[1], 0.5, np.nan, 0

    def cascade(test, *inputs):
        left = iter([trained, *stages])
        return test(model, lambda *given: next(left), *inputs, seed=1, similarity=kind)

    for result in (
        cascade(cascading),
        cascade(lambda *given, **more: smooth(*given, n_noise=1, noise_level=0.0, **more), torch.ones(4, 4)),
    ):
        np.testing.assert_allclose(result.similarities, [[np.nan, 1, 1, np.nan], [np.nan, 0, np.nan, np.nan]])
        np.testing.assert_allclose(result.score, [np.nan, 0.5, np.nan, np.nan])


def test_smoothing_without_noise_is_the_cascade_from_below():
    model, inputs = convolutional(2), scans(2)

    def explain(network, moved=inputs):
        return attribute("input_x_gradient", network, moved, 1)

    plain = cascading(model, explain, seed=2, order="bottom_up")
    silent = smooth(model, explain, inputs, seed=2, n_noise=4, noise_level=0.0)
    np.testing.assert_allclose(silent.similarities, plain.similarities, atol=1e-12)
    assert silent.layers == plain.layers == (("0", "1"), ("4",), ("9",), ("11",))


def test_smoothing_compares_means_over_noisy_copies_of_known_size():
    model, inputs = convolutional(1), scans(1)
    seen: list[torch.Tensor] = []

    def explain(network, moved):
        seen.append(moved)
        return attribute("saliency", network, moved, 0)

    result = smooth(model, explain, inputs, seed=2, n_noise=40, noise_level=0.2, layers=1)
    copies = [torch.stack(seen[start : start + 40]) for start in (0, 40)]
    assert len(seen) == 80 and torch.equal(*copies)
    noise = (copies[0] - inputs).flatten(2)
    wanted = 0.2 * (inputs.flatten(1).amax(1) - inputs.flatten(1).amin(1))
    torch.testing.assert_close(noise.std(dim=(0, 2)), wanted, rtol=0.1, atol=0)
    ((_, network),) = randomised(model, seed=2, layers=1)
    before, after = (
        torch.stack([attribute("saliency", net, copy, 0) for copy in copies[0]]).mean(0) for net in (model, network)
    )
    slow = [similarity(one, two) for one, two in zip(before, after, strict=True)]
    np.testing.assert_allclose(result.similarities[0], slow, atol=1e-12)


def test_noise_belongs_to_the_scan_whatever_its_company():
    model, inputs = convolutional(2), scans(2)

    def explain(network, moved):
        return attribute("saliency", network, moved, 0)

    settings = {"seed": 2, "n_noise": 3}
    whole = smooth(model, explain, inputs, scan_keys=["a", "b", "c"], **settings).similarities
    turned = smooth(model, explain, inputs.flip(0), scan_keys=["c", "b", "a"], **settings).similarities
    np.testing.assert_allclose(turned[:, ::-1], whole, atol=1e-12)
    for wrong in ({"n_noise": 0}, {"noise_level": -0.1}):
        with pytest.raises(ConfigError):
            smooth(model, explain, inputs, seed=2, **wrong)


@pytest.mark.parametrize("n_axes", AXES)
def test_the_efficient_test_is_the_relative_rise_of_the_histograms_entropy(n_axes):
    model, inputs = convolutional(n_axes), scans(n_axes)

    def explain(network):
        return attribute("input_x_gradient", network, inputs, 0)

    ((_, network),) = randomised(model, seed=4, layers=1)
    slow = []
    for one, two in zip(explain(model).numpy(), explain(network).numpy(), strict=True):
        entropies = []
        for heatmap in (one, two):
            low, high = heatmap.min(), heatmap.max()
            counts = [0] * 20
            for value in heatmap.ravel():
                counts[min(int((value - low) / (high - low) * 20), 19)] += 1
            shares = [count / heatmap.size for count in counts if count]
            entropies.append(-sum(share * np.log(share) for share in shares))
        slow.append((entropies[1] - entropies[0]) / entropies[0])
    np.testing.assert_allclose(efficient(model, explain, seed=4, n_bins=20), slow, atol=1e-9)


def test_entropy_of_known_histograms():
    assert histogram_entropy(np.arange(100.0), 100) == pytest.approx(np.log(100))
    assert histogram_entropy(np.full((4, 4), 3.0)) == 0
    assert histogram_entropy(torch.tensor([0.0, 0.0, 0.0, 1.0]), 2) == pytest.approx(
        -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    )
    values = np.random.default_rng(0).normal(size=(9, 9))
    assert histogram_entropy(values * 30, 15) == histogram_entropy(values, 15)
    assert histogram_entropy(values[None], 15, np.eye(9) > 0) == histogram_entropy(np.diag(values), 15)
    values[0, 0] = np.nan
    assert np.isnan(histogram_entropy(values))


def test_a_constant_map_has_no_relative_rise():
    model, inputs = convolutional(1), scans(1)
    assert np.isnan(efficient(model, lambda network: torch.zeros_like(inputs), seed=1)).all()
    with pytest.raises(ConfigError, match="bins"):
        efficient(model, lambda network: inputs, seed=1, n_bins=1)
