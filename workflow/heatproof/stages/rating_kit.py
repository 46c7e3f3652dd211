"""Stage `rating_kit`: a page on which experts rate heatmaps blindly, and the key that says later whose they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError
from heatproof.figures.rating import draw_rated, png_of, shared_cuts
from heatproof.files import atomic, sha256_of_array, write_table
from heatproof.publication.rating_page import RatingItem, render_rating_page
from heatproof.publication.rating_plan import PlannedItem, key_table, measuring, plan_items
from heatproof.randomness import generator
from heatproof.stages.probing import balanced, explained_scans

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Maps = Mapping[str, Mapping[str, h5py.File]]


@dataclass(frozen=True)
class KitJob:
    """What is rated.

    Attributes
    ----------
    study : str
        Its name.
    study_seed : int
        Root seed.
    fold, seed : int
        The run of each model whose maps are rated.
    spec : mapping
        The section `rating` of the configuration.
    """

    study: str
    study_seed: int
    fold: int
    seed: int
    spec: Mapping[str, Any]


def draw_kit(
    job: KitJob,
    *,
    cohort: Path,
    participants: Path,
    maps: Mapping[str, Mapping[str, Path]],
    page: Path,
    key: Path,
    draw: Callable[..., Figure] = draw_rated,
) -> None:
    """Write the rating page and its key.

    Parameters
    ----------
    job : KitJob
        What is rated.
    cohort, participants : Path
        The scans.
    maps : mapping of str to mapping of str to Path
        ``maps.h5`` by model and method.
    page : Path
        HTML for the raters, who may have nothing else.
    key : Path
        ``key.tsv``: the method of every panel; kept beside it under the kit's own id as well.
    draw : callable
        ``draw(image, heatmap or None, grid, leads=, cuts=)``, see `heatproof.figures.rating.draw_rated`.

    Raises
    ------
    HeatproofError
        If no scan is explained by every method of a model.
    """
    with ExitStack() as stack:
        stored = stack.enter_context(Cohort(cohort, participants))
        files = {
            model: {method: stack.enter_context(h5py.File(path, "r")) for method, path in methods.items()}
            for model, methods in maps.items()
        }
        scans = {model: rated_scans(job, stored, own, model) for model, own in files.items()}
        methods = {model: list(own) for model, own in files.items()}
        items = plan_items(scans, methods, job.spec["n_repeats"], job.study_seed)
        kit = _Kit(job, stored, files, draw)
        shown = [kit.item(item) for item in items]
        kit_id = kit.identity(items)
    people = dict(zip(stored.participants["scan_id"], stored.participants["participant_id"], strict=True))
    scale = job.spec["scale"]
    table = key_table(items, people, kit_id, len(scale), job.fold, job.seed)
    write_table(table, key)
    # Answers to this kit stay readable when another one has been drawn.
    write_table(table, key.with_name(f"{kit_id}.tsv"))
    with atomic(page) as temporary:
        temporary.write_text(render_rating_page(kit_id, shown, scale), encoding="utf-8")


def rated_scans(job: KitJob, cohort: Cohort, files: Mapping[str, h5py.File], model: str) -> list[str]:
    """Return the scans that are rated, drawn by seed: of different people first, the classes alike.

    The draw of a scan depends on the study's seed and on the scan, so models that explain the same scans have the same
    ones rated.
    """
    explained = [set(explained_scans(file)[0]) for file in files.values()]
    shared = sorted(set.intersection(*explained), key=lambda scan_id: _draw(job, scan_id))
    if not shared:
        raise HeatproofError(
            "no scan is explained by all methods that are rated.",
            field=model,
            remedy="delete the maps of this model; rule 'attribute' draws them again.",
        )
    table = cohort.participants.loc[shared]
    again = table["participant_id"].duplicated().to_numpy()
    order = [*np.flatnonzero(~again), *np.flatnonzero(again)]
    return [shared[place] for place in balanced(order, table["target"].to_numpy(), job.spec["n_scans"])]


def _draw(job: KitJob, scan_id: str) -> float:
    return float(generator(job.study_seed, "rating kit", "scan", scan_id).random())


class _Kit:
    """The items of a kit, drawn one by one, and the digest of what they show."""

    def __init__(self, job: KitJob, cohort: Cohort, files: Maps, draw: Callable[..., Figure]) -> None:
        self.job, self.cohort, self.files, self.draw = job, cohort, files, draw
        self._digests: list[str] = []
        self._drawn: dict[tuple[str, str], tuple[bytes, dict[str, bytes]]] = {}

    def item(self, item: PlannedItem) -> RatingItem:
        """Return one item with its pictures; a repeated scan has the same ones in another order."""
        pair = (item.model, item.scan_id)
        if pair not in self._drawn:
            self._drawn[pair] = self._pictures(item)
        scan, heatmaps = self._drawn[pair]
        return RatingItem(item.number, self._task(item), scan, [heatmaps[method] for method in item.methods])

    def identity(self, items: list[PlannedItem]) -> str:
        """Return the kit's id: another one for another order, scale, scan or map, but not for another drawing."""
        plan = [[item.number, item.model, item.scan_id, item.methods] for item in items]
        text = json.dumps([self.job.study, plan, self.job.spec["scale"], self._digests])
        # The word keeps spreadsheets from reading a number.
        return f"kit-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _pictures(self, item: PlannedItem) -> tuple[bytes, dict[str, bytes]]:
        facts, scan = self.cohort.facts, self.cohort.scan(item.scan_id)
        image = scan if facts.channel_names else scan.mean(axis=0)
        maps = {}
        # In an order that the shuffling does not change, because the digests follow it.
        for method in sorted(item.methods):
            file = self.files[item.model][method]
            place = explained_scans(file)[0].index(item.scan_id)
            maps[method] = facts.places(file["maps"][place])
        cuts = shared_cuts(maps.values(), facts.grid)
        self._digests += [sha256_of_array(each) for each in (image, *maps.values())]

        def drawn(heatmap: np.ndarray | None) -> bytes:
            return png_of(self.draw(image, heatmap, facts.grid, leads=facts.channel_names, cuts=cuts))

        return drawn(None), {method: drawn(heatmap) for method, heatmap in maps.items()}

    def _task(self, item: PlannedItem) -> str:
        """Return what the expert would do: as configured, measure the model's output, or recognise the class."""
        if item.model in self.job.spec["tasks"]:
            return str(self.job.spec["tasks"][item.model])
        file = self.files[item.model][item.methods[0]]
        output = str(file.attrs.get("output", ""))
        if output:
            return measuring(output)
        scan_ids, targets = explained_scans(file)
        return f"recognise {self.cohort.classes[targets[scan_ids.index(item.scan_id)]]}"
