"""Guided integrated gradients: the path it goes, its limits, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attribution.evidence.gradients import linear_network, weight_map
from attribution.networks import SIZE, convolutional, scans
from heatproof.attribution import attribute, attribute_with_residual
from heatproof.attribution.paths.guided import Paths
from heatproof.attribution.smoothing import gaussian_smooth
from heatproof.errors import ConfigError


def lengths_and_slopes(n_rows: int, n_values: int, n_steps: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return random ways, a tenth of them of no length, and absolute gradients of each step with many ties."""
    stream = torch.Generator().manual_seed(0)
    lengths = (
        torch.rand(n_rows, n_values, generator=stream, dtype=torch.float64) ** torch.arange(1, n_rows + 1)[:, None]
    )
    lengths[:, ::10] = 0
    slopes = [torch.randint(0, 9, (n_rows, n_values), generator=stream).double() for _ in range(n_steps)]
    return lengths, slopes


@pytest.mark.parametrize(("fraction", "max_distance"), [(0.25, 0.02), (0.5, 1.0), (0.05, 0.3), (1.0, 0.1), (0.01, 0.0)])
def test_every_step_goes_its_share_of_the_way_inside_the_band(fraction, max_distance):
    lengths, slopes = lengths_and_slopes(5, 60, 25)
    paths = Paths(lengths, fraction, max_distance)
    total = torch.zeros_like(lengths)
    for step, each in enumerate(slopes, 1):
        moved = paths.moved(each, step / 25)
        total += moved
        assert moved.min() >= 0
        gone = (lengths * paths.positions).sum(1) / lengths.sum(1)
        torch.testing.assert_close(gone, torch.full_like(gone, step / 25), rtol=0, atol=2e-9)
        on_its_way = paths.positions[lengths > 0]
        assert on_its_way.min() >= step / 25 - max_distance - 1e-12
        assert on_its_way.max() <= step / 25 + max_distance + 1e-12
    torch.testing.assert_close(total, (lengths > 0).double(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("max_distance", [0.05, 1.0])
def test_scans_side_by_side_go_the_paths_they_go_alone(max_distance):
    """Also where one needs more rounds of a step than another."""
    lengths, slopes = lengths_and_slopes(6, 50, 15)
    together = Paths(lengths, 0.1, max_distance)
    alone = [Paths(lengths[row : row + 1], 0.1, max_distance) for row in range(6)]
    for step, each in enumerate(slopes, 1):
        moved = together.moved(each, step / 15)
        expected = torch.cat([path.moved(each[row : row + 1], step / 15) for row, path in enumerate(alone)])
        torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-14)


def test_values_of_small_gradient_move_first():
    lengths = torch.ones(1, 8, dtype=torch.float64)
    slopes = torch.tensor([[5.0, 1.0, 4.0, 2.0, 8.0, 7.0, 6.0, 3.0]], dtype=torch.float64)
    paths = Paths(lengths, 0.25, 1.0)
    for step, others in ((1, []), (2, [3]), (3, [3, 7]), (4, [3, 7, 2])):
        paths.moved(slopes, step / 8)
        # two at a time: the first two share the first step, the next two the third
        assert float(paths.positions.sum()) == pytest.approx(step)
        assert not paths.positions[0, [4, 5, 6, 0]].any() and all(paths.positions[0, [1, *others][: step // 2]] > 0)
    assert paths.positions[0].tolist() == [0, 1, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("baseline", ["zero", "control_mean", "blurred", "tensor"])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_linear_network_has_its_weights_times_the_way(n_axes, baseline):
    model, inputs, mean = linear_network(n_axes), scans(n_axes), scans(n_axes, 1, seed=9)[0]
    begin = {"zero": 0 * inputs, "blurred": gaussian_smooth(inputs, 1.5)}.get(baseline, mean.expand_as(inputs))
    more = {"baseline": mean if baseline == "tensor" else baseline, "control_mean": mean, "blur_sigma": 1.5}
    for fraction, max_distance in ((0.25, 0.02), (0.5, 1.0)):
        result = attribute_with_residual(
            "guided_ig", model, inputs, 1, n_steps=6, fraction=fraction, max_distance=max_distance, **more
        )
        torch.testing.assert_close(result.maps, weight_map(model, n_axes, 1) * (inputs - begin))
        assert result.residual.abs().max() < 1e-9


def test_zero_is_the_zero_intensity_of_each_scan():
    model, inputs, zeros = linear_network(2), scans(2), scans(2, seed=8)
    found = attribute("guided_ig", model, inputs, 1, n_steps=3, zero_intensity=zeros)
    torch.testing.assert_close(found, weight_map(model, 2, 1) * (inputs - zeros))


def test_residual_is_the_sum_minus_the_rise():
    model, inputs = convolutional(2), scans(2)
    result = attribute_with_residual("guided_ig", model, inputs, 1, n_steps=20)
    with torch.no_grad():
        rise = (model(inputs) - model(0 * inputs))[:, 1]
    torch.testing.assert_close(result.residual, result.maps.flatten(1).sum(1) - rise)
    assert result.residual.abs().max() < 0.2 * rise.abs().max()


def test_a_scan_that_is_its_baseline_has_an_empty_map():
    model, inputs = convolutional(2), scans(2)
    inputs[1] = 0
    result = attribute_with_residual("guided_ig", model, inputs, 1, n_steps=4)
    assert not result.maps[1].any() and result.residual[1] == 0 and result.maps[[0, 2]].abs().sum() > 0


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1)])
def test_a_scan_of_one_voxel_has_integrated_gradients(shape):
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    scan = torch.full((1, 1, *shape), 0.7, dtype=torch.float64)
    found = attribute("guided_ig", model, scan, 1, n_steps=7)
    torch.testing.assert_close(found, attribute("integrated_gradients", model, scan, 1, n_steps=7))


def test_single_precision_goes_the_same_path_where_gradients_differ():
    """Rounding may only swap values of nearly equal gradient."""
    model, inputs = convolutional(2), scans(2)
    options = {"n_steps": 10, "fraction": 0.5, "max_distance": 0.2}
    double = attribute("guided_ig", model, inputs, 1, **options)
    single = attribute("guided_ig", model.float(), inputs.float(), 1, **options)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4 * float(double.abs().max()))


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ({"n_steps": 0}, "1 or more"),
        ({"n_steps": 2.5}, "1 or more"),
        ({"fraction": 0.0}, "above 0"),
        ({"fraction": 1.1}, "up to 1"),
        ({"max_distance": -0.1}, "from 0 to 1"),
        ({"max_distance": 2.0}, "from 0 to 1"),
        ({"baseline": "black"}, "control_mean"),
        ({"baseline": "control_mean"}, "control_mean"),
        ({"baseline": torch.zeros(2, 3, 3)}, "grid"),
        ({"start": "softmax"}, "probability"),
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_refused(parameters, part):
    with pytest.raises(ConfigError) as caught:
        attribute("guided_ig", convolutional(2), scans(2), 1, **parameters)
    assert caught.value.field == next(iter(parameters)) and part in f"{caught.value.remedy}"


def test_a_planted_box_is_positive_and_on_top():
    class Box(nn.Module):
        def forward(self, inputs):
            inside = torch.relu(inputs[:, :, 3:6, 4:8]).flatten(1).sum(1)
            return torch.stack([-inside, inside], 1)

    inputs = scans(2, 1).abs()
    heatmap = attribute("guided_ig", Box(), inputs, 1, n_steps=20)[0]
    inside = torch.zeros(SIZE[2], dtype=torch.bool)
    inside[3:6, 4:8] = True
    assert heatmap[:, inside].min() > 0 and not heatmap[:, ~inside].any()
