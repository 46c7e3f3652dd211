"""The gate: one test per row of the intake list in RELIABILITY.md that concerns volumes and tables."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scan_files import (
    AFFINE,
    SHAPE,
    brain,
    outputs,
    table_rows,
    table_spec,
    write_cohort,
    write_image,
    write_rows,
    write_scaled,
)

from heatproof.cohorts.intake import check_scan
from heatproof.cohorts.store import Cohort, RawScan, Record, Source
from heatproof.errors import ConfigError, HeatproofError, IntakeError
from heatproof.files import read_table
from heatproof.geometry import Grid
from heatproof.stages.prepare import prepare

BAD = 3
ROTATION = np.array([[0.995, -0.0998, 0, 0], [0.0998, 0.995, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_cohort(tmp_path)
    return tmp_path


def run(root: Path, **keys: object) -> Cohort:
    files = outputs(root / "results")
    prepare(table_spec(**keys), seed=1, root=root, **files)
    return Cohort(files["cohort"])


def bad_file(root: Path) -> Path:
    return root / f"images/scan-{BAD}.nii.gz"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _truncate_plain(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-8]))


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def _wrong_magic(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[344:348] = b"abc\0"
    path.write_bytes(gzip.compress(bytes(content)))


def _endless(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    # 30000 voxels along each axis: dim[1] to dim[3] of the header.
    content[42:48] = (30000).to_bytes(2, "little") * 3
    path.write_bytes(gzip.compress(bytes(content)))


def _far_off(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[108:112] = np.float32(1e12).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def _with_voxel(value: float):
    def spoil(path: Path) -> None:
        values = brain(BAD)
        values[2, 3, 1] = value
        write_image(path, values)

    return spoil


def _clipped(path: Path) -> None:
    write_image(path, np.minimum(brain(BAD).astype(np.float64) * 400, 32767).astype(np.int16))


def _wrapped(path: Path) -> None:
    write_image(path, (brain(BAD).astype(np.int64) * 400).astype(np.int16))


SPOILED = {
    "NaN": (_with_voxel(np.nan), "values", "NaN or infinite"),
    "infinite": (_with_voxel(np.inf), "values", "NaN or infinite"),
    "four axes": (lambda p: write_image(p, brain(BAD, (*SHAPE, 2))), "shape", "one volume"),
    "two axes": (lambda p: write_image(p, brain(BAD, SHAPE[:2])), "shape", "one volume"),
    "truncated": (_truncate, "file", "truncated"),
    "truncated before packing": (_truncate_plain, "file", "truncated"),
    "more than the memory": (_endless, "shape", "promises 27000000000000 voxels"),
    "an offset beyond the memory": (_far_off, "shape", "voxels in 999999"),
    "damaged": (_damage, "file", ""),
    "zero bytes": (lambda p: p.write_bytes(b""), "file", "zero bytes"),
    "missing": (lambda p: p.unlink(), "file", "does not exist"),
    "wrong magic": (_wrong_magic, "file", "magic"),
    "text": (lambda p: p.write_text("not an image"), "file", "magic"),
    "no affine": (lambda p: write_image(p, brain(BAD), sform_code=0, qform_code=0), "affine", "code 0"),
    "two affines": (
        lambda p: write_image(p, brain(BAD), qform=AFFINE @ ROTATION),
        "affine",
        "sform and qform differ",
    ),
    "identity": (lambda p: write_image(p, brain(BAD), np.eye(4)), "affine", "identity"),
    "wrong shape": (lambda p: write_image(p, brain(BAD, (6, 7, 6))), "affine", "wrong grid"),
    "shifted": (
        lambda p: write_image(p, brain(BAD), AFFINE + np.eye(4, k=3) * 5),
        "affine",
        "wrong grid",
    ),
    "oblique": (lambda p: write_image(p, brain(BAD), AFFINE @ ROTATION), "affine", "oblique"),
    "constant": (lambda p: write_image(p, np.full(SHAPE, 7, np.float32)), "values", "constant (7)"),
    "all zero": (lambda p: write_image(p, np.zeros(SHAPE, np.float32)), "values", "zero everywhere"),
    "int16 clipped": (_clipped, "datatype", "overflowed"),
    "int16 wrapped": (_wrapped, "datatype", "overflowed"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_image_stops_with_file_field_and_reason(root: Path, name: str) -> None:
    spoil, field, reason = SPOILED[name]
    spoil(bad_file(root))
    with pytest.raises(IntakeError) as caught:
        run(root)
    message = str(caught.value)
    assert f"scan-{BAD}\timages/scan-{BAD}.nii.gz\t{field}\t" in message
    assert reason in message
    assert "on_bad_scan: exclude" in message
    assert not (root / "results/cohort.h5").exists()
    assert list((root / "results").glob(".partial*")) == []


@pytest.mark.parametrize("name", SPOILED)
def test_bad_image_is_excluded_and_counted_if_asked(root: Path, name: str) -> None:
    SPOILED[name][0](bad_file(root))
    with run(root, on_bad_scan="exclude") as cohort:
        assert f"scan-{BAD}" not in cohort.scan_ids
        assert len(cohort) == 5
    table = read_table(root / "results/intake.tsv")
    row = table[table["action"] == "excluded"].iloc[0]
    assert (row["scan_id"], row["file"]) == (f"scan-{BAD}", f"images/scan-{BAD}.nii.gz")
    assert row["field"] == SPOILED[name][1]
    assert (table["action"] == "accepted").sum() == 5


def test_every_bad_scan_is_listed_at_once_and_intake_is_written(root: Path) -> None:
    _truncate(root / "images/scan-1.nii.gz")
    write_image(root / "images/scan-4.nii.gz", brain(4), np.eye(4))
    with pytest.raises(IntakeError, match="2 scans cannot enter") as caught:
        run(root)
    assert all(name in str(caught.value) for name in ("scan-1", "scan-4"))
    table = read_table(root / "results/intake.tsv")
    assert set(table["scan_id"]) == {"scan-1", "scan-4"}


def test_headers_are_checked_before_any_voxel_is_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(bad_file(root), brain(BAD), np.eye(4))

    def decode(header: object) -> np.ndarray:
        raise AssertionError("a voxel was decoded")

    monkeypatch.setattr("heatproof.cohorts.listing.read_values", decode)
    with pytest.raises(IntakeError, match="identity"):
        run(root, grid="first")


def test_singleton_axis_is_squeezed_and_noted(root: Path) -> None:
    write_image(bad_file(root), brain(BAD)[..., None])
    with run(root) as cohort:
        np.testing.assert_array_equal(cohort.scan(f"scan-{BAD}")[0], brain(BAD))
    notes = read_table(root / "results/intake.tsv").query("action == 'noted'")
    assert notes["scan_id"].tolist() == [f"scan-{BAD}"]
    assert "squeezed" in notes["reason"].iloc[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipped_file_lands_identically(root: Path, axis: int) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, axis] * (SHAPE[axis] - 1)
    affine[:3, axis] *= -1
    write_image(bad_file(root), np.flip(brain(BAD), axis).copy(), affine)
    with run(root) as cohort:
        np.testing.assert_array_equal(cohort.scan(f"scan-{BAD}")[0], brain(BAD))
        np.testing.assert_allclose(cohort.grid.affine, AFFINE)
    reasons = read_table(root / "results/intake.tsv").query("action == 'noted'")["reason"].tolist()
    assert any("to RAS through the affine" in reason for reason in reasons)
    assert any("left-handed" in reason for reason in reasons)


def test_swapped_axes_land_identically(root: Path) -> None:
    write_image(bad_file(root), brain(BAD).transpose(2, 0, 1).copy(), AFFINE[:, [2, 0, 1, 3]])
    with run(root) as cohort:
        np.testing.assert_array_equal(cohort.scan(f"scan-{BAD}")[0], brain(BAD))


def test_labels_follow_their_flipped_image(tmp_path: Path) -> None:
    rows = [{**row, "labels_path": f"labels/{row['scan_id']}.nii.gz"} for row in table_rows()]
    labels = np.random.default_rng(5).integers(0, 300, SHAPE).astype(np.int16)
    for number, row in enumerate(rows):
        write_image(tmp_path / str(row["path"]), brain(number))
        write_image(tmp_path / str(row["labels_path"]), labels)
    affine = AFFINE.copy()
    affine[0, 3] += 20 * (SHAPE[0] - 1)
    affine[0, 0] *= -1
    write_image(tmp_path / str(rows[BAD]["path"]), brain(BAD)[::-1].copy(), affine)
    write_rows(tmp_path / "scans.tsv", rows)
    with run(tmp_path) as cohort:
        for scan_id in cohort.scan_ids:
            np.testing.assert_array_equal(cohort.labels(scan_id), labels)


def test_oblique_scan_is_resampled_through_its_affine_if_asked(root: Path) -> None:
    # A ramp along world x is linear, so that linear interpolation must return it exactly inside.
    affine = AFFINE @ ROTATION
    shape = (14, 14, 5)
    affine[:3, 3] -= affine[:3, :3] @ np.array([4, 4, 0])
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    ramp = (indices @ affine[:3, :3].T + affine[:3, 3])[..., 0] + 1000
    write_image(bad_file(root), ramp.astype(np.float32), affine)
    with run(root, resample=True) as cohort:
        expected = cohort.grid.coordinates()[..., 0] + 1000
        found = cohort.scan(f"scan-{BAD}")[0]
    inside = (slice(1, -1), slice(1, -1), slice(None))
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.5)


def test_sform_of_another_space_is_used_and_noted(root: Path) -> None:
    write_image(bad_file(root), brain(BAD), sform_code=4, qform=AFFINE @ ROTATION)
    with run(root) as cohort:
        np.testing.assert_array_equal(cohort.scan(f"scan-{BAD}")[0], brain(BAD))
    reasons = read_table(root / "results/intake.tsv").query("action == 'noted'")["reason"].tolist()
    assert reasons == ["sform (code 4) and qform (code 1) differ; the sform is used"]


def test_the_user_may_choose_between_two_affines(root: Path) -> None:
    write_image(bad_file(root), brain(BAD), AFFINE @ ROTATION, qform=AFFINE)
    with run(root, affine="qform") as cohort:
        np.testing.assert_array_equal(cohort.scan(f"scan-{BAD}")[0], brain(BAD))


def test_scaled_values_of_uint8_are_used(root: Path) -> None:
    stored = np.random.default_rng(BAD).integers(0, 255, SHAPE).astype(np.uint8)
    write_scaled(bad_file(root), stored, 0.5, -3.0)
    with run(root) as cohort:
        np.testing.assert_allclose(cohort.scan(f"scan-{BAD}")[0], stored * 0.5 - 3)
    reasons = read_table(root / "results/intake.tsv").query("action == 'noted'")["reason"].tolist()
    assert reasons == ["stored as uint8 with slope 0.5 and intercept -3; the scaled values are used"]


def test_sound_int16_is_no_overflow(root: Path) -> None:
    values = (brain(BAD) * 300).astype(np.int16)
    values[0, 0, 0] = -9000
    write_image(bad_file(root), values)
    with run(root) as cohort:
        np.testing.assert_array_equal(cohort.scan(f"scan-{BAD}")[0], values)


def test_gzip_of_several_members_is_whole(root: Path) -> None:
    content = gzip.decompress(bad_file(root).read_bytes())
    bad_file(root).write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    with run(root) as cohort:
        assert f"scan-{BAD}" in cohort.scan_ids


def test_not_finite_voxels_can_be_filled(root: Path) -> None:
    _with_voxel(np.nan)(bad_file(root))
    with run(root, fill_not_finite=True) as cohort:
        assert cohort.scan(f"scan-{BAD}")[0][2, 3, 1] == 0


def change(rows: list[dict[str, object]], number: int, **cells: object) -> list[dict[str, object]]:
    rows[number] = {**rows[number], **cells}
    return rows


@pytest.mark.parametrize(
    ("cells", "field", "reason", "n_bad"),
    [
        ({"scan_id": "scan-2"}, "scan_id", "used by 2 scans", 2),
        ({"scan_id": "SCAN-2"}, "scan_id", "differ only in case or padding", 2),
        ({"scan_id": "scan-002"}, "scan_id", "differ only in case or padding", 2),
        ({"scan_id": "scan-3 "}, "scan_id", "padded with spaces", 1),
        ({"participant_id": "Person-2"}, "participant_id", "differ only in case or padding", 2),
        ({"participant_id": "person-02"}, "participant_id", "differ only in case or padding", 2),
        ({"participant_id": "n/a"}, "participant_id", "identifier is missing", 1),
        ({"diagnosis": "n/a"}, "diagnosis", "diagnosis is missing", 1),
        ({"diagnosis": ""}, "diagnosis", "diagnosis is missing", 1),
        ({"diagnosis": "unknown"}, "diagnosis", "diagnosis is missing", 1),
        ({"diagnosis": "FTD"}, "diagnosis", "'FTD' is none of HC, AD", 1),
        ({"path": "n/a"}, "path", "no file is named", 1),
    ],
)
def test_bad_row(root: Path, cells: dict[str, object], field: str, reason: str, n_bad: int) -> None:
    write_rows(root / "scans.tsv", change(table_rows(), BAD, **cells))
    with pytest.raises(IntakeError) as caught:
        run(root)
    assert reason in str(caught.value)
    assert f"\t{field}\t" in str(caught.value)
    with run(root, on_bad_scan="exclude") as cohort:
        assert len(cohort) == 6 - n_bad


@pytest.mark.parametrize(
    "cells",
    [{"age": 63.5}, {"age": "n/a"}, {"age": ""}, {"age": 0}, {"participant_id": "Müller 3"}, {"scan_id": "three/a"}],
    ids=str,
)
def test_unusual_cells_that_say_what_they_mean_are_taken(root: Path, cells: dict[str, object]) -> None:
    write_rows(root / "scans.tsv", change(table_rows(), BAD, **cells))
    with run(root) as cohort:
        assert len(cohort) == 6


@pytest.mark.parametrize("text", ["scan\u200b-3", "scan-3\u00a0x", "scan\x07-3"], ids=ascii)
def test_an_identifier_that_cannot_be_read_as_it_is_written_is_refused(root: Path, text: str) -> None:
    write_rows(root / "scans.tsv", change(table_rows(), BAD, scan_id=text))
    with pytest.raises(IntakeError, match="cannot be seen"):
        run(root)


@pytest.mark.parametrize("age", ["seventy", "63,5", "-1", "inf", "89+"])
def test_an_age_that_is_no_number_of_years_is_refused(root: Path, age: str) -> None:
    write_rows(root / "scans.tsv", change(table_rows(), BAD, age=age))
    with pytest.raises(IntakeError, match=f"the age '{re.escape(age)}"):
        run(root)


def test_a_class_without_anybody_stops_the_run_also_when_its_scans_were_excluded(root: Path) -> None:
    for row in table_rows()[1::2]:
        write_image(root / str(row["path"]), np.full(SHAPE, float(str(row["age"])), np.float32))
    with pytest.raises(IntakeError, match="no scan has the diagnosis AD"):
        run(root, on_bad_scan="exclude")
    assert not (root / "results/cohort.h5").exists()
    write_rows(root / "scans.tsv", table_rows()[::2])
    with pytest.raises(IntakeError, match="no scan has the diagnosis AD"):
        run(root)


@pytest.mark.parametrize(
    ("spoil", "channels", "field", "words"),
    [
        ({"values": brain()[None, None]}, None, "shape", "channels and 3 space axes"),
        ({}, 2, "shape", "1 channels, the ones before it 2"),
        ({"truth": np.ones((6, 7, 4))}, None, "truth", r"the truth has shape \(6, 7, 4\)"),
        ({"labels": np.ones((6, 7, 4), int)}, None, "labels", r"the labels has shape \(6, 7, 4\)"),
    ],
)
def test_what_a_source_hands_over_is_checked_too(
    spoil: dict[str, np.ndarray], channels: int | None, field: str, words: str
) -> None:
    grid = Grid(SHAPE, AFFINE)
    scan = RawScan(**{"values": brain()[None], "grid": grid, **spoil})
    record = Record(row={"scan_id": "a"}, load=lambda: scan)
    with pytest.raises(IntakeError, match=words) as caught:
        check_scan(record, Source(grid, [record]), channels, fill_not_finite=False)
    assert caught.value.field == field and caught.value.remedy


@pytest.mark.parametrize("repacked", [False, True])
def test_one_image_under_two_ids(root: Path, repacked: bool) -> None:
    content = (root / "images/scan-2.nii.gz").read_bytes()
    again = gzip.compress(gzip.decompress(content), compresslevel=1) if repacked else content
    bad_file(root).write_bytes(again)
    with pytest.raises(IntakeError, match="filed under several ids: scan-2, scan-3"):
        run(root)
    with run(root, on_bad_scan="exclude") as cohort:
        assert cohort.scan_ids == ["scan-0", "scan-1", "scan-4", "scan-5"]
        assert cohort.participants.index.tolist() == cohort.scan_ids
    table = read_table(root / "results/intake.tsv")
    assert set(table.query("action == 'excluded'")["scan_id"]) == {"scan-2", "scan-3"}


@pytest.mark.parametrize(
    ("separator", "end", "mark"), [(",", "\n", b""), ("\t", "\r\n", b""), ("\t", "\n", b"\xef\xbb\xbf")]
)
def test_table_dialects(root: Path, separator: str, end: str, mark: bytes) -> None:
    path = write_rows(root / "scans.tsv", table_rows(), separator, end)
    path.write_bytes(mark + path.read_bytes())
    with run(root) as cohort:
        assert len(cohort) == 6
        assert cohort.participants["target"].tolist() == [0, 1, 0, 1, 0, 1]


def test_labels_must_be_whole_numbers_on_their_image(tmp_path: Path) -> None:
    rows = [{**row, "labels_path": f"labels/{row['scan_id']}.nii.gz"} for row in table_rows(2)]
    for number, row in enumerate(rows):
        write_image(tmp_path / str(row["path"]), brain(number))
    write_image(tmp_path / "labels/scan-0.nii.gz", brain(0))
    write_image(tmp_path / "labels/scan-1.nii.gz", np.ones((6, 7, 4), np.int16))
    write_rows(tmp_path / "scans.tsv", rows)
    with pytest.raises(IntakeError, match="labels lie on another grid"):
        run(tmp_path)
    write_image(tmp_path / "labels/scan-1.nii.gz", np.ones(SHAPE, np.int16))
    with pytest.raises(IntakeError, match="whole numbers"):
        run(tmp_path)


@pytest.mark.parametrize("how", ["dots", "absolute", "link"])
def test_path_out_of_the_data_root_is_refused(tmp_path: Path, how: str) -> None:
    root = tmp_path / "data"
    write_cohort(root)
    outside = write_image(tmp_path / "secret.nii.gz", brain(9))
    cell = {"dots": "../secret.nii.gz", "absolute": str(outside), "link": "images/link.nii.gz"}[how]
    (root / "images/link.nii.gz").symlink_to(outside)
    write_rows(root / "scans.tsv", change(table_rows(), BAD, path=cell))
    with pytest.raises(IntakeError, match="leads out of the data root"):
        run(root)
    with pytest.raises(ConfigError, match="leads out of the data root"):
        prepare(table_spec(grid="../secret.nii.gz"), seed=1, root=root, **outputs(tmp_path))


def test_nothing_left_is_an_error(root: Path) -> None:
    for number in range(6):
        write_image(root / f"images/scan-{number}.nii.gz", np.full(SHAPE, 3.0 + number, np.float32))
    with pytest.raises(IntakeError, match="no scan is left"):
        run(root, on_bad_scan="exclude")
    assert not (root / "results/cohort.h5").exists()


def test_unknown_policy_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="on_bad_scan"):
        run(root, on_bad_scan="ignore")


def test_messages_and_tables_name_no_folder_of_the_machine(root: Path) -> None:
    _truncate(bad_file(root))
    with pytest.raises(HeatproofError) as caught:
        run(root)
    assert str(root) not in str(caught.value)
    assert str(root) not in (root / "results/intake.tsv").read_text()


def test_a_volume_in_another_unit_is_refused(root: Path) -> None:
    image = nibabel.load(bad_file(root))
    changed = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    changed.header.set_xyzt_units("meter")
    nibabel.save(changed, bad_file(root))
    with pytest.raises(IntakeError, match="not in mm"):
        run(root)
