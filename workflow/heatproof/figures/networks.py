"""How the networks learned, and what they can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.estimates import classes_only
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
from heatproof.statistics.performance import probability_columns, reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_BINS = 5


def draw_training(history: pd.DataFrame, models: Sequence[str], n_classes: int = 2) -> Figure:
    """Draw loss and validation balanced accuracy (of numbers, R²) by epoch, a row per model, a line per fold and seed.

    Parameters
    ----------
    history : DataFrame
        All ``history.tsv`` together, with columns model, fold, seed.
    models : sequence of str
        Rows, in order; a model without epochs (a linear one) has no row.
    n_classes : int
        Chance is one over it.
    """
    present = [name for name in models if len(history) and (history["model"] == name).any()]
    if not present:
        return absent("No network was trained by epochs.")
    mixed = "validation_r2" in history and history["validation_r2"].notna().any()
    with drawing() as make:
        figure = make(figsize=(7.6, 0.7 + 2.1 * len(present)), layout="constrained")
        panels = figure.subplots(len(present), 2, squeeze=False)
        for (loss, accuracy), model in zip(panels, present, strict=True):
            own = history[history["model"] == model]
            number = "validation_r2" in own and own["validation_r2"].notna().any()
            column = "validation_r2" if number else "validation_balanced_accuracy"
            runs = own.groupby(["fold", "seed"], sort=True)
            for position, (_, run) in enumerate(runs):
                quiet = {"linewidth": 1.0, "alpha": 0.75}
                names = ("training", "validation") if position == 0 else (None, None)
                loss.plot(run["epoch"], run["train_loss"], color=CONTROL, linestyle="--", label=names[0], **quiet)
                loss.plot(run["epoch"], run["validation_loss"], color=BLUE, label=names[1], **quiet)
                accuracy.plot(run["epoch"], run[column], color=BLUE, **quiet)
            loss.set_title(escape(f"{shorten(label(model))} ({runs.ngroups} runs)"))
            loss.set_ylabel("squared error (SD² of the target)" if number else "cross-entropy (nats)")
            accuracy.set_ylabel("R² (share of variance)" if number else "balanced accuracy")
            # An early epoch may be far worse than the mean of the target; the axis keeps to what is worth reading.
            accuracy.set_ylim(max(-1.03, min(0.0, accuracy.get_ylim()[0])) if number else 0, 1.03)
            chance, words = (0.0, "mean of the target") if number else (1 / n_classes, "chance")
            reference_line(accuracy, chance, words, vertical=False)
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        panels[0, 0].legend()
        for axes in panels[:, 1] if mixed else panels[:1, 1]:
            axes.legend(loc="lower right")
        note(figure, "one line per fold and seed.")
    return figure


def draw_performance(predictions: pd.DataFrame, performance: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw balanced accuracy with its interval, ROC curves and calibration on the test scans of all folds.

    With more than two classes the ROC curve of a model is the mean over classes, each against the rest (thin lines),
    and calibration is that of the predicted class.

    Parameters
    ----------
    predictions : DataFrame
        All ``predictions.tsv`` together: model, recipe, seed, part, target, and the probability of each class.
    performance : DataFrame
        ``performance.tsv``.
    models : sequence of str
        In order.
    """
    if predictions.empty:
        return absent("No network has predicted anything.")
    judged = classes_only(predictions)
    if judged.empty:
        return absent("The networks of this study predict numbers, not classes: see what they estimate.")
    test = judged[judged["part"] == "test"]
    # A validation part of a recipe that leaks is no test; where there is no test, nothing is drawn.
    present = [name for name in models if (test["model"] == name).any()]
    if not present:
        return absent("No prediction on test scans was written.")
    classes = max(2, int(test["target"].max()) + 1, len(probability_columns(test)))
    with drawing() as make:
        figure = make(figsize=(10.4, 3.3), layout="constrained")
        accuracy, roc, calibration = figure.subplots(1, 3)
        _accuracy(accuracy, performance, present, 1 / classes)
        curves = reliability(test, N_BINS)
        for position, model in enumerate(present):
            colour = SERIES[position % len(SERIES)]
            _roc_curves(roc, test[test["model"] == model], colour, escape(shorten(label(model), 24)))
            _calibration(calibration, curves[curves["model"] == model], colour)
        _frame(roc, calibration, classes)
        n = int(test.groupby(["model", "seed"]).size().max())
        people = test["participant_id"].nunique()
        thin = f"; thin: each of {classes} classes against the rest, thick: their mean" if classes > 2 else ""
        note(
            figure,
            f"n = {n} test scans of {people} people; bars: 95 % bootstrap interval over people; "
            f"disc: scans in a bin{thin}.",
        )
    return figure


def _frame(roc: Axes, calibration: Axes, classes: int) -> None:
    """Draw the lines of chance and of perfect calibration, and label the axes."""
    roc.plot([0, 1], [0, 1], color=CONTROL, linestyle=":", label="chance")
    calibration.plot([0, 1], [0, 1], color=CONTROL, linestyle=":", label="calibrated")
    roc.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC, test scans of all folds", aspect="equal")
    words = ("predicted probability of disease", "observed share of patients")
    if classes > 2:
        words = ("probability of the predicted class", "share of scans that are right")
    calibration.set(xlabel=words[0], ylabel=words[1], title="Calibration", aspect="equal", xlim=(0, 1), ylim=(0, 1.02))
    roc.legend(loc="lower right", fontsize=7)
    calibration.legend(loc="lower right" if classes == 2 else "upper left", fontsize=7)


def _accuracy(axes: Axes, performance: pd.DataFrame, models: Sequence[str], chance: float) -> None:
    rows = performance[(performance["metric"] == "balanced_accuracy") & (performance["fold"] == -1)]
    rows = rows[rows["part"] == "test"] if "part" in rows else rows
    order = list(models)[::-1]
    for position, model in enumerate(order):
        for line in rows[rows["model"] == model].itertuples():
            colour = BLUE if line.low > chance else VERMILION
            axes.plot([line.low, line.high], [position, position], color=colour, linewidth=2)
            axes.plot(line.value, position, "o", color=colour)
    reference_line(axes, chance, "chance")
    axes.set_yticks(range(len(order)), [escape(shorten(label(name), 22)) for name in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(min(0.2, chance - 0.1), 1.02)
    axes.set(xlabel="balanced accuracy (test)", title="Balanced accuracy")
    axes.legend(loc="best", fontsize=7)


def _roc_curves(axes: Axes, rows: pd.DataFrame, colour: str, name: str) -> None:
    """Draw the curve of the patients, or of each class against the rest and their mean."""
    columns = probability_columns(rows)
    if not columns:
        return
    probability, target = rows[columns].to_numpy(float), rows["target"].to_numpy(int)
    if len(columns) <= 2:
        axes.step(*_roc(target == target.max(), probability[:, -1]), where="post", color=colour, label=name)
        return
    # A class that no test scan has, or all have, has no curve.
    drawn = [k for k in range(len(columns)) if 0 < (target == k).sum() < len(target)]
    curves = [_roc(target == k, probability[:, k]) for k in drawn]
    for curve in curves:
        axes.step(*curve, where="post", color=colour, linewidth=0.6, alpha=0.45)
    axes.step(*_mean_roc(curves), where="post", color=colour, label=name)


def _mean_roc(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean sensitivity of step curves at every false-positive rate at which one of them changes."""
    rates = np.unique(np.concatenate([false for false, _ in curves]))
    return rates, np.mean([true[np.searchsorted(false, rates, side="right") - 1] for false, true in curves], axis=0)


def _roc(target: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false- and true-positive rates from (0, 0) to (1, 1), tied scores as one step."""
    order = np.argsort(-probability, kind="stable")
    sorted_target, sorted_score = target[order], probability[order]
    last = np.r_[np.flatnonzero(np.diff(sorted_score)), len(sorted_score) - 1]
    hits, alarms = np.cumsum(sorted_target)[last], np.cumsum(~sorted_target)[last]
    return np.r_[0, alarms / max(1, (~target).sum())], np.r_[0, hits / max(1, target.sum())]


def _calibration(axes: Axes, curve: pd.DataFrame, colour: str) -> None:
    if curve.empty:
        return
    share = curve["n_scans"] / curve["n_scans"].sum()
    axes.plot(curve["mean_probability"], curve["observed_share"], color=colour, linewidth=1, alpha=0.7)
    axes.scatter(curve["mean_probability"], curve["observed_share"], s=6 + 60 * share, color=colour, zorder=3)
