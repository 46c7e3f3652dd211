"""What the stage `simulate` measures on one scan and one simulator: from arrays to numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from heatproof.attribution.simulators.answers import answer
from heatproof.attribution.simulators.fitted import FittedSimulator
from heatproof.attribution.simulators.warps import log_jacobian, warp
from heatproof.cohorts.counterfactuals import Counterfactual
from heatproof.errors import HeatproofError
from heatproof.metrics import simulations as metrics

# Name of a score, the dose at which it was taken, and its value.
Scored = tuple[str, float, float]


@dataclass(frozen=True)
class Judge:
    """A network that is asked about simulated scans.

    Attributes
    ----------
    network : nn.Module
        In evaluation mode.
    target : int
        The class whose log-odds are its answer; 0 for a number.
    output : {"class", "value"}
        What the network's outputs are.
    deviation : float
        Standard deviation of its answers on the validation scans.
    """

    network: nn.Module
    target: int
    output: str
    deviation: float

    def ask(self, scans: torch.Tensor) -> np.ndarray:
        """Return its answers to some scans (B, C, *S), shape (B,)."""
        with torch.inference_mode():
            return answer(self.network, scans, self.target, self.output).double().cpu().numpy()


@dataclass(frozen=True)
class Exact:
    """The exact counterfactual of a scan, on the scale on which the network sees it.

    Attributes
    ----------
    change : ndarray, shape (C, *S)
        The scan in the other group minus the scan.
    log_jacobian : ndarray, shape (*S,), or None
        None where the exact change is no warp.
    effect, nuisance : ndarray of bool, shape (*S,), or (C, *S) lead by lead
        Where tissue is lost or regained, or where a signal changes, and what must not change.
    """

    change: np.ndarray
    log_jacobian: np.ndarray | None
    effect: np.ndarray
    nuisance: np.ndarray

    @classmethod
    def of(cls, found: Counterfactual, rescaled: Callable[[np.ndarray], np.ndarray], mask: np.ndarray) -> Exact:
        """Return what a source knows; `rescaled` turns its change, (C, *S), into one that the network would see."""
        warps = found.log_jacobian if found.log_jacobian.any() else None
        return cls(rescaled(found.change), warps, found.effect & mask, found.nuisance & mask)


@dataclass(frozen=True)
class DosedScan:
    """What one simulator made of one scan in one direction.

    Attributes
    ----------
    image : ndarray, shape (C, *S)
        The scan as the network sees it.
    option : int
        1 for an injection, -1 for a removal.
    doses : tuple of float
        Ascending; the last is the full dose.
    warped : Tensor, shape (doses, C, *S)
        The simulated scans.
    restored : ndarray, shape (C, *S)
        The scan at the full dose after the opposite simulation.
    displacement, log_jacobian : ndarray, shape (axes, *S) and (*S,), or None
        Of the warp at the full dose.
    """

    image: np.ndarray
    option: int
    doses: tuple[float, ...]
    warped: torch.Tensor
    restored: np.ndarray
    displacement: np.ndarray | None
    log_jacobian: np.ndarray | None

    @property
    def changes(self) -> np.ndarray:
        """Simulated scans minus the scan, shape (doses, C, *S)."""
        return self.warped.cpu().numpy() - self.image


def simulate_scan(
    simulator: FittedSimulator, network: nn.Module, image: torch.Tensor, option: int, doses: Sequence[float]
) -> DosedScan:
    """Return one scan at every dose of an option, and there and back again.

    Parameters
    ----------
    simulator : FittedSimulator
        Of the network.
    network : nn.Module
        The network, in evaluation mode.
    image : Tensor, shape (C, *S)
        The scan, normalised, on the network's device.
    option : {1, -1}
        Injection or removal.
    doses : sequence of float
        Ascending; the last is the full dose.

    Raises
    ------
    HeatproofError
        If a simulated scan is not finite.
    """
    options = torch.tensor([option * dose for dose in doses], dtype=image.dtype, device=image.device)
    found = simulator.simulate(network, image.expand(len(doses), *image.shape), options)
    if not bool(torch.isfinite(found.warped).all()):
        raise HeatproofError(
            "the simulator returns values that are not finite.",
            field="simulators",
            remedy="fit it with a smaller learning rate, or with stronger smoothness terms.",
        )
    back = simulator.simulate(network, found.warped[-1:], -options[-1:])
    field = None if found.displacement is None else found.displacement[-1:].detach()
    return DosedScan(
        image.cpu().numpy(),
        option,
        tuple(doses),
        found.warped.detach(),
        back.warped[0].detach().cpu().numpy(),
        None if field is None else field[0].cpu().numpy(),
        None if field is None else log_jacobian(field)[0].cpu().numpy(),
    )


def dose_scores(scan: DosedScan, own: Judge, exact: Exact | None, mask: np.ndarray) -> Iterator[Scored]:
    """Yield what is measured at every dose, and how the answer follows the dose (at the full dose).

    Parameters
    ----------
    scan : DosedScan
        The simulated scan.
    own : Judge
        The network that the simulator was fitted to.
    exact : Exact, optional
        The exact counterfactual, where it is known.
    mask : ndarray of bool, shape (*S,) or (C, *S)
        Where scans are judged.
    """
    before, after = float(own.ask(as_batch(scan))[0]), own.ask(scan.warped)
    shifts = []
    for dose, change, reached in zip(scan.doses, scan.changes, after, strict=True):
        moved = metrics.answers(before, float(reached), scan.option, own.deviation, has_sides=own.output == "class")
        shifts.append(moved["shift"])
        yield "answer_shift", dose, moved["shift"]
        yield "size", dose, float(np.abs(metrics.inside(change, mask)).mean())
        if exact is not None:
            yield "change_correlation", dose, metrics.correlation(change, exact.change, mask)
    yield "moved", dose, moved["moved"]
    yield "flipped", dose, moved["flipped"]
    yield "dose_tau", dose, metrics.dose_tau(scan.doses, shifts)


def as_batch(scan: DosedScan, image: np.ndarray | None = None) -> torch.Tensor:
    """Return an image, by default the scan as it is, as (1, C, *S) on the device of the simulated ones."""
    return torch.from_numpy(scan.image if image is None else image)[None].to(scan.warped)


def referee_scores(scan: DosedScan, referee: Judge) -> Iterator[Scored]:
    """Yield what another network, which the simulator was not fitted to, makes of the scan at the full dose.

    Beside it stands what it makes of the same change mirrored: as large and as rough, but not where it was meant.
    """
    before, *after = (float(referee.ask(scans)[0]) for scans in (as_batch(scan), scan.warped[-1:], mirrored(scan)))
    for prefix, answered in zip(("referee", "mirrored_referee"), after, strict=True):
        moved = metrics.answers(before, answered, scan.option, referee.deviation, has_sides=referee.output == "class")
        for name, value in moved.items():
            yield f"{prefix}_{name}", scan.doses[-1], value


def mirrored(scan: DosedScan) -> torch.Tensor:
    """Return the scan under its warp mirrored along the second axis (of signals, the only one), shape (1, C, *S).

    Brains are alike on both sides of the first axis. Where nothing is warped the change itself is mirrored.
    """
    axis = min(1, scan.image.ndim - 2)
    if scan.displacement is None:
        return as_batch(scan, scan.image + np.flip(scan.changes[-1], axis + 1))
    field = np.flip(scan.displacement, axis + 1).copy()
    field[axis] *= -1
    return warp(as_batch(scan), torch.from_numpy(field)[None].to(scan.warped))


def own_scores(scan: DosedScan, mask: np.ndarray, places: np.ndarray) -> Iterator[Scored]:
    """Yield what a simulated scan is in itself, at the full dose.

    Parameters
    ----------
    scan : DosedScan
        The simulated scan.
    mask : ndarray of bool, shape (*S,)
        Where tissue can move.
    places : ndarray of bool, shape (*S,) or (C, *S)
        Where scans are judged.
    """
    dose = scan.doses[-1]
    yield "cycle_error", dose, metrics.relative_error(scan.restored, scan.image, places)
    if scan.displacement is not None:
        yield "folded", dose, metrics.folded_share(scan.displacement, mask)
        yield "roughness", dose, metrics.roughness(scan.displacement, mask)


def exact_scores(scan: DosedScan, exact: Exact, own: Judge, mask: np.ndarray, places: np.ndarray) -> Iterator[Scored]:
    """Yield what the scan at the full dose is worth beside its exact counterfactual, and how that moves the answer.

    Masks are those of `own_scores`; `own` is the network that the simulator was fitted to.
    """
    dose, change = scan.doses[-1], scan.changes[-1]
    wanted = scan.image + exact.change
    before, after = (float(own.ask(as_batch(scan, image))[0]) for image in (scan.image, wanted))
    yield "exact_shift", dose, metrics.answers(before, after, scan.option, own.deviation)["shift"]
    yield "size_correlation", dose, metrics.correlation(np.abs(change), np.abs(exact.change), places)
    yield "image_correlation", dose, metrics.correlation(scan.image + change, wanted, places)
    yield "untouched_correlation", dose, metrics.correlation(scan.image, wanted, places)
    yield "amplitude", dose, metrics.amplitude(change, exact.change, places)
    yield "leakage", dose, metrics.leakage(change, exact.effect, exact.nuisance)
    yield "leakage_chance", dose, metrics.leakage(np.ones_like(change), exact.effect, exact.nuisance)
    if scan.log_jacobian is None or exact.log_jacobian is None:
        return
    yield "jacobian_correlation", dose, metrics.correlation(scan.log_jacobian, exact.log_jacobian, mask)
    yield "jacobian_leakage", dose, metrics.leakage(scan.log_jacobian, exact.effect, exact.nuisance)
    share, chance = metrics.share_inside(scan.log_jacobian, exact.effect, mask, scan.option)
    yield "loss_inside", dose, share
    yield "loss_inside_chance", dose, chance
