"""Rescale methods: DeepLIFT and DeepSHAP."""

from __future__ import annotations

from . import deeplift

__all__ = ["deeplift"]
