"""Perturbation methods: what the score loses when parts of the scan are hidden."""

from __future__ import annotations

from . import occlusion, rise

__all__ = ["occlusion", "rise"]
