"""The road from foci to a truth: NiMARE against a slow oracle, and every study accounted for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import ConfigError, GeometryError, TruthError
from heatproof.geometry import Grid
from heatproof.randomness import generator
from heatproof.truths.ale import run_ale
from heatproof.truths.foci import MNI, TALAIRACH, Experiment
from heatproof.truths.meta_analysis import analyse
from heatproof.truths.sleuth import parse_sleuth, write_sleuth
from heatproof.truths.sources import build_truth
from heatproof.truths.store import Context

PEAK = np.array([26.0, -20.0, -14.0])
SETTINGS = {"n_iterations": 25}
SHARED = Path(os.environ.get("HEATPROOF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _experiments(n_studies: int = 14) -> list[Experiment]:
    """Studies that agree on one place and report two more foci anywhere near the middle of the brain."""
    made = []
    for number in range(n_studies):
        random = generator(3, "test", number)
        near = PEAK + random.normal(0, 2, 3)
        anywhere = random.uniform([-40, -60, -10], [40, 30, 40], (2, 3))
        subjects = int(random.integers(12, 60))
        # Even millimetres are voxel centres of the template, so that rounding cannot tip either way.
        foci = 2 * np.rint(np.vstack([near, anywhere]) / 2)
        made.append(Experiment(f"S{number}", "", subjects, MNI, foci))
    return made


@pytest.fixture(scope="module")
def experiments():
    return _experiments()


@pytest.fixture(scope="module")
def result(experiments):
    return run_ale(experiments, n_iterations=25, voxel_p=0.001, cluster_p=0.05, seed=11)


@pytest.fixture(scope="module")
def context():
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-90, -126, -72]
    grid = Grid((46, 55, 46), affine)
    mask = np.linalg.norm(grid.coordinates() - [0, -18, 10], axis=-1) < 75
    return Context(grid, mask, seed=5, name="literature", resolve=lambda path, field: Path(path))


def _oracle(experiments: list[Experiment], grid: Grid) -> np.ndarray:
    """ALE by its definition: Gaussians per focus, maximum per study, then one minus the product of misses."""
    world = grid.coordinates()
    between_templates, between_people = (distance / (2 * np.sqrt(2 / np.pi)) for distance in (5.7, 11.6))
    missed = np.ones(grid.shape)
    for experiment in experiments:
        variance = between_templates**2 + between_people**2 / experiment.subjects
        activation = np.zeros(grid.shape)
        for focus in grid.world(np.rint(grid.voxel(experiment.coordinates))):
            density = np.exp(-((world - focus) ** 2).sum(axis=-1) / (2 * variance))
            density *= grid.voxel_volume / (2 * np.pi * variance) ** 1.5
            activation = np.maximum(activation, density)
        missed *= 1 - activation
    return 1 - missed


def test_nimare_equals_the_definition_of_ale(experiments, result):
    expected = _oracle(experiments, result.grid)
    inside = result.statistic > 0
    assert inside.sum() > 10_000
    # The discrete kernel ends at four standard deviations and is normalised, hence the tolerance.
    assert np.abs(result.statistic - expected)[inside].max() < 0.01 * expected.max()


def test_the_cluster_lies_where_the_studies_agree_and_nowhere_else(result):
    centre = result.grid.world(np.argwhere(result.significant)).mean(axis=0)
    assert np.linalg.norm(centre - PEAK) < 3
    far = np.linalg.norm(result.grid.coordinates() - PEAK, axis=-1) > 20
    assert not (result.significant & far).any()


def test_scattered_foci_leave_no_truth(context):
    random = generator(9, "scattered")
    scattered = [
        Experiment(f"S{i}", "", 20, MNI, random.uniform([-50, -80, -30], [50, 50, 50], (3, 3))) for i in range(10)
    ]
    with pytest.raises(TruthError, match="survives"):
        analyse(scattered, {"n_iterations": 25}, context)


def test_cores_and_repetition_change_nothing(experiments, result):
    again = run_ale(experiments, n_iterations=25, voxel_p=0.001, cluster_p=0.05, seed=11, n_cores=2)
    np.testing.assert_array_equal(again.statistic, result.statistic)
    np.testing.assert_array_equal(again.significant, result.significant)


def test_the_order_of_the_studies_does_not_change_the_statistic(experiments, result):
    turned = run_ale(experiments[::-1], n_iterations=20, voxel_p=0.001, cluster_p=0.05, seed=11)
    np.testing.assert_allclose(turned.statistic, result.statistic, atol=1e-6)


def test_every_study_is_accounted_for(experiments, context):
    listed = [
        *experiments[:-2],
        replace(experiments[-2], cohort="ADNI"),
        replace(experiments[-1], coordinates=np.array([[90.0, 0.0, 0.0], *experiments[-1].coordinates])),
        Experiment("Silent", "", 30, MNI, np.empty((0, 3))),
    ]
    left_out = [Experiment("Functional", "", 0, "", np.zeros((4, 3)), note="not selected: fMRI")]
    settings = {**SETTINGS, "exclude": {"S3": "uses our own scans"}, "training_cohorts": ["adni"]}
    named = replace(context, cohorts=("adni",))
    truth = analyse(listed, settings, named, left_out=left_out)
    table = truth.studies.set_index("study_id")
    assert (table.loc["S3", "status"], table.loc["S3", "reason"]) == ("excluded", "uses our own scans")
    assert (table.loc["Silent", "status"], table.loc["Silent", "reason"]) == ("excluded", "no foci reported")
    assert table.loc["Functional", "reason"] == "not selected: fMRI"
    assert table.loc["S12", "status"] == "flagged"
    assert "ADNI" in table.loc["S12", "reason"]
    assert table.loc["S13", "n_outside_mask"] == 1
    assert (table.loc["S0", "status"], table.loc["S0", "n_outside_mask"]) == ("used", 0)
    assert len(table) == len(listed) + 1
    assert truth.facts["n_studies"] == len(listed) - 2
    assert truth.facts["n_flagged"] == 1
    assert truth.facts["n_foci_outside_mask"] == 1
    # What is said to be used is exactly what was used.
    assert {one.study_id for one in parse_sleuth(truth.foci)} == set(table.index[table["status"] != "excluded"])
    dropped = analyse(listed, {**settings, "on_overlap": "exclude"}, named, left_out=left_out)
    assert dropped.studies.set_index("study_id").loc["S12", "status"] == "excluded"
    assert dropped.facts["n_studies"] == truth.facts["n_studies"] - 1


def test_an_excluded_study_that_does_not_exist_is_an_error_with_close_names(experiments, context):
    with pytest.raises(ConfigError, match=r"exclude.*'S133'.*S13"):
        analyse(experiments, {"exclude": {"S133": "typing error"}}, context)


def test_contrasts_of_one_study_make_one_map_with_the_widest_kernel(experiments, context):
    halves = [
        replace(experiments[0], contrast=name, subjects=n, coordinates=rows)
        for name, n, rows in (
            ("left", 20, experiments[0].coordinates[:1]),
            ("right", 15, experiments[0].coordinates[1:]),
        )
    ]
    pooled = analyse([*halves, *experiments[1:]], SETTINGS, context)
    row = pooled.studies.set_index("study_id").loc["S0"]
    assert (row["experiments"], row["n_subjects"], row["n_foci"]) == (2, 15, 3)
    apart = analyse([*halves, *experiments[1:]], {**SETTINGS, "organise_by": "experiment"}, context)
    assert {"S0: left", "S0: right"} <= set(apart.studies["study_id"])


def test_talairach_foci_land_where_the_same_foci_in_mni_land(experiments, context, tmp_path):
    matrix = np.array([[0.9357, 0.0029, -0.0072], [-0.0065, 0.9396, -0.0726], [0.0103, 0.0752, 0.8967]])
    offset = np.array([-1.0423, -1.3940, 3.6475])
    text = write_sleuth([replace(one, coordinates=one.coordinates @ matrix.T + offset) for one in experiments]).replace(
        "Reference=MNI", "Reference=Talairach"
    )
    path = tmp_path / "talairach.txt"
    path.write_text(text)
    truth = build_truth({"source": "meta_analysis", "sleuth": str(path), **SETTINGS}, context)
    plain = analyse(experiments, SETTINGS, context)
    assert set(truth.studies["space"]) == {TALAIRACH}
    assert truth.facts["n_converted_from_talairach"] == len(experiments)
    np.testing.assert_allclose(truth.values, plain.values, atol=0.02 * plain.values.max())


def test_the_truth_lies_on_the_cohorts_grid_whatever_its_orientation(experiments, context):
    truth = analyse(experiments, SETTINGS, context)
    flipped_affine = context.grid.affine.copy()
    flipped_affine[0, 0] *= -1
    flipped_affine[0, 3] = context.grid.affine[0, 3] + 4.0 * (context.grid.shape[0] - 1)
    flipped = replace(context, grid=Grid(context.grid.shape, flipped_affine), mask=context.mask[::-1])
    mirrored = analyse(experiments, SETTINGS, flipped)
    np.testing.assert_allclose(mirrored.values, truth.values[::-1], atol=1e-6)
    np.testing.assert_array_equal(mirrored.mask, truth.mask[::-1])
    peak = context.grid.world(np.argwhere(truth.values == truth.values.max()))[0]
    assert np.linalg.norm(peak - PEAK) < 6
    assert not truth.values[~context.mask].any()


def test_a_grid_far_from_the_brain_or_without_millimetres_is_refused(experiments, context):
    away = context.grid.affine.copy()
    away[:3, 3] += 1000
    with pytest.raises(GeometryError, match="overlap"):
        analyse(experiments, SETTINGS, replace(context, grid=Grid(context.grid.shape, away)))
    with pytest.raises(GeometryError, match="world coordinates"):
        analyse(experiments, SETTINGS, replace(context, grid=Grid(context.grid.shape)))


@pytest.mark.parametrize("spec", [{}, {"sleuth": ["a.txt"], "foci": ["b.tsv"]}])
def test_exactly_one_kind_of_file_is_asked_for(spec, context):
    with pytest.raises(ConfigError, match="sleuth"):
        build_truth({"source": "meta_analysis", **spec}, context)


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "ad_meta_foci").is_dir(), reason="the real foci are not here")
def test_real_foci_agree_with_an_independent_ale():
    import nibabel

    folder = SHARED / "ad_meta_foci"
    reference = nibabel.load(folder / "derived_ALE_AD_structural_2mm.nii.gz")
    expected = reference.get_fdata()
    context = Context(
        Grid(reference.shape, reference.affine), expected > 0, 7, "ale", lambda path, field: folder / path
    )
    names = ("neurosynth_v7_AD", "neuroquery_v1_AD")
    truth = build_truth(
        {
            "source": "meta_analysis",
            "foci": [f"{name}_foci.tsv.gz" for name in names],
            "studies": [f"{name}_studies.tsv" for name in names],
            "select": {"structural_title": True},
            "subjects_default": 40,
            "n_iterations": 40,
        },
        context,
    )
    assert truth.facts["n_studies"] == 51
    assert truth.facts["n_foci"] == 1460
    assert np.corrcoef(truth.values[context.mask], expected[context.mask])[0, 1] > 0.98
    # Both hippocampi belong to the truth.
    for centre in ((-25.0, -22.0, -14.0), (26.0, -21.0, -14.0)):
        near = np.linalg.norm(context.grid.coordinates() - np.array(centre), axis=-1) < 12
        assert (truth.mask & near).any()
