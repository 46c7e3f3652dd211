"""Class-activation methods: signs, degenerate feature maps, the cached tail of ablation, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attribution.evidence.activations import EVIDENCE, lively, pooled
from attribution.networks import SIZE, convolutional, scans, seasoned
from heatproof.attribution import METHODS, attribute, separate_activations
from heatproof.errors import UnsupportedModelError

NAMES = [
    "gradcam",
    "guided_gradcam",
    "gradcam_plus_plus",
    "hirescam",
    "layercam",
    "xgradcam",
    "eigencam",
    "scorecam",
    "ablationcam",
]
COARSE = [name for name in NAMES if name != "guided_gradcam"]
RECTIFIED = [name for name in COARSE if name not in ("hirescam", "eigencam")]


def context(name: str, batch_size: int = 8) -> dict:
    return {"batch_size": batch_size} if "batch_size" in METHODS[name].context else {}


def test_the_family_is_complete():
    assert {name for name, method in METHODS.items() if method.family == "activations"} == set(NAMES) == set(EVIDENCE)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_maps_of_the_evidence_are_not_empty(name, n_axes):
    evidence = EVIDENCE[name]
    for parameters in (evidence.parameters, evidence.peer.parameters):
        maps = attribute(name, evidence.model(n_axes), scans(n_axes, 2), torch.tensor([0, 1]), **parameters)
        assert (maps.flatten(1).amax(1) > 0).all()


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", COARSE)
def test_one_map_per_scan_on_its_grid_rectified_as_in_the_paper(name, n_axes):
    more = {"centred": True} if name == "eigencam" else {}
    maps = attribute(name, lively(n_axes), scans(n_axes), torch.tensor([0, 2, 1]), **more)
    assert maps.shape == (3, 1, *SIZE[n_axes])
    assert bool((maps >= 0).all()) == (name in RECTIFIED)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("name", ["gradcam", "layercam", "scorecam", "ablationcam"])
def test_what_is_negative_in_signed_feature_maps_is_rectified(name, n_axes):
    networks = [seasoned(convolutional(n_axes), seed=seed) for seed in range(5)]
    maps = torch.stack([attribute(name, network, scans(n_axes), 1, layer="0") for network in networks])
    assert (maps == 0).any() and (maps > 0).any() and not (maps < 0).any()


def bright_square_detector() -> nn.Module:
    """Return a network whose class 1 is the brightness of the scan, class 0 its darkness."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[0].weight[1] *= 2
        model[0].bias.fill_(-0.2)
        model[4].weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
        model[4].bias.zero_()
    return model


@pytest.mark.parametrize("layer", [None, "1"])
@pytest.mark.parametrize("name", COARSE)
def test_a_planted_bright_square_comes_out_positive(name, layer):
    scan = torch.zeros(1, 1, 24, 24)
    scan[..., 6:12, 9:15] = 1
    found = attribute(name, bright_square_detector(), scan, 1, layer=layer)[0, 0]
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[5:13, 8:16] = True
    assert found[7:11, 10:14].min() > 0
    assert found[inside].max() == found.max() > 0
    assert (found[~inside] <= 0).all()
    if layer == "1":
        assert found[inside].sum() > 0.99 * found.abs().sum()


def test_what_speaks_against_a_class_is_no_evidence_for_it():
    scan = torch.zeros(1, 1, 24, 24)
    scan[..., 6:12, 9:15] = 1
    for name in ("gradcam", "gradcam_plus_plus", "layercam", "xgradcam", "ablationcam"):
        assert not attribute(name, bright_square_detector(), scan, 0, layer="1").any(), name
    assert attribute("hirescam", bright_square_detector(), scan, 0, layer="1").sum() < 0


def test_a_negative_score_does_not_turn_the_ablation_map():
    """The loss of a channel is the same whatever the bias; only its share of the score changes."""
    model, inputs = lively(2), scans(2)
    score = model(inputs)[:, 1].detach()
    plain = attribute("ablationcam", model, inputs, 1, layer="2")
    model[-1].bias.data[1] -= 50
    shifted = attribute("ablationcam", model, inputs, 1, layer="2")
    factor = (score.abs() / (score - 50).abs()).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(shifted, plain * factor)
    assert shifted.any()


def test_a_score_of_zero_divides_nothing():
    model = pooled(2, channels=2)
    model[0].weight.data[1], model[0].bias.data[1] = model[0].weight.data[0], model[0].bias.data[0]
    model[-1].weight.data[:] = torch.tensor([1.0, -1.0])
    model[-1].bias.data.zero_()
    inputs = scans(2)
    features = model[:2](inputs).detach()
    assert not model(inputs).any()
    found = attribute("ablationcam", model, inputs, 1, layer="1")
    lost = features.flatten(2).mean(2)[:, 0].reshape(-1, 1, 1)
    torch.testing.assert_close(found[:, 0], (lost * (features[:, 0] - features[:, 1])).relu())
    assert found.isfinite().all()


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_the_sign_of_the_component_follows_the_activations(n_axes, centred):
    for seed in range(6):
        model, inputs = seasoned(convolutional(n_axes), seed=seed), scans(n_axes)
        features = model[0](inputs).detach()
        found = attribute("eigencam", model, inputs, 1, layer="0", centred=centred)
        if centred:
            features = features - features.flatten(2).mean(2).reshape(*features.shape[:2], *[1] * n_axes)
        assert ((found[:, 0] * features.sum(1)).flatten(1).sum(1) > 0).all()
        rectified = attribute("eigencam", model, inputs, 1, layer="2")
        assert rectified.min() > -1e-12 * rectified.max()


def test_the_sign_of_a_component_without_one_is_that_of_its_largest_loading():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    model[0].weight.data = torch.tensor([1.0 + 1e-9, -1.0]).reshape(2, 1, 1, 1).double()
    inputs = scans(2, channels=1)
    torch.testing.assert_close(attribute("eigencam", model, inputs, 1, layer="0"), inputs * 2**0.5)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_score_leaves_constant_feature_maps_out(n_axes):
    """A channel that is the same everywhere gets no weight, however well an empty or a full scan scores."""
    inputs = scans(n_axes)
    for value in (0.0, 7.0):
        model = pooled(n_axes)
        model[0].weight.data[3], model[0].bias.data[3] = 0, value
        model[-1].weight.data[1, 3] = 3.0
        without = pooled(n_axes, channels=3)
        without[0].weight.data, without[0].bias.data = model[0].weight.data[:3], model[0].bias.data[:3]
        without[-1].weight.data, without[-1].bias.data = model[-1].weight.data[:, :3], model[-1].bias.data
        found = attribute("scorecam", model, inputs, 1, layer="1", batch_size=2)
        torch.testing.assert_close(found, attribute("scorecam", without, inputs, 1, layer="1"))
        assert found.any()


def test_score_of_constant_feature_maps_only_is_an_empty_map():
    model = pooled(2)
    model[0].weight.data.zero_()
    model[0].bias.data.fill_(0.3)  # interpolation of a constant is constant but for rounding
    blurred = nn.Sequential(nn.AvgPool2d(3), *model)
    assert torch.equal(attribute("scorecam", blurred, scans(2), 1), torch.zeros(3, 1, *SIZE[2], dtype=torch.float64))


def test_one_scan_without_feature_maps_leaves_the_others_alone():
    model, inputs = pooled(2), scans(2)
    inputs[1] = 0
    model[0].padding = (0, 0)
    found = attribute("scorecam", model, inputs, 1, layer="1")
    assert not found[1].any() and found[0].any() and found[2].any()
    torch.testing.assert_close(found[:1], attribute("scorecam", model, inputs[:1], 1, layer="1"))


def test_plus_plus_survives_gradients_whose_cube_is_no_number():
    model, inputs = lively(2), scans(2)
    faint = lively(2)
    faint[-1].weight.data *= 1e-20
    expected = attribute("gradcam_plus_plus", faint, inputs, 1, layer="2")
    found = attribute("gradcam_plus_plus", faint.float(), inputs.float(), 1, layer="2").double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0.01 * float(expected.max()) * 1e-3)
    assert (found.flatten(1).amax(1) > 0).all()
    # without the exponential's curvature alpha is one half, and the weights are those of positive gradients
    assert expected.max() < 1e-15 < attribute("gradcam_plus_plus", model, inputs, 1, layer="2").max()


@pytest.mark.parametrize("name", ["xgradcam", "gradcam_plus_plus"])
def test_methods_that_divide_by_sums_refuse_negative_ones(name):
    """A channel whose sum is negative would speak for the class by its gradient and against it in the map."""
    model = bright_square_detector()
    model[4].weight.data *= 1000
    scan = torch.zeros(1, 1, 24, 24)
    scan[..., 6:12, 9:15] = 1
    with pytest.raises(UnsupportedModelError, match="are negative") as caught:
        attribute(name, model, scan, 1, layer="0")
    assert caught.value.field == "0" and "rectifier" in caught.value.remedy
    assert attribute(name, model, scan, 1, layer="1")[0, 0, 8, 12] > 0


def test_xgradcam_refuses_feature_maps_that_sum_to_zero_but_not_empty_ones():
    model = seasoned(nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(UnsupportedModelError, match="are negative"):
        attribute("xgradcam", model, torch.tensor([[[1.0, -1.0, 2.0, -2.0]]]).double(), 1, layer="0")
    dead = pooled(2)
    dead[0].weight.data[0] = 0
    dead[0].bias.data[0] = -1
    found = attribute("xgradcam", dead, scans(2), 1)
    assert found.isfinite().all() and found.any()


class BatchNormed(nn.Module):
    """A residual block: the rectifier after the deepest convolution comes after its normalisation and the sum."""

    def __init__(self, rectify: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.act1, self.act2 = nn.BatchNorm2d(3), nn.ReLU(), rectify
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        x = self.act1(self.conv1(x))
        x = self.norm(self.conv2(x)) + x
        return self.head((self.act2(x) if self.act2 else torch.relu(x)).mean((2, 3)))


@pytest.mark.parametrize("name", ["xgradcam", "gradcam_plus_plus"])
def test_methods_that_divide_by_sums_take_the_rectifier_after_the_deepest_convolution(name):
    model, inputs = seasoned(BatchNormed(nn.ReLU())), scans(2)
    torch.testing.assert_close(attribute(name, model, inputs, 1), attribute(name, model, inputs, 1, layer="act2"))
    reused = seasoned(BatchNormed(None))
    reused.act2 = reused.act1
    for refused in (seasoned(BatchNormed(None)), seasoned(BatchNormed(nn.ELU())), reused):
        with pytest.raises(UnsupportedModelError, match="No rectifier") as caught:
            attribute(name, refused, inputs, 1)
        assert caught.value.field == "conv2" and "separate_activations" in caught.value.remedy
    separated = separate_activations(seasoned(BatchNormed(None)))
    torch.testing.assert_close(attribute(name, separated, inputs, 1), attribute(name, model, inputs, 1))


@pytest.mark.parametrize("name", NAMES)
def test_rectifiers_in_place_change_nothing(name):
    inputs = scans(3)
    plain = attribute(name, convolutional(3), inputs, 1)
    torch.testing.assert_close(attribute(name, convolutional(3, inplace=True), inputs, 1), plain)


def test_probability_follows_the_chain_rule_and_scores_the_probability():
    model, inputs = pooled(2), scans(2)
    shares = model(inputs).softmax(1).detach()
    signed = [attribute("hirescam", model, inputs, each) for each in range(3)]
    mean = sum(shares[:, each].reshape(-1, 1, 1, 1) * signed[each] for each in range(3))
    found = attribute("hirescam", model, inputs, 1, start="probability")
    torch.testing.assert_close(found, shares[:, 1].reshape(-1, 1, 1, 1) * (signed[1] - mean))
    softmax = nn.Sequential(*model, nn.Softmax(1))
    for name in ("scorecam", "ablationcam"):
        torch.testing.assert_close(
            attribute(name, model, inputs, 1, start="probability"), attribute(name, softmax, inputs, 1)
        )


@pytest.mark.parametrize("name", COARSE)
def test_one_output_needs_no_target(name):
    model = seasoned(
        nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 1))
    )
    torch.testing.assert_close(attribute(name, model, scans(1)), attribute(name, model, scans(1), 0))


def test_bfloat16_moves_maps_little():
    model, inputs = lively(2).float(), scans(2).float()
    for name in ("eigencam", "ablationcam"):
        full = attribute(name, model, inputs, 1, layer="2")
        half = attribute(name, model, inputs, 1, layer="2", precision="bfloat16")
        assert (half - full).abs().max() < (0.02 if name == "eigencam" else 1e-5) * full.max(), name


class Nested(nn.Module):
    """Layers inside of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU())
        self.alias = self.features[2]
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def test_a_layer_may_be_a_container_or_have_two_names():
    model, inputs = seasoned(Nested(), seed=1), scans(2)
    for name in COARSE:
        container = attribute(name, model, inputs, 1, layer="features")
        torch.testing.assert_close(container, attribute(name, model, inputs, 1, layer="features.3"))
    for name in ("gradcam", "scorecam", "ablationcam"):
        alias = attribute(name, model, inputs, 1, layer="alias")
        torch.testing.assert_close(alias, attribute(name, model, inputs, 1, layer="features.2"))


# --- refusals and leftovers ---------------------------------------------------------------------------------------


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.shortcut = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.act(self.stem(x))
        return (self.shortcut(x) + self.shortcut(x.flip(2))).mean((2, 3))


@pytest.mark.parametrize("name", NAMES)
def test_layers_without_one_map_and_networks_without_convolution_are_refused_by_name(name):
    inputs = scans(2)
    for model, layer, shape in ((convolutional(2), "9", "(3, 6)"), (seasoned(Twice()), "shortcut", "gave 2 outputs")):
        with pytest.raises(UnsupportedModelError) as caught:
            attribute(name, model, inputs, 1, layer=layer)
        assert caught.value.field == layer and shape in caught.value.problem
    with pytest.raises(UnsupportedModelError) as caught:
        attribute(name, convolutional(2), inputs, 1, layer="features.9")
    assert caught.value.field == "layer" and "0, 4" in caught.value.remedy
    with pytest.raises(UnsupportedModelError, match="no convolution"):
        attribute(name, seasoned(nn.Sequential(nn.Flatten(), nn.Linear(264, 4), nn.ReLU())), inputs, 1)


class Memory(nn.Module):
    """Returns a tuple, as recurrent layers do."""

    def forward(self, x):
        return x, x.mean()


def test_a_layer_that_returns_several_things_is_refused_by_name():
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.memory = nn.Conv2d(2, 3, 3), Memory()

        def forward(self, x):
            return self.memory(self.conv(x))[0].mean((2, 3))

    for name in ("eigencam", "scorecam", "ablationcam"):
        with pytest.raises(UnsupportedModelError, match="tuple") as caught:
            attribute(name, Several().double(), scans(2), 1, layer="memory")
        assert caught.value.field == "memory"


class Fuse(nn.Module):
    """Lets some passes through, then raises."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.left = passes

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise ValueError("boom")
        return x


@pytest.mark.parametrize("passes", [0, 1, 2, 3])
@pytest.mark.parametrize("name", COARSE)
def test_no_hook_is_left_on_the_private_network_after_an_exception(name, passes):
    model = nn.Sequential(*lively(2), Fuse(passes)).eval().requires_grad_(False)
    method = METHODS[name].function
    try:
        method(model, scans(2), torch.tensor([0, 1, 2]), layer="2", **context(name, 2))
        assert passes > 0
    except ValueError:
        assert passes == 0 or name in ("scorecam", "ablationcam")
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
