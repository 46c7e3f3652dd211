"""The nine image networks: the published layers and numbers, any number of axes, explainable, trainable."""

from __future__ import annotations

import itertools

import pytest
import torch
from keras_networks import ORACLES
from published_networks import LEAST, NARROW, narrow, scans
from torch import nn

from heatproof.attribution import attribute
from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.models import NETWORKS, NetworkSpec, build, load_foreign_weights, load_weights, save_weights
from heatproof.models.convolutions import neighbourhood_mean
from heatproof.models.efficientnet import rounded_share
from heatproof.models.joins import ScaledResidual, StochasticDepth

# Keras' applications without their top, for three channels: all parameters, and those that are trained. The others
# are the moving statistics. EfficientNet has 7 more in a normalisation layer at its input, which is not ours.
KERAS_COUNTS = {
    "vgg16": (14_714_688, 14_714_688),
    "vgg19": (20_024_384, 20_024_384),
    "resnet50": (23_587_712, 23_534_592),
    "resnet50_v2": (23_564_800, 23_519_360),
    "densenet121": (7_037_504, 6_953_856),
    "inception_v3": (21_802_784, 21_768_352),
    "inception_resnet_v2": (54_336_736, 54_276_192),
    "xception": (20_861_480, 20_806_952),
    "efficientnet_b0": (4_049_571 - 7, 4_007_548),
}
# Input length, and of some blocks the channels and the length behind them, as in the tables of the papers; of
# ResNet50V2, whose stages end with the step, as in Keras.
VGG_BLOCKS = {"block1": (64, 112), "block2": (128, 56), "block3": (256, 28), "block4": (512, 14), "block5": (512, 7)}
SHAPES = {
    "vgg16": (224, VGG_BLOCKS),
    "vgg19": (224, VGG_BLOCKS),
    "resnet50": (
        224,
        {"stem": (64, 56), "stage1_block3": (256, 56), "stage2_block4": (512, 28), "stage3_block6": (1024, 14),
         "stage4_block3": (2048, 7)},
    ),
    "resnet50_v2": (
        224,
        {"stem": (64, 56), "stage1_block2": (256, 56), "stage1_block3": (256, 28), "stage2_block4": (512, 14),
         "stage3_block6": (1024, 7), "stage4_block3": (2048, 7)},
    ),
    "densenet121": (
        224,
        {"features.pool0": (64, 56), "features.transition1.norm": (256, 56), "features.transition1.pool": (128, 28),
         "features.transition2.pool": (256, 14), "features.transition3.pool": (512, 7), "features.norm5": (1024, 7)},
    ),
    "inception_v3": (
        299,
        {"stem": (192, 35), "mixed0": (256, 35), "mixed1": (288, 35), "mixed2": (288, 35), "mixed3": (768, 17),
         "mixed7": (768, 17), "mixed8": (1280, 8), "mixed9": (2048, 8), "mixed10": (2048, 8)},
    ),
    "inception_resnet_v2": (
        299,
        {"stem": (192, 35), "mixed0": (320, 35), "mixed1": (1088, 17), "mixed2": (2080, 8), "last": (1536, 8)},
    ),
    "xception": (
        299,
        {"stem": (64, 147), "entry1": (128, 74), "entry2": (256, 37), "entry3": (728, 19), "middle8": (728, 19),
         "exit": (1024, 10), "last": (2048, 10)},
    ),
    "efficientnet_b0": (
        224,
        {"stem": (32, 112), "stage1_block1": (16, 112), "stage2_block2": (24, 56), "stage3_block2": (40, 28),
         "stage4_block3": (80, 14), "stage5_block3": (112, 14), "stage6_block4": (192, 7), "stage7_block1": (320, 7),
         "last": (1280, 7)},
    ),
}  # fmt: skip
METHODS = {
    "saliency": {},
    "integrated_gradients": {"n_steps": 2},
    "guided_backprop": {},
    "gradcam": {},
    "gradcam_plus_plus": {},
    "scorecam": {},
    "guided_ig": {"n_steps": 2, "fraction": 0.5, "max_distance": 1.0},
    "xrai": {"n_steps": 2},
    "deeplift": {},
    "lrp": {"rule": "zplus"},
    "lrp_composite": {"rule": "composite"},
}
# Every pair that is refused, and why; all other pairs of the nine networks and these methods give a map.
REFUSED = {
    ("efficientnet_b0", "guided_backprop"): "has no nn.ReLU layer",
    ("efficientnet_b0", "gradcam_plus_plus"): "No rectifier that is a layer of its own follows the deepest convolution",
    ("efficientnet_b0", "deeplift"): "multiplies two things that both depend on the scan",
    ("efficientnet_b0", "lrp"): "no relevance rule for the layer SiLU",
    ("efficientnet_b0", "lrp_composite"): "no relevance rule for the layer SiLU",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def head_of(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def trained(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", KERAS_COUNTS)
def test_every_network_has_exactly_the_parameters_of_keras(name):
    with torch.device("meta"):
        network = build(name, in_channels=3, shape=(299, 299))
    head = head_of(network)
    counted = trained(network) - head.weight.numel() - head.bias.numel()
    statistics = sum(
        buffer.numel() for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    assert (counted + statistics, counted) == KERAS_COUNTS[name]


@pytest.mark.parametrize(("name", "expected"), [("vgg16", 138_357_544), ("vgg19", 143_667_240)])
def test_vgg_with_its_published_head_has_the_published_number_of_parameters(name, expected):
    with torch.device("meta"):
        network = build(name, in_channels=3, shape=(224, 224), n_classes=1000, head="published")
    assert trained(network) == expected


@pytest.mark.parametrize("name", SHAPES)
def test_every_block_returns_the_published_channels_and_grid(name):
    length, expected = SHAPES[name]
    found = {}
    with torch.device("meta"):
        network = build(name, in_channels=3, shape=(length, length)).eval()
        for block in expected:
            network.get_submodule(block).register_forward_hook(
                lambda module, inputs, outputs, block=block: found.update({block: tuple(outputs.shape[1:])})
            )
        network(torch.empty(1, 3, length, length))
    assert found == {block: (channels, size, size) for block, (channels, size) in expected.items()}


@pytest.mark.parametrize("name", ORACLES)
def test_every_network_computes_what_keras_layers_compute_written_out(name):
    length = max(LEAST[name], 40) + 5
    network, inputs = narrow(name, length=length), scans(name, length=length)
    with torch.no_grad():
        expected = ORACLES[name](network, inputs)
        torch.testing.assert_close(network(inputs), expected, rtol=1e-4, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-4


def test_densenet121_is_the_densenet_of_the_published_layers():
    named, plain = (
        build("densenet121", shape=(32, 32), width_share=0.25, seed=4).eval(),
        build("densenet", shape=(32, 32), width=16, growth=8, layers=(6, 12, 24, 16), seed=4).eval(),
    )
    assert torch.equal(named(scans("densenet121")), plain(scans("densenet121")))


@pytest.mark.parametrize(("name", "axes"), itertools.product(LEAST, (1, 2, 3)))
def test_every_network_takes_its_least_grid_on_any_number_of_axes_and_every_weight_has_a_gradient(name, axes):
    length = max(LEAST[name], 2)
    rest = {"stochastic_depth": 0.0} if name == "efficientnet_b0" else {}
    network = build(name, in_channels=2, n_classes=3, shape=(length,) * axes, dropout=0.0, **NARROW[name], **rest)
    inputs = torch.randn(4, 2, *(length,) * axes, generator=torch.Generator().manual_seed(0))
    logits = network.train()(inputs)
    assert logits.shape == (4, 3)
    (logits * torch.arange(1.0, 4.0)).sum().backward()
    assert all(each.grad is not None for each in network.parameters() if each.requires_grad)
    network.eval()
    with torch.no_grad():
        together, alone = network(inputs), network(inputs[:1])
    torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, least in LEAST.items() if least > 1])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_grid_that_is_one_voxel_too_small_is_refused_with_the_least_that_is_enough(name, axes):
    shape = (LEAST[name],) * (axes - 1) + (LEAST[name] - 1,)
    with pytest.raises(ConfigError, match=f"'{name}'.*at least {LEAST[name]} voxels along every axis"):
        build(name, shape=shape, **NARROW[name])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"width_share": 0.0}, ("width_share", "above 0")), ({"head": "deep"}, ("head", "pooled or published"))],
)
def test_a_wrong_parameter_names_key_and_remedy(parameters, words):
    with pytest.raises(ConfigError) as caught:
        build("vgg16", shape=(32, 32), **parameters)
    assert all(word in str(caught.value) for word in words)


def test_every_image_network_is_tested_here():
    assert set(LEAST) == {name for name, network in NETWORKS.items() if "width_share" in network.parameters}


@pytest.mark.parametrize("name", LEAST)
def test_every_layer_is_called_once_and_nothing_works_in_place(name):
    network = narrow(name)
    nodes = list(torch.fx.symbolic_trace(network).graph.nodes)
    calls = [node.target for node in nodes if node.op == "call_module"]
    assert len(set(calls)) == len(calls)
    assert not any(getattr(module, "inplace", False) for module in network.modules())
    functions = {getattr(node.target, "__name__", node.target) for node in nodes if node.op.startswith("call_f")}
    assert functions <= {"add", "cat", "mul"}
    # the mean of a pair is the one method that is called, where an axis has two voxels
    assert {node.target for node in nodes if node.op == "call_method"} <= {"mean"}


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_long_kernel_becomes_one_along_each_axis_in_turn(axes):
    network = build("inception_v3", shape=(75,) * axes, **NARROW["inception_v3"])
    once, twice = (
        [module.kernel_size for module in branch if hasattr(module, "kernel_size")]
        for branch in network.get_submodule("mixed4").branches[1:3]
    )
    lines = [tuple(7 if each == axis else 1 for each in range(axes)) for axis in range(axes)]
    assert once == [(1,) * axes, *reversed(lines)]
    assert twice == [(1,) * axes, *lines, *lines]


@pytest.mark.parametrize("space", [(1,), (2,), (5,), (2, 4), (1, 2), (3, 2, 1), (4, 3, 5), (2, 2, 2)])
def test_the_mean_over_neighbours_counts_those_inside_the_grid(space):
    values = torch.randn(2, 3, *space, generator=torch.Generator().manual_seed(0))
    expected = torch.empty_like(values)
    for place in itertools.product(*map(range, space)):
        around = [slice(max(0, at - 1), at + 2) for at in place]
        expected[(..., *place)] = values[(..., *around)].flatten(2).mean(2)
    torch.testing.assert_close(neighbourhood_mean(space)(values), expected)


def test_a_scaled_residual_adds_a_share_of_its_body():
    body = nn.Linear(3, 3)
    values = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ScaledResidual(body, 0.17)(values), values + 0.17 * body(values))


def test_stochastic_depth_drops_whole_scans_keeps_the_mean_and_is_off_in_evaluation():
    layer, values = StochasticDepth(0.25), torch.full((4000, 2, 3), 5.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = layer.train()(values)
    per_scan = dropped.flatten(1)
    assert torch.equal(per_scan.amin(1), per_scan.amax(1))
    torch.testing.assert_close(per_scan[:, 0].unique(), torch.tensor([0.0, 5.0 / 0.75]))
    assert (per_scan[:, 0] == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(layer.eval()(values), values)


def test_blocks_of_efficientnet_are_skipped_more_often_the_deeper_they_are():
    network = build("efficientnet_b0", shape=(32, 32), width_share=1.0, stochastic_depth=0.2)
    shares = [module.dropout.p for module in network.modules() if isinstance(module, StochasticDepth)]
    # Blocks with a residual sum among the 16, counted from 0.
    assert shares == pytest.approx([0.2 * block / 16 for block in (2, 4, 6, 7, 9, 10, 12, 13, 14)])


@pytest.mark.parametrize(("channels", "share", "expected"), [(32, 1.0, 32), (32, 1.1, 32), (32, 1.2, 40), (40, 0.2, 8),
                                                             (80, 0.1, 8), (112, 0.25, 32), (16, 0.05, 8)])  # fmt: skip
def test_efficientnets_channels_are_multiples_of_eight_at_most_a_tenth_below(channels, share, expected):
    assert rounded_share(channels, share) == expected


@pytest.mark.parametrize("name", ["inception_v3", "inception_resnet_v2"])
def test_inception_normalises_without_a_factor_of_its_own(name):
    network = build(name, shape=(75, 75), **NARROW[name])
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.equal(layer.weight, torch.ones_like(layer.weight)) for layer in layers)
    assert not any(layer.weight.requires_grad for layer in layers)
    assert all(layer.bias.requires_grad for layer in layers)


@pytest.mark.parametrize("name", LEAST)
def test_weights_depend_on_the_seed_and_survive_the_disk_also_under_other_names(tmp_path, name):
    length = max(LEAST[name], 32)
    spec = NetworkSpec(name, (length, length), parameters=NARROW[name])
    state = torch.random.get_rng_state()
    network, again, other = (spec.build(seed).eval() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    inputs = scans(name)
    with torch.no_grad():
        expected = network(inputs)
        assert torch.equal(again(inputs), expected)
        assert not torch.equal(other(inputs), expected)
        save_weights(network, tmp_path / "model.safetensors", spec)
        assert torch.equal(load_weights(tmp_path / "model.safetensors").module(inputs), expected)
        renamed = {f"theirs.{index}": tensor for index, tensor in enumerate(network.state_dict().values())}
        torch.save(renamed, tmp_path / "theirs.pt")
        load_foreign_weights(other, tmp_path / "theirs.pt")
        assert torch.equal(other(inputs), expected)


def test_initial_weights_are_those_of_keras():
    network = build("vgg16", shape=(32, 32), width_share=0.5)
    layer = network.get_submodule("block4")[2]
    limit = (6 / (9 * (layer.in_channels + layer.out_channels))) ** 0.5
    assert limit * 0.99 < layer.weight.abs().max() <= limit
    assert not layer.bias.any()
    efficient = build("efficientnet_b0", shape=(32, 32))
    depthwise = efficient.get_submodule("stage6_block1")[3]
    assert float(depthwise.weight.detach().std()) == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    pointwise = efficient.get_submodule("last")[0]
    assert float(pointwise.weight.detach().std()) == pytest.approx((2 / 1280) ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", LEAST)
def test_every_method_explains_every_network_or_is_refused_by_name(name):
    network, inputs = narrow(name), scans(name, count=1)
    for method, parameters in METHODS.items():
        why = REFUSED.get((name, method))
        if why:
            with pytest.raises(UnsupportedModelError, match=why):
                attribute(method.removesuffix("_composite"), network, inputs, 1, **parameters)
            continue
        maps = attribute(method.removesuffix("_composite"), network, inputs, 1, **parameters)
        assert maps.shape == inputs.shape
        assert torch.isfinite(maps).all(), method


@pytest.mark.parametrize(
    ("name", "axes", "length"),
    [
        *((name, 2, max(least, 32)) for name, least in LEAST.items() if (name, "lrp") not in REFUSED),
        ("inception_v3", 1, 107),  # two voxels on its coarsest grid
        ("densenet121", 1, 64),
        ("resnet50_v2", 3, 20),
        ("xception", 3, 20),
    ],
)
def test_relevance_without_a_stabiliser_is_input_times_gradient_through_every_kind_of_block(name, axes, length):
    # Shrikumar et al. 2016: so it is in a network of rectifiers and maxima whose biases take their share.
    network, inputs = narrow(name, axes, length).double(), scans(name, axes, 1, length).double()
    expected = attribute("input_x_gradient", network, inputs, 1)
    relevance = attribute("lrp", network, inputs, 1, rule="epsilon", epsilon=1e-9, bias="absorb")
    torch.testing.assert_close(relevance, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name in LEAST if (name, "deeplift") not in REFUSED])
def test_rescaled_differences_sum_to_the_change_of_the_logit(name):
    network, inputs = narrow(name), scans(name, count=1)
    with torch.no_grad():
        rise = (network(inputs) - network(torch.zeros_like(inputs)))[0, 1]
    torch.testing.assert_close(attribute("deeplift", network, inputs, 1).sum(), rise, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", LEAST)
def test_a_narrow_network_learns_a_handful_of_images_by_heart(name):
    length = max(LEAST[name], 64)
    random = torch.Generator().manual_seed(0)
    images = torch.randn(8, 1, length, length, generator=random)
    targets = torch.arange(8) % 2
    images[targets == 1, :, 16:40, 16:40] += 2.0
    rest = {"stochastic_depth": 0.0} if name == "efficientnet_b0" else {}
    network = build(name, shape=(length, length), width_share=0.0625, dropout=0.0, seed=2, **rest).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(16):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), targets)
        loss.backward()
        optimizer.step()
    assert (network(images).argmax(1) == targets).all()
    assert loss < 0.5
