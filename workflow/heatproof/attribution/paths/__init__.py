"""Path methods: gradients on the way from a baseline to the scan."""

from __future__ import annotations

from . import blur, expected, guided, idgi, noisy, straight

__all__ = ["blur", "expected", "guided", "idgi", "noisy", "straight"]
