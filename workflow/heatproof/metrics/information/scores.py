"""Information curves of all maps of one scan, in several settings at once.

Settings that show the model the same images share infills, entropies and forward passes; one pass answers for AIC and
SIC; an image that several maps or shares lead to is made and shown once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heatproof.errors import ConfigError

from .asking import Asked, ask
from .curves import InformationCurves, drawn
from .scene import Array, Predict, Scene
from .settings import N_POINTS, Setting, checked_thresholds


def information_curves(
    image: Array,
    maps: Array,
    predict: Predict,
    target: int,
    *,
    mode: str = "nd",
    thresholds: Sequence[float] | None = None,
    seed: int = 0,
    infill: str | None = None,
    axis: str = "information",
    entropy: str = "webp",
    **more: Any,
) -> InformationCurves:
    """Return the curves of several maps of one scan in one setting.

    Parameters
    ----------
    image, maps, predict, target, thresholds, seed, **more
        See `information_scores`.
    mode, infill, axis, entropy
        See `Setting`.
    """
    setting = Setting(mode, infill=infill, axis=axis, entropy=entropy)
    return information_scores(image, maps, predict, target, [setting], thresholds=thresholds, seed=seed, **more)[0]


def information_scores(
    image: Array,
    maps: Array,
    predict: Predict,
    target: int,
    settings: Sequence[Setting],
    *,
    thresholds: Sequence[float] | None = None,
    seed: int = 0,
    window: tuple[float, float] | None = None,
    mask: Array | None = None,
    start: Array | None = None,
    batch_size: int | None = None,
    n_points: int = N_POINTS,
) -> list[InformationCurves]:
    """Return the curves of several maps of one scan, one result per setting.

    Parameters
    ----------
    image : array or Tensor, shape (C, *S)
        The scan, one to three space axes.
    maps : array or Tensor, shape (M, *S)
        Relevance, larger is more relevant; whether absolute values count is the caller's decision. Any floating
        dtype: it is kept.
    predict : callable
        ``(B, C, *S) -> (B, K)``: probabilities of at least two classes, as array or Tensor. It gets arrays if the
        image is one, else Tensors, in the dtype and on the device of the image.
    target : int
        The class that the maps explain.
    settings : sequence of Setting
        At least one.
    thresholds : sequence of float or None
        Shares of the most relevant voxels to reveal, ascending in (0, 1]; None for `settings.THRESHOLDS`. In nd they
        are shares of the voxels that the start hides, and the original (share 1) always closes the curve.
    seed : int
        Root seed; nothing but the seed and the grid decides the start and the order of equal values.
    window : (low, high) or None
        Intensities between which images are cut into 256 levels: of the data set. None is the range of this scan,
        or 0 to 255 for bytes.
    mask : array of bool, shape (*S,), or None
        Voxels that may be hidden in nd; those outside are always shown. Pair knows no mask.
    start : array of bool, shape (*S,), or None
        Voxels shown in the fully blurred image (PAIR's `random_mask`), corners come on top. None draws them.
    batch_size : int or None
        Images in one forward pass, fewer where memory asks for it. Never changes a result.
    n_points : int
        Points of the returned curves.

    Returns
    -------
    list of InformationCurves
        In the order of the settings.

    Raises
    ------
    GeometryError
        Maps, mask or start are not on the grid of the image, nothing is hidden, or pair is asked for anything but
        2-D images of one or three channels.
    ConfigError
        Settings, thresholds, window, batch size or answers of the model that make no sense.
    """
    shares = checked_thresholds(thresholds)
    for name, number, least in (
        ("settings", len(settings), 1),
        ("n_points", n_points, 3),
        ("batch_size", batch_size, 1),
    ):
        if number is not None and number < least:
            raise ConfigError(f"{number} is too few.", field=name, remedy=f"give {least} or more.")
    scene = Scene.of(image, maps, predict, target, window, mask, start)
    if any(setting.mode == "pair" for setting in settings):
        scene.check_pair()
    asked: dict[tuple[str, str | None], Asked] = {}
    for setting in settings:
        if setting.images not in asked:
            measures = {other.measure for other in settings if other.images == setting.images}
            asked[setting.images] = ask(scene, setting, shares, measures, seed, batch_size)
    return [
        drawn(setting, shares, asked[setting.images].answers(setting, shares), scene.valid, n_points)
        for setting in settings
    ]


def constant_model_spread(image: Array, maps: Array, setting: Setting, **more: Any) -> dict[str, dict[str, float]]:
    """Return how far the areas of maps are apart under models that say the same of every image, right or wrong.

    Parameters
    ----------
    image, maps, **more
        See `information_scores`.
    setting : Setting

    Returns
    -------
    dict
        ``["right" or "wrong"]["aic" or "sic"]``, see `InformationCurves.constant_spread`. 0 in nd; NaN in pair,
        whose checks leave such models out; not 0 in pair without them, which measures the geometry of maps too.
    """

    def indifferent(images: Array) -> np.ndarray:
        return np.full((len(images), 2), 0.5)

    return information_scores(image, maps, indifferent, 0, [setting], **more)[0].constant_spread()
