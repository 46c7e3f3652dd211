"""Occlusion and RISE: incremental passes against whole ones, windows, regions, masks, and the limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from attribution.networks import AVERAGE, CONVOLUTION, MAXIMUM, NORMALISATION, SIZE, convolutional, scans, seasoned
from attribution.test_attribution_rescale import brightness, lifted
from heatproof.attribution import attribute
from heatproof.attribution.isolation import isolated
from heatproof.attribution.perturbation.incremental import Boxes, IncrementalNetwork
from heatproof.attribution.perturbation.occlusion import incremental_scores, whole_scores
from heatproof.attribution.perturbation.rise import random_mask
from heatproof.attribution.perturbation.windows import window_corners
from heatproof.attribution.streams import stream
from heatproof.errors import ConfigError, UnsupportedModelError

GRID = {1: (40,), 2: (23, 26), 3: (11, 14, 12)}
GLOBAL_AVERAGE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class Branching(nn.Module):
    """A residual block, a concatenation, a gate, and every way to pad and to work in place."""

    def __init__(self, n_axes: int) -> None:
        super().__init__()
        convolution = CONVOLUTION[n_axes]
        self.first = convolution(2, 4, 3, padding=1)
        self.wide = convolution(4, 4, 3, padding=2, dilation=2, bias=False)
        self.normalise = NORMALISATION[n_axes](4)
        self.shortcut, self.even = convolution(4, 4, 1), convolution(4, 4, 2, padding="same")
        self.maximum, self.rounded = MAXIMUM[n_axes](3, 2, 1), MAXIMUM[n_axes](2, 2, ceil_mode=True)
        self.grouped = convolution(8, 6, 3, stride=2, padding=1, groups=2)
        self.gate, self.pool = convolution(6, 6, 1), GLOBAL_AVERAGE[n_axes](1)
        self.linear, self.relu = nn.Linear(6, 3), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.first(x))
        y = self.normalise(self.wide(x))
        y += self.shortcut(x)
        y = functional.relu(y, inplace=True)
        y = torch.cat([y, self.even(y)], 1)
        y = self.rounded(self.grouped(self.maximum(y)).relu_())
        y = y * self.gate(self.pool(y)).sigmoid()
        return self.linear(self.pool(y).view(y.size(0), -1))


def chain(n_axes: int) -> nn.Module:
    """Return convolutions, averages with overlap and a maximum with gaps, then a dense layer."""
    convolution, average, maximum = CONVOLUTION[n_axes], AVERAGE[n_axes], MAXIMUM[n_axes]
    layers = [convolution(2, 3, 4, stride=3, padding=2), nn.Tanh(), average(2, 1), nn.PReLU(3), maximum(1, 2)]
    model = nn.Sequential(*layers, convolution(3, 3, 2, padding=1), nn.GELU(), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, 2, *GRID[n_axes]))
    return model


def some_scans(n_axes: int, seed: int = 0) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, *GRID[n_axes], generator=stream, dtype=torch.float64)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("build", [Branching, chain])
@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 2), (5, 4), (9, 9)])
def test_incremental_passes_equal_whole_ones(build, n_axes, window, stride, monkeypatch):
    monkeypatch.setattr("heatproof.attribution.perturbation.occlusion.LARGEST_EFFORT", 1e9)
    model, inputs, fill = isolated(seasoned(build(n_axes))), some_scans(n_axes), some_scans(n_axes, 1)
    window, stride, target = (window,) * n_axes, (stride,) * n_axes, torch.tensor([0, 1])
    corners = torch.tensor(list(window_corners(GRID[n_axes], window, stride)))
    corners = corners[torch.randperm(len(corners), generator=torch.Generator().manual_seed(2))[:60]]
    more = (model, inputs, target, fill, corners, window, "logit", 16)
    expected = whole_scores(*more)
    assert float((expected - expected[:, :1]).abs().max()) > 1e-3
    torch.testing.assert_close(incremental_scores(*more), expected, rtol=1e-11, atol=1e-13)


def test_a_small_window_costs_a_small_part_of_a_pass():
    model, inputs = isolated(seasoned(Branching(2))), torch.randn(1, 2, 90, 90, dtype=torch.float64)
    network = IncrementalNetwork(model, Boxes(torch.tensor([[40, 40], [0, 86]]), (4, 4)))
    network.remember(inputs)
    assert network.effort() < 0.05
    assert {node.name for node in network.boxes} >= {"x", "wide", "cat", "grouped", "rounded"}
    assert not any(node.name.startswith(("gate", "pool", "linear")) for node in network.boxes)


def branching_on_values(x):
    return x if x.mean() > 0 else x * 2


class Plain(nn.Module):
    """A convolution whose output takes any way on."""

    def __init__(self, way) -> None:
        super().__init__()
        self.way, self.convolution, self.linear = way, nn.Conv2d(2, 3, 3, padding=1), nn.Linear(3, 2)
        self.hooked = nn.Identity()

    def forward(self, x):
        return self.linear(self.hooked(self.way(self.convolution(x))).mean((2, 3)))


def used_after_overwriting(x):
    y = x.relu_()
    return x + y * 2


def writing_into_a_view(x):
    x[:, :2].mul_(-3.0)
    return x


@pytest.mark.parametrize(
    "way", [branching_on_values, used_after_overwriting, writing_into_a_view, "hook", "normalised"]
)
def test_other_networks_get_whole_passes(way):
    model, inputs = seasoned(Plain((lambda x: x) if isinstance(way, str) else way)), scans(2)
    if way == "hook":
        model.hooked.register_forward_hook(lambda module, arguments, output: output * output)
    if way == "normalised":  # has a graph, but every voxel depends on every other one
        model.hooked = nn.GroupNorm(1, 3).double()
    else:
        with pytest.raises(UnsupportedModelError):
            IncrementalNetwork(isolated(model), Boxes(torch.zeros(1, 2, dtype=torch.long), (2, 2)))
    found = attribute("occlusion", model, inputs, 1, window=4, stride=4)
    for row in range(0, 12, 4):
        for column in range(0, 11, 4):
            occluded = inputs.clone()
            occluded[:, :, row : row + 4, column : column + 4] = 0
            expected = (model(inputs) - model(occluded)).detach()[:, 1]
            box = found[:, 0, row : row + 4, column : column + 4].flatten(1)
            torch.testing.assert_close(box, expected[:, None].expand_as(box))


def test_windows_have_a_size_and_a_step_for_each_axis():
    model, inputs = convolutional(3), scans(3, 1)
    default = attribute("occlusion", model, inputs, 1)
    torch.testing.assert_close(default, attribute("occlusion", model, inputs, 1, window=[1, 1, 1], stride=1))
    uneven = attribute("occlusion", model, inputs, 1, window=[6, 7, 2], stride=[6, 7, 2])[0, 0]
    assert torch.equal(uneven, uneven[:1, :1].expand_as(uneven))
    assert torch.equal(uneven[..., ::2], uneven[..., 1::2]) and len(uneven[0, 0].unique()) == 3


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"window": 0}, "window"),
        ({"window": [3]}, "window"),
        ({"window": 2.5}, "window"),
        ({"window": [3, 12]}, "window"),
        ({"window": 3, "stride": 4}, "stride"),
        ({"window": 3, "stride": True}, "stride"),
        ({"by": "area"}, "by"),
        ({"by": "region"}, "regions"),
        ({"by": "region", "regions": torch.zeros(SIZE[2], dtype=torch.int32)}, "regions"),
        ({"by": "region", "regions": torch.ones(3, 3, dtype=torch.int32)}, "regions"),
        ({"by": "region", "regions": torch.ones(SIZE[2])}, "regions"),
    ],
)
def test_what_cannot_be_occluded_is_refused(parameters, field):
    with pytest.raises(ConfigError) as caught:
        attribute("occlusion", convolutional(2), scans(2), 1, **parameters)
    assert caught.value.field == field and caught.value.remedy


def test_a_region_is_a_window_of_any_shape():
    model, inputs, regions = convolutional(2), scans(2), torch.zeros(SIZE[2], dtype=torch.int16)
    regions[4:8, 3:6] = 7
    baseline = scans(2, 1, seed=4)
    found = attribute("occlusion", model, inputs, 1, by="region", regions=regions, baseline=baseline)
    assert (found[:, 0, regions == 0] == 0).all()
    occluded = torch.where(regions == 7, baseline, inputs)
    expected = (model(inputs) - model(occluded)).detach()[:, 1, None]
    torch.testing.assert_close(found[:, 0, regions == 7], expected.expand(-1, 12))


@pytest.mark.parametrize("start", ["logit", "probability"])
def test_occlusion_explains_what_it_is_told_to(start):
    model, inputs = convolutional(2), scans(2)
    found = attribute("occlusion", model, inputs, 1, window=list(SIZE[2]), start=start)[:, 0, 0, 0]
    ends = [model(each).detach() for each in (inputs, torch.zeros_like(inputs))]
    ends = [each.softmax(1) if start == "probability" else each for each in ends]
    torch.testing.assert_close(found, (ends[0] - ends[1])[:, 1])


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize(("method", "parameters"), [("occlusion", {"window": 2}), ("rise", {"n_samples": 300})])
def test_a_planted_square_is_found(method, parameters, n_axes):
    scan = torch.zeros(1, 1, *[12] * n_axes, dtype=torch.float64)
    square = (0, 0, *[slice(4, 8)] * n_axes)
    scan[square] = 1
    found = attribute(method, brightness(n_axes), scan, start="logit", **parameters)
    inside = torch.zeros_like(found, dtype=torch.bool)
    inside[square] = True
    assert float(found[inside].mean()) > 1.2 * float(found[~inside].mean()) and float(found[inside].min()) > 0
    if method == "occlusion":
        moved = attribute(method, brightness(n_axes), scan.roll(1, 2), start="logit", **parameters)
        torch.testing.assert_close(moved, found.roll(1, 2))


@pytest.mark.parametrize(("method", "parameters"), [("occlusion", {"window": [1, 3, 3]}), ("rise", {"n_samples": 3})])
def test_a_flat_network_in_space_draws_the_same_map(method, parameters, monkeypatch):
    masks = {}

    def same_mask(sizes, cells, probability, random):
        flat = masks.setdefault(random.initial_seed(), random_mask(sizes[-2:], cells, probability, random))
        return flat if len(sizes) == 2 else flat[None]

    monkeypatch.setattr("heatproof.attribution.perturbation.rise.random_mask", same_mask)
    model, inputs = convolutional(2), scans(2)
    found = attribute(method, lifted(model), inputs[:, :, None], 1, **parameters)[:, :, 0]
    flat = {key: value[1:] if isinstance(value, list) else value for key, value in parameters.items()}
    torch.testing.assert_close(found, attribute(method, model, inputs, 1, **flat))


class Counting(nn.Module):
    """Writes down how many scans pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.seen.append(len(x))
        return x


@pytest.mark.parametrize("n_samples", [20, 200])
def test_no_pass_is_larger_than_a_batch_however_many_masks(n_samples):
    counting = Counting()
    model = nn.Sequential(counting, *convolutional(2)).eval()
    attribute("rise", model, scans(2), 1, n_samples=n_samples, batch_size=2)
    assert max(counting.seen) == 2 and sum(counting.seen) == 3 * n_samples


def test_more_masks_leave_the_first_ones_as_they_are():
    model, inputs, keys = convolutional(2), scans(2), ["a", "b", "c"]
    few, more = (attribute("rise", model, inputs, 1, n_samples=n, scan_keys=keys, seed=5) for n in (6, 7))
    for scan, key, one in zip(inputs, keys, 7 * more - 6 * few, strict=True):
        mask = random_mask(SIZE[2], 7, 0.5, stream(5, "rise", key, 6)).double()
        score = model((mask * scan)[None]).detach().softmax(1)[0, 1]
        torch.testing.assert_close(one[0], score * mask / 0.5, rtol=1e-6, atol=1e-7)


def test_masks_show_what_they_hide():
    model, inputs, baseline = convolutional(2), scans(2, 1), scans(2, 1, seed=4)
    found = attribute("rise", model, inputs, 1, n_samples=1, baseline=baseline, start="logit", scan_keys=["a"])
    mask = random_mask(SIZE[2], 7, 0.5, stream(0, "rise", "a", 0)).double()
    seen = mask * inputs + (1 - mask) * baseline
    torch.testing.assert_close(found[0, 0], model(seen).detach()[0, 1] * mask / 0.5, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sizes", [(50,), (5, 9), (3, 20, 8)])
@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_masks_are_between_0_and_1_and_keep_their_share(sizes, probability):
    masks = torch.stack([random_mask(sizes, 4, probability, stream(0, "x", number)) for number in range(400)])
    assert masks.shape[1:] == sizes and float(masks.min()) >= 0 and float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(probability, abs=0.05)
    assert float((masks.mean(0) - probability).abs().max()) < 0.12


@pytest.mark.parametrize(
    ("parameter", "value"), [("n_samples", 0), ("cells", 0), ("probability", 0), ("probability", 2)]
)
def test_masks_that_cannot_be_are_refused(parameter, value):
    with pytest.raises(ConfigError) as caught:
        attribute("rise", convolutional(2), scans(2), 1, **{parameter: value})
    assert caught.value.field == parameter


def test_boxes_around_boxes_hold_both_and_stay_on_the_grid():
    one = Boxes(torch.tensor([[0, 5], [8, 2]]), (4, 3))  # on a grid of 12 x 8
    other = Boxes(torch.tensor([[2, 5], [9, 0]]), (3, 3))
    found = one.around(other)
    assert found.lengths == (5, 5)
    assert found.starts.tolist() == [[0, 3], [7, 0]]


def test_whole_maps_that_are_rebuilt_count_as_effort():
    """An average over the grid reads whole maps, so a small window is no small pass."""
    model = seasoned(
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    )
    network = IncrementalNetwork(isolated(model), Boxes(torch.zeros(1, 2, dtype=torch.long), (1, 1)))
    network.remember(scans(2, 1))
    maps, scan = 4 * 12 * 11, 2 * 12 * 11
    assert network.effort() > maps / (scan + 2 * maps + 2 * 4 + 2)
