"""How a simulator is built and fitted: the keys of one entry of the config's section `simulators`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from ...errors import ConfigError

CHOICES = {
    "kind": ("warp", "additive"),
    "field": ("velocity", "displacement", "none"),
    "amplitude": ("none", "gain", "additive"),
    "conditioning": ("conditional", "separate"),
    "margin_unit": ("sd", "logit"),
    "precision": ("float32", "bfloat16"),
    "norm": ("l2", "linf"),
}


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a simulator that is a network of its own: a warp, or an additive map.

    Attributes
    ----------
    kind : {"warp", "additive"}
        Whether the network moves tissue or adds to intensities.
    field : {"velocity", "displacement", "none"}
        What the network returns; a velocity is integrated into a warp that cannot fold.
    grid : int or None
        Control points along every axis; None for a value in every voxel.
    amplitude : {"none", "gain", "additive"}
        What happens to intensities beside the warp.
    conditioning : {"conditional", "separate"}
        One network whose kernels depend on the option, or one for each direction.
    n_experts : int
        Kernels that each layer of a conditional network mixes.
    width, depth, bottleneck : int
        Channels of the first layer, halvings of the grid, and units of the dense bottleneck; None for the last two
        goes by the size of the scans (see `networks.SimulatorNetwork`).
    margin : float
        How far the answer has to move for an option of 1.
    margin_unit : {"sd", "logit"}
        Unit of `margin`: standard deviations of the network's answers on validation scans, or the answer's own unit.
    cycle, gradient, bending, sparsity, adversarial : float
        Weights of the loss terms beside that of the answer, whose weight is 1.
    noise : float
        Gaussian noise on what the network answers about, in standard deviations of the scan.
    alternate : bool
        Two optimisers in turn, one for the answer and one for the cycle, as published.
    learning_rate, cycle_learning_rate : float
        Step sizes of the two optimisers; the second is used with `alternate` only.
    weight_decay : float
        L2 penalty of both optimisers.
    batch_size, steps : int
        Scans in one step, and steps.
    validate_every : int
        Steps between two looks at the validation scans, each of which is followed by a checkpoint.
    only_correct : bool
        Learn from correctly classified scans only.
    precision : {"float32", "bfloat16"}
        Arithmetic of training steps.
    doses_in_training : bool
        Draw the size of each option from (0, 1] and scale the margin by it.
    """

    kind: str = "warp"
    field: str = "velocity"
    grid: int | None = 8
    amplitude: str = "none"
    conditioning: str = "conditional"
    n_experts: int = 3
    width: int = 16
    depth: int | None = None
    bottleneck: int | None = None
    margin: float = 2.0
    margin_unit: str = "sd"
    cycle: float = 1.0
    gradient: float = 0.0
    bending: float = 0.1
    sparsity: float = 0.0
    adversarial: float = 0.0
    noise: float = 0.05
    alternate: bool = False
    learning_rate: float = 2e-3
    cycle_learning_rate: float = 1e-4
    weight_decay: float = 0.0
    batch_size: int = 16
    steps: int = 400
    validate_every: int = 50
    only_correct: bool = True
    precision: str = "float32"
    doses_in_training: bool = True

    def __post_init__(self) -> None:
        _check_choices(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class AttackSettings:
    """Settings of an adversarial attack: gradient ascent on the scan itself, without anything fitted.

    Attributes
    ----------
    norm : {"l2", "linf"}
        Steps along the gradient, or along its sign.
    step : float
        Root mean square of one step, in standard deviations of the scan.
    steps : int
        Most steps; a scan whose margin is reached is left alone before.
    margin, margin_unit
        See `NetworkSettings`.
    """

    norm: str = "l2"
    step: float = 0.01
    steps: int = 100
    margin: float = 2.0
    margin_unit: str = "sd"
    kind: ClassVar[str] = "attack"

    def __post_init__(self) -> None:
        _check_choices(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}


Settings = NetworkSettings | AttackSettings
# What an additive map is: no warp, and a value in every voxel.
ADDITIVE = {"field": "none", "amplitude": "additive", "grid": None}


def settings_of(entry: Mapping[str, Any]) -> Settings:
    """Return the settings of one entry of the section `simulators`.

    Raises
    ------
    ConfigError
        A kind, key or value that does not exist.
    """
    kind = entry.get("kind")
    known = {"warp": NetworkSettings, "additive": NetworkSettings, "attack": AttackSettings}
    if kind not in known:
        raise ConfigError(f"'{kind}' is not known.", field="kind", remedy=f"use {', '.join(known)}.")
    values = {key: value for key, value in entry.items() if kind != "attack" or key != "kind"}
    values = {**ADDITIVE, **values} if kind == "additive" else values
    allowed = [field.name for field in fields(known[kind])]
    for key in values:
        if key not in allowed:
            raise ConfigError(
                f"a simulator of the kind '{kind}' has no key '{key}'.",
                field=key,
                remedy=f"use {', '.join(allowed)}.",
            )
    return known[kind](**values)


def _check_choices(settings: Settings) -> None:
    for key in (field.name for field in fields(settings)):
        if key in CHOICES and getattr(settings, key) not in CHOICES[key]:
            raise ConfigError(
                f"'{getattr(settings, key)}' is not known.", field=key, remedy=f"use {' or '.join(CHOICES[key])}."
            )
