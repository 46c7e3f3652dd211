"""Images cut into tiles before any resizing; the mask of the lesion says what each tile is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.findings import Finding
from heatproof.cohorts.folders import shown
from heatproof.cohorts.picture_listing import Outline, PictureEntry
from heatproof.cohorts.pictures import Picture
from heatproof.errors import ConfigError, HeatproofError

Box = tuple[slice, slice]


@dataclass(frozen=True)
class TileRule:
    """Where tiles lie and which ones are used.

    Attributes
    ----------
    size, step : tuple of int
        Rows and columns of a tile, and from one tile to the next, in pixels of the file.
    parts : tuple of int, optional
        Instead of size and step: into how many rows and columns of tiles an image is cut ((1, 2): its halves).
    affected_share, clear_share : float
        A tile is affected if the lesion covers at least, unaffected if at most, this share of it.
    region_share : float, optional
        Share of a tile that the regions must cover; None asks for none.
    classes : tuple of str
        Names of the unaffected and the affected.
    """

    size: tuple[int, int]
    step: tuple[int, int]
    parts: tuple[int, int] | None
    affected_share: float
    clear_share: float
    region_share: float | None
    classes: tuple[str, str]

    @classmethod
    def of(cls, spec: Mapping[str, Any], classes: Sequence[str], *, needs_region: bool) -> TileRule:
        """Return the rule of a config entry.

        Parameters
        ----------
        spec : mapping
            ``size`` and ``step``, or ``parts``; ``affected_share``, ``clear_share``, ``region_share``.
        classes : sequence of str
            Exactly two: unaffected, affected.
        needs_region : bool
            Whether tiles must lie in the regions.

        Raises
        ------
        ConfigError
            If the keys contradict each other.
        """
        size, parts = spec.get("size"), spec.get("parts")
        affected, clear = float(spec.get("affected_share", 0.5)), float(spec.get("clear_share", 0.0))
        problem = (
            "give either size or parts"
            if (size is None) == (parts is None)
            else "clear_share must be smaller than affected_share"
            if not clear < affected
            else "tiles have two classes, unaffected and affected"
            if len(classes) != 2
            else ""
        )
        if problem:
            raise ConfigError(f"{problem}.", field="cohort.tiles", remedy="see config/README.md.")
        size = size or (1, 1)
        step = spec.get("step") or size
        return cls(
            (int(size[0]), int(size[1])),
            (int(step[0]), int(step[1])),
            None if parts is None else (int(parts[0]), int(parts[1])),
            affected,
            clear,
            float(spec.get("region_share", 0.5)) if needs_region else None,
            (str(classes[0]), str(classes[1])),
        )

    def boxes(self, shape: tuple[int, int]) -> dict[tuple[int, int], Box]:
        """Return (row, column) of each tile -> its part of an image; what is left at the far edges is not used."""
        if self.parts is not None:
            edges = [
                [length * number // n for number in range(n + 1)] for length, n in zip(shape, self.parts, strict=True)
            ]
            axes = [[slice(*pair) for pair in zip(one[:-1], one[1:], strict=True)] for one in edges]
        else:
            axes = [
                [slice(start, start + size) for start in range(0, length - size + 1, step)]
                for length, size, step in zip(shape, self.size, self.step, strict=True)
            ]
        return {(i, j): (first, second) for i, first in enumerate(axes[0]) for j, second in enumerate(axes[1])}

    def verdict(self, tile: Picture) -> tuple[str, str]:
        """Return (class, "") of a tile, or ("", why it is not used)."""
        if tile.values.size == 0 or tile.values.min() == tile.values.max():
            return "", "without contrast"
        if self.region_share is not None and _covered(tile.regions) < self.region_share:
            return "", "outside the regions"
        share = _covered(tile.lesion)
        if share >= self.affected_share:
            return self.classes[1], ""
        return (self.classes[0], "") if share <= self.clear_share else ("", "partly affected")


def cut(entries: Sequence[PictureEntry], rule: TileRule, root: Path) -> tuple[list[PictureEntry], list[Finding]]:
    """Return one entry per tile, and how many tiles of each image are not used and why.

    A tile keeps the participant of its image, so that no fold divides an image, and is named
    ``<image>_r<row>c<column>``.

    Parameters
    ----------
    entries : sequence of PictureEntry
        Whole images with masks.
    rule : TileRule
        Where tiles lie and which ones are used.
    root : Path
        Data root, for messages.
    """
    tiles: list[PictureEntry] = []
    findings: list[Finding] = []

    # Tiles of an image follow each other, so it is decoded once for all of them.
    @lru_cache(maxsize=1)
    def whole(index: int) -> Picture:
        return entries[index].read()

    for index, entry in enumerate(entries):
        scan_id, file = str(entry.row["scan_id"]), shown(root, entry.path)
        try:
            outline = entry.outline()
            picture = whole(index)
        except HeatproofError as error:
            findings.append(Finding.of_file(scan_id, file, error))
            continue
        if picture.lesion is None:
            reason = "tiles are labelled by the mask of the lesion, and there is none"
            findings.append(Finding(scan_id, file, "mask", reason, "bad", "add the mask; an empty one if all is sound"))
            continue
        boxes = rule.boxes(outline.shape)
        verdicts = {place: rule.verdict(_part(picture, box)) for place, box in boxes.items()}
        tiles += [
            _tile(entry, place, boxes[place], diagnosis, outline, partial(whole, index))
            for place, (diagnosis, _) in verdicts.items()
            if diagnosis
        ]
        unused = Counter(reason for diagnosis, reason in verdicts.values() if not diagnosis)
        if unused or not boxes:
            counts = ", ".join(f"{number} {reason}" for reason, number in sorted(unused.items()))
            text = f"{unused.total()} of {len(boxes)} tiles are not used: {counts}" if boxes else "smaller than a tile"
            findings.append(Finding(scan_id, file, "tiles", text, "left_out"))
    return tiles, findings


def _part(picture: Picture, box: Box) -> Picture:
    lesion, regions = picture.lesion, picture.regions
    return replace(
        picture,
        values=picture.values[box],
        lesion=None if lesion is None else lesion[box],
        regions=None if regions is None else regions[box],
    )


def _tile(
    entry: PictureEntry,
    place: tuple[int, int],
    box: Box,
    diagnosis: str,
    outline: Outline,
    whole: Callable[[], Picture],
) -> PictureEntry:
    image_id = str(entry.row["scan_id"])
    return PictureEntry(
        row={
            **entry.row,
            "scan_id": f"{image_id}_r{place[0]}c{place[1]}",
            "diagnosis": diagnosis,
            "image": image_id,
            **({"image_diagnosis": entry.row["diagnosis"]} if entry.row.get("diagnosis") else {}),
            "lesion_share": _covered(_part(whole(), box).lesion),
        },
        path=entry.path,
        outline=lambda: replace(outline, shape=part_shape(box), notes=[]),
        read=lambda: _part(whole(), box),
        has_mask=True,
        has_spacing=entry.has_spacing,
        is_whole=False,
    )


def _covered(inside: np.ndarray | None) -> float:
    """Return the share of a tile that is inside a mask, or inside any region."""
    return 0.0 if inside is None else float((inside > 0).mean())


def part_shape(box: Box) -> tuple[int, int]:
    """Return rows and columns of a part of an image."""
    return box[0].stop - box[0].start, box[1].stop - box[1].start
