"""A private copy of a network that has learned to read scans with holes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from heatproof.attribution.isolation import device_of, isolated
from heatproof.errors import ConfigError
from heatproof.metrics.faithfulness.asking import as_array
from heatproof.metrics.faithfulness.fidelity import removable
from heatproof.metrics.faithfulness.fills import constant_content
from heatproof.metrics.faithfulness.ranking import check_grid
from heatproof.models.random_state import random_state
from heatproof.randomness import generator, integer_seed

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def fine_tuned(
    model: nn.Module,
    batches: Batches | Callable[[], Batches],
    *,
    beta: float,
    n_steps: int,
    learning_rate: float,
    seed: int,
    fill: Any = 0.0,
    mask: Any = None,
    weight_decay: float = 1e-4,
    loss: Loss | None = None,
) -> nn.Module:
    """Return a copy of a network, tuned on scans of which a random part is removed (Zheng et al., arXiv 2410.02970).

    The removal knows no map, so no map can leak into the network that judges it. Every scan of every step loses a
    random number of voxels, from none up to the share beta, at random places: `fidelity.f_fidelity` asks about whole
    scans as well as about scans with few and with many holes. (The authors describe "at most" beta and release code
    that always removes beta.) Adam and its weight decay are those of the released code; the loss is the
    cross-entropy, for a network with one output that of the logistic function.

    Parameters
    ----------
    model : nn.Module
        From (B, C, *S) to logits (B, K); it is left as it is.
    batches : iterable or callable
        Training scans (B, C, *S) with their classes (B,), or a callable that returns such an iterable. It is started
        anew when it ends, until `n_steps` batches were seen; it must not hold scans that are scored later.
    beta : float
        Largest share of the voxels that is removed, above 0 and up to 1.
    n_steps : int
        Steps of the optimiser, one batch each.
    learning_rate : float
        The released code uses 1e-4.
    seed : int
        Draws the holes (one stream per step and scan) and the dropout; the global random state is left as it was.
    fill : number or array_like, shape (C, *S)
        What a removed voxel is set to.
    mask : array_like of bool, shape (*S,), optional
        Voxels that can be removed; all by default.
    weight_decay : float
    loss : callable, optional
        From answers (B, K) and what `batches` has beside the scans to one number; `training_loss` by default.

    Returns
    -------
    nn.Module
        In evaluation mode, without gradients, on the device of `model`.

    Raises
    ------
    ConfigError
        Parameters out of range, no batch, or a loss that is not finite.
    GeometryError
        Fill or mask are on another grid.
    UnsupportedModelError
        The network cannot be copied.
    """
    if not 0 < beta <= 1 or n_steps < 1 or not 0 < learning_rate < np.inf:
        raise ConfigError(
            f"{n_steps} steps at a learning rate of {learning_rate} with a share of {beta} removed teach nothing.",
            field="beta" if not 0 < beta <= 1 else "n_steps" if n_steps < 1 else "learning_rate",
            remedy="use 0 < beta <= 1, one step or more and a learning rate above 0.",
        )
    twin = isolated(model).requires_grad_(True).train()
    optimiser = torch.optim.Adam(twin.parameters(), lr=learning_rate, weight_decay=weight_decay)
    device = device_of(twin)
    with torch.enable_grad(), random_state(integer_seed(seed, "faithfulness", "fine_tuned"), device):
        for step, (scans, classes) in zip(range(n_steps), endless(batches), strict=False):
            kept, content = holes(scans, beta, seed, step, fill, mask)
            damaged = torch.where(kept.to(device), scans.to(device), content.to(device))
            current = (loss or training_loss)(twin(damaged), classes.to(device))
            if not torch.isfinite(current):
                raise ConfigError(
                    f"The loss is {current.item()} at step {step}.",
                    field="learning_rate",
                    remedy="use a smaller learning rate, and check the scans for values that are not finite.",
                )
            optimiser.zero_grad(set_to_none=True)
            current.backward()
            optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return twin.eval().requires_grad_(False)


def holes(
    scans: torch.Tensor, beta: float, seed: int, step: int, fill: Any, mask: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which voxels stay, shape (B, 1, *S), and what stands in the others, shape (C, *S)."""
    like = np.broadcast_to(np.zeros(()), scans.shape[1:])
    inside = np.ones(like.shape[1:], bool) if mask is None else as_array(mask) != 0
    check_grid(like, inside[None], "mask")
    places = np.flatnonzero(inside)
    kept = np.ones((len(scans), inside.size), bool)
    for row, voxels in enumerate(kept):
        random = generator(seed, "faithfulness", "holes", step, row)
        n_removed = int(random.integers(removable(beta * places.size) + 1))
        voxels[random.choice(places, n_removed, replace=False, shuffle=False)] = False
    content = torch.from_numpy(np.array(constant_content(like, fill))).to(scans.dtype)
    return torch.from_numpy(kept.reshape(len(scans), 1, *inside.shape)), content


def training_loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of logits (B, K) with classes (B,); logistic where K is 1."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], classes.to(logits))
    return functional.cross_entropy(logits, classes.long())


def endless(batches: Batches | Callable[[], Batches]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches over and over.

    Raises
    ------
    ConfigError
        A round without a batch: the iterable is empty, or it can be read only once.
    """
    while True:
        any_seen = False
        for batch in batches() if callable(batches) else batches:
            any_seen = True
            yield batch
        if not any_seen:
            raise ConfigError(
                "There is no batch, or none any more.",
                field="batches",
                remedy="pass a list, a loader, or a callable that starts a new round.",
            )
