"""What a network answers to simulated scans in which one number is changed and all else is held fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.randomness import generator

# Scans that are asked, at most: the mean response of 64 has an interval of a quarter of the spread over scans.
MOST_SCANS = 64


class Redrawable(Protocol):
    """A source that can draw a scan again with one number changed (`heatproof.cohorts.beats` has it)."""

    steps: Mapping[str, float]

    def counterfactual(self, scan_id: str, output: str, change: float) -> np.ndarray:
        """Return a scan with an output changed by so much of its unit, shape (channels, *space)."""
        ...


def asked_scans(scan_ids: Sequence[str], seed: int, *keys: object) -> list[str]:
    """Return the scans that are asked: `MOST_SCANS` drawn by seed, or all, in their order."""
    order = generator(seed, "counterfactual scans", *keys).permutation(len(scan_ids))
    return [scan_ids[index] for index in sorted(order[:MOST_SCANS])]


def redrawn_responses(
    network: nn.Module,
    redrawable: Redrawable,
    prepared: Callable[[np.ndarray], np.ndarray],
    scan_ids: Iterable[str],
    outputs: Iterable[str],
) -> dict[str, np.ndarray]:
    """Return the change of a network's answer per unit of each output: (f(x + d) - f(x - d)) / 2d.

    Parameters
    ----------
    network : nn.Module
        From (batch, channels, *space) to (batch, 1), in the unit of its own output; put into evaluation mode.
    redrawable : Redrawable
        Draws the scans; its ``steps`` have d for each output.
    prepared : callable
        Normalises one scan, (channels, *space) -> float32.
    scan_ids : iterable of str
        The scans.
    outputs : iterable of str
        The outputs that are changed, those without a step left out.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        Unit of the answer per unit of the output, in the order of the scans.
    """
    names = list(scan_ids)
    responses = {}
    for output in outputs:
        if output in redrawable.steps:
            step = redrawable.steps[output]
            sides = [
                _answers(network, [prepared(redrawable.counterfactual(name, output, change)) for name in names])
                for change in (step, -step)
            ]
            responses[output] = ((sides[0] - sides[1]) / (2 * step)).numpy()
    return responses


def _answers(network: nn.Module, scans: Sequence[np.ndarray]) -> Tensor:
    """Return the answers to at most `MOST_SCANS` scans in float64, shape (n,)."""
    device = next(network.parameters()).device
    inputs = torch.from_numpy(np.stack(scans)).to(device)
    with torch.inference_mode():
        return network.eval()(inputs)[:, 0].double().cpu()
