"""Metrics: what a map is worth, against a truth, a mask or an atlas.

`METRICS` lists them by name. A new one is a function with `register` around it, imported below.
"""

from heatproof.metrics import location, overlap, signals, transport
from heatproof.metrics.registry import METRICS, Metric, register

__all__ = ["METRICS", "Metric", "location", "overlap", "register", "signals", "transport"]
