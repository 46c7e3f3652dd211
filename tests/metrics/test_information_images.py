"""What information curves show and measure: infills and entropies against loops, scipy and known truths."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import log2

import numpy as np
import pytest
from scipy import interpolate, ndimage

from heatproof.metrics.information.entropies import histogram_bits, lorenzo_information, quantised, webp_bytes
from heatproof.metrics.information.infills import linear, push_pull
from heatproof.metrics.information.revealing import corners, published_start, scattered_start

SHAPES = {1: (37,), 2: (13, 18), 3: (7, 9, 5)}


def push_pull_by_loops(values: dict, weights: dict, shape: tuple[int, ...]) -> dict:
    """Return a value for every cell from cells with weights: pull to half the size, then push back, cell by cell."""
    if max(shape) == 1:
        return values
    half = tuple((length + 1) // 2 for length in shape)
    sums, totals = Counter(), Counter()
    for cell, weight in weights.items():
        above = tuple(place // 2 for place in cell)
        sums[above] += weight * values[cell]
        totals[above] += weight
    means = {cell: sums[cell] / totals[cell] for cell in totals if totals[cell]}
    coarse = push_pull_by_loops(means, {cell: min(1.0, totals[cell]) for cell in means}, half)
    filled = {}
    for cell in product(*map(range, shape)):
        smooth = 0.0
        sides = []
        for place, length, full in zip(cell, half, shape, strict=True):
            # cell centres of the coarse level, at its border the nearest one
            at = min(max((place + 0.5) / 2 - 0.5, 0.0), length - 1.0) if full > 1 else 0.0
            first = int(at)
            sides.append([(first, 1 - (at - first)), (min(first + 1, length - 1), at - first)])
        for corner in product(*sides):
            share = float(np.prod([weight for _, weight in corner]))
            if share:
                smooth += share * coarse[tuple(place for place, _ in corner)]
        own = weights.get(cell, 0.0)
        filled[cell] = own * values.get(cell, 0.0) + (1 - own) * smooth
    return filled


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_push_pull_equals_the_pyramid_by_loops(n_axes):
    random, shape = np.random.default_rng(n_axes), SHAPES[n_axes]
    image = random.normal(size=(2, *shape))
    known = np.stack([random.random(shape) < share for share in (0.05, 0.4)]) | corners(shape)
    filled = push_pull(image, known)
    for row, channel in product(range(2), range(2)):
        values = {tuple(cell): image[channel][tuple(cell)] for cell in np.argwhere(known[row]).tolist()}
        expected = push_pull_by_loops(values, dict.fromkeys(values, 1.0), shape)
        for cell, value in expected.items():
            assert filled[(row, channel, *cell)] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("infill", [push_pull, linear])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_infills_keep_what_is_known_and_the_dtype(n_axes, infill):
    random, shape = np.random.default_rng(0), SHAPES[n_axes]
    for dtype in (np.float32, np.float64, np.uint8):
        image = (255 * random.random((3, *shape))).astype(dtype)
        known = np.stack([random.random(shape) < 0.2, np.ones(shape, bool)]) | corners(shape)
        filled = infill(image, known)
        assert filled.dtype == dtype and np.array_equal(filled[1], image)
        assert np.array_equal(filled[0][:, known[0]], image[:, known[0]])
        # in between, never beyond
        low, high = image[:, known[0]].min(axis=1), image[:, known[0]].max(axis=1)
        inside = filled[0].reshape(3, -1).astype(float)
        assert (inside >= low[:, None] - 1e-4).all() and (inside <= high[:, None] + 1e-4).all()
        assert np.allclose(infill(np.full_like(image, 7), known), 7)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_linear_infill_of_a_plane_is_the_plane(n_axes):
    shape = SHAPES[n_axes]
    plane = sum((axis + 1) * np.indices(shape)[axis] for axis in range(n_axes)).astype(float)[None]
    known = np.random.default_rng(0).random(shape) < 0.1
    np.testing.assert_allclose(linear(plane, known[None])[0], plane, atol=1e-9)


def test_linear_infill_equals_griddata_where_no_four_points_share_a_circle():
    # A block of known pixels (whose inside is left out of the triangulation) and scattered ones: griddata takes all.
    # On a grid some four points share a circle; there the diagonal is a matter of choice, so most pixels must agree.
    random = np.random.default_rng(4)
    image = ndimage.gaussian_filter(random.normal(size=(40, 40)), 2)
    known = (random.random((40, 40)) < 0.05) | corners((40, 40))
    known[10:25, 12:30] = True
    wanted = np.argwhere(~known)
    expected = interpolate.griddata(np.argwhere(known), image[known], wanted, method="linear")
    found = linear(image[None], known[None])[0, 0][~known]
    apart = np.abs(found - expected)
    assert (apart < 1e-9).mean() > 0.9 and apart.max() < np.ptp(image) / 4
    # moved a little off the grid there is no choice
    places = np.argwhere(known)
    inner = ndimage.minimum_filter(known, size=3, mode="constant", cval=True) & ~corners((40, 40))
    shifted = np.indices((40, 40)).transpose(1, 2, 0) + random.normal(0, 1e-4, (40, 40, 2))
    shifted[known & inner] = np.indices((40, 40)).transpose(1, 2, 0)[known & inner]
    kept = known & ~inner
    every = interpolate.griddata(shifted[known], image[known], wanted, method="linear")
    fewer = interpolate.griddata(shifted[kept], image[kept], wanted, method="linear")
    both = ~np.isnan(every) & ~np.isnan(fewer)
    assert len(places) - kept.sum() > 150 and both.mean() > 0.9
    np.testing.assert_allclose(fewer[both], every[both], atol=1e-9)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_lorenzo_information_equals_its_definition_by_loops(n_axes):
    shape = SHAPES[n_axes]
    levels = np.random.default_rng(n_axes).integers(0, 256, (2, 2, *shape)).astype(np.uint8)
    for image, found in zip(levels, lorenzo_information(levels), strict=True):
        total = 0.0
        for channel in image:
            counts: Counter[int] = Counter()
            for cell in product(*map(range, shape)):
                residual = 0
                for step in product((0, 1), repeat=n_axes):
                    place = tuple(a - b for a, b in zip(cell, step, strict=True))
                    if min(place) >= 0:
                        residual += (-1) ** sum(step) * int(channel[place])
                counts[residual] += 1
            n = sum(counts.values())
            total += n * sum(-count / n * log2(count / n) for count in counts.values())
        assert found == pytest.approx(total, rel=1e-12)


def test_information_of_known_images():
    assert lorenzo_information(np.zeros((1, 1, 20, 20), np.uint8))[0] == 0
    # a ramp along both axes: after the border every residual is zero
    ramp = (np.arange(20)[:, None] + np.arange(20)[None]).astype(np.uint8)[None, None]
    noise = np.random.default_rng(0).integers(0, 256, (1, 1, 20, 20)).astype(np.uint8)
    assert lorenzo_information(ramp)[0] < 0.15 * lorenzo_information(noise)[0]
    assert histogram_bits(noise[0]) < 8 and webp_bytes(ramp[0]) < webp_bytes(noise[0])
    # two equally frequent values
    assert histogram_bits(np.array([[[0, 200], [200, 0]]], np.uint8)) == 1.0


def test_levels_of_a_window():
    values = np.array([-9.0, -1.0, 0.0, 1.0, 9.0])
    assert quantised(values, (-1.0, 1.0)).tolist() == [0, 0, 128, 255, 255]
    every = np.arange(256).astype(np.uint8)
    assert np.array_equal(quantised(every, (0, 255)), every)


@pytest.mark.parametrize("shape", [(1000,), (224, 224), (20, 300), (40, 44, 36)])
def test_the_start_is_spread_evenly(shape):
    masks = np.stack([scattered_start(shape, np.random.default_rng(seed)) for seed in range(40)])
    share = masks[0].mean()
    assert 0.007 < share < 0.014 and (masks.sum(axis=tuple(range(1, masks.ndim))) == masks[0].sum()).all()
    assert not np.array_equal(masks[0], masks[1])
    # every half of every axis holds about half of it, in every draw: random draws would spread sqrt(n)
    for axis, length in enumerate(shape, start=1):
        halves = np.take(masks, range(length // 2), axis=axis).sum(axis=tuple(range(1, masks.ndim)))
        assert np.abs(halves / masks[0].sum() - 0.5).max() < 0.12
    # and every voxel can be drawn
    assert masks.mean(axis=0).max() < 0.5
    assert published_start(shape, np.random.default_rng(0)).sum() == int(0.01 * np.prod(shape))
