"""What the questions of the stage `probe` are about: the network, what the scans of a run share, and an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

# From a batch of scans (B, C, *space) to numbers (B, K).
Predict = Callable[[np.ndarray], np.ndarray]


class LeadByLead(nn.Module):
    """A network whose channels are places of their own: it takes (B, 1, C, *space) for the network's (B, C, *space)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, scans: torch.Tensor) -> torch.Tensor:
        """Return what the network says about scans, shape (B, K)."""
        answers: torch.Tensor = self.network(scans[:, 0])
        return answers


@dataclass(frozen=True)
class Network:
    """A network as the questions see it.

    Attributes
    ----------
    predict, logits : callable
        From (B, C, *space) to probabilities and to logits, (B, K). Of a network that answers with a number, logits are
        its answer in standard deviations of the target, and `predict` is what `about` makes of it.
    tuned : callable, optional
        As `predict`, of the twin that was fine-tuned on masked scans (F-Fidelity).
    target_sd : float, optional
        Standard deviation of the target over training scans, in its unit; None for a classifier.
    """

    predict: Predict
    logits: Predict
    tuned: Predict | None = None
    target_sd: float | None = None

    @classmethod
    def of(cls, module: nn.Module, tuned: nn.Module | None = None, target_sd: float | None = None) -> Network:
        """Return a module in evaluation mode as a network that takes and gives arrays."""
        if target_sd is None:
            return cls(
                lambda batch: _forward(module, batch, softmax=True),
                lambda batch: _forward(module, batch, softmax=False),
                None if tuned is None else lambda batch: _forward(tuned, batch, softmax=True),
            )

        def answers(batch: np.ndarray) -> np.ndarray:
            return _forward(module, batch, softmax=False) / target_sd

        twin = None if tuned is None else lambda batch: _forward(tuned, batch, softmax=False) / target_sd
        return cls(answers, answers, twin, target_sd)

    @classmethod
    def constant(cls, n_classes: int, answer: int, target_sd: float | None = None) -> Network:
        """Return a network that gives every scan the same answer with certainty: it can tell no map from another."""
        row = np.eye(n_classes, dtype=np.float32)[answer]

        def same(batch: np.ndarray) -> np.ndarray:
            return np.tile(row, (len(batch), 1))

        return cls(same, same, same, target_sd)

    def about(self, image: np.ndarray) -> Network:
        """Return the network as it is asked about one scan, shape (C, *space).

        A number has no probability. In its place stands how near an answer is to that for the untouched scan, minus
        their distance in standard deviations of the target: 0 at most, and higher where more is kept of the answer.
        """
        if self.target_sd is None:
            return self

        def nearness(answers: Predict) -> Predict:
            untouched = answers(image[None])
            return lambda batch: -np.abs(answers(batch) - untouched)

        tuned = None if self.tuned is None else nearness(self.tuned)
        return replace(self, predict=nearness(self.logits), tuned=tuned)


@dataclass(frozen=True)
class Scene:
    """What all scans of a run share.

    Attributes
    ----------
    spec : mapping
        The `probes` section of the configuration.
    window : (float, float)
        Darkest and brightest normalised intensity of training scans.
    mask : ndarray of bool, shape (*space,)
        Where maps are ranked.
    seed : int
        Seed of the run; questions are further keyed by scan.
    settings : tuple of str
        Of the information curves.
    reference : ndarray, shape (C, *space), optional
        Mean control scan, for the fill of that name.
    leads : bool
        Whether the first space axis holds leads: scans are (1, leads, *space) and each lead is filled from itself.
    """

    spec: Mapping[str, Any]
    window: tuple[float, float]
    mask: np.ndarray
    seed: int
    settings: tuple[str, ...] = ()
    reference: np.ndarray | None = None
    leads: bool = False

    @property
    def batch_size(self) -> int:
        """Most inputs in one forward pass."""
        return int(self.spec["batch_size"])


@dataclass(frozen=True)
class Facts:
    """What is known of a scan beside its values.

    Attributes
    ----------
    measured : float
        The number that the network estimates, in its unit; NaN where it is not known.
    labels : ndarray of int, shape (*space,), optional
        Waves of a signal, 0 for none.
    names : tuple of str, length M
        Who each map is of; by default nobody.
    """

    measured: float = float("nan")
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One metric in one setting for every map of a scan.

    Attributes
    ----------
    metric, setting : str
        What was asked, and how.
    values : ndarray, shape (M,)
        NaN for all maps where the scan is excluded.
    excluded : str
        Why the scan is excluded; empty where it is not.
    curve : (ndarray (n,), ndarray (M, n)), optional
        Curve on its common axis.
    spreads : mapping of str to float, optional
        How far apart a constant network, ``right`` or ``wrong``, puts the maps, where the metric knows it itself.
    """

    metric: str
    setting: str
    values: np.ndarray
    excluded: str = ""
    curve: tuple[np.ndarray, np.ndarray] | None = None
    spreads: Mapping[str, float] | None = None


def _forward(module: nn.Module, batch: np.ndarray, *, softmax: bool) -> np.ndarray:
    device = next(iter(module.state_dict().values())).device
    with torch.inference_mode():
        logits = module(torch.as_tensor(np.ascontiguousarray(batch, np.float32), device=device)).float()
        return (logits.softmax(1) if softmax else logits).cpu().numpy()
