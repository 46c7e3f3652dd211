"""The fit of a simulator to one network: stoppable and resumable, and on a CPU reproducible bit for bit.

On a GPU seeds and draws are the same, but sums may be taken in another order.

A simulator learns to change scans so that the network's answer moves by a margin (Liu et al., IPMI 2021, arXiv
2102.08239). It is told neither what differs between the groups nor how: whatever it changes, the network looks at.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import HeatproofError
from ...models.checkpoints import load_state, save_state
from ...models.random_state import random_state
from ...randomness import integer_seed
from .draws import Draws, FittingScans
from .fitted import FittedSimulator
from .objective import Objective
from .settings import NetworkSettings
from .validation import validated

log = logging.getLogger(__name__)


def fit_simulator(
    network: nn.Module,
    simulator: FittedSimulator,
    scans: FittingScans,
    seed: int,
    checkpoint: str | Path | None = None,
    digest: str = "",
) -> list[dict[str, float]]:
    """Fit a simulator to a network, in place, and return its history.

    Parameters
    ----------
    network : nn.Module
        The network to explain. It is put into evaluation mode and learns nothing.
    simulator : FittedSimulator
        With its network at the initial weights; on the network's device. An attack is only validated.
    scans : FittingScans
        Training and validation scans, with what the network answers about them.
    seed : int
        Seed of order, doses and noise. The global random state is left as it was.
    checkpoint : str or Path, optional
        File to go on from and to write after every block of steps. It is kept, so that nothing is lost before the
        caller has written the simulator.
    digest : str
        Fingerprint of this fit; a checkpoint with another one is not used.

    Returns
    -------
    list of dict
        One row per block: step, train_loss (mean over the block) and what `validation.validated` measures.

    Raises
    ------
    HeatproofError
        If the loss is no longer finite.
    """
    network.eval().requires_grad_(False)
    device = next(iter(network.state_dict().values())).device
    if not isinstance(simulator.settings, NetworkSettings):
        row = {"step": 0, "train_loss": math.nan, **validated(simulator, network, scans, 16, device)}
        return [row]
    fit = _Fit(network, simulator, simulator.settings, scans, seed, device)
    return fit.run(checkpoint, digest)


class _Fit:
    """One fit: everything that changes is in `modules`, `optimizers` and the step."""

    def __init__(
        self,
        network: nn.Module,
        simulator: FittedSimulator,
        settings: NetworkSettings,
        scans: FittingScans,
        seed: int,
        device: torch.device,
    ) -> None:
        self.network, self.simulator, self.settings = network, simulator, settings
        self.scans, self.seed, self.device = scans, seed, device
        self.draws = Draws(scans, settings.batch_size, settings.doses_in_training, seed)
        with random_state(integer_seed(seed, "second network"), device):
            self.objective = Objective(network, simulator, settings)
        self.modules = self.objective.modules
        self.optimizers = self.objective.optimizers

    def run(self, checkpoint: str | Path | None, digest: str) -> list[dict[str, float]]:
        """Take all steps that are left, and return the whole history."""
        found = load_state(checkpoint, self.modules, self.optimizers, digest) if checkpoint else None
        done, history = (found[0]["step"], found[0]["history"]) if found else (0, [])
        if done:
            log.info("going on from step %d", done)
        with _shown(done, self.settings.steps) as show:
            while done < self.settings.steps:
                until = min(done + self.settings.validate_every, self.settings.steps)
                train_loss = self._block(done, until)
                row = validated(self.simulator, self.network, self.scans, self.settings.batch_size, self.device)
                history.append({"step": until, "train_loss": train_loss, **row})
                done = until
                show(history[-1])
                if checkpoint:
                    state: dict[str, Any] = {"step": done, "history": history}
                    save_state(checkpoint, self.modules, self.optimizers, state, digest)
        return history

    def _block(self, start: int, until: int) -> float:
        """Take the steps from one number to another and return their mean loss."""
        total = torch.zeros((), device=self.device)
        for module in self.modules.values():
            module.train()
        for step in range(start, until):
            ids, option = self.draws.of_step(step)
            inputs = self.scans.read(ids, "train").to(self.device)
            before = self.scans.before(ids).to(self.device)
            # Noise is drawn anew for each step, so that it depends neither on blocks nor on where a fit goes on.
            with random_state(integer_seed(self.seed, "noise", step), self.device):
                total += self.objective.step(inputs, option.to(self.device), before)
        mean = float(total) / (until - start)
        if not math.isfinite(mean):
            raise HeatproofError(
                f"the loss is no longer finite before step {until}.",
                field="learning_rate",
                remedy="lower the learning rate or fit in float32.",
            )
        return mean


@contextmanager
def _shown(done: int, total: int) -> Iterator:
    """Yield a function that shows a row: a bar on a terminal, one line a row in a log."""
    if not sys.stderr.isatty():
        yield lambda row: log.info("%s", _line(row))
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc="steps", file=sys.stderr) as bar:

        def show(row: dict[str, float]) -> None:
            bar.set_postfix_str(_line(row), refresh=False)
            bar.update(row["step"] - bar.n)

        yield show


def _line(row: dict[str, float]) -> str:
    return (
        f"step {row['step']:.0f}: loss {row['train_loss']:.4f}, validation shift {row['shift']:.2f} sd, "
        f"margin reached in {row['reached']:.0%}, folded {row['folded']:.2%}"
    )
