"""Layer-wise relevance propagation against a slow oracle, its conservation law, limiting cases, refusals."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from attribution.networks import convolutional, scans, seasoned
from heatproof.attribution import attribute, attribute_with_residual, relevance_by_layer
from heatproof.errors import ConfigError, UnsupportedModelError

RULES = [
    {"rule": "epsilon", "epsilon": 1e-3},
    {"rule": "zplus"},
    *({"rule": "alpha_beta", "beta": beta} for beta in (0.0, 0.25, 0.5, 1.0, 2.5)),
]


def matrix(layer: nn.Module, shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the dense matrix (inputs, outputs) and bias (outputs,) of a layer, probed with unit vectors."""
    n_inputs = shape.numel()
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        units = torch.eye(n_inputs, dtype=torch.float64).reshape(n_inputs, *shape)
        return layer(units).flatten(1) - bias, bias


def oracle_linear(layer, values, relevance, *, rule, beta=0.0, epsilon=0.0, bias="ignore"):
    """Split the relevance of one scan, contribution by contribution, in explicit loops over the outputs."""
    weights, offset = matrix(layer, values.shape)
    offset = offset if bias == "absorb" else torch.zeros_like(offset)
    contributions = values.flatten()[:, None] * weights
    received = torch.zeros(values.numel(), dtype=torch.float64)
    for output, share in enumerate(relevance.flatten().tolist()):
        z, b = contributions[:, output], offset[output]
        if rule == "epsilon":
            total = z.sum() + b
            received += z * share / (total + (epsilon if total >= 0 else -epsilon))
            continue
        positive, negative = z.clamp(min=0), z.clamp(max=0)
        sums = {1: positive.sum() + b.clamp(min=0), -1: negative.sum() + b.clamp(max=0)}
        alpha = 1 + beta
        if sums[-1] == 0 or beta == 0:
            factors = {1: 1.0, -1: 0.0}
        elif sums[1] == 0:
            factors = {1: 0.0, -1: 1.0}
        else:
            factors = {1: alpha, -1: -beta}
        for sign, part in ((1, positive), (-1, negative)):
            if sums[sign] != 0:
                received += factors[sign] * part * share / sums[sign]
    return received.reshape(values.shape)


def oracle(model, scan, target, *, batch_norm="fold", **rule):
    """Return the relevance of one scan (C, *S), layer by layer."""
    if rule["rule"] == "zplus":
        rule = rule | {"rule": "alpha_beta", "beta": 0.0}
    layers = list(copy.deepcopy(model))
    merged = []
    for layer in layers:
        is_norm = isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))
        merged[-1:] = [nn.Sequential(merged[-1], layer)] if is_norm and batch_norm == "fold" else [*merged[-1:], layer]
    inputs = [scan]
    with torch.no_grad():
        for layer in merged:
            inputs.append(layer(inputs[-1][None])[0])
    relevance = torch.zeros_like(inputs[-1])
    relevance[target] = inputs[-1][target]
    for layer, values in zip(reversed(merged), reversed(inputs[:-1]), strict=True):
        if isinstance(layer, (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)):
            relevance = oracle_winners(layer, values, relevance)
        elif isinstance(layer, (nn.ReLU, nn.Dropout, nn.Flatten, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            relevance = relevance.reshape(values.shape)
        else:
            relevance = oracle_linear(layer, values, relevance, **rule)
    return relevance


def oracle_winners(layer, values, relevance):
    """Give the relevance of each maximum to the input whose unit change moves it."""
    values = values.clone().requires_grad_()
    outputs = layer(values[None])[0].flatten()
    received = torch.zeros_like(values)
    for output, share in enumerate(relevance.flatten().tolist()):
        received += torch.autograd.grad(outputs[output], values, retain_graph=True)[0] * share
    return received.detach()


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['rule']}-{rule.get('beta', '')}")
def test_equals_a_slow_oracle_in_any_dimension(n_axes, rule):
    model, inputs = convolutional(n_axes), scans(n_axes, 2)
    maps = attribute("lrp", model, inputs, torch.tensor([0, 2]), **rule)
    for scan, target, found in zip(inputs, (0, 2), maps, strict=True):
        torch.testing.assert_close(found, oracle(model, scan, target, **rule), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", [RULES[0], RULES[1], RULES[4]], ids=lambda rule: rule["rule"])
@pytest.mark.parametrize("options", [{"bias": "absorb"}, {"batch_norm": "identity"}], ids=str)
def test_biases_and_normalisations_are_treated_as_asked(rule, options):
    model, inputs = convolutional(2), scans(2, 1)
    found = attribute("lrp", model, inputs, 1, **rule, **options)[0]
    torch.testing.assert_close(found, oracle(model, inputs[0], 1, **rule, **options), rtol=1e-8, atol=1e-10)
    assert not torch.allclose(found, attribute("lrp", model, inputs, 1, **rule)[0])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 4, 3, stride=2, padding=1),
        nn.Conv1d(2, 4, 3, dilation=2, padding="same"),
        nn.Conv1d(2, 4, 4, padding="same"),
        nn.Conv1d(2, 4, 3, groups=2, padding=2),
        nn.Conv1d(2, 4, 3, padding=1, padding_mode="circular"),
        nn.AdaptiveAvgPool1d(5),
        nn.AvgPool1d(3, stride=2, padding=1),
    ],
    ids=repr,
)
def test_strides_paddings_dilations_groups_and_averages(layer):
    inputs = scans(1, 1)
    n_features = layer(inputs.float()).numel()
    model = seasoned(nn.Sequential(copy.deepcopy(layer), nn.ReLU(), nn.Flatten(), nn.Linear(n_features, 2)))
    for rule in (RULES[0], RULES[4]):
        found = attribute("lrp", model, inputs, 0, **rule)[0]
        torch.testing.assert_close(found, oracle(model, inputs[0], 0, **rule), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("start", ["logit", "probability"])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_relevance_is_conserved_layer_by_layer(n_axes, start):
    model, inputs = convolutional(n_axes), scans(n_axes)
    with torch.no_grad():
        logits = model(inputs)
    begin = (logits.softmax(1) if start == "probability" else logits)[:, 1]
    sums = relevance_by_layer(model, inputs, 1, rule="alpha_beta", beta=0.5, start=start)
    assert len(sums) == len(model) + 1
    for name, total in sums.items():
        torch.testing.assert_close(total, begin, rtol=1e-9, atol=1e-11, msg=name)
    residual = attribute_with_residual("lrp", model, inputs, 1, start=start).residual
    torch.testing.assert_close(residual, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)


def test_residual_says_what_an_absorbing_bias_has_kept():
    model, inputs = convolutional(2), scans(2)
    result = attribute_with_residual("lrp", model, inputs, 1, bias="absorb")
    begin = model(inputs)[:, 1].detach()
    torch.testing.assert_close(result.residual, result.maps.flatten(1).sum(1) - begin)
    assert result.residual.abs().min() > 1e-3


class Residual(nn.Module):
    """Two branches that are added in place, rectified in place, and put beside the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.conv2, self.act = nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x):
        out = self.norm(self.conv1(x))
        out += self.conv2(x)
        out = self.pool(torch.cat([self.act(out), x], dim=1))
        return self.head(out.view(out.size(0), -1))


def test_residual_addition_splits_by_share_and_concatenation_parts():
    model, inputs = seasoned(Residual()), scans(2, 2)
    maps = attribute("lrp", model, inputs, 0, rule="epsilon", epsilon=0.0, bias="absorb")
    # with every bias in the denominators the epsilon rule of a piecewise linear net is input times gradient
    torch.testing.assert_close(maps, attribute("input_x_gradient", model, inputs, 0), rtol=1e-6, atol=1e-9)
    for rule in RULES[2:]:
        residual = attribute_with_residual("lrp", model, inputs, 0, **rule).residual
        if rule["beta"] > 0:
            torch.testing.assert_close(residual, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "densenet"])
def test_monai_networks_conserve_relevance(name):
    nets = pytest.importorskip("monai.networks.nets")
    if name == "resnet":
        model = nets.ResNet("basic", [1, 1, 1, 1], [4, 6, 8, 8], spatial_dims=3, n_input_channels=1, num_classes=2)
    else:
        model = nets.DenseNet(3, 1, 2, init_features=4, growth_rate=3, block_config=(2, 2))
    model = seasoned(model)
    inputs = torch.rand(2, 1, 32, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    begin = model(inputs)[:, 1].detach()
    result = attribute_with_residual("lrp", model, inputs, 1, beta=0.5)
    torch.testing.assert_close(result.residual / begin, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
    by_gradient = attribute("input_x_gradient", model, inputs, 1)
    by_epsilon = attribute("lrp", model, inputs, 1, rule="epsilon", epsilon=0.0, bias="absorb")
    torch.testing.assert_close(by_epsilon, by_gradient, rtol=1e-5, atol=1e-7 * float(by_gradient.abs().max()))


@pytest.mark.parametrize("n_scans", [1, 2])
def test_an_absorbing_bias_takes_its_share_whatever_other_scans_are_in_the_batch(n_scans):
    # The first scan has no contribution of the bias' sign, the second has.
    layer = nn.Linear(4, 2).double()
    layer.weight.data = torch.tensor([[1.0, 2, 1, 1], [1, 1, 3, 1]], dtype=torch.float64)
    layer.bias.data = torch.tensor([-1.0, -2.0], dtype=torch.float64)
    inputs = torch.tensor([[1.0, 2, 1, 3], [-1, 2, -3, 1]], dtype=torch.float64)[:n_scans, None]
    model = nn.Sequential(nn.Flatten(), layer)
    maps = attribute("lrp", model, inputs, 0, beta=0.5, bias="absorb", batch_size=n_scans)
    relevance = torch.stack([model(inputs[:1])[0, 0].detach(), torch.zeros((), dtype=torch.float64)])
    expected = oracle_linear(layer, inputs[0, 0], relevance, rule="alpha_beta", beta=0.5, bias="absorb")
    torch.testing.assert_close(maps[0, 0], expected)
    assert float(maps[0].sum()) == pytest.approx(1.5 * float(relevance[0]))


def test_zplus_is_alpha_beta_without_negative_shares():
    model, inputs = convolutional(2), scans(2)
    torch.testing.assert_close(
        attribute("lrp", model, inputs, 1, rule="zplus"),
        attribute("lrp", model, inputs, 1, alpha=1.0, beta=0.0),
    )


def test_a_plane_lifted_into_a_volume_gives_the_same_map():
    flat = convolutional(2)
    lifted = copy.deepcopy(flat)
    for position, layer in enumerate(flat):
        if isinstance(layer, nn.Conv2d):
            twin = nn.Conv3d(
                layer.in_channels, layer.out_channels, (1, *layer.kernel_size), padding=(0, *layer.padding)
            )
            twin.weight.data, twin.bias.data = layer.weight.data[:, :, None], layer.bias.data
            lifted[position] = twin
        if isinstance(layer, nn.BatchNorm2d):
            lifted[position] = nn.BatchNorm3d(layer.num_features).double().eval()
            lifted[position].load_state_dict(layer.state_dict())
        if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
            lifted[position] = {nn.MaxPool2d: nn.MaxPool3d, nn.AvgPool2d: nn.AvgPool3d}[type(layer)]((1, 2, 2))
    inputs = scans(2)
    for rule in RULES:
        plane = attribute("lrp", flat, inputs, 1, **rule)
        volume = attribute("lrp", lifted.eval(), inputs[:, :, None], 1, **rule)
        torch.testing.assert_close(volume[:, :, 0], plane, rtol=1e-8, atol=1e-10)


def test_equals_captum_in_two_dimensions():
    captum = pytest.importorskip("captum.attr")
    model = nn.Sequential(*(each for each in convolutional(2) if not isinstance(each, nn.Flatten)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = model[:7], model[7:]

        def forward(self, x):
            return self.head(self.features(x).flatten(1))

    network, inputs = Net().eval(), scans(2)
    expected = captum.LRP(copy.deepcopy(network)).attribute(inputs.clone().requires_grad_(), target=1)
    found = attribute("lrp", network, inputs, 1, rule="epsilon", epsilon=1e-9, bias="absorb")
    torch.testing.assert_close(found, expected.detach(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Sigmoid(), "Sigmoid"),
        (nn.GroupNorm(1, 2), "GroupNorm"),
        (nn.Softmax(1), "Softmax"),
        (nn.GELU(), "GELU"),
    ],
)
def test_a_layer_without_a_rule_is_an_error_and_no_silent_gradient(layer, named):
    model = seasoned(nn.Sequential(nn.Conv2d(2, 2, 3), layer, nn.Flatten(), nn.Linear(180, 2)))
    with pytest.raises(UnsupportedModelError, match=named) as caught:
        attribute("lrp", model, scans(2), 0)
    assert caught.value.field == "1" and "integrated_gradients" in caught.value.remedy


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 2, 3), nn.Linear(180, 2)

    def forward(self, x):
        features = self.conv(x)
        return self.head(torch.flatten(features * features.sigmoid(), 1))


class Branching(Gate):
    def forward(self, x):
        return self.head(torch.flatten(self.conv(x) if x.sum() > 0 else -self.conv(x), 1))


@pytest.mark.parametrize(("network", "named"), [(Gate, "sigmoid"), (Branching, "traced")])
def test_operations_without_a_rule_and_branches_are_refused(network, named):
    with pytest.raises(UnsupportedModelError, match=named):
        attribute("lrp", seasoned(network()), scans(2), 0)


@pytest.mark.parametrize(
    "parameters",
    [{"alpha": 2.0, "beta": 0.5}, {"beta": -0.5}, {"rule": "gamma"}, {"epsilon": -1.0}, {"bias": "keep"}],
)
def test_rules_that_do_not_conserve_or_do_not_exist_are_refused(parameters):
    with pytest.raises(ConfigError):
        attribute("lrp", convolutional(1), scans(1), 0, **parameters)


def test_one_voxel_shift_of_the_scan_shifts_the_map():
    model = seasoned(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    scan = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    scan[..., 8:11, 7:12] = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for parameters in (RULES[0], RULES[4]):
        found = attribute("lrp", model, scan, 0, **parameters)
        moved = attribute("lrp", model, scan.roll((1, 2), (2, 3)), 0, **parameters)
        torch.testing.assert_close(moved, found.roll((1, 2), (2, 3)))
