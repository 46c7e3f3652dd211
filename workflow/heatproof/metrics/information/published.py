"""The infill of PAIR's `saliency`, image by image as ``create_blurred_image`` makes it."""

from __future__ import annotations

import numpy as np

from .infills import composed, interpolated
from .revealing import corners


def published_infill(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return copies of an image with the unknown pixels interpolated between all known ones and the corners.

    Every known pixel enters the triangulation, in the order of `griddata`: where four pixels lie on one circle, its
    choice of the diagonal decides the value, so nothing may be left out here. Channels share the triangulation.

    Parameters
    ----------
    image : ndarray of uint8, shape (C, H, W)
    known : ndarray of bool, shape (B, H, W)

    Returns
    -------
    ndarray of uint8, shape (B, C, H, W)
    """
    ends = corners(image.shape[1:])
    filled = []
    for mask in known:
        shown = mask | ends
        # Through single precision, as the peer: halves are frequent here, and rounding decides about them.
        smooth = interpolated(image, shown, shown).astype(np.float32)
        filled.append(composed(image, shown[None], smooth[None]))
    return np.concatenate(filled)
