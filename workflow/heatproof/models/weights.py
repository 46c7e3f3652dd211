"""Weights on disk: safetensors only, with all that is needed to build the network again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.errors import UnsupportedModelError
from heatproof.files import atomic, sha256_of
from heatproof.models.registry import NetworkSpec

# One key only: the order of several would differ from run to run, and with it the file's bytes.
METADATA_KEY = "heatproof"
# Begins the names of tensors that are no weights: what the normalisation of the scans was fitted to.
INTENSITY_PREFIX = "intensity/"


class LoadedModel(NamedTuple):
    """A network read from disk.

    Attributes
    ----------
    module : nn.Module
        In evaluation mode, on the CPU.
    spec : NetworkSpec
        How it was built; ``spec.build(seed)`` gives the same network untrained.
    metadata : dict
        What was stored beside the weights.
    sha256 : str
        SHA-256 of the file.
    intensity : dict of str to Tensor
        What the normalisation of its scans was fitted to; empty where nothing was.
    """

    module: nn.Module
    spec: NetworkSpec
    metadata: dict[str, Any]
    sha256: str
    intensity: dict[str, Tensor]


def save_weights(
    module: nn.Module,
    path: str | Path,
    spec: NetworkSpec,
    metadata: dict[str, Any] | None = None,
    intensity: dict[str, Tensor] | None = None,
) -> str:
    """Write the weights of a network as safetensors and return the file's SHA-256.

    Parameters
    ----------
    module : nn.Module
        The network.
    path : str or Path
        Ends in ``.safetensors``.
    spec : NetworkSpec
        How it was built.
    metadata : dict, optional
        Facts to keep beside the weights; plain JSON values.
    intensity : dict of str to Tensor, optional
        What the normalisation of its scans was fitted to, in the same file so that it cannot be lost.
    """
    fitted = {INTENSITY_PREFIX + name: tensor for name, tensor in (intensity or {}).items()}
    write_tensors({**module.state_dict(), **fitted}, path, {"spec": spec.as_dict(), "metadata": metadata or {}})
    return sha256_of(path)


def load_weights(path: str | Path) -> LoadedModel:
    """Return the network that `save_weights` has written, in evaluation mode on the CPU.

    Raises
    ------
    UnsupportedModelError
        If the file is no safetensors file of this project, or its tensors do not fit the network.
    """
    tensors, described = read_tensors(path)
    weights, intensity = _divided(tensors)
    spec = NetworkSpec.from_dict(described["spec"])
    module = spec.build()
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UnsupportedModelError(
            f"the weights do not fit the network '{spec.network}': {error}",
            file=path,
            remedy="train the model again with this version.",
        ) from error
    return LoadedModel(module.eval(), spec, described["metadata"], sha256_of(path), intensity)


def _divided(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights, and what the normalisation was fitted to."""
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(INTENSITY_PREFIX)}
    fitted = {name.removeprefix(INTENSITY_PREFIX): tensors[name] for name in tensors.keys() - weights.keys()}
    return weights, fitted


def load_foreign_weights(module: nn.Module, path: str | Path) -> None:
    """Copy weights from another project (``.safetensors``, ``.pt``, ``.pth``) into a network, in place.

    Names are used where they agree. Where they do not, the tensors are matched in their order, and only if
    every shape agrees: a published network keeps its order of layers even when its layers have other names.
    Pickled files are read with ``weights_only=True``, which runs no code from the file.

    Raises
    ------
    UnsupportedModelError
        If the file is missing, cannot be read safely, or its tensors do not fit.
    """
    theirs, ours = _foreign_tensors(Path(path)), module.state_dict()
    if theirs.keys() != ours.keys():
        shapes = [tuple(tensor.shape) for tensor in theirs.values()]
        expected = [tuple(tensor.shape) for tensor in ours.values()]
        if shapes != expected:
            raise UnsupportedModelError(
                f"the file holds {len(shapes)} tensors whose shapes are not the network's {len(expected)}.",
                file=path,
                field="initial_weights",
                remedy="check the network's width, blocks and grid against those of the file.",
            )
        theirs = dict(zip(ours, theirs.values(), strict=True))
    try:
        module.load_state_dict(theirs)
    except RuntimeError as error:
        raise UnsupportedModelError(
            str(error), file=path, field="initial_weights", remedy="check the network's width and blocks."
        ) from error


def write_tensors(tensors: dict[str, Tensor], path: str | Path, described: dict[str, Any]) -> None:
    """Write named tensors with JSON facts beside them, whole or not at all."""
    from safetensors.torch import save_file

    # clone() breaks shared storage, which the format refuses.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={METADATA_KEY: json.dumps(described, sort_keys=True)})


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts that `write_tensors` has written.

    Raises
    ------
    UnsupportedModelError
        If the file is missing, damaged, or not from this project.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            described = (handle.metadata() or {}).get(METADATA_KEY)
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UnsupportedModelError(
            f"the weights cannot be read: {error}", file=path, remedy="train the model again."
        ) from error
    if described is None:
        raise UnsupportedModelError(
            "the weights do not say which network they belong to.",
            file=path,
            remedy="name them as initial_weights of a network instead.",
        )
    return tensors, json.loads(described)


def _foreign_tensors(path: Path) -> dict[str, Tensor]:
    import pickle

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            # A model of this project begins another training with its weights, not with its normalisation.
            return _divided(load_file(path))[0]
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError) as error:
        raise UnsupportedModelError(
            f"the weights cannot be read safely: {error}",
            file=path,
            field="initial_weights",
            remedy="convert them to safetensors, or save only the state_dict.",
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UnsupportedModelError(
            "the file holds no state_dict.",
            file=path,
            field="initial_weights",
            remedy="save the network's state_dict.",
        )
    return state
