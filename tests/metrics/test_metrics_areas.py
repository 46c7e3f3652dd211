from __future__ import annotations

import numpy as np
import pytest

from heatproof.errors import GeometryError
from heatproof.metrics.areas import relevance_by_area


@pytest.mark.parametrize("shape", [(40,), (8, 9), (5, 6, 4)])
def test_sums_and_densities_equal_a_loop(shape):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, *shape)).astype(np.float32)
    labels = rng.choice([0, 3, 127, 128, 200, 2035], size=shape)
    table = relevance_by_area(maps, labels)
    assert len(table) == 3 * 5 and 0 not in set(table["area"])
    for row in table.itertuples():
        values = maps[row.scan][labels == row.area].astype(float)
        assert row.n_voxels == values.size
        assert row.sum == pytest.approx(values.sum(), abs=1e-9)
        assert row.density == pytest.approx(values.mean(), abs=1e-9)


def test_each_scan_may_have_labels_of_its_own():
    maps = np.ones((2, 4, 4))
    labels = np.zeros((2, 4, 4), int)
    labels[0, :2], labels[1, :1] = 7, 7
    assert relevance_by_area(maps, labels)["sum"].tolist() == [8, 4]


def test_lost_areas_stay_as_rows_of_nan():
    maps = np.ones((2, 6))
    labels = np.array([[1, 1, 0, 0, 900, 0], [1, 0, 0, 0, 0, 0]])
    table = relevance_by_area(maps, labels, areas=[1, 5, 900], scan_ids=["a", "b"])
    lost = table.set_index(["scan", "area"])
    assert lost.loc[("a", 5), "n_voxels"] == 0 and np.isnan(lost.loc[("a", 5), "sum"])
    assert np.isnan(lost.loc[("b", 900), "density"])
    assert lost.loc[("a", 900), "sum"] == 1
    assert len(table) == 6


def test_sums_over_all_areas_add_up_to_the_map():
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(2, 7, 7))
    labels = rng.integers(1, 300, (7, 7))
    totals = relevance_by_area(maps, labels).groupby("scan")["sum"].sum()
    np.testing.assert_allclose(totals, maps.sum(axis=(1, 2)))


@pytest.mark.parametrize("labels", [np.zeros((3, 3)), np.full((4, 4), 0.5), np.full((4, 4), -1)])
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(GeometryError, match="labels"):
        relevance_by_area(np.ones((1, 4, 4)), labels)
