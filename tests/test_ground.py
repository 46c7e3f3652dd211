"""Files appear whole, random numbers depend on their purpose, grids know where they are, edits are noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from heatproof.errors import GeometryError, HeatproofError
from heatproof.files import atomic, read_table, write_nifti, write_table
from heatproof.geometry import Grid, resample
from heatproof.provenance import PACKAGE, data_state, named_paths, source_digest
from heatproof.randomness import generator, integer_seed

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])


class TestFiles:
    def test_a_failing_writer_leaves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "table.tsv"
        with pytest.raises(RuntimeError), atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []

    def test_an_old_file_stays_until_the_new_one_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "table.tsv"
        path.write_text("old")
        with atomic(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    def test_a_table_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"scan_id": ["001", "002"], "age": [71.25, np.nan], "site": ["A", "B"]})
        write_table(frame, tmp_path / "t.tsv")
        assert "n/a" in (tmp_path / "t.tsv").read_text()
        back = read_table(tmp_path / "t.tsv")
        assert back["scan_id"].tolist() == ["001", "002"]
        assert back["age"].isna().tolist() == [False, True]

    @pytest.mark.parametrize(
        "text",
        [
            "\ufeffscan_id\tage\r\n0012\t70\r\n",
            "scan_id,age\n0012,70\n",
            "scan_id\tage\n0012\t70\n",
            '"scan_id"\t"age"\n0012\t70\n',
            '"scan_id","age"\n"0012","70"\n',
            "scan_id \tage \n0012\t70\n",
            'scan_id  , "age" \n0012, 70\n',
        ],
    )
    def test_marks_line_ends_and_commas_do_not_matter(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "t.tsv").write_bytes(text.encode())
        frame = read_table(tmp_path / "t.tsv", required=("scan_id", "age"))
        assert frame.to_dict("list") == {"scan_id": ["0012"], "age": [70]}

    def test_a_missing_column_is_named_with_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "t.tsv").write_text("scan_id\n01\n")
        with pytest.raises(HeatproofError, match=r"t\.tsv: diagnosis: the column is missing"):
            read_table(tmp_path / "t.tsv", required=("diagnosis",))

    def test_a_volume_keeps_its_affine_and_its_bytes(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
        for name in ("a", "b"):
            write_nifti(values, AFFINE, tmp_path / f"{name}.nii.gz")
        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
        image = nibabel.load(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), values)
        np.testing.assert_allclose(image.get_sform(), AFFINE)
        np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-5)
        assert image.header["sform_code"] == image.header["qform_code"] > 0


class TestRandomness:
    def test_the_purpose_decides_and_the_order_of_drawing_does_not(self) -> None:
        first = generator(1, "train", "sub-01").normal(size=3)
        generator(1, "train", "sub-02").normal(size=100)
        np.testing.assert_array_equal(first, generator(1, "train", "sub-01").normal(size=3))

    def test_neighbouring_purposes_differ(self) -> None:
        seeds = {
            integer_seed(seed, *keys) for seed in (1, 2) for keys in [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a")]
        }
        assert len(seeds) == 8
        assert all(0 <= seed < 2**63 for seed in seeds)


class TestGrid:
    def test_world_and_voxel_undo_each_other(self) -> None:
        grid = Grid((91, 109, 91), AFFINE)
        world = np.array([[26.0, -21, -14], [-26, -21, -14]])
        np.testing.assert_allclose(grid.world(grid.voxel(world)), world)
        assert grid.voxel_volume == pytest.approx(8)

    @pytest.mark.parametrize("grid", [Grid((5,), units="ms"), Grid((4, 6)), Grid((4, 6), AFFINE), Grid((3, 3, 3))])
    def test_what_is_no_volume_in_space_has_no_coordinates(self, grid: Grid) -> None:
        with pytest.raises(GeometryError, match="no world coordinates"):
            grid.coordinates()

    def test_resampling_to_a_flipped_grid_and_back_is_exact(self) -> None:
        values = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
        grid = Grid(values.shape, np.diag([2.0, 2, 2, 1]))
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = 5
        flipped = Grid(values.shape, grid.affine @ flip)
        moved = resample(values, grid, flipped)
        np.testing.assert_allclose(moved, values[::-1], atol=1e-5)
        np.testing.assert_allclose(resample(moved, flipped, grid), values, atol=1e-5)

    def test_labels_beyond_127_survive_nearest_neighbour(self) -> None:
        labels = np.zeros((6, 6, 6), np.int32)
        labels[2:4, 2:4, 2:4] = 2035
        source = Grid(labels.shape, np.diag([2.0, 2, 2, 1]))
        finer = resample(labels, source, Grid((12, 12, 12), np.diag([1.0, 1, 1, 1])), order=0)
        assert set(np.unique(finer)) == {0, 2035}

    @pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
    def test_an_affine_that_maps_nothing_is_refused(self, affine: np.ndarray) -> None:
        with pytest.raises(GeometryError, match="affine"):
            Grid((4, 4, 4), affine)

    def test_grids_half_a_voxel_apart_do_not_match(self) -> None:
        shifted = AFFINE.copy()
        shifted[0, 3] += 1
        assert not Grid((4, 4, 4), AFFINE).matches(Grid((4, 4, 4), shifted))


class TestProvenance:
    def test_an_edit_is_noticed_where_it_matters_and_only_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        edited = PACKAGE / "metrics/overlap.py"
        read = Path.read_bytes
        before = {name: source_digest(f"heatproof.stages.{name}") for name in ("score", "train", "prepare")}
        monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path == edited else b""))
        after = {name: source_digest(f"heatproof.stages.{name}") for name in before}
        assert after["score"] != before["score"]
        assert after["train"] == before["train"]
        assert after["prepare"] == before["prepare"]

    def test_what_a_registry_imports_by_name_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        edited = PACKAGE / "cohorts/caps.py"
        read = Path.read_bytes
        before = source_digest("heatproof.stages.prepare")
        monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path == edited else b""))
        assert source_digest("heatproof.stages.prepare") != before

    def test_a_source_of_scans_retrains_no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        edited = PACKAGE / "cohorts/caps.py"
        read = Path.read_bytes
        stages = ("prepare", "train", "score", "attribute")
        before = {name: source_digest(f"heatproof.stages.{name}") for name in stages}
        monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path == edited else b""))
        after = {name: source_digest(f"heatproof.stages.{name}") for name in stages}
        assert [name for name in stages if after[name] != before[name]] == ["prepare"]


def test_a_gpu_is_there_when_the_driver_lists_one(tmp_path: Path) -> None:
    from heatproof.hardware import has_gpu

    assert not has_gpu(tmp_path / "no driver")
    (tmp_path / "0000:01:00.0").mkdir()
    assert has_gpu(tmp_path)


class TestUserData:
    def test_a_replaced_scan_of_a_folder_or_a_table_is_noticed(self, tmp_path: Path) -> None:
        (tmp_path / "brains").mkdir()
        scan = tmp_path / "brains/a.nii"
        scan.write_bytes(b"1")
        (tmp_path / "scans.tsv").write_text("scan_id\tpath\na\tbrains/a.nii\n")
        entries: list[dict[str, object]] = [
            {"folder": "brains"},
            {"table": "scans.tsv"},
            {"atlas": {"path": "brains/a.nii"}},
        ]
        before = [data_state(entry, tmp_path) for entry in entries]
        assert before == [data_state(entry, tmp_path) for entry in entries]
        scan.write_bytes(b"12")
        for entry, old in zip(entries, before, strict=True):
            assert data_state(entry, tmp_path) != old

    def test_words_that_are_no_paths_name_nothing(self, tmp_path: Path) -> None:
        assert named_paths({"source": "phantom", "folder": "", "root": ".", "n": 3, "classes": ["HC"]}, tmp_path) == []


def test_a_job_says_on_the_screen_what_the_user_can_mend(tmp_path: Path) -> None:
    script = (
        "from heatproof.logs import logged\nfrom heatproof.errors import IntakeError\n"
        f"with logged({str(tmp_path / 'job.log')!r}):\n"
        "    print('progress', flush=True)\n"
        "    raise IntakeError('it is empty.', file='a.nii', remedy='copy it again.')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 1
    assert done.stderr.strip() == "IntakeError: a.nii: it is empty. Remedy: copy it again."
    log = (tmp_path / "job.log").read_text()
    assert "progress" in log
    assert "Traceback" in log


def test_a_job_logs_its_progress_and_leaves_logging_as_it_was(tmp_path: Path) -> None:
    script = (
        "import logging\nfrom heatproof.logs import logged\n"
        "logger = logging.getLogger('heatproof.training.loop')\n"
        f"with logged({str(tmp_path / 'job.log')!r}):\n"
        "    logger.info('epoch 1: loss 0.5')\n"
        "logger.info('afterwards')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "job.log").read_text() == "INFO heatproof.training.loop: epoch 1: loss 0.5\n"
