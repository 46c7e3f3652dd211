"""The lesion phantom: exact masks, kinds that only texture tells apart, neighbouring slices, a distractor and a tag."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from heatproof.cohorts.lesion_images import BAR_MM, CORNERS, TAG_MM, Outline, spread_brightness, tag
from heatproof.cohorts.lesions import TRUTH_FLOOR, Lesions, open_source
from heatproof.cohorts.store import Cohort
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError
from heatproof.stages.prepare import prepare

SEED = 11
ALL = ["solid", "ring", "speckled", "none"]


def spec(**changes):
    properties = schema_entries("cohorts_simulated.yaml")["lesions"]["properties"]
    defaults = {key: entry["default"] for key, entry in properties.items() if "default" in entry}
    return {**defaults, "source": "lesions", "resolution_mm": 3.0, "n_participants": 12, **changes}


def lesions(seed=SEED, **changes):
    return Lesions(spec(**changes), seed)


def scans(cohort):
    return [(record.row, record.load()) for record in cohort]


# ---- the truth


@pytest.mark.parametrize("nuisance", [{}, {"tag_strength": 1.0}, {"distractor_contrast": 0.0}, {"gain": 0.4}])
def test_the_truth_is_the_difference_to_the_same_scan_without_the_lesion_on_the_whole_lesion(nuisance):
    ill, well = (scans(lesions(noise=0.0, contrast=contrast, kinds=ALL, **nuisance)) for contrast in (0.6, 0.0))
    for (row, scan), (same, twin) in zip(ill, well, strict=True):
        assert row == same
        difference = np.abs(scan.values - twin.values)[0]
        lesion = scan.labels == 1
        # Nothing but the lesion differs, and all of the lesion is truth, however dark.
        assert not difference[~lesion].any() and not scan.truth[~lesion].any()
        if row["diagnosis"] == "none":
            assert not lesion.any()
            continue
        expected = np.maximum(difference, TRUTH_FLOOR * difference.max())
        np.testing.assert_allclose(scan.truth[lesion], expected[lesion], rtol=1e-5, atol=1e-6)
        assert scan.truth[lesion].min() > 0.49 * scan.truth.max() > 0


def test_noise_is_the_same_with_and_without_the_lesion():
    ill, well = (next(iter(lesions(contrast=contrast))).load() for contrast in (0.6, 0.0))
    assert not (ill.values - well.values)[0][ill.labels != 1].any()


def test_every_slice_of_a_person_shows_the_lesion_in_the_brain():
    for row, scan in scans(lesions(n_participants=40, kinds=["solid", "ring"])):
        assert (scan.labels == 1).sum() > 3, row
        parts, n = ndimage.label(scan.labels == 1, np.ones((3, 3)))
        assert np.bincount(parts.ravel())[1:].max() > 0.9 * (parts > 0).sum(), n
        assert (scan.values[0][scan.labels == 1] > 0).all()


# ---- kinds


def test_kinds_differ_in_the_spread_of_one_brightness_only():
    random = np.random.default_rng(0)
    rows, columns, slices = np.indices((30, 30, 3))
    depth = np.hypot(rows - 15, columns - 15) / 10
    lesion = Outline(depth, depth < 1)
    textures = [ndimage.gaussian_filter(random.normal(size=depth.shape), 1.5) for _ in range(60)]
    texture = textures[0]
    profiles = {kind: spread_brightness(kind, lesion, texture, 0.8) for kind in ("solid", "ring", "speckled")}
    for kind, profile in profiles.items():
        inside = profile[lesion.mask]
        assert not profile[~lesion.mask].any()
        assert inside.mean() == pytest.approx(1.0, abs=1e-5)
        assert inside.std() == pytest.approx(0.0 if kind == "solid" else 0.8, abs=1e-5)
    middle, rim = depth < 0.5, (depth > 0.8) & lesion.mask
    assert profiles["ring"][rim].min() > profiles["ring"][middle].max()
    # Speckles are anywhere: over many lesions neither rim nor middle is the brighter.
    mean = np.mean([spread_brightness("speckled", lesion, one, 0.8) for one in textures], axis=0)
    assert abs(mean[rim].mean() - mean[middle].mean()) < 0.2


def test_place_size_and_anatomy_are_drawn_whatever_the_kind():
    one, other = (lesions(kinds=kinds) for kinds in (["solid", "ring"], ["speckled", "solid"]))
    changed = 0
    for index in range(8):
        person, twin = one.person(index), other.person(index)
        changed += person.kind != twin.kind
        assert (person.radius_mm, person.height_mm) == (twin.radius_mm, twin.height_mm)
        np.testing.assert_array_equal(one.slices(person).lesion, other.slices(twin).lesion)
        np.testing.assert_array_equal(one.slices(person).tissue, other.slices(twin).tissue)
    assert changed > 0


def test_classes_are_balanced_at_any_size_and_do_not_alternate():
    cohort = lesions(n_participants=60, n_slices=1)
    kinds = [cohort.person(index).kind for index in range(60)]
    for count in (3, 30, 60):
        assert set(Counter(kinds[:count]).values()) == {count // 3}
    assert kinds != kinds[:3] * 20


def test_controls_come_first_and_only_where_they_are_asked_for():
    with_controls = open_source(spec(kinds=["ring", "none", "solid"]), seed=1, root=Path())
    without = open_source(spec(kinds=["ring", "solid"]), seed=1, root=Path())
    assert (with_controls.classes, with_controls.has_controls) == (("none", "ring", "solid"), True)
    assert (without.classes, without.has_controls) == (("ring", "solid"), False)


# ---- people and slices


def test_slices_of_one_person_are_neighbours_of_one_anatomy():
    cohort = lesions(noise=0.0, distractor_contrast=0.0, gain=0.0)
    images = [scan.values[0].ravel() for _, scan in scans(cohort)]
    alike = np.corrcoef(images)
    same = np.kron(np.eye(12), np.ones((3, 3))).astype(bool) & ~np.eye(36, dtype=bool)
    others = ~np.kron(np.eye(12), np.ones((3, 3))).astype(bool)
    # A split by slice would test on what it has all but seen.
    assert np.mean([alike[i][same[i]].max() > alike[i][others[i]].max() for i in range(36)]) > 0.95


def test_a_scan_depends_neither_on_the_number_of_people_nor_on_the_order():
    few, many = list(lesions(n_participants=3)), list(lesions(n_participants=30))[:9]
    backwards = {record.row["scan_id"]: record.load() for record in reversed(many)}
    for record in few:
        other = backwards[record.row["scan_id"]]
        np.testing.assert_array_equal(record.load().values, other.values)
        np.testing.assert_array_equal(record.load().labels, other.labels)
    assert np.abs(few[0].load().values - next(iter(lesions(seed=12))).load().values).max() > 0.1


def test_a_rescan_shows_the_same_lesion_under_new_noise():
    visits = {row["visit"]: scan for row, scan in scans(lesions(n_participants=2, n_slices=1, n_visits=2))[:2]}
    np.testing.assert_array_equal(visits[1].labels == 1, visits[2].labels == 1)
    assert (visits[1].labels != visits[2].labels).any()
    once = lesions(n_participants=40, n_slices=1, n_visits=2, rescanned_share=0.5)
    assert 45 < len(once) == len(list(once)) < 75


# ---- what knows nothing of the class, and what knows too much


def test_the_distractor_is_a_bar_clear_of_the_lesion_and_the_same_in_all_classes():
    areas = {kind: [] for kind in ALL}
    for row, scan in scans(lesions(kinds=ALL, n_participants=24, resolution_mm=2.0)):
        bar = scan.labels == 2
        areas[row["diagnosis"]].append(bar.sum() * 4)
        assert (scan.values[0][bar] > 0).all()
    sizes = {kind: np.mean(values) for kind, values in areas.items()}
    assert all(size == pytest.approx(np.prod(BAR_MM), rel=0.25) for size in sizes.values())
    plain = lesions(distractor_contrast=0.0)
    assert not any((scan.labels == 2).any() for _, scan in scans(plain))


def test_the_distractor_lies_where_it_would_without_the_class():
    ill, well = lesions(kinds=["solid", "ring"]), lesions(kinds=["none", "ring"])
    for (row, scan), (twin, healthy) in zip(scans(ill), scans(well), strict=True):
        assert row["scan_id"] == twin["scan_id"]
        np.testing.assert_array_equal(scan.labels == 2, healthy.labels == 2)


@pytest.mark.parametrize(("strength", "share"), [(1.0, 1.0), (0.5, 0.5 + 0.5 / 3)])
def test_the_tag_s_corner_follows_the_class_as_strongly_as_asked(strength, share):
    cohort = lesions(tag_strength=strength, n_participants=600, n_slices=1)
    people = [cohort.person(index) for index in range(600)]
    own = np.mean([person.corner == CORNERS[cohort.classes.index(person.kind)] for person in people])
    assert own == pytest.approx(share, abs=0.05)


def test_the_tag_is_marked_judged_and_absent_unless_asked_for():
    source = open_source(spec(tag_strength=1.0, kinds=ALL), seed=3, root=Path())
    for record in list(source.records)[:12]:
        scan = record.load()
        mark = scan.labels == 3
        np.testing.assert_array_equal(mark, tag(source.grid.shape, source.grid.spacing, record.row["tag"]))
        assert mark.sum() == round(TAG_MM / 3) ** 2
        assert source.mask[mark].all() and len(np.unique(scan.values[0][mark])) == 1
    plain = open_source(spec(), seed=3, root=Path())
    assert 3 not in plain.label_names and not plain.mask[0].any()
    assert not any((record.load().labels == 3).any() for record in list(plain.records)[:6])


def test_the_judged_region_holds_the_brains_without_being_fitted_to_them():
    source = open_source(spec(n_participants=20), seed=3, root=Path())
    inside = np.mean([(record.load().values[0] > 0)[~source.mask].mean() for record in source.records])
    assert inside < 0.002
    assert source.mask.mean() < 0.85
    np.testing.assert_array_equal(source.mask, open_source(spec(n_participants=4), seed=9, root=Path()).mask)


# ---- grid, store, bad input


def test_the_grid_is_a_plane_in_millimetres_with_the_front_above(tmp_path):
    files = {name: tmp_path / f"{name}.tsv" for name in ("participants", "intake", "volumes")}
    prepare(spec(n_participants=3), seed=1, root=tmp_path, cohort=tmp_path / "cohort.h5", **files)
    with Cohort(tmp_path / "cohort.h5") as cohort:
        assert cohort.grid.spacing == (3.0, 3.0) and cohort.grid.units == "mm" and cohort.grid.affine is None
        assert cohort.grid.shape[0] > cohort.grid.shape[1]
        assert cohort.scan(cohort.scan_ids[0]).shape == (1, *cohort.grid.shape)
        assert not cohort.has_controls and len(cohort) == 9
        assert cohort.truth(cohort.scan_ids[4]).max() > 0
        # The back of the head is wider than the front.
        widths = (cohort.template > 0).sum(axis=1)
        rows = np.flatnonzero(widths)
        quarter = len(rows) // 4
        assert widths[rows[:quarter]].sum() < widths[rows[-quarter:]].sum()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lesion_radius_mm": [18, 12]}, "lesion_radius_mm"),
        ({"height_mm": [30, 0]}, "height_mm"),
        ({"n_slices": 9}, "lesion_radius_mm"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is(change, field):
    with pytest.raises(ConfigError, match=field):
        lesions(**change)


def test_a_lesion_wider_than_the_brain_is_refused():
    with pytest.raises(ConfigError, match="does not fit"):
        next(iter(lesions(lesion_radius_mm=[70, 71]))).load()
