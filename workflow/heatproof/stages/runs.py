"""Reading the small tables of all runs of a study: which model, fold and seed a file belongs to is its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.errors import HeatproofError
from heatproof.files import read_table

if TYPE_CHECKING:
    import pandas as pd

_RUN = re.compile(r"fold-(?P<fold>\d+)_seed-(?P<seed>\d+)")


def run_of(path: Path) -> tuple[str, int, int]:
    """Return (model, fold, seed) of a file in ``{model}/fold-{fold}_seed-{seed}/``.

    Raises
    ------
    HeatproofError
        If the file lies elsewhere.
    """
    match = _RUN.fullmatch(path.parent.name)
    if match is None:
        raise HeatproofError(
            "the file does not lie in the folder of a run.",
            file=path,
            remedy="keep it in {model}/fold-{fold}_seed-{seed}/, where the workflow writes it.",
        )
    return path.parent.parent.name, int(match["fold"]), int(match["seed"])


def read_runs(paths: Iterable[Path], models: Mapping[str, Mapping[str, Any]], study: str) -> pd.DataFrame:
    """Return the tables of several runs together, with columns study, model, recipe, fold and seed in front.

    Parameters
    ----------
    paths : iterable of Path
        ``history.tsv`` or ``predictions.tsv`` of each run.
    models : mapping
        The models of the configuration, for their recipe.
    study : str
        Name of the study.
    """
    import pandas as pd

    frames = []
    for path in sorted(Path(path) for path in paths):
        model, fold, seed = run_of(path)
        frame = read_table(path)
        recipe = models.get(model, {}).get("recipe", "corrected")
        origin = {"study": study, "model": model, "recipe": recipe, "fold": fold, "seed": seed}
        for position, (name, value) in enumerate(origin.items()):
            frame.insert(position, name, value)
        if len(frame):
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def read_text_table(path: Path) -> pd.DataFrame:
    """Return a table of ours with empty text instead of missing text (``truth``, ``method``, ``reason`` ...)."""
    frame = read_table(path)
    for name in frame.columns:
        if frame[name].dtype == object or frame[name].dtype.name in ("str", "string"):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
        elif name in TEXT_COLUMNS:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
    return frame


TEXT_COLUMNS = frozenset(
    [
        "model",
        "recipe",
        "level",
        "truth",
        "metric",
        "method",
        "population",
        "rectify",
        "name",
        "field",
        "reason",
        "action",
        "panel",
        "check",
        "detail",
        "part",
        "beats_prior",
        "diagnosis",
        "method_a",
        "method_b",
        "as_published_model",
    ]
)
