"""What shows that a method is right: a slow oracle, its identities, an installed peer; one entry per method.

`test_attribution_evidence` checks every entry in one, two and three dimensions, and `tests/benchmarks/methods.py`
measures the same entries and writes them into the docs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from attribution.networks import convolutional

# (model, scan (C, *S), target, **parameters) -> map (C, *S) or (1, *S), by explicit loops.
Oracle = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Identity:
    """Something that holds exactly.

    Attributes
    ----------
    name : str
        In words, for the table: "linear model: w x".
    error : callable
        (number of axes) -> largest relative deviation; 0 is exact.
    tolerance : float
        Most that rounding (or a stated approximation) may add.
    """

    name: str
    error: Callable[[int], float]
    tolerance: float = 1e-8


@dataclass(frozen=True)
class Peer:
    """An installed library that draws the same map.

    Attributes
    ----------
    library : str
        Distribution name: captum, grad-cam, saliency, zennit, torchcam.
    call : callable
        (model, inputs (B, C, *S), target) -> maps (B, C, *S) or (B, 1, *S). Imports the library itself.
    parameters : mapping
        Ours, at the same settings.
    axes : tuple of int
        Numbers of space axes for which the library works.
    relation : {"equal", "proportional", "none"}
        What the maps have to be: equal, equal up to scale and offset of each map (a peer that normalises), or
        nothing (random draws differ).
    note : str
        Where the peer departs, or why it fails in some dimension.
    tolerance : float
        Largest relative deviation that the peer's own precision explains.
    """

    library: str
    call: Callable[[nn.Module, torch.Tensor, int], torch.Tensor]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[int, ...] = (1, 2, 3)
    relation: str = "equal"
    note: str = ""
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Evidence:
    """What shows that one method is right.

    Attributes
    ----------
    oracle : callable or None
        A slow, independent implementation for one scan.
    parameters : mapping
        Parameters of ours and of the oracle when the two are compared; small, so that the oracle ends.
    identities : tuple of Identity
    peer : Peer or None
    model : callable
        (number of axes) -> network in double precision.
    oracle_tolerance : float
        Largest relative deviation that the oracle's own arithmetic explains.
    context : callable
        (number of axes) -> what the method needs beside the model (background scans, regions ...).
    """

    oracle: Oracle | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    identities: tuple[Identity, ...] = ()
    peer: Peer | None = None
    model: Callable[[int], nn.Module] = convolutional
    oracle_tolerance: float = 1e-7
    context: Callable[[int], Mapping[str, Any]] = lambda n_axes: {}


def deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest expected value."""
    scale = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((found - expected).abs().max() / scale)
