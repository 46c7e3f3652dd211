"""One scan with its maps and its model: checked once, then shown to the model with parts of it revealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from heatproof.errors import ConfigError, GeometryError

from .entropies import LEVELS, lorenzo_information, published_entropy, quantised

Array = np.ndarray | torch.Tensor
Predict = Callable[[Any], Any]


@dataclass(frozen=True)
class Scene:
    """A scan, its maps and its model.

    Attributes
    ----------
    image : ndarray, shape (C, *S)
    maps : ndarray, shape (M, *S)
        In their own floating dtype: of volumes, a copy in another one may not fit.
    answer : callable
        Images, shape (b, C, *S), to probability of the target and whether it is the most probable class, (b, 2).
    window : tuple of float
        Intensities of the first and the last level.
    inside : ndarray of bool, shape (*S,)
        Voxels that may be hidden.
    start : ndarray of bool, shape (*S,), or None
        Voxels that are always shown, if the caller chose them.
    """

    image: np.ndarray
    maps: np.ndarray
    answer: Callable[[np.ndarray], np.ndarray]
    window: tuple[float, float]
    inside: np.ndarray
    start: np.ndarray | None

    @classmethod
    def of(
        cls,
        image: Array,
        maps: Array,
        predict: Predict,
        target: int,
        window: tuple[float, float] | None,
        mask: Array | None,
        start: Array | None,
    ) -> Scene:
        """Return a scene; raise if its parts do not fit (see `scores.information_scores`)."""
        picture, heatmaps = as_array(image), as_array(maps)
        if picture.ndim not in (2, 3, 4):
            raise GeometryError(
                f"an image of shape {picture.shape} has no channel axis followed by one to three space axes.",
                field="image",
                remedy="give shape (C, *S).",
            )
        shape = picture.shape[1:]
        inside = np.ones(shape, bool) if mask is None else as_array(mask).astype(bool)
        chosen = None if start is None else as_array(start).astype(bool)
        grids = {"maps": heatmaps.shape[1:], "mask": inside.shape, "start": shape if chosen is None else chosen.shape}
        for name, grid in grids.items():
            if grid != shape:
                raise GeometryError(f"{grid} is not the image's grid {shape}.", field=name, remedy="resample it first.")
        return cls(
            image=picture,
            maps=heatmaps if np.issubdtype(heatmaps.dtype, np.floating) else heatmaps.astype(np.float64),
            answer=partial(_answer, predict, image, target),
            window=_checked_window(window, picture),
            inside=inside,
            start=chosen,
        )

    @cached_property
    def valid(self) -> np.ndarray:
        """Which maps are finite throughout, shape (M,)."""
        return np.array([np.isfinite(heatmap).all() for heatmap in self.maps], bool)

    def check_pair(self) -> None:
        """Raise where PAIR's algorithm does not apply."""
        if self.image.ndim != 3 or len(self.image) not in (1, 3):
            raise GeometryError(
                f"pair knows 2-D images of one or three channels, not shape {self.image.shape}.",
                field="mode",
                remedy="use mode nd.",
            )

    @property
    def levels(self) -> np.ndarray:
        """The image as PAIR takes it, bytes, shape (C, H, W); other images are cut into levels of the window."""
        return self.image if self.image.dtype == np.uint8 else quantised(self.image, self.window)

    def shown(self, images: np.ndarray) -> np.ndarray:
        """Return images as the model knows them: levels of a window go back to intensities."""
        if images.dtype == self.image.dtype:
            return images
        low, high = self.window
        return (low + images * ((high - low) / (LEVELS - 1))).astype(self.image.dtype)

    def information(self, measure: str, images: np.ndarray) -> np.ndarray:
        """Return the information of images by one measure, shape (b,)."""
        if measure == "lorenzo":
            return lorenzo_information(quantised(images, self.window))
        return published_entropy(measure, images)


def as_array(values: Array) -> np.ndarray:
    """Return an array or a Tensor as an array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _checked_window(window: tuple[float, float] | None, image: np.ndarray) -> tuple[float, float]:
    """Return the window; without one, all bytes or the range of the image."""
    if window is None and image.dtype == np.uint8:
        return 0.0, float(LEVELS - 1)
    low, high = (float(image.min()), float(image.max())) if window is None else window
    if not (np.isfinite(image).all() and np.isfinite([low, high]).all() and (high > low or window is None)):
        raise ConfigError(
            f"the image or its window from {low} to {high} cannot be cut into levels.",
            field="window",
            remedy="give two finite intensities, the lower one first, and an image without missing values.",
        )
    # A flat image has one level.
    return low, (high if high > low else low + 1.0)


def _answer(predict: Predict, like: Array, target: int, images: np.ndarray) -> np.ndarray:
    """Return probability of the target and whether it is the most probable class, shape (b, 2)."""
    given = torch.from_numpy(images).to(like.device) if isinstance(like, torch.Tensor) else images
    found = as_array(predict(given)).astype(np.float64)
    if found.ndim != 2 or len(found) != len(images) or found.shape[1] < 2 or not 0 <= target < found.shape[1]:
        raise ConfigError(
            f"predict returned shape {found.shape} for {len(images)} images and target {target}.",
            field="predict",
            remedy="return the probabilities of at least two classes, the target among them, shape (B, K).",
        )
    if not np.isfinite(found).all():
        raise ConfigError("predict returned values that are not finite.", field="predict", remedy="check the model.")
    return np.stack([found[:, target], found.argmax(axis=1) == target], axis=1)
