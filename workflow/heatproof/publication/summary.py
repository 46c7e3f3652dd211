"""The first screen: which methods beat the prior, on what, how sure, and what to beware of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from heatproof.figures.selection import SMALLER_IS_BETTER, View, controls_of, headline_view, models_of, prior_of
from heatproof.figures.style import condition_label, label
from heatproof.publication.captions import CAPTIONS
from heatproof.publication.verdicts import ALPHA, above_chance, passes
from heatproof.statistics.conditions import PRIORS
from heatproof.studies import OUTPUT_TRUTHS

# Their relevance is meant to add up to what the network puts out.
COMPLETE_METHODS = frozenset(
    {"integrated_gradients", "idgi", "deeplift", "deepshap", "expected_gradients", "guided_ig", "blur_ig", "lrp"}
)
LARGE_RESIDUAL = 0.05
FEW_PEOPLE = 20
# What says how good a network is, by metric.
MEASURES = {"balanced_accuracy": "balanced accuracy", "r2": "R²"}


@dataclass(frozen=True)
class Finding:
    """One method of one model against the prior; `verdict` is yes, no or undecided."""

    method: str
    model: str
    verdict: str
    score: float
    difference: float
    low: float
    high: float
    p_holm: float
    null_p: float


@dataclass(frozen=True)
class Network:
    """What one model can do on test scans, with its interval: balanced accuracy, or the variance it predicts (r2).

    `certified` says whether it passes its certificate; None for a model without one.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    measure: str = "balanced accuracy"
    certified: bool | None = None

    @property
    def sure(self) -> bool:
        """Whether the whole interval lies above chance."""
        return above_chance(self.low, self.chance)

    @property
    def verdict(self) -> str:
        """What is to be said of it: its certificate, where it has one that it passes or fails."""
        if self.certified is not None:
            return "certified" if self.certified else "fails its certificate"
        return "above chance" if self.sure else "not clearly above chance"


@dataclass(frozen=True)
class Warned:
    """Something to know before reading on; `grave` if it can overturn the verdicts."""

    text: str
    grave: bool = False


@dataclass(frozen=True)
class Summary:
    """What the first screen says about one study; `prior` is what the methods were compared with."""

    sentence: str
    view: View | None
    findings: dict[str, list[Finding]]
    networks: list[Network]
    warnings: list[Warned] = field(default_factory=list)
    n_scans: int = 0
    n_people: int = 0
    n_seeds: int = 0
    prior: str = PRIORS[0]

    @property
    def grave(self) -> list[Warned]:
        """The warnings that can overturn the verdicts; they come before them."""
        return [warning for warning in self.warnings if warning.grave]

    @property
    def further(self) -> list[Warned]:
        """All other warnings."""
        return [warning for warning in self.warnings if not warning.grave]


def summarise(
    tables: Mapping[str, pd.DataFrame],
    leakage: pd.DataFrame,
    *,
    models: Mapping[str, Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
    n_classes: int = 2,
    metric: str = "",
) -> Summary:
    """Return the first screen of one study from its tables.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        The tables of the study.
    leakage : DataFrame
        ``leakage.tsv``.
    models, methods : mapping
        The entries of the configuration, in order.
    n_classes : int
        Classes of the networks; chance is its reciprocal.
    metric : str
        Headline metric; empty: chosen by rule.
    """
    ranking = tables["ranking"]
    networks = _networks(tables["performance"], list(models), 1 / n_classes, tables["certificates"])
    findings: dict[str, list[Finding]] = {"yes": [], "undecided": [], "no": []}
    warnings = _warnings(tables, leakage, networks, methods, metric)
    if ranking.empty:
        return Summary("No method was scored against a truth.", None, findings, networks, warnings)
    prior = prior_of(ranking)
    view = headline_view(ranking, metric)
    rows = view.rows(ranking)
    shown = models_of(rows, list(models))
    rows = rows[rows["model"].isin(shown) & rows["beats_prior"].isin(findings)]
    for line in rows.sort_values(["difference_to_prior", "method"], ascending=[False, True]).itertuples():
        findings[str(line.beats_prior)].append(
            Finding(str(line.method), str(line.model), str(line.beats_prior), line.mean, line.difference_to_prior,
                    line.difference_low, line.difference_high, line.p_holm, line.null_p)
        )  # fmt: skip
    all_rows = view.rows(ranking)
    n_people = int(all_rows["n_people"].max()) if all_rows["n_people"].notna().any() else 0
    n_scans = int(all_rows["n_scans"].max()) if all_rows["n_scans"].notna().any() else 0
    n_seeds = int(all_rows["n_seeds"].max()) if all_rows["n_seeds"].notna().any() else 0
    if not any(findings.values()):
        warnings.insert(
            0, Warned(f"No {name_of(prior)} was scored beside the methods, so no verdict is possible.", True)
        )
    if 0 < n_people < FEW_PEOPLE:
        warnings.append(Warned(f"Only {n_people} people carry the verdicts: intervals are wide and may be too narrow."))
    sentence = _sentence(findings, name_of(prior))
    return Summary(sentence, view, findings, networks, warnings, n_scans, n_people, n_seeds, prior)


def direction(view: View) -> str:
    """Return how the difference to the prior is to be read."""
    return "smaller is better" if view.metric in SMALLER_IS_BETTER else "larger is better"


def name_of(prior: str) -> str:
    """Return a prior's name inside a sentence: ``anatomical prior``."""
    return prior.replace("_", " ")


def _sentence(findings: Mapping[str, Sequence[Finding]], prior: str) -> str:
    total = sum(len(group) for group in findings.values())
    if not total:
        return f"Nothing can be said: no method was compared with the {prior}."
    yes = len(findings["yes"])
    methods = {finding.method for group in findings.values() for finding in group}
    # The same method on two networks is two findings, and the sentence says so.
    what = "heatmap methods" if len(methods) == total else "pairs of a heatmap method and a network"
    if not yes:
        return f"None of {total} {what} beats the {prior}."
    verb = "beats" if yes == 1 else "beat"
    return f"{yes} of {total} {what} {verb} the {prior}."


def _networks(
    performance: pd.DataFrame, models: Sequence[str], chance: float, certificates: pd.DataFrame
) -> list[Network]:
    if performance.empty:
        return []
    chosen = performance["metric"].isin(MEASURES) & (performance["fold"] == -1)
    rows = performance[chosen & (performance["part"] == "test")].drop_duplicates("model").set_index("model")
    found = []
    for name in models:
        if name in rows.index:
            value, low, high = (float(rows.loc[name, column]) for column in ("value", "low", "high"))
            metric = str(rows.loc[name, "metric"])
            chance_here = 0.0 if metric == "r2" else chance
            passed = passes(certificates).get(name)
            found.append(Network(name, value, low, high, chance_here, MEASURES[metric], passed))
    return found


def _warnings(
    tables: Mapping[str, pd.DataFrame],
    leakage: pd.DataFrame,
    networks: Sequence[Network],
    methods: Mapping[str, Mapping[str, Any]],
    metric: str,
) -> list[Warned]:
    weak = [network for network in networks if not network.sure]
    found = [
        Warned(f"{label(network.name)} is not clearly above chance ({network.measure} {network.value:.2f}, "
               f"interval from {network.low:.2f}): its heatmaps explain nothing that is known to work.", True)
        for network in weak
    ]  # fmt: skip
    found += _uncertified(tables["certificates"])
    return [*found, *_leaks(leakage), *_excluded(tables["exclusions"]), *_incomplete(tables["residuals"], methods),
            *_within_null(tables["ranking"], metric), *_insane(tables["sanity"]),
            *_thin_curves(tables["faithfulness"], tables["unanswered"])]  # fmt: skip


def _uncertified(certificates: pd.DataFrame) -> list[Warned]:
    """Name the networks that do not pass their certificate, with the checks that they fail."""
    failed = certificates[certificates["passes"].astype(str).str.lower().eq("false")]
    found = []
    for model, rows in failed.groupby("model", sort=True):
        checks = ", ".join(f"{row.check} {row.value:.2f}" for row in rows.drop_duplicates("check").itertuples())
        text = (
            f"{label(str(model))} fails its certificate ({checks}): its maps may be right about what it does and wrong"
        )
        found.append(Warned(f"{text} about where the number stands.", True))
    return found


def _thin_curves(faithfulness: pd.DataFrame, unanswered: pd.DataFrame) -> list[Warned]:
    """Name the information curves of corrected models that few people could be asked about."""
    if faithfulness.empty:
        return []
    chosen = (faithfulness["recipe"] == "corrected") & faithfulness["metric"].isin(("aic", "sic"))
    # A method that failed on its own does not make a question thin, and controls may have fewer scans.
    rows = faithfulness[chosen & ~faithfulness["is_control"].astype(str).str.lower().eq("true")]
    thin: dict[tuple[str, int, int], list[str]] = {}
    for (model, metric, setting), part in rows.groupby(["model", "metric", "setting"], sort=True):
        n_people = int(part["n_people"].max())
        if n_people < FEW_PEOPLE:
            n_scans = _n_unanswered(unanswered, str(model), str(metric), str(setting))
            label_of = condition_label(str(metric), str(setting))
            thin.setdefault((str(model), n_people, n_scans), []).append(label_of)
    found = []
    for (model, n_people, n_scans), names in thin.items():
        people, scans = _counted(n_people, "person", "people"), _counted(n_scans, "scan", "scans")
        why = f", because {scans} could not be asked; see “{CAPTIONS['unanswered'][0]}”" if n_scans else ""
        found.append(Warned(f"Information curves of {label(model)} rest on {people} ({'; '.join(names)}){why}."))
    return found


def _n_unanswered(unanswered: pd.DataFrame, model: str, metric: str, setting: str) -> int:
    """Return how many scans gave no answer to a question, or to none at all (no metric)."""
    if unanswered.empty:
        return 0
    asked = (unanswered["metric"] == metric) & (unanswered["setting"] == setting)
    rows = unanswered[(unanswered["model"] == model) & (asked | (unanswered["metric"] == ""))]
    return int(rows["n_scans"].sum())


def _counted(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _insane(sanity: pd.DataFrame) -> list[Warned]:
    """Name the metrics that fail a test of their own, which must not be used to rank methods."""
    if sanity.empty:
        return []
    failed = sanity[sanity["passed"].astype(str).str.lower().isin(("false", "0", "0.0"))]
    names = sorted({condition_label(str(row.metric), str(row.setting)) for row in failed.itertuples()})
    if not names:
        return []
    return [Warned(f"Metrics that failed a test of their own, so that their order of methods proves nothing: "
                   f"{', '.join(names)}; the table “{CAPTIONS['sanity'][0]}” says which test.")]  # fmt: skip


def _leaks(leakage: pd.DataFrame) -> list[Warned]:
    if leakage.empty:
        return []
    folds = leakage[leakage["fold"] >= 0].groupby("recipe")["fold"].nunique()
    failed = leakage[leakage["passed"].astype(str).str.lower().isin(("false", "0", "0.0"))]
    found = []
    for (recipe, check), rows in failed.groupby(["recipe", "check"], sort=True):
        counts = sorted({int(n) for n in rows["n"]})
        n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        where = f", {len(rows)} of {folds.get(recipe, 1)} folds" if (rows["fold"] >= 0).all() else ""
        text = f"{_failed_check(str(check))} under the recipe “{label(recipe).lower()}” (n = {n}{where})."
        found.append(Warned(text, recipe == "corrected"))
    return found


def _failed_check(check: str) -> str:
    """Return a failed check in words: ``participant train-test`` is a leak, others say what is amiss."""
    match = re.fullmatch(r"(\w+) (train|validation|test)-(train|validation|test)", check)
    if check == "normalisation fitted on test scans":
        return "Leak found: the normalisation was fitted on test scans as well"
    if match is None:
        return f"The audit of the folds failed at “{check}”"
    things = {"participant": "people", "image": "images", "family": "families"}
    return f"Leak found: the same {things.get(match[1], match[1])} in {match[2]} and {match[3]}"


def _excluded(exclusions: pd.DataFrame) -> list[Warned]:
    out = exclusions[exclusions["action"] == "excluded"] if len(exclusions) else exclusions
    n = out["scan_id"].nunique() if len(out) else 0
    if not n:
        return []
    scans = "1 scan" if n == 1 else f"{n} scans"
    return [Warned(f"{scans} did not pass the intake gate and stayed out; the table Intake gives the reasons.")]


def _incomplete(residuals: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]]) -> list[Warned]:
    promised = {name for name, spec in methods.items() if spec.get("method", name) in COMPLETE_METHODS}
    if not promised:
        return []
    known = set(residuals["method"]) if len(residuals) else set()
    found = []
    missing = sorted(promised - known)
    if missing:
        found.append(Warned(f"No completeness residual was written for {_listed(missing)}."))
    large = residuals[residuals["median_share"] > LARGE_RESIDUAL] if len(residuals) else residuals
    if len(large):
        names = _listed(sorted(set(large["method"])))
        limit = f"{LARGE_RESIDUAL:.0%} of the output's standard deviation"
        found.append(Warned(f"Relevance does not add up (median residual above {limit}) for {names}."))
    return found


def _within_null(ranking: pd.DataFrame, metric: str) -> list[Warned]:
    """Name the methods whose group map is not shown to be closer to the headline truth than its surrogates."""
    if ranking.empty:
        return []
    view = headline_view(ranking, metric)
    if view.truth in OUTPUT_TRUTHS:
        # Signals are not aligned to one another, so their group maps are not held against surrogates.
        return []
    rows = view.rows(ranking)
    # A control within the null is what a control is for.
    rows = rows[(rows["recipe"] == "corrected") & ~rows["method"].isin(controls_of(ranking))]
    inside = sorted(set(rows.loc[rows["null_p"] >= ALPHA, "method"]))
    unknown = sorted(set(rows.loc[rows["null_p"].isna(), "method"]))
    found = []
    if inside:
        found.append(
            Warned(f"Group maps no closer to the truth than smooth surrogates (p of at least .05): {_listed(inside)}.")
        )
    if unknown:
        found.append(Warned(f"Group maps not compared with surrogates by this metric: {_listed(unknown)}."))
    return found


def _listed(names: Sequence[str]) -> str:
    words = [label(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
