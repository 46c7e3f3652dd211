from __future__ import annotations

import math

import numpy as np
import pytest

from heatproof.errors import GeometryError
from heatproof.metrics.location import edge_share, outside_brain
from heatproof.metrics.space import RankedMap, Space


def ball(n_axes: int, length: int = 15, radius: float = 5.0) -> np.ndarray:
    axes = np.indices((length,) * n_axes) - length // 2
    return np.sqrt((axes**2).sum(axis=0)) <= radius


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_share_outside_is_known(n_axes):
    mask = ball(n_axes)
    space = Space(mask, (1.0,) * n_axes)
    heatmap = np.where(mask, -3.0 / mask.sum(), 1.0 / (~mask).sum())
    assert outside_brain(RankedMap.of(heatmap, space), space) == pytest.approx(0.25)
    assert outside_brain(RankedMap.of(np.where(mask, heatmap, 0), space), space) == 0
    assert outside_brain(RankedMap.of(np.where(mask, 0, heatmap), space), space) == pytest.approx(1)


def test_the_shell_is_as_thick_as_asked_in_mm_on_unequal_steps():
    mask = np.zeros((20, 20), bool)
    mask[4:16, 4:16] = True
    shell = np.zeros_like(mask)
    shell[mask] = Space(mask, (1.0, 4.0), edge=4.0).shell
    # Four voxels of 1 mm along the first axis, one of 4 mm along the second.
    assert shell[4:8, 10].all() and not shell[8:12, 5:15].any()
    assert shell[10, 4] and not shell[10, 5]


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_the_shell_is_never_empty_and_the_border_of_the_grid_is_an_edge(n_axes):
    space = Space(np.ones((7,) * n_axes, bool), (5.0,) * n_axes, edge=0.1)
    shell = np.zeros((7,) * n_axes, bool)
    shell[space.mask] = space.shell
    core = tuple(slice(1, -1) for _ in range(n_axes))
    assert not shell[core].any()
    assert shell.sum() == 7**n_axes - 5**n_axes


def test_edge_share_is_known_and_ignores_sign_and_outside():
    mask = ball(3)
    space = Space(mask, (2.0, 2.0, 2.0), edge=2.0)
    heatmap = np.full(mask.shape, 50.0)
    inside = np.where(space.shell, -3.0 / space.shell.sum(), 1.0 / (~space.shell).sum())
    heatmap[mask] = inside
    assert edge_share(RankedMap.of(heatmap, space), space) == pytest.approx(0.75)


def test_an_empty_map_gives_the_share_of_the_voxels_and_nan_stays():
    mask = ball(2)
    space = Space(mask, (1.0, 1.0))
    empty = RankedMap.of(np.zeros(mask.shape), space)
    assert outside_brain(empty, space) == pytest.approx(1 - mask.mean())
    assert edge_share(empty, space) == pytest.approx(space.shell.mean())
    spoiled = np.zeros(mask.shape)
    spoiled[0, 0] = np.nan
    assert math.isnan(outside_brain(RankedMap.of(spoiled, space), space))
    spoiled[7, 7] = np.inf
    assert math.isnan(edge_share(RankedMap.of(spoiled, space), space))


def test_steps_must_fit_the_axes():
    with pytest.raises(GeometryError, match="one step per axis"):
        Space(np.ones((3, 3), bool), (1.0,))
