"""The heatmap of a simulator: what it changes in a scan, as one more attribution method."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import ConfigError
from ..registry import choice, register
from .answers import answer
from .fitted import FittedSimulator
from .warps import carried_back, log_jacobian

MAPS = ("change", "jacobian")


@register(
    "simulator",
    family="simulators",
    cost="a forward pass of the network and one of the simulator, which is fitted once to each network",
    citation="Liu et al. 2021, IPMI, arXiv 2102.08239",
)
def simulator(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    map: str = "change",
    signed: bool = False,
    fitted: FittedSimulator,
    output: str,
) -> torch.Tensor:
    """Return what has to change in each scan for the network to change its mind.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`. Where the network sees the target's pattern it is removed, elsewhere it
        is injected; a number is raised.
    map : {"change", "jacobian"}
        The change of intensity, in every channel, or the logarithm of how much of the tissue of every voxel of the scan
        there is after the warp.
    signed : bool
        Keep the sign, that of an injection: negative where the pattern means less. Else the absolute value.
    fitted : FittedSimulator
        The simulator that was fitted to this network.
    output : {"class", "value"}
        What the network's outputs are.

    Returns
    -------
    Tensor, shape (B, C, *S), or (B, 1, *S) for the tissue

    Raises
    ------
    ConfigError
        The tissue is asked for, and the simulator moves none.
    """
    if choice(map, MAPS, "map") == "jacobian" and not fitted.has_displacement:
        raise ConfigError(
            f"a simulator of the kind '{fitted.kind}' moves no tissue.", field="map", remedy="use map: change."
        )
    if output == "value":
        option = torch.ones(len(inputs)).to(inputs)
    else:
        with torch.no_grad():
            sees = answer(model, inputs, target, output) > 0
        option = torch.where(sees, -1.0, 1.0).to(inputs)
    simulation = fitted.simulate(model, inputs, option, target)
    if map == "jacobian":
        assert simulation.displacement is not None
        found = carried_back(log_jacobian(simulation.displacement)[:, None], simulation.displacement)
    else:
        found = simulation.change
    injected = option.view(-1, *[1] * (inputs.ndim - 1)) * found
    return injected if signed else injected.abs()
