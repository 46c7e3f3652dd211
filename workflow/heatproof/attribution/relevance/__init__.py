"""Layer-wise relevance propagation for networks over one to three space axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..isolation import device_of, isolated
from ..registry import METHODS, Attribution, check_parameters, register
from ..targets import class_indices, start_values
from .graph import Network, Recorder
from .settings import Settings

__all__ = ["lrp", "relevance_by_layer"]


@register(
    "lrp",
    family="relevance",
    cost="about 3 forward; with beta > 0 about 5",
    citation="Bach et al. 2015, doi 10.1371/journal.pone.0130140; Boehle et al. 2019, arXiv 1903.07317; "
    "Montavon et al. 2019, doi 10.1007/978-3-030-28954-6_10",
)
def lrp(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    rule: str = "alpha_beta",
    composite: str = "epsilon_plus",
    alpha: float | None = None,
    beta: float | None = None,
    gamma: float = 0.25,
    epsilon: float = 0.01,
    stabiliser: str = "relative",
    low: float | None = None,
    high: float | None = None,
    bias: str | None = None,
    batch_norm: str = "fold",
    start: str = "logit",
) -> Attribution:
    """Return the relevance of every voxel for the explained number.

    Activations and dropout pass relevance on, the winner of a maximum takes all, averages and additions are
    linear maps like any other, concatenations part. A layer without a rule is refused.

    The relevance of a value is how far it is above the network's answer to an empty scan (zeros), which is taken out of
    the bias of the last layer (Letzgus et al. 2022, arXiv 2112.11407, explain a regression relative to a reference
    and put it into the last layer likewise). Without biases that answer is 0; with them it is the number's convention
    (a mean PR interval, degrees above freezing), which would be shared out among the evidence and set its sign.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    rule : {"alpha_beta", "zplus", "epsilon", "gamma", "flat", "w_squared", "z_box", "composite"}
        How a layer splits relevance; sources and equations stand with the rules (`rules`, `input_rules`). z+ is
        alpha-beta with beta = 0. z_box is for the layers that read the scan, and z+ for all others (deep Taylor
        decomposition). composite is one rule for each kind of layer.
    composite : str
        epsilon_plus: z+ in convolutions, epsilon in dense layers; epsilon_alpha2_beta1: alpha 2 and beta 1 in
        convolutions; with _flat at its end: the layers that read the scan are flat; epsilon_gamma_box: gamma in
        convolutions, z_box in those that read the scan; excitation_backprop: z+ everywhere. In all of them,
        averages and additions take the epsilon rule, and a batch normalisation that is not folded takes none.
    alpha, beta : float, optional
        Weights of positive and negative contributions, alpha - beta = 1; one follows from the other. Both
        left out: 1.5 and 0.5, the published choice.
    gamma : float
        How much more contributions of the output's own sign count in the gamma rule.
    epsilon : float
        Stabiliser of the epsilon rule. An output of size z loses epsilon / (|z| + epsilon) of its relevance, and
        shares are at most the size of a contribution over epsilon.
    stabiliser : {"relative", "absolute"}
        Whether epsilon is in units of the layer's outputs (the root of their mean square, for each scan) or in
        those of the network, which differ from layer to layer.
    low, high : float, optional
        Least and largest value that a scan can have, for z_box. None: those of each scan, over all its channels.
    bias : {"ignore", "absorb"}, optional
        Whether biases take no share of the relevance (it then is conserved) or their own. None: as the rule was
        published, absorb for epsilon, gamma and composites (but not where a value is explained: they would take most
        of it), ignore for the others. Ignored biases leave
        denominators near zero in trained networks, by which the epsilon rule multiplies noise.
    batch_norm : {"fold", "identity"}
        Fold a batch normalisation into the convolution before it, or pass relevance through it unchanged, as
        in Boehle et al. and Wang et al. One that follows no convolution (DenseNet) passes relevance on unless
        biases absorb it: then its shift is a bias like any other.
    start : {"logit", "probability", "value"}
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
        A rule that does not conserve relevance, or a scan outside its box.
    """
    settings = Settings(rule, composite, alpha, beta, gamma, epsilon, stabiliser, low, high, bias, batch_norm, start)
    return propagate(model, inputs, target, settings)


def propagate(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    settings: Settings,
    record: Recorder | None = None,
) -> Attribution:
    """Return the relevance of every voxel, telling `record` the relevance of every step on the way."""
    network = Network(model, settings)
    with torch.no_grad():
        if settings.start == "value":
            network.measure_from(torch.zeros_like(inputs[:1]))
        logits, kept = network.forward(inputs)
        begin = start_values(logits, target, settings.start)
        relevance = torch.zeros_like(logits)
        if target is None:
            relevance.copy_(begin.reshape(relevance.shape))
        else:
            relevance.scatter_(1, target[:, None], begin[:, None])
        maps = network.backward(relevance, kept, record)
    return Attribution.promising(maps, begin.double())


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
    result = propagate(isolated(model), inputs.to(device), indices, Settings(**arguments), record)
    return sums | {"input": result.maps.double().flatten(1).sum(1)}
