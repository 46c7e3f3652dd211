from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import numpy as np
import pandas as pd
import pytest

from heatproof.cohorts.anatomies import Anatomies, assign, open_source
from heatproof.cohorts.anatomy_files import list_files
from heatproof.cohorts.templates import mni_template_on
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError, IntakeError
from heatproof.files import write_nifti, write_table
from heatproof.geometry import Grid
from heatproof.randomness import generator
from heatproof.truths.injected import truth_mask

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SEED = 5
# A left-handed grid, as radiologists' files often have: x falls with the first index.
GRID = Grid((26, 32, 26), np.array([[-7.0, 0, 0, 91], [0, 7.0, 0, -126], [0, 0, 7.0, -77], [0, 0, 0, 1]]))
AGES = {"a1": 70.0, "a2": 70.0, "b1": 25.0, "c1": 68.0, "d1": 22.0, "e1": 81.0}
REGIONS = {"hippocampus": [48, 47], "precuneus": [169, 168]}
CENTRES = {
    47: (26.0, -22, -12),
    48: (-26.0, -22, -12),
    168: (9.0, -58, 46),
    169: (-9.0, -58, 46),
}


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    """A folder of six small brains of five people, each with labels of its own."""
    root = tmp_path_factory.mktemp("anatomies")
    template, world = mni_template_on(GRID), GRID.coordinates()
    for index, scan_id in enumerate(AGES):
        texture = generator(index, "texture").normal(1, 0.02, GRID.shape)
        labels = np.zeros(GRID.shape, dtype=np.uint8)
        for label, centre in CENTRES.items():
            # Each brain has its areas at a place of its own.
            labels[np.linalg.norm(world - np.array(centre) - [0, index, 0], axis=-1) < 13] = label
        labels[template.intensity == 0] = 0
        write_nifti((template.intensity * texture * 900).astype(np.float32), GRID.affine, root / f"{scan_id}_T1.nii.gz")
        write_nifti(labels, GRID.affine, root / f"{scan_id}_labels.nii.gz")
        write_nifti((template.grey_matter * 200).astype(np.uint8), GRID.affine, root / f"{scan_id}_grey.nii.gz")
    people = pd.DataFrame({"id": list(AGES), "Age": list(AGES.values()), "Gender": ["F", "F", "M", "M", "F", "M"]})
    write_table(people, root / "people.tsv")
    return root


def spec(**changes):
    properties = schema_entries("cohorts_simulated.yaml")["anatomies"]["properties"]
    defaults = {key: entry["default"] for key, entry in properties.items() if "default" in entry}
    ours = {
        "scan": "{scan_id}_T1.nii.gz",
        "labels": "{scan_id}_labels.nii.gz",
        "grey_matter": "{scan_id}_grey.nii.gz",
        "grey_matter_scale": 200.0,
        "table": "people.tsv",
        "columns": {"scan_id": "id", "age": "Age", "sex": "Gender"},
        "same_person": {"a2": "a1"},
        "regions": REGIONS,
        "region_probability": 1.0,
    }
    return {**defaults, **ours, **changes}


def anatomies(root, **changes):
    return Anatomies(spec(**changes), SEED, root)


def rows(root, **changes):
    return pd.DataFrame([record.row for record in anatomies(root, **changes)])


def test_every_scan_keeps_its_person_and_a_person_is_wholly_ill_or_well(brains):
    table = rows(brains, n_variants=3)
    assert len(table) == 18
    assert table["scan_id"].is_unique
    assert table["participant_id"].nunique() == 5
    assert set(table.loc[table["anatomy_id"].isin(["a1", "a2"]), "participant_id"]) == {"a1"}
    assert (table.groupby("participant_id")["target"].nunique() == 1).all()
    assert (table.groupby("participant_id")["severity"].nunique() == 1).all()


def test_rescans_of_a_table_with_persons_need_no_list(brains):
    people = pd.read_csv(brains / "people.tsv", sep="\t").assign(Subject=["p1", "p1", "p2", "p3", "p4", "p5"])
    write_table(people, brains / "subjects.tsv")
    columns = {"scan_id": "id", "participant_id": "Subject", "age": "Age", "sex": "Gender"}
    table = rows(brains, table="subjects.tsv", columns=columns, same_person={})
    assert table["participant_id"].tolist() == ["p1", "p1", "p2", "p3", "p4", "p5"]


def test_one_of_two_neighbours_in_age_is_a_patient(brains):
    drawn = set()
    for seed in range(8):
        decided = assign(list_files(spec(), brains), spec(), seed)
        ill = {name for name, assignment in decided.items() if assignment.patient}
        # Young: d1 (22) and b1 (25). Old: c1 (68) and a1 (70). e1 (81) is left over.
        assert len(ill & {"b1", "d1"}) == 1
        assert len(ill & {"a1", "c1"}) == 1
        drawn.add(tuple(sorted(ill)))
    assert len(drawn) > 2


def test_in_the_paired_design_each_scan_is_healthy_and_ill_under_one_person(brains):
    table = rows(brains, design="paired", n_variants=2)
    assert len(table) == 24
    assert (table.groupby("anatomy_id")["target"].sum() == 2).all()
    assert table["participant_id"].nunique() == 5
    assert table["scan_id"].is_unique


def test_the_truth_is_the_difference_to_the_same_scan_without_the_effect(brains):
    ill = anatomies(brains, noise=0.0, design="paired")
    well = anatomies(brains, noise=0.0, design="paired", loss=0.0, contraction_mm=0.0)
    for with_effect, without in zip(list(ill)[:4], list(well)[:4], strict=True):
        scan, twin = with_effect.load(), without.load()
        np.testing.assert_array_equal(scan.truth, np.abs(scan.values - twin.values)[0])
        assert (scan.truth.max() > 0) == (with_effect.row["target"] == 1)


def test_the_effect_lies_on_the_brains_own_areas_and_shrinks_them(brains):
    for index in (0, 5):
        record = [r for r in anatomies(brains, design="paired") if r.row["target"] == 1][index]
        scan = record.load()
        world = GRID.coordinates()
        cohort = anatomies(brains)
        inside = cohort.grid.coordinates()[truth_mask(scan.truth)]
        centres = np.array(list(CENTRES.values())) + [0, index, 0]
        nearest = np.linalg.norm(inside[:, None] - centres[None], axis=-1).min(axis=1)
        assert nearest.max() < 32
        assert np.median(nearest) < 16
        healthy = [r for r in anatomies(brains, design="paired") if r.row["target"] == 0][index].load()
        for label in (47, 48):
            assert scan.volumes[label] < 0.9 * healthy.volumes[label]
        assert world.shape[:3] == GRID.shape


def test_cropping_and_resampling_keep_every_area_at_its_place(brains):
    for changes in ({"crop": False}, {"crop": True}, {"resolution_mm": 6.0}, {"resolution_mm": 8.0, "crop": False}):
        cohort = anatomies(brains, variant_amplitude_mm=0.0, **changes)
        scan = next(iter(anatomies(brains, variant_amplitude_mm=0.0, loss=0.0, contraction_mm=0.0, **changes))).load()
        for label, centre in CENTRES.items():
            measured = cohort.grid.world(np.argwhere(scan.labels == label)).mean(axis=0)
            np.testing.assert_allclose(measured, centre, atol=3.5, err_msg=str((changes, label)))
        assert scan.values.shape[1:] == cohort.grid.shape == cohort.template.intensity.shape
        overlap = (scan.values[0] > 0) & (cohort.template.intensity > 0)
        assert 1 < cohort.template.bright / cohort.template.fluid < 4
        assert 2 * overlap.sum() / ((scan.values[0] > 0).sum() + (cohort.template.intensity > 0).sum()) > 0.9


def test_cropping_takes_away_background_only(brains):
    whole, cropped = anatomies(brains, crop=False), anatomies(brains)
    assert np.prod(cropped.grid.shape) < 0.9 * np.prod(whole.grid.shape)
    assert (cropped.template.intensity > 0).sum() == (whole.template.intensity > 0).sum()


def test_a_cropped_scan_holds_the_very_voxels_of_the_file(brains):
    import nibabel

    cohort = anatomies(brains, variant_amplitude_mm=0.0, noise=0.0, bias=0.0, loss=0.0, contraction_mm=0.0)
    values = next(iter(cohort)).load().values[0]
    file = nibabel.load(cohort.files[0].scan)
    voxels = np.argwhere(values > 0)[::7]
    there = np.rint(Grid(file.shape, file.affine).voxel(cohort.grid.world(voxels))).astype(int)
    np.testing.assert_allclose(values[tuple(voxels.T)], file.get_fdata()[tuple(there.T)], rtol=1e-5)


def test_variants_differ_but_share_the_disease(brains):
    records = [record for record in anatomies(brains, n_variants=2) if record.row["target"] == 1]
    one, two = records[0].load(), records[1].load()
    assert records[0].row["participant_id"] == records[1].row["participant_id"]
    assert np.abs(one.values - two.values).max() > 50
    overlap = truth_mask(one.truth) & truth_mask(two.truth)
    assert 2 * overlap.sum() / (truth_mask(one.truth).sum() + truth_mask(two.truth).sum()) > 0.6


def test_a_scan_does_not_depend_on_the_order_of_loading(brains):
    forward = {record.row["scan_id"]: record.load().values for record in anatomies(brains, n_variants=2)}
    for record in reversed(list(anatomies(brains, n_variants=2))):
        np.testing.assert_array_equal(record.load().values, forward[record.row["scan_id"]])


def test_without_labels_the_embedded_atlas_names_the_areas(brains):
    source = open_source(spec(labels="", regions={"Hippocampus": [], "Precuneus": []}), seed=SEED, root=brains)
    assert source.label_names[3] == "Hippocampus left"
    record = next(r for r in source.records if r.row["target"] == 1)
    assert record.load().truth.max() > 0
    np.testing.assert_array_equal(source.atlas > 0, source.atlas.astype(bool))


def test_scans_are_found_by_the_pattern_alone(brains):
    table = rows(brains, table="")
    assert table["anatomy_id"].tolist() == list(AGES)
    assert table["age"].isna().all()


def test_a_table_can_name_the_files(brains):
    frame = pd.DataFrame(
        {
            "scan_id": ["007", "008"],
            "path": ["a1_T1.nii.gz", "b1_T1.nii.gz"],
            "labels_path": ["a1_labels.nii.gz", "b1_labels.nii.gz"],
        }
    )
    write_table(frame, brains / "paths.tsv")
    cohort = anatomies(brains, table="paths.tsv", columns={}, scan="", labels="", grey_matter="", same_person={})
    assert [files.scan_id for files in cohort.files] == ["007", "008"]
    assert cohort.labelled
    record = next(record for record in cohort if record.row["target"] == 1)
    assert set(np.unique(record.load().labels)) == {0, *CENTRES}


def test_an_area_that_a_brain_lacks_is_named_with_the_scan(brains):
    record = next(r for r in anatomies(brains, regions={"nowhere": [77]}) if r.row["target"] == 1)
    with pytest.raises(IntakeError, match=r"area 77"):
        record.load()


def bare(pattern):
    """Return the changes for scans of a folder without labels, tissue maps or people."""
    plain = {"table": "", "labels": "", "grey_matter": "", "same_person": {}, "regions": {"Hippocampus": []}}
    return {**plain, "scan": pattern}


def test_one_brain_under_two_ids_is_refused_unless_it_is_one_person(brains, tmp_path):
    for name in ("a1", "b1"):
        copyfile(brains / f"{name}_T1.nii.gz", tmp_path / f"{name}_T1.nii.gz")
    copyfile(tmp_path / "a1_T1.nii.gz", tmp_path / "c9_T1.nii.gz")
    ours = spec(**bare("{scan_id}_T1.nii.gz"))
    with pytest.raises(IntakeError, match=r"c9_T1\.nii\.gz: image: the scans a1 and c9 .*same_person"):
        list_files(ours, tmp_path)
    joined = list_files({**ours, "same_person": {"c9": "a1"}}, tmp_path)
    assert [entry.participant_id for entry in joined] == ["a1", "b1", "a1"]


def test_a_damaged_first_scan_is_refused_by_itself_only(brains, tmp_path):
    copyfile(brains / "a1_T1.nii.gz", tmp_path / "b_T1.nii.gz")
    (tmp_path / "a_T1.nii.gz").write_bytes((brains / "b1_T1.nii.gz").read_bytes()[:200])
    first, second = anatomies(tmp_path, **bare("{scan_id}_T1.nii.gz"))
    with pytest.raises(IntakeError, match=r"a_T1\.nii\.gz"):
        first.load()
    assert second.load().values.any()


def test_a_scan_on_another_grid_is_refused(brains):
    affine = np.array(GRID.affine)
    affine[0, 3] += 1
    write_nifti(np.ones(GRID.shape, dtype=np.float32), affine, brains / "z9_other.nii.gz")
    write_nifti(np.ones(GRID.shape, dtype=np.float32), GRID.affine, brains / "a0_other.nii.gz")
    cohort = anatomies(
        brains,
        table="",
        scan="{scan_id}_other.nii.gz",
        labels="",
        grey_matter="",
        same_person={},
        regions={"Hippocampus": []},
    )
    with pytest.raises(IntakeError, match=r"z9_other\.nii\.gz.*grid"):
        list(cohort)[-1].load()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scan": "{scan_id}_T2.nii.gz"}, IntakeError, r"a1_T2\.nii\.gz"),
        ({"scan": "{scan_id}_T2.nii.gz", "table": ""}, IntakeError, "no scan was found"),
        ({"scan": "T1.nii.gz", "table": ""}, ConfigError, "pattern"),
        ({"same_person": {"a2": "q7"}}, ConfigError, "there is no scan q7"),
        ({"same_person": {"a2": "a1", "a1": "a2"}}, ConfigError, "circle"),
        ({"folder": "../elsewhere"}, ConfigError, "leads out of the data root"),
        ({"regions": {"hippocampus": []}}, ConfigError, "label numbers"),
        ({"severity_minimum": 0.9, "severity_maximum": 0.5}, ConfigError, "severity"),
    ],
)
def test_wrong_entries_end_in_an_error_that_names_them(brains, changes, error, message):
    with pytest.raises(error, match=message):
        anatomies(brains, **changes)


def test_an_id_that_occurs_twice_is_refused(brains):
    write_table(pd.DataFrame({"id": ["a1", "a1"]}), brains / "twice.tsv")
    with pytest.raises(IntakeError, match="a1 occurs more than once"):
        anatomies(brains, table="twice.tsv", same_person={})


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "oasis_malf").exists(), reason="the real scans are not on this machine")
def test_the_real_scans_carry_an_effect_on_their_own_hippocampi():
    cohort = Anatomies(
        spec(
            folder="oasis_malf/mni2mm_affine",
            scan="{scan_id}_T1brain.nii.gz",
            grey_matter="{scan_id}_GMfrac.nii.gz",
            grey_matter_scale=255.0,
            table="oasis_malf/demographics.csv",
            labels_table="oasis_malf/labels_used.csv",
            same_person={"1023": "1003", "1024": "1004", "1025": "1005", "1038": "1018", "1039": "1019"},
            regions={"hippocampus": [47, 48]},
            design="paired",
        ),
        SEED,
        SHARED,
    )
    records = list(cohort)
    assert len(records) == 70
    assert len({record.row["participant_id"] for record in records}) == 30
    healthy, ill = records[0].load(), records[1].load()
    assert cohort.label_names[47] == "Right Hippocampus"
    for label, sign in ((47, 1), (48, -1)):
        place = cohort.grid.world(np.argwhere(healthy.labels == label)).mean(axis=0)
        np.testing.assert_allclose(place, [sign * 26, -22, -14], atol=7)
        assert 2000 < healthy.volumes[label] < 6000
        assert ill.volumes[label] < healthy.volumes[label]
    affected = truth_mask(ill.truth)
    assert affected[np.isin(ill.labels, [47, 48])].mean() > 0.5
    assert affected.mean() < 0.03
