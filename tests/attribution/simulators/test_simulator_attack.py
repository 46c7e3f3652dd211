"""The attack reaches the margin by small steps, scan by scan, and the network is left as it was."""

from __future__ import annotations

import pytest
import torch

from attribution.simulators.discs import ATTACK, Lightness, discs, unfitted
from heatproof.attribution.simulators.answers import answer

SCANS = torch.stack(list(discs(6)[0].values()))
OPTION = torch.tensor([1.0, -1.0, 1.0, -1.0, 0.5, -0.25])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_answer_moves_by_the_margin_times_the_dose_and_hardly_further(norm: str):
    network, simulator = Lightness(), unfitted({**ATTACK, "norm": norm, "margin": 2.0}, answer_sd=1.5)
    simulation = simulator.simulate(network, SCANS, OPTION)
    shift = (answer(network, simulation.warped, 1) - answer(network, SCANS, 1)) * OPTION.sign()
    wanted = 3.0 * OPTION.abs()
    assert (shift >= wanted).all()
    assert (shift < wanted + 40 * 0.02 * SCANS.flatten(1).std(1) + 1e-3).all()  # one step further at most
    assert simulation.displacement is None
    torch.testing.assert_close(simulation.change, simulation.warped - SCANS)


def test_no_scan_depends_on_its_neighbours_and_no_weight_gets_a_gradient():
    network, simulator = Lightness(), unfitted(ATTACK)
    whole = simulator.simulate(network, SCANS, OPTION).warped
    alone = torch.cat([simulator.simulate(network, SCANS[[i]], OPTION[[i]]).warped for i in range(len(SCANS))])
    torch.testing.assert_close(alone, whole)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not SCANS.requires_grad and not whole.requires_grad


def test_a_margin_that_is_out_of_reach_ends_with_the_steps():
    simulator = unfitted({**ATTACK, "steps": 3, "margin": 1e6})
    change = simulator.simulate(Lightness(), SCANS, OPTION).change
    size = change.flatten(1).square().mean(1).sqrt() / SCANS.flatten(1).std(1)
    torch.testing.assert_close(size, torch.full((6,), 3 * 0.02))
