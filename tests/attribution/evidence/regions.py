"""Evidence for XRAI."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from attribution.evidence import Evidence, Identity, Peer, deviation
from attribution.evidence.sampling import gradient_of
from attribution.networks import convolutional, scans
from heatproof.attribution import attribute

SCALES = (50, 100, 150, 250, 500, 1200)


def black_and_white(model, scan, target, n_steps):
    """Return the mean of integrated gradients from the scan's least and largest value, step by step."""
    total = torch.zeros_like(scan)
    for end in (scan.min(), scan.max()):
        begin = torch.full_like(scan, float(end))
        for step in range(n_steps):
            point = begin + (step + 0.5) / n_steps * (scan - begin)
            total = total + (scan - begin) * gradient_of(model, point, target) / n_steps / 2
    return total


def label_images(scan: np.ndarray) -> list[np.ndarray]:
    """Return the labels of a scan (C, *S) at all levels, by scikit-image alone."""
    from skimage.segmentation import felzenszwalb, slic
    from skimage.transform import resize

    values = np.moveaxis((scan - scan.min()) / (scan.max() - scan.min()) * 2 - 1, 0, -1)
    shape = values.shape[:-1]
    if len(shape) == 1:  # the signal is an image of one row
        share = shape[0] / 224**2
        options = {"sigma": 0.8, "min_size": max(1, round(150 * share)), "channel_axis": -1}
        return [felzenszwalb(values[None], scale, **options)[0] for scale in (5, 15, 50, 150, 500, 1200)]
    if len(shape) == 2:
        image = resize(values, (224, 224), 3, "constant", preserve_range=True, anti_aliasing=True)
        labels = [felzenszwalb(image, scale, 0.8, 150) for scale in SCALES]
        return [resize(each, shape, 0, "constant", preserve_range=True, anti_aliasing=False) for each in labels]
    options = {"sigma": 0.8, "convert2lab": False, "channel_axis": -1, "compactness": 0.1 * len(scan) ** 0.5}
    return [
        slic(values, number, **options)
        if number < values[..., 0].size
        else np.arange(values[..., 0].size).reshape(shape)
        for number in (50, 100, 200, 400, 800)
    ]


def segment_masks(scan: np.ndarray, radius: int) -> list[np.ndarray]:
    """Return the dilated segments of a scan as masks, voxel pair by voxel pair."""
    voxels = np.argwhere(np.ones(scan.shape[1:]))
    near = ((voxels[:, None] - voxels[None]) ** 2).sum(-1) <= radius**2
    masks = []
    for labels in label_images(scan):
        for label in np.unique(labels):
            masks.append((near & (labels.ravel() == label)[None]).any(1).reshape(labels.shape))
    return masks


def greedy(attribution: np.ndarray, masks: list[np.ndarray], least: int) -> np.ndarray:
    """Return the map of the full algorithm, every density computed anew at every turn."""
    result, covered, left = np.zeros_like(attribution), np.zeros(attribution.shape, bool), list(masks)
    while True:
        left = [mask for mask in left if (mask & ~covered).sum() >= least]
        if not left:
            break
        densities = [attribution[mask & ~covered].mean() for mask in left]
        best = left.pop(int(np.argmax(densities)))
        result[best & ~covered] = max(densities)
        covered |= best
    if not covered.all():
        result[~covered] = attribution[~covered].mean()
    return result


def naive_xrai(model, scan, target, *, n_steps, dilation_radius, min_pixel_diff):
    base = black_and_white(model, scan, target, n_steps).numpy()
    attribution = base.max(0) if base.ndim == 3 else base.sum(0)
    return torch.from_numpy(greedy(attribution, segment_masks(scan.numpy(), dilation_radius), min_pixel_diff))[None]


def sum_is_kept(n_axes: int) -> float:
    """Return by how much the sum of a map differs from that of its base, for both algorithms."""
    model, inputs = convolutional(n_axes), scans(n_axes)
    base = torch.randn(3, 1, *inputs.shape[2:], generator=torch.Generator().manual_seed(5)).double()
    errors = []
    for algorithm in ("full", "fast"):
        maps = attribute(
            "xrai", model, inputs, 1, base=base, batch_size=3, algorithm=algorithm, min_pixel_diff=3, dilation_radius=1
        )
        errors.append(deviation(maps.flatten(1).sum(1), base.flatten(1).sum(1)))
    return max(errors)


def constant_base(n_axes: int) -> float:
    base = torch.full((1, 1, *scans(n_axes).shape[2:]), -0.3, dtype=torch.float64)
    maps = attribute("xrai", convolutional(n_axes), scans(n_axes), 1, base=base, min_pixel_diff=3)
    return deviation(maps, base)


def saliency_xrai(model: nn.Module, inputs: torch.Tensor, target: int) -> torch.Tensor:
    """Return the peer's map of our integrated gradients: its own sum counts both ends of the way whole."""
    from saliency.core.xrai import XRAI

    flat = inputs.flatten(1)
    shape = (-1, *[1] * (inputs.ndim - 1))
    ways = [
        attribute(
            "integrated_gradients",
            model,
            inputs,
            target,
            n_steps=25,
            rule="middle",
            zero_intensity=end.reshape(shape).expand_as(inputs),
            batch_size=len(inputs),
        )
        for end in (flat.amin(1), flat.amax(1))
    ]
    base = (ways[0] + ways[1]) / 2
    maps = [
        XRAI().GetMask(scan.movedim(0, -1).numpy(), None, base_attribution=one.movedim(0, -1).double().numpy())
        for scan, one in zip(inputs, base, strict=True)
    ]
    return torch.from_numpy(np.stack(maps))[:, None]


EVIDENCE = {
    "xrai": Evidence(
        naive_xrai,
        {"n_steps": 3, "dilation_radius": 1, "min_pixel_diff": 2},
        (
            Identity("sum of the base map kept", sum_is_kept),
            Identity("constant base: constant map", constant_base),
        ),
        Peer(
            "saliency",
            saliency_xrai,
            {"n_steps": 25},
            axes=(2,),
            note="2-D only; given our integrated gradients, as its own sum counts both ends whole",
        ),
    ),
}
