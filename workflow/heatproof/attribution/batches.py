"""Cut a set of scans into batches, and halve them when the memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")

# Input voxels per pass on a CPU: beyond a few scans of 4 mm larger batches run slower, as their activations
# leave the cache.
CPU_VOXELS = 2**19
# Activations and their gradients of one pass, as a multiple of the input, that a GPU batch is sized for.
GPU_COPIES = 200


def default_batch_size(inputs: torch.Tensor, device: torch.device) -> int:
    """Return how many scans go into one pass when the caller does not say.

    On a GPU the number follows from the free memory, on the CPU from the size of a scan. It never changes a
    result, only the time and the memory.
    """
    voxels = max(1, inputs[0].numel()) if len(inputs) else 1
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(max(1, min(256, free // (voxels * inputs.element_size() * GPU_COPIES))))
    return int(max(1, min(32, CPU_VOXELS // voxels)))


def pairs(n_scans: int, n_each: int, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (scans, items): index pairs of every scan with each of its `n_each` items, `batch_size` at a time.

    An item is a step of a path, a noisy copy, a mask. Batches run over scans and items alike, so that memory
    grows neither with the number of items nor with that of the scans.
    """
    together = torch.cartesian_prod(torch.arange(n_scans), torch.arange(n_each)).reshape(-1, 2)
    for chunk in together.split(batch_size):
        scans, items = chunk.unbind(1)
        yield scans, items


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that the memory did not suffice."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def in_batches(n_scans: int, batch_size: int, run: Callable[[slice, int], Result]) -> Iterator[Result]:
    """Yield ``run(part, batch_size)`` for consecutive parts of the scans.

    When a part runs out of memory it is tried again at half its size, down to single scans; later parts keep
    the smaller size.

    Raises
    ------
    RuntimeError
        Also one scan does not fit (the original error).
    """
    first, size = 0, max(1, batch_size)
    while first < n_scans:
        part = slice(first, min(first + size, n_scans))
        try:
            result = run(part, size)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size = (size + 1) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield result
        first = part.stop
