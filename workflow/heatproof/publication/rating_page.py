"""The rating page: one HTML file on which an expert rates heatmaps without knowing which method drew them.

It needs no network, keeps what was answered in the browser, and saves it as CSV. What it says about a panel is the
item's number and the panel's letter; which method that is stands in the key, which is another file.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heatproof.errors import HeatproofError
from heatproof.publication.rating_answers import ANSWER_COLUMNS, CANNOT_JUDGE
from heatproof.publication.rating_plan import panel_name
from heatproof.publication.report import TEMPLATES

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that hold pixels and their size; a text, a time or a profile could tell where a picture comes from.
PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"pHYs"})


@dataclass(frozen=True)
class RatingItem:
    """One scan and its heatmaps, as the page shows them.

    Attributes
    ----------
    number : int
        Its place in the kit, from 1.
    task : str
        What the expert would do with the scan, to end "what you would look at to".
    scan : bytes
        PNG of the scan alone.
    heatmaps : sequence of bytes
        PNG of each heatmap on the scan, in the order of the panels.
    """

    number: int
    task: str
    scan: bytes
    heatmaps: Sequence[bytes]


def render_rating_page(kit_id: str, items: Sequence[RatingItem], scale: Sequence[str]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    kit_id : str
        Which kit the answers belong to.
    items : sequence of RatingItem
        In the order of the raters.
    scale : sequence of str
        Words for the ratings, the worst first.

    Raises
    ------
    HeatproofError
        If a picture says more than its pixels.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.j2"], default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ours = {
        name: Markup((TEMPLATES / f"rating.{kind}").read_text(encoding="utf-8"))  # noqa: S704
        for name, kind in (("style", "css"), ("script", "js"))
    }
    return environment.get_template("rating.html.j2").render(
        kit=_described(kit_id, items, scale), pictures=[_pictures(item) for item in items], scale=scale, **ours
    )


def _described(kit_id: str, items: Sequence[RatingItem], scale: Sequence[str]) -> dict[str, Any]:
    """Return what the script of the page has to know."""
    shown = [
        {"item": item.number, "task": item.task, "panels": [panel_name(i) for i in range(len(item.heatmaps))]}
        for item in items
    ]
    return {
        "kit_id": kit_id, "scale": list(scale), "items": shown, "columns": list(ANSWER_COLUMNS),
        "cannot_judge": CANNOT_JUDGE,
    }  # fmt: skip


def _pictures(item: RatingItem) -> dict[str, Any]:
    return {
        "item": item.number,
        "scan": _source(item.scan, item.number),
        "panels": [_source(png, item.number) for png in item.heatmaps],
    }


def _source(png: bytes, number: int) -> str:
    for kind in png_chunks(png):
        if kind not in PIXEL_CHUNKS:
            raise HeatproofError(
                f"a picture holds a '{kind.decode('ascii', 'replace')}' chunk, which may tell where it comes from.",
                field=f"item {number}",
                remedy="write pictures without metadata.",
            )
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def png_chunks(png: bytes) -> list[bytes]:
    """Return the kinds of the chunks of a PNG, in order.

    Raises
    ------
    ValueError
        If the bytes are no PNG.
    """
    if not png.startswith(PNG_SIGNATURE):
        raise ValueError("not a PNG")
    kinds, place = [], len(PNG_SIGNATURE)
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        kinds.append(kind)
        # Length, kind and checksum are twelve bytes.
        place += length + 12
    return kinds
