"""Where the fit of a simulator stands, so that a killed one goes on; on a CPU bit for bit as if never killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import UnsupportedModelError
from ...models.weights import read_tensors, write_tensors


def save_state(
    path: str | Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    facts: Mapping[str, Any],
    digest: str,
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
        Fingerprint of this fit.
    """
    tensors = {
        f"{key}.{name}": tensor for key, module in modules.items() for name, tensor in module.state_dict().items()
    }
    for key, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{key}.{index}.{name}": moment for name, moment in moments.items()}
    write_tensors(tensors, path, {"fingerprint": digest, "facts": dict(facts)})


def load_state(
    path: str | Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    digest: str,
) -> dict[str, Any] | None:
    """Put networks and optimisers back where `save_state` left them.

    Returns
    -------
    dict or None
        The facts; None, with everything untouched, where there is no file, it belongs to another fit, or it is
        damaged: then the fit starts afresh.
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
        parts[key][rest] = tensor
    for key, module in modules.items():
        module.load_state_dict(parts[key])
    for key, optimizer in optimizers.items():
        state = optimizer.state_dict()
        for name, tensor in parts[key].items():
            index, moment = name.split(".", 1)
            state["state"].setdefault(int(index), {})[moment] = tensor
        optimizer.load_state_dict(state)
    return described["facts"]


@contextmanager
def random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Let everything drawn inside the block depend on a seed alone; the state outside is put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield
