"""How the networks learned, and what they can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.style import (
    BLUE,
    CONTROL,
    SERIES,
    VERMILION,
    absent,
    drawing,
    escape,
    label,
    note,
    reference_line,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_BINS = 5


def draw_training(history: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw loss and validation balanced accuracy by epoch, one row per model, one line per fold and seed.

    Parameters
    ----------
    history : DataFrame
        All ``history.tsv`` together, with columns model, fold, seed.
    models : sequence of str
        Rows, in order; a model without epochs (a linear one) has no row.
    """
    present = [name for name in models if len(history) and (history["model"] == name).any()]
    if not present:
        return absent("No network was trained by epochs.")
    with drawing() as make:
        figure = make(figsize=(7.6, 0.7 + 2.1 * len(present)), layout="constrained")
        panels = figure.subplots(len(present), 2, squeeze=False)
        for (loss, accuracy), model in zip(panels, present, strict=True):
            runs = history[history["model"] == model].groupby(["fold", "seed"], sort=True)
            for position, (_, run) in enumerate(runs):
                quiet = {"linewidth": 1.0, "alpha": 0.75}
                names = ("training", "validation") if position == 0 else (None, None)
                loss.plot(run["epoch"], run["train_loss"], color=CONTROL, linestyle="--", label=names[0], **quiet)
                loss.plot(run["epoch"], run["validation_loss"], color=BLUE, label=names[1], **quiet)
                accuracy.plot(run["epoch"], run["validation_balanced_accuracy"], color=BLUE, **quiet)
            loss.set_title(escape(f"{shorten(label(model))} ({runs.ngroups} runs)"))
            loss.set_ylabel("cross-entropy (nats)")
            accuracy.set_ylabel("balanced accuracy")
            accuracy.set_ylim(0, 1.03)
            reference_line(accuracy, 0.5, "chance", vertical=False)
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        panels[0, 0].legend()
        panels[0, 1].legend(loc="lower right")
        note(figure, "one line per fold and seed.")
    return figure


def draw_performance(predictions: pd.DataFrame, performance: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw balanced accuracy with its interval, ROC curves and calibration on the test scans of all folds.

    Parameters
    ----------
    predictions : DataFrame
        All ``predictions.tsv`` together: model, seed, part, target, and the probability of each class.
    performance : DataFrame
        ``performance.tsv``.
    models : sequence of str
        In order.
    """
    if predictions.empty:
        return absent("No network has predicted anything.")
    test = predictions[predictions["part"] == "test"]
    # A validation part of a recipe that leaks is no test; where there is no test, nothing is drawn.
    present = [name for name in models if (test["model"] == name).any()]
    if not present:
        return absent("No prediction on test scans was written.")
    with drawing() as make:
        figure = make(figsize=(10.4, 3.3), layout="constrained")
        accuracy, roc, calibration = figure.subplots(1, 3)
        _accuracy(accuracy, performance, present)
        for position, model in enumerate(present):
            rows = test[test["model"] == model]
            target = (rows["target"] == rows["target"].max()).to_numpy()
            probability = rows[_patient_probability(rows)].to_numpy(float)
            colour = SERIES[position % len(SERIES)]
            name = escape(shorten(label(model), 24))
            roc.step(*_roc(target, probability), where="post", color=colour, label=name)
            _calibration(calibration, target, probability, colour)
        roc.plot([0, 1], [0, 1], color=CONTROL, linestyle=":", label="chance")
        calibration.plot([0, 1], [0, 1], color=CONTROL, linestyle=":")
        roc.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC, test scans of all folds", aspect="equal")
        calibration.set(xlabel="predicted probability of disease", ylabel="observed share of patients",
                        title="Calibration", aspect="equal", xlim=(0, 1), ylim=(0, 1))  # fmt: skip
        roc.legend(loc="lower right", fontsize=7)
        n = int(test.groupby(["model", "seed"]).size().max())
        people = test["participant_id"].nunique()
        note(
            figure,
            f"n = {n} test scans of {people} people; bars: 95 % bootstrap interval over people; disc: scans in a bin.",
        )
    return figure


def _accuracy(axes: Axes, performance: pd.DataFrame, models: Sequence[str]) -> None:
    rows = performance[(performance["metric"] == "balanced_accuracy") & (performance["fold"] == -1)]
    rows = rows[rows["part"] == "test"] if "part" in rows else rows
    order = list(models)[::-1]
    for position, model in enumerate(order):
        for line in rows[rows["model"] == model].itertuples():
            colour = BLUE if line.low > 0.5 else VERMILION
            axes.plot([line.low, line.high], [position, position], color=colour, linewidth=2)
            axes.plot(line.value, position, "o", color=colour)
    reference_line(axes, 0.5, "chance")
    axes.set_yticks(range(len(order)), [escape(shorten(label(name), 22)) for name in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0.2, 1.02)
    axes.set(xlabel="balanced accuracy (test)", title="Balanced accuracy")
    axes.legend(loc="upper left", fontsize=7)


def _patient_probability(rows: pd.DataFrame) -> str:
    columns = [name for name in rows.columns if name.startswith("probability_") and rows[name].notna().any()]
    return max(columns, key=lambda name: int(name.rsplit("_", 1)[1]))


def _roc(target: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false- and true-positive rates from (0, 0) to (1, 1), tied scores as one step."""
    order = np.argsort(-probability, kind="stable")
    sorted_target, sorted_score = target[order], probability[order]
    last = np.r_[np.flatnonzero(np.diff(sorted_score)), len(sorted_score) - 1]
    hits, alarms = np.cumsum(sorted_target)[last], np.cumsum(~sorted_target)[last]
    return np.r_[0, alarms / max(1, (~target).sum())], np.r_[0, hits / max(1, target.sum())]


def _calibration(axes: Axes, target: np.ndarray, probability: np.ndarray, colour: str) -> None:
    bins = np.clip((probability * N_BINS).astype(int), 0, N_BINS - 1)
    used = np.unique(bins)
    mean = [probability[bins == b].mean() for b in used]
    observed = [target[bins == b].mean() for b in used]
    sizes = [6 + 60 * (bins == b).mean() for b in used]
    axes.plot(mean, observed, color=colour, linewidth=1, alpha=0.7)
    axes.scatter(mean, observed, s=sizes, color=colour, zorder=3)
