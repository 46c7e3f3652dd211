"""The store: what goes in comes out, and half a cohort is never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scan_files import AFFINE

from heatproof.cohorts.store import Cohort, RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.errors import IntakeError
from heatproof.files import sha256_of, sha256_of_array
from heatproof.geometry import Grid

GRIDS = [
    Grid((12,), None, (2.0,), "ms"),
    Grid((5, 4), None, (1.0, 1.0), "pixel"),
    Grid((4, 3, 5), AFFINE),
]


def scan(grid: Grid, number: int, **extra: object) -> RawScan:
    values = np.random.default_rng(number).normal(size=(2, *grid.shape)).astype(np.float32)
    return RawScan(values, grid, **extra)


def row(number: int) -> dict[str, object]:
    return {
        "site": "A",
        "scan_id": f"00{number}",
        "participant_id": f"0{number}",
        "diagnosis": "HC" if number else "AD",
        "target": int(not number),
        "age": 60.5 if number else np.nan,
    }


@pytest.mark.parametrize("grid", GRIDS, ids=["signal", "image", "volume"])
def test_round_trip(tmp_path: Path, grid: Grid) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(grid.shape) > 0.3
    atlas = rng.integers(0, 70000, grid.shape)
    source = Source(grid, [], mask=mask, atlas=atlas, template=mask * 2.0, label_names={1: "one"})
    truth = rng.random(grid.shape)
    path = tmp_path / "cohort.h5"
    with CohortWriter(path, tmp_path / "participants.tsv", source, channels=2) as writer:
        writer.add(row(0), scan(grid, 0, truth=truth))
        writer.add(row(1), scan(grid, 1))
        writer.add(row(2), scan(grid, 2, truth=2 * truth))
    with Cohort(path) as cohort:
        assert cohort.grid.matches(grid)
        assert (cohort.grid.units, cohort.channels, cohort.classes) == (grid.units, 2, ("HC", "AD"))
        assert cohort.scan_ids == ["000", "001", "002"]
        for number, (_, values) in enumerate(cohort.iterate()):
            np.testing.assert_array_equal(values, scan(grid, number).values)
        np.testing.assert_array_equal(cohort.scans(["002", "000"])[0], scan(grid, 2).values)
        np.testing.assert_array_equal(cohort.mask, mask)
        np.testing.assert_array_equal(cohort.atlas, atlas)
        np.testing.assert_array_equal(cohort.labels("001"), atlas)
        np.testing.assert_allclose(cohort.truth("002"), 2 * truth, rtol=1e-6)
        # A scan without an effect has none; it is not missing.
        assert not cohort.truth("001").any()
        assert cohort.label_names == {1: "one"}
        table = cohort.participants
        assert table.columns[:5].tolist() == ["scan_id", "participant_id", "diagnosis", "target", "age"]
        assert table["participant_id"].tolist() == ["00", "01", "02"]
        assert np.isnan(table.loc["000", "age"])
        assert table.loc["001", "image_sha256"] == sha256_of_array(scan(grid, 1).values)
        if grid.affine is not None:
            np.testing.assert_array_equal(cohort.grid.affine, AFFINE)
    assert ".h5" in path.name and "n/a" in (tmp_path / "participants.tsv").read_text()


def test_same_scans_same_bytes(tmp_path: Path) -> None:
    grid = GRIDS[2]
    for name in ("one", "two"):
        folder = tmp_path / name
        with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", Source(grid, []), 2) as writer:
            for number in range(3):
                writer.add(row(number), scan(grid, number))
    for file in ("cohort.h5", "participants.tsv"):
        assert sha256_of(tmp_path / "one" / file) == sha256_of(tmp_path / "two" / file)


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    grid = GRIDS[2]
    with (
        pytest.raises(RuntimeError, match="interrupted"),
        CohortWriter(tmp_path / "cohort.h5", tmp_path / "participants.tsv", Source(grid, []), 2) as writer,
    ):
        writer.add(row(0), scan(grid, 0))
        raise RuntimeError("interrupted")
    assert list(tmp_path.iterdir()) == []


def test_unknown_scan(tmp_path: Path) -> None:
    grid = GRIDS[0]
    with CohortWriter(tmp_path / "cohort.h5", tmp_path / "participants.tsv", Source(grid, []), 2) as writer:
        writer.add(row(0), scan(grid, 0))
    with Cohort(tmp_path / "cohort.h5") as cohort:
        assert cohort.truth("000") is None
        assert cohort.labels("000") is None
        with pytest.raises(IntakeError, match="scan-x"):
            cohort.scan("scan-x")
