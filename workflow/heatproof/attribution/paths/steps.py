"""Where on a straight path gradients are taken, and how much each counts."""

from __future__ import annotations

import numpy as np
import torch

from ..registry import whole_number

RULES = ("left", "right", "middle", "trapezoid", "gauss_legendre")


def path_points(n_steps: int, rule: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where on the path (0 baseline, 1 scan) gradients are taken, and their weights, both (n_steps,).

    The weights sum to one. (Captum 0.9 weights its trapezoid by 1/n, which sums to (n - 1)/n; Gauss-Legendre is its
    default.)

    Raises
    ------
    ConfigError
        Fewer steps than the rule needs.
    """
    whole_number(n_steps, 2 if rule == "trapezoid" else 1, "n_steps")
    steps = torch.arange(n_steps, dtype=torch.float64)
    weights = torch.full((n_steps,), 1 / n_steps, dtype=torch.float64)
    if rule == "trapezoid":
        weights = torch.full((n_steps,), 1 / (n_steps - 1), dtype=torch.float64)
        weights[[0, -1]] /= 2
        return steps / (n_steps - 1), weights
    if rule == "gauss_legendre":
        places, weight = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(n_steps))
        return (places + 1) / 2, weight / 2
    offset = {"left": 0.0, "middle": 0.5, "right": 1.0}[rule]
    return (steps + offset) / n_steps, weights


def allotted_points(values: torch.Tensor, n_steps: int, rule: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points and weights, both (n_steps,), with more points where the explained number changes more.

    The path is cut into equal intervals, and each gets steps in proportion to the square root of the change
    on it (Bhat and Raychowdhury 2023, arXiv 2302.11107), one at least; inside an interval they are even.

    Parameters
    ----------
    values : Tensor, shape (n_intervals + 1,)
        The explained number at the ends of the intervals.
    n_steps : int
        Points in all, at least one per interval (two for a trapezoid).
    rule : {"left", "right", "middle", "trapezoid", "gauss_legendre"}
        Sum inside each interval.
    """
    n_intervals = len(values) - 1
    least = 2 if rule == "trapezoid" else 1
    whole_number(n_steps, least * n_intervals, "n_steps")
    change = values.diff().abs().double().sqrt()
    share = change / change.sum() if change.sum() > 0 else torch.full_like(change, 1 / n_intervals)
    points, weights = [], []
    for interval, count in enumerate(apportioned(share, n_steps, least)):
        inside, weight = path_points(count, rule)
        points.append((interval + inside) / n_intervals)
        weights.append(weight / n_intervals)
    return torch.cat(points), torch.cat(weights)


def apportioned(share: torch.Tensor, total: int, least: int) -> list[int]:
    """Return whole numbers in proportion to shares, `least` at least, that sum to a total (largest remainders)."""
    free = total - least * len(share)
    wanted = (share * total - least).clamp(min=0)
    wanted = wanted * free / wanted.sum() if wanted.sum() > 0 else torch.full_like(share, free / len(share))
    counts = wanted.floor()
    for position in (wanted - counts).argsort(descending=True, stable=True)[: int(round(free - float(counts.sum())))]:
        counts[position] += 1
    return [least + int(count) for count in counts]


class Refinement:
    """A trapezoid sum along the path of one scan, refined where it misses the rise of the explained number.

    On every interval the sum of the map has to equal the difference of the explained number at its ends, which
    comes with the gradients: the miss of each interval is known exactly, not estimated.
    """

    def __init__(self, n_begin: int) -> None:
        self.points = torch.linspace(0, 1, n_begin, dtype=torch.float64)
        self.values = torch.empty(0, dtype=torch.float64)
        self.slopes = torch.empty(0, dtype=torch.float64)
        self.new = self.points

    def tell(self, values: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        """Take the explained number and its slope along the path at the new points; return the order of all points.

        Parameters
        ----------
        values, slopes : Tensor, shape (n_new,)
            In the order of `new`.

        Returns
        -------
        Tensor of int, shape (n_points,)
            Sorts what was told so far, in the order of telling, along the path.
        """
        known = self.points if not len(self.values) else torch.cat([self.points, self.new])
        order = known.argsort(stable=True)
        self.values = torch.cat([self.values, values])[order]
        self.slopes = torch.cat([self.slopes, slopes])[order]
        self.points = known[order]
        return order

    def misses(self) -> torch.Tensor:
        """Return by how much the sum on each interval misses the rise there, shape (n_points - 1,)."""
        width = self.points.diff()
        return (width * (self.slopes[1:] + self.slopes[:-1]) / 2 - self.values.diff()).abs()

    def refine(self, n_most: int, tolerance: float) -> bool:
        """Put new points into the middle of the intervals that miss most; return whether any is needed."""
        misses = self.misses()
        allowed = tolerance * float((self.values[-1] - self.values[0]).abs())
        if n_most < 1 or float(misses.sum()) <= allowed:
            return False
        worst = misses.argsort(descending=True, stable=True)
        # halve what makes up the larger part of the miss, and look again before halving the rest
        enough = int((misses[worst].cumsum(0) < misses.sum() / 2).sum()) + 1
        left = worst[: min(enough, n_most)]
        self.new = (self.points[left] + self.points[left + 1]) / 2
        return True

    def weights(self) -> torch.Tensor:
        """Return the weight of each point, shape (n_points,); they sum to one."""
        width = self.points.diff()
        weights = torch.zeros_like(self.points)
        weights[:-1] += width / 2
        weights[1:] += width / 2
        return weights
