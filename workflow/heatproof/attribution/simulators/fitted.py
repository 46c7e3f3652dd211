"""A fitted simulator: what it returns for a scan, and its file, which belongs to one network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import HeatproofError, UnsupportedModelError
from ...models.random_state import random_state
from ...models.weights import read_tensors, write_tensors
from .attack import attack
from .networks import Simulation, SimulatorNetwork
from .settings import AttackSettings, NetworkSettings, Settings, settings_of


@dataclass
class FittedSimulator:
    """A simulator that was fitted to one network.

    Attributes
    ----------
    settings : NetworkSettings or AttackSettings
        What it is.
    answer_sd : float
        Standard deviation of the network's answers on the validation scans, in the unit of the answer.
    target : int
        The class whose pattern an option above 0 injects; the patients' class (the last one), 0 for numbers.
    output : {"class", "value"}
        What the network's outputs are.
    model_sha256 : str
        SHA-256 of the network's file.
    shape : tuple of int
        Channels and space axes of a scan.
    network : SimulatorNetwork or None
        None for an attack.
    """

    settings: Settings
    answer_sd: float
    target: int
    output: str
    model_sha256: str
    shape: tuple[int, ...]
    network: nn.Module | None = None

    @property
    def kind(self) -> str:
        """Whether it warps, adds or attacks."""
        return self.settings.kind

    @property
    def margin(self) -> float:
        """How far an option of 1 is to move the answer, in the unit of the answer."""
        return self.settings.margin * self.unit

    @property
    def unit(self) -> float:
        """Unit of the settings' margin, in the unit of the answer."""
        return self.answer_sd if self.settings.margin_unit == "sd" else 1.0

    @property
    def has_displacement(self) -> bool:
        """Whether its simulations move tissue."""
        return isinstance(self.settings, NetworkSettings) and self.settings.field != "none"

    def to(self, device: torch.device | str) -> FittedSimulator:
        """Move the simulator's network to a device, and return the simulator."""
        if self.network is not None:
            self.network.to(device)
        return self

    def simulate(
        self,
        network: nn.Module,
        inputs: torch.Tensor,
        option: torch.Tensor,
        target: torch.Tensor | int | None = None,
    ) -> Simulation:
        """Return each scan with the pattern of a class injected or removed.

        Parameters
        ----------
        network : nn.Module
            The network it was fitted to, in evaluation mode. Only an attack asks it.
        inputs : Tensor, shape (B, C, *S)
        option : Tensor, shape (B,)
            From -1 (the pattern is removed) to 1 (it is injected); the size is the dose.
        target : Tensor of int, shape (B,), int, or None
            The class that the option is about; by default the one it was fitted for. Of two classes the other one
            is meant the other way round.

        Returns
        -------
        Simulation
            Without gradients.

        Raises
        ------
        UnsupportedModelError
            A class of three or more that it was not fitted for, or scans of another shape.
        """
        self._check_shape(inputs)
        option = self._own_option(network, inputs, option, target)
        if isinstance(self.settings, AttackSettings):
            changed = attack(network, inputs, option, self.target, self.settings, self.margin, self.output)
            return Simulation(warped=changed, change=changed - inputs)
        if self.network is None:
            raise HeatproofError("the simulator has no network.", field="network", remedy="fit it again.")
        self.network.eval().to(inputs)
        with torch.no_grad():
            return self.network(inputs, option)

    def _own_option(
        self, network: nn.Module, inputs: torch.Tensor, option: torch.Tensor, target: torch.Tensor | int | None
    ) -> torch.Tensor:
        """Return options about the class that it was fitted for."""
        option = option.to(inputs)
        if target is None or self.output == "value":
            return option
        is_other = torch.as_tensor(target, device=inputs.device).expand(len(inputs)) != self.target
        if not bool(is_other.any()):
            return option
        with torch.no_grad():
            n_classes = network(inputs[:1]).shape[1]
        if n_classes > 2:
            raise UnsupportedModelError(
                f"the simulator was fitted for class {self.target} of {n_classes}, another one is explained.",
                field="target",
                remedy="use target: patient for methods that show a simulator.",
            )
        return torch.where(is_other, -option, option)

    def _check_shape(self, inputs: torch.Tensor) -> None:
        if tuple(inputs.shape[1:]) != tuple(self.shape):
            raise UnsupportedModelError(
                f"the simulator was fitted to scans of shape {tuple(self.shape)}, not {tuple(inputs.shape[1:])}.",
                field="shape",
                remedy="fit it again for this cohort.",
            )


def build_network(settings: NetworkSettings, shape: tuple[int, ...]) -> SimulatorNetwork:
    """Return the network that a simulator's settings describe, with weights from PyTorch's global random state.

    Parameters
    ----------
    settings : NetworkSettings
    shape : tuple of int
        Channels and space axes of a scan.
    """
    return SimulatorNetwork(
        tuple(shape),
        field=settings.field,
        grid=settings.grid,
        amplitude=settings.amplitude,
        conditioning=settings.conditioning,
        n_experts=settings.n_experts,
        width=settings.width,
        depth=settings.depth,
        bottleneck=settings.bottleneck,
    )


def save_simulator(simulator: FittedSimulator, path: str | Path) -> None:
    """Write a simulator as safetensors, whole or not at all; an attack is a file without tensors."""
    described: dict[str, Any] = {
        "settings": simulator.settings.as_dict(),
        "answer_sd": simulator.answer_sd,
        "target": simulator.target,
        "output": simulator.output,
        "model_sha256": simulator.model_sha256,
        "shape": list(simulator.shape),
    }
    tensors = {} if simulator.network is None else simulator.network.state_dict()
    write_tensors(dict(tensors), path, {"simulator": described})


def load_simulator(path: str | Path, model_sha256: str) -> FittedSimulator:
    """Return the simulator that `save_simulator` has written, in evaluation mode on the CPU.

    Parameters
    ----------
    path : str or Path
    model_sha256 : str
        SHA-256 of the network's file that it is to be used with.

    Raises
    ------
    UnsupportedModelError
        If the file is no simulator of this project, or was fitted to another network.
    """
    tensors, described = read_tensors(path)
    if "simulator" not in described:
        raise UnsupportedModelError("the file holds no simulator.", file=path, remedy="fit the simulator again.")
    facts = described["simulator"]
    if facts["model_sha256"] != model_sha256:
        raise UnsupportedModelError(
            "the simulator was fitted to another network.",
            file=path,
            field="model_sha256",
            remedy="fit it again to this one.",
        )
    settings, shape = settings_of(facts["settings"]), tuple(facts["shape"])
    network = None
    if isinstance(settings, NetworkSettings):
        # The weights it begins with are read over; drawing them must move nobody else's numbers.
        with random_state(0):
            network = build_network(settings, shape)
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise UnsupportedModelError(
                f"the tensors do not fit the simulator: {error}", file=path, remedy="fit it again with this version."
            ) from error
        network.eval()
    return FittedSimulator(
        settings, float(facts["answer_sd"]), int(facts["target"]), str(facts["output"]), model_sha256, shape, network
    )
