"""The fit: answers move the right way, nothing folds, a killed fit ends as an uninterrupted one, bit for bit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attribution.simulators.discs import ADDITIVE, ATTACK, WARP, Lightness, discs, fitting_scans, name_of, unfitted
from heatproof.attribution.simulators import fitting as fitting_module
from heatproof.attribution.simulators.draws import Draws, FittingScans
from heatproof.attribution.simulators.fitting import fit_simulator
from heatproof.attribution.simulators.validation import HISTORY_COLUMNS
from heatproof.attribution.simulators.warps import folded, log_jacobian
from heatproof.errors import HeatproofError

SMALL = {**WARP, "steps": 4, "validate_every": 1}


def fitted(entry: dict, output: str = "class", seed: int = 1, network: Lightness | None = None, **checkpoint):
    """Return a fitted simulator of discs and its history."""
    network = network or Lightness(1 if output == "value" else 2)
    scans = fitting_scans(network, output=output)
    simulator = unfitted(entry, float(np.std([scans.answers[name] for name in scans.validation])), output)
    return simulator, fit_simulator(network, simulator, scans, seed, **checkpoint)


def weights(simulator) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in simulator.network.state_dict().values()]


@pytest.mark.parametrize("output", ["class", "value"])
@pytest.mark.parametrize("entry", [WARP, {**WARP, "conditioning": "separate"}, ADDITIVE, ATTACK], ids=name_of)
def test_answers_about_scans_never_seen_move_the_right_way_by_the_margin(entry: dict, output: str):
    simulator, history = fitted(entry, output)
    assert history[-1]["moved"] == 1
    assert history[-1]["reached"] >= 0.75
    assert set(history[0]) == set(HISTORY_COLUMNS)
    assert np.isnan(history[-1]["folded"]) == (not simulator.has_displacement)


def test_a_velocity_never_folds_and_its_tissue_goes_where_the_network_looks():
    network = Lightness()
    simulator, history = fitted(WARP, network=network)
    assert all(row["folded"] == 0 for row in history)
    scans, classes = discs(32)
    inputs = torch.stack(list(scans.values()))
    for option in (1.0, -1.0):
        simulation = simulator.simulate(network, inputs, torch.full((32,), option))
        assert (folded(simulation.displacement) == 0).all()
        bright = inputs[:, 0] > 0.5
        # Patients have less of the bright tissue: it is lost by injection and gained by removal.
        assert np.sign(float(log_jacobian(simulation.displacement)[bright].mean())) == -option


@pytest.mark.parametrize(
    ("shape", "change"),
    [((3, 40), {"amplitude": "gain"}), ((1, 8, 9, 8), {"conditioning": "separate", "cycle": 0.1})],
    ids=["signals", "volumes"],
)
def test_signals_and_volumes_are_fitted_too(shape: tuple[int, ...], change: dict):
    stream = torch.Generator().manual_seed(0)
    axes = tuple(range(1, len(shape)))
    scans = {f"s{k}": torch.rand(shape, generator=stream).cumsum(axes[-1]) / shape[-1] for k in range(12)}
    network, names = Lightness(), list(scans)
    with torch.no_grad():
        answers = network(torch.stack(list(scans.values())))[:, 1].tolist()
    found = FittingScans(
        lambda ids, part: torch.stack([scans[name] for name in ids]), names[:8], names[8:],
        dict(zip(names, answers, strict=True)), {name: (-1) ** k for k, name in enumerate(names)},
    )  # fmt: skip
    simulator = unfitted({**WARP, "margin_unit": "logit", **change}, float(np.std(answers)), shape=shape)
    history = fit_simulator(network, simulator, found, 0)
    assert history[-1]["moved"] == 1 and history[-1]["folded"] == 0
    assert simulator.simulate(network, torch.stack(list(scans.values())), torch.ones(12)).warped.shape == (12, *shape)


def test_a_price_on_the_change_keeps_a_warp_small():
    (_, free), (_, priced) = (fitted({**WARP, "sparsity": sparsity}) for sparsity in (0.0, 2.0))
    assert priced[-1]["size"] < 0.8 * free[-1]["size"]
    assert priced[-1]["moved"] == 1


def test_a_smaller_dose_changes_less():
    network = Lightness()
    simulator, _ = fitted({**WARP, "conditioning": "separate"}, network=network)
    inputs = torch.stack(list(discs(8)[0].values()))
    sizes = [
        float(simulator.simulate(network, inputs, torch.full((8,), dose)).change.abs().mean())
        for dose in (0.25, 0.5, 0.75, 1.0)
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2


@pytest.mark.parametrize(
    "change", [{}, {"alternate": True}, {"adversarial": 0.1}, {"doses_in_training": False}], ids=str
)
def test_a_fit_killed_after_any_block_goes_on_bit_for_bit(tmp_path, monkeypatch, change: dict):
    entry, checkpoint = {**SMALL, **change}, tmp_path / "checkpoint.safetensors"
    whole, expected = fitted(entry)

    class Killed(BaseException):
        pass

    save = fitting_module.save_state

    def save_then_die(*arguments):
        save(*arguments)
        raise Killed

    monkeypatch.setattr(fitting_module, "save_state", save_then_die)
    for _ in range(3):
        with pytest.raises(Killed):
            fitted(entry, checkpoint=checkpoint, digest="this fit")
        torch.rand(5)
    monkeypatch.setattr(fitting_module, "save_state", save)
    resumed, history = fitted(entry, checkpoint=checkpoint, digest="this fit")
    assert history == expected
    assert all(torch.equal(one, two) for one, two in zip(weights(resumed), weights(whole), strict=True))
    assert checkpoint.exists()  # the caller removes it once the simulator is written


def test_how_often_a_fit_is_validated_does_not_change_what_is_fitted():
    often, seldom = (fitted({**SMALL, "validate_every": steps})[0] for steps in (2, 4))
    assert all(torch.equal(one, two) for one, two in zip(weights(often), weights(seldom), strict=True))


def test_the_checkpoint_of_another_fit_is_not_used(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    fitted({**SMALL, "steps": 2}, checkpoint=checkpoint, digest="another")
    _, history = fitted(SMALL, checkpoint=checkpoint, digest="this fit")
    assert history == fitted(SMALL)[1]


def test_seed_decides_and_the_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    one, same, other = (weights(fitted(SMALL, seed=seed)[0]) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_network_that_is_explained_learns_nothing():
    network = Lightness()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fitted(SMALL, network=network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_bfloat16_fits_too_and_keeps_float32_weights():
    simulator, history = fitted({**WARP, "precision": "bfloat16"})
    assert history[-1]["moved"] == 1
    assert {tensor.dtype for tensor in weights(simulator)} == {torch.float32}


def test_the_network_that_is_explained_answers_in_float32_in_a_fit_in_bfloat16():
    class Dense(Lightness):
        def forward(self, scans: torch.Tensor) -> torch.Tensor:
            logits = super().forward(scans)
            seen.append(nn.functional.linear(logits, torch.eye(2)).dtype)
            return logits

    seen: list[torch.dtype] = []
    fitted({**SMALL, "precision": "bfloat16"}, network=Dense())
    assert set(seen) == {torch.float32}


def test_a_loss_that_is_no_longer_finite_stops_with_the_step():
    with pytest.raises(HeatproofError, match="before step 1.*lower the learning rate"):
        scans = fitting_scans(Lightness())
        broken = replace(scans, answers=dict.fromkeys(scans.answers, float("nan")))
        fit_simulator(Lightness(), unfitted(SMALL), broken, 0)


def scans_of(directions: list[int], only_correct_of: str | None = None) -> FittingScans:
    names = [f"s{number}" for number in range(len(directions))]
    signs = dict(zip(names, directions, strict=True))
    return FittingScans(lambda *_: torch.zeros(1), names, names, {}, signs, only_correct_of)


def test_every_batch_has_both_directions_alike_however_unequal_the_groups():
    scans = scans_of([1] * 3 + [-1] * 10)
    draws = Draws(scans, 6, doses=False, seed=0)
    seen: Counter = Counter()
    for step in range(20):
        ids, option = draws.of_step(step)
        assert option.tolist() == [1.0] * 3 + [-1.0] * 3
        assert [scans.directions[name] for name in ids] == option.int().tolist()
        seen.update(ids)
    assert {seen[name] for name in scans.train[:3]} == {20} and {seen[name] for name in scans.train[3:]} == {6}
    assert Draws(scans, 6, doses=False, seed=0).of_step(7)[0] == draws.of_step(7)[0]


def test_doses_are_drawn_between_nothing_and_all():
    draws = Draws(scans_of([0] * 8), 8, doses=True, seed=0)
    sizes = torch.cat([draws.of_step(step)[1].abs() for step in range(100)])
    assert ((sizes > 0) & (sizes <= 1)).all()
    assert abs(float(sizes.mean()) - 0.5) < 0.05


def test_a_direction_without_scans_is_refused():
    with pytest.raises(HeatproofError, match="injected.*only_correct: false") as caught:
        scans_of([-1] * 4, "narrow")
    assert caught.value.field == "simulators.narrow.only_correct"


def test_a_setting_that_left_nothing_out_is_not_blamed():
    with pytest.raises(HeatproofError, match="removed") as caught:
        scans_of([1] * 4)
    assert "only_correct" not in str(caught.value)
