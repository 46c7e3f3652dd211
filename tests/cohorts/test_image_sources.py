"""Sources of 2-D images, each on a fixture in exactly the layout of its data, and on real data where they lie."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from picture_files import disc, grey, write_dicom, write_mask, write_png, write_slice
from PIL import Image
from scan_files import outputs, write_rows

from heatproof import configuration
from heatproof.cohorts.blocks import block_ids
from heatproof.cohorts.cheng import read_slice
from heatproof.cohorts.framing import Framing
from heatproof.cohorts.sources import open_source
from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError, HeatproofError, IntakeError
from heatproof.files import read_table
from heatproof.stages.prepare import prepare

SHAPE = (24, 16)
SHARED = Path(os.environ["HEATPROOF_SHARED_DATA"])
MINIMAL = Path(__file__).parents[1] / "workflow/minimal.yaml"


def completed(cohort: dict[str, Any]) -> dict[str, Any]:
    """Return a cohort entry as the workflow passes it on: checked, with its defaults."""
    config = yaml.safe_load(MINIMAL.read_text(encoding="utf-8"))
    study = config["studies"]["alzheimers"]
    study["cohort"] = cohort
    # Not every cohort here has controls whose mean could be a baseline.
    study["methods"]["ig"]["baseline"] = "zero"
    return configuration.complete(config)["studies"]["alzheimers"]["cohort"]


def run(cohort: dict[str, Any], root: Path, results: Path | None = None) -> Cohort:
    files = outputs((results or root) / "results")
    prepare(completed(cohort), seed=1, root=root, **files)
    return Cohort(files["cohort"])


def intake(root: Path, action: str = "excluded") -> dict[str, str]:
    table = read_table(root / "results/intake.tsv").query(f"action == '{action}'")
    return dict(zip(table["scan_id"], table["reason"], strict=True))


# --------------------------------------------------------------------------------------------- images


def image_rows(n: int = 6) -> list[dict[str, object]]:
    return [
        {
            "scan_id": f"image-{number}",
            "participant_id": f"person-{number // 2}",
            "path": f"images/{number}.png",
            "diagnosis": ("control", "tumour")[number % 2],
            "mask_path": f"masks/{number}.png" if number % 2 else "",
            "lungs_path": f"lungs/{number}.png",
            "site": "AB"[number % 2],
        }
        for number in range(n)
    ]


def write_images(root: Path, n: int = 6) -> list[dict[str, object]]:
    rows = image_rows(n)
    for number, row in enumerate(rows):
        write_png(root / str(row["path"]), grey(number))
        write_mask(root / f"lungs/{number}.png", disc(radius=7))
        if row["mask_path"]:
            write_mask(root / str(row["mask_path"]), disc(centre=(6 + number, 6)))
    write_rows(root / "images.tsv", rows)
    return rows


def image_spec(**keys: Any) -> dict[str, Any]:
    return {
        "source": "images",
        "table": "images.tsv",
        "classes": ["control", "tumour"],
        "image_size": list(SHAPE),
        "regions": {"lungs": "lungs_path"},
        **keys,
    }


def test_images_masks_and_regions_come_to_the_store(tmp_path: Path) -> None:
    write_images(tmp_path)
    with run(image_spec(citation="A et al. 2020"), tmp_path) as cohort:
        assert cohort.grid.shape == SHAPE
        assert (cohort.grid.units, cohort.grid.spacing) == ("pixel", (1, 1))
        assert cohort.has_controls
        for number, scan_id in enumerate(cohort.scan_ids):
            np.testing.assert_array_equal(cohort.scan(scan_id)[0], grey(number))
            truth = cohort.truth(scan_id)
            np.testing.assert_array_equal(truth, disc(centre=(6 + number, 6)) if number % 2 else np.zeros(SHAPE))
            assert truth is not None and truth.dtype == np.float32
            np.testing.assert_array_equal(cohort.labels(scan_id), disc(radius=7))
        assert cohort.label_names == {1: "lungs"}
        assert cohort.participants["participant_id"].tolist() == ["person-0"] * 2 + ["person-1"] * 2 + ["person-2"] * 2
        assert not {"path", "mask_path", "lungs_path"} & set(cohort.participants.columns)
        assert cohort.description["unit"] == "patients"
        assert cohort.description["citation"] == "A et al. 2020"
    # A picture is flat: nothing may be called mm3.
    assert len(read_table(tmp_path / "results/volumes.tsv")) == 0


def test_regions_are_numbered_as_listed_and_the_first_keeps_what_they_share(tmp_path: Path) -> None:
    rows = write_images(tmp_path)
    for number, row in enumerate(rows):
        write_mask(tmp_path / f"heart/{number}.png", disc(centre=(14, 8), radius=5))
        row["heart_path"] = f"heart/{number}.png"
    write_rows(tmp_path / "images.tsv", rows)
    with run(image_spec(regions={"lungs": "lungs_path", "heart": "heart_path"}), tmp_path) as cohort:
        assert cohort.label_names == {1: "lungs", 2: "heart"}
        lungs, heart = disc(radius=7), disc(centre=(14, 8), radius=5)
        assert (lungs & heart).any()
        np.testing.assert_array_equal(cohort.labels("image-0"), np.where(lungs, 1, np.where(heart, 2, 0)))


def test_images_are_brought_to_one_grid(tmp_path: Path) -> None:
    rows = write_images(tmp_path, 4)
    write_png(tmp_path / "images/2.png", grey(2, (40, 30)))
    write_mask(tmp_path / "lungs/2.png", disc((40, 30), (20, 15), 9))
    for fit in ("pad", "stretch", "crop"):
        with run(image_spec(image_size=[16, 16], fit=fit), tmp_path) as cohort:
            framing = Framing((16, 16), fit)
            np.testing.assert_allclose(cohort.scan("image-2")[0], framing.image(grey(2, (40, 30))), rtol=1e-6)
            np.testing.assert_array_equal(cohort.labels("image-2"), framing.mask(disc((40, 30), (20, 15), 9)))
    assert len(rows) == 4


def test_participants_are_never_guessed(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "participant_id"} for row in image_rows()]
    write_images(tmp_path)
    write_rows(tmp_path / "images.tsv", rows)
    with pytest.raises(HeatproofError, match="participant_id: the column is missing"):
        run(image_spec(), tmp_path)
    with run(image_spec(participants="images"), tmp_path) as cohort:
        assert cohort.participants["participant_id"].tolist() == cohort.scan_ids
        assert cohort.description["unit"] == "images"
    with run(image_spec(participants="blocks", block_size=2), tmp_path) as cohort:
        blocks = cohort.participants["participant_id"].tolist()
        assert blocks == ["block-0001", "block-0002", "block-0001", "block-0002", "block-0003", "block-0004"]
        assert cohort.description["unit"] == "blocks of 2 neighbouring files (no patient ids)"


def test_blocks_hold_neighbours_of_one_class() -> None:
    classes = ["a"] * 5 + ["b"] * 4 + ["a"] * 2
    blocks = block_ids(classes, 3)
    assert [block[-1] for block in blocks] == list("11122333425")
    for block in set(blocks):
        held = [name for name, one in zip(classes, blocks, strict=True) if one == block]
        assert len(set(held)) == 1 and len(held) <= 3


def test_a_missing_mask_is_bad_only_where_there_is_a_lesion(tmp_path: Path) -> None:
    rows = write_images(tmp_path)
    rows[3]["mask_path"] = ""
    write_rows(tmp_path / "images.tsv", rows)
    with pytest.raises(IntakeError, match="this one has none"):
        run(image_spec(), tmp_path)
    run(image_spec(on_bad_scan="exclude"), tmp_path)
    assert set(intake(tmp_path)) == {"image-3"}
    with run(image_spec(require_masks=False), tmp_path) as cohort:
        assert not cohort.truth("image-3").any()


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda root: write_mask(root / "masks/3.png", disc((12, 8), (4, 3), 2)), "12 x 8 pixels, its image 24 x 16"),
        (lambda root: write_mask(root / "masks/3.png", np.zeros(SHAPE, bool)), "mask of the lesion is empty"),
        (lambda root: (root / "masks/3.png").unlink(), "does not exist"),
        (lambda root: (root / "images/3.png").write_bytes(b""), "is empty"),
        (lambda root: (root / "images/3.png").write_bytes((root / "images/3.png").read_bytes()[:200]), "damaged"),
        (lambda root: write_png(root / "images/3.png", np.full(SHAPE, 7, np.uint8)), "constant"),
        (lambda root: write_png(root / "images/3.png", np.stack([grey(n) for n in (1, 2, 3)], 2)), "in colour"),
    ],
)
def test_a_bad_image_is_named_with_its_reason(tmp_path: Path, spoil: Any, word: str) -> None:
    write_images(tmp_path)
    spoil(tmp_path)
    with pytest.raises(IntakeError, match="image-3") as caught:
        run(image_spec(), tmp_path)
    assert word in str(caught.value)
    assert not (tmp_path / "results/cohort.h5").exists()


def test_one_image_under_two_ids_is_refused_also_when_its_file_differs(tmp_path: Path) -> None:
    write_images(tmp_path)
    Image.fromarray(grey(1)).save(tmp_path / "images/3.png", compress_level=0)
    with pytest.raises(IntakeError, match="filed under several ids: image-1, image-3"):
        run(image_spec(), tmp_path)


def test_a_lesion_that_the_grid_loses_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path)
    write_mask(tmp_path / "masks/3.png", disc(radius=0))
    with pytest.raises(IntakeError, match="lost on a grid"):
        run(image_spec(image_size=[6, 4]), tmp_path)


def test_paths_out_of_the_root_are_refused(tmp_path: Path) -> None:
    rows = write_images(tmp_path / "data")
    rows[0]["path"] = "../secret.png"
    write_png(tmp_path / "secret.png", grey(77))
    write_rows(tmp_path / "data/images.tsv", rows)
    with pytest.raises(IntakeError, match="leads out of the data root"):
        run(image_spec(), tmp_path / "data")


class TestDicomTable:
    def write(self, root: Path, **different: Any) -> None:
        rows = [{**row, "path": f"{number}.dcm"} for number, row in enumerate(image_rows())]
        for number in range(6):
            tags = {"RescaleType": "HU", "RescaleIntercept": -1000, "RescaleSlope": 1, "PixelSpacing": [0.5, 0.5]}
            tags |= different if number == 4 else {}
            write_dicom(root / f"{number}.dcm", grey(number).astype(np.uint16), **tags)
        write_rows(root / "images.tsv", rows)

    def spec(self, **keys: Any) -> dict[str, Any]:
        return image_spec(require_masks=False, image_size=[12, 8], regions={}, **keys)

    def test_pixels_of_one_size_give_millimetres(self, tmp_path: Path) -> None:
        write_images(tmp_path)
        self.write(tmp_path)
        with run(self.spec(), tmp_path) as cohort:
            assert (cohort.grid.units, cohort.grid.spacing) == ("mm", (1.0, 1.0))
            assert cohort.scan("image-0").mean() == pytest.approx(grey(0).mean() - 1000, rel=1e-5)

    def test_pixels_of_several_sizes_give_pixels(self, tmp_path: Path) -> None:
        write_images(tmp_path)
        self.write(tmp_path, PixelSpacing=[0.6, 0.6])
        with run(self.spec(), tmp_path) as cohort:
            assert (cohort.grid.units, cohort.grid.spacing) == ("pixel", (1, 1))

    def test_other_units_are_refused(self, tmp_path: Path) -> None:
        write_images(tmp_path)
        self.write(tmp_path, RescaleType="US")
        with pytest.raises(IntakeError, match="values are in US of modality CT, those of the first image in HU"):
            run(self.spec(), tmp_path)


class TestTiles:
    """Images of 24 x 16 with a lesion in known tiles of 8 x 8."""

    def write(self, root: Path) -> None:
        rows = image_rows(4)
        for number, row in enumerate(rows):
            row["mask_path"] = f"masks/{number}.png"
            values = grey(number)
            values[16:, 8:] = 5
            lesion = np.zeros(SHAPE, bool)
            if number % 2:
                lesion[:8, :8] = True  # tile r0c0, all of it
                lesion[8:16, 8:10] = True  # tile r1c1, a quarter
            lungs = np.ones(SHAPE, bool)
            lungs[16:, :8] = False  # tile r2c0
            write_png(root / f"images/{number}.png", values)
            write_mask(root / f"masks/{number}.png", lesion)
            write_mask(root / f"lungs/{number}.png", lungs)
        write_rows(root / "images.tsv", rows)

    def spec(self, tiles: dict[str, Any], **keys: Any) -> dict[str, Any]:
        return image_spec(**{"classes": ["clear", "affected"], "image_size": [8, 8], "tiles": tiles, **keys})

    def test_the_mask_says_what_a_tile_is(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        with run(self.spec({"size": [8, 8], "affected_share": 0.5}), tmp_path) as cohort:
            table = cohort.participants
            affected = table[table["diagnosis"] == "affected"]
            assert affected.index.tolist() == ["image-1_r0c0", "image-3_r0c0"]
            # Not the quarter, not outside the lungs, not the flat corner.
            assert [name for name in cohort.scan_ids if name.startswith("image-1")] == [
                "image-1_r0c0", "image-1_r0c1", "image-1_r1c0",
            ]  # fmt: skip
            np.testing.assert_array_equal(cohort.scan("image-1_r1c0")[0], grey(1)[8:16, :8])
            np.testing.assert_array_equal(cohort.truth("image-1_r0c0"), np.ones((8, 8)))
            assert table.loc["image-1_r0c0", "participant_id"] == "person-0"
            assert set(table["image_diagnosis"]) == {"control", "tumour"}
        reasons = intake(tmp_path)
        assert (
            reasons["image-1"]
            == "3 of 6 tiles are not used: 1 outside the regions, 1 partly affected, 1 without contrast"
        )

    def test_shares_decide(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        with run(self.spec({"size": [8, 8], "affected_share": 0.25, "region_share": 0}), tmp_path) as cohort:
            names = cohort.participants.query("diagnosis == 'affected'").index.tolist()
            assert names == ["image-1_r0c0", "image-1_r1c1", "image-3_r0c0", "image-3_r1c1"]
            assert cohort.participants.loc["image-1_r1c1", "lesion_share"] == 0.25
            assert "image-1_r2c0" in cohort.scan_ids

    def test_tiles_may_overlap_and_images_be_halved(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        source = open_source(
            completed(self.spec({"size": [8, 8], "step": [4, 8], "region_share": 0})), seed=1, root=tmp_path
        )
        rows = {str(record.row["scan_id"]): record for record in source.records}
        np.testing.assert_array_equal(rows["image-0_r1c0"].load().values[0], grey(0)[4:12, :8])
        halves = open_source(
            completed(self.spec({"parts": [1, 2], "affected_share": 0.3}, image_size=[24, 8])), seed=1, root=tmp_path
        )
        names = {str(record.row["scan_id"]): record.row["diagnosis"] for record in halves.records}
        assert names == {
            "image-0_r0c0": "clear", "image-0_r0c1": "clear", "image-1_r0c0": "affected",
            "image-2_r0c0": "clear", "image-2_r0c1": "clear", "image-3_r0c0": "affected",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("tiles", "word"),
        [
            ({}, "either size or parts"),
            ({"size": [8, 8], "parts": [1, 2]}, "either size or parts"),
            ({"size": [8, 8], "affected_share": 0.1, "clear_share": 0.2}, "smaller than affected_share"),
        ],
    )
    def test_rules_that_contradict_themselves_are_refused(self, tmp_path: Path, tiles: dict, word: str) -> None:
        self.write(tmp_path)
        with pytest.raises(ConfigError, match=word):
            run(self.spec(tiles), tmp_path)

    @pytest.mark.parametrize("keys", [{"has_controls": False}, {"diagnosis": {"clear": ["a"], "affected": ["b"]}}])
    def test_keys_that_tiles_contradict_are_refused_before_a_file_is_read(self, tmp_path: Path, keys: dict) -> None:
        with pytest.raises(ConfigError) as caught:
            open_source(self.spec({"size": [8, 8]}, **keys), seed=1, root=tmp_path)
        assert caught.value.field == f"cohort.{next(iter(keys))}" and caught.value.remedy

    def test_an_image_without_a_mask_cannot_be_labelled(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        write_rows(tmp_path / "images.tsv", [{**row, "mask_path": ""} for row in image_rows(4)])
        with pytest.raises(IntakeError, match="tiles are labelled by the mask"):
            run(self.spec({"size": [8, 8]}), tmp_path)


# ---------------------------------------------------------------------------------------------- cheng


def write_release(root: Path, n: int = 12) -> Path:
    """Write n slices in the folders of the four archives, three slices per patient, and the authors' folds."""
    folder = root / "brain_tumor_cheng"
    for number in range(1, n + 1):
        label = 1 + (number - 1) * 3 // n
        mask = disc(centre=(6 + number % 4, 7))
        part = folder / f"brainTumorDataPublic_{1 + (number - 1) // 4}"
        patient = f"MR{(number - 1) // 3:06d}" if number > 6 else str(100360 + (number - 1) // 3)
        write_slice(part / f"{number}.mat", grey(number).astype(int) * 9 - 400, mask, label, patient)
    with h5py.File(folder / "cvind.mat", "w", userblock_size=512) as file:
        file["cvind"] = np.array([[float(1 + number % 5) for number in range(n)]])
    return folder


CHENG = {"source": "cheng", "image_size": list(SHAPE)}


def test_the_original_slices_know_their_patients(tmp_path: Path) -> None:
    write_release(tmp_path)
    with run(CHENG, tmp_path) as cohort:
        table = cohort.participants
        assert cohort.classes == ("meningioma", "glioma", "pituitary")
        assert not cohort.has_controls
        assert cohort.scan_ids == [f"slice-{number:04d}" for number in range(1, 13)]
        assert table["diagnosis"].tolist() == ["meningioma"] * 4 + ["glioma"] * 4 + ["pituitary"] * 4
        assert table["participant_id"].tolist()[:4] == ["100360"] * 3 + ["100361"]
        assert table["participant_id"].tolist()[-1] == "MR000003"
        assert table["published_fold"].astype(int).tolist() == [1 + number % 5 for number in range(12)]
        # Rows and columns as they are looked at, not as MATLAB stores them.
        np.testing.assert_array_equal(cohort.scan("slice-0007")[0], grey(7).astype(int) * 9 - 400)
        np.testing.assert_array_equal(cohort.truth("slice-0007"), disc(centre=(9, 7)))
        assert cohort.description["unit"] == "patients"
        assert "figshare 1512427" in cohort.description["citation"]


def test_the_original_slices_without_folds_and_with_folds_of_an_older_format(tmp_path: Path) -> None:
    from scipy.io import savemat

    folder = write_release(tmp_path)
    (folder / "cvind.mat").unlink()
    with run(CHENG, tmp_path) as cohort:
        assert "published_fold" not in cohort.participants
    savemat(folder / "cvind.mat", {"cvind": np.arange(12)[:, None] % 5 + 1})
    with run(CHENG, tmp_path) as cohort:
        assert cohort.participants["published_fold"].astype(int).tolist()[:6] == [1, 2, 3, 4, 5, 1]


def spoil_slice(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "label":
        write_slice(path, grey(5), disc(), 4, "100361")
    elif how == "mask":
        write_slice(path, grey(5), disc((8, 8), (4, 4), 2), 2, "100361")
    elif how == "patient":
        write_slice(path, grey(5), disc(), 2, "")
    else:
        with h5py.File(path, "r+") as file:
            del file[f"cjdata/{how}"]


@pytest.mark.parametrize("how", ["truncated", "empty", "label", "mask", "patient", "image", "tumorMask", "PID"])
def test_a_damaged_slice_is_refused_by_name(tmp_path: Path, how: str) -> None:
    folder = write_release(tmp_path)
    spoil_slice(folder / "brainTumorDataPublic_2/5.mat", how)
    with pytest.raises(IntakeError, match=r"slice-0005"):
        run(CHENG, tmp_path)
    with run({**CHENG, "on_bad_scan": "exclude"}, tmp_path) as cohort:
        assert len(cohort) == 11


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "brain_tumor_cheng").mkdir()
    with pytest.raises(IntakeError, match=r"1\.mat.*fetch: true"):
        run(CHENG, tmp_path)


def write_exported(root: Path, n: int = 12) -> Path:
    folder = root / "png"
    rows = []
    for number in range(n):
        index = 1 + 5 * number
        write_png(folder / f"images/{index:04d}.png", grey(number))
        write_mask(folder / f"masks/{index:04d}.png", disc(centre=(6 + number % 5, 7)))
        rows.append({"index": f"{index:04d}", "label": 1 + number * 3 // n, "class": "x"})
    write_rows(folder / "labels.csv", rows, separator=",")
    return folder


EXPORTED = {**CHENG, "layout": "png", "folder": "png", "block_size": 3}


def test_exported_slices_have_blocks_instead_of_patients(tmp_path: Path) -> None:
    write_exported(tmp_path)
    with run(EXPORTED, tmp_path) as cohort:
        assert cohort.scan_ids[:3] == ["slice-0001", "slice-0006", "slice-0011"]
        assert [one[-1] for one in cohort.participants["participant_id"]] == list("111233345556")
        assert cohort.description["unit"] == "blocks of 3 neighbouring files (no patient ids)"
        np.testing.assert_array_equal(cohort.truth("slice-0006"), disc(centre=(7, 7)))
    with run({**EXPORTED, "participants": "images"}, tmp_path) as cohort:
        assert cohort.participants["participant_id"].nunique() == 12


def test_exported_slices_without_label_mask_or_image_are_refused(tmp_path: Path) -> None:
    folder = write_exported(tmp_path)
    write_png(folder / "images/0099.png", grey(99))
    (folder / "masks/0006.png").unlink()
    (folder / "images/0011.png").unlink()
    with pytest.raises(IntakeError):
        run(EXPORTED, tmp_path)
    run({**EXPORTED, "on_bad_scan": "exclude"}, tmp_path)
    assert set(intake(tmp_path)) == {"slice-0006", "slice-0011", "slice-0099"}


@pytest.mark.parametrize(
    ("lines", "field", "word"),
    [
        (["1,1", "1,3"], "index", "number 1 comes again in line 3"),
        (["1,1", "0001,1"], "index", "number 1 comes again"),
        (["1,1", "x,3"], "index", "'x' in line 3"),
        (["1,1", "2.5,3"], "index", "'2.5' in line 3"),
        (["1,1", ",3"], "index", "'' in line 3"),
        (["1,1", "6,"], "label", "no label in line 3"),
    ],
)
def test_a_table_of_labels_that_contradicts_itself_is_refused(
    tmp_path: Path, lines: list[str], field: str, word: str
) -> None:
    folder = write_exported(tmp_path)
    (folder / "labels.csv").write_text("\n".join(["index,label", *lines, "11,2\n"]), encoding="utf-8")
    with pytest.raises(IntakeError, match=word) as caught:
        run({**EXPORTED, "on_bad_scan": "exclude"}, tmp_path)
    assert (caught.value.file, caught.value.field) == ("labels.csv", field)
    assert caught.value.remedy


def test_labels_are_read_as_they_are_typed(tmp_path: Path) -> None:
    folder = write_exported(tmp_path, 3)
    (folder / "labels.csv").write_text("index,label\n1.0,1.0\n6,2\n11,3\n", encoding="utf-8")
    with run(EXPORTED, tmp_path) as cohort:
        assert cohort.participants["diagnosis"].tolist() == ["meningioma", "glioma", "pituitary"]


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    folder = write_exported(tmp_path)
    write_png(folder / "images/1.png", grey(99))
    with pytest.raises(IntakeError, match=r"the number of images/0001\.png") as caught:
        run(EXPORTED, tmp_path)
    assert (caught.value.file, caught.value.field) == ("images/1.png", "index")
    write_slice(write_release(tmp_path) / "again/7.mat", grey(99), disc(), 1, "100360")
    with pytest.raises(IntakeError, match=r"the number of again/7\.mat"):
        run(CHENG, tmp_path)


def test_what_a_killed_process_left_of_an_archive_is_not_read(tmp_path: Path) -> None:
    folder = write_release(tmp_path)
    write_slice(folder / ".unpacking-abc/99.mat", grey(99), disc(), 1, "100360")
    (folder / ".unpacking-abc/cvind.mat").write_bytes(b"half")
    with run(CHENG, tmp_path) as cohort:
        assert len(cohort) == 12 and "published_fold" in cohort.participants


@pytest.mark.parametrize("key", ["participants", "block_size"])
def test_blocks_have_no_meaning_where_patients_are_named(tmp_path: Path, key: str) -> None:
    write_release(tmp_path)
    chosen = {"participants": "images", "block_size": 5}[key]
    with pytest.raises(ConfigError, match="layout: png") as caught:
        run({**CHENG, key: chosen}, tmp_path)
    assert caught.value.field == f"cohort.{key}"


# ----------------------------------------------------------------------------------------- radiography


def write_radiography(root: Path) -> Path:
    folder = root / "COVID-19_Radiography_Dataset"
    for place, name in enumerate(("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")):
        for number in range(1, 12):
            values = grey(100 * place + number, (18, 18))
            stored = np.repeat(values[..., None], 3, axis=2) if name == "Viral Pneumonia" else values
            write_png(folder / name / "images" / f"{name}-{number}.png", stored)
            write_mask(folder / name / "masks" / f"{name}-{number}.png", disc((12, 12), (6, 6), 4))
        (folder / f"{name}.metadata.xlsx").write_bytes(b"PK")
    (folder / "README.md.txt").write_text("x")
    return folder


RADIOGRAPHY = {"source": "radiography", "image_size": [9, 9], "block_size": 4}


def test_chest_x_rays_with_lungs_of_a_coarser_grid(tmp_path: Path) -> None:
    write_radiography(tmp_path)
    with run(RADIOGRAPHY, tmp_path) as cohort:
        assert cohort.classes == ("Normal", "COVID", "Lung_Opacity", "Viral Pneumonia")
        assert cohort.has_controls
        # Numbers are counted, not spelled: 10 and 11 come after 9.
        assert cohort.scan_ids[:3] + cohort.scan_ids[9:11] == [f"Normal-{n}" for n in (1, 2, 3, 10, 11)]
        assert [one[-2:] for one in cohort.participants["participant_id"][:12]] == (
            ["01"] * 4 + ["02"] * 4 + ["03"] * 3 + ["04"]
        )
        assert "Viral_Pneumonia-11" in cohort.scan_ids
        np.testing.assert_array_equal(cohort.labels("COVID-3"), Framing((9, 9)).mask(disc((12, 12), (6, 6), 4)))
        assert cohort.truth("COVID-3") is None
        assert cohort.label_names == {1: "lungs"}
        assert cohort.description["unit"] == "blocks of 4 neighbouring files (no patient ids)"


def test_lungs_can_stand_in_for_lesions_of_patients_only(tmp_path: Path) -> None:
    write_radiography(tmp_path)
    with run({**RADIOGRAPHY, "lungs_as_lesion": True}, tmp_path) as cohort:
        lungs = Framing((9, 9)).mask(disc((12, 12), (6, 6), 4))
        np.testing.assert_array_equal(cohort.truth("COVID-3"), lungs)
        assert not cohort.truth("Normal-3").any()
        assert cohort.description["lesion"] == "the lungs stand in for the lesion"
    with pytest.raises(ConfigError, match="lung_masks: true"):
        run({**RADIOGRAPHY, "lungs_as_lesion": True, "lung_masks": False}, tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"classes": ["COVID", "Normal"]},
        {"classes": ["sick", "well"], "diagnosis": {"sick": ["COVID"], "well": ["Normal"]}},
    ],
)
def test_lungs_stand_in_for_lesions_only_beside_a_control(tmp_path: Path, keys: dict) -> None:
    # Refused before a file is read: there is none.
    with pytest.raises(ConfigError, match="not the first class") as caught:
        open_source(completed({**RADIOGRAPHY, "lungs_as_lesion": True, **keys}), seed=1, root=tmp_path)
    assert caught.value.field == "cohort.classes" and "lungs_as_lesion: false" in str(caught.value.remedy)
    write_radiography(tmp_path)
    with run({**RADIOGRAPHY, "lungs_as_lesion": True, "classes": ["COVID", "Lung_Opacity"]}, tmp_path) as cohort:
        assert not cohort.has_controls and cohort.truth("COVID-3").any()
    with run({**RADIOGRAPHY, "classes": ["COVID", "Normal"]}, tmp_path) as cohort:
        assert not cohort.has_controls


def test_a_missing_class_or_mask_is_named(tmp_path: Path) -> None:
    folder = write_radiography(tmp_path)
    (folder / "COVID/masks/COVID-4.png").unlink()
    with pytest.raises(IntakeError, match="COVID-4.*no mask"):
        run(RADIOGRAPHY, tmp_path)
    with run({**RADIOGRAPHY, "lung_masks": False}, tmp_path) as cohort:
        assert cohort.labels("COVID-3") is None
    write_mask(folder / "COVID/masks/COVID-4.png", disc((12, 6), (6, 3), 2))
    with pytest.raises(IntakeError, match="12 x 6 pixels, its image 18 x 18"):
        run(RADIOGRAPHY, tmp_path)
    (folder / "Normal").rename(folder / "normal_")
    with pytest.raises(IntakeError, match=r"'Normal' has no image"):
        run(RADIOGRAPHY, tmp_path)
    with run({**RADIOGRAPHY, "lung_masks": False, "classes": ["COVID", "Lung_Opacity"]}, tmp_path) as cohort:
        assert not cohort.has_controls


# ------------------------------------------------------------------------------------------- real data


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "brain_tumor_cheng").is_dir(), reason="the tumour slices are not here")
def test_real_brain_tumours(tmp_path: Path) -> None:
    with run({"source": "cheng", "layout": "png", "block_size": 10}, SHARED, tmp_path) as cohort:
        assert len(cohort) == 300
        assert cohort.participants.groupby("diagnosis").size().to_dict() == dict.fromkeys(cohort.classes, 100)
        blocks = cohort.participants.groupby("participant_id")
        assert (blocks["diagnosis"].nunique() == 1).all() and len(blocks) == 30
        lesions = np.array([cohort.truth(name) for name in cohort.scan_ids])
        shares = lesions.mean(axis=(1, 2))
        assert (shares > 0).all() and shares.max() < 0.2
        # The share of a lesion survives the grid, 256 x 256 to 128 x 128, up to pixels of which it covers just half.
        masks = SHARED / "brain_tumor_cheng/masks"
        whole = [(np.asarray(Image.open(path)) > 0).mean() for path in sorted(masks.glob("*.png"))]
        np.testing.assert_allclose(shares.mean(), np.mean(whole), rtol=0.04)


def write_xray_table(root: Path) -> int:
    """Write the shared X-rays with masks as files of their own; return how many there are."""
    import shutil

    shared = SHARED / "covid_cxr_seg"
    packed = np.load(shared / "masks_packed.npz")
    rows: list[dict[str, object]] = []
    with (shared / "images.csv").open(encoding="utf-8") as handle:
        listed = list(csv.DictReader(handle))
    for one in listed:
        stem, shape = Path(one["file"]).stem, (int(one["h"]), int(one["w"]))

        def union(*names: str, stem: str = stem, shape: tuple[int, int] = shape) -> np.ndarray:
            keys = [f"{stem}||{name}" for name in names if f"{stem}||{name}" in packed]
            parts = [np.unpackbits(packed[key])[: shape[0] * shape[1]].reshape(shape) for key in keys]
            return np.any(parts, axis=0) if parts else np.zeros(shape, bool)

        (root / "images").mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "images" / one["file"], root / "images" / one["file"])
        write_mask(root / f"lesions/{stem}.png", union("Ground Glass Opacities", "Consolidation"))
        write_mask(root / f"lungs/{stem}.png", union("Left Lung", "Right Lung"))
        paths = {"path": f"images/{one['file']}", "mask_path": f"lesions/{stem}.png", "lungs_path": f"lungs/{stem}.png"}
        rows.append({"scan_id": stem, "diagnosis": one["finding"], **paths})
    write_rows(root / "images.tsv", rows)
    return len(rows)


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "covid_cxr_seg").is_dir(), reason="the chest X-rays are not here")
def test_real_chest_x_rays_in_tiles(tmp_path: Path) -> None:
    n_images = write_xray_table(tmp_path)
    spec = {
        "source": "images",
        "table": "images.tsv",
        "classes": ["unaffected", "affected"],
        "participants": "images",
        "regions": {"lungs": "lungs_path"},
        "image_size": [32, 32],
        "tiles": {"size": [64, 64], "affected_share": 0.5, "clear_share": 0.0, "region_share": 0.5},
    }
    with run(spec, tmp_path) as cohort:
        table = cohort.participants
        counts = table["diagnosis"].value_counts()
        assert counts["affected"] > 50 and counts["unaffected"] > 50
        assert table["image"].nunique() > 0.9 * n_images
        assert (table["participant_id"] == table["image"]).all()
        truths = {name: float(cohort.truth(name).mean()) for name in cohort.scan_ids[::7]}
        for name, share in truths.items():
            assert share == pytest.approx(table.loc[name, "lesion_share"], abs=0.03)
        lungs = [float((cohort.labels(name) > 0).mean()) for name in cohort.scan_ids[::7]]
        assert min(lungs) > 0.45


def test_an_original_slice_of_another_kind_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "1.mat", "w") as file:
        file["cjdata/image"] = np.zeros((4, 4, 4))
    with pytest.raises(IntakeError, match="no image of rows and columns"):
        read_slice(tmp_path / "1.mat")
