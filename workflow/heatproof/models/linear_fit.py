"""Fitting the linear support vector machine: cost and calibration are chosen inside the training scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import ConfigError
from heatproof.models.linear import LinearSVM

Reader = Callable[[Sequence[int]], Tensor]
"""Returns the training scans at some positions, shape (n, channels, *space)."""

SLOPES = (1e-3, 1e3)


@dataclass(frozen=True)
class LinearFit:
    """A fitted machine and how its parameters were chosen.

    Attributes
    ----------
    model : LinearSVM
        The machine.
    cost : float
        The chosen cost C, for a kernel of mean diagonal 1.
    scores : dict of float to float
        Balanced accuracy of every cost in inner cross-validation.
    decisions : ndarray, shape (n,)
        Decision values of the training scans.
    """

    model: LinearSVM
    cost: float
    scores: dict[float, float]
    decisions: np.ndarray


def fit_linear_svm(
    read: Reader,
    targets: np.ndarray,
    groups: Sequence[str],
    mask: np.ndarray,
    *,
    costs: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0),
    n_inner_folds: int = 5,
    block: int = 32,
    seed: int = 0,
) -> LinearFit:
    """Fit a linear SVM, its calibration and its Haufe pattern on training scans alone.

    The dual problem is solved on the Gram matrix of the centred scans, which is built block by block: memory
    is two blocks of scans, however many voxels and scans there are. The cost with the best balanced accuracy
    in inner cross-validation by person is taken (the smallest one of equals); the slope of the calibration is
    fitted to the held-out decision values of that cost.

    Parameters
    ----------
    read : callable
        ``read(positions) -> Tensor (n, channels, *space)`` of training scans.
    targets : ndarray of int, shape (n,)
        0 for a control, 1 for a patient.
    groups : sequence of str, length n
        Participant of every scan; the scans of one person never lie on two sides of an inner fold.
    mask : ndarray of bool, shape (*space,)
        Voxels that are used; weight and pattern are zero elsewhere.
    costs : sequence of float
        Costs C to choose from, for a kernel whose mean diagonal is 1.
    n_inner_folds : int
        Inner folds; fewer where a class has fewer people.
    block : int
        Scans in memory at a time (twice).
    seed : int
        Seed of the inner folds.

    Raises
    ------
    ConfigError
        If a class has fewer than two people in the training scans.
    """
    targets = np.asarray(targets)
    selected = torch.from_numpy(np.asarray(mask, dtype=bool))
    stream = _Stream(read, len(targets), selected, block)
    kernel = stream.gram()
    scale = float(np.trace(kernel)) / len(targets)
    if not scale > 0:
        raise ConfigError(
            "the training scans are all the same inside the mask.",
            field="intensity",
            remedy="look at the cohort.",
        )
    held_out = _held_out_decisions(kernel / scale, targets, groups, costs, n_inner_folds, seed)
    scores = {cost: _balanced_accuracy(targets, decisions > 0) for cost, decisions in held_out.items()}
    cost = min(scores, key=lambda candidate: (-scores[candidate], candidate))
    coefficients, intercept = _solve(kernel / scale, targets, cost)
    decisions = kernel @ (coefficients / scale) + intercept
    weight = stream.combine(coefficients / scale)
    deviations = decisions - decisions.mean()
    pattern = stream.combine(deviations / (deviations**2).sum())
    model = LinearSVM(stream.channels, tuple(selected.shape))
    model.weight[:, selected] = weight
    model.pattern[:, selected] = pattern
    model.bias.fill_(intercept - float((weight.double() * stream.mean).sum()))
    model.slope.fill_(_calibrate(held_out[cost], targets))
    return LinearFit(model.eval(), cost, scores, decisions)


class _Stream:
    """Linear algebra over scans that need not fit into memory together."""

    def __init__(self, read: Reader, count: int, selected: Tensor, block: int) -> None:
        self._read, self._selected = read, selected
        self._blocks = np.array_split(np.arange(count), -(-count // block))
        self.channels = int(read([0]).shape[1])
        total = torch.zeros(self.channels, int(selected.sum()), dtype=torch.float64)
        for positions in self._blocks:
            total += self._values(positions).sum(dim=0, dtype=torch.float64)
        self.mean = total / count

    def _values(self, positions: np.ndarray) -> Tensor:
        return self._read(positions.tolist())[:, :, self._selected]

    def _centred(self, positions: np.ndarray) -> Tensor:
        return (self._values(positions) - self.mean.float()).flatten(1)

    def gram(self) -> np.ndarray:
        """Return the inner products (n, n) of the centred scans."""
        count = sum(len(positions) for positions in self._blocks)
        kernel = np.zeros((count, count))
        for index, rows in enumerate(self._blocks):
            left = self._centred(rows)
            for columns in self._blocks[index:]:
                right = left if columns is rows else self._centred(columns)
                products = (left @ right.T).double().numpy()
                kernel[np.ix_(rows, columns)] = products
                kernel[np.ix_(columns, rows)] = products.T
        return kernel

    def combine(self, coefficients: np.ndarray) -> Tensor:
        """Return the sum of the centred scans times their coefficients, shape (channels, voxels)."""
        total = torch.zeros(self.mean.numel(), dtype=torch.float64)
        for positions in self._blocks:
            factors = torch.from_numpy(coefficients[positions]).float()
            total += (factors @ self._centred(positions)).double()
        return total.reshape(self.mean.shape).float()


def _solve(kernel: np.ndarray, targets: np.ndarray, cost: float) -> tuple[np.ndarray, float]:
    """Return the coefficient of every scan (n,) and the intercept of the balanced-class machine."""
    from sklearn.svm import SVC

    machine = SVC(kernel="precomputed", C=cost, class_weight="balanced", tol=1e-5).fit(kernel, targets)
    coefficients = np.zeros(len(targets))
    coefficients[machine.support_] = machine.dual_coef_[0]
    return coefficients, float(machine.intercept_[0])


def _held_out_decisions(
    kernel: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[str],
    costs: Sequence[float],
    n_inner_folds: int,
    seed: int,
) -> dict[float, np.ndarray]:
    """Return, for every cost, the decision value of each scan by a machine that has not seen its person."""
    from sklearn.model_selection import StratifiedGroupKFold

    people = [len({g for g, t in zip(groups, targets, strict=True) if t == label}) for label in (0, 1)]
    if min(people) < 2:
        raise ConfigError(
            f"the training scans hold {people[0]} controls and {people[1]} patients: "
            "the cost of the linear_svm cannot be chosen.",
            field="folds",
            remedy="use more people or fewer folds.",
        )
    folds = StratifiedGroupKFold(min(n_inner_folds, *people), shuffle=True, random_state=seed % 2**32)
    decisions = {float(cost): np.zeros(len(targets)) for cost in costs}
    for inner, outer in folds.split(kernel, targets, groups):
        if len(set(targets[inner])) < 2:
            continue
        for cost, values in decisions.items():
            coefficients, intercept = _solve(kernel[np.ix_(inner, inner)], targets[inner], cost)
            values[outer] = kernel[np.ix_(outer, inner)] @ coefficients + intercept
    return decisions


def _balanced_accuracy(targets: np.ndarray, positive: np.ndarray) -> float:
    return float(np.mean([(positive[targets == label] == label).mean() for label in (0, 1)]))


def _calibrate(decisions: np.ndarray, targets: np.ndarray) -> float:
    """Return the slope above zero with the least class-balanced log loss of ``1 / (1 + exp(-slope s))``."""
    from scipy.optimize import minimize_scalar

    signed = np.where(targets == 1, decisions, -decisions)
    balance = np.where(targets == 1, 0.5 / (targets == 1).sum(), 0.5 / (targets == 0).sum())
    found = minimize_scalar(
        lambda log_slope: float((balance * np.logaddexp(0, -np.exp(log_slope) * signed)).sum()),
        bounds=(np.log(SLOPES[0]), np.log(SLOPES[1])),
        method="bounded",
    )
    return float(np.exp(found.x))
