"""The twin of a network that the stage `probe` tunes on scans with holes (F-Fidelity)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from heatproof.cohorts.store import Cohort
from heatproof.metrics.faithfulness import fine_tuned
from heatproof.randomness import generator
from heatproof.training import ScanLoader

# Scans of one step.
TUNING_BATCH = 16


@dataclass(frozen=True)
class Target:
    """What a network has learned to answer.

    Attributes
    ----------
    output : str
        Column of the participants table with the number that it estimates; empty for a classifier.
    deviation : float
        Standard deviation of that number over training scans.
    """

    output: str = ""
    deviation: float = 1.0

    def squared_error(self, answers: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of answers (B, 1) in standard deviations of the target."""
        return functional.mse_loss(answers[:, 0] / self.deviation, numbers / self.deviation)

    def of(self, cohort: Cohort, scan_ids: list[str]) -> torch.Tensor:
        """Return classes, or numbers, of some scans, shape (n,)."""
        column, kind = (self.output, np.float32) if self.output else ("target", np.int64)
        return torch.from_numpy(cohort.participants.loc[scan_ids, column].to_numpy(kind, copy=True))


def tuned_twin(
    module: torch.nn.Module,
    loader: ScanLoader,
    train: list[str],
    cohort: Cohort,
    spec: Mapping[str, Any],
    seed: int,
    target: Target,
) -> torch.nn.Module:
    """Return a copy of a network, tuned on training scans of which a random part is removed.

    Parameters
    ----------
    module : nn.Module
        The network; of a cohort whose channels are places it takes scans (B, 1, channels, *space).
    loader : ScanLoader
        Normalises as the network knows it.
    train : list of str
        Training scans.
    cohort : Cohort
        Targets and mask.
    spec : mapping
        The `f_fidelity` entry of the configuration.
    seed : int
        Of holes, dropout and the order of the scans.
    target : Target
        What it answers.
    """
    return fine_tuned(
        module,
        _batches(loader, train, cohort, int(spec["n_steps"]), seed, target),
        beta=spec["beta"],
        n_steps=spec["n_steps"],
        learning_rate=spec["learning_rate"],
        seed=seed,
        mask=cohort.places_mask,
        loss=target.squared_error if target.output else None,
    )


def _batches(
    loader: ScanLoader, train: list[str], cohort: Cohort, n_steps: int, seed: int, target: Target
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of training scans, every scan once before any comes again."""
    random = generator(seed, "order")
    rounds = 1 + n_steps * TUNING_BATCH // len(train)
    order = np.concatenate([random.permutation(len(train)) for _ in range(rounds)])
    for step in range(n_steps):
        scan_ids = [train[p] for p in order[step * TUNING_BATCH : (step + 1) * TUNING_BATCH]]
        scans = loader.batch(scan_ids, "train")
        yield scans[:, None] if cohort.channel_names else scans, target.of(cohort, scan_ids)
