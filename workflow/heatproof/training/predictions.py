"""Predictions of a model over a cohort, one row per scan and part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    import pandas as pd

    rows = []
    for part in PARTS:
        for scan_id, values in zip(getattr(parts, part), logits[part].double(), strict=True):
            person = participants.loc[scan_id]
            row = {
                "scan_id": scan_id,
                "participant_id": person["participant_id"],
                "diagnosis": person["diagnosis"],
                "part": part,
                "target": int(person["target"]),
            }
            row |= {f"logit_{index}": float(value) for index, value in enumerate(values)}
            row |= {f"probability_{index}": float(p) for index, p in enumerate(values.softmax(0))}
            rows.append({**row, "predicted": int(values.argmax())})
    return pd.DataFrame(rows)
