"""Networks that answer with a number: its target in standard units, and the last layer that gives the unit back."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.cohorts.store import CohortFacts
from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.training.parts import FoldParts

log = logging.getLogger(__name__)

# Largest difference between what the last layer returns and what it must return, in standard deviations of the
# target: rounding of single precision leaves about 1e-6 of the numbers that it sums up.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class OutputScale:
    """Mean and deviation that put an output into standard units.

    Attributes
    ----------
    output : str
        Name of the number.
    unit : str
        Its unit.
    mean, deviation : float
        Of the targets of the training scans, in the unit; the deviation is divided by n.
    """

    output: str
    unit: str
    mean: float
    deviation: float

    @classmethod
    def fit(cls, output: str, unit: str, numbers: Sequence[float]) -> OutputScale:
        """Return the scale of the training scans' numbers.

        Raises
        ------
        ConfigError
            If they are all the same.
        """
        mean, deviation = float(np.mean(numbers)), float(np.std(numbers))
        if not deviation > 0:
            raise ConfigError(
                f"'{output}' is {mean:g} in every training scan: nothing can be learned.",
                field="output",
                remedy="use another output or more people.",
            )
        return cls(output, unit, mean, deviation)

    def standardised(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return each scan's number in standard units."""
        return {scan_id: (number - self.mean) / self.deviation for scan_id, number in numbers.items()}

    def facts(self) -> dict[str, str | float]:
        """Return what is stored beside the weights."""
        return {"output": self.output, "unit": self.unit, "target_mean": self.mean, "target_sd": self.deviation}


def known_parts(parts: FoldParts, numbers: Mapping[str, float], output: str) -> FoldParts:
    """Return the scans of a fold whose output is known; how many are left out goes to the log.

    Raises
    ------
    ConfigError
        If nothing is left of a part.
    """
    kept = {
        part: [scan_id for scan_id in scan_ids if np.isfinite(numbers[scan_id])]
        for part, scan_ids in vars(parts).items()
    }
    for part, scan_ids in vars(parts).items():
        log.info("%s: %d of %d scans have no '%s'", part, len(scan_ids) - len(kept[part]), len(scan_ids), output)
        if not kept[part]:
            raise ConfigError(
                f"no {part} scan has a number for '{output}'.",
                field="output",
                remedy="use another output, fewer folds or more people.",
            )
    return FoldParts(**kept)


def unit_of(facts: CohortFacts, output: str) -> str:
    """Return the unit of an output.

    Raises
    ------
    ConfigError
        If the cohort has no such output.
    """
    if output not in facts.outputs:
        raise ConfigError(
            f"the cohort has no output '{output}'.",
            field="output",
            remedy=f"use one of {', '.join(facts.outputs)}." if facts.outputs else "remove 'output': it has none.",
        )
    return facts.outputs[output]


def absorb(network: nn.Module, scale: OutputScale, scans: Tensor) -> None:
    """Let the last linear layer answer in the unit of the target instead of standard units, in place.

    Its weights are multiplied by the deviation; so is its bias, and the mean is added. The answers for some scans
    are compared before and after.

    Parameters
    ----------
    network : nn.Module
        From (batch, channels, *space) to (batch, 1); it is put into evaluation mode.
    scale : OutputScale
        Mean and deviation of the target.
    scans : Tensor, shape (batch, channels, *space)
        Some scans, normalised.

    Raises
    ------
    UnsupportedModelError
        If the network has no such layer, or the answers did not change as they had to; it is left as it was.
    """
    _rescale(network, scale.deviation, scale.mean, scans, TOLERANCE * scale.deviation)


def release(network: nn.Module, scale: OutputScale, scans: Tensor) -> None:
    """Let a network that answers in the unit of the target answer in standard units, in place: undo `absorb`.

    Training goes on from the weights of another network only if they speak the units of its loss. Parameters and
    errors are those of `absorb`.
    """
    _rescale(network, 1 / scale.deviation, -scale.mean / scale.deviation, scans, TOLERANCE)


def _rescale(network: nn.Module, factor: float, offset: float, scans: Tensor, tolerance: float) -> None:
    """Multiply a network's answers by a factor and add an offset through its last linear layer, or raise."""
    remedy = "use a network that ends in a linear layer with a bias, such as ecg_resnet."
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear) and layer.bias is not None]
    if not linear:
        raise UnsupportedModelError("the network has no linear layer with a bias.", field="output", remedy=remedy)
    layer = linear[-1]
    before, weights = _answers(network, scans), copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        layer.weight.mul_(factor)
        layer.bias.mul_(factor).add_(offset)
    expected = before * factor + offset
    if not bool(((_answers(network, scans) - expected).abs() <= tolerance).all()):
        layer.load_state_dict(weights)
        raise UnsupportedModelError(
            "the last linear layer does not give the network's answer: it cannot be put into the unit of the target.",
            field="output",
            remedy=remedy,
        )


def _answers(network: nn.Module, scans: Tensor) -> Tensor:
    device = next(network.parameters()).device
    with torch.inference_mode():
        return network.eval()(scans.to(device)).double()
