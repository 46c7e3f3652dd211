"""Which scans a step of a fit sees, and what is to be done to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import HeatproofError
from ...randomness import generator

# What is read of a cohort: (scan ids, part of the fold) -> scans (n, C, *S).
Read = Callable[[Sequence[str], str], torch.Tensor]


@dataclass(frozen=True)
class FittingScans:
    """The scans that a simulator is fitted to.

    Attributes
    ----------
    read : callable
        Reads scans of a part.
    train, validation : sequence of str
        Scan ids.
    answers : mapping of str to float
        What the network answers about each of them (see `answers.answer`).
    directions : mapping of str to int
        1 where the pattern is to be injected, -1 where it is to be removed, 0 for either.
    only_correct_of : str, optional
        Id of the simulator whose setting has left only correctly classified scans; None where all are there.

    Raises
    ------
    HeatproofError
        There is no scan to validate with, or none to learn one of the directions from.
    """

    read: Read
    train: Sequence[str]
    validation: Sequence[str]
    answers: Mapping[str, float]
    directions: Mapping[str, int]
    only_correct_of: str | None = None

    def __post_init__(self) -> None:
        found = {self.directions[scan_id] for scan_id in self.train}
        missing = [name for sign, name in ((1, "injected"), (-1, "removed")) if not {sign, 0} & found]
        if missing or not self.validation:
            lacking = (
                f"training scans in which the pattern can be {' or '.join(missing)}" if missing else "validation scans"
            )
            if self.only_correct_of is None:
                raise HeatproofError(
                    f"there are no {lacking}.",
                    field="folds",
                    remedy="use a cohort, or shares of folds, that leave scans of every group in both parts.",
                )
            raise HeatproofError(
                f"there are no {lacking}, correctly classified.",
                field=f"simulators.{self.only_correct_of}.only_correct",
                remedy="train the network for longer, or set only_correct: false.",
            )

    def before(self, scan_ids: Sequence[str]) -> torch.Tensor:
        """Return the answers about some scans, shape (n,)."""
        return torch.tensor([self.answers[scan_id] for scan_id in scan_ids], dtype=torch.float32)

    def full_options(self, scan_ids: Sequence[str]) -> torch.Tensor:
        """Return the option of a full dose for each scan, shape (n,); up and down in turn where either is possible."""
        signs = [self.directions[scan_id] or (1, -1)[place % 2] for place, scan_id in enumerate(scan_ids)]
        return torch.tensor(signs, dtype=torch.float32)


class Draws:
    """Scans and options of every step: functions of seed and step alone.

    Half of a batch is to have the pattern injected and half to have it removed, whatever the groups' sizes. Each
    group is gone through in an order that is drawn anew after its last scan.

    Parameters
    ----------
    scans : FittingScans
    batch_size : int
        Scans of a step at most.
    doses : bool
        Draw the size of each option from (0, 1]; else it is 1.
    seed : int
    """

    def __init__(self, scans: FittingScans, batch_size: int, doses: bool, seed: int) -> None:
        self.seed, self.doses = seed, doses
        self.groups = {
            sign: [scan_id for scan_id in scans.train if scans.directions[scan_id] in (sign, 0)] for sign in (1, -1)
        }
        smallest = min(map(len, self.groups.values()))
        self.half = max(1, min(batch_size // 2, smallest))
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def of_step(self, step: int) -> tuple[list[str], torch.Tensor]:
        """Return the scan ids of a step, counted from 0, and the option of each, shape (n,)."""
        ids = [scan_id for sign in (1, -1) for scan_id in self._next(sign, step)]
        signs = torch.tensor([1.0] * self.half + [-1.0] * self.half)
        if not self.doses:
            return ids, signs
        drawn = 1 - generator(self.seed, "doses", step).random(len(ids))
        return ids, signs * torch.from_numpy(drawn).float()

    def _next(self, sign: int, step: int) -> list[str]:
        group = self.groups[sign]
        places = (divmod(step * self.half + place, len(group)) for place in range(self.half))
        return [group[self._order(sign, epoch)[position]] for epoch, position in places]

    def _order(self, sign: int, epoch: int) -> np.ndarray:
        if (sign, epoch) not in self._orders:
            drawn = generator(self.seed, "order", sign, epoch).permutation(len(self.groups[sign]))
            # The order before is still needed where a batch begins in one round and ends in the next.
            self._orders = {key: order for key, order in self._orders.items() if key[0] != sign or key[1] >= epoch - 1}
            self._orders[sign, epoch] = drawn
        return self._orders[sign, epoch]
