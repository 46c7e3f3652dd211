"""Headline statements about the heatmaps of a network of classes: information curves, places, insensitivity."""

from __future__ import annotations

import pandas as pd

from heatproof.publication.evidence import Evidence
from heatproof.publication.target_claims import (
    CONTRADICTED,
    NOT_TESTABLE,
    RELIABLE,
    SAME_ORDER,
    SUPPORTED,
    UNDECIDED,
    Judged,
    agreed,
)
from heatproof.statistics.conditions import INPUT_WEIGHTED

CLASS_ACTIVATION = (
    "gradcam", "gradcam_plus_plus", "scorecam", "hirescam", "layercam", "xgradcam", "eigencam", "ablationcam",
)  # fmt: skip
LESION_TRUTHS = ("lesions", "injected")
LOCALISATION = ("mass_accuracy", "rank_accuracy", "pointing_game")
# A map that keeps this rank correlation with itself after the weights were drawn anew shows the image, not the network.
INSENSITIVE = 0.5


def _interval(row: pd.Series) -> str:
    """Return a mean with its interval, or without one where too few people have none."""
    bounds = f" [{row['low']:.3f}, {row['high']:.3f}]" if pd.notna(row["low"]) else " (no interval)"
    return f"{row['mean']:.3f}{bounds}".replace("-", "−")


def retains_best(evidence: Evidence) -> Judged:
    """S1: are ScoreCAM and XRAI the two best by AIC, above their nulls, in the right place, by a sound metric?"""
    rows = evidence.own_setting(evidence.faithfulness("aic"))
    trained = rows[~rows["is_control"].astype(bool) & rows["mean"].notna()]
    leaders = trained[trained["name"].isin(("scorecam", "xrai"))]
    if leaders["name"].nunique() < 2 or trained["name"].nunique() < 3:
        return NOT_TESTABLE, "no AIC of ScoreCAM, XRAI and others"
    order = trained["mean"].rank(ascending=False, method="min")
    setting = str(leaders["setting"].iloc[0])
    words = [
        f"{row['name']} AIC {_interval(row)}, rank {order[place]:.0f} of {len(trained)}"
        for place, row in leaders.iterrows()
    ]
    effect = f"{setting}: {'; '.join(words)}"
    if evidence.recipe == "as_published":
        effect = f"{effect}; {_median_areas(evidence, leaders)}"
    beaten = [(trained["low"] > row["high"]).sum() >= 2 for _, row in leaders.iterrows()]
    if any(beaten) or (leaders["difference_high"] < 0).any():
        return CONTRADICTED, effect
    if not _sound(evidence, "aic", setting):
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
    curves = evidence.table("median_curves")
    same = (curves["metric"] == "aic") & (curves["setting"] == str(rows["setting"].iloc[0]))
    areas = curves[same].set_index("method")["median_curve_area"]
    named = [f"{row['name']} {areas[row['method']]:.3f}" for _, row in rows.iterrows() if row["method"] in areas]
    others = areas.drop(list(rows["method"]), errors="ignore")
    highest = f"; highest other {others.idxmax()} {others.max():.3f}" if len(others) else ""
    return f"area under the median curve: {', '.join(named) or 'none'}{highest}"


def _sound(evidence: Evidence, metric: str, setting: str) -> bool:
    rows = evidence.table("sanity")
    rows = rows[(rows["metric"] == metric) & (rows["setting"] == setting)]
    rows = rows[rows["check"].astype(str).str.startswith("constant")]
    return bool(rows["passed"].astype(str).str.lower().isin(("true", "1", "1.0")).all())


def random_beats(evidence: Evidence) -> Judged:
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


def focused(evidence: Evidence) -> Judged:
    """S3: do class-activation maps and XRAI lie on the lesion more than chance would?"""
    rows = evidence.localisation()
    rows = rows[rows["truth"].isin(LESION_TRUTHS) & rows["metric"].isin(LOCALISATION)]
    rows = rows[rows["name"].isin((*CLASS_ACTIVATION, "xrai"))]
    rows = rows[rows["low"].notna() & rows["chance"].notna()]
    if rows.empty:
        return NOT_TESTABLE, "no class-activation map or XRAI beside a mask"
    above = rows["low"] > rows["chance"]
    # A pointing game that misses on every scan has the interval [0, 0], however few scans there are.
    below = (rows["high"] < rows["chance"]) & rows["metric"].ne("pointing_game")
    effect = f"{int(above.sum())} of {len(rows)} scores clearly above chance, {int(below.sum())} clearly below"
    if below.any():
        names = ", ".join(sorted(set(rows.loc[below, "name"])))
        return CONTRADICTED, f"{effect} ({names})"
    return (SUPPORTED if above.all() else UNDECIDED), effect


def orders_differ(evidence: Evidence) -> Judged:
    """S4: do information curves put the methods in another order than the masks do?"""
    rows = evidence.table("metric_agreement")
    rows = rows[rows["is_truth"].astype(bool)]
    curve = rows["metric_a"].isin(("aic", "sic")) | rows["metric_b"].isin(("aic", "sic"))
    place = rows["metric_a"].eq("rank_accuracy") | rows["metric_b"].eq("rank_accuracy")
    rows = rows[curve & place & rows["tau_methods"].notna()]
    if rows.empty:
        return NOT_TESTABLE, "no information curve beside a mask"
    verdicts, words = [], []
    for _, row in rows.iterrows():
        low, high = row["tau_methods_low"], row["tau_methods_high"]
        reliability = [evidence.reliability(row[f"metric_{side}"], row[f"setting_{side}"]) for side in "ab"]
        # Noise alone makes two orders differ.
        sure = all(value > RELIABLE for value in reliability)
        verdict = SUPPORTED if high < SAME_ORDER else CONTRADICTED if low > SAME_ORDER else UNDECIDED
        verdicts.append(verdict if sure else UNDECIDED)
        bounds = f" [{low:.2f}, {high:.2f}]" if pd.notna(low) else " (no interval)"
        tau = f"tau {row['tau_methods']:.2f}{bounds}".replace("-", "−")
        least = f"least reliability {min(reliability):.2f}"
        words.append(f"{_curve_of(row)}: {tau}, {least}")
    return agreed(verdicts), "; ".join(words)


def _curve_of(row: pd.Series) -> str:
    side = "a" if row["metric_a"] in ("aic", "sic") else "b"
    return f"{row[f'metric_{side}']} {row[f'setting_{side}']}".strip()


def ignores_weights(evidence: Evidence) -> Judged:
    """X1: does a method draw nearly the same map when the network's weights are drawn anew?"""
    rows = evidence.faithfulness("cascading_mprt")
    rows = rows[~rows["is_control"].astype(bool) & rows["mean"].notna()]
    if rows.empty:
        return NOT_TESTABLE, "no network was randomised"
    aside = rows["name"].isin(INPUT_WEIGHTED)
    note = f"; left aside, as they multiply by the scan: {int(aside.sum())}" if aside.any() else ""
    rows = rows[~aside]
    if rows.empty:
        return NOT_TESTABLE, f"no method without the scan as a factor was randomised{note}"
    stubborn = rows[rows["low"] > INSENSITIVE]
    names = ", ".join(f"{row['method']} {_interval(row)}" for _, row in stubborn.iterrows())
    if len(stubborn):
        return SUPPORTED, f"similarity clearly above {INSENSITIVE:g}: {names}{note}"
    most = rows.loc[rows["mean"].idxmax()]
    verdict = CONTRADICTED if (rows["high"] < INSENSITIVE).all() else UNDECIDED
    return verdict, f"most similar: {most['method']} {_interval(most)}{note}"
