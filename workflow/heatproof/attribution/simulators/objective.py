"""What a simulator is fitted for: the terms of its loss, and the optimisers that lower them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from .answers import answer
from .discriminator import Discriminator, discriminator_loss, realism_loss
from .fitted import FittedSimulator
from .losses import bending_loss, cycle_loss, gradient_loss, margin_loss
from .networks import Simulation, SimulatorNetwork
from .settings import NetworkSettings


class Objective:
    """The loss of a simulator and the steps down its slope.

    Parameters
    ----------
    network : nn.Module
        The network to explain, in evaluation mode and without gradients of its weights.
    simulator : FittedSimulator
        Its own network is fitted in place.
    settings : NetworkSettings

    Attributes
    ----------
    modules, optimizers : dict of str
        Everything that changes from step to step.
    """

    def __init__(self, network: nn.Module, simulator: FittedSimulator, settings: NetworkSettings) -> None:
        assert isinstance(simulator.network, SimulatorNetwork)
        self.network, self.simulator, self.settings = network, simulator, settings
        self.own: SimulatorNetwork = simulator.network
        self.modules: dict[str, nn.Module] = {"simulator": self.own}
        self.optimizers = {"answer": self._adam(self.own, settings.learning_rate)}
        if settings.alternate:
            self.optimizers["cycle"] = self._adam(self.own, settings.cycle_learning_rate)
        self.judge: nn.Module | None = None
        if settings.adversarial:
            device = next(self.own.parameters()).device
            # The group that a scan should look like is one more channel.
            self.judge = Discriminator((simulator.shape[0] + 1, *simulator.shape[1:])).to(device)
            self.modules["judge"] = self.judge
            self.optimizers["judgement"] = self._adam(self.judge, settings.learning_rate)

    def step(self, inputs: torch.Tensor, option: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Take one step of every optimiser.

        Parameters
        ----------
        inputs : Tensor, shape (B, C, *S)
        option, before : Tensor, shape (B,)
            What is to be done to each scan, and what the network answers about it.

        Returns
        -------
        Tensor, shape ()
            The sum of all terms before the step, without those of the judge.
        """
        weight = self.settings.cycle
        with self._arithmetic(inputs.device):
            simulation = self.own(inputs, option)
            loss = self._margin(simulation, inputs, option, before) + self._regularity(simulation, inputs)
            if self.judge is not None:
                # Half a dose need not look like the other group.
                scores = self._judged(simulation.warped, option.sign()) * option.abs()
                loss = loss + self.settings.adversarial * realism_loss(scores)
            if weight and not self.settings.alternate:
                loss = loss + weight * self._cycle(simulation, inputs, option)
        self._take("answer", loss)
        total = loss.detach()
        if weight and self.settings.alternate:
            with self._arithmetic(inputs.device):
                cycle = weight * self._cycle(self.own(inputs, option), inputs, option)
            self._take("cycle", cycle)
            total = total + cycle.detach()
        if self.judge is not None:
            self._train_judge(simulation.warped.detach(), inputs, option)
        return total

    def _margin(
        self, simulation: Simulation, inputs: torch.Tensor, option: torch.Tensor, before: torch.Tensor
    ) -> torch.Tensor:
        """Return how much is missing of the margin, in the margin's unit."""
        seen = simulation.warped
        if self.settings.noise:
            seen = seen + self.settings.noise * _deviation(inputs) * torch.randn_like(inputs)
        # What is explained answers in the precision in which it is validated, whatever the steps are taken in.
        with torch.autocast(inputs.device.type, enabled=False):
            after = answer(self.network, seen, self.simulator.target, self.simulator.output)
        unit = self.simulator.unit
        return margin_loss(before / unit, after / unit, option.sign(), self.settings.margin * option.abs())

    def _regularity(self, simulation: Simulation, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the settings charge for fields that are not smooth and for changes of intensity."""
        settings, total = self.settings, inputs.new_zeros(())
        if simulation.displacement is not None and settings.gradient:
            total = total + settings.gradient * gradient_loss(simulation.displacement)
        if simulation.displacement is not None and settings.bending:
            total = total + settings.bending * bending_loss(simulation.displacement)
        if settings.sparsity:
            total = total + settings.sparsity * (simulation.change / _deviation(inputs)).abs().mean()
        return total

    def _cycle(self, simulation: Simulation, inputs: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        return cycle_loss(inputs, self.own(simulation.warped, -option).warped)

    def _train_judge(self, simulated: torch.Tensor, inputs: torch.Tensor, option: torch.Tensor) -> None:
        """Let the judge learn to tell scans of a group from those that were made to look like it."""
        with self._arithmetic(inputs.device):
            # A scan into which the pattern is to be injected is one of the group without it.
            real, made = self._judged(inputs, -option.sign()), self._judged(simulated, option.sign())
            loss = discriminator_loss(real, made)
        self._take("judgement", loss)

    def _judged(self, scans: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        assert self.judge is not None
        named = group.view(-1, *[1] * (scans.ndim - 1)).expand(-1, 1, *scans.shape[2:]).to(scans.dtype)
        return self.judge(torch.cat([scans, named], 1))

    def _take(self, name: str, loss: torch.Tensor) -> None:
        """Take one step of an optimiser; gradients that another loss has left are not used."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[name].step()

    def _adam(self, module: nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters(), lr=rate, weight_decay=self.settings.weight_decay)

    def _arithmetic(self, device: torch.device) -> AbstractContextManager:
        if self.settings.precision == "bfloat16":
            return torch.autocast(device.type, dtype=torch.bfloat16)
        return nullcontext()


def _deviation(inputs: torch.Tensor) -> torch.Tensor:
    """Return each scan's standard deviation, shape (B, 1, ...)."""
    return inputs.flatten(1).std(1).clamp(min=1e-6).view(-1, *[1] * (inputs.ndim - 1))
