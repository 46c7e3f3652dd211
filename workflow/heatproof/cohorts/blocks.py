"""Who is who among images: a column says it, or neighbours stand together, or no one does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from heatproof.errors import ConfigError

PARTICIPANTS = ("column", "blocks", "images")


def block_ids(groups: Iterable[Hashable], block_size: int) -> list[str]:
    """Return a name for every image so that neighbours of one group share it, where no one knows who is who.

    The images stand in the order of their files. A block never holds two groups (classes). People whose images
    lie side by side are kept together, except those who lie across the end of a block: the larger the blocks,
    the fewer.

    Parameters
    ----------
    groups : iterable
        Class of each image.
    block_size : int
        Images of a block; the last one of a group may have fewer.
    """
    seen: dict[Hashable, int] = defaultdict(int)
    numbers: dict[tuple[Hashable, int], int] = {}
    names = []
    for group in groups:
        block = (group, seen[group] // block_size)
        seen[group] += 1
        names.append(f"block-{numbers.setdefault(block, len(numbers) + 1):04d}")
    return names


def with_people(rows: Sequence[dict[str, Any]], participants: str, block_size: int) -> list[dict[str, Any]]:
    """Return the rows with a participant each: as they are, one per block of neighbours, or one per image.

    Parameters
    ----------
    rows : sequence of dict
        Lines of the participants table in the order of the files.
    participants : {"column", "blocks", "images"}
        Where the participant comes from; it is never guessed from a name.
    block_size : int
        Images of a block.

    Raises
    ------
    ConfigError
        If there is no such choice.
    """
    if participants not in PARTICIPANTS:
        raise ConfigError(
            f"'{participants}' is not known.",
            field="cohort.participants",
            remedy=f"use one of {', '.join(PARTICIPANTS)}.",
        )
    if participants == "column":
        return list(rows)
    if participants == "images":
        return [{**row, "participant_id": row["scan_id"]} for row in rows]
    blocks = block_ids([str(row["diagnosis"]) for row in rows], block_size)
    return [{**row, "participant_id": block} for row, block in zip(rows, blocks, strict=True)]


def unit_of(participants: str, block_size: int) -> str:
    """Return in words what the folds keep together."""
    return {
        "column": "patients",
        "images": "images",
        "blocks": f"blocks of {block_size} neighbouring files (no patient ids)",
    }[participants]
