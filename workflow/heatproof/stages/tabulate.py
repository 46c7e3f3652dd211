"""Stage `tabulate`: every table of a study as TSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heatproof.files import read_table, write_table
from heatproof.stages.runs import read_runs, read_text_table


def tabulate(
    study: str,
    models: Mapping[str, Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
    *,
    scores: Path,
    areas: Path,
    nulls: Path,
    probes: Path,
    curves: Path,
    spreads: Path,
    exclusions: Path,
    simulations: Path,
    predictions: Iterable[Path],
    certificates: Iterable[Path],
    intake: Path,
    volumes: Path | None,
    cohort: Path,
    settings: Sequence[str],
    simulators: Mapping[str, Mapping[str, Any]],
    seed: int,
    n_bootstrap: int,
    n_permutations: int,
    tables: Mapping[str, Path],
) -> None:
    """Write the tables that `tables` names.

    Parameters
    ----------
    study : str
        Name of the study.
    models : mapping
        The models of the configuration: name to ``recipe``, ``network`` and the like.
    methods : mapping
        The methods of the configuration.
    scores, areas, nulls, probes, curves, spreads, exclusions, simulations : Path
        Long tables of the study (Parquet).
    predictions : iterable of Path
        ``predictions.tsv`` of every run.
    certificates : iterable of Path
        ``certificate.tsv`` of every run that has one.
    intake, volumes : Path
        Tables of the cohort; a cohort without areas has no volumes.
    cohort : Path
        ``cohort.h5``, which says whether there are controls.
    settings : sequence of str
        Settings of the information curves, in the order of the configuration.
    simulators : mapping of str to mapping
        The simulators of the configuration, in order; empty where there is none.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people.
    n_permutations : int
        Permutations behind every p value.
    tables : mapping of str to Path
        Where each table goes, by its name in `heatproof.publication.tables.TABLES`.
    """
    import pandas as pd

    from heatproof.cohorts.store import CohortFacts
    from heatproof.publication.tables import Collected, build_tables

    collected = Collected(
        scores=pd.read_parquet(scores),
        areas=pd.read_parquet(areas),
        nulls=pd.read_parquet(nulls),
        predictions=read_runs(predictions, models, study),
        certificates=read_runs(certificates, models, study),
        volumes=read_table(volumes) if volumes else pd.DataFrame(),
        intake=read_text_table(intake),
        models=models,
        methods=methods,
        probes=pd.read_parquet(probes),
        curves=pd.read_parquet(curves),
        spreads=pd.read_parquet(spreads),
        unanswered=pd.read_parquet(exclusions),
        simulated=pd.read_parquet(simulations),
        has_controls=CohortFacts.read(cohort).has_controls,
        settings=tuple(settings),
        simulators=simulators,
    )
    built = build_tables(collected, seed=seed, n_bootstrap=n_bootstrap, n_permutations=n_permutations)
    for name, path in tables.items():
        write_table(built[name], path)
