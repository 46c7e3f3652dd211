"""Heatmaps on ECG paper: the trace of every lead over a ribbon that is wide and dark where it is relevant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.ecg_paper import (
    MM_PER_SECOND,
    PULSE_MM,
    SMALL,
    LeadExample,
    Sheet,
    Strip,
    draw_paper,
    heights,
    sheet_of,
)
from heatproof.figures.style import CONTROL, INK, absent, drawing, escape, label, note, shorten, top_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

MM_PER_INCH = 25.4
# Share of a map's |values| (zeros left out) below its widest, darkest ribbon.
PERCENTILE = 99.5
# Ribbons come in so many strengths; below the first a place is not marked.
LEVELS = 8
# Least and most margin of a ribbon around the trace (mm): 8 to 14 ms to each side, 0.03 to 0.09 mV up and down.
MARGIN_MM, HEIGHT_MM = (0.2, 0.35), (0.3, 0.9)
# Above this many boxes a ribbon is a picture inside the SVG, whose file stays small.
MOST_BOXES = 1500
# Both ends differ in hue and in lightness, so that a grey print still tells the signs apart.
AGAINST, FOR = ("#a9c4e4", "#164296"), ("#fbd3a8", "#f07818")
SEQUENTIAL = ("#f3d77a", "#eda04a", "#cf5a5f", "#86257f")
# How far the name of a lead reaches.
NAME_MM = 8.0
LEAST_NAMED_MM = 1.0
WAVE_WORDS = {"p": "P", "qrs": "QRS", "t": "T"}
MARK = "#5b6570"
TRUTH_WORDS = "exact truth"
MOST_MODELS = 6
BOTTOM_MM, TITLE_MM, KEY_MM = 14.0, 6.0, 11.0


def draw_ecg(
    examples: Sequence[LeadExample], methods: Mapping[str, Sequence[str]], *, units: Mapping[str, str] | None = None,
    truth_words: str = TRUTH_WORDS, metric: str = "",
) -> Figure:  # fmt: skip
    """Draw one scan per model: the truth and the map of the model's first method, on ECG paper.

    Parameters
    ----------
    examples : sequence of LeadExample
        The first of each model is drawn.
    methods : mapping of str to sequence of str
        Methods of each model, best first.
    units : mapping of str to str, optional
        Unit of the number that each model predicts.
    truth_words : str
        What the truth is called.
    metric : str
        By what the methods are ordered, for the note.
    """
    chosen = first_of_each_model(examples, methods)
    if not chosen:
        return absent("No map of a recording with named leads was kept, so there is no ECG to draw.")
    sheets = [
        (example, sheet_of(example), _heatmaps(example, methods[example.model], truth_words)) for example in chosen
    ]
    beats = all(example.is_median_beat for example in chosen)
    columns = max(len(maps) for *_, maps in sheets) if beats else 1
    placed, height, width = _place(sheets, columns)
    signs: set[bool] = set()
    with drawing() as make:
        figure = make(figsize=(width / MM_PER_INCH, height / MM_PER_INCH))
        for example, sheet, (title, heatmap), left, bottom in placed:
            axes = axes_at(figure, sheet, left, bottom)
            signed = is_signed(heatmap, is_truth=heatmap is example.truth)
            paint_sheet(axes, example, sheet, heatmap, signed=signed)
            signs.add(signed)
            axes.set_title(escape(_title(example.model, units, title)), fontsize=8.6, pad=3)
        draw_key(figure, signs, height - KEY_MM + 3.0)
        note(figure, _sign(chosen, metric))
    return figure


def first_of_each_model(examples: Sequence[LeadExample], methods: Mapping[str, Sequence[str]]) -> list[LeadExample]:
    """Return the first scan of every model that has a map by one of the methods, in the order of the models."""
    chosen = []
    for model, names in methods.items():
        own = (e for e in examples if e.model == model and any(name in e.maps for name in names))
        chosen += [example for example in [next(own, None)] if example is not None]
    return chosen[:MOST_MODELS]


def is_signed(heatmap: np.ndarray, *, is_truth: bool = False) -> bool:
    """Return whether a map has signs; a truth has them unless it only marks places with 1, even if all are positive."""
    return bool((heatmap < 0).any()) or (is_truth and not np.isin(heatmap, (0, 1)).all())


def _heatmaps(example: LeadExample, methods: Sequence[str], truth_words: str) -> list[tuple[str, np.ndarray]]:
    best = next(name for name in methods if name in example.maps)
    truth = [] if example.truth is None else [(truth_words, example.truth)]
    return [*truth, (label(best), example.maps[best])]


def _title(model: str, units: Mapping[str, str] | None, words: str) -> str:
    unit = f" ({units[model]})" if units and units.get(model) else ""
    return f"{label(model)}{unit}: {words}"


Placed = tuple[LeadExample, Sheet, tuple[str, np.ndarray], float, float]


def _place(
    sheets: Sequence[tuple[LeadExample, Sheet, list[tuple[str, np.ndarray]]]], columns: int
) -> tuple[list[Placed], float, float]:
    """Return where each sheet lies (mm from the left and from the bottom), and height and width of the figure."""
    margin = 4.0
    width = margin + columns * (max(sheet.width for _, sheet, _ in sheets) + margin)
    blocks = [(e, s, maps[i : i + columns]) for e, s, maps in sheets for i in range(0, len(maps), columns)]
    height = BOTTOM_MM + KEY_MM + sum(sheet.height + TITLE_MM + 2 for _, sheet, _ in blocks)
    placed, level = [], height - KEY_MM
    for example, sheet, maps in blocks:
        level -= sheet.height + TITLE_MM
        placed += [(example, sheet, one, margin + i * (sheet.width + margin), level) for i, one in enumerate(maps)]
        level -= 2
    return placed, height, width


def axes_at(figure: Figure, sheet: Sheet, left: float, bottom: float, scale: float = 1.0) -> Axes:
    """Return axes whose paper is printed at `scale`."""
    width, height = figure.get_figwidth() * MM_PER_INCH, figure.get_figheight() * MM_PER_INCH
    return figure.add_axes((left / width, bottom / height, sheet.width * scale / width, sheet.height * scale / height))


def paint_sheet(
    axes: Axes, example: LeadExample, sheet: Sheet, heatmap: np.ndarray | None, scale: float = 1.0, *,
    signed: bool | None = None,
) -> None:  # fmt: skip
    """Draw paper, ribbons, traces, names of leads and marks of waves.

    Parameters
    ----------
    axes : Axes
        Panel.
    example : LeadExample
        The scan.
    sheet : Sheet
        Its strips.
    heatmap : ndarray, shape (n_leads, n_samples), optional
        Ribbons are as wide and dark as |values| over their `PERCENTILE` in the whole map, zeros left out.
    scale : float
        Printed mm per mm of paper.
    signed : bool, optional
        Whether colours diverge from zero; by default where the map has negative values.
    """
    draw_paper(axes, sheet, scale)
    for strip in sheet.strips:
        x, y = _trace(example, strip)
        axes.plot(x, y, color=INK, linewidth=0.75 * scale**0.5, zorder=4, solid_joinstyle="round")
        # The name stands above what it would cover.
        beside = y[x < strip.left + NAME_MM]
        level = max(strip.baseline + 5.0, float(np.nanmax(beside, initial=0.0)) + 1.5)
        axes.text(strip.left + 0.5, level, escape(example.leads[strip.lead]), fontsize=7.5 * scale**0.5,
                  fontweight="bold", zorder=5)  # fmt: skip
        if strip.left > PULSE_MM and strip.start:
            axes.plot([strip.left] * 2, strip.baseline + np.array([-2.0, 4.0]), color=INK, linewidth=0.6, zorder=4)
        mark_waves(axes, example, strip, scale)
    if heatmap is not None:
        values = np.nan_to_num(heatmap)
        _paint_ribbons(axes, example, sheet, values, is_signed(values) if signed is None else signed)


def _paint_ribbons(axes: Axes, example: LeadExample, sheet: Sheet, heatmap: np.ndarray, signed: bool) -> None:
    """Draw one box per sample around its piece of the trace: exact in time however steep the trace runs."""
    from matplotlib.collections import PolyCollection

    # What is not zero: the truth of an amplitude fills a few points of one lead, and the rest must not drown it.
    top = top_of(heatmap[heatmap != 0], PERCENTILE)
    boxes, levels = [np.empty((0, 4, 2))], [np.empty(0, int)]
    for strip in sheet.strips if top > 0 else ():
        level = quantised(heatmap[strip.lead, strip.start : strip.stop] / top)
        boxes.append(ribbon_boxes(*_trace(example, strip), np.abs(level) / LEVELS)[level != 0])
        levels.append(level[level != 0])
    level = np.concatenate(levels)
    # The strongest last, on top.
    order = np.argsort(np.abs(level), kind="stable")
    shares = level[order] / LEVELS
    axes.add_collection(
        PolyCollection(
            list(np.concatenate(boxes)[order]),
            facecolors=ribbon_colours(signed=signed)((shares + 1) / 2 if signed else shares),
            linewidths=0,
            zorder=3,
            rasterized=len(order) > MOST_BOXES,
        )  # fmt: skip
    )


def _trace(example: LeadExample, strip: Strip) -> tuple[np.ndarray, np.ndarray]:
    """Return where the samples of a strip lie on the paper (mm)."""
    x = strip.left + np.arange(strip.stop - strip.start) * example.step / 1000 * MM_PER_SECOND
    return x, strip.baseline + heights(example, strip.lead, strip.start, strip.stop)


def quantised(shares: np.ndarray) -> np.ndarray:
    """Return the level of each share, -LEVELS to LEVELS; 0 is not drawn."""
    return np.sign(shares).astype(int) * np.floor(np.clip(np.abs(shares), 0, 1) * LEVELS).astype(int)


def ribbon_boxes(x: np.ndarray, y: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Return the corners of a box around the trace half-way to both neighbours of each sample, shape (n, 4, 2).

    The margin grows with the strength, for prints without colour: `MARGIN_MM` along time and `HEIGHT_MM` along mV.
    """
    y = np.nan_to_num(y, nan=float(np.nanmedian(y)))
    middle = (y[1:] + y[:-1]) / 2
    ends = np.stack([np.r_[y[0], middle], y, np.r_[middle, y[-1]]])
    aside = (x[1] - x[0]) / 2 + MARGIN_MM[0] + (MARGIN_MM[1] - MARGIN_MM[0]) * strengths
    height = HEIGHT_MM[0] + (HEIGHT_MM[1] - HEIGHT_MM[0]) * strengths
    left, right = x - aside, x + aside
    low, high = ends.min(axis=0) - height, ends.max(axis=0) + height
    corners = [(left, low), (right, low), (right, high), (left, high)]
    return np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)


def ribbon_colours(*, signed: bool) -> Colormap:
    """Return the colours of ribbons: from against (0) over nothing (.5) to for (1), or from little to much."""
    from matplotlib.colors import LinearSegmentedColormap

    if not signed:
        return LinearSegmentedColormap.from_list("relevance", SEQUENTIAL)
    colours = [(0.0, AGAINST[1]), (0.5 - 1e-6, AGAINST[0]), (0.5 + 1e-6, FOR[0]), (1.0, FOR[1])]
    return LinearSegmentedColormap.from_list("signed_relevance", colours)


def mark_waves(axes: Axes, example: LeadExample, strip: Strip, scale: float = 1.0) -> None:
    """Draw a bar under a strip from onset to end of each wave, and dotted lines up to the trace."""
    x, y = _trace(example, strip)
    for wave, words in WAVE_WORDS.items():
        if wave not in example.waves:
            continue
        for start, stop in spans(example.waves[wave][strip.lead, strip.start : strip.stop]):
            ends = [start, stop - 1]
            axes.fill_between(x[ends], strip.bottom + 2.6, strip.bottom + 3.6, edgecolor=MARK, zorder=4,
                              facecolor=MARK if wave == "qrs" else "white", linewidth=0.6 * scale**0.5)  # fmt: skip
            axes.vlines(x[ends], strip.bottom + 3.6, y[ends], color=MARK, linewidth=0.45, linestyle=(0, (1, 1.6)),
                        zorder=2)  # fmt: skip
            # Of a wave that a column cuts off, the rest may be too short for its name.
            if scale > SMALL and x[ends[1]] - x[ends[0]] > LEAST_NAMED_MM:
                axes.text(x[ends].mean(), strip.bottom + 2.2, words, fontsize=5.4, ha="center", va="top", color=MARK,
                          zorder=5)  # fmt: skip


def spans(inside: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, stop) of every unbroken stretch of a mask, shape (n,)."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.asarray(inside, dtype=int), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def draw_key(figure: Figure, signs: Collection[bool], level: float) -> None:
    """Draw a ribbon of every strength with its words, signed and unsigned, `level` mm above the lower edge."""
    from matplotlib.collections import PolyCollection

    width, height = figure.get_figwidth() * MM_PER_INCH, figure.get_figheight() * MM_PER_INCH
    words = {True: ("against (−)", "signed map", "for (+)"), False: ("none", "unsigned map", "most")}
    for place, signed in enumerate(sorted(set(signs), reverse=True)):
        axes = figure.add_axes(((6 + 62 * place) / width, level / height, 52 / width, 6 / height))
        strengths = np.linspace(-1 if signed else 0, 1, 2 * LEVELS + 1 if signed else LEVELS + 1)
        shown = strengths[strengths != 0]
        x = np.linspace(14, 38, len(shown))
        axes.add_collection(
            PolyCollection(
                list(ribbon_boxes(x, np.full(len(shown), 4.0), np.abs(shown))),
                facecolors=ribbon_colours(signed=signed)((shown + 1) / 2 if signed else shown),
            )  # fmt: skip
        )
        axes.plot([14, 38], [4, 4], color=INK, linewidth=0.75)
        for end, text, align in ((11.5, words[signed][0], "right"), (40.5, words[signed][2], "left")):
            axes.text(end, 4, text, fontsize=6.4, ha=align, va="center")
        axes.text(26, 1.6, words[signed][1], fontsize=6.4, ha="center", va="top", color=CONTROL)
        axes.set(xlim=(0, 52), ylim=(0, 6))
        axes.axis("off")


def _sign(chosen: Sequence[LeadExample], metric: str) -> str:
    ids = list(dict.fromkeys(example.scan_id for example in chosen))
    names = shorten(", ".join(ids), 40)
    text = f"25 mm/s, 10 mm/mV; n = {len(ids)} scan{'s' * (len(ids) > 1)} ({names}), to look at only"
    if metric:
        text += f"; shown is the method that comes first for each network ({label(metric)})"
    text += f"; full ribbon: {PERCENTILE:g}th percentile of a map's own |values|, zeros left out."
    if any(example.waves for example in chosen):
        text += " Bars below each lead, with dotted bounds: P, QRS (dark) and T."
    return text
