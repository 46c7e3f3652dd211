"""What raters saved, read back: every row belongs to a panel of this kit and stands there once."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.errors import HeatproofError
from heatproof.publication.rating_plan import KEY_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

ANSWER_COLUMNS = ("kit_id", "rater", "item", "panel", "rating", "seconds", "comment")
# Written instead of a rating by a rater who looked and could not judge.
CANNOT_JUDGE = "cannot judge"
EXPORT = "save the answers from the rating page again, and do not edit them."


def read_answers(paths: Iterable[Path], key: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of all raters with what the panels showed.

    Parameters
    ----------
    paths : iterable of Path
        CSV files as the rating page saves them; a spreadsheet's semicolons and byte-order mark are accepted.
    key : DataFrame
        ``key.tsv`` of the kit.

    Returns
    -------
    DataFrame
        Columns of the key and rater, rating (NaN: cannot judge), seconds, comment and judged, in the order of rater,
        item and panel.

    Raises
    ------
    HeatproofError
        At the first row of another kit, of a panel that the kit does not have, off the scale, or twice.
    """
    import pandas as pd

    panels = {(int(row.item), str(row.panel)): row for row in key.itertuples()}
    seen: dict[tuple[str, int, str], str] = {}
    rows: list[dict[str, Any]] = []
    for path in sorted(paths):
        for line, row in _rows(path):
            answer = _checked(row, panels, path, line)
            who = (answer["rater"], answer["item"], answer["panel"])
            if who in seen:
                raise _wrong(
                    f"rater '{who[0]}' rates panel {who[2]} of item {who[1]} twice, the first time in {seen[who]}.",
                    path, line, "panel", "keep only the file that the rater saved last; give each rater an id.",
                )  # fmt: skip
            seen[who] = f"{path.name}, line {line}"
            shown = {name: getattr(panels[who[1:]], name) for name in KEY_COLUMNS}
            rows.append({**shown, **answer})
    if not rows:
        raise HeatproofError(
            "there is no answer to read.",
            field="answers",
            remedy="put the CSV files that raters saved into the study's folder of answers.",
        )
    return pd.DataFrame(rows).sort_values(["rater", "item", "panel"], kind="stable", ignore_index=True)


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    """Yield the line and the named fields of every row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeatproofError("the file is not UTF-8.", file=path, remedy=EXPORT) from error
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=separator)
    for name in ANSWER_COLUMNS:
        if name not in (reader.fieldnames or ()):
            raise HeatproofError("the column is missing.", file=path, field=name, remedy=EXPORT)
    for row in reader:
        if None in row or None in row.values():
            raise _wrong("the row has more or fewer fields than the header.", path, reader.line_num, "", EXPORT)
        yield reader.line_num, row


def _checked(row: Mapping[str, str], panels: Mapping[tuple[int, str], Any], path: Path, line: int) -> dict[str, Any]:
    """Return one row as numbers and text."""
    anything = next(iter(panels.values()))
    if row["kit_id"] != anything.kit_id:
        raise _wrong(
            f"the row answers kit '{row['kit_id']}', but the key is that of '{anything.kit_id}'.",
            path, line, "kit_id", "copy the key of its own kit, {kit_id}.tsv, over key.tsv, or have this kit rated.",
        )  # fmt: skip
    rater = row["rater"].strip()
    if not rater:
        raise _wrong("nobody is named.", path, line, "rater", "write the rater's id into the column.")
    place = (int(row["item"]) if row["item"].isdecimal() else 0, row["panel"])
    if place not in panels:
        raise _wrong(f"the kit has no panel '{row['panel']}' of item '{row['item']}'.", path, line, "panel", EXPORT)
    judged, top = row["rating"] != CANNOT_JUDGE, int(anything.n_ratings)
    if judged and not (row["rating"].isdecimal() and 1 <= int(row["rating"]) <= top):
        raise _wrong(
            f"'{row['rating']}' is no rating.",
            path, line, "rating", f"use a whole number from 1 to {top}, or '{CANNOT_JUDGE}'.",
        )  # fmt: skip
    seconds = row["seconds"].strip()
    if not seconds.replace(".", "", 1).isdecimal():
        raise _wrong(f"'{seconds}' is no number of seconds.", path, line, "seconds", EXPORT)
    return {
        "rater": rater, "item": place[0], "panel": place[1], "rating": float(row["rating"]) if judged else float("nan"),
        "judged": judged, "seconds": float(seconds), "comment": row["comment"].strip(),
    }  # fmt: skip


def _wrong(problem: str, path: Path, line: int, column: str, remedy: str) -> HeatproofError:
    field = f"line {line}, {column}" if column else f"line {line}"
    return HeatproofError(problem, file=path, field=field, remedy=remedy)
