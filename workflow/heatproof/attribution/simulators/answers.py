"""What a network answers about a scan, as one number that simulators raise or lower."""

from __future__ import annotations

import torch
from torch import nn

from ..registry import choice
from ..targets import OUTPUTS


def answer(
    network: nn.Module, inputs: torch.Tensor, target: torch.Tensor | int | None = None, output: str = "class"
) -> torch.Tensor:
    """Return what a network answers about each scan.

    Parameters
    ----------
    network : nn.Module
        From (B, C, *S) to logits (B, K), or to numbers (B, 1).
    inputs : Tensor, shape (B, C, *S)
    target : Tensor of int, shape (B,), int, or None
        The class that is asked about; None for numbers, and for networks with one logit.
    output : {"class", "value"}
        What the network's outputs are.

    Returns
    -------
    Tensor, shape (B,)
        See `answer_of`.
    """
    return answer_of(network(inputs), target, output)


def answer_of(outputs: torch.Tensor, target: torch.Tensor | int | None = None, output: str = "class") -> torch.Tensor:
    """Return the answer that a network's outputs hold.

    Parameters
    ----------
    outputs : Tensor, shape (B, K)
        Logits, or numbers with K = 1.
    target, output
        See `answer`.

    Returns
    -------
    Tensor, shape (B,)
        The log-odds of the target class, its logit less the logarithm of the others' summed exponentials: of two
        classes the difference of the logits, above 0 exactly where the target is the more probable class. A number
        as it is. At least in single precision.
    """
    if outputs.dtype in (torch.bfloat16, torch.float16):
        outputs = outputs.float()
    if choice(output, OUTPUTS, "output") == "value" or outputs.shape[1] == 1:
        return outputs[:, 0]
    classes = torch.as_tensor(0 if target is None else target, device=outputs.device).expand(len(outputs))
    is_target = nn.functional.one_hot(classes, outputs.shape[1]).bool()
    others = outputs.masked_fill(is_target, -torch.inf).logsumexp(1)
    return outputs.gather(1, classes[:, None])[:, 0] - others
