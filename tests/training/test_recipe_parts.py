"""The small parts of a training: schedule, augmentation, permuted labels, settings and their schema."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError
from heatproof.models import NETWORKS
from heatproof.training import TrainingSettings
from heatproof.training.augmentation import augment, shift
from heatproof.training.labels import permute_by_person
from heatproof.training.objective import class_weights
from heatproof.training.schedule import learning_rate


def test_one_cycle_equals_pytorchs_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=37, cycle_momentum=False)
    expected = []
    for _ in range(37):
        expected.append(oracle.get_last_lr()[0])
        optimizer.step()
        if len(expected) < 37:
            oracle.step()
    ours = [learning_rate("one_cycle", 0.02, step, 37) for step in range(37)]
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_one_cycle_is_defined_for_the_shortest_trainings(n_steps):
    rates = [learning_rate("one_cycle", 1.0, step, n_steps) for step in range(n_steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_shift_moves_content_and_fills_with_zeros():
    values = torch.arange(1.0, 6.0).reshape(1, 5)
    assert shift(values, 2, 1).tolist() == [[0, 0, 1, 2, 3]]
    assert shift(values, -1, 1).tolist() == [[2, 3, 4, 5, 0]]
    assert shift(values, 9, 1).tolist() == [[0, 0, 0, 0, 0]]


def test_augmentation_depends_on_seed_epoch_and_scan_only_and_leaves_the_scan():
    settings = TrainingSettings(flip_probability=0.5, shift_voxels=2)
    scan = torch.randn(1, 9, 8, generator=torch.Generator().manual_seed(0))
    before = scan.clone()
    draws = [augment(scan, f"s{index}", epoch, settings, 1) for index in range(8) for epoch in range(8)]
    again = [augment(scan, f"s{index}", epoch, settings, 1) for index in range(8) for epoch in range(8)]
    assert all(torch.equal(one, two) for one, two in zip(draws, again, strict=True))
    assert torch.equal(scan, before)
    kinds = {tuple(drawn.flatten().tolist()) for drawn in draws}
    assert len(kinds) == 10  # mirrored or not, five shifts


def test_noise_is_drawn_anew_for_every_scan_and_epoch_and_has_the_deviation_asked_for():
    scan, settings = torch.zeros(1, 60, 60), TrainingSettings(noise=0.5)
    drawn = [augment(scan, name, epoch, settings, 1) for name in ("a", "b") for epoch in (1, 2)]
    assert all(float(one.std()) == pytest.approx(0.5, abs=0.03) for one in drawn)
    assert len({float(one.sum()) for one in drawn}) == 4
    assert torch.equal(drawn[0], augment(scan, "a", 1, settings, 1))
    # The draws of flips and shifts are others: noise moves no scan.
    moved = TrainingSettings(shift_voxels=3)
    scan = torch.arange(9.0)[None]
    assert (augment(scan, "a", 1, replace(moved, noise=1e-6), 1) - augment(scan, "a", 1, moved, 1)).abs().max() < 1e-4


def test_without_augmentation_the_scan_passes_through():
    scan = torch.ones(1, 4)
    assert augment(scan, "s", 1, TrainingSettings(), 0) is scan


def test_permutation_keeps_the_people_together_and_the_number_of_each_class():
    people = [f"p{index // 2}" for index in range(40)]
    targets = np.array([index // 2 % 2 for index in range(40)])
    permuted = permute_by_person(targets, people, 7, "model", 0)
    assert (permuted.reshape(-1, 2)[:, 0] == permuted.reshape(-1, 2)[:, 1]).all()
    assert permuted.sum() == targets.sum()
    assert 0 < (permuted != targets).sum() < 40
    assert not np.array_equal(permuted, permute_by_person(targets, people, 7, "model", 1))


def test_permutation_changes_half_the_labels_of_a_paired_design():
    # Everyone has two scans of each class, so exchanging whole people would change nothing.
    people = [f"p{index // 4}" for index in range(400)]
    targets = np.array([0, 0, 1, 1] * 100)
    permuted = permute_by_person(targets, people, 7)
    assert (permuted.reshape(-1, 4).sum(axis=1) == 2).all()
    assert 0.4 < (permuted != targets).mean() < 0.6


def test_permutation_does_not_depend_on_the_order_of_the_scans():
    people = [f"p{index}" for index in range(20)]
    targets = np.arange(20) % 2
    order = np.random.default_rng(0).permutation(20)
    there = permute_by_person(targets[order], [people[i] for i in order], 7)
    np.testing.assert_array_equal(there, permute_by_person(targets, people, 7)[order])


def test_balanced_weights_give_every_class_the_same_sum():
    weights = class_weights([0, 0, 0, 1], "balanced")
    assert weights is not None
    assert float(weights[0]) * 3 == pytest.approx(float(weights[1]))
    assert class_weights([0, 1], "none") is None


def test_a_models_settings_lie_over_the_studys():
    settings = TrainingSettings.from_config({"epochs": 9, "batch_size": 4}, {"epochs": 3})
    assert (settings.epochs, settings.batch_size) == (3, 4)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"epoch": 3}, ("training.epoch", "epochs")),
        ({"schedule": "cosine"}, ("training.schedule", "one_cycle")),
        ({"batch_size": 0}, ("batch_size",)),
        ({"optimizer": "sgd", "momentum": 1.0}, ("training.momentum", "less than 1")),
    ],
)
def test_a_wrong_setting_names_key_and_remedy(section, words):
    with pytest.raises(ConfigError) as caught:
        TrainingSettings.from_config(section)
    assert all(word in str(caught.value) for word in words)


def test_schema_and_settings_agree_key_by_key():
    schema = schema_entries("training.yaml")["properties"]
    assert {key: described["default"] for key, described in schema.items()} == {
        field.name: field.default for field in fields(TrainingSettings)
    }
    for network in schema_entries("networks.yaml").values():
        overrides = network["properties"]["training"]["properties"]
        assert list(overrides) == list(schema)
        for key, described in schema.items():
            kept = {name: value for name, value in described.items() if name not in ("default", "description")}
            assert {name: overrides[key][name] for name in kept} == kept


def test_schema_and_networks_agree_parameter_by_parameter():
    stage_keys = {"network", "initial_weights", "methods", "simulators", "output", "recipe", "intensity", "training"}
    entries = schema_entries("networks.yaml")
    assert set(entries) == set(NETWORKS)
    for name, entry in entries.items():
        assert set(entry["properties"]) - stage_keys == set(NETWORKS[name].parameters)
