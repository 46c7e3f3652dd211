from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heatproof.cohorts.deformations import jacobian_determinant
from heatproof.cohorts.phantom import Phantom, open_source
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError, TruthError
from heatproof.truths.embedded_atlas import CENTRES, COURSES, OFF_PRIOR_AREAS, labels_of
from heatproof.truths.injected import truth_mask

SEED = 11


def spec(**changes):
    properties = schema_entries("cohorts_simulated.yaml")["phantom"]["properties"]
    defaults = {key: entry["default"] for key, entry in properties.items() if "default" in entry}
    return {**defaults, "resolution_mm": 6.0, "n_participants": 6, **changes}


def phantom(**changes):
    return Phantom(spec(**changes), SEED)


def patients(cohort):
    return [record for record in cohort if record.row["target"] == 1]


def controls(cohort):
    return [record for record in cohort if record.row["target"] == 0]


NUISANCES = [
    {},
    {"confounder": "site", "confounder_strength": 1.0},
    {"confounder": "tag", "confounder_strength": 1.0},
    {"confounder": "age", "confounder_strength": 1.0},
    {"suppressor_amplitude": 0.2},
]


@pytest.mark.parametrize("nuisance", NUISANCES, ids=lambda changes: "_".join(map(str, changes.values())) or "plain")
def test_the_truth_is_the_difference_to_the_same_person_without_the_disease(nuisance):
    ill = phantom(noise=0.0, **nuisance)
    well = phantom(noise=0.0, loss=0.0, contraction_mm=0.0, **nuisance)
    for with_disease, without in zip(ill, well, strict=True):
        assert with_disease.row == without.row
        scan, twin = with_disease.load(), without.load()
        np.testing.assert_array_equal(scan.truth, np.abs(scan.values - twin.values)[0])
        assert (scan.truth.max() > 0) == (with_disease.row["target"] == 1)
        assert not twin.truth.any()


def test_noise_is_the_same_with_and_without_the_disease():
    ill, well = patients(phantom())[0].load(), patients(phantom(loss=0.0, contraction_mm=0.0))[0].load()
    difference = np.abs(ill.values - well.values)[0]
    np.testing.assert_allclose(difference, ill.truth, atol=1e-6)


def test_a_scan_depends_neither_on_the_number_of_scans_nor_on_their_order():
    few = list(phantom(n_participants=4))
    many = list(phantom(n_participants=40))
    for record, twin in reversed(list(zip(few, many[:4], strict=True))):
        assert record.row == twin.row
        np.testing.assert_array_equal(record.load().values, twin.load().values)
    again = few[2].load()
    np.testing.assert_array_equal(again.values, few[2].load().values)


def test_another_seed_gives_other_people():
    one, other = Phantom(spec(), 1), Phantom(spec(), 2)
    assert np.abs(next(iter(one)).load().values - next(iter(other)).load().values).max() > 0.1


def test_groups_are_balanced_at_any_even_size():
    targets = [record.row["target"] for record in phantom(n_participants=200)]
    assert [sum(targets[:count]) for count in (2, 10, 200)] == [1, 5, 100]
    assert targets != [0, 1] * 100


def test_the_hippocampus_is_smaller_the_more_severe_the_disease():
    volumes = []
    for severity in (0.1, 0.4, 0.7, 1.0):
        cohort = phantom(
            severity_minimum=severity, severity_maximum=severity, off_prior_regions=[], region_probability=1.0
        )
        scan = patients(cohort)[0].load()
        volumes.append(sum(scan.volumes[label] for label in labels_of("Hippocampus")))
    healthy = patients(phantom(loss=0.0, contraction_mm=0.0))[0].load()
    volumes.insert(0, sum(healthy.volumes[label] for label in labels_of("Hippocampus")))
    assert (np.diff(volumes) < 0).all()
    assert 4000 < volumes[0] < 11000
    assert volumes[-1] < 0.7 * volumes[0]


def test_each_patient_has_areas_of_their_own_and_part_of_them_lies_off_the_prior():
    cohort = phantom(n_participants=40)
    strengths = [cohort.body(person).strengths for person in map(cohort.person, range(40)) if person.patient]
    assert len({tuple(sorted(entry)) for entry in strengths}) > 15
    off_prior = {label for area in OFF_PRIOR_AREAS for label in labels_of(area)}
    share = np.mean([bool(off_prior & set(entry)) for entry in strengths])
    assert share > 0.8


def test_the_effect_lies_on_the_affected_areas():
    record = patients(
        phantom(anatomy_amplitude_mm=0.0, head_size_sd=0.0, regions=["Hippocampus"], off_prior_regions=[])
    )[0]
    cohort = phantom()
    mask = truth_mask(record.load().truth)
    distance = np.linalg.norm(
        np.abs(cohort.anatomy.grid.world(np.argwhere(mask))) - np.array([27.0, 24.0, 12.0]), axis=1
    )
    assert mask.any()
    assert distance.max() < 40


def test_bodies_never_fold():
    cohort = phantom(anatomy_amplitude_mm=6.0)
    for index in range(6):
        assert jacobian_determinant(cohort.body(cohort.person(index)).displacement).min() > 0


def test_old_age_takes_grey_matter_and_widens_the_ventricles():
    settings = {"age_sd": 0.0, "noise": 0.0, "bias": 0.0, "resolution_mm": 4.0}
    young = controls(phantom(age_mean=60.0, **settings))[0].load()
    old = controls(phantom(age_mean=90.0, **settings))[0].load()
    ventricles, cortex = (
        [sum(scan.volumes[label] for label in labels_of(area)) for scan in (young, old)]
        for area in ("Lateral ventricle", "Cuneus")
    )
    assert ventricles[1] > 1.2 * ventricles[0]
    assert cortex[1] < cortex[0]
    assert old.values.sum() < young.values.sum()


@pytest.mark.parametrize("resolution", [4.0, 7.0])
def test_the_affine_is_right_after_resampling_and_cropping(resolution):
    source = open_source(spec(resolution_mm=resolution, margin_voxels=2), seed=SEED, root=Path())
    assert source.grid.voxel_sizes == pytest.approx((resolution,) * 3)
    for label, side in zip(labels_of("Hippocampus"), (-1, 1), strict=True):
        centre = source.grid.world(np.argwhere(source.atlas == label)).mean(axis=0)
        np.testing.assert_allclose(centre, [side * 26.0, -24.0, -12.0], atol=4)
    assert source.mask.sum() * source.grid.voxel_volume == pytest.approx(1.9e6, rel=0.1)
    edge = np.ones(source.mask.shape, dtype=bool)
    edge[2:-2, 2:-2, 2:-2] = False
    assert not source.mask[edge].any()


def test_scans_are_skull_stripped():
    scan = next(iter(phantom())).load()
    assert (scan.values == 0).mean() > 0.3
    assert not scan.labels[scan.values[0] == 0].astype(bool).mean() > 0.05


@pytest.mark.parametrize("disorder", ["alzheimers", "alcohol"])
def test_a_patients_head_has_no_hole_that_no_controls_has(disorder):
    changes = {"disorder": disorder, "contraction_mm": 8.0, "loss": 0.0, "bias": 0.0, "noise": 0.0}
    ill, well = phantom(**changes), phantom(**{**changes, "contraction_mm": 0.0})
    fluid = ill.anatomy.fluid
    for record, twin in zip(patients(ill), patients(well), strict=True):
        scan, healthy = record.load().values, twin.load().values
        assert (scan != healthy).any()
        # Where tissue has moved away from the border of the brain there is fluid, not background.
        assert (scan >= np.minimum(healthy, fluid) - 1e-6).all()


def test_a_person_can_have_several_scans_of_one_anatomy():
    cohort = phantom(n_participants=30, n_visits=3, rescanned_share=0.5)
    rows = [record.row for record in cohort]
    assert len(rows) == len(cohort)
    assert len({row["scan_id"] for row in rows}) == len(rows)
    counts = np.unique([row["participant_id"] for row in rows], return_counts=True)[1]
    assert set(counts) == {1, 3}
    first = next(i for i, row in enumerate(rows) if row["visit"] == 2) - 1
    one, two = (record.load() for record in list(cohort)[first : first + 2])
    np.testing.assert_array_equal(one.labels, two.labels)
    assert np.abs(one.values - two.values).max() > 0.05
    assert rows[first]["severity"] == rows[first + 1]["severity"]


def test_the_score_falls_with_severity():
    rows = [record.row for record in phantom(n_participants=200)]
    severity, mmse = (np.array([row[key] for row in rows]) for key in ("severity", "mmse"))
    assert np.corrcoef(severity, mmse)[0, 1] < -0.8
    assert (severity > 0).tolist() == [row["target"] == 1 for row in rows]


@pytest.mark.parametrize("confounder", ["site", "tag"])
def test_a_site_goes_along_with_the_diagnosis_as_strongly_as_asked(confounder):
    def gap(**changes):
        rows = [record.row for record in phantom(n_participants=600, **changes)]
        share = [np.mean([row["site"] == "B" for row in rows if row["target"] == group]) for group in (0, 1)]
        return share[1] - share[0]

    assert gap(confounder=confounder, confounder_strength=0.6) == pytest.approx(0.6, abs=0.09)
    assert gap(confounder="none", confounder_strength=0.6) == pytest.approx(0, abs=0.09)
    assert gap(confounder=confounder, confounder_strength=1.0) == 1


def test_age_goes_along_with_the_diagnosis_only_when_asked():
    def gap(confounder):
        rows = [record.row for record in phantom(n_participants=400, confounder=confounder, confounder_strength=1.0)]
        return np.subtract(*[np.mean([row["age"] for row in rows if row["target"] == group]) for group in (1, 0)])

    assert gap("age") == pytest.approx(10, abs=2)
    assert gap("none") == pytest.approx(0, abs=2)


def test_the_tag_is_bright_at_its_place_and_no_part_of_the_truth():
    tagged, plain = (phantom(confounder=name, confounder_strength=1.0, noise=0.0) for name in ("tag", "none"))
    record, twin = patients(tagged)[0], patients(plain)[0]
    difference = (record.load().values - twin.load().values)[0]
    place = tagged.anatomy.grid.voxel(np.array([[30.0, 50.0, 30.0]]))[0]
    peak = np.array(np.unravel_index(difference.argmax(), difference.shape))
    assert np.abs(peak - place).max() <= 1
    assert difference.max() > 0.1
    np.testing.assert_allclose(record.load().truth, twin.load().truth, atol=1e-6)


def test_the_suppressor_shows_on_an_area_without_signal_and_knows_no_diagnosis():
    rows = [record.row for record in phantom(n_participants=600, suppressor_amplitude=0.1)]
    scores, targets = (np.array([row[key] for row in rows]) for key in ("suppressor", "target"))
    assert abs(np.corrcoef(scores, targets)[0, 1]) < 0.1
    with_pattern = patients(phantom(suppressor_amplitude=0.1, noise=0.0))[0]
    without = patients(phantom(noise=0.0))[0]
    scan, twin = with_pattern.load(), without.load()
    difference = (scan.values - twin.values)[0]
    free = np.isin(scan.labels, labels_of("Cuneus"))
    affected = np.isin(scan.labels, labels_of("Hippocampus"))
    sign = np.sign(with_pattern.row["suppressor"])
    assert (sign * difference[free]).mean() > 0.005
    assert (sign * difference[affected]).mean() > 0.005
    assert np.median(np.abs(difference[np.isin(scan.labels, labels_of("Cerebellum"))])) == 0
    np.testing.assert_allclose(scan.truth, twin.truth, atol=1e-6)


@pytest.mark.slow
def test_a_linear_model_weighs_the_suppressor_although_its_pattern_does_not():
    """The lesson of Haufe et al. (NeuroImage 2014;87:96): weights lie where there is no signal."""
    from sklearn.svm import SVC

    cohort = phantom(n_participants=160, suppressor_amplitude=0.1)
    brain = cohort.anatomy.intensity > 0
    records = list(cohort)
    scans = np.array([record.load().values[0][brain] for record in records])
    scans = (scans - scans.mean(axis=1, keepdims=True)) / scans.std(axis=1, keepdims=True)
    model = SVC(kernel="linear", C=1e-3).fit(scans, [record.row["target"] for record in records])
    weights = model.coef_[0]
    scores = scans @ weights
    pattern = (scans - scans.mean(axis=0)).T @ (scores - scores.mean())
    free = np.isin(cohort.anatomy.labels[brain], labels_of("Cuneus"))
    hippocampus = np.isin(cohort.anatomy.labels[brain], labels_of("Hippocampus"))
    weight, activation = ((values / values.std()) for values in (weights, pattern))
    assert weight[free].mean() > abs(weight[hippocampus].mean())
    assert abs(activation[free].mean()) < abs(activation[hippocampus].mean()) / 2
    assert activation[hippocampus].mean() < 0


def test_the_area_without_signal_must_have_none():
    with pytest.raises(ConfigError, match="suppressor_area"):
        phantom(suppressor_amplitude=0.1, suppressor_area="Hippocampus")


def test_severities_in_the_wrong_order_and_unknown_areas_are_refused():
    with pytest.raises(ConfigError, match="severity_minimum"):
        phantom(severity_minimum=0.9, severity_maximum=0.2)
    with pytest.raises(TruthError, match="Hipocampus"):
        phantom(regions=["Hipocampus"])


def test_the_schema_offers_exactly_the_areas_of_the_atlas():
    entry = schema_entries("cohorts_simulated.yaml")["phantom"]["properties"]
    names = [*COURSES, *CENTRES]
    assert entry["regions"]["items"]["enum"] == names
    assert entry["off_prior_regions"]["items"]["enum"] == names
    assert entry["suppressor_area"]["enum"] == names


@pytest.mark.parametrize("source", ["phantom", "anatomies"])
def test_every_parameter_has_description_unit_and_default(source):
    entry = schema_entries("cohorts_simulated.yaml")[source]
    assert entry["additionalProperties"] is False
    for key, described in entry["properties"].items():
        assert described["description"]
        assert described["unit"]
        assert key in entry["required"] or "default" in described
