"""What the papers reported, beside what this study found; where nothing was public the table says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

NOT_REPORTED = "not reported"
NOT_HERE = "not measured here"
WANG, BOEHLE = "Wang et al. 2023 (one network of width 44)", "Böhle et al. 2019"
LINEAR_METHODS = ("svm_weights", "svm_pattern")
LITERATURE = ("literature", "ale", "meta_analysis", "sleuth", "foci")


@dataclass(frozen=True)
class Published:
    """One published number: the claim it belongs to, what was measured, by which method, and where ours lies.

    Attributes
    ----------
    claim : str
        Id of the claim.
    source, quantity, value : str
        Paper, what was measured, and the published number as text.
    method : str
        Registered name of the attribution method; empty for the network itself.
    table : str
        Table of ours that holds the counterpart: ``max_dice``, ``best_smoothing``, ``accuracy``, ``gain`` or
        ``volume_relevance``.
    """

    claim: str
    source: str
    quantity: str
    value: str
    method: str
    table: str


ALZHEIMERS = (
    Published("W1", WANG, "best Dice with the meta-analysis, LRP, unsmoothed", "0.326", "lrp", "max_dice"),
    Published("W1", WANG, "the same at its best smoothing", "0.502", "lrp", "best_smoothing"),
    Published("W1", WANG, "best Dice, integrated gradients, unsmoothed", "0.360", "integrated_gradients", "max_dice"),
    Published("W1", WANG, "best Dice, Guided Grad-CAM, unsmoothed", "0.378", "guided_gradcam", "max_dice"),
    Published("W2", WANG, "best Dice, linear-SVM weights", NOT_REPORTED, "svm_weights", "max_dice"),
    Published("W2", WANG, "best Dice, linear-SVM patterns", NOT_REPORTED, "svm_pattern", "max_dice"),
    Published("–", WANG, "balanced accuracy of the networks", NOT_REPORTED, "", "accuracy"),
    Published("–", BOEHLE, "balanced accuracy, mean of four trials", "0.870", "", "accuracy"),
    Published("B4", BOEHLE, "gain of the hippocampus, LRP", "about 8.8", "lrp", "gain"),
    Published("B4", BOEHLE, "gain of the hippocampus, guided backprop", "about 1", "guided_backprop", "gain"),
    Published("B5", BOEHLE, "hippocampal relevance with volume, r, LRP", "−0.560", "lrp", "volume_relevance"),
    Published("B5", BOEHLE, "the same, guided backprop", "+0.096", "guided_backprop", "volume_relevance"),
)  # fmt: skip


def beside_ours(
    tables: Mapping[str, pd.DataFrame],
    methods: Mapping[str, Mapping[str, Any]],
    truths: Mapping[str, Mapping[str, Any]],
    entries: tuple[Published, ...] = ALZHEIMERS,
) -> list[dict[str, str]]:
    """Return one row per published number with ours under both recipes.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        ``ranking``, ``performance``, ``gain`` and ``volume_relevance``.
    methods, truths : mapping
        The entries of the configuration, by name.
    entries : tuple of Published
        Numbers to set beside ours.
    """
    truth = next((name for name, spec in truths.items() if spec.get("source") in LITERATURE), "")
    rows = []
    for entry in entries:
        row = {"claim": entry.claim, "source": entry.source, "quantity": entry.quantity, "published": entry.value}
        for recipe in ("as_published", "corrected"):
            ran = set(tables["ranking"].loc[tables["ranking"]["recipe"] == recipe, "method"])
            named = (key for key, spec in methods.items() if spec.get("method", key) == entry.method and key in ran)
            row[recipe] = _ours(tables, entry, next(named, ""), truth, recipe)
        rows.append(row)
    return rows


def _ours(tables: Mapping[str, pd.DataFrame], entry: Published, method: str, truth: str, recipe: str) -> str:
    if entry.table in ("max_dice", "best_smoothing"):
        rows = tables["ranking"]
        chosen = (rows["metric"] == "max_dice") & (rows["level"] == "group") & (rows["truth"] == truth)
        rows = rows[chosen & (rows["recipe"] == recipe) & (rows["method"] == method)]
        return _best_dice(rows, smoothed=entry.table == "best_smoothing")
    if entry.table == "accuracy":
        rows = tables["performance"]
        chosen = (rows["metric"] == "balanced_accuracy") & (rows["fold"] == -1) & (rows["part"] == "test")
        ranking = tables["ranking"]
        linear = set(ranking.loc[ranking["method"].isin(LINEAR_METHODS), "model"])
        rows = rows[chosen & (rows["recipe"] == recipe) & ~rows["model"].isin(linear)]
        return "; ".join(_interval(line["value"], line["low"], line["high"]) for _, line in rows.iterrows()) or NOT_HERE
    rows = tables[entry.table]
    if rows.empty:
        return NOT_HERE
    hippocampus = rows["name"].str.contains("hippocamp", case=False) & ~rows["name"].str.contains("para", case=False)
    rows = rows[hippocampus & (rows["recipe"] == recipe) & (rows["method"] == method)]
    value = "gain" if entry.table == "gain" else "r"
    texts = [f"{line['name']}: {_interval(line[value], line['low'], line['high'])}" for _, line in rows.iterrows()]
    return "; ".join(texts[:2]) or NOT_HERE


def _best_dice(rows: pd.DataFrame, *, smoothed: bool) -> str:
    """Return the best Dice of each model, named where there are several."""
    texts = {}
    for model, part in rows[rows["mean"].notna()].groupby("model", sort=True):
        line = part.loc[part["mean"].idxmax() if smoothed else part["smoothing_mm"].idxmin()]
        text = _interval(line["mean"], line["low"], line["high"])
        texts[str(model)] = f"{text} at {line['smoothing_mm']:g} mm" if smoothed else text
    if len(texts) < 2:
        return next(iter(texts.values()), NOT_HERE)
    return "; ".join(f"{model}: {text}" for model, text in texts.items())


def _interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "n/a"
    return f"{value:.3f}" if pd.isna(low) or pd.isna(high) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
