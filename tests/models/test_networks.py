"""Networks: the parameter counts of the papers, reproducible weights, any number of axes, clear refusals."""

from __future__ import annotations

import pytest
import torch
from published_networks import LEAST
from torch import nn

from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.models import NETWORKS, NetworkSpec, build
from heatproof.models.monai_networks import traceable

# studies/alzheimers: parameters at n = 24 / 44 / 52 on 1 x 193 x 229 x 193.
PUBLISHED_COUNTS = {
    "wang_a": (239_186, 705_866, 960_634),
    "wang_b": (186_290, 436_410, 560_650),
    "wang_c": (342_362, 957_502, 1_287_558),
    "wang_d": (526_658, 1_569_058, 2_139_682),
}
SMALL = {
    "wang_a": {"width": 4, "n_blocks": 2},
    "wang_b": {"width": 4, "n_blocks": 3},
    "wang_c": {"width": 4, "n_blocks": 2},
    "wang_d": {"width": 4, "n_blocks": 2},
    "boehle": {"n_blocks": 3},
    "liu": {"width": 4, "n_blocks": 3},
    "resnet": {"width": 4},
    "densenet": {"width": 4, "growth": 2},
    "ecg_resnet": {"width": 3, "n_blocks": 2, "kernel": 5, "stem_kernel": 4},
    "linear_svm": {},
}
SHAPES = [(200,), (48, 44), (38, 46, 38)]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        (name, width, number)
        for name, numbers in PUBLISHED_COUNTS.items()
        for width, number in zip((24, 44, 52), numbers, strict=True)
    ],
)
def test_wang_networks_have_the_published_numbers_of_parameters(name, width, expected):
    with torch.device("meta"):
        assert count(build(name, width=width)) == expected


def test_boehle_network_has_exactly_the_published_number_of_parameters():
    with torch.device("meta"):
        assert count(build("boehle")) == 728_898


def test_the_classifier_of_the_simulators_has_the_published_widths_and_1024_features():
    with torch.device("meta"):
        network = build("liu", shape=(64, 64, 64), n_classes=1)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 16]
    assert (network.classifier.hidden.in_features, network.classifier.hidden.out_features) == (1024, 64)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{len(shape)}d")
@pytest.mark.parametrize("name", SMALL)
def test_every_network_maps_scans_to_logits_on_any_number_of_axes(name, shape):
    network = build(name, in_channels=2, shape=shape, **SMALL[name]).eval()
    inputs = torch.randn(3, 2, *shape, generator=torch.Generator().manual_seed(0))
    logits = network(inputs)
    assert logits.shape == (3, 2)
    torch.testing.assert_close(network(inputs[:1]), logits[:1], rtol=1e-4, atol=1e-5)


def test_every_registered_network_is_tested_and_cited():
    assert set(SMALL) | set(LEAST) == set(NETWORKS)  # LEAST: in test_published_networks
    assert all(network.citation for network in NETWORKS.values())


@pytest.mark.parametrize("name", [name for name in SMALL if name != "linear_svm"])
def test_every_rectifier_is_a_module_of_its_own_that_works_out_of_place(name):
    network = build(name, shape=(38, 46, 38), **SMALL[name])
    calls = [node.target for node in torch.fx.symbolic_trace(network).graph.nodes if node.op == "call_module"]
    rectifiers = [target for target in calls if isinstance(network.get_submodule(target), nn.ReLU)]
    assert rectifiers
    assert len(set(calls)) == len(calls)
    assert not any(network.get_submodule(target).inplace for target in rectifiers)


def test_rewriting_a_monai_network_changes_neither_its_numbers_nor_its_weights():
    from monai.networks.nets import ResNet

    original = ResNet("basic", [1, 1, 1, 1], [4, 8, 16, 32], spatial_dims=2, n_input_channels=1, num_classes=2).eval()
    inputs = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = original(inputs)
    rewritten = traceable(original)
    assert torch.equal(rewritten(inputs), expected)
    assert list(rewritten.state_dict()) == list(original.state_dict())


def test_weights_depend_on_the_seed_alone_and_leave_the_global_random_state():
    state = torch.random.get_rng_state()
    first, again, other = (build("wang_b", shape=(40, 40), n_blocks=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    later = build("wang_b", shape=(40, 40), n_blocks=2, seed=3)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert torch.equal(tensor, later.state_dict()[name])
    assert not torch.equal(first[0][0][0].weight, other[0][0][0].weight)


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "words"),
    [
        ("wang_b", (38, 46, 38), {}, ("wang_b", "38 x 46 x 38", "block 4", "n_blocks to 3")),
        ("boehle", (20, 20), {}, ("boehle", "20 x 20", "block 3", "n_blocks to 2")),
        ("wang_d", (6, 6), {}, ("wang_d", "block 1", "another network")),
        ("densenet", (8, 8), {"layers": [1] * 5}, ("densenet", "8 x 8", "at most 2")),
        ("wang_c", (64, 64), {"n_blocks": 7}, ("wang_c", "7 blocks", "1 to 4")),
        ("resnet", (64, 64), {"layers": [1, 1]}, ("four stages",)),
        ("wang_b", (64, 64), {"widht": 8}, ("widht", "width, n_blocks, dropout")),
        ("wang_b", (9, 9, 9, 9), {}, ("4 space axes",)),
        ("wang_z", (64, 64), {}, ("wang_z", "boehle")),
        ("linear_svm", (8, 8), {"n_classes": 3}, ("two classes",)),
    ],
)
def test_a_network_that_cannot_be_built_says_why_and_what_to_do(name, shape, parameters, words):
    with pytest.raises(ConfigError) as caught:
        build(name, shape=shape, **parameters)
    assert all(word in str(caught.value) for word in words)


def test_the_deepest_densenet_that_is_allowed_runs_and_keeps_a_voxel():
    network = build("densenet", shape=(9, 20), layers=[1, 1], width=4, growth=2).eval()
    assert network(torch.zeros(1, 1, 9, 20)).shape == (1, 2)


def test_a_specification_survives_its_description():
    spec = NetworkSpec("resnet", (30, 31), 2, 3, {"layers": [1, 1, 1, 1], "width": 4})
    assert NetworkSpec.from_dict(spec.as_dict()) == spec


def test_a_layer_with_weights_that_is_called_twice_is_refused_by_name():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Linear(3, 3)

        def forward(self, x):
            return self.shared(self.shared(x))

    with pytest.raises(UnsupportedModelError, match=r"shared: a Linear is called more than once"):
        traceable(Twice())
