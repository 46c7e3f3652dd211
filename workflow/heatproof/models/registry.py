"""The registry of networks: one name, one builder, one citation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from heatproof.errors import ConfigError
from heatproof.models.random_state import random_state

# The ICBM152 2009c grid at 1 mm, on which the networks of the papers were published.
PUBLISHED_SHAPE = (193, 229, 193)

Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class Network:
    """A network that can be named in the config.

    Attributes
    ----------
    name : str
        Name in the config.
    builder : callable
        ``builder(in_channels=, n_classes=, shape=, **parameters) -> nn.Module``.
    axes : tuple of int
        Numbers of space axes it is defined for.
    citation : str
        Where the architecture was published.
    parameters : tuple of str
        What can be set.
    """

    name: str
    builder: Builder
    axes: tuple[int, ...]
    citation: str
    parameters: tuple[str, ...]


NETWORKS: dict[str, Network] = {}
"""Every network by name."""


def register(name: str, citation: str, axes: tuple[int, ...] = (1, 2, 3)) -> Callable[[Builder], Builder]:
    """Return a decorator that enters a builder into `NETWORKS` under `name`."""

    def enter(builder: Builder) -> Builder:
        common = {"in_channels", "n_classes", "shape"}
        names = [key for key in inspect.signature(builder).parameters if key not in common]
        NETWORKS[name] = Network(name, builder, axes, citation, tuple(names))
        return builder

    return enter


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a network again, weights aside.

    Attributes
    ----------
    network : str
        A name of `NETWORKS`.
    shape : tuple of int
        Space axes of the input.
    in_channels, n_classes : int
        Channels of the input and outputs.
    parameters : dict
        The network's own parameters.
    """

    network: str
    shape: tuple[int, ...] = PUBLISHED_SHAPE
    in_channels: int = 1
    n_classes: int = 2
    parameters: dict[str, Any] = field(default_factory=dict)

    def build(self, seed: int = 0) -> nn.Module:
        """Return the network with the initial weights of `seed` (see `build`)."""
        return build(
            self.network,
            in_channels=self.in_channels,
            n_classes=self.n_classes,
            shape=self.shape,
            seed=seed,
            **self.parameters,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for a file's metadata."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> NetworkSpec:
        """Return the specification that `as_dict` has described."""
        return cls(**{**fields, "shape": tuple(fields["shape"])})


def build(
    name: str,
    *,
    in_channels: int = 1,
    n_classes: int = 2,
    shape: tuple[int, ...] = PUBLISHED_SHAPE,
    seed: int = 0,
    **parameters: Any,
) -> nn.Module:
    """Return a new network with reproducible initial weights.

    Parameters
    ----------
    name : str
        A name of `NETWORKS`.
    in_channels : int
        Channels of the input.
    n_classes : int
        Outputs (logits).
    shape : tuple of int
        Space axes of the input; their number decides between 1-D, 2-D and 3-D layers.
    seed : int
        Seed of the initial weights. The global random state is left as it was.
    **parameters
        The network's own parameters (``width``, ``n_blocks`` ...).

    Returns
    -------
    nn.Module
        From (batch, in_channels, *shape) to (batch, n_classes) logits.

    Raises
    ------
    ConfigError
        If the name or a parameter is not known, or the grid does not suit the network.
    """
    if name not in NETWORKS:
        raise ConfigError(
            f"the network '{name}' does not exist.",
            field="network",
            remedy=f"use one of {', '.join(sorted(NETWORKS))}.",
        )
    entry = NETWORKS[name]
    for key in parameters:
        if key not in entry.parameters:
            raise ConfigError(
                f"the network '{name}' has no parameter '{key}'.",
                field=key,
                remedy=f"use {', '.join(entry.parameters) or 'none'}.",
            )
    shape = tuple(int(length) for length in shape)
    if len(shape) not in entry.axes:
        raise ConfigError(
            f"the network '{name}' cannot take {len(shape)} space axes.",
            field="network",
            remedy=f"use an input with {' or '.join(str(axes) for axes in entry.axes)} space axes.",
        )
    # Layers draw their weights on the CPU, from PyTorch's default generator.
    with random_state(int(seed) % 2**63):
        return entry.builder(in_channels=in_channels, n_classes=n_classes, shape=shape, **parameters)
