"""Where an optimisation stands, so that a killed one goes on; on a CPU bit for bit as if never killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heatproof.errors import UnsupportedModelError
from heatproof.models.weights import read_tensors, write_tensors


def save_state(
    path: str | Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    facts: Mapping[str, Any],
    digest: str,
    kept: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
) -> None:
    """Write networks, moments of their optimisers and facts, whole or not at all.

    Parameters
    ----------
    path : str or Path
    modules, optimizers : mapping of str
        By names without a dot.
    facts : mapping
        Plain JSON values, such as the step and the history.
    digest : str
        Fingerprint of this optimisation.
    kept : mapping of str to mapping, optional
        Further tensors, such as the best weights so far, by another name without a dot.
    """
    states = {key: module.state_dict() for key, module in modules.items()} | dict(kept or {})
    tensors = {f"{key}.{name}": tensor for key, state in states.items() for name, tensor in state.items()}
    for key, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{key}.{index}.{name}": moment for name, moment in moments.items()}
    write_tensors(tensors, path, {"fingerprint": digest, "facts": dict(facts)})


def load_state(
    path: str | Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    digest: str,
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]] | None:
    """Put networks and optimisers back where `save_state` left them.

    Returns
    -------
    (dict, dict) or None
        The facts and all tensors by name; None, with everything untouched, where there is no file, it belongs to
        another optimisation, or it is damaged: then that starts afresh.
    """
    if not Path(path).is_file():
        return None
    try:
        tensors, described = read_tensors(path)
    except UnsupportedModelError:
        return None
    if described.get("fingerprint") != digest:
        return None
    parts: dict[str, dict[str, torch.Tensor]] = {key: {} for key in (*modules, *optimizers)}
    for name, tensor in tensors.items():
        key, rest = name.split(".", 1)
        parts.setdefault(key, {})[rest] = tensor
    for key, module in modules.items():
        module.load_state_dict(parts[key])
    for key, optimizer in optimizers.items():
        state = optimizer.state_dict()
        for name, tensor in parts[key].items():
            index, moment = name.split(".", 1)
            state["state"].setdefault(int(index), {})[moment] = tensor
        optimizer.load_state_dict(state)
    return described["facts"], parts
