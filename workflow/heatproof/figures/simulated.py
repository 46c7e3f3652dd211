"""What simulators made of single scans, and which scan, channel and slice of it a figure shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.gallery import cut_with_most, paint_plane, plane
from heatproof.figures.maps import Slice
from heatproof.figures.style import CONTROL, INK, VERMILION, escape, label, shorten, top_of
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Share of the |values| below the fullest colour, as in the gallery.
PERCENTILE = 99.5
MOST_SCANS, MOST_SIMULATORS = 4, 5
DIRECTIONS = {"injection": "effect injected", "removal": "effect removed"}
NUMBER_DIRECTIONS = {"injection": "to be raised", "removal": "to be lowered"}
# Blue and red that are told apart under every colour-vision deficiency.
SIGNED = "RdBu_r"
# How strong the scan is behind a map, and how fast colours fade towards zero (1: in proportion).
BEHIND, FADE = 0.3, 0.7
NONE_KEPT = "No simulated scan was kept."


@dataclass(frozen=True)
class Simulated:
    """What one simulator made of a scan.

    Attributes
    ----------
    change : ndarray, shape (n_doses, channels, *space)
        Simulated scan minus scan, at each dose.
    answers : ndarray, shape (n_doses,)
        Answer of the network to each simulated scan: log-odds of the class, or its number.
    displacement : ndarray, shape (axes, *space), optional
        Of the warp at the full dose, in voxels: the simulated scan at x is the scan at x + displacement(x).
    log_jacobian : ndarray, shape (*space,), optional
        Of the same warp: how much tissue each voxel has gained, negative where it was lost.
    """

    change: np.ndarray
    answers: np.ndarray
    displacement: np.ndarray | None = None
    log_jacobian: np.ndarray | None = None


@dataclass(frozen=True)
class SimulatedScan:
    """One scan with what every simulator made of it.

    Attributes
    ----------
    scan_id, model : str
        Scan, and the network whose answer was to change.
    diagnosis, predicted : str
        Its class, and the class (or the number) that the network gives it.
    direction : str
        ``injection`` or ``removal`` of what the network looks for.
    image : ndarray, shape (channels, *space)
        The scan.
    doses : tuple of float
        In ascending order; the last is the full dose.
    answer : float
        Of the network to the scan as it is.
    simulated : mapping of str to Simulated
        By simulator, in the order of the study.
    exact_change : ndarray, shape (channels, *space), optional
        The change that makes it a scan of the other group, where that is known.
    exact_log_jacobian, effect : ndarray, shape (*space,), optional
        Log-Jacobian of the exact change, and (bool) the regions that lose or regain tissue.
    output : str
        The number that the network predicts; empty for a classifier.
    """

    scan_id: str
    model: str
    diagnosis: str
    predicted: str
    direction: str
    image: np.ndarray
    doses: tuple[float, ...]
    answer: float
    simulated: Mapping[str, Simulated]
    exact_change: np.ndarray | None = None
    exact_log_jacobian: np.ndarray | None = None
    effect: np.ndarray | None = None
    output: str = ""

    @property
    def words(self) -> list[str]:
        """In lines: class, or number, with what the network takes the scan for, and what was to be done."""
        if self.output:
            return [f"{label(self.output)}: {self.predicted}", NUMBER_DIRECTIONS[self.direction]]
        mistaken = [f"taken for {label(self.predicted)}"] if self.predicted != self.diagnosis else []
        return [label(self.diagnosis), *mistaken, DIRECTIONS[self.direction]]

    @property
    def target(self) -> np.ndarray:
        """Where to look, shape (channels, *space): the exact change, else what the simulators changed, on average."""
        if self.exact_change is not None and self.exact_change.any():
            return np.abs(self.exact_change)
        return np.mean([np.abs(one.change[-1]) for one in self.simulated.values()], axis=0)

    @property
    def channel(self) -> int:
        """The channel with most to see."""
        return int(self.target.reshape(len(self.image), -1).sum(axis=1).argmax())


@dataclass(frozen=True)
class Window:
    """The channel of a scan that is drawn and, of a volume, the axial slice with most to see."""

    scan: SimulatedScan
    grid: Grid
    channel: int
    cut: Slice | None

    @classmethod
    def of(cls, scan: SimulatedScan, grid: Grid) -> Window:
        """Choose channel and slice by the effect, else by the change; a simulator's map never decides alone."""
        channel = scan.channel
        target = scan.target[channel] if scan.effect is None or not scan.effect.any() else scan.effect
        cut = cut_with_most(np.asarray(target, dtype=np.float32), grid) if len(grid.shape) == 3 else None
        return cls(scan, grid, channel, cut)

    def plane(self, values: np.ndarray) -> np.ndarray:
        """Return what is drawn of `values`, shape (channels, *space) or (*space,)."""
        own = values[self.channel] if values.ndim > len(self.grid.shape) else values
        return plane(own, self.grid, self.cut)


def shown_scans(scans: Sequence[SimulatedScan], most: int = MOST_SCANS) -> list[SimulatedScan]:
    """Return the first scan of every network and direction, at most `most`."""
    first: dict[tuple[str, str], SimulatedScan] = {}
    for scan in scans:
        first.setdefault((scan.model, scan.direction), scan)
    return list(first.values())[:most]


def simulators_of(scans: Sequence[SimulatedScan]) -> list[str]:
    """Return the simulators of some scans, in their order, each once."""
    return list(dict.fromkeys(name for scan in scans for name in scan.simulated))


def scan_words(window: Window, *, several: bool = False, channels: Sequence[str] = ()) -> list[str]:
    """Return in lines what is drawn of a scan: class, direction, and network, lead and slice where there are several.

    Parameters
    ----------
    window : Window
        What is drawn.
    several : bool
        Whether the figure has scans of several networks.
    channels : sequence of str
        Names of the channels, where they are leads.
    """
    lines = window.scan.words
    lines += [label(window.scan.model)] if several else []
    lines += [f"lead {channels[window.channel]}"] if channels else []
    lines += [window.cut.title] if window.cut else []
    return [escape(shorten(line, 20)) for line in lines]


def name_scan(axes: Axes, window: Window, *, several: bool, channels: Sequence[str] = ()) -> None:
    """Write `scan_words` beside a row."""
    words = "\n".join(scan_words(window, several=several, channels=channels))
    axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, color=INK)


def bare(axes: Axes) -> None:
    """Take ticks and frame from a panel with a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def empty(axes: Axes, words: str) -> None:
    """Say in a panel why it has no picture."""
    bare(axes)
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color=CONTROL, fontsize=7)


def paint_signed(axes: Axes, image: np.ndarray, values: np.ndarray, outline: np.ndarray | None) -> None:
    """Draw values over a pale image, blue below zero and red above, and write the value of the fullest colour.

    Parameters
    ----------
    axes : Axes
        Panel.
    image, values, outline : ndarray, shape (height, width)
        First row at the top; the outline runs around what is not zero.
    """
    bare(axes)
    paint_plane(axes, image, None, None, top=0, signed=True)
    # White is no change, so the scan behind is only hinted at.
    axes.images[0].set_alpha(BEHIND)
    # Of a change in few voxels the percentile is zero.
    top = top_of(values, PERCENTILE) or top_of(values, 100)
    if top > 0:
        values = np.nan_to_num(values)
        axes.imshow(values, cmap=SIGNED, vmin=-top, vmax=top, alpha=np.clip(np.abs(values) / top, 0, 1) ** FADE)
        write(axes, 0.03, 0.03, f"±{top:.2g}")
    if outline is not None and outline.any() and not outline.all():
        axes.contour(outline != 0, levels=[0.5], colors=INK, linewidths=0.6)


def write(axes: Axes, across: float, up: float, words: str, colour: str = INK, *, align: str = "left") -> None:
    """Write small words into a picture, at shares of its width and height, on a ground of their own."""
    axes.text(
        across, up, escape(words), transform=axes.transAxes, fontsize=6.5, color=colour, ha=align,
        va="bottom" if up < 0.5 else "top", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.7},
    )  # fmt: skip


def answer_words(scan: SimulatedScan, answer: float) -> str:
    """Return an answer of the network as it is written: log-odds with their sign, a number without."""
    return (f"{answer:.4g}" if scan.output else f"{answer:+.1f}").replace("-", "−")


def answer_colour(scan: SimulatedScan, answer: float) -> str:
    """Return what an answer is written in: vermilion if it moved the wrong way."""
    wrong = answer < scan.answer if scan.direction == "injection" else answer > scan.answer
    return VERMILION if wrong else INK
