"""What stands in a scan where voxels were removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from heatproof.attribution.smoothing import gaussian_smooth
from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.faithfulness.asking import as_array
from heatproof.metrics.faithfulness.imputation import check_noise, interpolated, noisy_linear
from heatproof.randomness import generator

FILLS = ("zero", "mean", "control_mean", "blur", "noisy_linear")
Fill = Callable[[np.ndarray], np.ndarray]


def filler(
    image: np.ndarray,
    mask: np.ndarray,
    fill: str,
    *,
    reference: Any = None,
    blur_sigma: float = 4.0,
    noise: float = 0.01,
    seed: int = 0,
    leads: bool = False,
) -> Fill:
    """Return a function from removed voxels, shape (*S,), to the scan without them, shape (C, *S).

    Parameters
    ----------
    image : ndarray, shape (C, *S)
    mask : ndarray of bool, shape (*S,)
    fill : {"zero", "mean", "control_mean", "blur", "noisy_linear"}
        ``zero``: the value 0, or `reference`, which says what zero intensity became in the normalised scan.
        ``mean``: each channel's mean inside the mask. ``control_mean``: `reference`, the mean scan of controls.
        ``blur``: the scan after a Gaussian. ``noisy_linear``: see `imputation.noisy_linear`.
    reference : array_like, shape (C, *S), or number
        For ``zero`` (optional) and ``control_mean`` (needed), else refused.
    blur_sigma : float
        Standard deviation of the Gaussian, voxels.
    noise : float
        Standard deviation of the noise of ``noisy_linear``, in the unit of the scan; one field of noise per scan and
        seed, so that no map is favoured by luck.
    seed : int
    leads : bool
        Whether the first space axis holds leads, which are no neighbours: each is filled from itself alone.

    Raises
    ------
    ConfigError
        An unknown fill, a reference that is missing or not asked for, no blur, or a noise below 0.
    GeometryError
        The reference is on another grid.
    """
    if fill not in FILLS:
        raise ConfigError(f"'{fill}' is no fill.", field="fill", remedy=f"use any of {', '.join(FILLS)}.")
    if fill == "noisy_linear":
        refuse_reference(fill, reference)
        check_noise(noise)
        standard = generator(seed, "faithfulness", "imputation").standard_normal(image.shape)
        if leads:
            return lambda removed: _imputed_by_lead(image, removed, noise * standard)
        return lambda removed: noisy_linear(image, removed, noise, standard)
    content = (content_by_lead if leads else fill_content)(image, mask, fill, reference, blur_sigma)
    return lambda removed: np.where(removed, content, image)


def fill_content(
    image: np.ndarray, mask: np.ndarray, fill: str, reference: Any = None, blur_sigma: float = 4.0
) -> np.ndarray:
    """Return what stands in every voxel once it is removed, for fills that do not depend on its neighbours.

    Parameters, errors
        See `filler`.

    Returns
    -------
    ndarray, shape (C, *S)
    """
    axes = tuple(range(1, image.ndim))
    if fill == "zero":
        return constant_content(image, 0.0 if reference is None else reference)
    if fill == "control_mean" and reference is not None:
        return constant_content(image, reference)
    if fill == "control_mean":
        raise ConfigError(
            "the fill control_mean needs the mean scan of the controls.",
            field="reference",
            remedy="pass reference=, shape (C, *S), from the training scans.",
        )
    refuse_reference(fill, reference)
    if fill == "mean":
        means = image[:, mask].mean(axis=1)
        return np.broadcast_to(means.reshape(-1, *[1] * len(axes)), image.shape)
    if not 0 < blur_sigma < np.inf:
        raise ConfigError(f"blur_sigma is {blur_sigma}.", field="blur_sigma", remedy="use a number above 0.")
    return gaussian_smooth(torch.from_numpy(image)[None], blur_sigma)[0].numpy()


def content_by_lead(
    image: np.ndarray, mask: np.ndarray, fill: str, reference: Any = None, blur_sigma: float = 4.0
) -> np.ndarray:
    """Return `fill_content` of a scan (C, leads, *S) made of each lead alone; a lead outside the mask stays."""
    given = None if reference is None else constant_content(image, reference)
    content = image.copy()
    for lead in np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1)):
        own = None if given is None else given[:, lead]
        content[:, lead] = fill_content(image[:, lead], mask[lead], fill, own, blur_sigma)
    return content


def _imputed_by_lead(image: np.ndarray, removed: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return a scan (C, leads, *S) whose removed places are imputed within their lead."""
    if removed.ndim == 2:
        filled = interpolated(image, removed)
    else:
        filled = np.stack([noisy_linear(own, gone) for own, gone in zip(image.swapaxes(0, 1), removed, strict=True)], 1)
    return np.where(removed, filled + noise, filled)


def constant_content(image: np.ndarray, reference: Any) -> np.ndarray:
    """Return a reference, an array (C, *S) or one number, on the grid of a scan.

    Raises
    ------
    GeometryError
        It has another shape.
    """
    values = as_array(reference)
    if values.ndim and values.shape != image.shape:
        raise GeometryError(
            f"a reference of shape {values.shape} does not fit a scan of shape {image.shape}.",
            field="reference",
            remedy="pass it on the scan's grid, with its channels.",
        )
    return np.broadcast_to(values, image.shape)


def refuse_reference(fill: str, reference: Any) -> None:
    """Check that a fill without a reference was not given one.

    Raises
    ------
    ConfigError
        It was.
    """
    if reference is not None:
        raise ConfigError(
            f"the fill {fill} makes no use of a reference.",
            field="reference",
            remedy="leave it out, or fill with control_mean or zero.",
        )
