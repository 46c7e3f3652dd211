from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import ConfigError, GeometryError, UnsupportedModelError
from heatproof.metrics.faithfulness import f_fidelity, fine_tuned, infidelity, max_sensitivity
from heatproof.metrics.faithfulness.fidelity import Draws
from heatproof.metrics.faithfulness.fine_tuning import holes
from heatproof.metrics.faithfulness.infidelity import Perturbations, square
from heatproof.metrics.faithfulness.ranking import RankedScan
from heatproof.randomness import generator

GRIDS = [(40,), (9, 11), (6, 7, 5)]


def logits_of(shape, n_channels=2, seed=11, linear=False):
    weights = np.random.default_rng(seed).normal(size=(3, n_channels * int(np.prod(shape)))) / 3

    def logits(batch):
        flat = batch.reshape(len(batch), -1)
        return (flat if linear else np.tanh(flat)) @ weights.T

    return logits, weights.reshape(3, n_channels, *shape)


def example(shape, n_maps=3, n_channels=2, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n_channels, *shape)), random.normal(size=(n_maps, n_channels, *shape))


# Infidelity


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("kind", ["gaussian", "square", "contributions"])
@pytest.mark.parametrize("normalise", [True, False])
def test_infidelity_equals_a_loop_over_perturbations(shape, kind, normalise):
    image, maps = example(shape)
    fill = np.random.default_rng(5).normal(size=image.shape)
    logits, _ = logits_of(shape)
    settings = {"perturbation": "gaussian", "scale": 0.4}
    if kind != "gaussian":
        settings = {"perturbation": "square", "scale": 3, "contributions": kind == "contributions", "fill": fill}
    ours = infidelity(image, maps, logits, 1, n_samples=8, seed=3, normalise=normalise, batch_size=3, **settings)
    for column, heatmap in enumerate(maps):
        foretold, found = [], []
        for sample in range(8):
            random = generator(3, "faithfulness", "infidelity", sample)
            changed = image.copy()
            if kind == "gaussian":
                weight = 0.4 * random.standard_normal(image.shape)
                changed = image - weight
            else:
                inside = square(shape, 3, random) == 1
                changed[:, inside] = fill[:, inside]
                weight = np.broadcast_to(inside, image.shape) if kind == "contributions" else image - changed
            foretold.append(float((heatmap * weight).sum()))
            found.append(logits(image[None])[0, 1] - logits(changed[None])[0, 1])
        foretold, found = np.array(foretold), np.array(found)
        factors = np.linspace(-5, 5, 20001) if normalise else [1.0]
        # The best factor by trying them all.
        best = min(((factor * foretold - found) ** 2).mean() for factor in factors)
        assert ours[column] == pytest.approx(best, abs=1e-4 if normalise else 1e-9)


@pytest.mark.parametrize("normalise", [True, False])
def test_infidelity_agrees_with_captum(normalise):
    captum = pytest.importorskip("captum.metrics")
    image, maps = example((9, 11))
    logits, _ = logits_of((9, 11))
    source = Perturbations(image, np.zeros_like(image), image.shape, "gaussian", 0.3, False, 4)
    noise = torch.from_numpy(np.stack([source.draw(sample)[0] for sample in range(20)]))

    def theirs(heatmap):
        return captum.infidelity(
            lambda batch: torch.from_numpy(logits(batch.numpy())),
            lambda inputs: (noise, inputs - noise),
            torch.from_numpy(image)[None],
            torch.from_numpy(heatmap)[None],
            target=2,
            n_perturb_samples=20,
            normalize=normalise,
        ).item()

    ours = infidelity(image, maps, logits, 2, n_samples=20, seed=4, scale=0.3, normalise=normalise)
    np.testing.assert_allclose(ours, [theirs(heatmap) for heatmap in maps], rtol=1e-9)


@pytest.mark.parametrize("shape", GRIDS)
def test_the_gradient_of_a_linear_network_has_no_infidelity_and_the_contributions_neither(shape):
    image, maps = example(shape)
    logits, weights = logits_of(shape, linear=True)
    fill = np.random.default_rng(1).normal(size=image.shape)
    exact = np.stack([weights[1], maps[0]])
    for settings in ({"scale": 0.5}, {"perturbation": "square", "scale": 2, "fill": fill}):
        for normalise in (True, False):
            found = infidelity(image, exact, logits, 1, n_samples=10, seed=0, normalise=normalise, **settings)
            assert found[0] == pytest.approx(0, abs=1e-18) and found[1] > 1e-3
    contributions = ((image - fill) * exact).sum(axis=1)
    found = infidelity(
        image, contributions, logits, 1, n_samples=10, seed=0, perturbation="square", scale=2, contributions=True,
        fill=fill, normalise=False,
    )  # fmt: skip
    assert found[0] == pytest.approx(0, abs=1e-18) and found[1] > 1e-3


def test_normalised_infidelity_ignores_the_scale_of_a_map_and_shares_its_perturbations():
    image, maps = example((9, 11))
    logits, _ = logits_of((9, 11))
    settings = {"n_samples": 10, "seed": 0, "scale": 0.3}
    together = infidelity(image, maps, logits, 1, **settings)
    np.testing.assert_allclose(infidelity(image, -1000 * maps, logits, 1, **settings), together)
    np.testing.assert_allclose(infidelity(image, maps[1:2], logits, 1, batch_size=1, **settings), together[1:2])
    assert np.isnan(infidelity(image, np.full_like(maps, np.nan), logits, 1, **settings)).all()


def test_maps_of_one_channel_stand_for_the_sum_over_channels():
    image, maps = example((9, 11))
    logits, _ = logits_of((9, 11))
    spread = np.stack([maps[:, 0], np.zeros_like(maps[:, 0])], axis=1)
    settings = {"n_samples": 10, "seed": 0, "perturbation": "square", "scale": 3, "contributions": True}
    np.testing.assert_allclose(
        infidelity(image, maps[:, 0], logits, 1, **settings), infidelity(image, spread, logits, 1, **settings)
    )
    with pytest.raises(GeometryError, match="maps have one"):
        infidelity(image, maps[:, 0], logits, 1, **settings | {"contributions": False})
    single = infidelity(image[:1], maps[:, 0], logits_of((9, 11), 1)[0], 1, n_samples=5, seed=0, scale=0.1)
    np.testing.assert_allclose(
        single, infidelity(image[:1], maps[:, :1], logits_of((9, 11), 1)[0], 1, n_samples=5, seed=0, scale=0.1)
    )


def test_infidelity_refuses_what_makes_no_sense():
    image, maps = example((9, 11))
    logits, _ = logits_of((9, 11))
    for field, setting in (
        ("perturbation", {"perturbation": "salt"}),
        ("scale", {"scale": 0}),
        ("scale", {"scale": 2.5, "perturbation": "square"}),
        ("n_samples", {"n_samples": 0}),
        ("contributions", {"contributions": True}),
        ("target", {"target": 3}),
    ):
        with pytest.raises(ConfigError, match=field):
            infidelity(image, maps, logits, **{"target": 1, "n_samples": 2, "seed": 0, "scale": 1} | setting)
    with pytest.raises(GeometryError, match="maps"):
        infidelity(image, maps[..., 1:], logits, 1, n_samples=2, seed=0, scale=1)


# Max-sensitivity


def steep(batch):
    """Gradient x input of a sum of cubes: (B, C, *S) to (B, *S)."""
    return (3 * batch**3).sum(axis=1)


@pytest.mark.parametrize("shape", GRIDS)
def test_sensitivity_equals_a_loop(shape):
    image, _ = example(shape)
    own = steep(image[None])[0]
    changes = []
    for sample in range(9):
        noise = generator(1, "faithfulness", "sensitivity", sample).uniform(-0.1, 0.1, image.shape)
        changes.append(np.linalg.norm(steep((image + noise)[None])[0] - own) / np.linalg.norm(own))
    for batch_size in (1, 4, 64):
        ours = max_sensitivity(steep, image, radius=0.1, n_samples=9, seed=1, batch_size=batch_size)
        assert ours == pytest.approx(max(changes), rel=1e-12)


def test_sensitivity_agrees_with_captum():
    captum = pytest.importorskip("captum.metrics")
    image, _ = example((9, 11))
    noise = np.stack(
        [generator(2, "faithfulness", "sensitivity", sample).uniform(-0.2, 0.2, image.shape) for sample in range(12)]
    )
    theirs = captum.sensitivity_max(
        lambda inputs: (steep(inputs[0]),) if isinstance(inputs, tuple) else steep(inputs),
        torch.from_numpy(image)[None],
        perturb_func=lambda inputs: inputs + torch.from_numpy(noise),
        n_perturb_samples=12,
    )
    ours = max_sensitivity(steep, torch.from_numpy(image), radius=0.2, n_samples=12, seed=2)
    assert ours == pytest.approx(theirs.item(), rel=1e-9)


def test_sensitivity_in_its_limits():
    image, _ = example((9, 11))
    settings = {"radius": 0.1, "n_samples": 3, "seed": 0}
    assert max_sensitivity(lambda batch: np.ones((len(batch), 9, 11)), image, **settings) == 0
    assert max_sensitivity(lambda batch: np.zeros((len(batch), 9, 11)), image, **settings) == 0
    assert max_sensitivity(lambda batch: steep(batch - image), image, **settings) == np.inf
    assert np.isnan(max_sensitivity(lambda batch: np.full((len(batch), 9, 11), np.nan), image, **settings))
    # A map that is linear in the scan grows with the radius.
    double = max_sensitivity(lambda batch: batch.sum(axis=1), image, **settings | {"radius": 0.2})
    assert double == pytest.approx(2 * max_sensitivity(lambda batch: batch.sum(axis=1), image, **settings))
    with pytest.raises(ConfigError, match="radius"):
        max_sensitivity(steep, image, radius=0, n_samples=1, seed=0)
    with pytest.raises(ConfigError, match="n_samples"):
        max_sensitivity(steep, image, radius=1, n_samples=0, seed=0)
    with pytest.raises(UnsupportedModelError, match="explain"):
        max_sensitivity(lambda batch: batch, image, **settings)


def test_gradients_are_there_for_whoever_explains():
    weights = torch.randn(2, 9, 11, dtype=torch.float64)

    def explain(batch):
        points = batch.detach().requires_grad_()
        return torch.autograd.grad((points**2 * weights).sum(), points)[0].sum(1)

    image, _ = example((9, 11))
    assert max_sensitivity(explain, torch.from_numpy(image), radius=0.1, n_samples=2, seed=0) > 0


# F-Fidelity


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("score", ["accuracy", "probability"])
def test_f_fidelity_equals_a_loop(shape, score):
    image, maps = example(shape)
    maps = maps.sum(axis=1)
    mask = np.random.default_rng(1).random(shape) < 0.8
    logits, _ = logits_of(shape)
    settings = {"alpha": 0.6, "beta": 0.2, "share_grid": (0.1, 0.5, 0.8), "n_samples": 4}
    plus, minus = f_fidelity(image, maps, logits, 2, seed=5, score=score, mask=mask, fill=0.3, batch_size=7, **settings)

    def worth(scan):
        answer = logits(scan[None])[0]
        return answer[2] if score == "probability" else float(answer.argmax() == 2)

    n_voxels = int(mask.sum())
    for column in range(len(maps)):
        order = RankedScan.of(image, maps, mask, 5).order(column)
        losses = {"plus": [], "minus": []}
        for share in settings["share_grid"]:
            size = round(share * n_voxels)
            for sample in range(4):
                random = generator(5, "faithfulness", "f_fidelity", share, sample)
                for kind, part in (("plus", order[:size]), ("minus", order[size:])):
                    n_removed = int(min(0.6 * len(part), 0.2 * n_voxels) + 1e-9)
                    chosen = part[random.choice(len(part), n_removed, replace=False, shuffle=False)]
                    scan = image.copy()
                    for voxel in chosen:
                        scan[(slice(None), *np.unravel_index(voxel, shape))] = 0.3
                    losses[kind].append(worth(image) - worth(scan))
        assert plus[column] == pytest.approx(np.mean(losses["plus"]), abs=1e-12)
        assert minus[column] == pytest.approx(np.mean(losses["minus"]), abs=1e-12)


def test_no_removal_exceeds_the_cap_and_each_stays_in_its_part():
    draws = Draws(200, 0.5, 0.1, (0.05, 0.3, 0.9), 6, seed=0)
    for number, ranks in enumerate(draws.ranks()):
        size = round(draws.share_grid[number // 12] * 200)
        n_part = 200 - size if number % 2 else size
        assert len(ranks) == len(set(ranks)) == int(min(0.5 * n_part, 20))
        assert (ranks >= size).all() if number % 2 else (ranks < size).all()


@pytest.mark.parametrize("shape", GRIDS)
def test_with_everything_removed_f_fidelity_is_the_fidelity_of_both_parts(shape):
    image, maps = example(shape)
    maps, (logits, _) = maps.sum(axis=1), logits_of(shape)
    settings = {"alpha": 1.0, "beta": 1.0, "n_samples": 2, "seed": 0, "score": "probability"}
    plus, minus = f_fidelity(image, maps, logits, 1, share_grid=(0.3,), **settings)
    for column, heatmap in enumerate(maps):
        relevant = heatmap >= np.sort(heatmap, axis=None)[-round(0.3 * heatmap.size)]
        whole = logits(image[None])[0, 1]
        assert plus[column] == pytest.approx(whole - logits(np.where(relevant, 0, image)[None])[0, 1])
        assert minus[column] == pytest.approx(whole - logits(np.where(relevant, image, 0)[None])[0, 1])
    # The best part of a reversed map is the rest of the map.
    turned, _ = f_fidelity(
        image, -maps, logits, 1, share_grid=(1 - round(0.3 * maps[0].size) / maps[0].size,), **settings
    )
    np.testing.assert_allclose(turned, minus)


def test_f_fidelity_leaves_broken_maps_out_and_refuses_nonsense():
    image, maps = example((9, 11))
    maps, (logits, _) = maps.sum(axis=1), logits_of((9, 11))
    spoiled = maps.copy()
    spoiled[0, 0, 0] = np.nan
    settings = {"n_samples": 2, "seed": 0, "share_grid": (0.3,)}
    plus, minus = f_fidelity(image, spoiled, logits, 1, **settings)
    assert np.isnan(plus[0]) and np.isnan(minus[0])
    np.testing.assert_array_equal(plus[1:], f_fidelity(image, maps, logits, 1, **settings)[0][1:])
    for field, setting in (
        ("alpha", {"alpha": 0}),
        ("beta", {"beta": 1.5}),
        ("share_grid", {"share_grid": (1.0,)}),
        ("share_grid", {"share_grid": ()}),
        ("n_samples", {"n_samples": 0}),
        ("score", {"score": "loss"}),
    ):
        with pytest.raises(ConfigError, match=field):
            f_fidelity(image, maps, logits, 1, **settings | setting)
    with pytest.raises(UnsupportedModelError, match="one class"):
        f_fidelity(image, maps, lambda batch: logits(batch)[:, :1], 0, **settings)


# The fine-tuned network


def classifier(n_axes=2, dropout=0.0):
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[n_axes - 1]
    pooling = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[n_axes - 1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(
            convolution(1, 4, 3, padding=1), nn.ReLU(inplace=True), pooling(2), nn.Flatten(), nn.Dropout(dropout),
            nn.Linear(4 * 2**n_axes, 2),
        )  # fmt: skip


def training_batches(shape=(8, 8), n_batches=4):
    """Class 1 has a bright first half."""
    batches = []
    for number in range(n_batches):
        random = np.random.default_rng(number)
        classes = random.integers(0, 2, 16)
        scans = random.normal(size=(16, 1, *shape))
        scans[:, :, : shape[0] // 2] += classes.reshape(-1, *[1] * (len(shape) + 1))
        batches.append((torch.from_numpy(scans).float(), torch.from_numpy(classes)))
    return batches


@pytest.mark.parametrize("shape", [(16,), (8, 8), (6, 6, 6)])
def test_a_fine_tuned_network_learns_and_leaves_the_given_one_alone(shape):
    model = classifier(len(shape)).eval().requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    batches = training_batches(shape)
    tuned = fine_tuned(model, batches, beta=0.3, n_steps=100, learning_rate=0.03, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in (*tuned.parameters(), *model.parameters()))
    assert not tuned.training and not model.training
    scans, classes = batches[0]
    losses = [nn.functional.cross_entropy(network(scans), classes).item() for network in (model, tuned)]
    assert losses[1] < 0.8 * losses[0]


def test_fine_tuning_repeats_whatever_the_global_state():
    model = classifier(dropout=0.3)
    settings = {"beta": 0.2, "n_steps": 6, "learning_rate": 0.01}
    torch.manual_seed(1)
    first = fine_tuned(model, training_batches(), seed=0, **settings)
    torch.manual_seed(2)
    again = fine_tuned(model, training_batches, seed=0, **settings)
    other = fine_tuned(model, training_batches(), seed=1, **settings)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_holes_are_within_the_share_and_the_mask_and_reach_it():
    scans = torch.zeros(200, 2, 10, 10)
    mask = np.indices((10, 10))[0] < 6
    kept, content = holes(scans, 0.25, 0, 3, 1.5, mask)
    n_removed = (~kept).flatten(1).sum(1)
    assert kept.shape == (200, 1, 10, 10) and bool(kept[:, 0, ~torch.from_numpy(mask)].all())
    assert n_removed.max() == 15 and n_removed.min() == 0 and abs(n_removed.double().mean() - 7.5) < 1
    assert float(content.min()) == float(content.max()) == 1.5
    assert not torch.equal(kept, holes(scans, 0.25, 0, 4, 1.5, mask)[0])


def test_a_network_that_has_seen_holes_is_surer_in_their_presence():
    shape, random = (8, 8), np.random.default_rng(0)
    batches = training_batches(shape, 8)
    plain = fine_tuned(classifier(), batches, beta=1e-9, n_steps=150, learning_rate=0.01, seed=0, fill=4.0)
    tuned = fine_tuned(plain, batches, beta=0.3, n_steps=150, learning_rate=0.01, seed=0, fill=4.0)
    scans, classes = training_batches(shape, 9)[8]
    removed = torch.from_numpy(random.random((len(scans), 1, *shape)) < 0.2)
    damaged = torch.where(removed, 4.0, scans)
    losses = [nn.functional.cross_entropy(network(damaged), classes).item() for network in (plain, tuned)]
    assert losses[1] < 0.7 * losses[0]


def test_fine_tuning_refuses_what_teaches_nothing():
    settings = {"beta": 0.1, "n_steps": 3, "learning_rate": 0.01, "seed": 0}
    for field, setting in (("beta", {"beta": 0}), ("n_steps", {"n_steps": 0}), ("learning_rate", {"learning_rate": 0})):
        with pytest.raises(ConfigError, match=field):
            fine_tuned(classifier(), training_batches(), **settings | setting)
    with pytest.raises(ConfigError, match="batches"):
        fine_tuned(classifier(), [], **settings)
    with pytest.raises(ConfigError, match="batches"):
        fine_tuned(classifier(), iter(training_batches(n_batches=1)), **settings)
    with pytest.raises(ConfigError, match="learning_rate"):
        broken = [(torch.full((2, 1, 8, 8), float("nan")), torch.tensor([0, 1]))]
        fine_tuned(classifier(), broken, **settings)
    with pytest.raises(GeometryError, match="mask"):
        fine_tuned(classifier(), training_batches(), mask=np.ones((4, 4)), **settings)


def test_a_network_with_one_output_is_tuned_by_the_logistic_loss():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    tuned = fine_tuned(model, training_batches(), beta=0.1, n_steps=40, learning_rate=0.05, seed=0)
    scans, classes = training_batches()[0]
    assert ((tuned(scans)[:, 0] > 0) == classes).float().mean() > 0.9
