"""Relevance propagation: every rule against its oracle and zennit, conservation, limits, networks, refusals."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from attribution.evidence import deviation
from attribution.evidence.relevance import COMPOSITES, broad, oracle, oracle_linear, zennit_call
from attribution.networks import CONVOLUTION, NORMALISATION, SIZE, convolutional, lifted, scans, seasoned
from heatproof.attribution import METHODS, attribute, attribute_with_residual, relevance_by_layer
from heatproof.attribution.linear_maps import Average, Sum
from heatproof.attribution.relevance.graph import Network
from heatproof.attribution.relevance.settings import Settings
from heatproof.errors import ConfigError, UnsupportedModelError

RULES = {
    "epsilon": {"rule": "epsilon", "epsilon": 0.1},
    "epsilon absolute": {"rule": "epsilon", "epsilon": 1e-3, "stabiliser": "absolute", "bias": "ignore"},
    "zplus": {"rule": "zplus"},
    **{f"beta {beta}": {"rule": "alpha_beta", "beta": beta} for beta in (0.0, 0.25, 0.5, 1.0, 2.5)},
    "gamma": {"rule": "gamma", "gamma": 0.3},
    "flat": {"rule": "flat"},
    "w_squared": {"rule": "w_squared"},
    "z_box": {"rule": "z_box"},
    "z_box given": {"rule": "z_box", "low": -6.0, "high": 5.0},
    **{name: {"rule": "composite", "composite": name} for name in COMPOSITES},
}
EXACT = {"rule": "epsilon", "epsilon": 0.0, "bias": "absorb"}
some_rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@some_rules
def test_equals_a_slow_oracle_in_any_dimension(n_axes, rule):
    model, inputs = convolutional(n_axes), scans(n_axes, 2)
    maps = attribute("lrp", model, inputs, torch.tensor([0, 2]), **rule)
    for scan, target, found in zip(inputs, (0, 2), maps, strict=True):
        close(found, oracle(model, scan, target, **rule))


@pytest.mark.parametrize("options", [{"bias": "absorb"}, {"bias": "ignore"}, {"batch_norm": "identity"}], ids=str)
@some_rules
def test_biases_and_normalisations_are_treated_as_asked(rule, options):
    model, inputs = convolutional(2), scans(2, 1)
    found = attribute("lrp", model, inputs, 1, **rule | options)[0]
    close(found, oracle(model, inputs[0], 1, **rule | options))


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "w_squared", "zplus", "alpha_beta", "composite"])
def test_treatment_of_biases_matters_and_is_by_default_that_of_the_publication(rule):
    model, inputs = convolutional(2), scans(2, 1)
    absorbed, ignored, found = (
        attribute("lrp", model, inputs, 1, rule=rule, bias=bias) for bias in ("absorb", "ignore", None)
    )
    assert not torch.allclose(absorbed, ignored)
    assert torch.equal(found, absorbed if rule in ("epsilon", "gamma", "composite") else ignored)


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
    is_average = not list(layer.parameters())
    for name in ("epsilon", "beta 0.25", "gamma", "flat", "w_squared", "z_box given"):
        if not (is_average and name == "z_box given"):  # the oracle takes the first layer for the one with weights
            close(attribute("lrp", model, inputs, 0, **RULES[name])[0], oracle(model, inputs[0], 0, **RULES[name]))


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", RULES)
def test_equals_zennit(name, n_axes):
    rule = {"bias": "absorb", "gamma": 0.3, **RULES[name]}
    if rule["rule"] == "epsilon" or name.startswith("beta 0.0"):
        pytest.skip("with its stabilisers in the test below; beta 0 is z+")
    if rule["rule"] == "z_box" or rule.get("composite") == "epsilon_gamma_box":
        rule |= {"low": -6.0, "high": 5.0}
    rule |= {"epsilon": 1e-12, "stabiliser": "absolute"}
    # Where contributions have one sign only, zennit does not conserve in alpha_beta; see `broad`.
    model, inputs = broad(n_axes) if "beta" in name else convolutional(n_axes), scans(n_axes, 2)
    pytest.importorskip("zennit")
    assert deviation(attribute("lrp", model, inputs, 1, **rule), zennit_call(rule)(model, inputs, 1)) < 1e-7


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("stabiliser", ["absolute", "relative"])
def test_equals_zennit_with_its_stabilisers(stabiliser, n_axes):
    core = pytest.importorskip("zennit.core")
    rule = {"rule": "epsilon", "epsilon": 0.05, "stabiliser": stabiliser}
    model, inputs = convolutional(n_axes), scans(n_axes, 2)
    call = zennit_call(rule, core.Stabilizer(0.05, norm_scale=stabiliser == "relative"))
    assert deviation(attribute("lrp", model, inputs, 1, **rule), call(model, inputs, 1)) < 1e-9


@pytest.mark.parametrize("start", ["logit", "probability"])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", ["beta 0.5", "gamma", "flat", "w_squared", "epsilon 0"])
def test_relevance_is_conserved_layer_by_layer(n_axes, start, name):
    rule = RULES.get(name, {"rule": "epsilon", "epsilon": 0.0}) | {"bias": "ignore", "start": start}
    model, inputs = convolutional(n_axes), scans(n_axes)
    with torch.no_grad():
        logits = model(inputs)
    begin = (logits.softmax(1) if start == "probability" else logits)[:, 1]
    sums = relevance_by_layer(model, inputs, 1, **rule)
    assert len(sums) == len(model) + 1
    for layer, total in sums.items():
        torch.testing.assert_close(total, begin, rtol=1e-9, atol=1e-11, msg=layer)
    residual = attribute_with_residual("lrp", model, inputs, 1, **rule).residual
    torch.testing.assert_close(residual, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["beta 0.5", "epsilon", "epsilon_gamma_box"])
def test_residual_says_what_biases_and_the_stabiliser_have_kept(name):
    model, inputs = convolutional(2), scans(2)
    result = attribute_with_residual("lrp", model, inputs, 1, **RULES[name] | {"bias": "absorb"})
    begin = model(inputs)[:, 1].detach()
    torch.testing.assert_close(result.residual, result.maps.flatten(1).sum(1) - begin)
    assert result.residual.abs().min() > 1e-3


def test_the_epsilon_rule_without_epsilon_is_input_times_gradient():
    model, inputs = convolutional(2), scans(2)
    close(attribute("lrp", model, inputs, 1, **EXACT), attribute("input_x_gradient", model, inputs, 1))


@pytest.mark.parametrize("stabiliser", ["relative", "absolute"])
def test_a_relative_stabiliser_knows_no_unit(stabiliser):
    model, inputs = convolutional(2, normalise=False), scans(2)
    scaled = copy.deepcopy(model)
    for tensor in scaled[0].parameters():
        tensor.data *= 1e4
    scaled[3].weight.data /= 1e4  # what follows a convolution, a rectifier and a maximum
    torch.testing.assert_close(scaled(inputs), model(inputs))
    rule = {"rule": "epsilon", "epsilon": 0.1, "stabiliser": stabiliser}
    one, two = (attribute("lrp", each, inputs, 1, **rule) for each in (model, scaled))
    assert (deviation(one, two) < 1e-9) == (stabiliser == "relative")


@some_rules
def test_a_scan_is_explained_the_same_beside_any_other(rule):
    model, inputs = convolutional(2, normalise=False), scans(2, 3)
    inputs[1] *= 1000
    inputs[2] = 0
    rule = {key: value for key, value in rule.items() if key not in ("low", "high")}
    together = attribute("lrp", model, inputs, 1, batch_size=3, **rule)
    alone = attribute("lrp", model, inputs, 1, batch_size=1, **rule)
    assert together.isfinite().all()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12 * float(other.abs().max()))


@some_rules
def test_empty_scans_and_dead_networks_give_finite_maps(rule):
    model = convolutional(2)
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.bias.data.zero_()
        if isinstance(layer, nn.BatchNorm2d):
            layer.bias.data.zero_()
            layer.running_mean.zero_()
    maps = attribute("lrp", model, torch.zeros(2, 2, 12, 11, dtype=torch.float64), 1, **rule)
    assert (maps == 0).all()


def test_epsilon_tames_a_denominator_near_zero():
    model = seasoned(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))
    model[1].weight.data[0] = torch.tensor([1.0, -1.0, 1e-9])
    model[1].weight.data[1] = torch.tensor([1.0, 1.0, 1.0])
    scan = torch.ones(1, 1, 3, dtype=torch.float64)
    # the class of interest is all but undecided: exact shares are 1e9 times as large as what is shared out
    wild = attribute("lrp", model, scan, 0, rule="epsilon", epsilon=1e-12, stabiliser="absolute", bias="ignore")
    tame = attribute("lrp", model, scan, 0, rule="epsilon", epsilon=0.01, bias="ignore")
    logit = float(model(scan)[0, 0].detach())
    assert wild.abs().max() > 1e8 * abs(logit)
    assert tame.abs().max() < abs(logit) / 0.01


def test_gamma_shares_are_bounded():
    model, inputs = convolutional(2), scans(2, 8)
    for gamma in (0.1, 1.0):
        sums = attribute("lrp", model, inputs, 1, rule="gamma", gamma=gamma, bias="ignore").flatten(1)
        begin = model(inputs)[:, 1].detach().abs()
        # each of four layers hands on at most 1 + 2 / gamma times what it received, counted without sign
        assert (sums.abs().sum(1) <= begin * (1 + 2 / gamma) ** 4).all()


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
    maps = attribute("lrp", model, inputs, 0, **EXACT)
    torch.testing.assert_close(maps, attribute("input_x_gradient", model, inputs, 0), rtol=1e-6, atol=1e-9)
    for name in ("beta 0.25", "beta 1.0", "gamma", "flat", "w_squared"):
        residual = attribute_with_residual("lrp", model, inputs, 0, **RULES[name] | {"bias": "ignore"}).residual
        torch.testing.assert_close(residual, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("linear", [Average(nn.AvgPool1d(2)), Sum()], ids=["average", "sum"])
def test_maps_without_weights_are_linear_in_the_one_they_hold(linear):
    values = scans(1, 2)
    outputs = linear.apply(values, linear.weight)
    close(linear.apply(values, 3 * linear.weight), 3 * outputs)
    back = linear.transpose(outputs, linear.weight, values)
    close(linear.transpose(outputs, 3 * linear.weight, values), 3 * back)


class Branches(nn.Module):
    """A sum of two branches: as an addition, or as a convolution with the weight 1 over both."""

    def __init__(self, by_weights: bool) -> None:
        super().__init__()
        self.left, self.right, self.act = nn.Conv1d(2, 1, 3), nn.Conv1d(2, 1, 3), nn.ReLU()
        self.head, self.by_weights, self.join = nn.Linear(10, 2), by_weights, nn.Conv1d(2, 1, 1)

    def forward(self, x):
        left, right = self.left(x), self.act(self.right(x))
        joined = self.join(torch.cat([left, right], 1)) if self.by_weights else left + right
        return self.head(joined.flatten(1))


@pytest.mark.parametrize("name", ["epsilon", "beta 0.5", "zplus", "gamma", "flat", "w_squared", "z_box"])
def test_an_addition_is_a_linear_map_with_the_weight_one(name):
    model = seasoned(Branches(by_weights=False))
    twin = Branches(by_weights=True).double()
    twin.load_state_dict(model.state_dict())
    twin.join.weight.data.fill_(1)
    twin.join.bias.data.zero_()
    inputs = scans(1, 2)
    close(attribute("lrp", model, inputs, 1, **RULES[name]), attribute("lrp", twin, inputs, 1, **RULES[name]))


def preactivated(n_axes: int) -> nn.Module:
    """Return max - norm - ReLU - convolution and so on."""
    plain = convolutional(n_axes)
    return seasoned(nn.Sequential(plain[0], plain[3], NORMALISATION[n_axes](4), nn.ReLU(), *plain[4:]))


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_a_normalisation_after_no_convolution(n_axes):
    model, inputs = preactivated(n_axes), scans(n_axes, 2)
    # with every bias in the denominators its shift has a share as well: input times gradient
    close(attribute("lrp", model, inputs, 0, **EXACT), attribute("input_x_gradient", model, inputs, 0))
    # without, it has one input per output
    residual = attribute_with_residual("lrp", model, inputs, 0, rule="alpha_beta", beta=0.5).residual
    torch.testing.assert_close(residual, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-9)
    pytest.importorskip("zennit")
    # in composites it passes relevance on unchanged, as in zennit
    rule = {"rule": "composite", "composite": "epsilon_plus", "epsilon": 1e-12, "stabiliser": "absolute"}
    assert deviation(attribute("lrp", model, inputs, 0, **rule), zennit_call(rule)(model, inputs, 0)) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", ["resnet10", "resnet18", "densenet"])
def test_monai_networks_conserve_relevance(name, n_axes):
    pytest.importorskip("monai.networks.nets")
    from heatproof.models import build

    shape = (32,) * n_axes
    sizes = {"resnet10": {"width": 4}, "resnet18": {"width": 4, "layers": (2, 2, 2, 2)}, "densenet": {"width": 4}}
    model = seasoned(build(name.rstrip("018"), in_channels=1, n_classes=2, shape=shape, **sizes[name]))
    inputs = torch.rand(2, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    begin = model(inputs)[:, 1].detach()
    for rule in ("beta 0.5", "gamma", "flat", "w_squared"):
        result = attribute_with_residual("lrp", model, inputs, 1, **RULES[rule] | {"bias": "ignore"})
        torch.testing.assert_close(result.residual / begin, torch.zeros_like(begin), rtol=0, atol=1e-6, msg=rule)
    by_gradient = attribute("input_x_gradient", model, inputs, 1)
    by_epsilon = attribute("lrp", model, inputs, 1, **EXACT)
    torch.testing.assert_close(by_epsilon, by_gradient, rtol=1e-5, atol=1e-7 * float(by_gradient.abs().max()))
    for name in COMPOSITES:
        assert attribute("lrp", model, inputs, 1, **RULES[name]).isfinite().all()


class Functional(nn.Module):
    """Poolings and means as functions and methods."""

    def __init__(self, tail) -> None:
        super().__init__()
        self.conv, self.head, self.tail = nn.Conv2d(2, 4, 3), nn.Linear(4, 2), tail

    def forward(self, x):
        return self.head(self.tail(functional.max_pool2d(functional.relu(self.conv(x)), 2, stride=1)))


OVER_SPACE = [
    lambda x: x.mean((2, 3)),
    lambda x: torch.mean(x, dim=[-1, -2]),
    lambda x: x.mean(-1).mean(dim=2),
    lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
]


@pytest.mark.parametrize("tail", OVER_SPACE)
def test_means_as_functions_are_poolings(tail):
    model, inputs = seasoned(Functional(tail)), scans(2, 2)
    pools = nn.MaxPool2d(2, stride=1), nn.AdaptiveAvgPool2d(1)
    plain = nn.Sequential(model.conv, nn.ReLU(), *pools, nn.Flatten(), model.head)
    close(attribute("lrp", model, inputs, 1), attribute("lrp", plain, inputs, 1))


@pytest.mark.parametrize(
    "tail",
    [
        *OVER_SPACE,
        lambda x: functional.avg_pool2d(x, kernel_size=2).mean(dim=(2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    ],
)
def test_means_and_poolings_as_functions_are_linear_maps(tail):
    model, inputs = seasoned(Functional(tail)), scans(2, 2)
    close(attribute("lrp", model, inputs, 1, **EXACT), attribute("input_x_gradient", model, inputs, 1))


@pytest.mark.parametrize("tail", [lambda x: x.mean(), lambda x: x.mean(0, keepdim=True).mean((2, 3))])
def test_a_mean_over_the_batch_is_refused(tail):
    with pytest.raises(UnsupportedModelError, match="joins the scans"):
        attribute("lrp", seasoned(Functional(tail)), scans(2, 2), 1)


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
    expected = oracle_linear(layer, inputs[0, 0], relevance, "alpha_beta", "absorb", beta=0.5)
    torch.testing.assert_close(maps[0, 0], expected)
    assert float(maps[0].sum()) == pytest.approx(1.5 * float(relevance[0]))


@some_rules
def test_a_plane_lifted_into_a_volume_gives_the_same_map(rule):
    model, inputs = convolutional(2), scans(2)
    plane = attribute("lrp", model, inputs, 1, **rule)
    close(attribute("lrp", lifted(model), inputs[:, :, None], 1, **rule)[:, :, 0], plane)


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
    found = attribute("lrp", network, inputs, 1, rule="epsilon", epsilon=1e-9, stabiliser="absolute")
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


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()])
def test_probabilities_at_the_end_are_asked_to_leave(last):
    model = convolutional(2).append(last)
    with pytest.raises(UnsupportedModelError, match=f"ends in a {type(last).__name__}") as caught:
        attribute("lrp", model, scans(2), 0)
    assert caught.value.field == "12" and "return the logits" in caught.value.remedy


@pytest.mark.parametrize("tail", [lambda x: x.softmax(1), lambda x: torch.softmax(x, 1), torch.sigmoid])
def test_probabilities_as_functions_are_asked_to_leave(tail):
    class Ending(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = convolutional(2)

        def forward(self, x):
            return tail(self.body(x))

    with pytest.raises(UnsupportedModelError, match="ends in a s") as caught:
        attribute("lrp", Ending(), scans(2), 0)
    assert "return the logits" in caught.value.remedy


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
    ("parameters", "named"),
    [
        ({"alpha": 2.0, "beta": 0.5}, "beta"),
        ({"beta": -0.5}, "beta"),
        ({"rule": "delta"}, "rule"),
        ({"rule": "composite", "composite": "epsilon_minus"}, "composite"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": float("nan")}, "gamma"),
        ({"stabiliser": "both"}, "stabiliser"),
        ({"bias": "keep"}, "bias"),
        ({"batch_norm": "merge"}, "batch_norm"),
        ({"rule": "z_box", "low": 1.0, "high": 1.0}, "low"),
        ({"rule": "z_box", "low": 0.0, "high": 9.0}, "low"),
        ({"rule": "composite", "composite": "epsilon_gamma_box", "high": 0.5}, "low"),
    ],
)
def test_rules_that_do_not_conserve_or_do_not_exist_are_refused(parameters, named):
    with pytest.raises(ConfigError) as caught:
        attribute("lrp", convolutional(1), scans(1), 0, **parameters)
    assert caught.value.field == f"lrp.{named}"


def test_a_composite_whose_first_rule_nobody_takes_is_refused():
    model = seasoned(nn.Sequential(nn.Flatten(), nn.Linear(24, 5), nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(UnsupportedModelError, match="No convolution layer reads the scan"):
        attribute("lrp", model, scans(1), 0, rule="composite", composite="epsilon_gamma_box")
    assert attribute("lrp", model, scans(1), 0, rule="composite", composite="epsilon_plus_flat").isfinite().all()


class Shortcut(nn.Module):
    """The scan reaches a second convolution past the first one as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.beside, self.second = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)
        self.head = nn.Linear(24, 2)

    def forward(self, x):
        return self.head((self.second(self.first(x) + x) + self.beside(x)).flatten(1))


def test_the_input_is_read_by_every_layer_that_no_weighted_one_comes_before():
    settings = Settings(**METHODS["lrp"].parameters | RULES["z_box"])
    network = Network(Shortcut().eval(), settings)
    assert {node.name for node in network.first} == {"first", "beside"}


@pytest.mark.parametrize("name", ["epsilon absolute", "beta 0.25", "gamma"])
def test_one_voxel_shift_of_the_scan_shifts_the_map(name):
    model = seasoned(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    scan = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    scan[..., 8:11, 7:12] = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = attribute("lrp", model, scan, 0, **RULES[name])
    moved = attribute("lrp", model, scan.roll((1, 2), (2, 3)), 0, **RULES[name])
    torch.testing.assert_close(moved, found.roll((1, 2), (2, 3)))


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", sorted({*RULES} - {"flat", "epsilon_plus_flat", "epsilon_alpha2_beta1_flat"}))
def test_a_planted_patch_draws_the_relevance(name, n_axes):
    # the class of interest is the sum over a patch; a layer of the same weight at every voxel comes first
    head = nn.Linear(torch.Size(SIZE[n_axes]).numel(), 3)
    model = seasoned(nn.Sequential(CONVOLUTION[n_axes](2, 1, 1), nn.ReLU(), nn.Flatten(), head))
    model[0].weight.data.fill_(1)
    model[0].bias.data.fill_(0.1)
    weight = torch.zeros(SIZE[n_axes], dtype=torch.float64)
    patch = (slice(2, 4),) * n_axes
    weight[patch] = 1
    head.weight.data[1] = weight.flatten()
    found = attribute("lrp", model, scans(n_axes, 1).abs(), 1, **RULES[name])[0].abs().sum(0)
    assert found[patch].sum() > (1 - 1e-9) * found.sum() > 0


def test_relevance_by_layer_takes_every_parameter_and_checks_it():
    model, inputs = convolutional(1), scans(1)
    sums = relevance_by_layer(model, inputs, 1, **RULES["epsilon_gamma_box"])
    assert torch.equal(
        sums["input"], attribute("lrp", model, inputs, 1, **RULES["epsilon_gamma_box"]).flatten(1).sum(1)
    )
    with pytest.raises(ConfigError):
        relevance_by_layer(model, inputs, 1, gama=0.1)


@pytest.mark.parametrize(
    "rectify",
    [lambda x: x.relu_(), lambda x: nn.functional.relu(x, True), lambda x: nn.functional.relu(x, inplace=True)],
    ids=["method", "position", "keyword"],
)
def test_an_operation_that_overwrites_what_is_used_again_is_refused_by_name(rectify):
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, x):
            x = self.first(x)
            return self.head((x + self.second(rectify(x))).mean((2, 3)))

    with pytest.raises(UnsupportedModelError, match="overwrites") as caught:
        attribute("lrp", seasoned(Overwriting()), scans(2), 1)
    assert "relu" in caught.value.field


def test_a_layer_with_a_hook_is_refused_by_name():
    model = convolutional(2)
    model[2].register_forward_hook(lambda module, arguments, output: 2 * output)
    with pytest.raises(UnsupportedModelError, match="Hooks") as caught:
        attribute("lrp", model, scans(2), 1)
    assert caught.value.field == "2"
