"""One look for every figure: colours that colour-blind readers can tell apart, labels, deterministic files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.files import atomic
from heatproof.statistics.conditions import reference

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): distinct under every common colour-vision deficiency, and in grey by lightness.
BLUE, VERMILION, GREEN, SKY, ORANGE, PURPLE = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#E69F00", "#CC79A7"
INK, CONTROL, FAINT = "#1d2733", "#8a929c", "#d9dde2"
# The outline of a truth on a map.
OUTLINE = "#37e0ff"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#5b3a8c", "#7a6a00")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
VERDICT_COLOURS = {"yes": BLUE, "no": VERMILION, "undecided": INK}
VERDICT_MARKERS = {"yes": "o", "no": "X", "undecided": "D"}

# Pixels of a PNG per inch.
DPI = 130

# Id in the SVG of a figure that has nothing to show.
ABSENT = "nothing-to-draw"
# Id in the SVG of one of several frames side by side, which the report shows one at a time; the dose follows.
FRAME = "frame-"
SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#66707b",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": "#404a55",
    "ytick.color": "#404a55",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "svg.fonttype": "none",
    # Element ids are drawn from this text instead of at random: the same figure has the same bytes.
    "svg.hashsalt": "heatproof",
    "image.interpolation": "nearest",
    "lines.linewidth": 1.5,
}

# Of the note's font, on average.
LETTERS_PER_INCH = 16.5

ACRONYMS = {
    "ablationcam": "AblationCAM", "auroc": "AUROC", "deepshap": "DeepSHAP", "deeplift": "DeepLIFT",
    "eigencam": "EigenCAM",
    "gradcam": "Grad-CAM", "hirescam": "HiResCAM", "idgi": "IDGI", "ig": "IG", "layercam": "LayerCAM", "lrp": "LRP",
    "rise": "RISE", "scorecam": "ScoreCAM", "smoothgrad": "SmoothGrad", "svm": "SVM", "vargrad": "VarGrad",
    "xgradcam": "XGradCAM", "xrai": "XRAI", "zplus": "z⁺", "ale": "ALE", "mri": "MRI", "emd": "EMD",
    "resnet": "ResNet", "ecg": "ECG", "aic": "AIC", "sic": "SIC", "road": "ROAD", "mprt": "MPRT", "iou": "IoU",
    "pr": "PR", "qrs": "QRS", "qt": "QT", "avr": "aVR", "avl": "aVL", "avf": "aVF", "ii": "II", "iii": "III",
    **{f"v{number}": f"V{number}" for number in range(1, 7)}, "morf": "MoRF", "shap": "SHAP", "lerf": "LeRF",
    "densenet": "DenseNet", "boehle": "Böhle", "wang": "Wang", "auc": "AUC", "ad": "AD", "hc": "HC", "vbm": "VBM",
}  # fmt: skip
WHOLE = {
    "guided_gradcam": "Guided Grad-CAM",
    "input_x_gradient": "Input × gradient",
    "dice_at_size": "Dice, size-matched",
    "max_dice": "Best Dice over thresholds",
    "guided_backprop": "Guided backprop",
    "earth_movers_distance": "Earth mover's distance (mm)",
    "outside_brain": "Relevance outside the brain",
    "edge_share": "Relevance at the brain's edge",
    "input_magnitude": "|Input|",
    "meta_analysis": "Meta-analysis",
    "svm_weights": "SVM weights",
    "gradcam_plus_plus": "Grad-CAM++",
    "svm_pattern": "SVM pattern (Haufe)",
    "exact_truth": "The truth as a map",
    "iou_at_size": "IoU, size-matched",
    "max_iou": "Best IoU over thresholds",
    "road_morf": "ROAD, most relevant first",
    "road_lerf": "ROAD, least relevant first",
    "f_fidelity_plus": "F-Fidelity⁺",
    "f_fidelity_minus": "F-Fidelity⁻",
    "f_fidelity": "F-Fidelity",
    "max_sensitivity": "Max-sensitivity",
    "time_distance": "Earth mover's distance (ms)",
    "turbe_f": "Turbé's F",
    "turbe_top": "Turbé's A, most relevant",
    "turbe_bottom": "Turbé's A, least relevant",
    "weighted_precision": "Precision, by relevance",
    "weighted_recall": "Recall, by relevance",
}


def label(name: object) -> str:
    """Return a reader's name of a method, metric, model or truth: ``lrp_beta_0.5`` becomes ``LRP beta 0.5``."""
    text = str(name)
    if text in WHOLE:
        return WHOLE[text]
    words = [ACRONYMS.get(word.lower(), word) for word in text.split("_") if word]
    if not words:
        return text
    if words[0].islower():
        words[0] = words[0].capitalize()
    return " ".join(words)


def condition_label(metric: str, setting: str) -> str:
    """Return a reader's name of a metric under one setting: ``SIC, nd push-pull information``."""
    # Every setting of a perturbation that is not the published one is a corrected one.
    words = str(setting).replace("_", "-").removeprefix("corrected ")
    return ", ".join(part for part in (label(metric), words) if part)


def networks(pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``network: PR`` for the networks among pairs of (model, method), in their order."""
    names = list(dict.fromkeys(label(model) for model, _ in pairs))
    return f"network{'s' if len(names) > 1 else ''}: {', '.join(names)}"


def escape(text: str) -> str:
    """Return `text` so that matplotlib draws it as it is (a dollar sign would start mathematics)."""
    return text.replace("$", r"\$")


def shorten(text: str, length: int = 28) -> str:
    """Return a label of at most `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@contextmanager
def drawing() -> Iterator[Any]:
    """Yield `matplotlib.figure.Figure` under the project's settings, without any global figure state."""
    import matplotlib

    # Figures are written to files only, so no display is ever needed.
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    with own_look():
        yield Figure


@contextmanager
def own_look() -> Iterator[None]:
    """Set matplotlib's defaults and the project's settings for a block, and put back what was there.

    The defaults first: a user's matplotlibrc, or a library that changes settings when it is imported (NiMARE
    does), must not change a figure.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)  # type: ignore[arg-type]
        yield


def save(figure: Figure, paths: Iterable[str | Path]) -> None:
    """Write a figure to each path (``.svg`` or ``.png``), with the same bytes for the same figure."""
    engine = figure.get_layout_engine()
    if engine is not None:
        # Laid out once for all files: it takes as long as drawing.
        with own_look():
            engine.execute(figure)
        figure.set_layout_engine("none")
    for path in paths:
        kind = Path(path).suffix.lstrip(".")
        metadata: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        with own_look(), atomic(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)


def absent(reason: str) -> Figure:
    """Return a figure that says why there is nothing to draw; its drawing has the mark `ABSENT`."""
    with drawing() as make:
        figure = make(figsize=(6.4, 1.4), layout="constrained")
        axes = figure.add_subplot()
        axes.axis("off")
        axes.text(0.5, 0.5, escape(reason), ha="center", va="center", color="#56606b", wrap=True, gid=ABSENT)
    return figure


def method_styles(methods: Sequence[str], controls: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour and dash of each method: one colour each, controls grey and told apart by dash only.

    Pass all methods of the study, so that a method has the same colour in every figure.
    """
    grey = set(controls)
    drawn = sorted(name for name in set(methods) if name not in grey)
    styles: dict[str, dict[str, Any]] = {}
    for position, name in enumerate(drawn):
        dash = DASHES[(position // len(SERIES)) % len(DASHES)]
        styles[name] = {"color": SERIES[position % len(SERIES)], "linestyle": dash, "zorder": 3}
    for position, name in enumerate(sorted(grey & set(methods))):
        dash = DASHES[1:][position % (len(DASHES) - 1)]
        styles[name] = {"color": CONTROL, "linestyle": dash, "linewidth": 1.1, "zorder": 2}
    prior = reference(styles)
    if prior in styles:
        styles[prior].update(color=INK, linestyle=(0, (4, 2)), linewidth=1.4)
    return styles


def grid_of(count: int, columns: int) -> tuple[int, int]:
    """Return rows and columns for `count` panels, at most `columns` wide."""
    across = max(1, min(count, columns))
    return int(np.ceil(count / across)), across


def hide_unused(axes: np.ndarray, used: int) -> None:
    """Switch off the panels of a grid beyond the first `used`."""
    for panel in axes.ravel()[used:]:
        panel.axis("off")


def counts(frame: pd.DataFrame) -> str:
    """Return ``n = 40 scans of 36 people`` from the largest counts in a table."""
    parts = []
    for column, noun in (("n_scans", "scans"), ("n_people", "people")):
        if column in frame and frame[column].notna().any():
            parts.append(f"{int(frame[column].max())} {noun}")
    return f"n = {' of '.join(parts)}" if parts else ""


def grey_controls(axes: Axes, methods: Sequence[str], controls: Iterable[str]) -> None:
    """Write the controls among the names of the rows in grey."""
    grey = set(controls)
    for tick, method in zip(axes.get_yticklabels(), methods, strict=True):
        tick.set_color(CONTROL if method in grey else INK)


def legend_entries(panels: Iterable[Axes], order: Sequence[str] = ()) -> tuple[list[Artist], list[str]]:
    """Return handles and names of all panels for one legend, each name once, those of `order` first."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    names = [name for name in order if name in entries] + [name for name in entries if name not in order]
    return [entries[name] for name in names], names


def note(figure: Figure, text: str) -> None:
    """Write the n and the meaning of the interval under the figure, outside every panel, in lines that fit."""
    fitting = int(LETTERS_PER_INCH * figure.get_figwidth())
    lines = [line for part in text.split("\n") for line in wrap(part, fitting, break_on_hyphens=False)]
    figure.supxlabel(escape("\n".join(lines)), fontsize=7.6, color="#56606b", x=0.01, ha="left")


def spread(values: Sequence[float], step: float) -> list[float]:
    """Return positions at least `step` apart, as close to ascending `values` as they can be (least squares).

    Labels placed there do not cover each other. Subtracting ``i * step`` turns the constraint into monotony,
    which pooling adjacent violators solves exactly.
    """
    pools: list[tuple[float, int]] = []
    for position, value in enumerate(values):
        total, size = float(value) - position * step, 1
        while pools and pools[-1][0] / pools[-1][1] > total / size:
            earlier, count = pools.pop()
            total, size = total + earlier, size + count
        pools.append((total, size))
    level = [total / size for total, size in pools for _ in range(size)]
    return [height + position * step for position, height in enumerate(level)]


def top_of(values: np.ndarray, percentile: float) -> float:
    """Return the percentile of the finite |values|, 0 where there are none.

    The percentile instead of the maximum: one bright voxel must not darken a whole map.
    """
    magnitude = np.abs(values[np.isfinite(values)])
    return float(np.percentile(magnitude, percentile)) if magnitude.size else 0.0


def reference_line(axes: Axes, value: float, text: str, *, vertical: bool = True) -> None:
    """Draw a dotted reference (chance, no gain) with its name in the legend."""
    if not np.isfinite(value):
        return
    draw = axes.axvline if vertical else axes.axhline
    draw(value, color="#66707b", linestyle=":", linewidth=1.1, label=text, zorder=1)
