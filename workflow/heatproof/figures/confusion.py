"""Which classes the networks take for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.estimates import classes_only
from heatproof.figures.style import INK, absent, drawing, escape, grid_of, hide_unused, label, note, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Above this share a cell is so dark that its number is white.
DARK = 0.55


def draw_confusion(predictions: pd.DataFrame, classes: Sequence[str], models: Sequence[str]) -> Figure:
    """Draw one matrix per model: true class by predicted class, as share of the true class and as a count.

    Parameters
    ----------
    predictions : DataFrame
        All ``predictions.tsv`` together: model, seed, part, participant_id, target, predicted.
    classes : sequence of str
        Name of each class, by its index.
    models : sequence of str
        In order.
    """
    judged = classes_only(predictions)
    if len(predictions) and judged.empty:
        return absent("The networks of this study predict numbers, so no class can be taken for another.")
    test = judged[judged["part"] == "test"] if len(judged) else judged
    present = [name for name in models if len(test) and (test["model"] == name).any()]
    if not present:
        return absent("No prediction on test scans was written, so there is nothing to confuse.")
    rows, columns = grid_of(len(present), 3)
    size = 1.15 + 0.55 * len(classes)
    with drawing() as make:
        figure = make(figsize=(1.6 + (size + 0.45) * columns, 1.0 + (size + 0.35) * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        image = None
        for position, (axes, model) in enumerate(zip(panels.ravel(), present, strict=False)):
            counts = count_confusions(test[test["model"] == model], len(classes))
            image = _matrix(axes, counts, classes)
            axes.set_title(escape(shorten(label(model), 26)))
            axes.set_ylabel("true class" if position % columns == 0 else "")
            axes.set_xlabel("predicted class" if position + columns >= len(present) else "")
        hide_unused(panels, len(present))
        figure.colorbar(
            image, ax=panels.ravel().tolist(), shrink=0.8 / rows, aspect=16, pad=0.02, label="share of the true class"
        )
        note(figure, _sign(test))
    return figure


def count_confusions(predictions: pd.DataFrame, n_classes: int) -> np.ndarray:
    """Return how many scans of each true class (rows) are given each class (columns), shape (n_classes, n_classes)."""
    cells = predictions["target"].to_numpy(int) * n_classes + predictions["predicted"].to_numpy(int)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def _matrix(axes: Axes, counts: np.ndarray, classes: Sequence[str]) -> object:
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if total[row, 0]:
            share = shares[row, column]
            colour = "white" if share > DARK else INK
            axes.text(column, row - 0.12, f"{100 * share:.0f} %", ha="center", va="center", color=colour, fontsize=8.5)
            axes.text(
                column, row + 0.22, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=6.6
            )
        else:
            axes.text(column, row, "n/a", ha="center", va="center", color="#8a929c", fontsize=7)
    names = [escape(shorten(label(name), 18)) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), names)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return image


def _sign(test: pd.DataFrame) -> str:
    per_seed = test.groupby(["model", "seed"]).size()
    seeds = int(per_seed.groupby("model").size().max())
    text = f"n = {int(per_seed.max())} test scans of {test['participant_id'].nunique()} people, all folds"
    return text + (f"; counts add up {seeds} seeds." if seeds > 1 else "; small numbers: scans.")
