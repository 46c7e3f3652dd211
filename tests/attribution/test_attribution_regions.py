"""XRAI: its segments, the order they are taken in, what it does at the limits, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from attribution.evidence.regions import SCALES, greedy
from attribution.networks import SIZE, convolutional, scans
from heatproof.attribution import attribute, attribute_with_residual
from heatproof.attribution.regions.growing import grown_by_gain, grown_in_order
from heatproof.attribution.regions.merging import merged_segments
from heatproof.attribution.regions.segments import Segments, dilated, scan_segments, supervoxels, unit_range
from heatproof.attribution.regions.settings import default_levels
from heatproof.errors import ConfigError, UnsupportedModelError

GRID = {1: (200,), 2: (40, 44), 3: (16, 15, 14)}
# Half-open ranges of a bright box on each grid.
BOX = {1: (slice(60, 90),), 2: (slice(8, 20), slice(10, 24)), 3: (slice(3, 9), slice(4, 10), slice(5, 11))}
SMALL = {"min_pixel_diff": 3, "dilation_radius": 0}


def boxed(n_axes: int, height: float = 5.0, noise: float = 0.1) -> torch.Tensor:
    """Return one scan with a bright box, shape (1, 1, *S)."""
    scan = noise * torch.randn(1, 1, *GRID[n_axes], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    scan[(0, 0, *BOX[n_axes])] += height
    return scan


class BoxNetwork(nn.Module):
    """Two classes: the rectified sum over the box, and minus it."""

    def __init__(self, n_axes: int) -> None:
        super().__init__()
        self.box = BOX[n_axes]
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        inside = torch.relu(self.scale * inputs[(slice(None), slice(None), *self.box)]).flatten(1).sum(1)
        return torch.stack([inside, -inside], 1)


@pytest.mark.parametrize("algorithm", ["full", "fast"])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_planted_box_is_on_top_and_negative_for_the_other_class(n_axes, algorithm):
    options = {**SMALL, "n_steps": 5, "baseline": "zero", "algorithm": algorithm}
    for target, sign in ((0, 1), (1, -1)):
        heatmap = sign * attribute("xrai", BoxNetwork(n_axes), boxed(n_axes), target, **options)[0, 0]
        inside = torch.zeros(GRID[n_axes], dtype=torch.bool)
        inside[BOX[n_axes]] = True
        assert heatmap[inside].mean() > 10 * heatmap[~inside].abs().mean()
        top = heatmap >= heatmap.flatten().sort(descending=True).values[int(inside.sum()) - 1]
        assert (top & inside).sum() > 0.8 * inside.sum()
        assert heatmap[inside].min() > 0


@pytest.mark.parametrize("shape", [(40,), (8, 9), (4, 5, 6)])
def test_each_region_is_taken_whole_with_its_mean(shape):
    labels = np.zeros(shape, int)
    labels[1:3], labels[3:] = 1, 2
    base = np.random.default_rng(0).normal(size=shape)
    members = list(dilated(labels, 0))
    segments = Segments(np.concatenate(members), np.cumsum([0, *map(len, members)]), labels.size)
    for found in (grown_by_gain(base.ravel(), segments, 1, 1.0), grown_in_order(base.ravel(), segments, 1)):
        for label in range(3):
            np.testing.assert_allclose(found.reshape(shape)[labels == label], base[labels == label].mean())


def random_segments(seed: int, n_voxels: int = 80) -> Segments:
    """Return overlapping segments, some of them twice."""
    random = np.random.default_rng(seed)
    sets = [np.flatnonzero(random.random(n_voxels) < share) for share in random.uniform(0.05, 0.4, 12)]
    sets = [each for each in [*sets, sets[0], sets[3]] if len(each)]
    return Segments(np.concatenate(sets), np.cumsum([0, *map(len, sets)]), n_voxels)


def masks_of(segments: Segments) -> list[np.ndarray]:
    masks = np.zeros((len(segments), segments.n_voxels), bool)
    for segment, mask in enumerate(masks):
        mask[segments.voxels(segment)] = True
    return list(masks)


@pytest.mark.parametrize("seed", range(30))
def test_growing_equals_densities_computed_anew_also_where_they_are_equal(seed):
    """Whole numbers make many densities the very same; of parts of ten rounding makes the order, as in the peer."""
    segments, random = random_segments(seed), np.random.default_rng(seed)
    halves = np.where(np.arange(80) < 40, 0.1, 0.3)
    for attribution in (random.integers(-1, 2, 80).astype(float), random.normal(size=80), np.zeros(80), halves):
        for least in (1, 4, 30):
            found = grown_by_gain(attribution, segments, least, 1.0)
            np.testing.assert_array_equal(found, greedy(attribution, masks_of(segments), least))
            assert found.sum() == pytest.approx(attribution.sum(), abs=1e-10)


@pytest.mark.parametrize("seed", range(10))
def test_fast_order_is_that_of_the_segments_own_densities(seed):
    segments, attribution = random_segments(seed), np.random.default_rng(seed).normal(size=80)
    masks = masks_of(segments)
    covered, expected = np.zeros(80, bool), np.zeros(80)
    for mask in sorted(masks, key=lambda mask: -attribution[mask].mean()):
        added = mask & ~covered
        if added.sum() >= 4:
            expected[added] = attribution[added].mean()
            covered |= mask
    expected[~covered] = attribution[~covered].mean()
    np.testing.assert_allclose(grown_in_order(attribution, segments, 4), expected, atol=1e-14)


def test_area_grows_with_its_threshold_and_the_order_stays():
    """What a lower threshold takes, a higher one takes first and alike; the rest has its mean."""
    scan = boxed(2)
    base = torch.randn(scan.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    options = {"base": base, "min_pixel_diff": 5, "dilation_radius": 2}
    whole = attribute("xrai", BoxNetwork(2), scan, 0, **options)[0, 0]
    before = torch.zeros_like(whole, dtype=torch.bool)
    for threshold in (0.0, 0.1, 0.3, 0.6):
        part = attribute("xrai", BoxNetwork(2), scan, 0, area_threshold=threshold, **options)[0, 0]
        same = part == whole
        assert same.float().mean() > threshold and bool((before <= same).all())
        assert len(part[~same].unique()) == 1
        torch.testing.assert_close(part.sum(), base.sum())
        before = same


@pytest.mark.parametrize("shape", [(80,), (30, 41), (13, 11, 12)])
@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_segments_reach_beyond_their_edge_as_by_a_ball(shape, radius):
    from skimage.morphology import dilation

    labels = np.random.default_rng(0).integers(0, 4, shape).cumsum(0) // 25
    labels[labels == 1] = 7  # labels may be missing
    offsets = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * len(shape), indexing="ij"))
    ball = (offsets**2).sum(0) <= radius**2
    found = list(dilated(labels, radius))
    assert len(found) == len(np.unique(labels))
    for label, voxels in zip(np.unique(labels), found, strict=True):
        np.testing.assert_array_equal(voxels, np.flatnonzero(dilation(labels == label, ball)))


@pytest.mark.filterwarnings("ignore:Got image with third dimension")
@pytest.mark.parametrize("channels", [1, 3, 12])
def test_graph_based_segments_are_those_of_scikit_image(channels):
    from skimage.segmentation import felzenszwalb

    random = np.random.default_rng(2)
    smooth = random.normal(size=(60, 50, channels)).cumsum(0).cumsum(1)
    # no two blocks differ by the same amount: among ties scikit-image sorts by what the processor does
    tones = random.normal(size=(12, 10, channels)).repeat(5, 0).repeat(5, 1)
    for image in (smooth / np.abs(smooth).max(), tones, np.zeros((60, 50, channels)), smooth[:1], smooth[:, :1]):
        for least in (1, 30):
            found = merged_segments(image, SCALES, least, 0.8)
            for labels, scale in zip(found, SCALES, strict=True):
                np.testing.assert_array_equal(labels, felzenszwalb(image, scale, 0.8, least, channel_axis=-1))
            if image.shape[0] == 1:  # a signal is an image of one row
                for labels, one in zip(found, merged_segments(image[0], SCALES, least, 0.8), strict=True):
                    np.testing.assert_array_equal(labels[0], one)


def test_graph_based_segments_of_a_volume_of_one_slice_are_those_of_the_image():
    image = np.random.default_rng(2).normal(size=(30, 31, 2)).cumsum(0)
    flat = merged_segments(image, SCALES, 10, 0.8)
    for slot in (0, 1, 2):
        volume = merged_segments(np.expand_dims(image, slot), SCALES, 10, 0.8)
        for labels, one in zip(flat, volume, strict=True):
            np.testing.assert_array_equal(labels, one.squeeze(slot))


@pytest.mark.parametrize(("n_axes", "kind"), [(1, "felzenszwalb"), (1, "slic"), (2, "felzenszwalb"), (3, "slic")])
def test_a_normalised_scan_has_the_segments_of_the_raw_one(n_axes, kind):
    scan = scans(n_axes, 1)[0].numpy()
    raw, scaled = (scan_segments(each, kind, default_levels(kind, n_axes), 1) for each in (scan, scan * 37.5 - 11))
    np.testing.assert_array_equal(raw.members, scaled.members)


def test_channels_are_features_and_never_colours():
    values = unit_range(np.random.default_rng(1).normal(size=(3, 14, 12, 10)).cumsum(1))
    np.testing.assert_array_equal(supervoxels(values, 40), supervoxels(values[..., ::-1], 40))


def test_supervoxels_are_connected():
    cubes = np.random.default_rng(1).integers(0, 2, (6, 5, 5)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    labels = supervoxels(unit_range(cubes[None].astype(float)), 40)
    assert 10 < len(np.unique(labels)) < 60
    assert all(ndimage.label(labels == label)[1] == 1 for label in np.unique(labels))


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1), (2, 1, 3), (1, 2), (5, 1)])
@pytest.mark.parametrize("kind", ["felzenszwalb", "slic"])
def test_the_smallest_grids_and_constant_scans_have_segments(shape, kind):
    for scan in (np.zeros((2, *shape)), np.random.default_rng(0).normal(size=(2, *shape))):
        segments = scan_segments(scan, kind, default_levels(kind, len(shape)), 1)
        assert set(segments.members) == set(range(int(np.prod(shape))))


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1)])
def test_a_scan_of_one_voxel_has_its_integrated_gradients(shape):
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).double()
    scan = torch.full((1, 1, *shape), 0.7, dtype=torch.float64)
    options = {"baseline": "zero", "n_steps": 3}
    found = attribute("xrai", model, scan, 1, **options)
    torch.testing.assert_close(found, attribute("integrated_gradients", model, scan, 1, **options))
    # from its own least and largest value a constant scan has no way to go
    assert attribute("xrai", model, scan, 1, n_steps=3).abs().max() == 0


def test_residual_is_that_of_the_integrated_gradients():
    for n_axes, channels in ((1, None), (2, "sum"), (3, "sum")):
        model, inputs = convolutional(n_axes), scans(n_axes)
        result = attribute_with_residual("xrai", model, inputs, 1, n_steps=60, channels=channels)
        rise = 0.0
        with torch.no_grad():
            for end in (inputs.flatten(1).amin(1), inputs.flatten(1).amax(1)):
                begin = end.reshape(-1, 1, *[1] * n_axes).expand_as(inputs)
                rise = rise + (model(inputs) - model(begin))[:, 1] / 2
        torch.testing.assert_close(result.residual, result.maps.flatten(1).sum(1) - rise)
        assert result.residual.abs().max() < 0.2 * rise.abs().max()
    assert attribute_with_residual("xrai", convolutional(2), scans(2), 1, n_steps=2).residual.isnan().all()


def test_channels_are_summed_or_their_maximum_is_taken():
    model, inputs = convolutional(2), scans(2)
    base = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    options = {"min_pixel_diff": 3, "dilation_radius": 1, "batch_size": 3}
    for channels, reduced in (("maximum", base.amax(1)), ("sum", base.sum(1))):
        found = attribute("xrai", model, inputs, 1, base=base, channels=channels, **options)
        torch.testing.assert_close(found, attribute("xrai", model, inputs, 1, base=reduced[:, None], **options))
    torch.testing.assert_close(
        attribute("xrai", model, inputs, 1, base=base, **options),
        attribute("xrai", model, inputs, 1, base=base, channels="maximum", **options),
    )


@pytest.mark.parametrize("baseline", ["zero", "control_mean", "blurred", "tensor"])
def test_the_ways_begin_where_those_of_integrated_gradients_do(baseline):
    model, inputs, mean = convolutional(2), scans(2), scans(2, 1, seed=7)[0]
    more = {"baseline": mean if baseline == "tensor" else baseline, "control_mean": mean, "n_steps": 4}
    base = attribute("integrated_gradients", model, inputs, 1, rule="middle", **more)
    expected = attribute("xrai", model, inputs, 1, base=base, batch_size=3, min_pixel_diff=3)
    torch.testing.assert_close(attribute("xrai", model, inputs, 1, min_pixel_diff=3, **more), expected)


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ({"baseline": "black"}, "black_and_white"),
        ({"n_steps": 0}, "1 or more"),
        ({"base": torch.zeros(3, 2, 4, 4)}, "grid"),
        ({"base": torch.zeros(2, 2, *SIZE[2])}, "one for all scans"),
        ({"base": torch.full((3, 2, *SIZE[2]), torch.nan)}, "finite"),
        ({"base": "lrp"}, "grid"),
        ({"channels": "mean"}, "maximum, sum"),
        ({"segmentation": "watershed"}, "felzenszwalb, slic"),
        ({"levels": []}, "above 0"),
        ({"levels": 50}, "above 0"),
        ({"levels": [50, -1]}, "above 0"),
        ({"segmentation": "slic", "levels": [2.5]}, "whole numbers"),
        ({"dilation_radius": -1}, "from 0"),
        ({"dilation_radius": 1.5}, "from 0"),
        ({"algorithm": "slow"}, "full, fast"),
        ({"area_threshold": 1.5}, "from 0 to 1"),
        ({"min_pixel_diff": 0}, "from 1"),
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_refused(parameters, part):
    with pytest.raises(ConfigError) as caught:
        attribute("xrai", convolutional(2), scans(2), 1, **({"n_steps": 1, "batch_size": 3} | parameters))
    assert caught.value.field == next(iter(reversed(parameters))) and part in f"{caught.value.remedy}"


def test_gradients_that_are_not_finite_are_refused():
    class Root(nn.Module):
        def forward(self, inputs):
            return (inputs - inputs).sqrt().flatten(1).sum(1)

    with pytest.raises(UnsupportedModelError, match="not finite"):
        attribute("xrai", Root(), scans(2), n_steps=1)


def peer_map(scan: np.ndarray, base: np.ndarray, **options) -> np.ndarray:
    """Return the map of PAIR saliency for a scan and a base map with channels last, or of two axes."""
    xrai = pytest.importorskip("saliency.core.xrai", reason="saliency is not installed")
    parameters = xrai.XRAIParameters(**options)
    return xrai.XRAI().GetMask(scan, None, base_attribution=base, extra_parameters=parameters)


@pytest.mark.parametrize("options", [{}, {"algorithm": "fast"}, {"area_threshold": 0.2}], ids=str)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((224, 224), torch.float64), ((96, 70, 3), torch.float32), ((90, 130, 1), torch.float32)],
    ids=str,
)
def test_images_have_the_map_of_the_reference_implementation(shape, dtype, options):
    random = np.random.default_rng(5)
    smooth = torch.from_numpy(random.normal(size=shape).cumsum(0).cumsum(1)).to(dtype)
    smooth[20:50, 10:40] = smooth.max()
    base = torch.from_numpy(random.normal(size=shape).cumsum(0))
    expected = peer_map(smooth.numpy(), base.numpy(), **options)
    scan, first = ((each[..., None] if each.ndim == 2 else each).movedim(-1, 0)[None] for each in (smooth, base))
    found = attribute("xrai", nn.Identity(), scan, 0, base=first, **options)
    assert len(np.unique(expected)) > 5
    # in the type of the scan; the same number for number before that
    assert np.abs(found[0, 0].numpy() - expected).max() <= 1e-6 * np.abs(expected).max()
