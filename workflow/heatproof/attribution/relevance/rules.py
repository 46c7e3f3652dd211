"""The rules of layer-wise relevance propagation that share relevance out by what each input contributes.

A rule splits the relevance R_j of each output z_j = sum_i x_i w_ij (+ b_j) among the inputs by their share in
it. Everything is written for an abstract linear map, so one rule serves dense layers, convolutions of any
dimension, average pooling and additions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from .contributions import LinearMap, add_bias, branch_sum, divided, least_divisor, pairs_by_sign


class Rule(Protocol):
    """How the relevance of the outputs of a linear map is split among its inputs."""

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


@dataclass(frozen=True)
class Epsilon:
    """R_i = sum_j z_ij / (z_j + epsilon sign z_j) R_j (Bach et al. 2015, eq. 58).

    Attributes
    ----------
    epsilon : float
        Added to the denominator, away from zero; takes the share epsilon / (|z_j| + epsilon) of the relevance.
    is_relative : bool
        Whether epsilon is in units of the layer's outputs (the root of their mean square, scan by scan) or of
        the numbers in the network.
    absorb_bias : bool
        Whether the bias takes its share of the relevance (which then is lost to the input) or none.
    """

    epsilon: float
    is_relative: bool
    absorb_bias: bool

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs; see `Rule`."""
        total = linear.apply(values, linear.weight)
        if self.absorb_bias:
            add_bias(linear, total, linear.bias)
        if self.epsilon:
            push = self.epsilon * (root_mean_square(total) if self.is_relative else total.new_ones(()))
            # a scan whose outputs are all zero hands nothing on
            push = push.masked_fill(push < least_divisor(total.dtype), torch.inf)
            share = torch.div(relevance, total.add_(torch.copysign(push, total)), out=total)
        else:
            share = divided(relevance, total)
        return values * linear.transpose(share, linear.weight, values)


@dataclass(frozen=True)
class AlphaBeta:
    """R_i = sum_j (alpha (z_ij)+ / z_j+ - beta (z_ij)- / z_j-) R_j (Bach et al. 2015, eq. 60).

    An output with contributions of one sign only gives all its relevance to them, as in the released code of
    Boehle et al. 2019; with beta = 0, an output without positive contributions cannot hand its relevance on.
    Inputs after a rectifier are not negative, so two of the four sign branches are left out.

    Attributes
    ----------
    alpha, beta : float
        Weights of the positive and the negative shares, alpha - beta = 1. z+ has beta = 0.
    absorb_bias : bool
        Whether the bias takes its share of the relevance.
    """

    alpha: float
    beta: float
    absorb_bias: bool

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs; see `Rule`."""
        pairs = pairs_by_sign(values, linear.weight)
        sums: dict[int, torch.Tensor] = {}
        for sign in (1, -1) if self.beta > 0 else (1,):
            total = branch_sum(linear, values, pairs[sign], signed_bias(linear, sign) if self.absorb_bias else None)
            if total is not None:
                sums[sign] = total
        shares = shared_out(sums, relevance, self.alpha, self.beta)
        result = torch.zeros_like(values)
        for sign, share in shares.items():
            for half, weight in pairs[sign]:
                if half is not None and weight is not None:
                    result.addcmul_(half, linear.transpose(share, weight, values))
        return result


@dataclass(frozen=True)
class Gamma:
    """Contributions of the output's own sign count 1 + gamma times (Montavon et al. 2019, section 10.2.3).

    For inputs and outputs of either sign, after Andeol et al. 2021 (arXiv 2104.05417): with the sign s of z_j,

        R_i = sum_j (z_ij + gamma [z_ij]^s) / (z_j + gamma sum_i [z_ij]^s) R_j,    [z]^s = z where s z > 0, else 0.

    For inputs and outputs above zero that is w + gamma w+ in place of w. Both terms of the denominator have the
    same sign, so that no share is larger than 1 + 1 / gamma and no stabiliser is needed.

    Attributes
    ----------
    gamma : float
        0 is the epsilon rule with epsilon = 0; without end, and where all outputs are positive, it is z+.
    absorb_bias : bool
        Whether the bias takes its share of the relevance, as a contribution like the others.
    """

    gamma: float
    absorb_bias: bool

    def split(self, linear: LinearMap, values: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the inputs; see `Rule`."""
        pairs = pairs_by_sign(values, linear.weight)
        total = linear.apply(values, linear.weight)
        if self.absorb_bias:
            add_bias(linear, total, linear.bias)
        positive = branch_sum(linear, values, pairs[1], signed_bias(linear, 1) if self.absorb_bias else None)
        is_negative = total < 0
        share = divided(relevance, self.strengthened(total, positive, is_negative))
        result = torch.zeros_like(values)
        for sign, of_other_sign in ((1, is_negative), (-1, ~is_negative)):
            part = share.masked_fill(of_other_sign, 0)
            if not bool(part.any()):
                continue  # behind a rectifier, outputs below zero have no relevance
            for half, favoured in pairs[sign]:
                if half is not None:
                    weight = linear.weight
                    weight = weight if favoured is None else torch.add(weight, favoured, alpha=self.gamma)
                    result.addcmul_(half, linear.transpose(part, weight, values))
        return result

    def strengthened(
        self, total: torch.Tensor, positive: torch.Tensor | None, is_negative: torch.Tensor
    ) -> torch.Tensor:
        """Return z_j plus gamma times the contributions of its sign, given the positive ones; zero where z_j is."""
        positive = torch.zeros_like(total) if positive is None else positive
        # the negative contributions are total - positive; where they count, nothing cancels in this
        same_sign = torch.where(is_negative, total - positive, positive)
        lacking = total.abs() < least_divisor(total.dtype)
        return same_sign.mul_(self.gamma).add_(total).masked_fill_(lacking, 0)


def root_mean_square(outputs: torch.Tensor) -> torch.Tensor:
    """Return the root of the mean square of each scan's outputs (B, ...), as (B, 1, ...)."""
    axes = tuple(range(1, outputs.ndim))
    size = torch.linalg.vector_norm(outputs, dim=axes, keepdim=True)
    return size / (outputs[0].numel() ** 0.5)


def signed_bias(linear: LinearMap, sign: int) -> torch.Tensor | None:
    """Return the part of a map's bias that has a sign."""
    if linear.bias is None:
        return None
    return linear.bias.clamp(min=0) if sign == 1 else linear.bias.clamp(max=0)


def shared_out(
    sums: dict[int, torch.Tensor], relevance: torch.Tensor, alpha: float, beta: float
) -> dict[int, torch.Tensor]:
    """Return the relevance per unit of positive (1) and negative (-1) contribution; overwrites the sums."""
    least = least_divisor(relevance.dtype)
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
