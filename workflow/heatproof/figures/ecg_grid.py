"""Nine methods on one ECG, three by three as experts are shown them, with the truth beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.ecg import (
    BOTTOM_MM,
    KEY_MM,
    MM_PER_INCH,
    PERCENTILE,
    TRUTH_WORDS,
    axes_at,
    draw_key,
    first_of_each_model,
    is_signed,
    paint_sheet,
)
from heatproof.figures.ecg_paper import LeadExample, Sheet, one_lead, rhythm_lead, sheet_of
from heatproof.figures.style import CONTROL, INK, absent, drawing, escape, label, note, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Storås et al. 2025, in the order of their grid: rows of three.
PUBLISHED = (
    "saliency", "deconvolution", "guided_backprop", "gradient_shap", "expected_gradients", "smoothgrad",
    "input_x_gradient", "deeplift", "integrated_gradients", "gradcam",
)  # fmt: skip
ACROSS = 3
# Printed mm per mm of paper: twelve leads of a median beat are small, one lead is large.
ALL_LEADS, ONE_LEAD = 0.48, 1.35
# Longest part (ms) of one lead that is drawn.
WINDOW_MS = 2500.0
GAP_MM, HEAD_MM, TITLE_MM = 3.0, 7.0, 4.5


def draw_ecg_grid(
    examples: Sequence[LeadExample], methods: Mapping[str, Sequence[str]], controls: Collection[str] = (), *,
    leads: str = "all", truth_words: str = TRUTH_WORDS,
) -> Figure:  # fmt: skip
    """Draw a grid of three by three methods for one scan of each model, and the truth as a tenth panel.

    Parameters
    ----------
    examples : sequence of LeadExample
        The first of each model is drawn.
    methods : mapping of str to sequence of str
        Methods of each model; those of Storås et al. 2025 come first, in their order, then these.
    controls : collection of str
        Named in grey, and drawn only where there are fewer than nine methods.
    leads : {"all", "one"}
        Draw every lead small, or large the one with most of the truth. Recordings longer than a median beat always
        show one lead, and of it the part with most of the truth.
    truth_words : str
        What the truth is called.
    """
    chosen = first_of_each_model(examples, methods)
    if not chosen:
        return absent("No map of a recording with named leads was kept, so there is no grid of methods to draw.")
    whole = leads == "all" and all(example.is_median_beat for example in chosen)
    scale = ALL_LEADS if whole else ONE_LEAD
    blocks = [(e, sheet_of(e) if whole else decisive_part(e)) for e in chosen]
    wide = scale * max(sheet.width for _, sheet in blocks) + GAP_MM
    width = GAP_MM + (ACROSS + any(example.truth is not None for example in chosen)) * wide
    tall = [HEAD_MM + ACROSS * (scale * sheet.height + TITLE_MM) for _, sheet in blocks]
    height = KEY_MM + sum(tall) + BOTTOM_MM
    signs: set[bool] = set()
    with drawing() as make:
        figure = make(figsize=(width / MM_PER_INCH, height / MM_PER_INCH))
        for place, (example, sheet) in enumerate(blocks):
            top = height - KEY_MM - sum(tall[:place])
            figure.text(GAP_MM / width, (top - 3.2) / height, escape(_heading(example, sheet, whole)), fontsize=9.5,
                        fontweight="bold")  # fmt: skip
            names = nine_methods(methods[example.model], controls, example.maps)
            panels = [(name, example.maps[name]) for name in names]
            corners = [(i // ACROSS, i % ACROSS) for i in range(len(panels))]
            if example.truth is not None:
                panels.append((truth_words, example.truth))
                corners.append((1, ACROSS))
            for (name, heatmap), (row, column) in zip(panels, corners, strict=True):
                bottom = top - HEAD_MM - (row + 1) * (scale * sheet.height + TITLE_MM) + 1.0
                axes = axes_at(figure, sheet, GAP_MM + column * wide, bottom, scale)
                is_truth = heatmap is example.truth
                signed = is_signed(heatmap, is_truth=is_truth)
                paint_sheet(axes, example, sheet, heatmap, scale, signed=signed)
                axes.set_title(escape(name.capitalize() if is_truth else label(name)), fontsize=7.8, pad=2.5,
                               color=CONTROL if name in controls else INK)  # fmt: skip
                signs.add(signed)
        draw_key(figure, signs, height - KEY_MM + 3.0)
        note(figure, _sign(chosen, whole))
    return figure


def nine_methods(methods: Sequence[str], controls: Collection[str], present: Collection[str]) -> list[str]:
    """Return up to nine methods with a map: those of the paper in its order, further ones, controls last."""
    drawn = [name for name in methods if name in present]
    own = [name for name in drawn if name not in controls]
    order = [*(name for name in PUBLISHED if name in own), *own, *drawn]
    return list(dict.fromkeys(order))[: ACROSS**2]


def decisive_part(example: LeadExample) -> Sheet:
    """Return the lead with most of the truth (else the rhythm lead), of a long recording the part with most of it."""
    n = example.image.shape[1]
    length = min(n, round(WINDOW_MS / example.step))
    lead, strength = rhythm_lead(example.leads), np.zeros(n)
    if example.truth is not None and np.any(example.truth):
        magnitude = np.abs(np.nan_to_num(example.truth))
        lead = int(magnitude.sum(axis=1).argmax())
        strength = magnitude[lead]
    total = np.r_[0.0, np.cumsum(strength)]
    start = int((total[length:] - total[: n - length + 1]).argmax())
    return one_lead(example, lead, start, start + length)


def _heading(example: LeadExample, sheet: Sheet, whole: bool) -> str:
    part = sheet.strips[0]
    if whole:
        return f"{label(example.model)}: {len(example.leads)} leads of {shorten(example.scan_id, 30)}"
    times = "" if example.is_median_beat else f", {part.start * example.step / 1000:.1f} s to " \
        f"{part.stop * example.step / 1000:.1f} s"  # fmt: skip
    return f"{label(example.model)}: lead {example.leads[part.lead]} of {shorten(example.scan_id, 30)}{times}"


def _sign(chosen: Sequence[LeadExample], whole: bool) -> str:
    n = len({example.scan_id for example in chosen})
    text = f"n = {n} scan{'s' * (n > 1)}, to look at only; "
    text += "large squares: 200 ms by 0.5 mV" + ("" if whole else ", small ones: 40 ms by 0.1 mV")
    text += f"; full ribbon: {PERCENTILE:g}th percentile of a map's own |values| over all leads, zeros left out."
    if any(example.waves for example in chosen):
        text += " Bars below each lead: P, QRS (dark) and T."
    return text
