"""Headline statements of the papers, each turned into a test on our tables, under both recipes.

A verdict says what these data and networks show, not whether a paper was right about its own. A claim whose methods or
metrics a study does not have is not testable there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable here"
COLUMNS = ("claim", "source", "statement", "test", "published", "recipe", "verdict", "effect")
BRIMA = "Brima & Atemkeng, BioData Mining 2024;17:18"
CLASS_ACTIVATION = (
    "gradcam", "gradcam_plus_plus", "scorecam", "hirescam", "layercam", "xgradcam", "eigencam", "ablationcam",
)  # fmt: skip
LOCALISATION = ("mass_accuracy", "rank_accuracy", "pointing_game")
# Two orders that agree less than this put the methods in different places.
SAME_ORDER = 0.7
# A map that keeps this rank correlation with itself after the weights were drawn anew shows the image, not the network.
INSENSITIVE = 0.5


@dataclass(frozen=True)
class Evidence:
    """What a claim is judged on: the tables of one study, cut to one recipe.

    Attributes
    ----------
    tables : mapping of str to DataFrame
        ``faithfulness``, ``ranking``, ``metric_agreement``, ``median_curves`` and ``sanity``.
    methods : mapping of str to str
        Id of each configured method to its registered name.
    recipe : str
        ``as_published`` or ``corrected``.
    """

    tables: Mapping[str, pd.DataFrame]
    methods: Mapping[str, str]
    recipe: str

    def faithfulness(self, metric: str) -> pd.DataFrame:
        """Return the rows of a probe metric with the column ``name``, the method's registered name."""
        rows = self.tables["faithfulness"]
        rows = rows[(rows["recipe"] == self.recipe) & (rows["metric"] == metric)]
        return rows.assign(name=rows["method"].map(self.methods).fillna(rows["method"]))

    def localisation(self) -> pd.DataFrame:
        """Return the rows of single, unsmoothed scans against their own truth."""
        rows = self.tables["ranking"]
        chosen = (rows["recipe"] == self.recipe) & (rows["level"] == "scan") & (rows["smoothing_mm"] == 0)
        rows = rows[chosen & rows["truth"].isin(("lesions", "injected"))]
        return rows.assign(name=rows["method"].map(self.methods).fillna(rows["method"]))

    def own_setting(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the setting that suits the recipe: the published algorithm, or ours."""
        published = rows["setting"].str.startswith("pair")
        suited = rows[published if self.recipe == "as_published" else ~published]
        return suited[suited["setting"] == suited["setting"].iloc[0]] if len(suited) else suited


Judgement = tuple[str, str]


@dataclass(frozen=True)
class Claim:
    """One headline statement.

    Attributes
    ----------
    key, source, statement : str
        Its number, the paper, and what was said, in our words.
    test : str
        What would support it here.
    published : str
        The published figure.
    judge : callable
        Evidence to (verdict, effect in words).
    """

    key: str
    source: str
    statement: str
    test: str
    published: str
    judge: Callable[[Evidence], Judgement]


def claims_table(
    tables: Mapping[str, pd.DataFrame], methods: Mapping[str, Mapping[str, Any]], recipes: tuple[str, ...]
) -> pd.DataFrame:
    """Return ``claims.tsv``: one row per recipe and claim that the study can say something about.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        The tables of the study.
    methods : mapping of str to mapping
        The methods of the configuration.
    recipes : tuple of str
        Recipes that the study's models follow.
    """
    names = {key: str(entry.get("method", key)) for key, entry in methods.items()}
    rows = []
    for claim in CLAIMS:
        about = (claim.key, claim.source, claim.statement, claim.test, claim.published)
        judged = []
        for recipe in ("as_published", "corrected"):
            verdict, effect = NOT_TESTABLE, "no network of this study follows the recipe"
            if recipe in recipes:
                verdict, effect = claim.judge(Evidence(tables, names, recipe))
            judged.append((*about, recipe, verdict, effect))
        # A study that can say nothing about a claim under either recipe does not list it.
        rows += judged if {row[-2] for row in judged} != {NOT_TESTABLE} else []
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _interval(row: pd.Series) -> str:
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]".replace("-", "−")


def _retains_best(evidence: Evidence) -> Judgement:
    """S1: are ScoreCAM and XRAI the two best by AIC, above their nulls, in the right place, by a sound metric?"""
    rows = evidence.own_setting(evidence.faithfulness("aic"))
    trained = rows[~rows["is_control"].astype(bool) & rows["mean"].notna()]
    leaders = trained[trained["name"].isin(("scorecam", "xrai"))]
    if leaders["name"].nunique() < 2 or trained["name"].nunique() < 3:
        return NOT_TESTABLE, "no AIC of ScoreCAM, XRAI and others"
    order = trained["mean"].rank(ascending=False, method="min")
    effect = "; ".join(
        f"{row['name']} AIC {_interval(row)}, rank {order[place]:.0f} of {len(trained)}"
        for place, row in leaders.iterrows()
    )
    if evidence.recipe == "as_published":
        effect = f"{effect}; {_median_areas(evidence, leaders)}"
    beaten = [(trained["low"] > row["high"]).sum() >= 2 for _, row in leaders.iterrows()]
    if any(beaten) or (leaders["difference_high"] < 0).any():
        return CONTRADICTED, effect
    if not _sound(evidence, "aic", str(leaders["setting"].iloc[0])):
        return UNDECIDED, f"{effect}; but a constant network tells maps apart by this AIC"
    placed = evidence.localisation()
    placed = placed[placed["metric"].eq("rank_accuracy") & ~placed["is_control"].astype(bool)]
    upper = placed.loc[placed["mean"] >= placed["mean"].median(), "name"]
    first = set(trained.loc[order <= 2, "name"]) == {"scorecam", "xrai"}
    if first and (leaders["difference_low"] > 0).all() and set(leaders["name"]) <= set(upper):
        return SUPPORTED, effect
    return UNDECIDED, effect


def _median_areas(evidence: Evidence, rows: pd.DataFrame) -> str:
    """Return the areas under the median curves of some methods, which is what the paper reports."""
    curves = evidence.tables["median_curves"]
    same = (curves["recipe"] == evidence.recipe) & (curves["metric"] == "aic")
    same &= curves["setting"] == str(rows["setting"].iloc[0])
    areas = curves[same].groupby("method")["median_curve_area"].mean()
    named = [f"{row['name']} {areas[row['method']]:.3f}" for _, row in rows.iterrows() if row["method"] in areas]
    others = areas.drop(list(rows["method"]), errors="ignore")
    highest = f"; highest other {others.idxmax()} {others.max():.3f}" if len(others) else ""
    return f"area under the median curve: {', '.join(named) or 'none'}{highest}"


def _sound(evidence: Evidence, metric: str, setting: str) -> bool:
    sanity = evidence.tables["sanity"]
    rows = sanity[(sanity["metric"] == metric) & (sanity["setting"] == setting) & (sanity["recipe"] == evidence.recipe)]
    rows = rows[rows["check"].astype(str).str.startswith("constant")]
    return bool(rows["passed"].astype(str).str.lower().isin(("true", "1", "1.0")).all())


def _random_beats(evidence: Evidence) -> Judgement:
    """S2: does random noise beat a trained method by SIC, whatever the infill and the axis?"""
    rows = evidence.faithfulness("sic")
    beaten, clear, words = [], [], []
    for setting, part in rows.groupby("setting", sort=True):
        noise = part[part["name"] == "random_noise"]
        trained = part[~part["is_control"].astype(bool) & part["mean"].notna()]
        if noise.empty or trained.empty or noise["mean"].isna().all():
            continue
        under = trained[trained["high"] < float(noise["low"].iloc[0])]
        beaten.append(len(under) > 0)
        clear.append(bool((trained["low"] > float(noise["high"].iloc[0])).all()))
        words.append(f"{setting}: random {_interval(noise.iloc[0])}, above {len(under)} of {len(trained)}")
    if not beaten:
        return NOT_TESTABLE, "no SIC of random noise beside trained methods"
    verdict = SUPPORTED if all(beaten) else CONTRADICTED if not any(beaten) and any(clear) else UNDECIDED
    return verdict, "; ".join(words)


def _focused(evidence: Evidence) -> Judgement:
    """S3: do class-activation maps and XRAI lie on the lesion more than chance would?"""
    rows = evidence.localisation()
    rows = rows[rows["name"].isin((*CLASS_ACTIVATION, "xrai")) & rows["metric"].isin(LOCALISATION)]
    rows = rows[rows["low"].notna() & rows["chance"].notna()]
    if rows.empty:
        return NOT_TESTABLE, "no class-activation map or XRAI beside a mask"
    above, below = rows["low"] > rows["chance"], rows["high"] < rows["chance"]
    effect = f"{int(above.sum())} of {len(rows)} scores clearly above chance, {int(below.sum())} clearly below"
    if below.any():
        names = ", ".join(sorted(set(rows.loc[below, "name"])))
        return CONTRADICTED, f"{effect} ({names})"
    return (SUPPORTED if above.all() else UNDECIDED), effect


def _orders_differ(evidence: Evidence) -> Judgement:
    """S4: do information curves put the methods in another order than the masks do?"""
    rows = evidence.tables["metric_agreement"]
    rows = rows[(rows["recipe"] == evidence.recipe) & rows["is_truth"].astype(bool)]
    curve = rows["metric_a"].isin(("aic", "sic")) | rows["metric_b"].isin(("aic", "sic"))
    place = rows["metric_a"].eq("rank_accuracy") | rows["metric_b"].eq("rank_accuracy")
    rows = rows[curve & place & rows["tau"].notna()]
    if rows.empty:
        return NOT_TESTABLE, "no information curve beside a mask"
    effect = "; ".join(
        f"{_curve_of(row)}: tau {row['tau']:.2f} [{row['low']:.2f}, {row['high']:.2f}]".replace("-", "−")
        for _, row in rows.iterrows()
    )
    if (rows["high"] < SAME_ORDER).all():
        return SUPPORTED, effect
    return (CONTRADICTED if (rows["low"] > SAME_ORDER).all() else UNDECIDED), effect


def _curve_of(row: pd.Series) -> str:
    side = "a" if row["metric_a"] in ("aic", "sic") else "b"
    return f"{row[f'metric_{side}']} {row[f'setting_{side}']}".strip()


def _ignores_weights(evidence: Evidence) -> Judgement:
    """X1: does a method draw nearly the same map when the network's weights are drawn anew?"""
    rows = evidence.faithfulness("cascading_mprt")
    rows = rows[~rows["is_control"].astype(bool) & rows["mean"].notna()]
    if rows.empty:
        return NOT_TESTABLE, "no network was randomised"
    stubborn = rows[rows["low"] > INSENSITIVE]
    names = ", ".join(f"{row['method']} {_interval(row)}" for _, row in stubborn.iterrows())
    if len(stubborn):
        return SUPPORTED, f"similarity clearly above {INSENSITIVE:g}: {names}"
    most = rows.loc[rows["mean"].idxmax()]
    effect = f"most similar: {most['method']} {_interval(most)}"
    return (CONTRADICTED if (rows["high"] < INSENSITIVE).all() else UNDECIDED), effect


CLAIMS = (
    Claim(
        "S1", BRIMA, "ScoreCAM and XRAI retain the relevant regions best (AIC).",
        "both lead by AIC, above their own nulls and in the better half against the masks, by an AIC that a constant "
        "network cannot fool",
        "brain AIC .104 and .073, all others about 0", _retains_best,
    ),
    Claim(
        "S2", BRIMA, "By SIC random masks can beat established methods.",
        "random noise clearly above at least one trained method in every setting",
        "brain SIC .654 (random) against .449 to .513", _random_beats,
    ),
    Claim(
        "S3", BRIMA, "Class-activation maps and XRAI are focused on the lesion.",
        "mass and rank accuracy and pointing game clearly above chance for all of them", "qualitative", _focused,
    ),
    Claim(
        "S4", BRIMA, "Curve-based and visual rankings must be combined.",
        f"Kendall's tau between information curves and rank accuracy clearly below {SAME_ORDER:g}", "-", _orders_differ,
    ),
    Claim(
        "X1", "Adebayo et al., NeurIPS 2018", "Some methods ignore the network's weights.",
        f"rank correlation of a method's maps before and after cascading randomisation clearly above {INSENSITIVE:g}",
        "-", _ignores_weights,
    ),
)  # fmt: skip
