"""How a GPU computes products of float32 numbers."""

from __future__ import annotations

import torch


def use_arithmetic(precision: str) -> None:
    """Choose how float32 products are computed on a GPU, and always the same algorithm for them.

    Parameters
    ----------
    precision : str
        ``tf32`` rounds the factors to 10 bits; anything else keeps all 23.
    """
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
