"""The heatmap of a simulator: what it changes, on the way away from what the network answers."""

from __future__ import annotations

import pytest
import torch

from attribution.simulators.discs import ADDITIVE, ATTACK, WARP, Lightness, discs, lively, name_of, unfitted
from heatproof.attribution import attribute
from heatproof.attribution.simulators.answers import answer
from heatproof.attribution.simulators.warps import carried_back, log_jacobian
from heatproof.errors import ConfigError

SCANS = torch.stack(list(discs(6)[0].values()))


def away(network: Lightness, target: int = 1) -> torch.Tensor:
    """Return the options that take every scan away from what the network answers about it."""
    with torch.no_grad():
        return torch.where(answer(network, SCANS, target) > 0, -1.0, 1.0)


@pytest.mark.parametrize("entry", [WARP, ADDITIVE], ids=name_of)
def test_the_map_is_the_change_that_takes_the_answer_back(entry: dict):
    simulator, network = lively(unfitted(entry)), Lightness()
    option = away(network)
    assert set(option.tolist()) == {1.0, -1.0}
    change = simulator.simulate(network, SCANS, option).change
    signed = attribute("simulator", network, SCANS, 1, fitted=simulator, signed=True)
    torch.testing.assert_close(signed, option[:, None, None, None] * change)
    torch.testing.assert_close(attribute("simulator", network, SCANS, 1, fitted=simulator), change.abs())


def test_the_jacobian_map_is_the_tissue_that_is_gained_where_it_was_and_has_one_channel():
    simulator, network = lively(unfitted(WARP, shape=(2, 16, 16))), Lightness()
    scans = torch.cat([SCANS, SCANS.flip(2)], 1)
    with torch.no_grad():
        option = torch.where(answer(network, scans, 1) > 0, -1.0, 1.0)
    displacement = simulator.simulate(network, scans, option).displacement
    expected = carried_back(log_jacobian(displacement)[:, None], displacement)
    signed = attribute("simulator", network, scans, 1, fitted=simulator, map="jacobian", signed=True)
    assert signed.shape == (6, 1, 16, 16)
    torch.testing.assert_close(signed, option[:, None, None, None] * expected)
    plain = attribute("simulator", network, scans, 1, fitted=simulator, map="jacobian")
    torch.testing.assert_close(plain, expected.abs())


def test_the_other_of_two_classes_has_the_same_map_with_the_other_sign():
    simulator, network = lively(unfitted(WARP)), Lightness()
    one, other = (attribute("simulator", network, SCANS, k, fitted=simulator, signed=True) for k in (1, 0))
    torch.testing.assert_close(other, -one)


def test_a_number_is_raised():
    simulator, network = lively(unfitted(WARP, output="value")), Lightness(1)
    maps = attribute("simulator", network, SCANS, None, fitted=simulator, signed=True, output="value")
    torch.testing.assert_close(maps, simulator.simulate(network, SCANS, torch.ones(6)).change)


def test_batches_change_no_map_and_every_type_of_scan_is_explained():
    network = Lightness()
    for entry in (WARP, ATTACK):
        simulator = unfitted(entry)
        if simulator.network is not None:
            lively(simulator)
        whole = attribute("simulator", network, SCANS, 1, fitted=simulator)
        for size in (1, 4):
            part = attribute("simulator", network, SCANS, 1, fitted=simulator, batch_size=size)
            torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-5)
        double = attribute("simulator", Lightness().double(), SCANS.double(), 1, fitted=simulator)
        torch.testing.assert_close(double.float(), whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("entry", [ADDITIVE, ATTACK], ids=name_of)
def test_tissue_is_refused_where_none_is_moved(entry: dict):
    with pytest.raises(ConfigError, match="moves no tissue.*map: change"):
        attribute("simulator", Lightness(), SCANS, 1, fitted=unfitted(entry), map="jacobian")


def test_a_simulator_has_to_be_handed_over():
    with pytest.raises(ConfigError, match="needs fitted"):
        attribute("simulator", Lightness(), SCANS, 1)
