"""A network whose layers lose what they have learnt, one stage after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from heatproof.attribution.isolation import device_of, isolated
from heatproof.attribution.tracing import traced
from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.models.random_state import random_state
from heatproof.randomness import integer_seed

ORDERS = ("top_down", "bottom_up")
# Layers whose first state is not drawn but fixed: gain 1, shift 0, running mean 0, running variance 1.
SCALING = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


def stages(model: nn.Module, order: str = "top_down") -> list[tuple[str, ...]]:
    """Return the names of the layers that are re-drawn together, stage by stage.

    Layers stand in the order in which the forward pass calls them, a layer that is called several times where it is
    called last; where the pass cannot be traced, in the order in which the network lists them. A layer that the
    pass never calls is left out. A normalisation has no random first state: it belongs to the stage of the weights
    called before it (at the start of a network, after it), because its gains and running statistics describe what
    these weights returned.

    Parameters
    ----------
    model : nn.Module
        The network.
    order : {"top_down", "bottom_up"}
        From the output to the input (Adebayo et al. 2018), or from the input to the output.

    Raises
    ------
    ConfigError
        An unknown order.
    UnsupportedModelError
        A layer has weights that it cannot draw anew, or there are none.
    """
    if order not in ORDERS:
        raise ConfigError(f"'{order}' is no order of layers.", field="order", remedy=f"use {' or '.join(ORDERS)}.")
    groups: list[tuple[str, ...]] = []
    waiting: tuple[str, ...] = ()
    for name in _called(model):
        if isinstance(model.get_submodule(name), SCALING):
            if groups:
                groups[-1] += (name,)
            else:
                waiting += (name,)
        else:
            groups.append((*waiting, name))
            waiting = ()
    if waiting:
        groups.append(waiting)
    return groups[::-1] if order == "top_down" else groups


def randomised(
    model: nn.Module, *, seed: int, layers: int | None = None, order: str = "top_down"
) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
    """Yield private copies of a network in which more and more layers are re-drawn; the last has all.

    Each layer draws its weights by its own ``reset_parameters`` from a stream keyed by the layer's name: they are the
    same in every order and for every number of stages, and the global random state stays as it was.

    Parameters
    ----------
    model : nn.Module
        Never written to.
    seed : int
        Root seed.
    layers : int, optional
        How many stages are yielded, evenly chosen and the last among them; all by default, and at most all. The
        layers in between are re-drawn all the same.
    order : {"top_down", "bottom_up"}
        See `stages`.

    Yields
    ------
    (tuple of str, nn.Module)
        Layers re-drawn since the stage before, and the network: in evaluation mode, without gradients of its weights,
        valid until the next is asked for.

    Raises
    ------
    ConfigError, UnsupportedModelError
        As `stages`, or fewer than one stage.
    """
    plan = stages(model, order)
    wanted = _evenly(len(plan), layers)
    twin = isolated(model)
    since: tuple[str, ...] = ()
    for number, names in enumerate(plan, start=1):
        for name in names:
            _redraw(twin.get_submodule(name), integer_seed(seed, "metrics", "randomisation", name))
        since += names
        if number in wanted:
            yield since, twin
            since = ()


def _called(model: nn.Module) -> list[str]:
    """Return the layers with a state of their own in the order of their last call."""
    holders = {name: module for name, module in model.named_modules() if _has_state(module)}
    stale = [name for name, module in holders.items() if not callable(getattr(module, "reset_parameters", None))]
    if stale or not any(True for _ in model.parameters()):
        raise UnsupportedModelError(
            "These weights cannot be drawn anew." if stale else "The model has no trainable weights.",
            field=", ".join(stale) or type(model).__name__,
            remedy="Give the layer a reset_parameters method, or leave the randomisation tests out for this model.",
        )
    try:
        nodes = traced(model).nodes
    except UnsupportedModelError:
        return list(holders)
    calls: dict[str, int] = {}
    for position, node in enumerate(nodes):
        # A weight that is used as a function's argument is read from its layer.
        target = str(node.target) if node.op == "call_module" else str(node.target).rpartition(".")[0]
        if node.op in ("call_module", "get_attr") and target in holders:
            calls[target] = position
    return sorted(calls, key=calls.__getitem__)


def _has_state(module: nn.Module) -> bool:
    has_weights = next(module.parameters(recurse=False), None) is not None
    return has_weights or (isinstance(module, SCALING) and next(module.buffers(recurse=False), None) is not None)


def _evenly(n_stages: int, layers: int | None) -> set[int]:
    """Return the numbers of the stages to look at, counted from one."""
    if layers is None:
        return set(range(1, n_stages + 1))
    if isinstance(layers, bool) or layers != int(layers) or layers < 1:
        raise ConfigError(
            f"{layers} stages cannot be chosen.", field="layers", remedy="use 1 or more, or null for all."
        )
    count = min(int(layers), n_stages)
    # Half up, in integers: floating-point rounding would choose differently for even and odd numbers.
    return {(2 * n_stages * number + count) // (2 * count) for number in range(1, count + 1)}


def _redraw(layer: Any, seed: int) -> None:
    """Draw a layer's state anew, on the CPU, so that the numbers do not depend on the device."""
    device = device_of(layer)
    layer.to("cpu")
    with random_state(seed):
        layer.reset_parameters()
    layer.to(device)
