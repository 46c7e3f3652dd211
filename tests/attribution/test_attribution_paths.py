"""Where path methods take their gradients, and what they do at the limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attribution.networks import SIZE, convolutional, scans, seasoned
from heatproof.attribution import attribute, attribute_with_residual
from heatproof.attribution.paths.steps import Refinement, allotted_points, path_points
from heatproof.attribution.smoothing import gaussian_smooth
from heatproof.errors import ConfigError


def test_steps_go_where_the_number_changes():
    values = torch.tensor([0.0, 0.0, 0.0, 9.0, 10.0], dtype=torch.float64)
    points, weights = allotted_points(values, 12, "middle")
    # square roots of the changes are 0 0 3 1: one step each, and the other 8 by what each still wants, 0 0 8 2
    counts = [int(((points > first) & (points < first + 0.25)).sum()) for first in (0, 0.25, 0.5, 0.75)]
    assert counts == [1, 1, 7, 3] and len(points) == 12
    torch.testing.assert_close(weights.sum(), torch.ones((), dtype=torch.float64))
    for first, count in zip((0, 0.25, 0.5, 0.75), counts, strict=True):
        inside = weights[(points > first) & (points < first + 0.25)]
        torch.testing.assert_close(inside, torch.full((count,), 0.25 / count, dtype=torch.float64))


@pytest.mark.parametrize("rule", ["left", "right", "middle", "trapezoid"])
@pytest.mark.parametrize("values", [[1.0] * 9, list(range(9)), [0, 8, -8, 3, 1, 0, 0, 0, 100]])
@pytest.mark.parametrize("n_steps", [16, 17, 50])
def test_allotted_steps_are_all_there_and_weigh_one(rule, values, n_steps):
    points, weights = allotted_points(torch.tensor(values, dtype=torch.float64), n_steps, rule)
    assert len(points) == len(weights) == n_steps and points.min() >= 0 and points.max() <= 1
    assert float(weights.sum()) == pytest.approx(1)
    # a Riemann sum of a constant and, but for the rule's own error, of a straight line
    assert float((weights * points).sum()) == pytest.approx(0.5, abs=1 / 16)


def test_nonuniform_steps_on_an_even_path_are_uniform():
    model, inputs = seasoned(nn.Sequential(nn.Flatten(), nn.Linear(264, 3))), scans(2)
    uniform = attribute("integrated_gradients", model, inputs, 1, n_steps=16, rule="middle")
    uneven = attribute("integrated_gradients", model, inputs, 1, n_steps=16, rule="middle", steps="nonuniform")
    torch.testing.assert_close(uneven, uniform)


def test_refinement_halves_the_interval_with_the_kink():
    """The slope jumps from 0 to 1 at 0.8: trapezoids miss only the interval that holds it."""
    refinement = Refinement(5)
    seen = []
    while True:
        seen += refinement.new.tolist()
        refinement.tell((refinement.new - 0.8).clamp(min=0), (refinement.new > 0.8).double())
        if not refinement.refine(20 - len(seen), 1e-3):
            break
    assert all(0.75 < point < 1 for point in seen[5:]) and 5 < len(seen) < 20
    assert float(refinement.misses().sum()) <= 1e-3 * 0.2
    weights = refinement.weights()
    assert float(weights.sum()) == pytest.approx(1)
    assert float((weights * refinement.slopes).sum()) == pytest.approx(0.2, abs=2e-4)


def test_adaptive_steps_stop_at_the_tolerance_or_the_budget():
    model, inputs = convolutional(2), scans(2)
    calls: list[int] = []

    class Counting(nn.Module):
        def forward(self, x):
            calls.append(len(x))
            return x

    counted = nn.Sequential(Counting(), *model).eval()
    loose = attribute_with_residual(
        "integrated_gradients", counted, inputs, 1, steps="adaptive", n_steps=200, tolerance=0.1
    )
    n_loose = sum(calls)
    calls.clear()
    tight = attribute_with_residual(
        "integrated_gradients", counted, inputs, 1, steps="adaptive", n_steps=200, tolerance=1e-3
    )
    assert n_loose < sum(calls) <= 600
    ends = model(torch.cat([inputs, torch.zeros_like(inputs)]))[:, 1].detach()
    rise = (ends[:3] - ends[3:]).abs()
    assert (loose.residual.abs() <= 0.1 * rise).all() and (tight.residual.abs() <= 1e-3 * rise).all()
    calls.clear()
    attribute("integrated_gradients", counted, inputs, 1, steps="adaptive", n_steps=9, tolerance=1e-9)
    assert sum(calls) == 27


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"steps": "adaptive", "n_steps": 4}, "n_steps"),
        ({"steps": "nonuniform", "n_steps": 7}, "n_steps"),
        ({"steps": "nonuniform", "rule": "trapezoid", "n_steps": 15}, "n_steps"),
        ({"steps": "clever"}, "steps"),
        ({"tolerance": 0}, "tolerance"),
    ],
    ids=str,
)
def test_impossible_steps_are_refused(parameters, field):
    with pytest.raises(ConfigError) as caught:
        attribute("integrated_gradients", convolutional(2), scans(2), 1, **parameters)
    assert caught.value.field == field and caught.value.remedy


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("blur_ig", {"max_sigma": 0.0}, "max_sigma"),
        ("blur_ig", {"spacing": "cubic"}, "spacing"),
        ("blur_ig", {"n_steps": 0}, "n_steps"),
        ("idgi", {"n_steps": 0}, "n_steps"),
        ("idgi", {"baseline": "black"}, "baseline"),
        ("smoothgrad", {"n_samples": 0}, "n_samples"),
        ("vargrad", {"noise_level": -0.1}, "noise_level"),
        ("smoothgrad_ig", {"n_samples": True}, "n_samples"),
        ("expected_gradients", {"baseline": "black"}, "baseline"),
        ("expected_gradients", {}, "baseline"),
        ("expected_gradients", {"background": torch.zeros(2, 2, 3, 3)}, "background"),
        ("expected_gradients", {"background": torch.zeros(0, 2, *SIZE[2])}, "background"),
    ],
    ids=str,
)
def test_wrong_parameters_of_sampling_and_paths_are_refused(name, parameters, field):
    with pytest.raises(ConfigError) as caught:
        attribute(name, convolutional(2), scans(2), 1, **parameters)
    assert caught.value.field == field and caught.value.remedy


def test_square_root_spacing_takes_even_steps_of_the_variance():
    model, inputs = convolutional(2), scans(2, 1)
    fine = attribute("blur_ig", model, inputs, 1, n_steps=2000, max_sigma=2.0)
    roots = attribute("blur_ig", model, inputs, 1, n_steps=2000, max_sigma=2.0, spacing="square_root")
    assert float((fine - roots).abs().max()) < 0.02 * float(fine.abs().max())
    few = [
        attribute("blur_ig", model, inputs, 1, n_steps=3, max_sigma=2.0, spacing=s) for s in ("linear", "square_root")
    ]
    assert not torch.allclose(*few)


def test_blur_ig_approaches_the_saliency_library():
    """On a scan with a dark margin, where black outside the grid and a continued edge are the same."""
    pytest.importorskip("saliency")
    from attribution.evidence.paths import saliency_blur_ig

    model = seasoned(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 20 * 20, 2)))
    scan = torch.zeros(1, 2, 20, 20, dtype=torch.float64)
    scan[..., 8:12, 7:12] = 1
    theirs = saliency_blur_ig(model, scan, 1)
    ours = attribute("blur_ig", model, scan, 1, n_steps=50, max_sigma=2.0)
    correlation = torch.corrcoef(torch.stack([theirs.flatten(), ours.flatten()]))[0, 1]
    assert correlation > 0.99 and float(ours.sum()) == pytest.approx(float(theirs.sum()), rel=0.05)


def test_expected_gradients_draw_scans_and_places_per_scan_key():
    model, inputs, background = convolutional(2), scans(2, 3), scans(2, 4, seed=3)
    more = {"background": background, "n_samples": 6}
    straight = attribute("expected_gradients", model, inputs, 1, scan_keys=["a", "b", "c"], **more)
    alone = attribute("expected_gradients", model, inputs[2:], 1, scan_keys=["c"], **more)
    torch.testing.assert_close(alone, straight[2:], rtol=1e-9, atol=1e-12)
    other = attribute("expected_gradients", model, inputs[2:], 1, scan_keys=["d"], **more)
    assert not torch.allclose(other, alone)


def test_path_points_of_uniform_rules():
    assert path_points(4, "left")[0].tolist() == [0, 0.25, 0.5, 0.75]
    assert path_points(4, "middle")[0].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_the_baseline_of_smoothgrad_ig_has_no_noise():
    model, inputs = convolutional(2), scans(2, 1)
    more = {"n_samples": 2, "n_steps": 3, "noise_level": 0.5}
    named = attribute("smoothgrad_ig", model, inputs, 1, baseline="blurred", blur_sigma=1.0, **more)
    array = attribute("smoothgrad_ig", model, inputs, 1, baseline=gaussian_smooth(inputs, 1.0), **more)
    torch.testing.assert_close(named, array)
