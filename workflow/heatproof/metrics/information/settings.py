"""How information curves can be drawn: mode, infill, horizontal axis, entropy, and the shares that are revealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heatproof.errors import ConfigError

# Shares of the most relevant pixels that the paper reveals (Kapishnikov et al. 2019; Brima and Atemkeng 2024).
THRESHOLDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.5, 0.75)
INFILLS = ("push_pull", "linear", "overlay")
AXES = ("information", "fraction")
ENTROPIES = ("webp", "shannon", "mean")
# Ends the name of a pair setting that leaves no image out, as the paper's code did.
UNCHECKED = "unchecked"
# Points of a curve: a thousand equal steps and the end (the default of saliency.metrics.pic).
N_POINTS = 1001


@dataclass(frozen=True)
class Setting:
    """One way to draw accuracy and softmax information curves.

    Attributes
    ----------
    mode : {"nd", "pair"}
        Ours for any number of axes, or the algorithm of PAIR's `saliency` for 2-D images.
    infill : {"push_pull", "linear", "overlay"} or None
        What stands where nothing is revealed (see `infills`); None is push_pull in nd. Pair is always linear.
    axis : {"information", "fraction"}
        What runs along the curve in nd: information of the image, or the share of voxels revealed.
    entropy : {"webp", "shannon", "mean"}
        How pair measures information: bytes of a lossless WebP file, Shannon's entropy of a histogram of 256
        bins, or the mean of the two numbers (Brima and Atemkeng 2024).
    checks : bool
        In pair, whether images are left out as `saliency` does. The paper's code left none out.
    least_probability : float
        In pair, the score on the original below which an image is left out (`min_pred_value`).
    """

    mode: str = "nd"
    infill: str | None = None
    axis: str = "information"
    entropy: str = "webp"
    checks: bool = True
    least_probability: float = 0.8

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, ("nd", "pair"))
        if self.infill is None:
            object.__setattr__(self, "infill", "linear" if self.mode == "pair" else "push_pull")
        _one_of("infill", self.infill, ("linear",) if self.mode == "pair" else INFILLS)
        _one_of("axis", self.axis, ("information",) if self.mode == "pair" else AXES)
        _one_of("entropy", self.entropy, ENTROPIES)

    @classmethod
    def of(cls, name: str) -> Setting:
        """Return the setting of a name: ``nd push_pull information``, ``pair webp`` or ``pair mean unchecked``.

        Raises
        ------
        ConfigError
            The name is of no such form.
        """
        mode, *rest = name.split()
        if mode == "nd" and len(rest) == 2:
            return cls("nd", infill=rest[0], axis=rest[1])
        if mode == "pair" and rest[1:] in ([], [UNCHECKED]) and rest:
            return cls("pair", entropy=rest[0], checks=rest[1:] == [])
        raise ConfigError(
            f"'{name}' is not a setting of information curves.",
            field="settings",
            remedy=f"write 'nd <infill> <axis>', 'pair <entropy>' or 'pair <entropy> {UNCHECKED}'.",
        )

    @property
    def name(self) -> str:
        """The name that `of` reads."""
        if self.mode == "nd":
            return f"nd {self.infill} {self.axis}"
        return f"pair {self.entropy}" if self.checks else f"pair {self.entropy} {UNCHECKED}"

    @property
    def images(self) -> tuple[str, str | None]:
        """What decides which images are shown to the model: settings that agree share them."""
        return self.mode, self.infill

    @property
    def measure(self) -> str:
        """How the information of an image is measured."""
        return self.entropy if self.mode == "pair" else "lorenzo"


def _one_of(field: str, value: str | None, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"'{value}' is not possible here.", field=field, remedy=f"use {', '.join(allowed)}.")


def checked_thresholds(thresholds: Sequence[float] | None) -> np.ndarray:
    """Return the shares that are revealed, ascending, shape (T,).

    Raises
    ------
    ConfigError
        There are none, they do not ascend, or one lies outside (0, 1].
    """
    shares = np.asarray(THRESHOLDS if thresholds is None else thresholds, dtype=np.float64)
    inside = shares.ndim == 1 and shares.size > 0 and shares[0] > 0 and shares[-1] <= 1
    if not inside or not (np.diff(shares) > 0).all():
        raise ConfigError(
            "the thresholds do not ascend within (0, 1].",
            field="thresholds",
            remedy="give shares such as 0.01, 0.1, 1.",
        )
    return shares
