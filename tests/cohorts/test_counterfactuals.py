"""Exact counterfactuals of brains and signals, and the way to open them; those of the blobs are in `test_blobs`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.cohorts.anatomies import Anatomies
from heatproof.cohorts.beats import STEPS
from heatproof.cohorts.counterfactuals import CHANGED_SHARE, inverted, log_jacobian, open_counterfactual
from heatproof.cohorts.deformations import compose, exponential, identity, random_warp, sample, scaling, warp
from heatproof.cohorts.disorders import DISORDERS
from heatproof.cohorts.heartbeats import LEADS
from heatproof.cohorts.phantom import Phantom
from heatproof.cohorts.sources import SOURCES
from heatproof.cohorts.store import LOG_JACOBIAN
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError, IntakeError
from heatproof.studies import COUNTERFACTUAL_SOURCES
from heatproof.truths.embedded_atlas import area_names, labels_of
from heatproof.truths.injected import contraction_velocity, strength_map

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SEED = 11


def spec(source, file="cohorts_simulated.yaml", **changes):
    properties = schema_entries(file)[source]["properties"]
    defaults = {key: entry["default"] for key, entry in properties.items() if "default" in entry}
    return {**defaults, "source": source, **changes}


def phantom_spec(**changes):
    return spec("phantom", **{"resolution_mm": 6.0, "n_participants": 4, **changes})


def phantom(**changes):
    return Phantom(phantom_spec(**changes), SEED)


def opened(entry, **changes):
    return open_counterfactual(entry, SEED, Path(), **changes)


# ---- sign and inverse


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_map_that_makes_an_object_smaller_has_a_log_jacobian_below_zero(axes):
    shape = (21,) * axes
    smaller = scaling(shape, 0.8, (10,) * axes)
    ball = (np.linalg.norm(identity(shape) - 10, axis=0) < 5).astype(np.float32)
    assert warp(ball, smaller).sum() < 0.9 * ball.sum()
    np.testing.assert_allclose(log_jacobian(smaller), axes * np.log(0.8), atol=1e-4)


def test_a_fold_has_no_log_jacobian():
    displacement = np.zeros((1, 20), dtype=np.float32)
    displacement[0, 10] = -5
    with pytest.raises(IntakeError, match="folds"):
        log_jacobian(displacement)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_points_that_a_warp_takes_to_a_place_are_found(axes):
    shape = (20,) * axes
    moved = random_warp(shape, (1.0,) * axes, 5.0, 1.0, np.random.default_rng(2))
    targets = np.random.default_rng(3).uniform(3, 16, (axes, 50))

    def mapping(points):
        return points + np.stack([sample(part, points) for part in moved])

    np.testing.assert_allclose(mapping(inverted(mapping, targets, targets)), targets, atol=1e-3)


def test_a_warp_that_cannot_be_inverted_is_an_error():
    with pytest.raises(IntakeError, match="inverted"):
        inverted(lambda points: -points, np.ones((1, 3)), np.zeros((1, 3)))


# ---- the phantom


NUISANCES = [
    {},
    {"confounder": "tag", "confounder_strength": 1.0},
    {"confounder": "site", "confounder_strength": 1.0},
    {"suppressor_amplitude": 0.2},
    {"disorder": "alcohol"},
]


@pytest.mark.parametrize("nuisance", NUISANCES, ids=lambda changes: "_".join(map(str, changes.values())) or "plain")
def test_the_scan_and_its_change_make_the_same_person_in_the_other_group(nuisance, monkeypatch):
    cohort = phantom(noise=0.0, **nuisance)
    loaded = {record.row["scan_id"]: (record.row, record.load()) for record in cohort}
    person = cohort.person
    # What depends on the group besides the disease (site, age, tag) stays as it was drawn.
    monkeypatch.setattr(cohort, "person", lambda index: replace(person(index), patient=not person(index).patient))
    twins = list(cohort)
    monkeypatch.undo()
    for twin in twins:
        row, scan = loaded[twin.row["scan_id"]]
        assert twin.row["target"] == 1 - row["target"]
        exact = cohort.counterfactual(row["scan_id"])
        np.testing.assert_allclose(scan.values + exact.change, twin.load().values, atol=1e-6)
        assert exact.option == (-1 if row["target"] else 1)
        if row["target"]:
            np.testing.assert_array_equal(np.abs(exact.change[0]), scan.truth)


def test_a_control_gets_the_disease_that_it_would_have():
    cohort = phantom(n_participants=20)
    for index in range(20):
        person = cohort.person(index)
        assert 0.5 <= person.stage <= 1 and person.severity == (person.stage if person.patient else 0)
        would_have = cohort.body(person, as_patient=True).strengths
        assert would_have and cohort.body(person).strengths == (would_have if person.patient else {})


def test_tissue_is_lost_where_the_disease_is_injected_and_comes_back_where_it_is_removed():
    source = opened(phantom_spec(resolution_mm=5.0, contraction_mm=4.0, loss=0.0))
    for record in source.records:
        exact = source.counterfactual(record.row["scan_id"])
        assert -exact.option * exact.log_jacobian[exact.effect].mean() > 0.05
        moved = np.maximum(-exact.option * exact.log_jacobian, 0)
        assert moved[exact.effect].sum() > 0.95 * moved.sum()
        assert 0.02 < exact.effect[source.mask].mean() < 0.3
        assert not exact.change[0][exact.nuisance].any() and not exact.log_jacobian[exact.nuisance].any()
        assert exact.nuisance[source.mask].mean() > 0.1 and not (exact.nuisance & exact.effect).any()


@pytest.mark.parametrize("target", [0, 1])
def test_a_pure_deformation_is_its_warp(target):
    """A scan warped by the displacement whose log-Jacobian is given looks as in the other group."""
    cohort = phantom(
        resolution_mm=4.0, noise=0.0, bias=0.0, loss=0.0, contraction_mm=4.0, age_loss=0.0, age_ventricle_mm=0.0,
        head_size_sd=0.0, anatomy_amplitude_mm=0.0, smoothing_mm=12.0,
        regions=["Hippocampus"], off_prior_regions=[],
    )  # fmt: skip
    # Smooth everywhere, so that what is left is no error of interpolation.
    waves = np.sin(identity(cohort.anatomy.grid.shape) / 5).sum(axis=0)
    cohort.anatomy = replace(cohort.anatomy, intensity=4 + waves)
    record = next(one for one in cohort if one.row["target"] == target)
    exact, image = cohort.counterfactual(record.row["scan_id"]), record.load().values[0]
    person = cohort.person(int(record.row["scan_id"][4:8]) - 1)
    strengths = cohort.body(person, as_patient=True).strengths
    spacing, width = cohort.anatomy.grid.voxel_sizes, cohort.effect.smoothing_mm
    strength = strength_map(cohort.anatomy.labels, strengths, spacing, width)
    there = exponential(contraction_velocity(strength, spacing, width, 4.0 * exact.option))
    # The head of a man is larger: from the person to the anatomy, by the effect, and back.
    size = 1.02 if record.row["sex"] == "M" else 1.0
    to, back = (scaling(image.shape, factor, cohort.anatomy.centre) for factor in (size, 1 / size))
    displacement = compose(back, compose(there, to))
    error = np.abs(warp(image, displacement, order=3) - image - exact.change[0])
    assert error.mean() < 0.15 * np.abs(exact.change).mean()
    difference = np.abs(exact.log_jacobian - log_jacobian(displacement))[exact.effect]
    assert difference.max() < 0.001 * np.abs(exact.log_jacobian).max()


def test_without_contraction_no_tissue_moves():
    source = opened(phantom_spec(contraction_mm=0.0, n_participants=2))
    for record in source.records:
        exact = source.counterfactual(record.row["scan_id"])
        assert not exact.log_jacobian.any() and exact.change.any() and exact.effect.any()


def test_the_tag_must_not_change():
    source = opened(phantom_spec(confounder="tag", confounder_strength=1.0, resolution_mm=4.0))
    grid = source.grid
    place = tuple(np.rint(grid.voxel(np.array([[30.0, 50.0, 30.0]]))[0]).astype(int))
    tagged = [source.counterfactual(r.row["scan_id"]) for r in source.records if r.row["site"] == "B"]
    assert tagged and all(exact.nuisance[place] or exact.effect[place] or exact.change[0][place] for exact in tagged)


def test_log_jacobians_are_kept_only_when_asked_for():
    for keep in (False, True):
        cohort = phantom(keep_log_jacobian=keep, n_participants=2)
        for record in cohort:
            kept = record.load().truths
            assert (kept is not None) == (keep and record.row["target"] == 1)
            if kept:
                exact, own = cohort.counterfactual(record.row["scan_id"]), kept[LOG_JACOBIAN]
                # The same tissue, where it is in the scan and not where it is in its cure.
                assert (
                    own[exact.effect].mean() > 0.05 and np.corrcoef(own.ravel(), exact.log_jacobian.ravel())[0, 1] > 0.6
                )


# ---- disorders


def test_the_default_disorder_is_alzheimers_with_its_own_areas():
    plain, spelled = phantom(), phantom(regions=list(DISORDERS["alzheimers"].regions))
    assert list(plain.effect.regions) == list(spelled.effect.regions)
    assert plain.classes == ("HC", "AD") and "mmse" in next(iter(plain)).row


def test_alcohol_takes_the_frontal_lobe_and_the_cerebellum():
    cohort = phantom(disorder="alcohol")
    assert cohort.classes == ("HC", "AUD")
    assert {"Superior frontal gyrus", "Cerebellum"} <= set(cohort.effect.regions)
    assert "Hippocampus" not in cohort.effect.regions
    rows = [record.row for record in cohort]
    assert {row["diagnosis"] for row in rows} == {"HC", "AUD"} and "mmse" not in rows[0]
    assert list(phantom(disorder="alcohol", regions=["Insula"], off_prior_regions=[]).effect.regions) == ["Insula"]


def test_every_disorder_takes_areas_of_the_atlas_and_is_offered():
    known = set(area_names())
    for disorder in DISORDERS.values():
        areas = (*disorder.regions, *disorder.off_prior_regions)
        assert len(set(areas)) == len(areas)
        assert all(set(labels_of(area)) <= known for area in areas)
    for source in ("phantom", "anatomies"):
        offered = schema_entries("cohorts_simulated.yaml")[source]["properties"]["disorder"]
        assert offered["enum"] == list(DISORDERS)


# ---- opening


def test_every_source_with_counterfactuals_can_be_opened():
    assert set(COUNTERFACTUAL_SOURCES) <= set(SOURCES)
    for name in ("blobs", "phantom"):
        entry = phantom_spec() if name == "phantom" else spec("blobs", n_participants=2)
        source = opened(entry)
        with pytest.raises(IntakeError, match="not in the cohort"):
            source.counterfactual("sub-9999_ses-1")


@pytest.mark.parametrize("option", [1, -1])
def test_the_counterfactual_of_a_signal_is_the_step_of_its_output(option):
    entry = spec("beats", "cohorts_signals.yaml", n_participants=2)
    signals = open_counterfactual(entry, SEED, Path(), "t_v5", option)
    exact = signals.counterfactual("sub-0001_ses-1")
    beats = signals.signals
    expected = beats.counterfactual("sub-0001_ses-1", "t_v5", option * STEPS["t_v5"])
    before = beats.counterfactual("sub-0001_ses-1", "t_v5", 0.0)
    np.testing.assert_allclose(exact.change, expected - before, atol=1e-6)
    assert exact.option == option and not exact.log_jacobian.any()
    size = np.abs(exact.change)
    np.testing.assert_array_equal(exact.effect, size > CHANGED_SHARE * size.max())
    # T in V5 stands in one lead: everything in the other eleven is a place that must not change.
    assert exact.effect.any(axis=1).tolist() == [lead == "V5" for lead in LEADS]
    assert exact.nuisance[[lead != "V5" for lead in LEADS]].all() and not (exact.effect & exact.nuisance).any()


@pytest.mark.parametrize(
    ("entry", "output"),
    [
        (lambda: spec("lesions", n_participants=4, resolution_mm=3.0), ""),
        (lambda: spec("beats", "cohorts_signals.yaml", n_participants=2), ""),
        (lambda: spec("beats", "cohorts_signals.yaml", n_participants=2), "height"),
        (lambda: spec("blobs", n_participants=2), "qt"),
    ],
)
def test_a_source_without_exact_counterfactuals_is_refused(entry, output):
    with pytest.raises(ConfigError, match="no exact counterfactual"):
        open_counterfactual(entry(), SEED, Path(), output)


# ---- real anatomies


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "oasis_malf").exists(), reason="the real scans are not on this machine")
def test_a_real_scan_with_its_change_is_its_own_twin():
    entry = spec(
        "anatomies", folder="oasis_malf/mni2mm_affine", scan="{scan_id}_T1brain.nii.gz",
        labels="{scan_id}_labels.nii.gz", grey_matter="{scan_id}_GMfrac.nii.gz", grey_matter_scale=255.0,
        table="oasis_malf/demographics.csv", labels_table="oasis_malf/labels_used.csv",
        columns={"scan_id": "id", "age": "Age", "sex": "Gender"}, design="paired", noise=0.0, bias=0.0,
        same_person={"1023": "1003", "1024": "1004", "1025": "1005", "1038": "1018", "1039": "1019"},
        regions={"hippocampus": [47, 48]}, variant_amplitude_mm=0.0,
    )  # fmt: skip
    cohort = Anatomies(entry, SEED, SHARED)
    healthy, ill = list(cohort)[:2]
    injected, removed = (cohort.counterfactual(record.row["scan_id"]) for record in (healthy, ill))
    np.testing.assert_allclose(healthy.load().values + injected.change, ill.load().values, atol=0.1)
    np.testing.assert_array_equal(injected.change, -removed.change)
    for exact in (injected, removed):
        moved = np.maximum(-exact.option * exact.log_jacobian, 0)
        assert moved[exact.effect].sum() > 0.95 * moved.sum() > 0
        assert -exact.option * exact.log_jacobian[exact.effect].mean() > 0.02
        assert exact.effect.mean() < 0.03
    assert injected.effect[np.isin(healthy.load().labels, [47, 48])].all()
