"""Every image that the maps of a scan lead to, made once, measured once and shown to the model once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b

import numpy as np

from heatproof.errors import GeometryError
from heatproof.randomness import generator

from .curves import Answers
from .infills import linear, overlay, push_pull
from .published import published_infill
from .revealing import Ranking, corners, published_masks, published_start, scattered_start
from .scene import Scene
from .settings import Setting

# What gives the masks that a map reveals, shape (*S,) each, one after the other.
Reveal = Callable[[np.ndarray], Iterator[np.ndarray]]
# Voxels, channels counted, of the images that are in memory at once.
BUDGET = 2**24


@dataclass(frozen=True)
class Asked:
    """What was found out about the images of one way to make them.

    Attributes
    ----------
    information : dict of str to ndarray, shape (n_images,)
        By measure.
    scores : ndarray, shape (n_images, 2)
        Probability of the target, and whether it is the most probable class.
    rows : ndarray of int, shape (M, T)
        Image of each map and share.
    ends : tuple of int
        Fully blurred image and original.
    """

    information: dict[str, np.ndarray]
    scores: np.ndarray
    rows: np.ndarray
    ends: tuple[int, int]

    def answers(self, setting: Setting, shares: np.ndarray) -> Answers:
        """Return the answers for one setting, whose horizontal axis stands in for the information."""
        columns = np.column_stack([self.information[setting.measure], self.scores])
        blurred, original = columns[list(self.ends)]
        information, probability, correct = np.moveaxis(columns[self.rows], -1, 0)
        answers = Answers(information, probability, correct, blurred, original)
        if setting.axis == "information":
            return answers
        return replace(
            answers,
            information=np.broadcast_to(shares, self.rows.shape),
            blurred=np.append(0.0, blurred[1:]),
            original=np.append(1.0, original[1:]),
        )


@dataclass
class _Images:
    """Images without repeats, asked about as soon as a batch of their masks has come.

    Masks and orders of all maps at once would not fit for volumes, so none is kept longer than its batch.
    """

    scene: Scene
    fill: Callable[[np.ndarray], np.ndarray]
    information: dict[str, list[np.ndarray]]
    batch_size: int
    scores: list[np.ndarray] = field(default_factory=list)
    waiting: list[np.ndarray] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)

    def add(self, mask: np.ndarray) -> int:
        """Return the place of a mask's image."""
        key = blake2b(np.packbits(mask).tobytes()).digest()
        if key not in self.places:
            self.places[key] = len(self.places)
            self.waiting.append(mask)
            if len(self.waiting) == self.batch_size:
                self.ask()
        return self.places[key]

    def ask(self) -> None:
        """Make, measure and show the images that wait."""
        if not self.waiting:
            return
        images = self.fill(np.stack(self.waiting))
        self.waiting.clear()
        for measure, found in self.information.items():
            found.append(self.scene.information(measure, images))
        self.scores.append(self.scene.answer(self.scene.shown(images)))


def ask(
    scene: Scene, setting: Setting, shares: np.ndarray, measures: Collection[str], seed: int, batch_size: int | None
) -> Asked:
    """Return what is found out about every image that a setting shows.

    Parameters
    ----------
    scene : Scene
    setting : Setting
        Mode and infill count.
    shares : ndarray, shape (T,)
    measures : collection of str
        How information is measured.
    seed : int
    batch_size : int or None
        Images at once.
    """
    start, reveal = (_published if setting.mode == "pair" else _ranked)(scene, shares, seed)
    room = max(1, BUDGET // scene.image.size)
    step = room if batch_size is None else min(room, batch_size)
    images = _Images(scene, _infill(scene, setting, start), {measure: [] for measure in measures}, step)
    ends = images.add(start), images.add(np.ones(start.shape, bool))
    rows = [[images.add(mask) for mask in reveal(scene.maps[row])] for row in np.flatnonzero(scene.valid)]
    images.ask()
    return Asked(
        {measure: np.concatenate(found) for measure, found in images.information.items()},
        np.concatenate(images.scores),
        np.array(rows, int).reshape(-1, shares.size),
        ends,
    )


def _ranked(scene: Scene, shares: np.ndarray, seed: int) -> tuple[np.ndarray, Reveal]:
    """Return the mask of the blurred image, and what makes a map's masks in nd."""
    shape = scene.inside.shape
    start = scene.start
    if start is None:
        start = scattered_start(shape, generator(seed, "information", "start", shape))
    start = start | ~scene.inside | corners(shape)
    if start.all():
        raise GeometryError("nothing is hidden.", field="start", remedy="give a larger image, or a larger mask.")
    ranking = Ranking(start, generator(seed, "information", "order of equals", shape))

    def reveal(heatmap: np.ndarray) -> Iterator[np.ndarray]:
        order = ranking.order(heatmap)
        return (ranking.mask(order, share) for share in shares)

    return start, reveal


def _published(scene: Scene, shares: np.ndarray, seed: int) -> tuple[np.ndarray, Reveal]:
    """Return the mask of the blurred image, and what makes a map's masks in pair."""
    shape = scene.inside.shape
    start = scene.start
    if start is None:
        start = published_start(shape, generator(seed, "information", "published start", shape))
    # Quantiles in double precision, whatever the map's own: rounded ones would hit other pixels.
    return start, lambda heatmap: iter(published_masks(heatmap.astype(np.float64, copy=False), start, shares))


def _infill(scene: Scene, setting: Setting, start: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes images, shape (b, C, *S), from masks, shape (b, *S)."""
    if setting.mode == "pair":
        return partial(published_infill, scene.levels)
    if setting.infill == "overlay":
        return partial(overlay, scene.image, linear(scene.image, start[None]))
    return partial(push_pull if setting.infill == "push_pull" else linear, scene.image)
