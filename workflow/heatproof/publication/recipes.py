"""The published recipe beside the corrected one, quantity by quantity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from heatproof.figures.selection import SMALLER_IS_BETTER, View, headline_view
from heatproof.figures.style import label

ENDS = ("", "_low", "_high")
# What may differ between a network as published and its corrected twin.
RECIPE_KEYS = ("recipe", "intensity", "methods", "training")
COLUMNS = [
    "panel", "as_published_model", "model", "level", "truth", "metric", "smoothing_mm", "method",
    "as_published", "as_published_low", "as_published_high", "corrected", "corrected_low", "corrected_high",
    "difference", "as_published_rank", "corrected_rank",
]  # fmt: skip


def recipe_pairs(models: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (as_published, corrected) pairs of models that are the same network.

    Parameters
    ----------
    models : mapping of str to mapping
        The models of the configuration, each with ``network`` and ``recipe``.
    """

    def network(name: str) -> dict[str, Any]:
        return {key: value for key, value in models[name].items() if key not in RECIPE_KEYS}

    corrected = [name for name in models if models[name].get("recipe", "corrected") == "corrected"]
    pairs = []
    for name in models:
        if models[name].get("recipe") == "as_published":
            twin = next((other for other in corrected if network(other) == network(name)), None)
            if twin is not None:
                pairs.append((name, twin))
    return pairs


def compare_recipes(
    ranking: pd.DataFrame, performance: pd.DataFrame, models: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Return ``recipes.tsv``: balanced accuracy, headline metric and best group Dice under both recipes.

    Parameters
    ----------
    ranking, performance : DataFrame
        The tables of that name.
    models : mapping
        The models of the configuration.
    """
    rows: list[dict[str, Any]] = []
    for published, corrected in recipe_pairs(models):
        rows += _performance_rows(performance, published, corrected)
        if len(ranking):
            for view in _views(ranking):
                rows += _ranking_rows(ranking, view, published, corrected)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["difference"] = frame["corrected"].astype(float) - frame["as_published"].astype(float)
    return frame


def _views(ranking: pd.DataFrame) -> list[View]:
    first = headline_view(ranking)
    group = ranking[(ranking["level"] == "group") & (ranking["metric"] == "max_dice")]
    truths = sorted(name for name in group["truth"].fillna("").unique() if name)
    views = [first, *[View("group", name, "max_dice", float(group["smoothing_mm"].min())) for name in truths]]
    return list(dict.fromkeys(views))


def _performance_rows(performance: pd.DataFrame, published: str, corrected: str) -> list[dict[str, Any]]:
    rows = []
    for part in ("test", "validation"):
        chosen = performance[
            (performance["metric"] == "balanced_accuracy")
            & (performance["fold"] == -1)
            & (performance["part"] == part)
        ].drop_duplicates("model").set_index("model")  # fmt: skip
        if published in chosen.index and corrected in chosen.index:
            row: dict[str, Any] = {
                "panel": f"Balanced accuracy, {part} scans", "as_published_model": published, "model": corrected,
                "level": part, "truth": "", "metric": "balanced_accuracy", "method": "",
            }  # fmt: skip
            for name, model in (("as_published", published), ("corrected", corrected)):
                values = chosen.loc[model, ["value", "low", "high"]]
                row.update(zip([f"{name}{end}" for end in ENDS], values, strict=True))
            rows.append(row)
    return rows


def _ranking_rows(ranking: pd.DataFrame, view: View, published: str, corrected: str) -> list[dict[str, Any]]:
    sides = {}
    for name, model in (("as_published", published), ("corrected", corrected)):
        part = view.rows(ranking)
        sides[name] = part[part["model"] == model].drop_duplicates("method").set_index("method")
    rows = []
    truth = "individual truth" if view.individual else f"{label(view.truth).lower()} truth"
    shared = sides["corrected"].index.intersection(sides["as_published"].index, sort=False)
    # Ranks among the methods that both recipes ran, or the longer list would look like the stricter recipe.
    smaller = view.metric in SMALLER_IS_BETTER
    ranks = {name: side.loc[shared, "mean"].rank(ascending=smaller, method="min") for name, side in sides.items()}
    for method in shared:
        row: dict[str, Any] = {
            "panel": f"{label(view.metric)}, {truth}", "as_published_model": published, "model": corrected,
            "level": view.level, "truth": view.truth, "metric": view.metric, "smoothing_mm": view.smoothing_mm,
            "method": method,
        }  # fmt: skip
        for name, side in sides.items():
            values = side.loc[method, ["mean", "low", "high"]]
            row.update(zip([f"{name}{end}" for end in ENDS], values, strict=True))
            row[f"{name}_rank"] = ranks[name][method]
        rows.append(row)
    return rows
