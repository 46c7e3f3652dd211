"""How a network is trained: the keys of the config's training section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from heatproof.errors import ConfigError

CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("constant", "one_cycle", "plateau"),
    "class_weights": ("none", "balanced"),
    "precision": ("float32", "tf32", "bfloat16"),
    "memory_format": ("auto", "contiguous", "channels_last"),
    "device": ("auto", "cpu", "cuda"),
}


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training.

    Attributes
    ----------
    epochs : int
        Passes over the training scans at most; 0 keeps the initial weights.
    batch_size : int
        Scans a step at most; an epoch is cut into batches of nearly equal size.
    learning_rate : float
        Step size; the peak of it for ``one_cycle``.
    weight_decay : float
        L2 penalty (``adam``, ``sgd``) or decoupled decay (``adamw``).
    optimizer : {"adam", "adamw", "sgd"}
        Optimiser.
    momentum : float
        Share of the last step that ``sgd`` takes again, 0 or more and below 1.
    schedule : {"constant", "one_cycle", "plateau"}
        Course of the learning rate (Smith & Topin 2019 for one_cycle).
    plateau_factor : float
        What ``plateau`` multiplies the learning rate with, between 0 and 1.
    plateau_patience : int
        Epochs without a lower validation loss that ``plateau`` waits for.
    patience : int or None
        Epochs without a lower validation loss before training stops; None trains to the end.
    patience_after : int
        Epoch up to which patience is not counted.
    class_weights : {"none", "balanced"}
        Weights of the classes in the loss.
    flip_probability : float
        Share of training scans mirrored along `augmentation_axis`.
    shift_voxels : int
        Largest shift of a training scan along `augmentation_axis`, either way, in voxels.
    noise : float
        Standard deviation of white noise added to every training scan anew, in units of the normalised scan.
    augmentation_axis : int
        Space axis of flips and shifts (0 is left to right in template space).
    batch_norm_momentum : float
        Weight of the newest batch in running statistics.
    precision : {"float32", "tf32", "bfloat16"}
        Arithmetic of training; predictions are always float32.
    memory_format : {"auto", "contiguous", "channels_last"}
        Order of values in memory; ``auto`` is channels-last for two and three axes.
    cache_megabytes : int
        Memory for scans kept between epochs; the others are read again.
    device : {"auto", "cpu", "cuda"}
        Where to train; ``auto`` takes a GPU where there is one.
    keep_memory : bool
        Keep freed memory in the process (see `heatproof.training.memory`).
    """

    epochs: int = 200
    batch_size: int = 5
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    optimizer: str = "adam"
    momentum: float = 0.9
    schedule: str = "constant"
    plateau_factor: float = 0.5
    plateau_patience: int = 10
    patience: int | None = 10
    patience_after: int = 0
    class_weights: str = "none"
    flip_probability: float = 0.0
    shift_voxels: int = 0
    noise: float = 0.0
    augmentation_axis: int = 0
    batch_norm_momentum: float = 0.1
    precision: str = "float32"
    memory_format: str = "auto"
    cache_megabytes: int = 1024
    device: str = "auto"
    keep_memory: bool = True

    def __post_init__(self) -> None:
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ConfigError(
                    f"'{getattr(self, key)}' is not known.",
                    field=f"training.{key}",
                    remedy=f"use {' or '.join(allowed)}.",
                )
        if self.epochs < 0 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ConfigError(
                "epochs must be 0 or more, batch_size 1 or more and learning_rate above 0.",
                field="training",
                remedy="correct the training section.",
            )
        if not 0 <= self.momentum < 1:
            raise ConfigError(
                f"{self.momentum} is no momentum.",
                field="training.momentum",
                remedy="use 0 or more and less than 1.",
            )

        if not (0 < self.plateau_factor < 1 and self.plateau_patience >= 0):
            raise ConfigError(
                f"{self.plateau_factor} after {self.plateau_patience} epochs does not lower the learning rate.",
                field="training.plateau_factor",
                remedy="use a factor between 0 and 1 and a plateau_patience of 0 or more.",
            )

    @classmethod
    def from_config(cls, study: Mapping[str, Any], model: Mapping[str, Any] | None = None) -> TrainingSettings:
        """Return the study's training section with the model's own keys laid over it.

        Raises
        ------
        ConfigError
            If a key is not known.
        """
        merged = {**study, **(model or {})}
        known = [field.name for field in fields(cls)]
        for key in merged:
            if key not in known:
                raise ConfigError(
                    f"the training section has no key '{key}'.",
                    field=f"training.{key}",
                    remedy=f"use one of {', '.join(known)}.",
                )
        return cls(**merged)
