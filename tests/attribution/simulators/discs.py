"""Discs of two sizes, a network that weighs them, and simulators to fit to it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from heatproof.attribution.simulators.answers import answer
from heatproof.attribution.simulators.draws import FittingScans
from heatproof.attribution.simulators.fitted import FittedSimulator, build_network
from heatproof.attribution.simulators.settings import NetworkSettings, Settings, settings_of
from heatproof.models.random_state import random_state

SHAPE = (1, 16, 16)
SHA = "a" * 64
WARP = {
    "kind": "warp", "grid": 5, "width": 4, "steps": 16, "validate_every": 4, "learning_rate": 0.01, "bending": 0.01,
    "batch_size": 8, "noise": 0.05, "margin": 1.0,
}  # fmt: skip
ADDITIVE = {
    "kind": "additive", "width": 4, "steps": 60, "validate_every": 20, "learning_rate": 0.01, "sparsity": 0.1,
    "batch_size": 8,
}  # fmt: skip
ATTACK = {"kind": "attack", "step": 0.02, "steps": 200}


def name_of(entry: dict) -> str:
    """Return what a test of an entry is called."""
    extra = [f"{key} {value}" for key, value in entry.items() if WARP.get(key, value) != value or key not in WARP]
    return entry["kind"] if entry["kind"] != "warp" else " ".join(["warp", *extra])


class Lightness(nn.Module):
    """A network of two classes that is the surer of class 1, the patients, the less bright tissue there is."""

    def __init__(self, n_outputs: int = 2) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(40.0))
        self.middle = nn.Parameter(torch.tensor(math.pi * 4.0**2 / 256))
        self.n_outputs = n_outputs

    def forward(self, scans: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 2), or numbers (B, 1)."""
        evidence = self.slope * (self.middle - scans.flatten(1).mean(1))
        columns = [torch.zeros_like(evidence)] * (self.n_outputs - 1) + [evidence]
        return torch.stack(columns, 1)


def discs(n_scans: int) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """Return soft discs by name, and their classes: the patients' discs, every other one, are smaller."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    scans, classes = {}, {}
    for number in range(n_scans):
        centre, radius = 7.5 + random.uniform(-1, 1, 2), (4.6, 3.4)[number % 2] + random.normal(0, 0.2)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        scans[f"s{number}"] = torch.from_numpy(1 / (1 + np.exp(3 * (distance - radius))))[None].float()
        classes[f"s{number}"] = number % 2
    return scans, classes


def fitting_scans(network: nn.Module, n_train: int = 24, n_validation: int = 8, output: str = "class") -> FittingScans:
    """Return discs to fit to; those after the training scans validate."""
    scans, classes = discs(n_train + n_validation)
    names = list(scans)
    with torch.no_grad():
        answers = answer(network, torch.stack(list(scans.values())), 1, output)
    sign = 0 if output == "value" else 1
    return FittingScans(
        read=lambda scan_ids, part: torch.stack([scans[name] for name in scan_ids]),
        train=names[:n_train],
        validation=names[n_train:],
        answers=dict(zip(names, answers.tolist(), strict=True)),
        directions={name: sign * (-1 if label else 1) for name, label in classes.items()},
    )


def unfitted(
    entry: dict, answer_sd: float = 1.0, output: str = "class", shape: tuple[int, ...] = SHAPE
) -> FittedSimulator:
    """Return a simulator before its first step."""
    settings: Settings = settings_of(entry)
    network = None
    if isinstance(settings, NetworkSettings):
        with random_state(3, torch.device("cpu")):
            network = build_network(settings, shape)
    return FittedSimulator(settings, answer_sd, 0 if output == "value" else 1, output, SHA, shape, network)


def lively(simulator: FittedSimulator, seed: int = 0, size: float = 0.3) -> FittedSimulator:
    """Give a simulator random weights in every layer, as if it had been fitted."""
    stream = torch.Generator().manual_seed(seed)
    assert simulator.network is not None
    with torch.no_grad():
        for parameter in simulator.network.parameters():
            parameter += size * torch.randn(parameter.shape, generator=stream)
    return simulator
