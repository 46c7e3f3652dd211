"""Every table of a study, from the long tables that the stages before have written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from heatproof.publication.claims import claims_table
from heatproof.publication.privacy import without_paths
from heatproof.publication.recipes import compare_recipes
from heatproof.publication.verdicts import beats_prior, passes
from heatproof.simulation_rows import ROW_COLUMNS

RESIDUAL = "completeness_residual"
CERTIFICATE_COLUMNS = (
    "output", "unit", "part", "n", "check", "value", "ci_low", "ci_high", "least", "most", "passes",
)  # fmt: skip
UNSCORED = ("completeness_residual", "conservation_residual")


@dataclass(frozen=True)
class Collected:
    """What `collect` and the runs have left, read into memory.

    Attributes
    ----------
    scores, areas, nulls : DataFrame
        The long tables of the study.
    predictions : DataFrame
        All ``predictions.tsv`` together, with columns study, model, recipe, fold, seed.
    volumes, intake : DataFrame
        The tables of that name.
    models : mapping
        The models of the configuration: name to ``recipe``, ``network`` and the like.
    methods : mapping
        The methods of the configuration: id to ``method`` and its parameters.
    probes, curves, spreads, unanswered : DataFrame
        What the networks were asked with the maps in hand, the information curves, how far apart constant networks put
        the maps, and the scans without an answer; empty where nothing was asked.
    certificates : DataFrame
        All ``certificate.tsv`` together, with columns model, recipe, fold and seed; empty where no network predicts a
        number.
    simulated : DataFrame
        What the simulators made of test scans (`heatproof.simulation_rows.ROW_COLUMNS`); empty without any.
    simulators : mapping
        The simulators of the configuration, in order: name to ``kind`` and settings.
    has_controls : bool
        Whether the first class of the cohort is a control.
    settings : tuple of str
        Settings of the information curves, in the order of the configuration.
    """

    scores: pd.DataFrame
    areas: pd.DataFrame
    nulls: pd.DataFrame
    predictions: pd.DataFrame
    volumes: pd.DataFrame
    intake: pd.DataFrame
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    probes: pd.DataFrame = field(default_factory=pd.DataFrame)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    spreads: pd.DataFrame = field(default_factory=pd.DataFrame)
    unanswered: pd.DataFrame = field(default_factory=pd.DataFrame)
    certificates: pd.DataFrame = field(default_factory=pd.DataFrame)
    simulated: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ROW_COLUMNS)))
    simulators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    has_controls: bool = True
    settings: tuple[str, ...] = ()


def build_tables(
    collected: Collected, *, seed: int, n_bootstrap: int = 1000, n_permutations: int = 4999
) -> dict[str, pd.DataFrame]:
    """Return every table of `captions.TABLES` by name.

    Parameters
    ----------
    collected : Collected
        The study so far.
    seed : int
        Root seed of the study; the bootstraps and permutations draw from it.
    n_bootstrap : int
        Bootstrap samples of people.
    n_permutations : int
        Permutations behind every p value.
    """
    from heatproof import statistics

    bootstrap: dict[str, Any] = {"seed": seed, "n_bootstrap": n_bootstrap}
    resampling = {**bootstrap, "n_permutations": n_permutations}
    scored = collected.scores[~collected.scores["metric"].isin(UNSCORED)]
    certificates = certified(collected.certificates)
    ranking = with_certificates(with_verdicts(statistics.ranking(scored, collected.nulls, **resampling)), certificates)
    stability = statistics.rank_stability(scored)
    performance = statistics.performance(collected.predictions, **bootstrap)
    tables = {
        "ranking": ranking,
        "comparisons": statistics.comparisons(scored, **resampling),
        "rank_stability": stability,
        "rank_summary": statistics.rank_summary(stability),
        "concordance": statistics.concordance(stability),
        "performance": performance,
        "certificates": certificates,
        "area_relevance": statistics.area_relevance(collected.areas, has_controls=collected.has_controls),
        "gain": statistics.gain(collected.areas, **bootstrap, has_controls=collected.has_controls),
        "volume_relevance": statistics.volume_relevance(collected.areas, collected.volumes, **resampling),
        "nulls": collected.nulls,
        "recipes": compare_recipes(ranking, performance, collected.models),
        "residuals": residuals(collected.scores, collected.predictions),
        "location": statistics.location(collected.scores, **bootstrap),
        "exclusions": exclusions(collected.intake),
    }
    tables |= probe_tables(collected, scored, resampling)
    tables["simulations"] = statistics.simulations(collected.simulated, list(collected.simulators), **resampling)
    tables["ablations"] = statistics.ablations(tables["simulations"], collected.simulators)
    recipes = tuple(sorted(set(scored["recipe"])))
    claims = claims_table(
        tables, collected.methods, recipes, settings=collected.settings, simulators=collected.simulators
    )
    return {**tables, "claims": claims}


def probe_tables(collected: Collected, scored: pd.DataFrame, resampling: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the tables about information curves, faithfulness and randomisation, and about those metrics themselves.

    Parameters
    ----------
    collected : Collected
        The study so far.
    scored : DataFrame
        Its scores against truths.
    resampling : mapping
        seed, n_bootstrap and n_permutations.
    """
    from heatproof import statistics

    bootstrap = {key: resampling[key] for key in ("seed", "n_bootstrap")}
    return {
        "faithfulness": statistics.faithfulness(collected.probes, **resampling),
        "metric_agreement": statistics.metric_agreement(collected.probes, scored, **bootstrap),
        "truth_agreement": statistics.truth_agreement(collected.probes, scored, **bootstrap),
        "metric_reliability": statistics.metric_reliability(collected.probes, scored, **bootstrap),
        "sanity": statistics.sanity(collected.probes, collected.spreads, **bootstrap),
        "median_curves": statistics.median_curves(information(collected.curves)),
        "unanswered": unanswered(collected.unanswered),
    }


def information(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the information curves among the curves of a study."""
    return curves[curves["metric"].isin(("aic", "sic"))]


def unanswered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many scans have no answer to each question, and why; the same for every method."""
    keys = ["model", "recipe", "metric", "setting", "reason"]
    if rows.empty:
        return pd.DataFrame(columns=[*keys, "n_scans", "n_people"])
    grouped = rows.groupby(keys, sort=True)
    counted = grouped.agg(n_scans=("scan_id", "nunique"), n_people=("participant_id", "nunique"))
    return counted.reset_index()


def with_verdicts(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return `ranking` with the column ``beats_prior``: yes, no or undecided; empty for a control."""
    control = ranking["is_control"].astype(str).str.lower().eq("true")
    columns = ["difference_low", "difference_high", "p_holm"]
    decided = [beats_prior(*map(float, values)) for values in ranking[columns].to_numpy(dtype=float)]
    compared = ranking["prior_mean"].notna()
    verdicts = pd.Series(decided, index=ranking.index, dtype=object)
    return ranking.assign(beats_prior=verdicts.where(compared & ~control, ""))


def certified(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the certificates of all runs as one table, the model in front."""
    columns = [*("model", "recipe", "fold", "seed"), *CERTIFICATE_COLUMNS]
    return rows.reindex(columns=columns) if len(rows) else pd.DataFrame(columns=columns)


def with_certificates(ranking: pd.DataFrame, certificates: pd.DataFrame) -> pd.DataFrame:
    """Return `ranking` with the column ``certified``: yes, no, or empty for a network that predicts no number.

    A network is certified if every one of its runs passes every check that has a bar.
    """
    words = {model: "yes" if good else "no" for model, good in passes(certificates).items()}
    return ranking.assign(certified=ranking["model"].map(words).fillna("").astype(object))


def residuals(scores: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return how well each method's relevance adds up to what it promises to explain.

    A residual is the sum of a map minus what it has to sum to, in units of the network's output. ``output_sd`` is the
    standard deviation of the last logit (or the predicted number) over test scans, and ``median_share`` the median
    residual in that unit; a model without either has neither. ``n_scans`` counts the scans for which the method
    promises anything.
    """
    rows = scores[(scores["metric"] == RESIDUAL) & scores["value"].notna()]
    columns = [
        "model",
        "recipe",
        "method",
        "n_scans",
        "median_absolute",
        "largest_absolute",
        "output_sd",
        "median_share",
    ]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    grouped = rows.assign(value=rows["value"].abs()).groupby(["model", "recipe", "method"], sort=True)
    result = grouped.agg(
        n_scans=("scan_id", "nunique"), median_absolute=("value", "median"), largest_absolute=("value", "max")
    ).reset_index()
    result["output_sd"] = result["model"].map(_output_sd(predictions)).astype(float)
    result["median_share"] = result["median_absolute"] / result["output_sd"].where(result["output_sd"] > 0)
    return result[columns]


def _output_sd(predictions: pd.DataFrame) -> dict[str, float]:
    """Return the standard deviation of each model's last logit, or of its number, over its test scans."""
    logits = sorted((name for name in predictions.columns if name.startswith("logit_")), key=lambda n: int(n[6:]))
    outputs = [*logits[-1:], *(name for name in ("estimate",) if name in predictions)]
    if not outputs:
        return {}
    test = predictions[predictions["part"] == "test"]
    values = test[outputs[0]] if len(outputs) == 1 else test[outputs[0]].fillna(test[outputs[1]])
    return {str(model): float(rows.std()) for model, rows in values.groupby(test["model"])}


def exclusions(intake: pd.DataFrame) -> pd.DataFrame:
    """Return the scans that the gate noted or excluded, with the reason and without any path."""
    columns = ["scan_id", "action", "field", "reason"]
    rows = intake[intake["action"] != "accepted"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    text = rows.reindex(columns=[*columns, "file"]).fillna("").astype(str)
    for column in ("scan_id", "field", "reason"):
        pairs = zip(text[column], text["file"], strict=True)
        text[column] = [without_paths(value, known) for value, known in pairs]
    return text[columns].sort_values(["action", "scan_id", "field"], kind="stable").reset_index(drop=True)
