"""Stage `split`: the folds of every recipe that the study uses, and their leakage audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.errors import ConfigError
from heatproof.files import read_table, write_table
from heatproof.leakage import audit, raise_on_leak
from heatproof.splits import FOLD_COLUMNS, make_folds

if TYPE_CHECKING:
    import pandas as pd

N_FOLDS = 5
VALIDATION_SHARE = 0.2
TEST_SHARE = 0.2
AS_PUBLISHED = "rows"


def split(
    participants: Path,
    spec: Mapping[str, Any],
    recipes: Iterable[str],
    *,
    fitted: Iterable[str] = (),
    seed: int,
    root: Path,
    folds: Path,
    leakage: Path,
) -> None:
    """Write ``folds.tsv`` and ``leakage.tsv``.

    Parameters
    ----------
    participants : Path
        Table of the cohort.
    spec : mapping
        The `folds` entry of the configuration: ``n_folds``, ``test_share``, ``validation_share``, ``as_published``
        and optionally one of ``file``, ``published_column`` and ``split_column`` with ``parts``.
    recipes : iterable of str
        Recipes that the models of the study use.
    fitted : iterable of str
        Those of them with a model whose normalisation is fitted to scans.
    seed : int
        Root seed of the study.
    root : Path
        Folder inside which ``file`` must lie.
    folds, leakage : Path
        Tables to write.

    Raises
    ------
    LeakageError
        If a recipe that promises a clean split leaks (possible only with folds of one's own).
    ConfigError
        If the file has other folds than 0 to ``n_folds`` - 1, names unknown scans or tests a scan twice, the
        column does not give ``n_folds`` folds, or several of the three are given.
    IntakeError
        If a class is smaller than the folds.
    """
    import pandas as pd

    table = read_table(participants, ("scan_id", "participant_id", "diagnosis"))
    n_folds = int(spec.get("n_folds", N_FOLDS))
    given_by = [name for name in ("file", "published_column", "split_column") if spec.get(name)]
    if len(given_by) > 1:
        raise ConfigError(
            f"the folds are given by {' and by '.join(given_by)}.",
            field=f"folds.{given_by[-1]}",
            remedy="give one of folds.file, folds.published_column and folds.split_column.",
        )
    given = _given_folds(spec["file"], root, table, n_folds) if spec.get("file") else None
    pieces = [
        given
        if given is not None and recipe == "corrected"
        else make_folds(
            table,
            recipe,
            n_folds,
            float(spec.get("validation_share", VALIDATION_SHARE)),
            seed,
            as_published=str(spec.get("as_published", AS_PUBLISHED)),
            published_column=spec.get("published_column"),
            test_share=float(spec.get("test_share", TEST_SHARE)),
            split_column=spec.get("split_column"),
            parts=spec.get("parts"),
        )
        for recipe in dict.fromkeys(recipes)
    ]
    planned = pd.concat(pieces, ignore_index=True)
    found = audit(table, planned, fitted)
    # Written before the check: the log then names a table that can be read while the job is still there.
    write_table(planned, folds)
    words = found["passed"].map({True: "true", False: "false"})
    write_table(found.assign(passed=words, detail=found["detail"].replace("", None)), leakage)
    raise_on_leak(found)


def _given_folds(file: str, root: Path, participants: pd.DataFrame, n_folds: int) -> pd.DataFrame:
    """Return a user's own folds for the corrected recipe."""
    from heatproof.cohorts.folders import inside

    path = inside(root, file, field="folds.file")
    frame = read_table(path, ("fold", "scan_id", "part"))
    numbers = set(frame["fold"])
    # Later jobs run the folds that the configuration counts, so one more or less would be lost or missing.
    if numbers != set(range(n_folds)):
        raise ConfigError(
            f"the folds are {', '.join(sorted(map(str, numbers)))}, and n_folds asks for 0 to {n_folds - 1}.",
            file=path,
            field="fold",
            remedy="number the folds from 0 without gaps, and set folds.n_folds to how many there are.",
        )
    people = participants.set_index("scan_id")["participant_id"]
    # The person is looked up, never believed: a wrong column in the file would hide a leak.
    frame = frame.assign(recipe="corrected", participant_id=frame["scan_id"].map(people))
    frame = frame[list(FOLD_COLUMNS)]
    coverage = audit(participants, frame).set_index("check")
    twice = coverage.loc["tested at most once"]
    if not twice["passed"]:
        raise ConfigError(
            f"{twice['n']} scans are tested more than once: {twice['detail']}.",
            file=path,
            field="part",
            remedy="test each scan in one fold only.",
        )
    return frame
