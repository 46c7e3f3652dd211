"""The simulators' networks: sizes, conditions, doses, amplitudes, and a short fit."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from heatproof.attribution.simulators import blocks, grids, warps
from heatproof.attribution.simulators.networks import SimulatorNetwork
from heatproof.errors import ConfigError, GeometryError

SHAPES = {1: (3, 37), 2: (1, 20, 23), 3: (2, 12, 9, 10)}
OPTION = torch.tensor([1.0, -1.0, 0.5])


def network(n_axes=2, seed=1, loud=True, **settings):
    """Return a narrow simulator; its last layer speaks up unless `loud` is false."""
    torch.manual_seed(seed)
    simulator = SimulatorNetwork(SHAPES[n_axes], **{"width": 4, "grid": 5, **settings})
    if loud:
        with torch.no_grad():
            for part in simulator.networks.values():
                for parameter in part.output.parameters():
                    parameter.normal_(0, 0.5)
    return simulator


def scans(n_axes=2, count=3):
    return torch.randn(count, *SHAPES[n_axes], generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("conditioning", ["conditional", "separate"])
@pytest.mark.parametrize("grid", [5, 8, None])
@pytest.mark.parametrize("field", ["velocity", "displacement", "none"])
def test_every_simulator_takes_scans_of_any_size_and_starts_at_no_change(n_axes, conditioning, grid, field):
    amplitude = {"velocity": "gain", "displacement": "none", "none": "additive"}[field]
    choices = {"field": field, "grid": grid, "conditioning": conditioning, "amplitude": amplitude}
    inputs = scans(n_axes)
    start = network(n_axes, loud=False, **choices)(inputs, OPTION)
    torch.testing.assert_close(start.warped, inputs, rtol=0, atol=1e-5)
    found = network(n_axes, **choices)(inputs, OPTION)
    space = SHAPES[n_axes][1:]
    assert found.warped.shape == inputs.shape
    assert found.change.abs().max() > 0.01
    torch.testing.assert_close(found.change, found.warped - inputs)
    fields = (3, n_axes, *space)
    assert (None if field == "none" else fields) == (None if found.displacement is None else found.displacement.shape)
    simulator = network(n_axes, **choices)
    proposal = simulator.propose(inputs, OPTION)
    assert proposal.shape[2:] == (space if grid is None else tuple(min(grid, length) for length in space))
    intensities = proposal[:, simulator.n_components :]
    intensities = intensities if grid is None else grids.refine(intensities, space)
    if field == "velocity":
        assert warps.folded(found.displacement).max() == 0
        torch.testing.assert_close(found.warped, warps.warp(inputs, found.displacement) * intensities.exp())
    if field == "none":
        torch.testing.assert_close(found.change, intensities, rtol=0, atol=1e-5)


def test_a_velocity_network_with_huge_weights_does_not_fold_and_a_displacement_network_does():
    for field, grid in itertools.product(("velocity", "displacement"), (5, None)):
        simulator = network(field=field, grid=grid)
        for parameter in simulator.networks["both"].output.parameters():
            parameter.data *= 100
        folds = warps.folded(simulator(scans(), OPTION).displacement).max()
        assert (folds > 0) == (field == "displacement")


@pytest.mark.parametrize("conditioning", ["conditional", "separate"])
def test_a_scans_simulation_depends_on_its_option_and_not_on_its_batch(conditioning):
    simulator, inputs = network(conditioning=conditioning), scans()
    together = simulator(inputs, OPTION)
    for index in range(3):
        alone = simulator(inputs[index : index + 1], OPTION[index : index + 1])
        torch.testing.assert_close(alone.warped[0], together.warped[index], rtol=1e-4, atol=1e-5)
    turned = simulator.propose(inputs, -OPTION) - simulator.propose(inputs, OPTION)
    assert turned.abs().flatten(1).amax(dim=1).min() > 0.05


def test_separate_networks_scale_with_the_dose_and_only_the_one_that_is_asked_learns():
    simulator, inputs = network(conditioning="separate"), scans()
    full, part = torch.ones(3), torch.full((3,), 0.25)
    torch.testing.assert_close(simulator.propose(inputs, part), simulator.propose(inputs, full) / 4)
    assert simulator(inputs, torch.zeros(3)).change.abs().max() < 1e-5
    simulator(inputs, full).change.square().sum().backward()
    assert all(parameter.grad is not None for parameter in simulator.networks["inject"].parameters())
    assert all(parameter.grad is None for parameter in simulator.networks["remove"].parameters())


def test_every_expert_and_every_layer_of_a_conditional_network_learns():
    simulator = network(amplitude="gain", grid=None)
    simulator(scans(), OPTION).change.square().sum().backward()
    for name, parameter in simulator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_conditional_convolution_mixes_its_kernels_for_each_scan(n_axes, stride):
    torch.manual_seed(3)
    layer = blocks.ConditionalConvolution(n_axes, SHAPES[n_axes][0], 4, 3, stride)
    torch.nn.init.normal_(layer.bias)
    features = scans(n_axes)
    found = layer(features, OPTION)
    convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[n_axes]
    for index, scan in enumerate(features):
        shares = torch.sigmoid(layer.routing(torch.cat([scan.flatten(1).mean(dim=1), OPTION[index : index + 1]])))
        each = [convolve(scan[None], k, b, stride, 1) for k, b in zip(layer.weight, layer.bias, strict=True)]
        expected = sum(share * part for share, part in zip(shares, each, strict=True))
        torch.testing.assert_close(found[index], expected[0], rtol=1e-4, atol=1e-5)


def test_a_volume_of_64_voxels_has_the_published_middle_and_channels():
    net = SimulatorNetwork((1, 64, 64, 64), grid=None, field="displacement").networks["both"]
    assert (net.middle.inner.in_features, net.middle.inner.out_features) == (1024, 512)
    assert [block.convolution.weight.shape[1] for block in net.encoder] == [16, 32, 64, 16]


def test_positions_keep_their_digits_in_mixed_precision():
    simulator, inputs = network(), scans()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = simulator(inputs, OPTION)
    assert mixed.displacement.dtype == mixed.warped.dtype == torch.float32
    exact = simulator(inputs, OPTION)
    assert (mixed.displacement - exact.displacement).abs().max() < 0.1 * exact.displacement.abs().max()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"field": "flow"}, "field"),
        ({"amplitude": "loud"}, "amplitude"),
        ({"conditioning": "both"}, "conditioning"),
        ({"field": "none"}, "changes nothing"),
    ],
)
def test_choices_that_do_not_exist_are_refused(settings, named):
    with pytest.raises(ConfigError, match=named):
        network(**settings)


def test_scans_of_another_shape_are_refused():
    with pytest.raises(GeometryError, match=r"\(1, 20, 23\)"):
        network()(torch.zeros(1, 1, 20, 24), torch.ones(1))


@pytest.mark.parametrize("conditioning", ["conditional", "separate"])
def test_a_short_fit_learns_to_shrink_and_to_grow_without_folds(conditioning):
    grid = torch.stack(torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")) - 11.5
    radii = torch.tensor([4.0, 5.0, 6.0, 7.0])
    discs = torch.sigmoid((radii.reshape(-1, 1, 1, 1) - grid.square().sum(0).sqrt()) * 2)
    torch.manual_seed(4)
    simulator = SimulatorNetwork((1, 24, 24), width=4, grid=6, conditioning=conditioning)
    optimiser = torch.optim.Adam(simulator.parameters(), lr=5e-3)
    option = torch.tensor([1.0, -1.0, -1.0, 1.0])
    area = discs.mean(dim=(1, 2, 3))
    for _ in range(40):
        found = simulator(discs, option)
        # The pattern is a loss of tissue.
        shift = (found.warped.mean(dim=(1, 2, 3)) - area) * option
        optimiser.zero_grad()
        functional.relu(shift + 0.05).mean().backward()
        optimiser.step()
    found = simulator(discs, option)
    assert ((found.warped.mean(dim=(1, 2, 3)) - area) * option).max() < -0.02
    assert warps.folded(found.displacement).max() == 0
    inside = discs[:, 0] > 0.5
    log_jacobian = warps.log_jacobian(found.displacement)
    for index in range(4):
        assert log_jacobian[index][inside[index]].mean() * option[index] < 0
