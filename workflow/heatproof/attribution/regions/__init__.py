"""Attribution by whole regions of a scan: XRAI in one to three dimensions."""

from __future__ import annotations

from .xrai import xrai

__all__ = ["xrai"]
