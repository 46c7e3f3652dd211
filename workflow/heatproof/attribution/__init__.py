"""Attribution methods: heatmaps of networks over one to three space axes.

`attribute` draws the maps, `METHODS` lists the methods. This part of the package sees tensors, arrays and
networks only; what it fits, `simulators`, has files of its own.
"""

from __future__ import annotations

from . import (
    activations,
    controls,
    gradients,
    network_controls,
    paths,
    patterns,
    perturbation,
    regions,
    relevance,
    rescale,
    sampling,
)
from .dispatch import attribute, attribute_together, attribute_with_residual
from .registry import METHODS, Attribution, Method, required_context
from .relevance import relevance_by_layer
from .simulators import methods as simulator_methods
from .tracing import separate_activations

__all__ = [
    "Attribution",
    "METHODS",
    "Method",
    "activations",
    "attribute",
    "attribute_together",
    "attribute_with_residual",
    "controls",
    "gradients",
    "network_controls",
    "paths",
    "patterns",
    "perturbation",
    "regions",
    "relevance",
    "relevance_by_layer",
    "required_context",
    "rescale",
    "sampling",
    "separate_activations",
    "simulator_methods",
]
