"""Rules made for the layer that reads the scan, whose values may have either sign and whose zero is no absence."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ConfigError
from ..passes import column
from .contributions import LinearMap, branch_sum, divided, halves


@dataclass(frozen=True)
class Flat:
    """Every input of an output receives the same share, whatever its value and weight (Lapuschkin et al. 2019)."""

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs; see `rules.Rule`."""
        return split_by_weight(linear, values, relevance, torch.ones_like(linear.weight), None)


@dataclass(frozen=True)
class WSquared:
    """R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j, whatever the values (Montavon et al. 2017, section 4.1).

    Attributes
    ----------
    absorb_bias : bool
        Whether the square of the bias takes its share.
    """

    absorb_bias: bool

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs; see `rules.Rule`."""
        bias = linear.bias if self.absorb_bias else None
        squared = None if bias is None else bias.square()
        return split_by_weight(linear, values, relevance, linear.weight.square(), squared)


@dataclass(frozen=True)
class Box:
    """z^B for inputs that lie between two values (Montavon et al. 2017, section 4.2).

    R_i = sum_j c_ij / sum_i c_ij R_j,    c_ij = x_i w_ij - low w_ij+ - high w_ij-  (never negative),

    written here as (x_i - low) w_ij+ + (x_i - high) w_ij-, in which nothing cancels. The bias has no part in it.

    Attributes
    ----------
    low, high : float or None
        Least and largest value that an input can have. None: that each scan has.
    """

    low: float | None
    high: float | None

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs; see `rules.Rule`.

        Raises
        ------
        ConfigError
            A value lies outside the box.
        """
        least, most = self.edges(values)
        excitatory, inhibitory = halves(linear.weight)
        pairs = [(values - least, excitatory), (values - most, inhibitory)]
        total = branch_sum(linear, values, list(pairs), None)
        if total is None:
            return torch.zeros_like(values)
        share = divided(relevance, total)
        result = torch.zeros_like(values)
        for distance, weight in pairs:
            if weight is not None:
                result.addcmul_(distance, linear.transpose(share, weight, values))
        return result

    def edges(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the lower and the upper edge for each scan, each (B, 1, ...)."""
        flat = values.flatten(1)
        least, most = flat.amin(1), flat.amax(1)
        low = least if self.low is None else torch.full_like(least, self.low)
        high = most if self.high is None else torch.full_like(most, self.high)
        if bool((least < low).any()) or bool((most > high).any()):
            raise ConfigError(
                f"The layer that reads the scan meets values from {float(least.min()):.4g} to "
                f"{float(most.max()):.4g}, and the box is from {self.low} to {self.high}.",
                field="lrp.low",
                remedy="Widen the box to all values that a scan can have, or use null: each scan's own extremes.",
            )
        return column(low, values), column(high, values)


def split_by_weight(
    linear: LinearMap,
    values: torch.Tensor,
    relevance: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """Split relevance by a weight that is not negative, as if every input were one."""
    total = branch_sum(linear, values, [(torch.ones_like(values), weight)], bias)
    assert total is not None  # there is a pair
    return linear.transpose(divided(relevance, total), weight, values)
