"""Random streams keyed by method, scan and item, so that no order, batch or device changes a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..randomness import integer_seed


def stream(seed: int, *keys: object) -> torch.Generator:
    """Return a CPU generator that depends on the seed and the keys alone."""
    return torch.Generator().manual_seed(integer_seed(seed, "attribution", *keys))


def normal(like: torch.Tensor, seed: int, name: str, scan_keys: Sequence[object], *items: object) -> torch.Tensor:
    """Return standard normal noise, one stream per scan, in shape, type and device of `like`.

    Drawn on the CPU in single precision, so that neither the device nor the precision changes the numbers.

    Parameters
    ----------
    like : Tensor, shape (B, C, *S)
    seed : int
    name : str
        Method name.
    scan_keys : sequence, length B
    *items
        Further keys: the number of the noisy copy.
    """
    maps = [
        torch.randn(like.shape[1:], generator=stream(seed, name, key, *items), dtype=torch.float32) for key in scan_keys
    ]
    return torch.stack(maps).to(like)


def normal_of_copies(
    inputs: torch.Tensor,
    seed: int,
    name: str,
    scan_keys: Sequence[object],
    scans: torch.Tensor,
    copies: torch.Tensor,
) -> torch.Tensor:
    """Return standard normal noise for some copies of some scans, each with a stream of its own, shape (b, C, *S).

    Parameters
    ----------
    inputs : Tensor, shape (B, C, *S)
    seed, name, scan_keys
        See `normal`; one key per scan of the inputs.
    scans, copies : Tensor of int, shape (b,)
        Which scan and which of its copies, as `batches.pairs` yields them.
    """
    numbers = zip(scans.tolist(), copies.tolist(), strict=True)
    return torch.cat([normal(inputs[:1], seed, name, [scan_keys[scan]], copy) for scan, copy in numbers])
