"""Evidence for layer-wise relevance propagation: an oracle in explicit loops and zennit, for every rule."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.gradients import linear_network
from attribution.networks import AVERAGE, CONVOLUTION, MAXIMUM, NORMALISATION, convolutional, scans, seasoned
from heatproof.attribution import attribute, attribute_with_residual

CONVOLUTIONS, NORMALISATIONS = tuple(CONVOLUTION.values()), tuple(NORMALISATION.values())
# name: (rule of the first convolution, rule of the others, rule of dense layers)
COMPOSITES = {
    "epsilon_plus": ("zplus", "zplus", "epsilon"),
    "epsilon_plus_flat": ("flat", "zplus", "epsilon"),
    "epsilon_alpha2_beta1": ("alpha2_beta1", "alpha2_beta1", "epsilon"),
    "epsilon_alpha2_beta1_flat": ("flat", "alpha2_beta1", "epsilon"),
    "epsilon_gamma_box": ("z_box", "gamma", "epsilon"),
    "excitation_backprop": ("zplus", "zplus", "zplus"),
}
ABSORBING = ("epsilon", "gamma", "composite")


def matrix(layer: nn.Module, shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the dense matrix (inputs, outputs) and bias (outputs,) of a layer, probed with unit vectors."""
    n_inputs = shape.numel()
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        units = torch.eye(n_inputs, dtype=torch.float64).reshape(n_inputs, *shape)
        return layer(units).flatten(1) - bias, bias


def oracle_shares(rule, values, weight, bias, *, beta, gamma, push, low, high):
    """Return the share of each input (inputs,) in the relevance of one output; what they lack of 1 is lost."""
    z = values * weight
    if rule == "epsilon":
        total = z.sum() + bias
        return z / (total + (push if total >= 0 else -push))
    if rule == "gamma":
        sign = 1 if z.sum() + bias > 0 else -1
        favoured = torch.tensor([each if sign * each > 0 else 0.0 for each in z.tolist()], dtype=torch.float64)
        strong = z + gamma * favoured
        total = strong.sum() + bias + gamma * (bias if sign * bias > 0 else 0.0)
        return strong / total if total != 0 else torch.zeros_like(z)
    if rule == "flat":
        return (weight != 0).double() / (weight != 0).sum()
    if rule == "w_squared":
        return weight**2 / ((weight**2).sum() + bias**2)
    if rule == "z_box":
        z = z - low * weight.clamp(min=0) - high * weight.clamp(max=0)
        return z / z.sum()
    beta = {"zplus": 0.0, "alpha2_beta1": 1.0}.get(rule, beta)
    positive, negative = z.clamp(min=0), z.clamp(max=0)
    plus, minus = positive.sum() + bias.clamp(min=0), negative.sum() + bias.clamp(max=0)
    if minus == 0 or beta == 0:
        return positive / plus if plus != 0 else torch.zeros_like(z)
    if plus == 0:
        return negative / minus
    return (1 + beta) * positive / plus - beta * negative / minus


def oracle_linear(layer, values, relevance, rule, bias="ignore", *, epsilon=0.01, stabiliser="relative", **options):
    """Split the relevance of one scan in explicit loops over the outputs of a linear layer."""
    weights, offset = matrix(layer, values.shape)
    offset = offset if bias == "absorb" else torch.zeros_like(offset)
    outputs = values.flatten() @ weights + offset
    push = epsilon * float(outputs.square().mean().sqrt() if stabiliser == "relative" else 1)
    received = torch.zeros(values.numel(), dtype=torch.float64)
    for output, share in enumerate(relevance.flatten().tolist()):
        settings = {"beta": 0.5, "gamma": 0.25, "low": None, "high": None, **options, "push": push}
        received += share * oracle_shares(rule, values.flatten(), weights[:, output], offset[output], **settings)
    return received.reshape(values.shape)


def oracle_winners(layer, values, relevance):
    """Give the relevance of each maximum to the input whose unit change moves it."""
    values = values.clone().requires_grad_()
    outputs = layer(values[None])[0].flatten()
    received = torch.zeros_like(values)
    for output, share in enumerate(relevance.flatten().tolist()):
        received += torch.autograd.grad(outputs[output], values, retain_graph=True)[0] * share
    return received.detach()


def oracle_rule(layer, is_first, rule, composite):
    """Return the rule of a layer."""
    is_convolution = isinstance(next(layer.modules()), CONVOLUTIONS) or isinstance(
        next(iter(layer.children()), None), CONVOLUTIONS
    )
    if rule == "composite":
        first, others, dense = COMPOSITES[composite]
        if isinstance(layer, tuple(AVERAGE.values())):
            return "epsilon"
        return (first if is_first else others) if is_convolution else dense
    return ("z_box" if is_first else "zplus") if rule == "z_box" else rule


def oracle(model, scan, target, *, rule, composite="epsilon_plus", bias=None, batch_norm="fold", **options):
    """Return the relevance of one scan (C, *S), layer by layer through a sequence."""
    if bias is None:
        bias = "absorb" if rule in ABSORBING else "ignore"
    layers = []
    for layer in copy.deepcopy(model):
        if isinstance(layer, NORMALISATIONS) and batch_norm == "fold":
            layers[-1] = nn.Sequential(layers[-1], layer)
        else:
            layers.append(layer)
    inputs = [scan]
    with torch.no_grad():
        for layer in layers:
            inputs.append(layer(inputs[-1][None])[0])
    for name, extreme in (("low", scan.min()), ("high", scan.max())):
        options[name] = float(extreme) if options.get(name) is None else options[name]
    relevance = torch.zeros_like(inputs[-1])
    relevance[target] = inputs[-1][target]
    for number in reversed(range(len(layers))):
        layer, values = layers[number], inputs[number]
        if isinstance(layer, tuple(MAXIMUM.values())):
            relevance = oracle_winners(layer, values, relevance)
        elif isinstance(layer, (nn.ReLU, nn.Dropout, nn.Flatten, *NORMALISATIONS)):
            relevance = relevance.reshape(values.shape)
        else:
            chosen = oracle_rule(layer, number == 0, rule, composite)
            relevance = oracle_linear(layer, values, relevance, chosen, bias, **options)
    return relevance


def broad(n_axes: int) -> nn.Module:
    """Return a network in which every output has contributions of both signs.

    Where they have one sign, zennit multiplies relevance by alpha (or minus beta), and ours is handed on whole.
    """
    average = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[n_axes]
    return seasoned(
        nn.Sequential(
            CONVOLUTION[n_axes](2, 16, {1: 7, 2: 3, 3: 2}[n_axes]),
            NORMALISATION[n_axes](16),
            nn.ReLU(),
            MAXIMUM[n_axes](2),
            CONVOLUTION[n_axes](16, 16, 2),
            nn.ReLU(),
            average(1),
            nn.Flatten(),
            nn.Linear(16, 16),
            nn.ReLU(),
            nn.Linear(16, 3),
        )
    )


def zennit_composite(settings, stabiliser):
    """Return zennit's composite for parameters of ours; biases have their share in all of them."""
    from zennit import composites, rules, types

    chosen, more = settings["rule"], {}
    if chosen == "composite":
        if settings["composite"] != "excitation_backprop":
            more["epsilon"] = stabiliser
        if settings["composite"] == "epsilon_gamma_box":
            more |= {name: settings[name] for name in ("low", "high", "gamma")}
        return composites.COMPOSITES[settings["composite"]](stabilizer=stabiliser, **more)
    plus = rules.ZPlus(stabiliser)
    split, average = {
        "epsilon": lambda: (rules.Epsilon(stabiliser), rules.Norm(stabiliser)),
        "zplus": lambda: (plus, rules.Norm(stabiliser)),
        "z_box": lambda: (plus, rules.Norm(stabiliser)),
        "gamma": lambda: (rules.Gamma(settings["gamma"], stabiliser), rules.Norm(stabiliser)),
        "flat": lambda: (rules.Flat(stabiliser), rules.Flat(stabiliser)),
        "w_squared": lambda: (rules.WSquare(stabiliser), rules.Flat(stabiliser)),
        "alpha_beta": lambda: (
            rules.AlphaBeta(1 + settings["beta"], settings["beta"], stabiliser),
            rules.Norm(stabiliser),
        ),
    }[chosen]()
    by_type = [
        (types.Activation, rules.Pass()),
        (types.BatchNorm, rules.Pass()),
        (types.AvgPool, average),
        (types.Linear, split),
    ]
    first = []
    if chosen == "z_box":
        first = [(types.Linear, rules.ZBox(settings["low"], settings["high"], stabiliser))]
    return composites.SpecialFirstLayerMapComposite(by_type, first)


def fused(model: nn.Sequential) -> nn.Sequential:
    """Return a copy with normalisations fused into convolutions by torch; zennit leaves a factor of 1 - eps / 2."""
    layers = []
    for layer in copy.deepcopy(model):
        if isinstance(layer, NORMALISATIONS) and layers and isinstance(layers[-1], CONVOLUTIONS):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def zennit_call(settings, stabiliser=1e-12):
    """Return the call of zennit at some parameters of ours; a number or an own function stabilises."""

    def call(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
        from zennit.attribution import Gradient

        with Gradient(fused(model), zennit_composite(settings, stabiliser)) as attributor:
            return attributor(inputs.clone(), lambda logits: logits * torch.eye(logits.shape[1])[target])[1].detach()

    return call


def conservation(**parameters):
    """Return the largest residual, relative to the number that is explained."""

    def error(n_axes: int) -> float:
        model, inputs = convolutional(n_axes), scans(n_axes)
        begin = model(inputs)[:, 1].detach()
        residual = attribute_with_residual("lrp", model, inputs, 1, bias="ignore", **parameters).residual
        return float((residual / begin).abs().max())

    return error


def epsilon_of_a_linear_network(n_axes: int) -> float:
    model, inputs = linear_network(n_axes), scans(n_axes, 2)
    exact = {"rule": "epsilon", "epsilon": 0.0, "bias": "ignore"}
    # biases have no share, so that the map sums to the logit and not to what the inputs contribute to it
    expected = attribute("input_x_gradient", model, inputs, 1)
    scale = model(inputs)[:, 1].detach() / expected.flatten(1).sum(1)
    return deviation(attribute("lrp", model, inputs, 1, **exact), expected * scale.reshape(-1, *[1] * (n_axes + 1)))


def same(first: dict, second: dict, *, positive: bool = False):
    """Return the difference of two parameterisations, in a network whose explained number is positive."""

    def error(n_axes: int) -> float:
        model, inputs = convolutional(n_axes), scans(n_axes, 2)
        if positive:
            inputs = inputs.abs()
            model[-1].bias.data[1] += 100
        return deviation(attribute("lrp", model, inputs, 1, **first), attribute("lrp", model, inputs, 1, **second))

    return error


ABSORBED = {"rule": "alpha_beta", "beta": 0.5, "bias": "absorb"}
EVIDENCE = {
    "lrp": Evidence(
        oracle,
        parameters={"rule": "alpha_beta", "beta": 0.5},
        identities=(
            Identity("linear network, epsilon 0: w x, to the sum of the logit", epsilon_of_a_linear_network),
            Identity("alpha_beta conserves", conservation(rule="alpha_beta", beta=0.5)),
            Identity("gamma conserves", conservation(rule="gamma")),
            Identity("flat conserves", conservation(rule="flat")),
            Identity("w_squared conserves", conservation(rule="w_squared")),
            Identity("alpha 1, beta 0: zplus", same({"alpha": 1.0, "beta": 0.0}, {"rule": "zplus"})),
            Identity("gamma 0: epsilon 0", same({"rule": "gamma", "gamma": 0.0}, {"rule": "epsilon", "epsilon": 0.0})),
            Identity(
                "gamma without end, positive inputs and output: zplus",
                same({"rule": "gamma", "gamma": 1e10}, {"rule": "zplus", "bias": "absorb"}, positive=True),
            ),
        ),
        peer=Peer(
            "zennit",
            zennit_call(ABSORBED),
            ABSORBED,
            note="Differs where all contributions to an output have one sign: zennit then does not conserve.",
        ),
        model=broad,
    )
}
