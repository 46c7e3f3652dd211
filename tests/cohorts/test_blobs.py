"""The blobs: an exact flow, exact counterfactuals in one, two and three axes, nuisance and a confounded arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.cohorts.blob_images import EFFECTS, NUISANCES, Blob, areas_at, centres
from heatproof.cohorts.blobs import Blobs, open_source
from heatproof.cohorts.deformations import identity, jacobian_determinant, sample, warp
from heatproof.cohorts.store import LOG_JACOBIAN, Cohort
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError, IntakeError
from heatproof.stages.prepare import prepare
from heatproof.stages.truth import truth as truth_stage
from heatproof.truths.store import read_truth

SEED = 11
SHAPES = [(96,), (48, 48), (24, 24, 24)]


def spec(**changes):
    properties = schema_entries("cohorts_simulated.yaml")["blobs"]["properties"]
    defaults = {key: entry["default"] for key, entry in properties.items() if "default" in entry}
    return {**defaults, "source": "blobs", "n_participants": 6, **changes}


def blobs(seed=SEED, **changes):
    return Blobs(spec(**changes), seed)


def source(**changes):
    return open_source(spec(**changes), seed=SEED, root=Path())


def first(records, target):
    return next(record for record in records if record.row["target"] == target)


# ---- the flow


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_flow_of_a_blob_is_undone_by_the_opposite_rate_and_ends_at_its_reach(axes):
    blob = Blob((20.0,) * axes, 6.0, 11.0)
    points = np.random.default_rng(0).uniform(0, 40, (axes, 500))
    gone = blob.flow(points, 0.7)
    inside = blob.distance(points) < blob.reach
    np.testing.assert_allclose(blob.flow(gone, -0.7), points, atol=1e-5)
    np.testing.assert_array_equal(gone[:, ~inside], points[:, ~inside])
    # A blob that shrinks shows what lies further out.
    assert (blob.distance(gone)[inside] > blob.distance(points)[inside]).all()


def test_the_flow_solves_its_differential_equation():
    from scipy.integrate import solve_ivp

    blob, start = Blob((0.0,), 6.0, 11.0), np.array([0.5, 3.0, 8.0, 10.5])
    path = solve_ivp(lambda _, r: 0.9 * r * (1 - (r / 11) ** 2) ** 2, (0, 1), start, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(blob.flow(start[np.newaxis], 0.9)[0], path.y[:, -1], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shrinking_blob_loses_tissue_in_its_core_and_gains_it_around(shape):
    reach = min(shape) / 4 - 1
    blob = Blob(tuple((n - 1) / 2 for n in shape), reach / 2, reach)
    points = identity(shape).astype(np.float64)
    determinant = jacobian_determinant(blob.flow(points, 0.1) - points)
    distance = blob.distance(points)
    assert determinant[distance < 0.8 * blob.core].min() > 1
    assert determinant[(distance > 1.2 * blob.core) & (distance < 0.9 * reach)].max() < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_flows_of_two_blobs_never_meet(shape):
    for index in range(6):
        cohort = blobs(shape=list(shape))
        body = cohort.body(cohort.person(index)).blobs
        middles = [np.array(blob.centre) for blob in body.values()]
        gaps = [np.linalg.norm(one - two) for i, one in enumerate(middles) for two in middles[:i]]
        assert min(gaps) > 2 * max(blob.reach for blob in body.values()) - 1e-9
        assert all(blob.radius <= 0.8 * blob.reach for blob in body.values())


def test_blobs_lie_in_a_row_across_quadrants_or_at_the_corners_of_a_tetrahedron():
    row = centres((96,))
    assert row[1] < row[3] < row[2] < row[4]
    quadrants = centres((48, 48))
    np.testing.assert_allclose(quadrants[1] + quadrants[2], [47, 47])
    corners = list(centres((24, 24, 24)).values())
    gaps = [np.linalg.norm(one - two) for i, one in enumerate(corners) for two in corners[:i]]
    np.testing.assert_allclose(gaps, 12 * np.sqrt(2))


# ---- truth and counterfactual


@pytest.mark.parametrize("shape", SHAPES)
def test_the_truth_is_the_difference_to_the_same_scan_without_the_effect(shape):
    ill, well = blobs(noise=0.0, shape=list(shape)), blobs(noise=0.0, contraction=0.0, shape=list(shape))
    for with_effect, without in zip(ill, well, strict=True):
        assert with_effect.row == without.row
        scan = with_effect.load()
        if with_effect.row["target"] == 0:
            assert not scan.truth.any() and scan.truths is None
            continue
        affected = np.isin(without.load().labels, EFFECTS)
        assert scan.truth[affected].mean() > 5 * scan.truth[~affected].mean()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", [0, 1])
def test_the_scan_and_its_change_make_the_twin_in_the_other_group(shape, target, monkeypatch):
    cohort = source(noise=0.0, shape=list(shape))
    record = first(cohort.records, target)
    exact = cohort.counterfactual(record.row["scan_id"])
    before = record.load().values
    person = cohort.records.person
    monkeypatch.setattr(cohort.records, "person", lambda index: replace(person(index), patient=not target))
    twin = next(one for one in cohort.records if one.row["scan_id"] == record.row["scan_id"])
    assert twin.row["target"] == 1 - target
    np.testing.assert_allclose(before + exact.change, twin.load().values, atol=1e-6)
    assert exact.option == (-1 if target else 1)
    assert exact.change.shape == (1, *shape) and exact.log_jacobian.shape == shape
    assert exact.change.dtype == exact.log_jacobian.dtype == np.float32


@pytest.mark.parametrize("shape", SHAPES)
def test_the_log_jacobian_is_below_zero_where_an_effect_is_injected_and_above_where_it_is_removed(shape):
    cohort = source(shape=list(shape))
    for record in cohort.records:
        exact = cohort.counterfactual(record.row["scan_id"])
        assert -exact.option * exact.log_jacobian[exact.effect].mean() > 0.1
        moved = np.maximum(-exact.option * exact.log_jacobian, 0)
        assert moved[exact.effect].sum() > 0.95 * moved.sum()
        assert not exact.log_jacobian[exact.nuisance].any() and not exact.change[0][exact.nuisance].any()
        assert exact.nuisance.any() and not (exact.effect & exact.nuisance).any()


def pulled_back(image, person, body, cohort, sign):
    """Return an image warped from the person to the anatomy, by the effect, and back, by grids alone."""
    voxels = identity(image.shape).astype(np.float64)
    moved = voxels + body.displacement
    for area in EFFECTS:
        moved = body.blobs[area].flow(moved, sign * cohort.spec["contraction"] * person.effects[area])
    back = moved.copy()
    for _ in range(40):
        back -= back + np.stack([sample(part, back) for part in body.displacement]) - moved
    return warp(image, (back - voxels).astype(np.float32), order=3), back - voxels


@pytest.mark.parametrize("shape", [(96,), (48, 48), (32, 32, 32)])
def test_warping_the_healthy_scan_gives_the_ill_one_and_the_log_jacobian_is_that_of_the_warp(shape):
    cohort = blobs(shape=list(shape), noise=0.0, bias=0.0, texture=0.0, ground_texture=0.0, edge=3.0)
    record = first(cohort, 0)
    healthy = record.load().values[0]
    exact = cohort.counterfactual(record.row["scan_id"])
    person = next(one for one in map(cohort.person, range(6)) if one.participant_id == record.row["participant_id"])
    warped, displacement = pulled_back(healthy, person, cohort.body(person), cohort, 1)
    ill = healthy + exact.change[0]
    assert np.abs(warped - ill).max() < 0.05 * np.abs(exact.change).max() + 0.003
    np.testing.assert_allclose(exact.log_jacobian, -np.log(jacobian_determinant(displacement)), atol=1e-4)


def test_removal_undoes_injection():
    cohort = blobs(noise=0.0)
    person, scan_id = cohort.person(0), "sub-0001_ses-1"
    body = cohort.body(person)
    there = identity(cohort.grid.shape).astype(np.float64)
    _, injected = pulled_back(there[0], person, body, cohort, 1)
    _, removed = pulled_back(there[0], person, body, cohort, -1)
    both = injected + np.stack([sample(part, there + injected) for part in removed])
    assert np.abs(both).max() < 0.05 * np.abs(injected).max()
    assert cohort.counterfactual(scan_id).option == (-1 if person.patient else 1)


def test_the_kept_log_jacobian_is_that_of_the_cure_where_the_tissue_is_in_the_scan_and_may_be_left_out():
    cohort = source()
    record = first(cohort.records, 1)
    kept = record.load().truths[LOG_JACOBIAN]
    cured = cohort.counterfactual(record.row["scan_id"])
    # Tissue is gained, the same amount at most, in the small blobs of the scan instead of the large ones of its cure.
    assert kept[cured.effect].mean() > 0.1 and kept.max() == pytest.approx(cured.log_jacobian.max(), rel=0.1)
    assert 0 < (kept > 0.1).sum() < (cured.log_jacobian > 0.1).sum()
    assert first(blobs(keep_log_jacobian=False), 1).load().truths is None


@pytest.mark.parametrize("scan_id", ["sub-0007_ses-1", "sub-0001_ses-2", "sub-0000_ses-1", "x", "sub-0001"])
def test_a_scan_that_is_not_in_the_cohort_is_refused(scan_id):
    with pytest.raises(IntakeError, match="not in the cohort"):
        source().counterfactual(scan_id)


# ---- people, nuisance, confounding


def test_a_scan_depends_neither_on_the_number_of_people_nor_on_the_order():
    few, many = list(blobs(n_participants=4)), list(blobs(n_participants=40))[:4]
    for record, twin in reversed(list(zip(few, many, strict=True))):
        assert record.row == twin.row
        np.testing.assert_array_equal(record.load().values, twin.load().values)
    assert np.abs(few[0].load().values - next(iter(blobs(seed=12))).load().values).max() > 0.1


def test_groups_are_balanced_and_do_not_alternate():
    targets = [record.row["target"] for record in blobs(n_participants=200)]
    assert [sum(targets[:count]) for count in (2, 10, 200)] == [1, 5, 100]
    assert targets != [0, 1] * 100


def test_a_rescan_shows_the_same_blobs_under_new_noise():
    one, two = list(blobs(n_participants=2, n_visits=2))[:2]
    assert one.row["participant_id"] == two.row["participant_id"]
    np.testing.assert_array_equal(one.load().labels, two.load().labels)
    assert np.abs(one.load().values - two.load().values).max() > 0.05
    once = blobs(n_participants=40, n_visits=2, rescanned_share=0.5)
    assert 45 < len(once) == len(list(once)) < 75


@pytest.mark.parametrize(("confounding", "expected"), [(0.0, 0.0), (0.6, 0.6), (1.0, 1.0)])
def test_the_nuisance_follows_the_group_as_strongly_as_asked(confounding, expected):
    rows = [record.row for record in blobs(n_participants=600, confounding=confounding)]
    for name in ("nuisance_one", "nuisance_two"):
        shrinks = [np.mean([row[name] > 0 for row in rows if row["target"] == group]) for group in (0, 1)]
        assert shrinks[1] - shrinks[0] == pytest.approx(expected, abs=0.1)
        assert all(0.5 <= abs(row[name]) <= 1 for row in rows)


def test_effect_and_anatomy_do_not_depend_on_the_confounding():
    plain, confounded = blobs(), blobs(confounding=1.0)
    for index in range(6):
        assert plain.person(index).effects == confounded.person(index).effects
        np.testing.assert_array_equal(
            plain.body(plain.person(index)).ground, confounded.body(confounded.person(index)).ground
        )


def test_patients_blobs_are_smaller_and_the_nuisance_is_not():
    sizes = {0: [], 1: []}
    for record in blobs(n_participants=160, shape=[24, 24]):
        labels = record.load().labels
        sizes[record.row["target"]].append([np.isin(labels, areas).sum() for areas in (EFFECTS, NUISANCES)])
    effect, nuisance = (np.array([np.mean(sizes[group], axis=0)[k] for group in (0, 1)]) for k in (0, 1))
    assert effect[1] < 0.85 * effect[0]
    assert nuisance[1] == pytest.approx(nuisance[0], rel=0.1)


# ---- grid, store, bad input


def test_the_cohort_is_stored_with_its_areas_and_log_jacobians(tmp_path):
    files = {name: tmp_path / f"{name}.tsv" for name in ("participants", "intake", "volumes")}
    prepare(spec(), seed=1, root=tmp_path, cohort=tmp_path / "cohort.h5", **files)
    with Cohort(tmp_path / "cohort.h5") as cohort:
        assert cohort.grid.units == "pixel" and cohort.classes == ("control", "patient") and cohort.has_controls
        assert cohort.label_names == {1: "Effect one", 2: "Effect two", 3: "Nuisance one", 4: "Nuisance two"}
        assert cohort.template.max() > 0.9 and set(np.unique(cohort.atlas)) == {0, 1, 2, 3, 4}
        for scan_id, target in cohort.participants["target"].items():
            assert set(np.unique(cohort.labels(scan_id))) == {0, 1, 2, 3, 4}
            assert cohort.truth(scan_id, LOG_JACOBIAN).any() == cohort.truth(scan_id).any() == (target == 1)
    truth = {"output": tmp_path / "contraction.h5", "studies": tmp_path / "studies.tsv"}
    entry = {"source": "contraction", "mask_share": 0.05}
    truth_stage(tmp_path / "cohort.h5", entry, name="contraction", seed=1, root=tmp_path, **truth)
    found, typical = read_truth(truth["output"]).values, blobs().typical_blobs()
    near = {area: blob.distance(identity(found.shape)) < blob.radius for area, blob in typical.items()}
    assert all(found[near[area]].mean() > 0.2 for area in EFFECTS)
    assert not any(found[near[area]].any() for area in NUISANCES)


def test_the_areas_are_those_of_the_blobs():
    cohort = blobs()
    body = cohort.body(cohort.person(0)).blobs
    labels = areas_at(identity(cohort.grid.shape), body)
    for area, blob in body.items():
        np.testing.assert_allclose(np.argwhere(labels == area).mean(axis=0), blob.centre, atol=0.6)


def test_a_severity_range_upside_down_is_refused():
    with pytest.raises(ConfigError, match="severity_minimum"):
        blobs(severity_minimum=0.9, severity_maximum=0.2)


def test_every_parameter_has_description_unit_and_default():
    entry = schema_entries("cohorts_simulated.yaml")["blobs"]
    assert entry["additionalProperties"] is False
    for key, described in entry["properties"].items():
        assert described["description"] and described["unit"]
        assert key in entry["required"] or "default" in described
