"""What experts rate and in which order: scans and methods shuffled by seed, and the key that tells them apart later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING

from heatproof.figures.style import label
from heatproof.randomness import generator

if TYPE_CHECKING:
    import pandas as pd

KEY_COLUMNS = (
    "kit_id", "n_ratings", "item", "panel", "repeats", "model", "fold", "seed", "scan_id", "participant_id", "method",
)  # fmt: skip
# What a number is called by those who measure it; the amplitudes are named by wave and lead.
MEASURED = {
    "heart_rate": "the heart rate", "pr": "the PR interval", "qrs": "the QRS duration", "qt": "the QT interval",
}  # fmt: skip
AMPLITUDES = {"p": "the P wave", "r": "the R wave", "t": "the T wave", "j": "the J point"}


@dataclass(frozen=True)
class PlannedItem:
    """One scan with the heatmaps of one model, as a rater meets it.

    Attributes
    ----------
    number : int
        Its place in the kit, from 1.
    model, scan_id : str
        Whose heatmaps of which scan.
    methods : tuple of str
        In the order of the panels.
    repeats : int
        The item that shows the same scan and model earlier; 0 for none.
    """

    number: int
    model: str
    scan_id: str
    methods: tuple[str, ...]
    repeats: int = 0


def panel_name(position: int) -> str:
    """Return A, B ... Z, AA, AB ... for the panels 0, 1 ... of an item."""
    letters, rest = "", position + 1
    while rest:
        rest, letter = divmod(rest - 1, len(ascii_uppercase))
        letters = ascii_uppercase[letter] + letters
    return letters


def measuring(output: str) -> str:
    """Return the task of measuring a number of the participants table: ``r_v5`` is the R wave's amplitude in V5."""
    wave, _, lead = output.partition("_")
    if output not in MEASURED and wave in AMPLITUDES and lead:
        return f"measure the amplitude of {AMPLITUDES[wave]} in {label(lead)}"
    return f"measure {MEASURED.get(output, label(output))}"


def plan_items(
    scans: Mapping[str, Sequence[str]], methods: Mapping[str, Sequence[str]], n_repeats: int, seed: int
) -> list[PlannedItem]:
    """Return the items of a kit in the order of the raters, who all meet the same.

    Parameters
    ----------
    scans : mapping of str to sequence of str
        Rated scans of each model.
    methods : mapping of str to sequence of str
        Rated methods of each model.
    n_repeats : int
        Items that come again: the first of the kit, somewhere in its second half, with their methods shuffled anew.
    seed : int
        Root seed of the study.
    """
    pairs = [(model, scan_id) for model in scans for scan_id in scans[model]]
    once = [pairs[place] for place in generator(seed, "rating kit", "order").permutation(len(pairs))]
    # One item at least lies between an item and its repetition, unless all of them are repeated.
    first = min(len(once), max((len(once) + 1) // 2, n_repeats + 1))
    late = once[first:] + once[:n_repeats]
    late = [late[place] for place in generator(seed, "rating kit", "repeats").permutation(len(late))]
    items: list[PlannedItem] = []
    numbers: dict[tuple[str, str], int] = {}
    for number, (model, scan_id) in enumerate(once[:first] + late, start=1):
        earlier = numbers.setdefault((model, scan_id), number)
        repeats = earlier if earlier < number else 0
        order = generator(seed, "rating kit", "methods", model, scan_id, bool(repeats)).permutation(len(methods[model]))
        shuffled = tuple(methods[model][place] for place in order)
        items.append(PlannedItem(number, model, scan_id, shuffled, repeats))
    return items


def key_table(
    items: Sequence[PlannedItem], participants: Mapping[str, str], kit_id: str, n_ratings: int, fold: int, seed: int
) -> pd.DataFrame:
    """Return ``key.tsv``: which method every panel of every item shows.

    Parameters
    ----------
    items : sequence of PlannedItem
        The kit.
    participants : mapping of str to str
        Whose scan each is.
    kit_id : str
        Which kit it opens.
    n_ratings : int
        Length of the scale.
    fold, seed : int
        The run whose maps are shown.
    """
    import pandas as pd

    rows = [
        (kit_id, n_ratings, item.number, panel_name(place), item.repeats, item.model, fold, seed, item.scan_id,
         participants[item.scan_id], method)
        for item in items
        for place, method in enumerate(item.methods)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(KEY_COLUMNS))
