"""Stage `ratings`: what the experts answered, how far they agree, and which metrics agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from heatproof.errors import HeatproofError
from heatproof.files import write_table
from heatproof.publication.rating_answers import read_answers
from heatproof.publication.rating_plan import KEY_COLUMNS
from heatproof.stages.runs import read_text_table
from heatproof.statistics.expert_metrics import expert_metrics
from heatproof.statistics.expert_ratings import rater_agreement, ratings_by_method


@dataclass(frozen=True)
class RatingTables:
    """Tables that `read_ratings` writes."""

    ratings: Path
    agreement: Path
    methods: Path
    expert_metrics: Path


def read_ratings(
    answers: Sequence[Path],
    *,
    key: Path,
    scores: Path,
    probes: Path,
    outputs: RatingTables,
    seed: int,
    n_bootstrap: int,
) -> None:
    """Read the answers of all raters and write what they say.

    Parameters
    ----------
    answers : sequence of Path
        CSV files as the rating page saves them.
    key : Path
        ``key.tsv`` of their kit.
    scores, probes : Path
        ``scores.parquet`` and ``probes.parquet`` of the study.
    outputs : RatingTables
        Every answer with its method; agreement of raters; ratings by method; metrics against experts.
    seed, n_bootstrap : int
        Root seed, and bootstrap samples of people.

    Raises
    ------
    HeatproofError
        If the key is not there, or an answer does not belong to its kit.
    """
    if not key.is_file():
        raise HeatproofError(
            "the key of the kit does not exist.",
            file=key,
            remedy="run `snakemake rating_kit` first, or put back the key of the kit that was rated.",
        )
    opened = read_text_table(key)
    for column in KEY_COLUMNS:
        if column not in opened or opened.empty:
            raise HeatproofError(
                "the key has no such column, or no row.",
                file=key,
                field=column,
                remedy="put back the key that `snakemake rating_kit` wrote.",
            )
    found = read_answers(answers, opened)
    write_table(found, outputs.ratings)
    write_table(rater_agreement(found, seed=seed, n_bootstrap=n_bootstrap), outputs.agreement)
    write_table(ratings_by_method(found, seed=seed, n_bootstrap=n_bootstrap), outputs.methods)
    tables = (pd.read_parquet(scores), pd.read_parquet(probes))
    write_table(expert_metrics(found, *tables, seed=seed, n_bootstrap=n_bootstrap), outputs.expert_metrics)
