"""Overlapping segments of a scan at several levels of detail, and which of them each voxel lies in."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first used

from .merging import merged_segments

# The reference implementation's scales and least size belong to images of this size, and images are segmented at
# it. In signals and volumes the least size is the same share of the grid.
IMAGE_SIZE = (224, 224)
IMAGE_VOXELS = IMAGE_SIZE[0] * IMAGE_SIZE[1]
MIN_SIZE = 150
SIGMA = 0.8
# The share of the range of values that weighs as much as the width of a supervoxel. Of .01, .03, .1 and .3 the last
# two follow the labelled areas of OASIS brains most closely, at 4 and at 2 mm.
COMPACTNESS = 0.1


@dataclass(frozen=True)
class Segments:
    """Overlapping segments of a grid.

    Attributes
    ----------
    members : array of int, shape (M,)
        Voxels of the first segment in ascending order, then those of the second, and so on.
    bounds : array of int, shape (n_segments + 1,)
        Where each segment begins in `members`.
    n_voxels : int
        Voxels of the grid.
    """

    members: np.ndarray
    bounds: np.ndarray
    n_voxels: int

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def voxels(self, segment: int) -> np.ndarray:
        """Return the voxels of a segment in ascending order."""
        return self.members[self.bounds[segment] : self.bounds[segment + 1]]

    @functools.cached_property
    def by_voxel(self) -> tuple[np.ndarray, np.ndarray]:
        """The same by voxel: the segments of voxel v are ``owners[starts[v]:starts[v + 1]]``."""
        ones = np.ones(len(self.members), np.int8)
        table = scipy.sparse.csr_matrix((ones, self.members, self.bounds), shape=(len(self), self.n_voxels)).tocsc()
        return table.indices, table.indptr


def scan_segments(scan: np.ndarray, kind: str, levels: Sequence[float], radius: int) -> Segments:
    """Return the segments of a scan at all levels, each dilated.

    Parameters
    ----------
    scan : array, shape (C, *S)
        One to three space axes.
    kind : {"felzenszwalb", "slic"}
        See `xrai`.
    levels : sequence of numbers
        Scales of felzenszwalb, numbers of supervoxels of slic.
    radius : int
        How far segments reach beyond their edge, in voxels.
    """
    values = unit_range(scan)
    if kind == "felzenszwalb":
        labels = graph_levels(values, levels)
    else:
        labels = [supervoxels(values, int(number)) for number in levels]
    members = [voxels for level in labels for voxels in dilated(level, radius)]
    bounds = np.cumsum([0, *map(len, members)])
    return Segments(np.concatenate(members), bounds, labels[0].size)


def unit_range(scan: np.ndarray) -> np.ndarray:
    """Return a scan with channels last and its values, over all channels together, from -1 to 1.

    Any change of offset and unit is undone by this, so that normalised scans have the segments of raw ones.
    """
    least, most = scan.min(), scan.max()
    values = np.moveaxis(scan, 0, -1)
    if least == most:
        return np.zeros_like(values)
    return (values - least) / (most - least) * 2.0 - 1.0


def graph_levels(values: np.ndarray, scales: Sequence[float]) -> list[np.ndarray]:
    """Return the labels by Felzenszwalb and Huttenlocher at each scale; images are segmented at 224 x 224."""
    shape = values.shape[:-1]
    if len(shape) != len(IMAGE_SIZE):
        least = max(1, round(MIN_SIZE * np.prod(shape) / IMAGE_VOXELS))
        return merged_segments(values, scales, least, SIGMA)
    from skimage.transform import resize  # imported where it is needed: it takes half a second

    sized = resize(values, IMAGE_SIZE, order=3, mode="constant", preserve_range=True, anti_aliasing=True)
    back = functools.partial(resize, order=0, mode="constant", preserve_range=True, anti_aliasing=False)
    return [back(labels, shape).astype(int) for labels in merged_segments(sized, scales, MIN_SIZE, SIGMA)]


def supervoxels(values: np.ndarray, number: int) -> np.ndarray:
    """Return the labels of about `number` compact, connected supervoxels (SLIC, Achanta et al. 2012)."""
    shape, n_channels = values.shape[:-1], values.shape[-1]
    n_voxels = int(np.prod(shape))
    if number >= n_voxels:
        return np.arange(n_voxels).reshape(shape)
    from skimage.segmentation import slic  # imported where it is needed: it takes half a second

    volume = values.reshape(*[1] * (3 - len(shape)), *values.shape)
    labels = slic(
        volume,
        n_segments=number,
        compactness=COMPACTNESS * n_channels**0.5,  # channels add up in the distance of two voxels
        sigma=[0.0 if length == 1 else SIGMA for length in volume.shape[:3]],
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    return np.asarray(labels).reshape(shape)


def dilated(labels: np.ndarray, radius: int) -> Iterator[np.ndarray]:
    """Yield the voxels within `radius` of each segment in ascending order, label by label.

    Each segment is looked at inside its bounding box only.
    """
    indices = np.arange(labels.size).reshape(labels.shape)
    for label, box in enumerate(scipy.ndimage.find_objects(labels + 1)):
        if box is None:
            continue
        wide = tuple(slice(max(0, side.start - radius), side.stop + radius) for side in box)
        inside = labels[wide] == label
        if radius:
            inside = scipy.ndimage.distance_transform_edt(~inside) <= radius
        yield indices[wide][inside]
