"""What a simulator does to validation scans: the rows of its history."""

from __future__ import annotations

import torch
from torch import nn

from .answers import answer
from .draws import FittingScans
from .fitted import FittedSimulator
from .losses import bending_loss, gradient_loss
from .warps import folded

HISTORY_COLUMNS = [
    "step", "train_loss", "margin_loss", "shift", "moved", "reached", "cycle", "size", "gradient", "bending", "folded",
]  # fmt: skip


def validated(
    simulator: FittedSimulator, network: nn.Module, scans: FittingScans, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Return the means over the validation scans, each with the option of a full dose.

    Parameters
    ----------
    simulator : FittedSimulator
    network : nn.Module
        The network that it belongs to, in evaluation mode.
    scans : FittingScans
    batch_size : int
        Scans at a time.
    device : torch.device

    Returns
    -------
    dict of str to float
        margin_loss, in units of the margin's; shift, how far the answer moved the right way, in its standard
        deviations; moved and reached, the shares whose answer moved the right way, and by the whole margin; cycle,
        the mean squared difference to the scan after there and back; size, the mean absolute change; of warps
        also gradient, bending and folded, the share of folded voxels. NaN where there is no warp.
    """
    parts = []
    for start in range(0, len(scans.validation), batch_size):
        chunk = list(scans.validation[start : start + batch_size])
        inputs = scans.read(chunk, "validation").to(device)
        option = scans.full_options(scans.validation)[start : start + batch_size].to(device)
        parts.append(_sums(simulator, network, inputs, option, scans.before(chunk).to(device)))
    totals = {key: sum(part[key] for part in parts) for key in parts[0]}
    return {key: total / len(scans.validation) for key, total in totals.items()}


@torch.no_grad()
def _sums(
    simulator: FittedSimulator, network: nn.Module, inputs: torch.Tensor, option: torch.Tensor, before: torch.Tensor
) -> dict[str, float]:
    """Return the sums over one batch."""
    simulation = simulator.simulate(network, inputs, option)
    there_and_back = simulator.simulate(network, simulation.warped, -option)
    shift = (answer(network, simulation.warped, simulator.target, simulator.output) - before) * option
    n = len(inputs)
    row = {
        "margin_loss": float((simulator.margin - shift).clamp(min=0).sum()) / simulator.unit,
        "shift": float(shift.sum()) / simulator.answer_sd,
        "moved": float((shift > 0).sum()),
        "reached": float((shift >= simulator.margin).sum()),
        "cycle": float((there_and_back.warped - inputs).flatten(1).square().mean(1).sum()),
        "size": float(simulation.change.flatten(1).abs().mean(1).sum()),
        **dict.fromkeys(("gradient", "bending", "folded"), float("nan")),
    }
    if simulation.displacement is not None:
        row["gradient"] = float(gradient_loss(simulation.displacement)) * n
        row["bending"] = float(bending_loss(simulation.displacement)) * n
        row["folded"] = float(folded(simulation.displacement).sum())
    return row
