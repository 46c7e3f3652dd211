from __future__ import annotations

import numpy as np
import pytest

from heatproof.errors import ConfigError
from heatproof.metrics.smoothing import smooth


@pytest.mark.parametrize("spacing", [(1.0,), (2.0, 1.0), (2.0, 1.0, 1.5)])
def test_a_point_spreads_to_the_asked_width_in_mm_on_every_axis(spacing):
    shape = tuple(int(round(60 / step)) | 1 for step in spacing)
    point = np.zeros(shape)
    centre = tuple(length // 2 for length in shape)
    point[centre] = 1
    blurred = smooth(point, 10.0, spacing)
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    for axis, step in enumerate(spacing):
        others = tuple(a for a in range(len(spacing)) if a != axis)
        line = blurred.sum(axis=others)
        place = (np.arange(line.size) - centre[axis]) * step
        width = 2.3548 * np.sqrt((line * place**2).sum() / line.sum())
        assert width == pytest.approx(10, rel=0.02)


def test_zero_width_changes_nothing_and_leading_axes_are_not_mixed():
    maps = np.random.default_rng(0).normal(size=(3, 8, 9)).astype(np.float32)
    assert smooth(maps, 0, (1.0, 1.0)) is maps
    together = smooth(maps, 3.0, (1.0, 2.0))
    apart = np.stack([smooth(one, 3.0, (1.0, 2.0)) for one in maps])
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize("width", [-1.0, np.nan, np.inf])
def test_impossible_widths_are_refused(width):
    with pytest.raises(ConfigError, match="smoothing_mm"):
        smooth(np.ones((4, 4)), width, (1.0, 1.0))
