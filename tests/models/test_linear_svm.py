"""The linear SVM: equal to scikit-learn's, its pattern equal to Haufe's, its choices blind to other scans."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from heatproof.errors import ConfigError
from heatproof.models import LinearSVM
from heatproof.models.linear_fit import fit_linear_svm

SHAPE = (6, 5)


def cohort(n_people: int = 24, scans_each: int = 2, effect: float = 1.0, seed: int = 0):
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), scans_each)
    targets = people % 2
    scans = random.normal(3.0, 1.0, (len(people), 1, *SHAPE)) + random.normal(size=(n_people, 1, *SHAPE))[people]
    scans[:, 0, 2:4, 1:3] -= effect * targets[:, None, None]
    mask = np.ones(SHAPE, bool)
    mask[0] = False
    return scans.astype(np.float32), targets, [f"p{person}" for person in people], mask


def fitted(scans, targets, people, mask, **options):
    return fit_linear_svm(lambda rows: torch.from_numpy(scans[list(rows)]), targets, people, mask, **options)


def test_decisions_equal_scikit_learn_on_the_centred_voxels():
    scans, targets, people, mask = cohort()
    fit = fitted(scans, targets, people, mask, block=7)
    voxels = scans[:, 0][:, mask].astype(float)
    voxels -= voxels.mean(axis=0)
    scale = (voxels**2).sum() / len(voxels)
    oracle = SVC(kernel="linear", C=fit.cost / scale, class_weight="balanced", tol=1e-6).fit(voxels, targets)
    decisions = fit.model.decision(torch.from_numpy(scans)).numpy()
    np.testing.assert_allclose(decisions, oracle.decision_function(voxels), atol=2e-3)
    np.testing.assert_allclose(fit.model.weight[0].numpy()[mask], oracle.coef_[0], atol=1e-3)
    np.testing.assert_allclose(decisions, fit.decisions, atol=1e-4)


def test_pattern_is_the_covariance_with_the_decision_over_its_variance():
    scans, targets, people, mask = cohort()
    model = fitted(scans, targets, people, mask).model
    decisions = model.decision(torch.from_numpy(scans)).numpy()
    for index in np.ndindex(SHAPE):
        covariance = np.cov(scans[(slice(None), 0, *index)], decisions)
        expected = covariance[0, 1] / covariance[1, 1] if mask[index] else 0.0
        assert model.pattern[(0, *index)] == pytest.approx(expected, abs=2e-5)
    assert (model.weight[0].numpy()[~mask] == 0).all()


def test_block_size_changes_nothing():
    data = cohort()
    small, large = fitted(*data, block=5).model, fitted(*data, block=1000).model
    torch.testing.assert_close(small.weight, large.weight, rtol=1e-3, atol=1e-5)


def test_logits_are_half_the_calibrated_decision_either_way_and_keep_every_decision():
    scans, targets, people, mask = cohort(effect=0.7)
    model = fitted(scans, targets, people, mask).model
    inputs = torch.from_numpy(scans)
    logits, decisions = model(inputs), model.decision(inputs)
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], model.slope * decisions)
    torch.testing.assert_close(logits.sum(1), torch.zeros(len(scans)))
    assert torch.equal(logits.argmax(1) == 1, decisions > 0)


def test_calibration_is_steep_for_separable_people_and_flat_for_noise():
    easy, noise = (fitted(*cohort(40, 1, effect=effect)).model for effect in (6.0, 0.0))
    assert float(easy.slope) > 5 * float(noise.slope) > 0


def test_cost_is_chosen_by_person_so_that_rescans_do_not_help():
    # Two nearly equal scans a person and no effect: seen across inner folds, a person would be recognised.
    scans, targets, people, mask = cohort(30, 1, effect=0.0, seed=3)
    twins = np.repeat(scans, 2, axis=0) + np.random.default_rng(1).normal(0, 1e-3, (60, 1, *SHAPE))
    fit = fitted(twins.astype(np.float32), np.repeat(targets, 2), np.repeat(people, 2).tolist(), mask)
    assert max(fit.scores.values()) < 0.75


def test_equal_costs_are_settled_for_the_smallest():
    fit = fitted(*cohort(24, 1, effect=50.0), costs=(10.0, 0.1, 1.0))
    assert set(fit.scores.values()) == {1.0}
    assert fit.cost == 0.1


def test_a_linear_model_explains_itself_gradient_times_input_sums_to_the_decision():
    scans, targets, people, mask = cohort()
    model = fitted(scans, targets, people, mask).model
    inputs = torch.from_numpy(scans[:3]).requires_grad_()
    model.decision(inputs).sum().backward()
    contributions = (inputs * inputs.grad).flatten(1).sum(1) + model.bias
    torch.testing.assert_close(contributions, model.decision(inputs), rtol=1e-4, atol=1e-4)


def test_one_person_in_a_class_is_refused_with_the_numbers():
    scans, targets, people, mask = cohort(2, 3)
    with pytest.raises(ConfigError, match="1 controls and 1 patients"):
        fitted(scans, targets, people, mask)


def test_equal_scans_are_refused():
    with pytest.raises(ConfigError, match="all the same"):
        fitted(np.ones((8, 1, *SHAPE), np.float32), np.arange(8) % 2, list("abcdefgh"), np.ones(SHAPE, bool))


def test_an_unfitted_machine_is_undecided():
    assert torch.equal(LinearSVM(1, SHAPE)(torch.randn(2, 1, *SHAPE)), torch.zeros(2, 2))
