"""What each table is called and how to read it; the report and Snakemake's own report share these words."""

from __future__ import annotations

# Every table that `tabulate` writes; the Snakefile reads the names, so nothing heavy is imported here.
TABLES = (
    "ranking", "comparisons", "rank_stability", "rank_summary", "concordance", "performance", "area_relevance", "gain",
    "volume_relevance", "nulls", "recipes",
    "residuals", "location", "exclusions",
)  # fmt: skip

CAPTIONS: dict[str, tuple[str, str]] = {
    "ranking": (
        "Ranking",
        "Mean score of each method with 95 % interval over people; difference to the anatomical prior is "
        "paired by person. Shown: the headline truth, and best Dice of the unsmoothed group maps.",
    ),
    "comparisons": (
        "Method against method",
        "Paired differences by person, p adjusted by Holm. Shown: the headline metric.",
    ),
    "rank_summary": (
        "Rank stability",
        "Ranks of each method over all conditions (metric, smoothing, truth, model, seed): mean, the "
        "middle 95 % of its ranks, and the share of conditions that it leads.",
    ),
    "rank_stability": (
        "Every rank",
        "Rank of each method in every single condition: level, truth, metric, model, aggregation, seed, smoothing.",
    ),
    "concordance": (
        "Agreement of the orders",
        "Kendall's W and mean tau of the methods' orders when one factor changes and all others stay "
        "(all: everything changes). 1 is full agreement.",
    ),
    "location": (
        "Relevance outside the brain and at its edge",
        "Share of absolute relevance outside the mask and in a shell at its edge, mean over scans with 95 % "
        "interval over people. Much more than chance: the contour of skull stripping may carry the decision.",
    ),
    "performance": (
        "Networks",
        "What each network can do on scans that it has not seen, with 95 % "
        "intervals over people. Shown: all folds and seeds together.",
    ),
    "area_relevance": (
        "Relevance by area",
        "Mean sum and density of relevance by area.",
    ),
    "gain": (
        "Gain by area",
        "Relevance of recognised patients over that of controls.",
    ),
    "volume_relevance": (
        "Volume and relevance",
        "Correlation of an area's volume with its relevance, p by permutation of people.",
    ),
    "nulls": (
        "Surrogate nulls",
        "Observed score against random maps of the same smoothness. Shown: no smoothing.",
    ),
    "recipes": (
        "Recipes",
        "The same network as published and corrected; difference is corrected minus as published.",
    ),
    "residuals": (
        "Completeness",
        "What the relevance leaves unexplained of the output that it promises to add up to.",
    ),
    "exclusions": (
        "Intake",
        "Scans that the intake gate noted or left out, with the reason.",
    ),
    "leakage": (
        "Leakage audit",
        "Every check of every fold: n counts offenders, passed says whether the fold is clean.",
    ),
}
