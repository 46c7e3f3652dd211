"""Mean heatmaps of signals: one line over time, or a strip per lead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.figures.style import (
    CONTROL,
    INK,
    OUTLINE,
    absent,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    note,
    shorten,
    top_of,
)
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_METHODS, MOST_MODELS, ACROSS = 11, 6, 4
PERCENTILE = 99.9
Pair = tuple[str, str]


def draw_lead_maps(
    maps: Mapping[Pair, np.ndarray], truths: Mapping[str, tuple[np.ndarray, np.ndarray]], leads: Sequence[str],
    grid: Grid, *, controls: Collection[str] = (), truth_name: str = "truth", population: str = "all",
) -> Figure:  # fmt: skip
    """Draw the mean |map| of each method with a strip per lead, one block per model, the truth first.

    Parameters
    ----------
    maps : mapping of (model, method) to ndarray, shape (n_leads, n_samples)
        Group maps, in order.
    truths : mapping of str to (ndarray, ndarray of bool), both of shape (n_leads, n_samples)
        By model: mean strength of its truth, and where it is; a model without a truth is left out.
    leads : sequence of str
        Their names.
    grid : Grid
        Of the samples.
    controls : collection of str
        Named in grey.
    truth_name, population : str
        Named in the note.
    """
    if not maps:
        return absent("No group map was written.")
    models = list(dict.fromkeys(model for model, _ in maps))[:MOST_MODELS]
    blocks = [_panels_of(model, maps, truths) for model in models]
    down, across = grid_of(max(map(len, blocks)), ACROSS)
    with drawing() as make:
        height = 0.4 + max(0.5, 0.1 * len(leads))
        figure = make(figsize=(0.8 + 2.6 * across, 0.7 + len(models) * (0.3 + height * down)), layout="constrained")
        parts = figure.subfigures(len(models), 1, squeeze=False).ravel()
        for part, model, panels in zip(parts, models, blocks, strict=True):
            _block(part, panels, truths.get(model), (down, across), leads, grid, set(controls))
            if len(models) > 1:
                part.suptitle(escape(label(model)), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        text = f"mean over {label(population).lower()}, sample by sample; colour: |relevance| as a share of each map's "
        text += f"{PERCENTILE:g}th percentile, black: none"
        if truths:
            text += f"; cyan outline: {label(truth_name).lower()} truth"
        note(figure, text + ".")
    return figure


def _panels_of(model: str, maps: Mapping[Pair, np.ndarray], truths: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    """Return (name, values) of the truth, which has no name, and of the methods of a model."""
    own = [(method, values) for (name, method), values in maps.items() if name == model][:MOST_METHODS]
    return [("", truths[model][0]), *own] if model in truths else own


def _block(
    part: Any, panels: Sequence[tuple[str, np.ndarray]], truth: tuple[np.ndarray, np.ndarray] | None,
    layout: tuple[int, int], leads: Sequence[str], grid: Grid, controls: Collection[str],
) -> None:  # fmt: skip
    axes_of = part.subplots(*layout, squeeze=False)
    image = None
    for place, (axes, (name, values)) in enumerate(zip(axes_of.ravel(), panels, strict=False)):
        image = _strips(axes, values, None if truth is None else truth[1], grid)
        words = escape(shorten(label(name), 24)) if name else "The truth"
        axes.set_title(words, fontsize=8, color=CONTROL if name in controls else INK)
        axes.set_yticks(range(len(leads)), [*map(escape, leads)] if place % layout[1] == 0 else [], fontsize=6)
        last = place + layout[1] >= len(panels)
        axes.set_xlabel(f"time ({grid.units})" if last else "")
        axes.tick_params(axis="x", labelsize=6.6, labelbottom=last)
        axes.tick_params(axis="y", length=0)
    hide_unused(axes_of, len(panels))
    bar = part.colorbar(image, ax=axes_of.ravel().tolist(), shrink=0.7, aspect=24, pad=0.01)
    bar.set_label("|relevance| (share)", fontsize=7)
    bar.ax.tick_params(labelsize=6.6)


def _strips(axes: Axes, values: np.ndarray, inside: np.ndarray | None, grid: Grid) -> Any:
    """Draw leads down and time across."""
    magnitude, step = np.abs(np.nan_to_num(values)), grid.spacing[0]
    top = top_of(values, PERCENTILE) or 1.0
    extent = (-0.5 * step, (values.shape[1] - 0.5) * step, len(values) - 0.5, -0.5)
    image = axes.imshow(np.clip(magnitude / top, 0, 1), cmap="inferno", vmin=0, vmax=1, aspect="auto", extent=extent)
    if inside is not None and inside.any() and not inside.all():
        # Each lead is outlined by itself: its neighbours are other places.
        for lead, row in enumerate(inside):
            edges = np.flatnonzero(np.diff(np.r_[0, row.astype(int), 0]))
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                x = (np.array([start, stop, stop, start, start]) - 0.5) * step
                axes.plot(x, lead + np.array([-0.46, -0.46, 0.46, 0.46, -0.46]), color=OUTLINE, linewidth=0.6)
    for edge in np.arange(0.5, len(values) - 1):
        axes.axhline(edge, color="#39414b", linewidth=0.4)
    axes.set(xlim=extent[:2], ylim=extent[2:])
    for side in axes.spines.values():
        side.set_visible(False)
    return image


def draw_signal_maps(
    maps: Mapping[str, np.ndarray], background: np.ndarray, truth: np.ndarray | None, grid: Grid,
    controls: Sequence[str] = (),
) -> Figure:  # fmt: skip
    """Draw one line per method over time, the truth as a shaded span.

    Parameters
    ----------
    maps : mapping of str to ndarray, shape (n_samples,)
        Group map of each method.
    background : ndarray, shape (n_samples,)
        Mean signal.
    truth : ndarray of bool, shape (n_samples,), optional
        Shaded where given.
    grid : Grid
        Of all of them.
    controls : sequence of str
        Maps whose line is grey.
    """
    time = np.arange(grid.shape[0]) * grid.spacing[0]
    with drawing() as make:
        figure = make(figsize=(8.4, 0.75 * len(maps) + 1.2), layout="constrained")
        panels = figure.subplots(len(maps), 1, squeeze=False, sharex=True).ravel()
        span = float(np.ptp(background)) or 1.0
        for axes, (name, values) in zip(panels, maps.items(), strict=True):
            axes.plot(time, (background - background.min()) / span, color="#c3c9d0", linewidth=0.9)
            top = float(np.nanmax(np.abs(values))) or 1.0
            axes.plot(time, np.abs(values) / top, color="#6b747e" if name in controls else "#D55E00")
            if truth is not None:
                axes.fill_between(time, 0, 1, where=truth, color="#56B4E9", alpha=0.3, linewidth=0)
            axes.set_yticks([])
            axes.set_ylabel(escape(shorten(label(name), 20)), rotation=0, ha="right", va="center")
        panels[-1].set_xlabel(f"time ({grid.units})")
        note(figure, "Orange: |relevance|; grey: mean signal; blue: truth.")
    return figure
