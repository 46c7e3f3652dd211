"""Every image that the maps of a scan lead to, made once, measured once and shown to the model once."""

from __future__ import annotations

from collections.abc import Callable, Collection
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

Maker = Callable[[], np.ndarray]
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
class _Masks:
    """Masks without repeats. Kept is how to make each: all of them at once would not fit for volumes."""

    makers: list[Maker] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)

    def add(self, make: Maker) -> int:
        """Return the place of a mask in the list."""
        key = blake2b(np.packbits(make()).tobytes()).digest()
        if key not in self.places:
            self.places[key] = len(self.makers)
            self.makers.append(make)
        return self.places[key]


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
    masks = _Masks()
    ends = masks.add(start.copy), masks.add(partial(np.ones, start.shape, bool))
    rows = [[masks.add(make) for make in reveal(heatmap)] for heatmap in scene.maps[scene.valid]]
    fill = _infill(scene, setting, start)
    room = max(1, BUDGET // scene.image.size)
    step = room if batch_size is None else min(room, batch_size)
    information: dict[str, list[np.ndarray]] = {measure: [] for measure in measures}
    scores = []
    for first in range(0, len(masks.makers), step):
        images = fill(np.stack([make() for make in masks.makers[first : first + step]]))
        for measure, found in information.items():
            found.append(scene.information(measure, images))
        scores.append(scene.answer(scene.shown(images)))
    return Asked(
        {measure: np.concatenate(found) for measure, found in information.items()},
        np.concatenate(scores),
        np.array(rows, int).reshape(-1, shares.size),
        ends,
    )


def _ranked(scene: Scene, shares: np.ndarray, seed: int) -> tuple[np.ndarray, Callable[[np.ndarray], list[Maker]]]:
    """Return the mask of the blurred image, and what makes a map's masks in nd."""
    shape = scene.inside.shape
    start = scene.start
    if start is None:
        start = scattered_start(shape, generator(seed, "information", "start", shape))
    start = start | ~scene.inside | corners(shape)
    if start.all():
        raise GeometryError("nothing is hidden.", field="start", remedy="give a larger image, or a larger mask.")
    ranking = Ranking(start, generator(seed, "information", "order of equals", shape))

    def reveal(heatmap: np.ndarray) -> list[Maker]:
        order = ranking.order(heatmap)
        return [partial(ranking.mask, order, share) for share in shares]

    return start, reveal


def _published(scene: Scene, shares: np.ndarray, seed: int) -> tuple[np.ndarray, Callable[[np.ndarray], list[Maker]]]:
    """Return the mask of the blurred image, and what makes a map's masks in pair."""
    shape = scene.inside.shape
    start = scene.start
    if start is None:
        start = published_start(shape, generator(seed, "information", "published start", shape))
    return start, lambda heatmap: [mask.copy for mask in published_masks(heatmap, start, shares)]


def _infill(scene: Scene, setting: Setting, start: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes images, shape (b, C, *S), from masks, shape (b, *S)."""
    if setting.mode == "pair":
        return partial(published_infill, scene.levels)
    if setting.infill == "overlay":
        return partial(overlay, scene.image, linear(scene.image, start[None]))
    return partial(push_pull if setting.infill == "push_pull" else linear, scene.image)
