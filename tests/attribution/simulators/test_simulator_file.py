"""The file of a simulator: it comes back as it was, for its own network and its own scans only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attribution.simulators.discs import ADDITIVE, ATTACK, SHA, WARP, Lightness, discs, lively, name_of, unfitted
from heatproof.attribution.simulators.fitted import load_simulator, save_simulator
from heatproof.errors import UnsupportedModelError
from heatproof.models import NetworkSpec, save_weights

SCANS = torch.stack(list(discs(4)[0].values()))
OPTION = torch.tensor([1.0, -1.0, 0.5, -0.5])


@pytest.mark.parametrize(
    "entry", [WARP, {**WARP, "field": "displacement", "grid": None}, ADDITIVE, ATTACK], ids=name_of
)
def test_a_simulator_comes_back_as_it_was(tmp_path, entry: dict):
    simulator = unfitted(entry, answer_sd=1.25)
    if simulator.network is not None:
        lively(simulator)
    save_simulator(simulator, tmp_path / "simulator.safetensors")
    state = torch.random.get_rng_state()
    back = load_simulator(tmp_path / "simulator.safetensors", SHA)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (back.settings, back.answer_sd, back.target, back.output) == (simulator.settings, 1.25, 1, "class")
    one, two = (each.simulate(Lightness(), SCANS, OPTION) for each in (simulator, back))
    assert torch.equal(one.warped, two.warped)
    assert float(one.change.abs().max()) > 0


def test_another_network_is_refused(tmp_path):
    save_simulator(unfitted(WARP), tmp_path / "simulator.safetensors")
    with pytest.raises(UnsupportedModelError, match="another network.*fit it again"):
        load_simulator(tmp_path / "simulator.safetensors", "b" * 64)


def test_weights_of_a_classifier_are_no_simulator(tmp_path):
    spec = NetworkSpec("wang_b", (16, 16), parameters={"width": 2, "n_blocks": 1})
    save_weights(spec.build(0), tmp_path / "model.safetensors", spec, {})
    with pytest.raises(UnsupportedModelError, match="no simulator"):
        load_simulator(tmp_path / "model.safetensors", SHA)


@pytest.mark.parametrize("entry", [WARP, ATTACK], ids=name_of)
def test_scans_of_another_shape_are_refused(entry: dict):
    with pytest.raises(UnsupportedModelError, match="shape"):
        unfitted(entry).simulate(Lightness(), SCANS[..., :12], OPTION)


@pytest.mark.parametrize("entry", [WARP, ATTACK], ids=name_of)
def test_of_two_classes_the_other_one_is_injected_by_removing_this_one(entry: dict):
    simulator = unfitted(entry)
    if simulator.network is not None:
        lively(simulator)
    network = Lightness()
    injected = simulator.simulate(network, SCANS, torch.ones(4), target=0).warped
    torch.testing.assert_close(injected, simulator.simulate(network, SCANS, -torch.ones(4)).warped)
    mixed = simulator.simulate(network, SCANS, OPTION, target=torch.tensor([1, 0, 1, 0])).warped
    torch.testing.assert_close(mixed, simulator.simulate(network, SCANS, OPTION.abs(), target=1).warped)


def test_of_three_classes_only_the_fitted_one_is_explained():
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    simulator = lively(unfitted(WARP))
    simulator.simulate(network, SCANS, OPTION, target=1)
    with pytest.raises(UnsupportedModelError, match="target: patient"):
        simulator.simulate(network, SCANS, OPTION, target=2)


def test_simulations_carry_no_gradients_and_do_not_depend_on_their_batch():
    simulator, network = lively(unfitted(WARP)), Lightness()
    whole = simulator.simulate(network, SCANS.requires_grad_(), OPTION)
    SCANS.requires_grad_(False)
    assert not whole.warped.requires_grad
    alone = torch.cat([simulator.simulate(network, SCANS[[i]], OPTION[[i]]).warped for i in range(4)])
    torch.testing.assert_close(alone, whole.warped, rtol=1e-4, atol=1e-5)
