"""PyTorch's random state, set for a block and put back: nothing drawn inside moves anybody else's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU = torch.device("cpu")


@contextmanager
def random_state(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Let everything drawn inside the block depend on a seed alone; the state outside is put back afterwards.

    Parameters
    ----------
    seed : int
        Seed of the CPU's generator, from which layers draw their weights, and of the device's.
    device : torch.device
        Where else numbers are drawn, as by dropout; other GPUs are left alone.
    """
    cuda = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # not torch.manual_seed, which would also reseed every GPU
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(cuda[0]):
                torch.cuda.manual_seed(seed)
        yield
