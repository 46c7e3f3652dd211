"""Stage `plot`: every figure of a study as SVG and PNG, in one job, so that the imports are paid once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.errors import HeatproofError
from heatproof.figures import selection
from heatproof.figures.areas import draw_areas, draw_fingerprints, draw_gain
from heatproof.figures.catalogue import FIGURES
from heatproof.figures.curves import draw_dice_curves, draw_smoothing
from heatproof.figures.maps import draw_mean_maps
from heatproof.figures.networks import draw_performance, draw_training
from heatproof.figures.nulls import draw_nulls
from heatproof.figures.ranking import draw_ranking
from heatproof.figures.recipes import draw_recipes
from heatproof.figures.stability import draw_rank_stability
from heatproof.figures.style import save
from heatproof.figures.volumes import draw_volume_relevance
from heatproof.geometry import Grid
from heatproof.stages.runs import read_runs, read_text_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Pairs = list[tuple[str, str]]
# The population of the group scores in the tables first.
POPULATIONS = ("patients", "all", "true_positives")
RECTIFICATIONS = ("abs_after", "abs_before", "signed")
COMPARED_METHODS = 5


@dataclass(frozen=True)
class PlotInputs:
    """Where everything lies that the figures of one study show.

    Attributes
    ----------
    study : str
        Name of the study.
    models : mapping
        The models of the configuration, in order.
    tables : mapping of str to Path
        Tables by name.
    areas : Path
        ``areas.parquet``.
    cohort : Path
        ``cohort.h5``: grid, mask, template.
    volumes, participants : Path
        Tables of the cohort; a cohort without areas has no volumes.
    truths : mapping of str to Path
        Truth files by name.
    group_maps, histories, predictions : sequence of Path
        Of every model and method, or of every run.
    metric : str
        Headline metric; empty: chosen by rule.
    """

    study: str
    models: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Path]
    areas: Path
    cohort: Path
    participants: Path
    volumes: Path | None
    truths: Mapping[str, Path]
    group_maps: Iterable[Path]
    histories: Iterable[Path]
    predictions: Iterable[Path]
    metric: str = ""


def plot(inputs: PlotInputs, figures: Mapping[str, Iterable[Path]]) -> None:
    """Draw each figure that `figures` names and write it to its paths (``.svg``, ``.png``).

    Raises
    ------
    HeatproofError
        If a figure is not in the catalogue.
    """
    study = _Study(inputs)
    for name, paths in figures.items():
        if name not in FIGURES:
            raise HeatproofError("there is no such figure.", field=name, remedy=f"choose among {', '.join(FIGURES)}.")
        save(DRAWN[name](study), paths)


class _Study:
    """The tables and maps of one study, each read when the first figure needs it."""

    def __init__(self, inputs: PlotInputs) -> None:
        self.inputs = inputs
        self._tables: dict[str, pd.DataFrame] = {}

    def table(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            self._tables[name] = read_text_table(self.inputs.tables[name])
        return self._tables[name]

    @cached_property
    def controls(self) -> set[str]:
        return selection.controls_of(self.table("ranking"))

    @cached_property
    def pairs(self) -> Pairs:
        """Every method once, from the first corrected model that has it; best first."""
        ranking = self.table("ranking")
        if ranking.empty:
            return []
        view = selection.headline_view(ranking, self.inputs.metric)
        models = selection.models_of(ranking, list(self.inputs.models))
        place = {name: i for i, name in enumerate(selection.method_order(ranking, view))}
        return sorted(selection.representatives(ranking, models), key=lambda pair: place[pair[1]])

    @property
    def compared(self) -> Pairs:
        """The best methods and one control, for figures with one panel per method."""
        methods = [pair for pair in self.pairs if pair[1] not in self.controls]
        controls = [pair for pair in self.pairs if pair[1] in self.controls]
        return methods[:COMPARED_METHODS] + controls[:1]

    @cached_property
    def areas(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.inputs.areas)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        return read_runs(self.inputs.predictions, self.inputs.models, self.inputs.study)

    @cached_property
    def group_maps(self) -> dict[tuple[str, str], Path]:
        """Group files by (model, method): ``{model}/pooled/{method}/group.h5``."""
        paths = [Path(path) for path in self.inputs.group_maps]
        return {(path.parents[2].name, path.parent.name): path for path in paths}


def _mean_maps(study: _Study) -> Figure:
    maps: dict[str, np.ndarray] = {}
    populations = set()
    for pair in study.pairs:
        if pair in study.group_maps:
            with h5py.File(study.group_maps[pair], "r") as handle:
                name = _key(handle.get("maps", {}))
                if name:
                    values = handle["maps"][name][:]
                    maps[pair[1]] = values
                    populations.add(name.split("/")[0])
    with h5py.File(study.inputs.cohort, "r") as handle:
        mask = handle["mask"][:].astype(bool)
        template = handle["template"][:] if "template" in handle else None
        spacing = tuple(float(step) for step in handle.attrs["spacing"])
        grid = Grid(mask.shape, handle.attrs.get("affine"), spacing, str(handle.attrs["units"]))
    ranking = study.table("ranking")
    truth_name = selection.headline_view(ranking, study.inputs.metric).truth if len(ranking) else ""
    return draw_mean_maps(
        maps, template, _truth_mask(study, truth_name), mask, grid, controls=sorted(study.controls),
        truth_name=truth_name, population=", ".join(sorted(populations)),
    )  # fmt: skip


def _key(group: Any) -> str:
    """Return ``population/rectification`` of the plainest entry of a group file, or empty text."""
    for population in POPULATIONS:
        for rectify in RECTIFICATIONS:
            if f"{population}/{rectify}" in group:
                return f"{population}/{rectify}"
    return ""


def _truth_mask(study: _Study, name: str) -> np.ndarray | None:
    if name not in study.inputs.truths:
        return None
    with h5py.File(study.inputs.truths[name], "r") as handle:
        return handle["mask"][:].astype(bool)


def _dice_curves(study: _Study) -> Figure:
    curves: dict[tuple[str, str], np.ndarray] = {}
    for pair in study.pairs:
        if pair in study.group_maps:
            with h5py.File(study.group_maps[pair], "r") as handle:
                for truth, group in handle.get("curves", {}).items():
                    name = _key(group)
                    if name:
                        curves[truth, pair[1]] = group[name][:]
    return draw_dice_curves(curves, [method for _, method in study.pairs], study.controls)


def _volume_relevance(study: _Study) -> Figure:
    import pandas as pd

    from heatproof.files import read_table

    table = study.table("volume_relevance")
    chosen = _area_to_show(table)
    if study.inputs.volumes is None or not chosen:
        return draw_volume_relevance(pd.DataFrame(), table, [], "")
    rows = table[table["name"] == chosen]
    volumes = read_table(study.inputs.volumes)
    people = read_table(study.inputs.participants, ("scan_id", "participant_id", "target"))
    areas = study.areas[study.areas["area"].isin(rows["area"].unique())]
    points = areas[["model", "method", "seed", "scan_id", "area", "sum"]].merge(
        volumes[["scan_id", "area", "volume_mm3"]], on=["scan_id", "area"]
    )
    points = points.merge(people[["scan_id", "participant_id", "target"]], on="scan_id")
    keys = ["model", "method", "participant_id", "target"]
    # Rescans and seeds are no further people: their mean is one point, as in the table.
    points = points.groupby(keys, as_index=False)[["volume_mm3", "sum"]].mean()
    return draw_volume_relevance(points, rows, study.compared, chosen)


def _area_to_show(table: pd.DataFrame) -> str:
    """Return the hippocampus where the table has it, else its first area."""
    names = table["name"].drop_duplicates().tolist() if len(table) else []
    hippocampi = [name for name in names if "hippocamp" in name.lower() and "para" not in name.lower()]
    return next(iter(hippocampi or names), "")


def _fingerprints(study: _Study) -> Figure:
    methods = [pair for pair in study.pairs if pair[1] not in study.controls][:2]
    backprop = [pair for pair in study.pairs if pair[1] == "guided_backprop"]
    return draw_fingerprints(study.areas, list(dict.fromkeys(methods + backprop)))


DRAWN: dict[str, Callable[[_Study], Figure]] = {
    "ranking": lambda s: draw_ranking(s.table("ranking"), list(s.inputs.models), s.inputs.metric),
    "mean_maps": _mean_maps,
    "dice_curves": _dice_curves,
    "smoothing": lambda s: draw_smoothing(s.table("ranking"), s.pairs, s.controls, s.inputs.metric),
    "areas": lambda s: draw_areas(s.table("area_relevance"), s.compared),
    "gain": lambda s: draw_gain(s.table("gain"), s.compared),
    "volume_relevance": _volume_relevance,
    "fingerprints": _fingerprints,
    "rank_stability": lambda s: draw_rank_stability(s.table("rank_stability"), s.controls),
    "training": lambda s: draw_training(
        read_runs(s.inputs.histories, s.inputs.models, s.inputs.study), list(s.inputs.models)
    ),
    "performance": lambda s: draw_performance(s.predictions, s.table("performance"), list(s.inputs.models)),
    "nulls": lambda s: draw_nulls(s.table("nulls"), s.pairs, sorted(s.controls)),
    "recipes": lambda s: draw_recipes(s.table("recipes"), [method for _, method in s.pairs], s.controls),
}
