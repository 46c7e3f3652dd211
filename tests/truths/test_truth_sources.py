"""Atlas, mask, literature and injected truths, the prior, the store, the schema and the stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import nibabel
import numpy as np
import pytest
import yaml

from heatproof.cohorts.store import LOG_JACOBIAN, RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.errors import ConfigError, GeometryError, TruthError
from heatproof.files import read_table, sha256_of
from heatproof.geometry import Grid
from heatproof.randomness import generator
from heatproof.stages.truth import truth as truth_stage
from heatproof.truths.atlases import PRIOR_CENTRES_MM, anatomical_prior, read_names
from heatproof.truths.literature import simulate
from heatproof.truths.sources import TRUTHS, build_truth
from heatproof.truths.store import STUDY_COLUMNS, Context, Truth, context_hash, read_truth, write_truth

AFFINE = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 46)
SCHEMAS = yaml.safe_load((Path(__file__).parents[2] / "workflow/schemas/truths.yaml").read_text())


def _grid() -> Grid:
    return Grid(SHAPE, AFFINE)


def _context(folder: Path, **changes) -> Context:
    mask = np.linalg.norm(_grid().coordinates() - [0, -18, 10], axis=-1) < 75
    plain = Context(_grid(), mask, seed=5, name="given", resolve=lambda path, field: folder / path)
    return replace(plain, **changes)


def _effect(centre=(26.0, -20.0, -14.0), radius: float = 12.0) -> np.ndarray:
    distance = np.linalg.norm(_grid().coordinates() - np.array(centre), axis=-1)
    return np.clip(1 - distance / radius, 0, None).astype(np.float32)


def _save(values: np.ndarray, affine: np.ndarray, path: Path, code: int = 4) -> None:
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    nibabel.save(image, path)


# ---- anatomical prior


def test_the_prior_peaks_at_its_centres_and_halves_at_half_its_width():
    grid = Grid((91, 109, 91), np.array([[-1.0, 0, 0, 45], [0, 1, 0, -60], [0, 0, 1, -50], [0, 0, 0, 1]]))
    prior = anatomical_prior(grid, centres_mm=[(10.0, -5.0, -9.0)], fwhm_mm=10)
    peak = np.unravel_index(prior.argmax(), prior.shape)
    np.testing.assert_allclose(grid.world(np.array([peak]))[0], [10, -5, -9])
    assert prior.max() == pytest.approx(1)
    assert prior[peak[0] + 5, peak[1], peak[2]] == pytest.approx(0.5, rel=1e-5)


def test_the_prior_covers_both_sides_and_refuses_a_grid_without_millimetres():
    prior = anatomical_prior(_grid())
    for centre in PRIOR_CENTRES_MM:
        voxel = np.rint(_grid().voxel(np.array([centre]))[0]).astype(int)
        assert prior[tuple(voxel)] > 0.7
    assert prior.dtype == np.float32
    with pytest.raises(GeometryError):
        anatomical_prior(Grid((32,), units="ms"))


# ---- atlas


def _atlas(folder: Path) -> np.ndarray:
    """Labels at 2 mm, left-right flipped against the cohort: 17 left, 200 right of the middle."""
    affine = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    grid = Grid((91, 109, 91), affine)
    world = grid.coordinates()
    labels = np.zeros(grid.shape, np.uint8)
    labels[np.linalg.norm(world - [-26, -20, -14], axis=-1) < 12] = 17
    labels[np.linalg.norm(world - [26, -20, -14], axis=-1) < 12] = 200
    _save(labels, affine, folder / "labels.nii.gz")
    (folder / "names.tsv").write_text("index\tname\n17\tHippocampus left\n200\tHippocampus right\n3\tAmygdala\n")
    return labels


def test_an_area_is_found_by_name_number_and_pattern_through_the_affine(tmp_path):
    _atlas(tmp_path)
    spec = {"source": "atlas", "labels": "labels.nii.gz", "names": "names.tsv"}
    left = build_truth({**spec, "areas": ["hippocampus LEFT"]}, _context(tmp_path))
    centre = _grid().world(np.argwhere(left.mask)).mean(axis=0)
    np.testing.assert_allclose(centre, [-26, -20, -14], atol=1)
    right = build_truth({**spec, "areas": [200]}, _context(tmp_path))
    both = build_truth({**spec, "areas": ["Hippocampus *"]}, _context(tmp_path))
    np.testing.assert_array_equal(both.mask, left.mask | right.mask)
    assert not (left.mask & right.mask).any()
    np.testing.assert_array_equal(both.values, both.mask.astype(np.float32))


def test_an_unknown_area_lists_close_names(tmp_path):
    _atlas(tmp_path)
    spec = {"source": "atlas", "labels": "labels.nii.gz", "names": "names.tsv", "areas": ["hipocampus left"]}
    with pytest.raises(ConfigError, match=r"hipocampus left.*Hippocampus left"):
        build_truth(spec, _context(tmp_path))


@pytest.mark.parametrize("wrong", [0.4, np.nan, np.inf, 2.0**31])
def test_a_map_that_is_no_label_volume_is_refused(tmp_path, wrong):
    labels = _atlas(tmp_path).astype(np.float32)
    affine = nibabel.load(tmp_path / "labels.nii.gz").affine
    spec = {"source": "atlas", "labels": "labels.nii.gz", "areas": [17]}
    _save(labels, affine, tmp_path / "labels.nii.gz")
    assert build_truth(spec, _context(tmp_path)).mask.any()
    labels[0, 0, 0] = wrong
    _save(labels, affine, tmp_path / "labels.nii.gz")
    with pytest.raises(TruthError, match=r"labels\.nii\.gz: truths\.given\.labels: labels must be whole numbers"):
        build_truth(spec, _context(tmp_path))


def test_an_area_that_the_grid_loses_is_named(tmp_path):
    _atlas(tmp_path)
    spec = {"source": "atlas", "labels": "labels.nii.gz", "names": "names.tsv"}
    truth = build_truth({**spec, "areas": [17, "Amygdala"]}, _context(tmp_path))
    assert truth.facts["lost_areas"] == ["Amygdala"]
    with pytest.raises(TruthError, match="empty"):
        build_truth({**spec, "areas": ["Amygdala"]}, _context(tmp_path))


def test_the_cohorts_own_atlas_serves_too(tmp_path):
    atlas = (_effect() > 0).astype(np.int32) * 1002
    context = _context(tmp_path, atlas=atlas, label_names={1002: "Entorhinal"})
    truth = build_truth({"source": "atlas", "areas": ["entorhinal"]}, context)
    np.testing.assert_array_equal(truth.mask, atlas > 0)
    with pytest.raises(TruthError, match="no common atlas"):
        build_truth({"source": "atlas", "areas": ["entorhinal"]}, _context(tmp_path))


@pytest.mark.parametrize("text", ["1\tA\n2\tB\n", "\ufeffindex,name\r\n1,A\r\n2,B\r\n", "1,A,GM\n\n2,B,WM\n"])
def test_names_come_with_tabs_or_commas_with_or_without_header(tmp_path, text):
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode())
    assert read_names(path) == {1: "A", 2: "B"}


@pytest.mark.parametrize(("text", "line"), [("1\tA\nB\t2\n", "line 2"), ("1\tA\n1\tB\n", "line 2")])
def test_a_damaged_table_of_names_says_which_line(tmp_path, text, line):
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(TruthError, match=line):
        read_names(path)


# ---- mask


def test_a_mask_on_another_grid_keeps_its_place_and_a_statistic_is_thresholded(tmp_path):
    labels = _atlas(tmp_path)
    affine = nibabel.load(tmp_path / "labels.nii.gz").affine
    _save((labels == 17).astype(np.uint8), affine, tmp_path / "lesion.nii.gz")
    truth = build_truth({"source": "mask", "file": "lesion.nii.gz"}, _context(tmp_path))
    np.testing.assert_allclose(_grid().world(np.argwhere(truth.mask)).mean(axis=0), [-26, -20, -14], atol=1)
    _save(_effect(), AFFINE, tmp_path / "statistic.nii.gz")
    spec = {"source": "mask", "file": "statistic.nii.gz", "threshold": 0.5}
    statistic = build_truth(spec, _context(tmp_path))
    np.testing.assert_array_equal(statistic.mask, _effect() > 0.5)
    np.testing.assert_allclose(statistic.values, _effect(), atol=1e-6)


@pytest.mark.parametrize(
    ("affine", "code", "shape", "problem"),
    [
        (np.eye(4), 4, SHAPE, "identity"),
        (AFFINE, 0, SHAPE, "neither sform nor qform"),
        (AFFINE + np.array([[0, 0, 0, 2000.0], [0] * 4, [0] * 4, [0] * 4]), 4, SHAPE, "overlap"),
        (AFFINE, 4, (*SHAPE, 2), "4 axes"),
    ],
)
def test_a_mask_that_cannot_be_placed_is_refused(tmp_path, affine, code, shape, problem):
    _save(np.ones(shape, np.float32), affine, tmp_path / "mask.nii.gz", code)
    with pytest.raises(GeometryError, match=problem) as caught:
        build_truth({"source": "mask", "file": "mask.nii.gz"}, _context(tmp_path))
    assert "mask.nii.gz" in str(caught.value)
    assert "truths.given.file" in str(caught.value)


def test_sform_and_qform_that_disagree_are_refused(tmp_path):
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE)
    image.set_sform(AFFINE, code=4)
    image.set_qform(np.diag([-4.0, 4, 4, 1]), code=1)
    nibabel.save(image, tmp_path / "mask.nii.gz")
    with pytest.raises(GeometryError, match="disagree"):
        build_truth({"source": "mask", "file": "mask.nii.gz"}, _context(tmp_path))


def test_a_truncated_or_empty_or_infinite_mask_is_refused(tmp_path):
    spec = {"source": "mask", "file": "mask.nii.gz"}
    _save(generator(0, "noise").random(SHAPE, dtype=np.float32), AFFINE, tmp_path / "mask.nii.gz")
    whole = (tmp_path / "mask.nii.gz").read_bytes()
    (tmp_path / "mask.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GeometryError, match="cannot be read"):
        build_truth(spec, _context(tmp_path))
    _save(np.zeros(SHAPE, np.float32), AFFINE, tmp_path / "mask.nii.gz")
    with pytest.raises(TruthError, match="empty"):
        build_truth(spec, _context(tmp_path))
    broken = _effect()
    broken[23, 27, 20] = np.nan
    _save(broken, AFFINE, tmp_path / "mask.nii.gz")
    with pytest.raises(TruthError, match="finite"):
        build_truth(spec, _context(tmp_path))


# ---- injected and literature


def test_the_injected_truth_is_the_mean_of_the_patients(tmp_path):
    context = _context(tmp_path, patient_truths=lambda: iter([_effect(), 3 * _effect()]))
    truth = build_truth({"source": "injected"}, context)
    np.testing.assert_allclose(truth.values, 2 * _effect(), atol=1e-6)
    np.testing.assert_array_equal(truth.mask, truth.values > 0.05 * truth.values.max())
    for source in ("injected", "literature"):
        with pytest.raises(TruthError, match="no scan"):
            build_truth({"source": source}, _context(tmp_path))


def test_the_contraction_is_the_mean_size_of_the_patients_log_jacobians(tmp_path):
    """Controls keep none (zeros in the store); a loss of tissue in one patient does not undo a gain in another."""
    gained = [np.zeros(SHAPE, np.float32), -_effect(), 3 * _effect()]
    kept = {LOG_JACOBIAN: gained}
    context = _context(tmp_path, output_truths=lambda name: iter(kept.get(name, ())))
    spec = {"source": "contraction", "mask_share": 0.05}
    truth = build_truth(spec, context)
    np.testing.assert_allclose(truth.values, 2 * _effect(), atol=1e-6)
    np.testing.assert_array_equal(truth.mask, truth.values > 0.05 * truth.values.max())
    for none in ([], gained[:1]):
        with pytest.raises(TruthError, match="keep_log_jacobian"):
            build_truth(spec, _context(tmp_path, output_truths=lambda name, none=none: iter(none)))


def test_simulated_foci_follow_the_effect_with_the_errors_that_were_asked_for(tmp_path):
    context = _context(tmp_path)
    effect = np.zeros(SHAPE, np.float32)
    effect[29, 27, 15] = 1
    place = _grid().world(np.array([[29, 27, 15]]))[0]
    spec = {"n_studies": 400, "n_foci": 4, "n_subjects": 40, "study_error_mm": 5.0, "spurious_share": 0.0}
    made = simulate(effect, spec, context)
    shifts = np.array([one.coordinates.mean(axis=0) - place for one in made])
    assert np.abs(shifts.mean(axis=0)).max() < 1
    # The mean of a study's foci also carries its people's error, which is small against 5 mm.
    assert 4.6 < shifts.std() < 5.7
    assert 3.6 < np.mean([len(one.coordinates) for one in made]) < 4.4
    assert 35 < np.median([one.subjects for one in made]) < 45
    spurious = simulate(effect, {**spec, "spurious_share": 0.5, "study_error_mm": 0.0}, context)
    far = np.concatenate([np.linalg.norm(one.coordinates - place, axis=1) > 20 for one in spurious])
    assert 0.4 < far.mean() < 0.55


def test_a_study_keeps_its_foci_when_others_are_added(tmp_path):
    few = simulate(_effect(), {"n_studies": 3}, _context(tmp_path))
    many = simulate(_effect(), {"n_studies": 9}, _context(tmp_path))
    for one, same in zip(few, many[:3], strict=True):
        np.testing.assert_array_equal(one.coordinates, same.coordinates)
    other = simulate(_effect(), {"n_studies": 3}, _context(tmp_path, seed=6))
    assert not np.array_equal(few[0].coordinates, other[0].coordinates)


def test_the_literature_finds_the_effect_again(tmp_path):
    context = _context(tmp_path, patient_truths=lambda: iter([_effect()]))
    spec = {"source": "literature", "n_studies": 20, "n_foci": 4, "n_iterations": 25}
    truth = build_truth(spec, context)
    assert truth.source == "literature"
    assert truth.facts["n_studies"] == 20
    assert (truth.mask & (_effect() > 0)).sum() > 0.5 * (_effect() > 0.3).sum()
    centre = _grid().world(np.argwhere(truth.mask)).mean(axis=0)
    assert np.linalg.norm(centre - [26, -20, -14]) < 6
    assert truth.foci.startswith("// Reference=MNI")


# ---- store, schema, stage


def test_a_truth_comes_back_as_it_was_written_and_its_nifti_lies_where_the_grid_does(tmp_path):
    truth = Truth(_effect(), _effect() > 0.5, "mask", "An effect.", facts={"threshold": 0.5})
    write_truth(truth, _grid(), tmp_path / "t.h5", tmp_path / "t.nii.gz", context="abc")
    again = read_truth(tmp_path / "t.h5")
    np.testing.assert_array_equal(again.values, truth.values)
    np.testing.assert_array_equal(again.mask, truth.mask)
    assert (again.source, again.description, again.facts) == ("mask", "An effect.", {"threshold": 0.5})
    image = nibabel.load(tmp_path / "t.nii.gz")
    np.testing.assert_allclose(image.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(image.dataobj), truth.values)


def test_the_context_hash_changes_with_what_matters_and_not_with_the_cores(tmp_path):
    spec, context = {"source": "injected"}, _context(tmp_path)
    plain = context_hash(spec, context)
    assert plain == context_hash(dict(spec), replace(context, n_cores=8))
    moved = Grid(SHAPE, AFFINE + np.eye(4) * [1, 0, 0, 0])
    others = [replace(context, seed=6), replace(context, mask=~context.mask), replace(context, grid=moved)]
    assert len({plain, context_hash({**spec, "mask_share": 0.1}, context)}) == 2
    assert all(context_hash(spec, other) != plain for other in others)


def test_an_unknown_source_lists_the_known_ones(tmp_path):
    known = "injected, contraction, lesions, counterfactual, waves, meta_analysis, literature, atlas, mask"
    with pytest.raises(ConfigError, match=known):
        build_truth({"source": "wishful"}, _context(tmp_path))


def test_every_source_has_a_schema_that_documents_every_key():
    assert set(SCHEMAS) == set(TRUTHS)
    for name, schema in SCHEMAS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["additionalProperties"] is False
        for key, entry in schema["properties"].items():
            alternatives = [one["required"][0] for one in schema.get("oneOf", [])]
            given = "default" in entry or key in schema["required"] or key in alternatives
            assert entry["description"] and entry["unit"] and given, f"{name}.{key}"


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        ({"source": "meta_analysis", "sleuth": "a.txt"}, True),
        ({"source": "meta_analysis", "foci": ["a.tsv", "b.tsv"], "exclude": {"1": "ours"}}, True),
        ({"source": "meta_analysis"}, False),
        ({"source": "meta_analysis", "sleuth": "a.txt", "foci": ["b.tsv"]}, False),
        ({"source": "meta_analysis", "sleuth": "a.txt", "exclude": {"1": ""}}, False),
        ({"source": "meta_analysis", "sleuth": "a.txt", "voxel_p": 1.5}, False),
        ({"source": "meta_analysis", "sleuth": "a.txt", "voxelp": 0.1}, False),
        ({"source": "atlas", "areas": ["*hippocampus*"]}, True),
        ({"source": "atlas", "areas": []}, False),
        ({"source": "mask"}, False),
    ],
)
def test_the_schema_takes_what_is_right_and_refuses_what_is_wrong(spec, valid):
    checker = jsonschema.Draft202012Validator(SCHEMAS[spec["source"]])
    assert checker.is_valid(spec) == valid


@pytest.fixture
def cohort(tmp_path):
    path = tmp_path / "cohort.h5"
    source = Source(_grid(), [], mask=_context(tmp_path).mask, description={"source": "phantom"})
    with CohortWriter(path, tmp_path / "participants.tsv", source) as writer:
        for index, target in enumerate((0, 1, 1)):
            row = {"scan_id": f"s{index}", "participant_id": f"p{index}", "diagnosis": ("HC", "AD")[target]}
            effect = index * _effect() if target else np.zeros(SHAPE, np.float32)
            writer.add({**row, "target": target}, RawScan(np.ones((1, *SHAPE)), _grid(), truth=effect))
    return path


def test_the_stage_writes_every_file_and_the_same_bytes_again(cohort, tmp_path):
    spec = {"source": "injected", "mask_share": 0.05}
    digests = []
    for run in ("one", "two"):
        names = {key: tmp_path / run / f"t.{key}" for key in ("h5", "nii.gz", "tsv", "txt")}
        truth_stage(
            cohort,
            spec,
            name="effect",
            seed=3,
            root=tmp_path,
            output=names["h5"],
            studies=names["tsv"],
            nifti=names["nii.gz"],
            foci=names["txt"],
        )
        digests.append([sha256_of(path) for path in names.values()])
    assert digests[0] == digests[1]
    # Patients only: the control's zero does not dilute the mean of 1 and 2.
    np.testing.assert_allclose(read_truth(tmp_path / "one" / "t.h5").values, 1.5 * _effect(), atol=1e-6)
    assert tuple(read_table(tmp_path / "one" / "t.tsv").columns) == STUDY_COLUMNS


@pytest.mark.parametrize(("has_controls", "expected"), [(True, [0, 1, 1, 0]), (False, [1, 2, 1, 0])])
def test_the_truth_of_lesions_is_how_often_one_lies_where(tmp_path, has_controls, expected):
    grid = Grid((4,), spacing=(2.0,))
    lesions = np.array([[3, 3, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 8, 0]], np.float32)
    source = Source(grid, [], classes=("a", "b", "c"), has_controls=has_controls)
    with CohortWriter(tmp_path / "cohort.h5", tmp_path / "participants.tsv", source) as writer:
        for index, target in enumerate((0, 1, 1, 2)):
            row = {"scan_id": f"s{index}", "participant_id": f"p{index}", "diagnosis": "abc"[target], "target": target}
            writer.add(row, RawScan(np.ones((1, 4)), grid, truth=lesions[index]))
    names = {"output": tmp_path / "t.h5", "studies": tmp_path / "t.tsv", "nifti": tmp_path / "t.nii.gz"}
    spec = {"source": "lesions", "mask_share": 0.6}
    truth_stage(tmp_path / "cohort.h5", spec, name="lesions", seed=3, root=tmp_path, **names)
    built = read_truth(names["output"])
    # Strength does not count, scans without a lesion neither, nor controls where there are any.
    np.testing.assert_allclose(built.values, np.array(expected) / (2 if has_controls else 3), atol=1e-6)
    np.testing.assert_array_equal(built.mask, built.values > 0.6 * built.values.max())
    # A signal or an image is no NIfTI volume; the file that the workflow waits for is there and empty.
    assert names["nifti"].read_bytes() == b""


def test_a_cohort_without_lesions_is_no_truth_of_lesions(tmp_path):
    context = replace(_context(tmp_path), patient_truths=lambda: iter([np.zeros(SHAPE)] * 2))
    with pytest.raises(TruthError, match="no scan of the cohort has a lesion"):
        build_truth({"source": "lesions", "mask_share": 0.5}, context)


def test_the_stage_refuses_paths_outside_the_root_and_files_that_are_missing(cohort, tmp_path):
    for file, problem in (("../secret.nii.gz", "out of the data root"), ("nothing.nii.gz", "does not exist")):
        with pytest.raises(ConfigError, match=problem):
            truth_stage(
                cohort,
                {"source": "mask", "file": file},
                name="mine",
                seed=3,
                root=tmp_path,
                output=tmp_path / "t.h5",
                studies=tmp_path / "t.tsv",
            )
    assert not (tmp_path / "t.h5").exists()
