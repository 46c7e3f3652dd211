"""The rules of layer-wise relevance propagation for a linear map.

A rule splits the relevance R_j of each output z_j = sum_i x_i w_ij (+ b_j) among the inputs by their share in
it. Everything is written for an abstract linear map, so one rule serves dense layers, convolutions of any
dimension, average pooling and additions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from ...errors import ConfigError
from ..registry import choice

NAMES = ("epsilon", "zplus", "alpha_beta")
BIASES = ("ignore", "absorb")


class LinearMap(Protocol):
    """A map that is linear in its input and in its weight (maps without one hold the weight 1)."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the outputs for some inputs, without bias."""

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return the transposed map of some outputs, in the shape of the inputs `like`."""

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return a bias so that it broadcasts against the outputs."""


@dataclass(frozen=True)
class Rule:
    """A propagation rule with its parameters.

    Attributes
    ----------
    name : {"epsilon", "alpha_beta"}
        z+ is alpha-beta with beta = 0.
    alpha, beta : float
        Weights of the positive and the negative shares, alpha - beta = 1.
    epsilon : float
        Added to the denominator of the epsilon rule, away from zero.
    absorb_bias : bool
        Whether the bias takes its share of the relevance (which then is lost to the input) or none.
    """

    name: str
    alpha: float
    beta: float
    epsilon: float
    absorb_bias: bool

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs of a linear map.

        Parameters
        ----------
        linear : LinearMap
        values : Tensor, shape (B, C, *S)
            Its inputs.
        relevance : Tensor, shape (B, K, *T)
            Relevance of its outputs.

        Returns
        -------
        Tensor, shape (B, C, *S)
        """
        bias = linear.bias if self.absorb_bias else None
        if self.name == "epsilon":
            return epsilon_split(linear, values, relevance, bias, self.epsilon)
        return alpha_beta_split(linear, values, relevance, bias, self.alpha, self.beta)


def make_rule(name: str, alpha: float | None, beta: float | None, epsilon: float, bias: str) -> Rule:
    """Return a checked rule.

    Raises
    ------
    ConfigError
        An unknown rule, alpha - beta other than 1, a negative beta or epsilon.
    """
    choice(name, NAMES, "lrp.rule")
    absorb = choice(bias, BIASES, "lrp.bias") == "absorb"
    if not epsilon >= 0:
        raise ConfigError(f"epsilon is {epsilon}.", field="lrp.epsilon", remedy="Use 0 or more.")
    if name == "epsilon":
        return Rule("epsilon", 1.0, 0.0, float(epsilon), absorb)
    if name == "zplus":
        return Rule("alpha_beta", 1.0, 0.0, 0.0, absorb)
    if beta is None:
        beta = 0.5 if alpha is None else alpha - 1
    alpha = 1 + beta if alpha is None else alpha
    if beta < 0 or abs(alpha - beta - 1) > 1e-6:
        raise ConfigError(
            f"alpha {alpha} and beta {beta} do not conserve relevance.",
            field="lrp.beta",
            remedy="Use beta >= 0 and alpha = 1 + beta, or give only one of them.",
        )
    return Rule("alpha_beta", float(alpha), float(beta), 0.0, absorb)


def epsilon_split(
    linear: LinearMap,
    values: torch.Tensor,
    relevance: torch.Tensor,
    bias: torch.Tensor | None,
    epsilon: float,
) -> torch.Tensor:
    """Split relevance by x_i w_ij / (z_j + epsilon sign z_j) (Bach et al. 2015, eq. 58)."""
    total = linear.apply(values, linear.weight)
    if bias is not None:
        total += linear.spread_bias(bias, total)
    total = torch.where(total >= 0, total + epsilon, total - epsilon)
    share = torch.where(total == 0, 0, relevance / total)
    return values * linear.transpose(share, linear.weight, values)


def alpha_beta_split(
    linear: LinearMap,
    values: torch.Tensor,
    relevance: torch.Tensor,
    bias: torch.Tensor | None,
    alpha: float,
    beta: float,
) -> torch.Tensor:
    """Split relevance by alpha (z_ij)+ / z_j+ - beta (z_ij)- / z_j- (Bach et al. 2015, eq. 60).

    An output with contributions of one sign only gives all its relevance to them, as in the released code of
    Boehle et al. 2019; with beta = 0, an output without positive contributions cannot hand its relevance on.
    Inputs after a rectifier are not negative, so two of the four sign branches are left out.
    """
    positive, negative = halves(values)
    excitatory, inhibitory = halves(linear.weight)
    pairs = {
        1: [(positive, excitatory), (negative, inhibitory)],
        -1: [(positive, inhibitory), (negative, excitatory)],
    }
    sums: dict[int, torch.Tensor] = {}
    for sign in (1, -1) if beta > 0 else (1,):
        part = None if bias is None else bias.clamp(min=0) if sign == 1 else bias.clamp(max=0)
        total = branch_sum(linear, values, pairs[sign], part)
        if total is not None:
            sums[sign] = total
    shares = shared_out(sums, relevance, alpha, beta)
    result = torch.zeros_like(values)
    for sign, share in shares.items():
        for half, weight in pairs[sign]:
            if half is not None and weight is not None:
                result.addcmul_(half, linear.transpose(share, weight, values))
    return result


def branch_sum(
    linear: LinearMap,
    values: torch.Tensor,
    pairs: list[tuple[torch.Tensor | None, torch.Tensor | None]],
    bias: torch.Tensor | None,
) -> torch.Tensor | None:
    """Return the sum of the contributions of one sign; None when there cannot be any."""
    total = None
    for half, weight in pairs:
        if half is not None and weight is not None:
            outputs = linear.apply(half, weight)
            total = outputs if total is None else total.add_(outputs)
    if bias is not None and (total is not None or bool(bias.any())):
        if total is None:
            # no input speaks with this sign, in this batch: the bias alone takes its share
            total = linear.apply(values, torch.zeros_like(linear.weight))
        total += linear.spread_bias(bias, total)
    return total


def shared_out(
    sums: dict[int, torch.Tensor], relevance: torch.Tensor, alpha: float, beta: float
) -> dict[int, torch.Tensor]:
    """Return the relevance per unit of positive (1) and negative (-1) contribution; overwrites the sums."""
    least = torch.finfo(relevance.dtype).tiny * 1e10  # below this a quotient could overflow
    lacking = {sign: sign * total < least for sign, total in sums.items()}
    shares = {}
    for sign, total in sums.items():
        share = torch.div(relevance, total.masked_fill_(lacking[sign], torch.inf), out=total)
        factor = alpha if sign == 1 else -beta
        if beta > 0 and -sign in lacking:
            shares[sign] = share.mul_(torch.where(lacking[-sign], 1.0, factor))
        else:
            shares[sign] = share
    return shares


def halves(values: torch.Tensor) -> list[torch.Tensor | None]:
    """Return the positive and the negative part of a tensor; None for a part that is zero everywhere."""
    least, most = torch.aminmax(values)
    positive = None if most <= 0 else values if least >= 0 else values.clamp(min=0)
    negative = None if least >= 0 else values if most <= 0 else values.clamp(max=0)
    return [positive, negative]
