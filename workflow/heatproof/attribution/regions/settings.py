"""Parameters of XRAI: checked, and with what goes with the number of space axes where they are left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ConfigError
from ..registry import choice, whole_number

ALGORITHMS = ("full", "fast")
SEGMENTATIONS = ("felzenszwalb", "slic")
CHANNELS = ("maximum", "sum")
# Scales of felzenszwalb and numbers of supervoxels of slic, all used together. Along a signal no way leads around
# a costly edge, as it does in an image, so that its segments are smaller at the same scale: of an ECG of 10 s these
# make about 20 to 100, at 100 Hz and at 500 Hz.
SCALES = (50, 100, 150, 250, 500, 1200)
SIGNAL_SCALES = (5, 15, 50, 150, 500, 1200)
SUPERVOXELS = (50, 100, 200, 400, 800)
# Segments of signals and volumes have to add one voxel in so many.
ONE_IN = 3000


@dataclass(frozen=True)
class Settings:
    """How a scan is cut into segments and how these are ranked; see `xrai` for each."""

    channels: str
    segmentation: str
    levels: Sequence[float]
    dilation_radius: int
    algorithm: str
    area_threshold: float
    min_pixel_diff: int


def checked_settings(
    n_axes: int,
    n_voxels: int,
    channels: str | None,
    segmentation: str | None,
    levels: Sequence[float] | None,
    dilation_radius: int | None,
    algorithm: str,
    area_threshold: float,
    min_pixel_diff: int | None,
) -> Settings:
    """Return the settings for scans of so many axes and voxels.

    Raises
    ------
    ConfigError
        A parameter out of its range.
    """
    is_image = n_axes == 2  # images have the numbers of the reference implementation
    kind = choice(segmentation or ("slic" if n_axes > 2 else "felzenszwalb"), SEGMENTATIONS, "segmentation")
    radius = (5 if is_image else 1) if dilation_radius is None else dilation_radius
    least = (50 if is_image else max(1, n_voxels // ONE_IN)) if min_pixel_diff is None else min_pixel_diff
    if not 0 <= area_threshold <= 1:
        raise ConfigError(
            f"The area threshold is {area_threshold}.", field="area_threshold", remedy="Use a share, from 0 to 1."
        )
    return Settings(
        channels=choice(channels or ("maximum" if is_image else "sum"), CHANNELS, "channels"),
        segmentation=kind,
        levels=default_levels(kind, n_axes) if levels is None else checked_levels(levels, kind),
        dilation_radius=whole_number(radius, 0, "dilation_radius"),
        algorithm=choice(algorithm, ALGORITHMS, "algorithm"),
        area_threshold=area_threshold,
        min_pixel_diff=whole_number(least, 1, "min_pixel_diff"),
    )


def default_levels(kind: str, n_axes: int) -> Sequence[float]:
    """Return the levels of detail that a kind of segmentation has where none are given."""
    if kind == "slic":
        return SUPERVOXELS
    return SIGNAL_SCALES if n_axes == 1 else SCALES


def checked_levels(levels: Sequence[float], kind: str) -> Sequence[float]:
    """Return the levels of detail, or raise a ConfigError where there are none or one is no scale or number."""
    is_whole = kind == "slic"
    allowed = int if is_whole else (int, float)
    if (
        not isinstance(levels, (list, tuple))
        or not levels
        or not all(isinstance(level, allowed) and not isinstance(level, bool) and level > 0 for level in levels)
    ):
        raise ConfigError(
            f"{levels!r} are no levels of {kind}.",
            field="levels",
            remedy=f"List {'numbers of supervoxels (whole numbers)' if is_whole else 'scales'} above 0.",
        )
    return levels
