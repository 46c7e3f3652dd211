"""Predictions of a model over a cohort, one row per scan and part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from heatproof.leakage import PARTS
from heatproof.training.loading import ScanLoader
from heatproof.training.parts import FoldParts

if TYPE_CHECKING:
    import pandas as pd


def predict_logits(
    network: nn.Module,
    loader: ScanLoader,
    scan_ids: Sequence[str],
    batch_size: int,
    part: str = "test",
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Return the logits of scans, shape (n, classes), float32 on the CPU.

    Parameters
    ----------
    network : nn.Module
        From (batch, channels, *space) to (batch, classes); it is put into evaluation mode.
    loader : ScanLoader
        Reads the scans.
    scan_ids : sequence of str
        Which.
    batch_size : int
        Scans at a time.
    part : {"train", "validation", "test"}
        The part of the fold on whose behalf they are read.
    memory_format : torch.memory_format
        Order of the inputs in memory.
    """
    device = next(iter(network.state_dict().values())).device
    network.eval()
    with torch.inference_mode():
        logits = [
            network(inputs.to(device, memory_format=memory_format)).float().cpu()
            for _, inputs in loader.batches(scan_ids, batch_size, part)
        ]
    return torch.cat(logits)


def balanced_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Return the mean share of correct scans over the classes that occur.

    Parameters
    ----------
    logits : Tensor, shape (n, classes)
        Logits.
    targets : Tensor of int, shape (n,)
        True classes.
    """
    correct = (logits.argmax(1) == targets).double()
    return float(torch.stack([correct[targets == label].mean() for label in targets.unique()]).mean())


def r_squared(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of the targets' variance that is explained; NaN where they are all the same.

    Parameters
    ----------
    outputs : Tensor, shape (n, 1)
        Estimates.
    targets : Tensor, shape (n,)
        Numbers.
    """
    numbers = targets.double()
    total = float(((numbers - numbers.mean()) ** 2).sum())
    left = float(((outputs[:, 0].double() - numbers) ** 2).sum())
    return 1 - left / total if total > 0 else float("nan")


def prediction_table(logits: dict[str, Tensor], parts: FoldParts, participants: pd.DataFrame) -> pd.DataFrame:
    """Return one row per part and scan: who, true target, logits, probabilities (softmax), predicted class.

    Parameters
    ----------
    logits : dict of str to Tensor, shape (n, classes)
        Part -> logits of its scans, in their order.
    parts : FoldParts
        The fold.
    participants : DataFrame
        Indexed by scan id.
    """

    def answers(values: Tensor, person: pd.Series) -> dict[str, Any]:
        row = {f"logit_{index}": float(value) for index, value in enumerate(values)}
        row |= {f"probability_{index}": float(p) for index, p in enumerate(values.softmax(0))}
        return {**row, "predicted": int(values.argmax())}

    return _table(logits, parts, participants, answers)


def estimate_table(
    estimates: dict[str, Tensor], parts: FoldParts, participants: pd.DataFrame, output: str
) -> pd.DataFrame:
    """Return one row per part and scan: who, class 0 of 1, what was measured and what the network says.

    Parameters
    ----------
    estimates : dict of str to Tensor, shape (n, 1)
        Part -> estimates for its scans, in their order and in the unit of the output.
    parts : FoldParts
        The fold.
    participants : DataFrame
        Indexed by scan id; the column `output` has what was measured.
    output : str
        Name of the number.
    """

    def answers(values: Tensor, person: pd.Series) -> dict[str, Any]:
        return {"predicted": 0, "output": output, "measured": float(person[output]), "estimate": float(values[0])}

    return _table(estimates, parts, participants, answers)


def _table(
    outputs: dict[str, Tensor],
    parts: FoldParts,
    participants: pd.DataFrame,
    answers: Callable[[Tensor, pd.Series], dict[str, Any]],
) -> pd.DataFrame:
    """Return one row per part and scan: who it is, and what a function makes of the network's outputs."""
    import pandas as pd

    rows = []
    for part in PARTS:
        for scan_id, values in zip(getattr(parts, part), outputs[part].double(), strict=True):
            person = participants.loc[scan_id]
            who = {
                "scan_id": scan_id,
                "participant_id": person["participant_id"],
                "diagnosis": person["diagnosis"],
                "part": part,
                "target": int(person["target"]),
            }
            rows.append({**who, **answers(values, person)})
    return pd.DataFrame(rows)
