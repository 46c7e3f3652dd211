"""What the figures of a study are drawn from: its tables and files, each read when the first figure needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.cohorts.store import CohortFacts
from heatproof.figures import selection
from heatproof.figures.simulated import SimulatedScan
from heatproof.stages.runs import read_runs, read_text_table
from heatproof.stages.simulated import read_simulated

if TYPE_CHECKING:
    import pandas as pd

Pairs = list[tuple[str, str]]
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
    curves : Path
        ``curves.parquet``: information curves, empty where none were asked for.
    examples : iterable of Path
        ``examples.h5`` of one run per model: scans for the gallery.
    simulations : iterable of Path
        ``simulations.h5`` of one run per model with simulators: scans and what was made of them.
    seed : int
        Root seed of the study.
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
    curves: Path
    examples: Iterable[Path] = ()
    simulations: Iterable[Path] = ()
    seed: int = 0
    metric: str = ""


class StudyResults:
    """The tables and maps of one study, each read when the first figure needs it."""

    def __init__(self, inputs: PlotInputs) -> None:
        self.inputs = inputs
        self._tables: dict[str, pd.DataFrame] = {}

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by its name."""
        if name not in self._tables:
            self._tables[name] = read_text_table(self.inputs.tables[name])
        return self._tables[name]

    @cached_property
    def controls(self) -> set[str]:
        """Ids of the methods that are controls."""
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
        """Relevance by scan and area."""
        import pandas as pd

        return pd.read_parquet(self.inputs.areas)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions of all runs together."""
        return read_runs(self.inputs.predictions, self.inputs.models, self.inputs.study)

    @property
    def outputs(self) -> dict[str, str]:
        """The number that each model predicts; empty text for a classifier."""
        return {name: str(entry.get("output") or "") for name, entry in self.inputs.models.items()}

    @property
    def units(self) -> dict[str, str]:
        """Unit of the number that each model predicts, for those that do."""
        known = self.facts.outputs
        return {model: known[output] for model, output in self.outputs.items() if output in known}

    @cached_property
    def facts(self) -> CohortFacts:
        """Grid, classes, controls, leads and outputs of the cohort."""
        return CohortFacts.read(self.inputs.cohort)

    @cached_property
    def simulated(self) -> list[SimulatedScan]:
        """Scans with what the simulators made of them; none in a study without simulators."""
        return [scan for path in self.inputs.simulations for scan in read_simulated(Path(path))]

    @cached_property
    def group_maps(self) -> dict[tuple[str, str], Path]:
        """Group files by (model, method): ``{model}/pooled/{method}/group.h5``."""
        paths = [Path(path) for path in self.inputs.group_maps]
        return {(path.parents[2].name, path.parent.name): path for path in paths}
