"""What every question about faithfulness must hold: a constant network ranks no map, the exact truth beats chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heatproof.figures import selection
from heatproof.metrics import METRICS
from heatproof.metrics.faithfulness import FILLS, f_fidelity, infidelity, max_sensitivity, removal_curves, road
from heatproof.metrics.probes import NEEDS, PROBES
from heatproof.statistics import conditions

GRIDS = [(60,), (12, 11), (7, 8, 6)]


def questions(image, maps, predict, logits, target, reference, black, steepness=None):
    """Every score of this package for some maps, by name and setting; `black` is what a fill of zero leaves."""
    steepness = maps if steepness is None else steepness
    common = {"seed": 3, "batch_size": 16}
    scores = {}
    for fill in FILLS:
        given = {"zero": black, "control_mean": reference}.get(fill)
        for metric, mode in (("deletion", "delete"), ("insertion", "insert")):
            curves = removal_curves(
                image, maps, predict, target, fill=fill, mode=mode, reference=given, shares=(0, 0.05, 0.2, 0.5, 1),
                **common,
            )  # fmt: skip
            scores[metric, fill] = curves.auc
    found = road(image, maps, predict, target, shares=(0.1, 0.3, 0.6), **common)
    scores |= {("road_morf", ""): found.morf, ("road_lerf", ""): found.lerf, ("road", ""): found.combined}
    scores["infidelity", "gaussian"] = infidelity(image, steepness, logits, target, n_samples=100, scale=0.3, **common)
    for score in ("accuracy", "probability"):
        plus, minus = f_fidelity(
            image, maps, predict, target, score=score, n_samples=10, beta=0.3, share_grid=(0.1, 0.3, 0.5), fill=black,
            **common,
        )  # fmt: skip
        scores |= {("f_fidelity_plus", score): plus, ("f_fidelity_minus", score): minus}
        scores["f_fidelity", score] = plus - minus
    return scores


def geometries(shape):
    """Maps as different as can be: noise, a blob, an edge, scattered points, a constant, one point."""
    random = np.random.default_rng(0)
    places = np.indices(shape) / np.array(shape).reshape(-1, *[1] * len(shape))
    blob = np.exp(-20 * ((places - 0.5) ** 2).sum(axis=0))
    edge = np.where(np.any((places < 0.1) | (places > 0.85), axis=0), 1.0, 0.0)
    point = np.zeros(shape)
    point.flat[5] = 1
    scattered = np.where(random.random(shape) < 0.05, 1.0, 0.0)
    return np.stack([random.normal(size=shape), blob, edge, scattered, np.ones(shape), point, -blob])


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_network_that_always_says_the_same_ranks_no_map(shape, target, kind):
    image = kind(np.random.default_rng(1).normal(size=(1, *shape)))

    def always(batch):
        assert isinstance(batch, type(image))
        answers = np.tile([[1.0, 0.0]], (len(batch), 1))
        return torch.from_numpy(answers) if kind is torch.as_tensor else answers

    reference = np.zeros(image.shape)
    scores = questions(image, geometries(shape), always, always, target, reference, 0.0)
    for (metric, setting), values in scores.items():
        assert np.ptp(values) == 0, (metric, setting)
        expected = 1 - target if metric in ("deletion", "insertion", "road_morf", "road_lerf") else 0
        assert values[0] == pytest.approx(expected), (metric, setting)


def test_a_map_that_ignores_the_network_is_not_punished_for_its_geometry():
    for heatmap in geometries((12, 11)):
        explain = lambda batch, heatmap=heatmap: np.broadcast_to(heatmap, (len(batch), 12, 11))  # noqa: E731
        image = np.random.default_rng(1).normal(size=(1, 12, 11))
        assert max_sensitivity(explain, image, radius=0.1, n_samples=3, seed=0) == 0


@pytest.mark.parametrize("shape", GRIDS)
def test_the_exact_truth_beats_random_maps_on_a_linear_network(shape):
    """The evidence is a texture in a known region; the map that names it wins under every question."""
    random = np.random.default_rng(2)
    region = np.zeros(shape, bool)
    region[tuple(slice(size // 4, size // 4 + max(2, size // 3)) for size in shape)] = True
    # A texture too fine to be guessed from the surroundings, where controls are even.
    weights = np.where(region, (-1.0) ** np.indices(shape).sum(axis=0), 0.0)
    image = (1 + weights + random.normal(scale=0.05, size=shape))[None]
    reference = np.ones((1, *shape))

    def logits(batch):
        evidence = ((batch[:, 0] - 1) * weights).reshape(len(batch), -1).sum(axis=1) / region.sum()
        return np.stack([np.zeros(len(batch)), 8 * (evidence - 0.5)], axis=1)

    def predict(batch):
        powers = np.exp(logits(batch))
        return powers / powers.sum(axis=1, keepdims=True)

    maps = np.stack([region.astype(float), *random.random((12, *shape))])
    steepness = np.stack([weights, *maps[1:]])
    scores = questions(image, maps, predict, logits, 1, reference, reference, steepness)
    for (metric, setting), values in scores.items():
        better = values[0] > values[1:] if PROBES[metric].larger_is_better else values[0] < values[1:]
        if setting == "accuracy":
            better = values[0] >= values[1:] if PROBES[metric].larger_is_better else values[0] <= values[1:]
        assert better.all(), (metric, setting, values)


def test_smaller_is_better_where_the_probes_say_so_in_statistics_and_figures():
    smaller = {name for name, probe in PROBES.items() if not probe.larger_is_better}
    assert smaller == {
        "deletion", "road_morf", "infidelity", "max_sensitivity", "f_fidelity_minus", "turbe_bottom", "cascading_mprt",
        "smooth_mprt", "data_randomisation",
    }  # fmt: skip
    for names in (conditions.SMALLER_IS_BETTER, selection.SMALLER_IS_BETTER):
        assert names & set(PROBES) == smaller


def test_every_probe_says_what_it_needs_and_where_it_comes_from():
    assert not set(PROBES) & set(METRICS)
    for name, probe in PROBES.items():
        assert probe.name == name and probe.citation and probe.unit and probe.chance
        assert probe.needs and set(probe.needs) <= set(NEEDS)
