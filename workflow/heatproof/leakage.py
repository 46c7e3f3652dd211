"""The leakage audit: who is on both sides of a fold, by person, by family and by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from heatproof.cohorts.identifiers import comparable
from heatproof.errors import ConfigError, LeakageError

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")
# What makes two scans the same case, and the name of it in the audit.
IDENTITIES = {"participant_id": "participant", "family": "family", "image_sha256": "image"}
LEAK_CHECKS = tuple(IDENTITIES.values())
LEAKAGE_COLUMNS = ("recipe", "fold", "check", "n", "passed", "detail")
LISTED = 10
WHOLE_RECIPE = -1
# On whose behalf the published recipe reads scans before it splits them: no part of the fold, but all of them.
WHOLE_COHORT = "cohort"


def identity_keys(participants: pd.DataFrame) -> dict[str, pd.Series]:
    """Return, per identity column of the table, each scan's key, "" where missing.

    Names are compared without case, padding and leading zeros, so that a person spelled in two ways is one.
    """
    keys = {}
    for column in IDENTITIES:
        if column in participants.columns:
            values = participants[column].astype(object)
            # A hash is compared as it is: it has no spelling.
            keys[column] = (
                values.where(values.notna(), "") if column == "image_sha256" else values.map(comparable)
            ).astype(str)
    return keys


def fitting_scans(recipe: str, train: Iterable[str], cohort: Iterable[str]) -> tuple[str, list[str]]:
    """Return the part on whose behalf a normalisation is fitted, and the scans it is fitted to.

    ``corrected`` fits to the training scans of the fold. ``as_published`` fits to the whole cohort, as Brima &
    Atemkeng (2024) standardised their images before they split them.

    Parameters
    ----------
    recipe : str
        Recipe.
    train, cohort : iterable of str
        Scan ids of the training part and of everybody.
    """
    return (WHOLE_COHORT, list(cohort)) if recipe == "as_published" else ("train", list(train))


def audit(participants: pd.DataFrame, folds: pd.DataFrame, fitted: Iterable[str] = ()) -> pd.DataFrame:
    """Return what each fold shares between its parts, and what it lacks.

    Parameters
    ----------
    participants : DataFrame
        One row per scan: ``scan_id``, ``participant_id``, ``diagnosis`` and, where known, ``family`` and
        ``image_sha256``.
    folds : DataFrame
        Columns recipe, fold, scan_id, participant_id, part.
    fitted : iterable of str
        Recipes with a model whose normalisation is fitted to scans.

    Returns
    -------
    DataFrame
        Columns recipe, fold (-1: the whole recipe), check, n (offenders), passed, detail (the first of
        them). Checks: ``participant|family|image train-validation|train-test|validation-test``,
        ``class in <part>``, for `fitted` recipes ``normalisation fitted on test scans``, and last
        ``tested at most once`` and, of several folds, ``tested at least once``.

    Raises
    ------
    ConfigError
        If the folds name a scan or a part that does not exist.
    """
    import pandas as pd

    _require_known(participants, folds)
    table = participants.reset_index(drop=True)
    table = table.assign(**{f"key_{column}": keys for column, keys in identity_keys(table).items()})
    columns = [column for column in IDENTITIES if f"key_{column}" in table.columns]
    merged = folds[["recipe", "fold", "scan_id", "part"]].merge(
        table[["scan_id", "diagnosis", *columns, *(f"key_{column}" for column in columns)]],
        on="scan_id",
        how="left",
        validate="many_to_one",
    )
    rows: list[dict[str, Any]] = []
    fitted = set(fitted)
    for recipe, of_recipe in merged.groupby("recipe", sort=False):
        for fold, of_fold in of_recipe.groupby("fold", sort=True):
            head = {"recipe": recipe, "fold": int(fold)}
            rows += [{**head, **row} for row in _shared(of_fold, columns)]
            rows += [{**head, **row} for row in _classes(of_fold, table["diagnosis"])]
            if recipe in fitted:
                rows.append({**head, **_fitted_on_test(str(recipe), of_fold, table["scan_id"])})
        head = {"recipe": recipe, "fold": WHOLE_RECIPE}
        rows += [{**head, **row} for row in _coverage(of_recipe, table["scan_id"])]
    return pd.DataFrame(rows, columns=list(LEAKAGE_COLUMNS))


def raise_on_leak(leakage: pd.DataFrame, recipes: Iterable[str] = ("corrected",)) -> None:
    """Raise a LeakageError if one of the recipes that promise no leak has one.

    Parameters
    ----------
    leakage : DataFrame
        As returned by `audit`.
    recipes : iterable of str
        The recipes that must be clean. ``as_published`` is not: its leak is a result.

    Raises
    ------
    LeakageError
        With the fold, the kind of leak and the identifiers.
    """
    is_leak = leakage["check"].str.split(" ").str[0].isin(LEAK_CHECKS) & ~leakage["passed"].astype(bool)
    bad = leakage[is_leak & leakage["recipe"].isin(list(recipes))]
    if bad.empty:
        return
    lines = [
        f"recipe {row.recipe}, fold {row.fold}: {row.n} {row.check} ({row.detail})"
        for row in bad.head(LISTED).itertuples()
    ]
    raise LeakageError(
        f"{len(bad)} checks found the same case on both sides of a fold:\n  " + "\n  ".join(lines) + "\n",
        field="folds",
        remedy="keep all scans of a person, a family and an image in one part, or remove folds.file.",
    )


def check_parts(
    read: Mapping[str, Iterable[str]],
    folds: pd.DataFrame,
    recipe: str,
    fold: int,
    participants: pd.DataFrame,
    hashes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Audit what a loader really read, against the folds and against itself.

    Parameters
    ----------
    read : mapping of str to iterable of str
        Part -> ids of the scans that were read for it. A part that was not read may be left out. What the
        published recipe has read for the whole cohort (`fitting_scans`) is its own leak, counted by `audit`;
        any other recipe may not do so.
    folds : DataFrame
        The planned folds.
    recipe, fold : str, int
        Which of them was read.
    participants : DataFrame
        One row per scan.
    hashes : mapping of str to str, optional
        Scan id -> SHA-256 of the array as read (`heatproof.files.sha256_of_array`).

    Returns
    -------
    DataFrame
        The leak checks of `audit` for what was read.

    Raises
    ------
    LeakageError
        If a part read a scan that the folds do not give it, an array differs from the stored image, or (in
        the corrected recipe) a case was read for two parts.
    """
    import pandas as pd

    planned = folds[(folds["recipe"] == recipe) & (folds["fold"] == fold)]
    rows = []
    for part, scan_ids in read.items():
        if part == WHOLE_COHORT and recipe == "as_published":
            continue
        ids = list(dict.fromkeys(scan_ids))
        stray = sorted(set(ids) - set(planned.loc[planned["part"] == part, "scan_id"]))
        if stray:
            raise LeakageError(
                f"{len(stray)} scans were read for {part} that are not in this part of fold {fold}, "
                f"recipe '{recipe}': {_listed(stray)}.",
                field=part,
                remedy="read the parts from folds.tsv only.",
            )
        rows += [{"recipe": recipe, "fold": fold, "scan_id": scan_id, "part": part} for scan_id in ids]
    _require_same_images(participants, hashes or {})
    found = audit(participants, pd.DataFrame(rows, columns=["recipe", "fold", "scan_id", "part"]))
    found = found[found["check"].str.split(" ").str[0].isin(LEAK_CHECKS)].reset_index(drop=True)
    raise_on_leak(found)
    return found


def _require_same_images(participants: pd.DataFrame, hashes: Mapping[str, str]) -> None:
    if not hashes or "image_sha256" not in participants.columns:
        return
    stored = dict(zip(participants["scan_id"], participants["image_sha256"], strict=True))
    changed = sorted(scan_id for scan_id, value in hashes.items() if stored.get(scan_id) != value)
    if changed:
        raise LeakageError(
            f"{len(changed)} scans are not the images that the audit saw: {_listed(changed)}.",
            field="image_sha256",
            remedy="run the rule prepare again.",
        )


def _require_known(participants: pd.DataFrame, folds: pd.DataFrame) -> None:
    for field, known in (("scan_id", participants["scan_id"]), ("part", PARTS)):
        unknown = sorted(set(folds[field].astype(str)) - set(known))
        if unknown:
            raise ConfigError(
                f"the folds name values that do not exist: {_listed(unknown)}.",
                field=field,
                remedy="use the ids of participants.tsv and the parts train, validation, test.",
            )


def _shared(fold: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """Return one row per identity and pair of parts."""
    rows = []
    for column in columns:
        known = fold[fold[f"key_{column}"] != ""]
        # A person reads names as they stand in the table, and scans rather than hashes.
        shown = known["scan_id" if column == "image_sha256" else column].astype(str)
        names = dict(zip(known[f"key_{column}"], shown, strict=True))
        members = {part: set(known.loc[known["part"] == part, f"key_{column}"]) for part in PARTS}
        for one, other in combinations(PARTS, 2):
            both = sorted(names[key] for key in members[one] & members[other])
            rows.append(_row(f"{IDENTITIES[column]} {one}-{other}", both))
    return rows


def _classes(fold: pd.DataFrame, diagnoses: pd.Series) -> list[dict[str, Any]]:
    """Return one row per part that is in the fold: the classes that it lacks."""
    everything = set(diagnoses.astype(str))
    parts = [part for part in PARTS if (fold["part"] == part).any()]
    return [
        _row(f"class in {part}", sorted(everything - set(fold.loc[fold["part"] == part, "diagnosis"].astype(str))))
        for part in parts
    ]


def _fitted_on_test(recipe: str, fold: pd.DataFrame, cohort: pd.Series) -> dict[str, Any]:
    """Return one row: the test scans that the normalisation has seen."""
    train, test = (fold.loc[fold["part"] == part, "scan_id"] for part in ("train", "test"))
    _, seen = fitting_scans(recipe, train, cohort)
    return _row("normalisation fitted on test scans", sorted(set(seen) & set(test)))


def _coverage(folds: pd.DataFrame, scan_ids: pd.Series) -> list[dict[str, Any]]:
    counts = folds.loc[folds["part"] == "test", "scan_id"].value_counts()
    counts = counts.reindex(scan_ids, fill_value=0)
    rows = [_row("tested at most once", sorted(counts.index[counts > 1]))]
    # A hold-out split tests a part of the scans only, and says so.
    if folds["fold"].nunique() > 1:
        rows.append(_row("tested at least once", sorted(counts.index[counts < 1])))
    return rows


def _row(check: str, offenders: list[str]) -> dict[str, Any]:
    return {"check": check, "n": len(offenders), "passed": not offenders, "detail": _listed(offenders)}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(str(name) for name in names[:LISTED]) + more
