"""How much information an image holds.

`lorenzo_information` works for any number of axes: an image is predicted voxel by voxel from the neighbours that
come before it (the n-dimensional Lorenzo predictor, Ibarria et al., Computer Graphics Forum 2003;22:343), and what is
left costs its zeroth-order entropy. The left-over is the mixed finite difference along all axes. The others are those
of PAIR's `saliency` and of the paper, for 2-D images of bytes.
"""

from __future__ import annotations

import io

import numpy as np

# Levels into which a window of intensities is cut.
LEVELS = 256


def quantised(images: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return images as levels 0 to 255 of a window of intensities, any shape, uint8.

    Parameters
    ----------
    images : ndarray
    window : tuple of float
        Intensities of the first and the last level, the same for every scan of a data set; what lies outside
        goes to the nearest.
    """
    low, high = window
    scaled = (images - low) * ((LEVELS - 1) / (high - low))
    return np.rint(np.clip(scaled, 0, LEVELS - 1, out=scaled), out=scaled).astype(np.uint8)


def lorenzo_information(levels: np.ndarray) -> np.ndarray:
    """Return the bits that each image costs after prediction, shape (B,).

    Parameters
    ----------
    levels : ndarray of uint8, shape (B, C, *S)
        Quantised images; beyond the first voxel of an axis stand zeros, so the residuals determine the image.

    Returns
    -------
    ndarray, shape (B,)
        Over the channels, the sum of the number of voxels times the entropy of the residuals.
    """
    residuals = levels.reshape(-1, *levels.shape[2:]).astype(np.int16)
    for axis in range(1, residuals.ndim):
        later = (slice(None),) * axis + (slice(1, None),)
        earlier = (slice(None),) * axis + (slice(None, -1),)
        residuals[later] -= residuals[earlier].copy()
    reach = (LEVELS - 1) * 2 ** (residuals.ndim - 2)
    n_bins = 2 * reach + 1
    flat = residuals.reshape(len(residuals), -1)
    counts = np.stack([np.bincount(row, minlength=n_bins) for row in flat.astype(np.intp) + reach])
    return entropy_bits(counts).reshape(levels.shape[:2]).sum(axis=1) * flat.shape[1]


def entropy_bits(counts: np.ndarray) -> np.ndarray:
    """Return Shannon's entropy of each row of counts in bits, shape (B,)."""
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return -(shares * np.log2(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=-1)


def webp_bytes(image: np.ndarray) -> float:
    """Return the bytes of a lossless WebP file, as ``estimate_image_entropy`` of PAIR's `saliency` does.

    Parameters
    ----------
    image : ndarray of uint8, shape (1, H, W) or (3, H, W)
    """
    from PIL import Image

    buffer = io.BytesIO()
    picture = image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, -1))
    Image.fromarray(picture).save(buffer, format="webp", lossless=True, quality=100)
    return float(buffer.tell())


def histogram_bits(image: np.ndarray) -> float:
    """Return the entropy of a histogram of 256 bins between the image's least and largest value, in bits per pixel.

    The horizontal axis of Brima and Atemkeng 2024. It knows nothing about where the pixels are.
    """
    return float(entropy_bits(np.histogram(image, bins=LEVELS, range=(image.min(), image.max()))[0]))


def published_entropy(kind: str, images: np.ndarray) -> np.ndarray:
    """Return the information of images by one of `settings.ENTROPIES`, shape (B,).

    Parameters
    ----------
    kind : {"webp", "shannon", "mean"}
        The mean is that of two numbers with different units, as published.
    images : ndarray of uint8, shape (B, C, H, W)
    """
    compressed = np.array([webp_bytes(image) for image in images]) if kind != "shannon" else np.zeros(len(images))
    histogram = np.array([histogram_bits(image) for image in images]) if kind != "webp" else np.zeros(len(images))
    return (compressed + histogram) / (2 if kind == "mean" else 1)
