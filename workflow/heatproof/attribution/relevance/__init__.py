"""Layer-wise relevance propagation for networks over one to three space axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..isolation import device_of, isolated
from ..registry import METHODS, Attribution, check_parameters, choice, register
from ..targets import class_indices, start_values
from .graph import Network, Recorder
from .rules import make_rule

BATCH_NORMS = ("fold", "identity")

__all__ = ["lrp", "relevance_by_layer"]


@register(
    "lrp",
    family="relevance",
    cost="about 3 forward; with beta > 0 about 5",
    citation="Bach et al. 2015, doi 10.1371/journal.pone.0130140; Boehle et al. 2019, arXiv 1903.07317",
)
def lrp(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    rule: str = "alpha_beta",
    alpha: float | None = None,
    beta: float | None = None,
    epsilon: float = 1e-6,
    bias: str = "ignore",
    batch_norm: str = "fold",
    start: str = "logit",
) -> Attribution:
    """Return the relevance of every voxel for the explained number.

    Activations and dropout pass relevance on, the winner of a maximum takes all, averages and additions are
    linear maps like any other, concatenations part. A layer without a rule is refused.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    rule : {"alpha_beta", "zplus", "epsilon"}
        z+ is alpha-beta with beta = 0.
    alpha, beta : float, optional
        Weights of positive and negative contributions, alpha - beta = 1; one follows from the other. Both
        left out: 1.5 and 0.5, the published choice.
    epsilon : float
        Stabiliser of the epsilon rule.
    bias : {"ignore", "absorb"}
        Whether biases take no share of the relevance (it then is conserved) or their own.
    batch_norm : {"fold", "identity"}
        Fold a batch normalisation into the convolution before it, or pass relevance through it unchanged, as
        in Boehle et al. and Wang et al.
    start : {"logit", "probability"}
        The relevance that is distributed.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - relevance at the start.

    Raises
    ------
    UnsupportedModelError
        A layer without a rule, by name.
    ConfigError
        A rule that does not conserve relevance.
    """
    return propagate(model, inputs, target, None, rule, alpha, beta, epsilon, bias, batch_norm, start)


def propagate(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    record: Recorder | None,
    rule: str,
    alpha: float | None,
    beta: float | None,
    epsilon: float,
    bias: str,
    batch_norm: str,
    start: str,
) -> Attribution:
    """Return the relevance of every voxel, telling `record` the relevance of every step on the way."""
    chosen = make_rule(rule, alpha, beta, epsilon, bias)
    network = Network(model, choice(batch_norm, BATCH_NORMS, "lrp.batch_norm"), chosen.absorb_bias)
    with torch.no_grad():
        logits, kept = network.forward(inputs)
        begin = start_values(logits, target, start)
        relevance = torch.zeros_like(logits)
        if target is None:
            relevance.copy_(begin.reshape(relevance.shape))
        else:
            relevance.scatter_(1, target[:, None], begin[:, None])
        maps = network.backward(relevance, kept, chosen, record)
    return Attribution(maps, maps.double().flatten(1).sum(1) - begin.double())


def relevance_by_layer(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | int | None = None, **parameters: Any
) -> dict[str, torch.Tensor]:
    """Return the sum of the relevance after every step of the network, from the output to the scan.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    **parameters
        Those of `lrp`.

    Returns
    -------
    dict of str to Tensor, shape (B,)
        By step; "input" is the map itself. Where branches meet, each carries a part.
    """
    sums: dict[str, torch.Tensor] = {}
    check_parameters(METHODS["lrp"], parameters)
    device = device_of(model)
    indices = class_indices(target, len(inputs), device)

    def record(name: str, relevance: torch.Tensor) -> None:
        sums[name] = relevance.double().flatten(1).sum(1)

    arguments: dict[str, Any] = METHODS["lrp"].parameters | parameters
    result = propagate(isolated(model), inputs.to(device), indices, record, **arguments)
    return sums | {"input": result.maps.double().flatten(1).sum(1)}
