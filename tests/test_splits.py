"""Folds: nobody is on both sides, every class is everywhere, and a planted leak is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatproof.errors import ConfigError, IntakeError, LeakageError
from heatproof.files import read_table, write_table
from heatproof.leakage import LEAKAGE_COLUMNS, audit, check_parts, raise_on_leak
from heatproof.splits import FOLD_COLUMNS, make_folds, parts_of, units_of
from heatproof.stages.split import split

PAIRS = [("train", "validation"), ("train", "test"), ("validation", "test")]


def cohort(n_people: int = 60, repeats: int = 2, seed: int = 0, **columns: object) -> pd.DataFrame:
    """Return a table with `repeats` scans per person, classes in two blocks as in a sorted file."""
    random = np.random.default_rng(seed)
    n = n_people * repeats
    person = np.repeat(np.arange(n_people), repeats)
    return pd.DataFrame(
        {
            "scan_id": [f"scan-{number}" for number in range(n)],
            "participant_id": [f"person-{number}" for number in person],
            "diagnosis": np.where(person < n_people // 2, "HC", "AD"),
            "age": random.normal(70, 8, n_people)[person],
            "sex": random.choice(["F", "M"], n_people)[person],
            "site": random.choice(["A", "B"], n_people)[person],
            "image_sha256": [f"hash-{number}" for number in range(n)],
            **columns,
        }
    )


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Random tables: repeats, families across people, twins of images, missing families, two sites."""
    n_people = draw(st.integers(20, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    repeats = random.integers(1, 4, n_people)
    person = random.permutation(np.repeat(np.arange(n_people), repeats))
    n = len(person)
    family = np.where(random.random(n_people) < 0.3, random.integers(0, 6, n_people).astype(str), "")[person]
    frame = cohort(n_people, 1).iloc[person].reset_index(drop=True)
    frame["scan_id"] = [f"scan-{number}" for number in range(n)]
    frame["image_sha256"] = [f"hash-{number}" for number in range(n)]
    frame["family"] = pd.Series(family).where(pd.Series(family) != "", np.nan)
    if draw(st.booleans()):
        frame.loc[frame.index[-1], "image_sha256"] = frame.loc[0, "image_sha256"]
    # Some people convert, so that a unit may hold both classes.
    converted = random.random(n) < 0.1
    frame.loc[converted, "diagnosis"] = "AD"
    return frame


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 1000), st.sampled_from([2, 3, 5]))
def test_corrected_folds_never_leak(frame: pd.DataFrame, seed: int, n_folds: int) -> None:
    try:
        folds = make_folds(frame, "corrected", n_folds, 0.2, seed)
    except IntakeError as error:
        # Families can leave a class with fewer independent people than folds: refused, never split.
        assert "independent people" in str(error) or "every part" in str(error)
        return
    assert tuple(folds.columns) == FOLD_COLUMNS
    merged = folds.merge(frame.drop(columns="participant_id"), on="scan_id")
    for _, fold in merged.groupby("fold"):
        assert sorted(fold["scan_id"]) == sorted(frame["scan_id"])
        for column in ("participant_id", "family", "image_sha256"):
            members = {part: set(rows[column].dropna()) for part, rows in fold.groupby("part")}
            for one, other in PAIRS:
                assert not members[one] & members[other]
        assert fold.groupby("part")["diagnosis"].nunique().eq(2).all()
    assert merged.query("part == 'test'")["scan_id"].value_counts().eq(1).all()
    found = audit(frame, folds)
    assert found["passed"].all()
    raise_on_leak(found)


@settings(max_examples=25, deadline=None)
@given(tables(), st.integers(0, 1000))
def test_a_planted_leak_is_found(frame: pd.DataFrame, seed: int) -> None:
    try:
        folds = make_folds(frame, "corrected", 3, 0.2, seed)
    except IntakeError:
        return
    units = pd.Series(units_of(frame), index=frame["scan_id"])
    shared = units[units.duplicated(keep=False)]
    if shared.empty:
        return
    planted = folds.copy()
    scan = shared.index[seed % len(shared)]
    row = planted.index[(planted["scan_id"] == scan) & (planted["fold"] == 0)][0]
    planted.loc[row, "part"] = "test" if planted.loc[row, "part"] == "train" else "train"
    # One scan of a unit was moved: the rest of the unit must give it away (unless linked only by a chain).
    partners = set(shared.index[shared == units[scan]]) - {scan}
    linked = frame.set_index("scan_id")
    direct = any(
        linked.loc[scan, column] == linked.loc[partner, column]
        for partner in partners
        for column in ("participant_id", "family", "image_sha256")
    )
    assert direct
    with pytest.raises(LeakageError, match="both sides"):
        raise_on_leak(audit(frame, planted))


def test_classes_are_stratified_and_nuisances_roughly_balanced() -> None:
    frame = cohort(100, 1)
    folds = make_folds(frame, "corrected", 5, 0.25, 3)
    merged = folds.merge(frame.drop(columns="participant_id"), on="scan_id")
    sizes = merged.groupby(["fold", "part", "diagnosis"]).size().unstack()
    assert (sizes["HC"] == sizes["AD"]).all()
    assert set(sizes.xs("test", level="part")["HC"]) == {10}
    assert set(sizes.xs("validation", level="part")["HC"]) == {10}
    test = merged[merged["part"] == "test"]
    assert (pd.crosstab(test["fold"], test["sex"]).std() < 1.6).all()
    assert test.groupby("fold")["age"].mean().std() < 2.5


def test_each_fold_lacks_no_class_when_people_differ_in_number_of_scans() -> None:
    frame = cohort(10, 1)
    frame = pd.concat([frame, *[frame.iloc[[0]]] * 30], ignore_index=True)
    frame["scan_id"] = [f"scan-{number}" for number in range(len(frame))]
    frame["image_sha256"] = frame["scan_id"]
    assert audit(frame, make_folds(frame, "corrected", 5, 0.2, 1))["passed"].all()


def test_folds_depend_on_seed_and_content_only() -> None:
    frame = cohort()
    one = make_folds(frame, "corrected", 5, 0.2, 7)
    pd.testing.assert_frame_equal(one, make_folds(frame.set_index("scan_id", drop=False), "corrected", 5, 0.2, 7))
    assert not one.equals(make_folds(frame, "corrected", 5, 0.2, 8))


def test_published_recipe_trains_on_most_of_its_validation() -> None:
    frame = cohort(250, 2)
    folds = make_folds(frame, "as_published", 5, 0.2, 1)
    shares = []
    for fold, rows in folds.groupby("fold"):
        parts = {part: of_part["scan_id"].tolist() for part, of_part in rows.groupby("part")}
        # Test folds are contiguous rows of the table.
        assert parts["test"] == frame["scan_id"].iloc[100 * int(fold) : 100 * int(fold) + 100].tolist()
        assert not set(parts["test"]) & set(parts["train"])
        shares.append(np.mean([scan in set(parts["train"]) for scan in parts["validation"]]))
    assert np.mean(shares) == pytest.approx(0.8, abs=0.06)
    found = audit(frame, folds)
    leak = found[(found["check"] == "participant train-validation")]
    assert not leak["passed"].any()
    assert (leak["n"] > 20).all()
    # It is a result of the study, not an error.
    raise_on_leak(found)
    assert found.columns.tolist() == list(LEAKAGE_COLUMNS)


def test_scan_wise_recipe_divides_scans_and_not_people() -> None:
    frame = cohort(100, 3)
    folds = make_folds(frame, "as_published", 10, 0.1, 1, as_published="scans")
    assert tuple(folds.columns) == FOLD_COLUMNS
    for _, rows in folds.groupby("fold"):
        # Each scan is in one part, in the sizes of Brima & Atemkeng: 81, 9 and 10 %.
        assert sorted(rows["scan_id"]) == sorted(frame["scan_id"])
        assert rows["part"].value_counts().to_dict() == {"train": 243, "validation": 27, "test": 30}
    test = folds[folds["part"] == "test"]
    assert sorted(test["scan_id"]) == sorted(frame["scan_id"])
    # Of a person with one scan in the test part, the two others are in it or in validation by chance alone:
    # with 27 and 30 of 300 scans, the probability that neither is in training is .035.
    found = audit(frame, folds).query("check == 'participant train-test'")
    people = test.groupby("fold")["participant_id"].nunique().to_numpy()
    assert not found["passed"].any()
    assert found["n"].sum() / people.sum() == pytest.approx(1 - 0.035, abs=0.03)
    # Not rows of the table: the ranks of a test fold are spread evenly.
    ranks = test["scan_id"].str.removeprefix("scan-").astype(int).groupby(test["fold"]).mean()
    assert ranks.std() < 40 and abs(ranks.mean() - 149.5) < 1e-9
    raise_on_leak(audit(frame, folds))


def test_scan_wise_recipe_depends_on_its_seed_and_rows_stay_the_default() -> None:
    frame = cohort()
    one, two, other = (make_folds(frame, "as_published", 3, 0.2, seed, as_published="scans") for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)
    rows = make_folds(frame, "as_published", 3, 0.2, 1)
    pd.testing.assert_frame_equal(rows, make_folds(frame, "as_published", 3, 0.2, 1, as_published="rows"))
    assert not rows.equals(one)


# ------------------------------------------------------------------- test folds that the authors have published


def with_published_folds(n_folds: int = 4, names: str = "{}") -> pd.DataFrame:
    frame = cohort()
    number = frame["participant_id"].str.removeprefix("person-").astype(int) % n_folds
    return frame.assign(published_fold=[names.format(value + 7) for value in number])


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6), st.integers(0, 100), st.sampled_from(["{}", "fold {}"]))
def test_published_test_folds_are_kept_and_validation_is_drawn_by_person(n_folds: int, seed: int, names: str) -> None:
    frame = with_published_folds(n_folds, names)
    folds = make_folds(frame, "corrected", n_folds, 0.2, seed, published_column="published_fold")
    tested = folds[folds["part"] == "test"].set_index("scan_id")["fold"]
    values = sorted(set(frame["published_fold"]))
    expected = frame.set_index("scan_id")["published_fold"].map(values.index)
    assert tested.sort_index().tolist() == expected.sort_index().tolist()
    assert audit(frame, folds)["passed"].all()
    sizes = folds.groupby(["fold", "part"]).size().unstack()
    np.testing.assert_allclose(sizes["validation"] / (sizes["validation"] + sizes["train"]), 0.2, atol=0.03)


def test_published_folds_are_numbered_by_value() -> None:
    frame = with_published_folds(4)  # 7, 8, 9 and 10: as numbers 10 comes last, as text it would come first
    frame["published_fold"] = frame["published_fold"].astype(int)
    folds = make_folds(frame, "corrected", 4, 0.2, 0, published_column="published_fold")
    last = set(folds.query("part == 'test' and fold == 3")["scan_id"])
    assert last == set(frame.loc[frame["published_fold"] == 10, "scan_id"])


@pytest.mark.parametrize(
    ("link", "match"),
    [
        ({"participant_id": "PERSON-05"}, "puts the same person, family or image into two folds: PERSON-05, person-5"),
        ({"family": "f"}, "person-4, person-5"),
        ({"image_sha256": "h"}, "person-4, person-5"),
    ],
)
def test_published_folds_that_divide_a_person_stop_the_run(link: dict[str, str], match: str) -> None:
    frame = with_published_folds().assign(family=np.nan)
    frame["family"] = frame["family"].astype(object)
    rows = [8, 10]  # a scan of person 4 and one of person 5
    for column, value in link.items():
        frame.loc[rows[:1] if column == "participant_id" else rows, column] = value
    with pytest.raises(LeakageError, match=match) as caught:
        make_folds(frame, "corrected", 4, 0.2, 1, published_column="published_fold")
    assert caught.value.field == "folds.published_column" and "leave out" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("n_folds", "column", "message"),
    [
        (5, "published_fold", "has 4 values, and n_folds asks for 5 folds.*set folds.n_folds to 4"),
        (4, "published", "no column 'published'.*published_fold"),
        (4, "gaps", "1 scans have no 'gaps': scan-3"),
        (4, "constant", "has 1 values.*another column"),
    ],
)
def test_published_folds_that_do_not_fit_the_configuration(n_folds: int, column: str, message: str) -> None:
    frame = with_published_folds().assign(constant=1)
    frame["gaps"] = frame["published_fold"].where(frame["scan_id"] != "scan-3")
    with pytest.raises(ConfigError, match=message) as caught:
        make_folds(frame, "corrected", n_folds, 0.2, 1, published_column=column)
    assert caught.value.field == "folds.published_column"


def test_a_published_fold_without_a_class_is_refused() -> None:
    frame = cohort().assign(published_fold=lambda table: (table["diagnosis"] == "AD").astype(int))
    with pytest.raises(IntakeError, match="every class in every part.*leave out folds.published_column"):
        make_folds(frame, "corrected", 2, 0.2, 1, published_column="published_fold")


def test_units_join_through_chains_and_spelling() -> None:
    frame = pd.DataFrame(
        {
            "scan_id": list("abcdefg"),
            "participant_id": ["p1", "P1 ", "p01", "p4", "p5", "p6", "p7"],
            "family": [np.nan, "x", "", "X", "n/a", "n/a", ""],
            "image_sha256": ["1", "2", "3", "4", "5", "4", "7"],
        }
    )
    assert units_of(frame).tolist() == [0, 0, 0, 0, 1, 0, 2]


@pytest.mark.parametrize(
    ("change", "n_folds", "message"),
    [
        ({}, 40, "class 'AD' has 30 independent people"),
        ({"family": "one"}, 5, "1 independent people"),
        ({"image_sha256": "same"}, 5, "1 independent people"),
    ],
)
def test_class_smaller_than_the_folds(change: dict[str, object], n_folds: int, message: str) -> None:
    with pytest.raises(IntakeError, match=message):
        make_folds(cohort(60, 2, **change), "corrected", n_folds, 0.2, 1)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"recipe": "mine"}, "recipe"),
        ({"n_folds": 0}, "folds.n_folds"),
        ({"n_folds": 1, "test_share": 0.0}, "folds.test_share"),
        ({"n_folds": 1, "test_share": 1.0}, "folds.test_share"),
        ({"split_column": "site"}, "folds.n_folds"),
        ({"validation_share": 0.0}, "folds.validation_share"),
        ({"validation_share": 1.0}, "folds.validation_share"),
        ({"as_published": "people"}, "folds.as_published"),
    ],
)
def test_wrong_settings(keys: dict, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_folds(cohort(), **{"recipe": "corrected", "n_folds": 5, "validation_share": 0.2, "seed": 1, **keys})
    assert caught.value.field == field


def test_audit_names_who_leaks() -> None:
    frame = cohort(6, 2, family=["f"] * 4 + [np.nan] * 8)
    folds = make_folds(cohort(6, 2), "corrected", 3, 0.3, 1)
    found = audit(frame, folds).query("check.str.startswith('family') and not passed")
    assert len(found)
    assert set(found["detail"]) == {"f"}


def test_audit_counts_coverage_and_missing_classes() -> None:
    frame = cohort(4, 1)
    folds = pd.DataFrame(
        {
            "recipe": "corrected",
            "fold": [0, 0, 0, 1, 1, 1],
            "scan_id": ["scan-0", "scan-1", "scan-2", "scan-0", "scan-3", "scan-2"],
            "participant_id": "",
            "part": ["test", "validation", "train"] * 2,
        }
    )
    found = audit(frame, folds).set_index(["fold", "check"])
    assert found.loc[(-1, "tested at most once"), "detail"] == "scan-0"
    assert found.loc[(-1, "tested at least once"), "n"] == 3
    assert found.loc[(0, "class in test"), "detail"] == "AD"


def test_classes_named_by_numbers_are_found_in_every_part() -> None:
    frame = cohort()
    folds = make_folds(frame, "corrected", 3, 0.2, 1)
    # A table read back from a file holds 0 and 1 as whole numbers.
    numbers = frame.assign(diagnosis=(frame["diagnosis"] == "AD").astype(int))
    found = audit(numbers, folds).query("check.str.startswith('class')")
    assert found["passed"].all()


def test_audit_refuses_unknown_scans() -> None:
    folds = make_folds(cohort(), "corrected", 5, 0.2, 1)
    with pytest.raises(ConfigError, match="scan-0"):
        audit(cohort().iloc[1:], folds)


# ------------------------------------------------------------------------------- what was really read


def test_reading_what_was_planned_passes() -> None:
    frame = cohort()
    folds = make_folds(frame, "corrected", 5, 0.2, 1)
    found = check_parts(parts_of(folds, "corrected", 2), folds, "corrected", 2, frame)
    assert found["passed"].all()
    assert set(found["check"].str.split(" ").str[0]) == {"participant", "image"}


def test_reading_a_test_scan_in_training_is_a_leak() -> None:
    frame = cohort()
    folds = make_folds(frame, "corrected", 5, 0.2, 1)
    parts = dict(parts_of(folds, "corrected", 0))
    with pytest.raises(LeakageError, match=parts["test"][0]):
        check_parts({**parts, "train": [*parts["train"], parts["test"][0]]}, folds, "corrected", 0, frame)


def test_reading_another_image_than_the_audit_saw_is_a_leak() -> None:
    frame = cohort()
    folds = make_folds(frame, "corrected", 5, 0.2, 1)
    hashes = dict(zip(frame["scan_id"], frame["image_sha256"], strict=True))
    parts = parts_of(folds, "corrected", 0)
    check_parts(parts, folds, "corrected", 0, frame, hashes)
    with pytest.raises(LeakageError, match="scan-7"):
        check_parts(parts, folds, "corrected", 0, frame, {**hashes, "scan-7": "other"})


def test_parts_of_a_fold_that_does_not_exist() -> None:
    folds = make_folds(cohort(), "corrected", 5, 0.2, 1)
    with pytest.raises(ConfigError, match="corrected 4"):
        parts_of(folds, "corrected", 5)


# ----------------------------------------------------------------------------------------- the stage


def run_stage(
    root: Path, frame: pd.DataFrame, fitted: tuple[str, ...] = (), **spec: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    write_table(frame, root / "participants.tsv")
    split(
        root / "participants.tsv",
        spec,
        ["corrected", "as_published", "corrected"],
        fitted=fitted,
        seed=1,
        root=root,
        folds=root / "folds.tsv",
        leakage=root / "leakage.tsv",
    )
    return read_table(root / "folds.tsv"), read_table(root / "leakage.tsv")


def test_stage_writes_both_recipes(tmp_path: Path) -> None:
    folds, leakage = run_stage(tmp_path, cohort(), n_folds=4, validation_share=0.25, file=None)
    assert folds.groupby("recipe")["fold"].nunique().to_dict() == {"as_published": 4, "corrected": 4}
    assert leakage["passed"].dtype == bool
    assert leakage.query("recipe == 'corrected'")["passed"].all()
    assert not leakage.query("recipe == 'as_published'")["passed"].all()


def own_file(root: Path, frame: pd.DataFrame) -> pd.DataFrame:
    folds = make_folds(frame, "corrected", 3, 0.2, 5)[["fold", "scan_id", "part"]]
    write_table(folds, root / "own.tsv")
    return folds


def test_folds_of_ones_own_are_used(tmp_path: Path) -> None:
    own = own_file(tmp_path, cohort())
    folds, _ = run_stage(tmp_path, cohort(), n_folds=3, file="own.tsv")
    used = folds.query("recipe == 'corrected'")[["fold", "scan_id", "part"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(used, own.reset_index(drop=True), check_dtype=False)


def test_leak_planted_in_folds_of_ones_own_stops_the_run(tmp_path: Path) -> None:
    own = own_file(tmp_path, cohort())
    row = own.index[(own["fold"] == 0) & (own["part"] == "test")][0]
    # A false person in the file must not hide it.
    write_table(
        own.assign(participant_id=own["scan_id"], part=own["part"].where(own.index != row, "train")),
        tmp_path / "own.tsv",
    )
    with pytest.raises(LeakageError) as caught:
        run_stage(tmp_path, cohort(), n_folds=3, file="own.tsv")
    number = int(own.loc[row, "scan_id"].removeprefix("scan-")) // 2
    assert f"participant train-test (person-{number})" in str(caught.value)


def test_folds_of_ones_own_that_test_a_scan_twice(tmp_path: Path) -> None:
    own = own_file(tmp_path, cohort())
    write_table(pd.concat([own, own[own["fold"] == 0].assign(fold=3)]), tmp_path / "own.tsv")
    with pytest.raises(ConfigError, match="tested more than once"):
        run_stage(tmp_path, cohort(), n_folds=4, file="own.tsv")


@pytest.mark.parametrize(("shift", "n_folds"), [(0, 5), (0, 2), (1, 3)])
def test_folds_of_ones_own_are_those_that_later_jobs_will_run(tmp_path: Path, shift: int, n_folds: int) -> None:
    own = own_file(tmp_path, cohort())
    write_table(own.assign(fold=own["fold"] + shift), tmp_path / "own.tsv")
    with pytest.raises(ConfigError, match=rf"own\.tsv: fold: .*0 to {n_folds - 1}.*Remedy: number the folds"):
        run_stage(tmp_path, cohort(), n_folds=n_folds, file="own.tsv")


def test_folds_file_out_of_the_root(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data root"):
        run_stage(tmp_path, cohort(), n_folds=5, file="../own.tsv")


def test_stage_takes_the_keys_of_both_recipes(tmp_path: Path) -> None:
    spec = {"n_folds": 4, "as_published": "scans", "published_column": "published_fold"}
    frame = with_published_folds()
    folds, leakage = run_stage(tmp_path, frame, **spec)
    values = frame.set_index("scan_id")["published_fold"].astype(int)
    test = folds.query("recipe == 'corrected' and part == 'test'")
    assert {fold: set(values[rows]) for fold, rows in test.groupby("fold")["scan_id"]} == {
        rank: {value} for rank, value in enumerate(sorted(set(values)))
    }
    by_scan = folds.query("recipe == 'as_published'")
    assert not by_scan.duplicated(["fold", "scan_id"]).any()
    shared = leakage.query("recipe == 'as_published' and check == 'participant train-test'")
    assert (shared["n"] > 0).all() and not shared["passed"].any()
    with pytest.raises(ConfigError, match=r"given by file and by published_column"):
        run_stage(tmp_path, frame, file="own.tsv", **spec)


def test_audit_counts_the_test_scans_that_a_normalisation_has_seen(tmp_path: Path) -> None:
    check = "normalisation fitted on test scans"
    folds, leakage = run_stage(tmp_path, cohort(), fitted=("as_published", "corrected"), n_folds=3)
    found = leakage[leakage["check"] == check].set_index(["recipe", "fold"])
    sizes = folds[folds["part"] == "test"].groupby(["recipe", "fold"]).size()
    assert len(found) == 6
    for fold in range(3):
        assert found.loc[("corrected", fold), "passed"] and found.loc[("corrected", fold), "n"] == 0
        assert not found.loc[("as_published", fold), "passed"]
        assert found.loc[("as_published", fold), "n"] == sizes[("as_published", fold)] == 40
    # No row where no model of the recipe fits its normalisation.
    _, leakage = run_stage(tmp_path, cohort(), fitted=("corrected",), n_folds=3)
    assert set(leakage.loc[leakage["check"] == check, "recipe"]) == {"corrected"}
    assert check not in set(run_stage(tmp_path, cohort(), n_folds=3)[1]["check"])


# ---------------------------------------------------------------------------------------- one hold-out split


def recordings(n_people: int = 50, repeats: int = 2, **columns: object) -> pd.DataFrame:
    """Return a cohort whose targets are numbers: it has one class."""
    return cohort(n_people, repeats, diagnosis="recording", **columns)


@settings(max_examples=30, deadline=None)
@given(tables(), st.integers(0, 1000), st.sampled_from([0.1, 0.2, 0.4]), st.booleans())
def test_one_fold_is_one_split_in_which_nobody_is_on_both_sides(
    frame: pd.DataFrame, seed: int, test_share: float, has_one_class: bool
) -> None:
    if has_one_class:
        frame = frame.assign(diagnosis="recording")
    try:
        folds = make_folds(frame, "corrected", 1, 0.25, seed, test_share=test_share)
    except IntakeError as error:
        assert "independent people" in str(error) or "every part" in str(error)
        return
    assert folds["fold"].unique().tolist() == [0]
    assert sorted(folds["scan_id"]) == sorted(frame["scan_id"])
    merged = folds.merge(frame.drop(columns="participant_id"), on="scan_id")
    for column in ("participant_id", "family", "image_sha256"):
        members = {part: set(rows[column].dropna()) for part, rows in merged.groupby("part")}
        for one, other in PAIRS:
            assert not members[one] & members[other]
    sizes = folds["part"].value_counts(normalize=True)
    largest = pd.Series(units_of(frame)).value_counts(normalize=True).max()
    # Units are whole, so a share is met up to the largest of them for each class.
    slack = largest * frame["diagnosis"].nunique() + 1e-9
    assert abs(sizes["test"] - test_share) <= slack
    assert abs(sizes["validation"] - 0.25 * (1 - sizes["test"])) <= slack


def test_the_test_share_counts_only_where_there_is_one_fold() -> None:
    one, other = (make_folds(recordings(), "corrected", 5, 0.2, 1, test_share=share) for share in (0.1, 0.5))
    pd.testing.assert_frame_equal(one, other)
    sizes = make_folds(recordings(), "corrected", 1, 0.2, 1, test_share=0.3)["part"].value_counts()
    assert sizes.to_dict() == {"train": 56, "test": 30, "validation": 14}


@pytest.mark.parametrize("kind", ["rows", "scans"])
def test_one_published_fold_tests_the_share(kind: str) -> None:
    frame = recordings()
    folds = make_folds(frame, "as_published", 1, 0.2, 1, as_published=kind, test_share=0.2)
    test = folds.query("part == 'test'")["scan_id"].tolist()
    assert len(test) == 20
    assert (test == frame["scan_id"].tolist()[:20]) == (kind == "rows")


def test_sex_and_age_are_balanced_in_a_cohort_of_one_class() -> None:
    frame = recordings(120, 1, sex=["F", "F", "M"] * 40)
    folds = make_folds(frame, "corrected", 1, 0.2, 3, test_share=0.25).merge(frame, on="scan_id")
    for _, rows in folds.groupby("part"):
        # Within two people; the test part has 30, the validation part 18.
        assert abs((rows["sex"] == "F").sum() - len(rows) * 2 / 3) <= 2
        band = rows["age"].to_numpy()[:, None] > frame["age"].quantile([1 / 3, 2 / 3]).to_numpy()
        assert np.abs(np.bincount(band.sum(axis=1), minlength=3) - len(rows) / 3).max() <= 3.5


PTBXL = {"train": list(range(1, 9)), "validation": [9], "test": [10]}


def with_strat_fold(n_people: int = 50) -> pd.DataFrame:
    """Return a cohort with PTB-XL's column: each patient in one of 10 folds, as the table gives it, with fractions."""
    fold = np.repeat(np.arange(n_people) % 10 + 1, 2).astype(float)
    return recordings(n_people, 2, strat_fold=fold)


def corrected_stage(root: Path, frame: pd.DataFrame, **spec: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run the stage and return what it wrote about the corrected recipe."""
    folds, leakage = (table.query("recipe == 'corrected'") for table in run_stage(root, frame, **spec))
    return folds.reset_index(drop=True), leakage.reset_index(drop=True)


def test_a_column_says_the_part_of_every_scan(tmp_path: Path) -> None:
    frame = with_strat_fold()
    spec = {"n_folds": 1, "split_column": "strat_fold", "parts": PTBXL}
    folds, leakage = corrected_stage(tmp_path, frame, **spec)
    part = folds.set_index("scan_id")["part"]
    for row in frame.itertuples():
        expected = {9: "validation", 10: "test"}.get(int(row.strat_fold), "train")
        assert part[row.scan_id] == expected
    # Audited as ever; that only a share is tested is no fault of a hold-out split.
    assert leakage["passed"].all()
    assert {"participant train-test", "image train-validation", "class in test"} <= set(leakage["check"])
    assert "tested at least once" not in set(leakage["check"])
    words = frame.assign(split=part.reindex(frame["scan_id"]).to_numpy())
    by_word, _ = corrected_stage(tmp_path, words, n_folds=1, split_column="split")
    pd.testing.assert_frame_equal(by_word, folds)


def test_a_column_that_splits_a_person_stops(tmp_path: Path) -> None:
    frame = with_strat_fold()
    frame.loc[0, "strat_fold"] = 10
    with pytest.raises(LeakageError, match="two folds: person-0"):
        make_folds(frame, "corrected", 1, 0.2, 1, split_column="strat_fold", parts=PTBXL)
    # Two folds of one part are no leak.
    frame.loc[0, "strat_fold"] = 2
    make_folds(frame, "corrected", 1, 0.2, 1, split_column="strat_fold", parts=PTBXL)


@pytest.mark.parametrize(
    ("column", "parts", "words"),
    [
        ("fold", PTBXL, "no column 'fold'"),
        ("strat_fold", {**PTBXL, "test": [9, 10]}, "in two parts"),
        ("strat_fold", {"train": [1], "validation": [2]}, "a part has none"),
        ("strat_fold", {**PTBXL, "train": [1, 2]}, "in no part: 3, 4, 5, 6, 7, 8"),
        ("strat_fold", None, "in no part"),
        ("site", PTBXL, "in no part: A, B"),
    ],
)
def test_parts_that_do_not_fit_their_column(column: str, parts: dict | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_folds(with_strat_fold(), "corrected", 1, 0.2, 1, split_column=column, parts=parts)


def test_gaps_in_the_column_of_the_parts() -> None:
    frame = with_strat_fold()
    frame.loc[3, "strat_fold"] = np.nan
    with pytest.raises(ConfigError, match="1 scans have no 'strat_fold': scan-3"):
        make_folds(frame, "corrected", 1, 0.2, 1, split_column="strat_fold", parts=PTBXL)


def test_one_way_to_give_folds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="published_column and by split_column"):
        run_stage(tmp_path, with_strat_fold(), n_folds=1, split_column="strat_fold", published_column="strat_fold")
