"""What a user asks of relevance propagation, and the rule that follows for each kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...errors import ConfigError
from ..registry import choice
from .input_rules import Box, Flat, WSquared
from .rules import AlphaBeta, Epsilon, Gamma, Rule

STABILISERS = ("relative", "absolute")
BIASES = ("ignore", "absorb")
BATCH_NORMS = ("fold", "identity")
# Rules that were published with the bias among what is shared out.
ABSORBING = ("epsilon", "gamma", "composite")
# The kinds of layers that take a rule; "merging" are averages and additions, linear maps without weights.
KINDS = ("convolution", "dense", "merging", "normalisation")
WEIGHTED = ("convolution", "dense")


@dataclass(frozen=True)
class Plan:
    """Which layer takes which rule.

    Attributes
    ----------
    rules : mapping of str to Rule
        By kind of layer. Without one for normalisations, they pass relevance on unchanged.
    at_input : mapping of str to Rule
        By kind of layer, for layers that no weighted layer comes before.
    """

    rules: Mapping[str, Rule]
    at_input: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, kind: str | None, is_first: bool) -> Rule | None:
        """Return the rule of a layer; None for a layer that needs none."""
        if kind is None:
            return None
        return self.at_input.get(kind, self.rules.get(kind)) if is_first else self.rules.get(kind)


@dataclass(frozen=True)
class Settings:
    """The parameters of `lrp`; see there."""

    rule: str
    composite: str
    alpha: float | None
    beta: float | None
    gamma: float
    epsilon: float
    stabiliser: str
    low: float | None
    high: float | None
    bias: str | None
    batch_norm: str
    start: str

    def __post_init__(self) -> None:
        choice(self.rule, tuple(RULES), "lrp.rule")
        choice(self.composite, tuple(COMPOSITES), "lrp.composite")
        choice(self.stabiliser, STABILISERS, "lrp.stabiliser")
        if self.bias is not None:
            choice(self.bias, BIASES, "lrp.bias")
        choice(self.batch_norm, BATCH_NORMS, "lrp.batch_norm")
        for name in ("epsilon", "gamma"):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigError(f"{name} is {value}.", field=f"lrp.{name}", remedy="Use 0 or more.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ConfigError(
                f"The box is from {self.low} to {self.high}.", field="lrp.low", remedy="Use low below high."
            )

    @property
    def absorbs(self) -> bool:
        """Whether biases take their share of relevance; unless asked, as the rule was published, and never of a value.

        What a value's biases hold is mostly its convention (the number's mean), which is no evidence.
        """
        if self.bias is None:
            return self.rule in ABSORBING and self.start != "value"
        return self.bias == "absorb"

    def plan(self) -> Plan:
        """Return the rule of each kind of layer.

        Raises
        ------
        ConfigError
            alpha - beta is not 1, or beta is negative.
        """
        return RULES[self.rule](self)

    def by_epsilon(self) -> Rule:
        """Return the epsilon rule."""
        return Epsilon(float(self.epsilon), self.stabiliser == "relative", self.absorbs)

    def by_sign(self, alpha: float = 1.0, beta: float = 0.0) -> Rule:
        """Return the alpha-beta rule; z+ without arguments."""
        return AlphaBeta(alpha, beta, self.absorbs)

    def weights_of_signs(self) -> tuple[float, float]:
        """Return alpha and beta, one of which may follow from the other.

        Raises
        ------
        ConfigError
            alpha - beta is not 1, or beta is negative.
        """
        alpha, beta = self.alpha, self.beta
        if beta is None:
            beta = 0.5 if alpha is None else alpha - 1
        alpha = 1 + beta if alpha is None else alpha
        if not beta >= 0 or abs(alpha - beta - 1) > 1e-6:
            raise ConfigError(
                f"alpha {alpha} and beta {beta} do not conserve relevance.",
                field="lrp.beta",
                remedy="Use beta >= 0 and alpha = 1 + beta, or give only one of them.",
            )
        return float(alpha), float(beta)


def everywhere(rule: Rule, at_input: Mapping[str, Rule] | None = None) -> Plan:
    """Return the plan in which every layer has the same rule, but perhaps for the first."""
    return Plan(dict.fromkeys(KINDS, rule), at_input or {})


def combined(settings: Settings, convolution: Rule, dense: Rule, at_input: Mapping[str, Rule] | None = None) -> Plan:
    """Return a plan of several rules; averages and additions by the epsilon rule, normalisations by none."""
    rules = {"convolution": convolution, "dense": dense, "merging": settings.by_epsilon()}
    return Plan(rules, at_input or {})


def box(settings: Settings) -> Rule:
    """Return the rule for inputs between two values."""
    return Box(settings.low, settings.high)


def gamma(settings: Settings) -> Rule:
    """Return the gamma rule."""
    return Gamma(float(settings.gamma), settings.absorbs)


FLAT_INPUT: Mapping[str, Rule] = dict.fromkeys(WEIGHTED, Flat())
# Which layer takes which rule in the named composites, as in zennit 0.5 (Anders et al. 2021, arXiv 2106.13200).
COMPOSITES: dict[str, Callable[[Settings], Plan]] = {
    "epsilon_plus": lambda chosen: combined(chosen, chosen.by_sign(), chosen.by_epsilon()),
    "epsilon_plus_flat": lambda chosen: combined(chosen, chosen.by_sign(), chosen.by_epsilon(), FLAT_INPUT),
    "epsilon_alpha2_beta1": lambda chosen: combined(chosen, chosen.by_sign(2.0, 1.0), chosen.by_epsilon()),
    "epsilon_alpha2_beta1_flat": lambda chosen: combined(
        chosen, chosen.by_sign(2.0, 1.0), chosen.by_epsilon(), FLAT_INPUT
    ),
    "epsilon_gamma_box": lambda chosen: combined(
        chosen, gamma(chosen), chosen.by_epsilon(), {"convolution": box(chosen)}
    ),
    "excitation_backprop": lambda chosen: combined(chosen, chosen.by_sign(), chosen.by_sign()),
}
RULES: dict[str, Callable[[Settings], Plan]] = {
    "alpha_beta": lambda chosen: everywhere(chosen.by_sign(*chosen.weights_of_signs())),
    "zplus": lambda chosen: everywhere(chosen.by_sign()),
    "epsilon": lambda chosen: everywhere(chosen.by_epsilon()),
    "gamma": lambda chosen: everywhere(gamma(chosen)),
    "flat": lambda chosen: everywhere(Flat()),
    "w_squared": lambda chosen: everywhere(WSquared(chosen.absorbs)),
    "z_box": lambda chosen: everywhere(chosen.by_sign(), dict.fromkeys(WEIGHTED, box(chosen))),
    "composite": lambda chosen: COMPOSITES[chosen.composite](chosen),
}
