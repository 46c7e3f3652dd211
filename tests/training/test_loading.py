"""Loading: each scan normalised by itself, memory within its limit, every read on record."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heatproof.errors import ConfigError, IntakeError
from heatproof.files import sha256_of_array
from heatproof.training import ScanLoader, normalise
from heatproof.training.intensity import rescaled
from heatproof.training.loading import read_ahead


class CountingStore:
    """Scans in memory that count how often each is read."""

    channels = 1

    def __init__(self, n_scans: int = 6, shape: tuple[int, ...] = (16, 16)) -> None:
        random = np.random.default_rng(0)
        self.values = {f"s{i}": random.normal(5, 2, (1, *shape)).astype(np.float32) for i in range(n_scans)}
        self.mask = np.zeros(shape, bool)
        self.mask[2:9] = True
        self.counts = dict.fromkeys(self.values, 0)

    def scan(self, scan_id: str) -> np.ndarray:
        self.counts[scan_id] += 1
        return self.values[scan_id]


@pytest.mark.parametrize("shape", [(40,), (9, 8), (7, 6, 5)])
def test_zscore_has_mean_zero_and_deviation_one_inside_the_mask_and_zero_outside(shape):
    random = np.random.default_rng(1)
    scan, mask = random.normal(100, 7, (2, *shape)), random.random(shape) < 0.5
    result = normalise(scan, mask, "zscore")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, mask].mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(result[:, mask].std(axis=1), 1, atol=1e-5)
    assert (result[:, ~mask] == 0).all()


def test_zscore_does_not_see_values_outside_the_mask():
    scan, mask = np.random.default_rng(2).normal(size=(1, 9, 8)), np.eye(9, 8, dtype=bool)
    other = np.where(mask, scan, 1e6)
    np.testing.assert_array_equal(normalise(scan, mask, "zscore"), normalise(other, mask, "zscore"))


def test_minmax_spans_zero_to_one_over_the_whole_channel_and_none_changes_nothing():
    scan, mask = np.random.default_rng(3).normal(size=(2, 9, 8)), np.zeros((9, 8), bool)
    result = normalise(scan, mask, "minmax")
    np.testing.assert_allclose([result.min(axis=(1, 2)), result.max(axis=(1, 2))], [[0, 0], [1, 1]], atol=1e-6)
    np.testing.assert_array_equal(normalise(scan, mask, "none"), scan.astype(np.float32))


@pytest.mark.parametrize("kind", ["zscore", "minmax", "none"])
def test_zero_intensity_is_what_a_voxel_of_zero_became_in_that_scan(kind):
    store = CountingStore()
    for values in store.values.values():
        values[0, 2, 0] = 0.0
    loader = ScanLoader(store, kind)
    scans, zeros = loader.batch(["s0", "s1"]), loader.zero_intensity(["s0", "s1"])
    inside = torch.from_numpy(store.mask)
    assert zeros.shape == scans.shape and zeros.dtype == torch.float32
    for scan, zero in zip(scans, zeros, strict=True):
        assert zero[0, inside].unique().tolist() == [float(scan[0, 2, 0])]
    if kind == "zscore":
        assert (zeros[:, 0, inside] < -1).all() and (zeros[:, 0, ~inside] == 0).all()
    assert dict(loader.reads["test"]) == {"s0": 2, "s1": 2}


@pytest.mark.parametrize("kind", ["zscore", "minmax", "none"])
def test_a_changed_scan_is_put_on_the_scale_of_the_scan_itself(kind):
    """What was not changed keeps its value, however large the change."""
    scan, mask = np.random.default_rng(3).normal(5, 2, (1, 9, 8)), np.ones((9, 8), bool)
    changed = scan.copy()
    changed[0, :4] += 100
    before, after = normalise(scan, mask, kind), rescaled(changed, scan, mask, kind, None)
    np.testing.assert_allclose(after[0, 4:], before[0, 4:], atol=1e-6)
    scale = {"zscore": scan.std(), "minmax": np.ptp(scan), "none": 1.0}[kind]
    np.testing.assert_allclose((after - before)[0, :4], 100 / scale, rtol=1e-5)


def test_zero_intensity_after_minmax_is_zero_where_the_darkest_voxel_is():
    store = CountingStore()
    for values in store.values.values():
        values -= values.min()
    assert (ScanLoader(store, "minmax").zero_intensity(["s0", "s3"]) == 0).all()


def test_a_constant_scan_is_named():
    store = CountingStore()
    store.values["s3"][:, store.mask] = 7
    with pytest.raises(IntakeError, match="scan s3: intensity: channel 0 is constant"):
        ScanLoader(store).batch(["s1", "s3"])


def test_an_unknown_normalisation_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="zscore, minmax or none"):
        normalise(np.zeros((1, 4)), np.ones(4, bool), "robust")


def test_cached_scans_are_read_once_and_what_does_not_fit_is_read_again():
    store = CountingStore()
    scans_in_cache = 2
    loader = ScanLoader(store, cache_megabytes=scans_in_cache * 16 * 16 * 4 / 2**20)
    first = loader.batch(store.values)
    second = loader.batch(store.values)
    assert torch.equal(first, second)
    assert sorted(store.counts.values()) == [1, 1, 2, 2, 2, 2]
    assert sum(tensor.nbytes for tensor in loader._cache.values()) <= scans_in_cache * 16 * 16 * 4


def test_every_read_is_on_record_by_part_with_the_digest_of_what_was_read():
    store = CountingStore()
    loader = ScanLoader(store)
    loader.batch(["s0", "s1"], "train")
    list(loader.batches(["s1", "s4"], 1, "validation"))
    assert {part: dict(counts) for part, counts in loader.reads.items()} == {
        "train": {"s0": 1, "s1": 1},
        "validation": {"s1": 1, "s4": 1},
    }
    assert loader.hashes == {name: sha256_of_array(store.values[name]) for name in ("s0", "s1", "s4")}


def test_batches_keep_the_order_and_lose_no_scan():
    store = CountingStore(7)
    loader = ScanLoader(store)
    names, batches = zip(*loader.batches(list(store.values), 3), strict=True)
    assert sum(names, []) == list(store.values)
    assert torch.equal(torch.cat(batches), loader.batch(store.values))


def test_an_error_while_reading_ahead_reaches_the_reader():
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise IntakeError("broken.")
        return number

    ahead = read_ahead(fail_at_two, [0, 1, 2, 3])
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(IntakeError, match="broken"):
        next(ahead)
