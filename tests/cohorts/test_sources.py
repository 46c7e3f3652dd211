"""Sources that read files, each on a fixture in exactly the layout of its data."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

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
)

from heatproof.cohorts.backdrop import open_grid, open_mask, read_label_names
from heatproof.cohorts.people import People
from heatproof.cohorts.sources import SOURCES, open_source
from heatproof.cohorts.store import Cohort
from heatproof.cohorts.trees import entities_of
from heatproof.errors import ConfigError, HeatproofError, IntakeError
from heatproof.files import read_table
from heatproof.geometry import Grid
from heatproof.stages.prepare import prepare

COMMON = {"mask": "none"}


def run(spec: dict[str, object], root: Path) -> Cohort:
    files = outputs(root / "results")
    prepare({**COMMON, **spec}, seed=1, root=root, **files)
    return Cohort(files["cohort"])


def excluded(root: Path) -> dict[str, str]:
    table = read_table(root / "results/intake.tsv").query("action == 'excluded'")
    return dict(zip(table["scan_id"], table["reason"], strict=True))


# ---------------------------------------------------------------------------------------------- table


def test_table_keeps_free_columns_and_leaves_other_diagnoses_out(tmp_path: Path) -> None:
    names = ["CN", "AD", "MCI", "EMCI", "1", "CN"]
    rows = [
        {**row, "diagnosis": name, "site": "A", "family": f"f{number // 2}"}
        for number, (row, name) in enumerate(zip(table_rows(), names, strict=True))
    ]
    write_cohort(tmp_path)
    write_rows(tmp_path / "scans.tsv", rows)
    with run(table_spec(diagnosis={"HC": ["CN"], "AD": ["AD", 1]}), tmp_path) as cohort:
        assert cohort.participants["diagnosis"].tolist() == ["HC", "AD", "AD", "HC"]
        assert cohort.participants["target"].tolist() == [0, 1, 1, 0]
        assert cohort.participants["family"].tolist() == ["f0", "f0", "f2", "f2"]
        assert "path" not in cohort.participants.columns
    assert set(excluded(tmp_path)) == {"scan-2", "scan-3"}
    assert excluded(tmp_path)["scan-2"] == "the diagnosis 'MCI' is not part of this study"


def test_numbers_with_gaps_are_still_diagnoses(tmp_path: Path) -> None:
    # A missing cell turns the column into floats: 0.0 must still be the config's 0.
    rows = [{**row, "diagnosis": value} for row, value in zip(table_rows(4), [0, 1, "n/a", 0], strict=True)]
    write_cohort(tmp_path, 4)
    write_rows(tmp_path / "scans.tsv", rows)
    spec = table_spec(diagnosis={"HC": [0], "AD": [1]}, on_bad_scan="exclude")
    with run(spec, tmp_path) as cohort:
        assert cohort.participants["target"].tolist() == [0, 1, 0]
    assert excluded(tmp_path) == {"scan-2": "the diagnosis is missing"}


def test_a_misspelled_diagnosis_is_never_left_out_silently(tmp_path: Path) -> None:
    rows = table_rows()
    rows[1]["diagnosis"] = "ad"
    write_cohort(tmp_path)
    write_rows(tmp_path / "scans.tsv", rows)
    with pytest.raises(IntakeError, match="'ad' is none of HC, AD"):
        run(table_spec(diagnosis={"HC": ["HC"], "AD": ["AD"]}), tmp_path)


@pytest.mark.parametrize("mapping", [{"HC": ["CN"]}, {"HC": ["x"], "AD": ["x"]}, {"CN": ["a"], "AD": ["b"]}])
def test_a_mapping_that_contradicts_the_classes_is_refused(tmp_path: Path, mapping: dict) -> None:
    write_cohort(tmp_path)
    with pytest.raises(ConfigError, match=r"cohort\.diagnosis"):
        run(table_spec(diagnosis=mapping), tmp_path)


def test_missing_column_names_the_column(tmp_path: Path) -> None:
    write_rows(tmp_path / "scans.tsv", [{"scan_id": "a", "participant_id": "b", "diagnosis": "HC"}])
    with pytest.raises(HeatproofError, match="path: the column is missing"):
        run(table_spec(), tmp_path)


def test_volumes_of_own_labels_are_counted_on_their_own_grid(tmp_path: Path) -> None:
    rows = [{**row, "labels_path": "labels.nii.gz"} for row in table_rows(4)]
    labels = np.zeros(SHAPE, np.int16)
    labels[1:3, 2, 2] = 47
    labels[4, 4, 4] = 200
    for number, row in enumerate(rows):
        write_image(tmp_path / str(row["path"]), brain(number))
    write_image(tmp_path / "labels.nii.gz", labels)
    write_rows(tmp_path / "scans.tsv", rows)
    write_rows(tmp_path / "names.tsv", [{"index": 47, "name": "hippocampus"}, {"index": 9, "name": "lost"}])
    coarse = AFFINE @ np.diag([2, 2, 2, 1])
    write_image(tmp_path / "grid.nii.gz", np.ones((3, 4, 3), np.float32), coarse)
    with run(
        table_spec(grid="grid.nii.gz", resample=True, atlas={"path": None, "names": "names.tsv"}), tmp_path
    ) as cohort:
        assert cohort.grid.shape == (3, 4, 3)
        assert cohort.labels("scan-0").dtype == np.int32
    table = read_table(tmp_path / "results/volumes.tsv").query("scan_id == 'scan-0'")
    assert table["area"].tolist() == [9, 47, 200]
    assert table["volume_mm3"].tolist() == [0, 2 * 8000, 8000]
    assert table["name"].tolist()[:2] == ["lost", "hippocampus"]


def test_tissue_density_is_summed_over_the_atlas(tmp_path: Path) -> None:
    write_cohort(tmp_path, 4)
    labels = np.zeros(SHAPE, np.int16)
    labels[0] = 3
    write_image(tmp_path / "atlas.nii.gz", labels[::-1].copy(), _flipped())
    spec = table_spec(density=True, atlas={"path": "atlas.nii.gz", "names": None})
    with run(spec, tmp_path) as cohort:
        np.testing.assert_array_equal(cohort.atlas, labels)
    table = read_table(tmp_path / "results/volumes.tsv").set_index("scan_id")
    assert table.loc["scan-2", "volume_mm3"] == pytest.approx(brain(2)[0].sum() * 8000, rel=1e-6)


def test_common_atlas_alone_measures_no_volume(tmp_path: Path) -> None:
    write_cohort(tmp_path, 4)
    write_image(tmp_path / "atlas.nii.gz", np.ones(SHAPE, np.int16))
    run(table_spec(atlas={"path": "atlas.nii.gz", "names": None}), tmp_path)
    assert len(read_table(tmp_path / "results/volumes.tsv")) == 0


# ----------------------------------------------------------------------------------- grid, mask, names


def _flipped() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += 20 * (SHAPE[0] - 1)
    affine[0, 0] *= -1
    return affine


def test_template_grid_and_mask_fit() -> None:
    grid, template = open_grid({"grid": "mni152", "resolution_mm": 8}, Path(), [], "strict")
    assert grid.voxel_sizes == (8, 8, 8)
    mask = open_mask("template", Path(), grid)
    assert template is not None and mask is not None
    assert mask.shape == grid.shape == template.shape
    # The brain is some 1.8 litres with its fluid, and bright where the mask is.
    assert 1.5e6 < mask.sum() * grid.voxel_volume < 2.2e6
    assert template[mask].mean() > 5 * template[~mask].mean()


def test_mask_follows_a_flipped_grid() -> None:
    one = open_mask("template", Path(), Grid(SHAPE, AFFINE))
    other = open_mask("template", Path(), Grid(SHAPE, _flipped()))
    assert one is not None and other is not None
    np.testing.assert_array_equal(one, other[::-1])


def test_template_mask_needs_a_place_in_the_head(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="identity affine"):
        open_mask("template", tmp_path, Grid(SHAPE, np.eye(4)))
    write_image(tmp_path / "empty.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(ConfigError, match="empty"):
        open_mask("empty.nii.gz", tmp_path, Grid(SHAPE, AFFINE))


def test_first_grid_skips_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    (tmp_path / "images/scan-0.nii.gz").write_bytes(b"")
    with run(table_spec(grid="first", on_bad_scan="exclude"), tmp_path) as cohort:
        assert len(cohort) == 5
        np.testing.assert_allclose(cohort.grid.affine, AFFINE)


def test_no_readable_image_at_all(tmp_path: Path) -> None:
    write_rows(tmp_path / "scans.tsv", table_rows())
    with pytest.raises(IntakeError, match="no image can be read"):
        run(table_spec(grid="first"), tmp_path)


@pytest.mark.parametrize("text", ["index\tname\n1\tone\n300\tthree hundred\n", "0,null\n1,one\n300,three hundred\n"])
def test_label_names(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names"
    path.write_text(text)
    assert read_label_names(path) == {1: "one", 300: "three hundred"}


@pytest.mark.parametrize("text", ["1\tone\nx\ttwo\n", "1\tone\n1\tagain\n", "1\n"])
def test_label_names_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names"
    path.write_text(text)
    with pytest.raises(ConfigError, match="line"):
        read_label_names(path)


# ----------------------------------------------------------------------------------------------- BIDS


def bids_folder(root: Path) -> Path:
    folder = root / "derivatives"
    diagnoses = {"sub-01": "CN", "sub-02": "AD", "sub-03": "n/a", "sub-04": "AD"}
    rows = [
        {"participant_id": name, "diagnosis": diagnosis, "age": 70, "sex": "F"} for name, diagnosis in diagnoses.items()
    ]
    write_rows(folder / "participants.tsv", rows)
    for number, subject in enumerate(("sub-01", "sub-02", "sub-03")):
        for session in ("ses-1", "ses-2")[: 1 + (number == 0)]:
            name = f"{subject}_{session}_space-MNI152NLin2009cAsym_res-2_desc-preproc_T1w.nii.gz"
            place = folder / subject / session / "anat"
            write_image(place / name, brain(10 * number + int(session[-1])))
            native = brain(40 + number + 10 * int(session[-1]))
            write_image(place / f"{subject}_{session}_desc-preproc_T1w.nii.gz", native)
            write_image(
                place / f"{subject}_{session}_space-MNI152NLin2009cAsym_res-2_label-GM_probseg.nii.gz",
                brain(),
            )
    write_rows(
        folder / "sub-01/sub-01_sessions.tsv",
        [{"session_id": "ses-1", "age": 71}, {"session_id": "ses-2", "age": 73}],
    )
    return folder


BIDS = {
    "source": "bids",
    "folder": "derivatives",
    "entities": {"space": "MNI152NLin2009cAsym", "res": 2, "desc": "preproc", "suffix": "T1w", "run": None},
    "diagnosis": {"HC": ["CN"], "AD": ["AD"]},
}


def test_bids(tmp_path: Path) -> None:
    bids_folder(tmp_path)
    with run({**BIDS, "on_bad_scan": "exclude"}, tmp_path) as cohort:
        assert cohort.scan_ids == ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"]
        assert cohort.participants["participant_id"].tolist() == ["sub-01", "sub-01", "sub-02"]
        assert cohort.participants["age"].tolist() == [71, 73, 70]
        assert cohort.participants["diagnosis"].tolist() == ["HC", "HC", "AD"]
        np.testing.assert_array_equal(cohort.scan("sub-01_ses-2")[0], brain(2))
    assert excluded(tmp_path) == {
        "sub-03_ses-1": "the diagnosis is missing",
        "sub-04": "no image of this participant matches",
    }


def test_bids_refuses_to_choose_among_several_images(tmp_path: Path) -> None:
    bids_folder(tmp_path)
    entities = {"suffix": "T1w"}
    with pytest.raises(IntakeError, match="2 images match"):
        run({**BIDS, "entities": entities}, tmp_path)


def test_bids_empty_entity_asks_for_none(tmp_path: Path) -> None:
    bids_folder(tmp_path)
    spec = {**BIDS, "entities": {"space": "", "desc": "preproc"}, "on_bad_scan": "exclude"}
    with run(spec, tmp_path) as cohort:
        np.testing.assert_array_equal(cohort.scan("sub-02_ses-1")[0], brain(51))


def test_bids_unknown_entity(tmp_path: Path) -> None:
    bids_folder(tmp_path)
    with pytest.raises(ConfigError, match="colour"):
        run({**BIDS, "entities": {"colour": "red"}}, tmp_path)


def test_entities_of_a_name() -> None:
    assert entities_of("sub-1_ses-M00_T1w_space-MNI_desc-Crop_T1w.nii.gz") == {
        "sub": "1",
        "ses": "M00",
        "space": "MNI",
        "desc": "Crop",
        "suffix": "T1w",
    }


# ----------------------------------------------------------------------------------------------- CAPS


def caps_folder(root: Path) -> Path:
    folder = root / "caps"
    write_rows(
        folder / "participants.tsv",
        [{"participant_id": f"sub-ADNI{number}", "sex": "M", "diagnosis_sc": "AD"} for number in range(4)],
    )
    sessions = {0: ["CN", "CN"], 1: ["MCI", "AD"], 2: ["n/a", "AD"], 3: ["CN", "AD"]}
    for number, diagnoses in sessions.items():
        subject = f"sub-ADNI{number}"
        rows = [
            {"session_id": f"ses-M{12 * visit:03d}", "age": 70 + visit, "diagnosis": diagnosis}
            for visit, diagnosis in enumerate(diagnoses)
        ]
        write_rows(folder / f"subjects/{subject}/{subject}_sessions.tsv", rows)
        for visit, row in enumerate(rows):
            place = folder / f"subjects/{subject}/{row['session_id']}"
            stem = f"{subject}_{row['session_id']}"
            key = 10 * number + visit
            linear = f"{stem}_T1w_space-MNI152NLin2009cSym"
            write_image(place / f"t1_linear/{linear}_desc-Crop_res-1x1x1_T1w.nii.gz", brain(key))
            write_image(place / f"t1_linear/{linear}_res-1x1x1_T1w.nii.gz", brain(100 + key))
            grey = f"{stem}_T1w_segm-graymatter_space-Ixi549Space_modulated"
            dartel = place / "t1/spm/dartel/group-ADNI"
            write_image(dartel / f"{grey}-on_probability.nii.gz", brain(200 + key))
            write_image(dartel / f"{grey}-on_fwhm-8mm_probability.nii.gz", brain(300 + key))
            write_image(dartel / f"{grey}-off_probability.nii.gz", brain(400 + key))
    return folder


CAPS = {"source": "caps", "folder": "caps", "on_bad_scan": "exclude"}
CAPS_SCANS = ["sub-ADNI0_ses-M000", "sub-ADNI0_ses-M012", "sub-ADNI1_ses-M012", "sub-ADNI2_ses-M012",
              "sub-ADNI3_ses-M000", "sub-ADNI3_ses-M012"]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "offset"),
    [
        ({}, 0),
        ({"crop": False}, 100),
        ({"pipeline": "t1-volume", "group": "ADNI"}, 200),
        ({"pipeline": "t1-volume", "group": "ADNI", "fwhm_mm": 8}, 300),
        ({"pipeline": "t1-volume", "group": "ADNI", "modulated": False}, 400),
    ],
)
def test_caps(tmp_path: Path, keys: dict[str, object], offset: int) -> None:
    caps_folder(tmp_path)
    with run({**CAPS, **keys}, tmp_path) as cohort:
        assert cohort.scan_ids == CAPS_SCANS
        # The session's own diagnosis counts: person 3 converts, nobody gets the one at screening.
        assert cohort.participants["diagnosis"].tolist() == ["HC", "HC", "AD", "AD", "HC", "AD"]
        np.testing.assert_array_equal(cohort.scan("sub-ADNI3_ses-M012")[0], brain(offset + 31))
    assert excluded(tmp_path) == {
        "sub-ADNI1_ses-M000": "the diagnosis 'MCI' is not part of this study",
        "sub-ADNI2_ses-M000": "the diagnosis is missing",
    }


def test_caps_missing_diagnosis_stops_by_default(tmp_path: Path) -> None:
    caps_folder(tmp_path)
    with pytest.raises(IntakeError, match="sub-ADNI2_ses-M000.*diagnosis is missing"):
        run({**CAPS, "on_bad_scan": "stop"}, tmp_path)


def test_caps_only_modulated_maps_measure_volumes(tmp_path: Path) -> None:
    caps_folder(tmp_path)
    write_image(tmp_path / "atlas.nii.gz", np.ones(SHAPE, np.int16))
    spec = {**CAPS, "pipeline": "t1-volume", "group": "ADNI", "atlas": {"path": "atlas.nii.gz"}}
    run(spec, tmp_path)
    assert len(read_table(tmp_path / "results/volumes.tsv")) == 6
    run({**spec, "modulated": False}, tmp_path)
    assert len(read_table(tmp_path / "results/volumes.tsv")) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"diagnosis_column": "diagnosis_sc"}, "screening"),
        ({"pipeline": "t1-volume"}, "group"),
        ({"pipeline": "t1-volume", "group": "../x"}, "group"),
        ({"pipeline": "pet"}, "not known"),
    ],
)
def test_caps_refuses(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    caps_folder(tmp_path)
    with pytest.raises(ConfigError, match=message):
        run({**CAPS, **keys}, tmp_path)


def test_caps_mask_and_template_lie_on_its_grid(tmp_path: Path) -> None:
    caps_folder(tmp_path)
    with run({**CAPS, "mask": "template"}, tmp_path) as cohort:
        assert cohort.template is not None
        assert cohort.mask.shape == cohort.template.shape == SHAPE
        assert 0 < cohort.mask.mean() < 1


# ---------------------------------------------------------------------------------------------- OASIS


def oasis_folder(root: Path) -> None:
    folder = root / "nilearn_data/oasis1"
    people = [
        ("OAS1_0001_MR1", 74, "0"),
        ("OAS1_0002_MR1", 55, "0"),
        ("OAS1_0003_MR1", 73, "0.5"),
        ("OAS1_0004_MR1", 28, ""),
        ("OAS1_0005_MR1", 80, ""),
        ("OAS1_0027_MR1", 81, "1"),
        ("OAS1_0010_MR1", 74, "0"),
        ("OAS1_0010_MR2", 74, "0"),
        ("OAS1_0013_MR1", 81, "2"),
    ]
    columns = ("ID", "M/F", "Hand", "Age", "Educ", "SES", "MMSE", "CDR", "eTIV", "nWBV", "ASF", "Delay")
    rows = [
        dict(zip(columns, (scan_id, "F", "R", age, 2, 3, 29, cdr, 1344, 0.743, 1.306, "N/A"), strict=True))
        for scan_id, age, cdr in people
    ]
    write_rows(folder / "oasis_cross-sectional.csv", rows, ",")
    for number, (scan_id, _, _) in enumerate(people):
        for kind in (1, 2):
            name = f"mwrc{kind}{scan_id}_mpr_anon_fslswapdim_bet.nii.gz"
            write_image(folder / scan_id / name, brain(10 * number + kind))


def test_oasis_from_a_filled_folder_without_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keys: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    oasis_folder(tmp_path)
    with run({"source": "oasis", "offline": True}, tmp_path) as cohort:
        assert cohort.scan_ids == [
            "OAS1_0001_MR1", "OAS1_0003_MR1", "OAS1_0010_MR1", "OAS1_0010_MR2", "OAS1_0013_MR1"
        ]  # fmt: skip
        table = cohort.participants
        assert table["diagnosis"].tolist() == ["HC", "AD", "HC", "HC", "AD"]
        assert table.loc["OAS1_0010_MR2", "participant_id"] == "OAS1_0010"
        assert table["age"].tolist() == [74, 73, 74, 74, 81]
        assert set(table["sex"]) == {"F"}
        np.testing.assert_array_equal(cohort.scan("OAS1_0003_MR1")[0], brain(21))
    assert excluded(tmp_path) == {
        "OAS1_0002_MR1": "younger than 60 years",
        "OAS1_0004_MR1": "younger than 60 years",
        # Nobody without a rating is a control.
        "OAS1_0005_MR1": "no clinical dementia rating",
        "OAS1_0027_MR1": "its registration failed (nilearn hides it)",
    }


def test_oasis_offline_and_empty_is_an_error_without_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("a socket was opened"))
    with pytest.raises(IntakeError, match="offline: true forbids"):
        open_source({"source": "oasis", "offline": True}, seed=1, root=tmp_path)


def test_oasis_fills_an_empty_folder_with_nilearn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(**keys: object) -> None:
        assert keys["data_dir"] == tmp_path / "nilearn_data"
        assert keys["dartel_version"] is True
        oasis_folder(tmp_path)

    monkeypatch.setattr("nilearn.datasets.fetch_oasis_vbm", fetch)
    with run({"source": "oasis"}, tmp_path) as cohort:
        assert len(cohort) == 5


def lose_map(root: Path, scan_id: str) -> None:
    for path in (root / "nilearn_data/oasis1" / scan_id).glob("mwrc1*"):
        path.unlink()


def test_oasis_half_a_download_is_refused_offline_and_every_lost_scan_named(tmp_path: Path) -> None:
    oasis_folder(tmp_path)
    # Nobody misses a scan that the study leaves out, or a rescan, which nilearn does not distribute.
    for scan_id in ("OAS1_0001_MR1", "OAS1_0013_MR1", "OAS1_0002_MR1", "OAS1_0027_MR1", "OAS1_0010_MR2"):
        lose_map(tmp_path, scan_id)
    source = open_source({"source": "oasis", "offline": True}, seed=1, root=tmp_path)
    assert [one.scan_id for one in source.findings if one.kind == "bad"] == ["OAS1_0001_MR1", "OAS1_0013_MR1"]
    with pytest.raises(IntakeError, match=r"OAS1_0001_MR1\tnilearn_data/oasis1/OAS1_0001_MR1\tpath.*is missing"):
        run({"source": "oasis", "offline": True}, tmp_path)


def test_oasis_half_a_download_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oasis_folder(tmp_path)
    lose_map(tmp_path, "OAS1_0001_MR1")
    monkeypatch.setattr("nilearn.datasets.fetch_oasis_vbm", lambda **keys: oasis_folder(tmp_path))
    with run({"source": "oasis"}, tmp_path) as cohort:
        assert len(cohort) == 5


@pytest.mark.parametrize("source", ["oasis", "bids", "people", "sessions"])
def test_tables_of_a_folder_stay_inside_the_root(tmp_path: Path, source: str) -> None:
    root, outer = tmp_path / "root", tmp_path / "outer.tsv"
    table = {
        "oasis": "nilearn_data/oasis1/oasis_cross-sectional.csv",
        "sessions": "data/subjects/sub-1/sub-1_sessions.tsv",
    }.get(source, "data/participants.tsv")
    oasis_folder(root)
    write_rows(root / "data/participants.tsv", [{"participant_id": "sub-1", "diagnosis": "HC"}])
    write_rows(outer, [{"participant_id": "sub-1", "session_id": "ses-1", "ID": "x", "diagnosis": "HC"}])
    (root / table).parent.mkdir(parents=True, exist_ok=True)
    (root / table).unlink(missing_ok=True)
    (root / table).symlink_to(outer)
    with pytest.raises(ConfigError, match="data root"):
        if source in ("oasis", "bids"):
            open_source({"source": source, "folder": table.split("/")[0], "offline": True}, seed=1, root=root)
        else:
            People(root, root / "data", "diagnosis", session_level=True).row("sub-1", "ses-1")


# -------------------------------------------------------------------------------------------- registry


def test_unknown_source_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=", ".join(SOURCES)):
        open_source({"source": "os"}, seed=1, root=tmp_path)
    assert {"phantom", "anatomies", "table", "bids", "caps", "oasis"} < set(SOURCES)
    assert {"lesions", "images", "cheng", "radiography"} < set(SOURCES)


def test_stages_of_the_data_wing_import_no_torch() -> None:
    code = (
        "import sys, heatproof.stages.prepare, heatproof.stages.split, heatproof.cohorts.oasis, "
        "heatproof.cohorts.caps, heatproof.cohorts.bids, heatproof.cohorts.table, "
        "heatproof.cohorts.picture_table, heatproof.cohorts.cheng, heatproof.cohorts.radiography, "
        "heatproof.stages.fetch; "
        "print([m for m in ('torch', 'nilearn', 'nibabel', 'sklearn') if m in sys.modules])"
    )
    package = Path(__file__).resolve().parents[2] / "workflow"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package)
    assert found.stdout.strip() == "[]"
