"""What each table is called and how to read it; the report and Snakemake's own report share these words."""

from __future__ import annotations

# Every table that `tabulate` writes; the Snakefile reads the names, so nothing heavy is imported here.
TABLES = (
    "ranking", "comparisons", "rank_stability", "rank_summary", "concordance", "performance", "area_relevance", "gain",
    "volume_relevance", "nulls", "recipes",
    "residuals", "location", "exclusions",
    "certificates", "claims", "faithfulness", "metric_agreement", "truth_agreement", "metric_reliability", "sanity",
    "median_curves", "unanswered", "simulations", "ablations",
)  # fmt: skip

# How the captions call what methods are compared with.
USUAL_PRIOR = "anatomical prior"

CAPTIONS: dict[str, tuple[str, str]] = {
    "ranking": (
        "Ranking",
        "Mean score of each method with 95 % interval over people; difference to the anatomical prior is "
        "paired by person. Shown: the headline truth, and best Dice of the unsmoothed group maps.",
    ),
    "claims": (
        "Claims of the papers",
        "What papers said, as tests on this study's tables, for networks trained as published and as corrected. A "
        "verdict is about these data and networks.",
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
    "certificates": (
        "Certificates",
        "Whether a network that predicts a number has learned it from where it stands: share of variance (r2) and "
        "error on scans it has not seen, its answer when that number alone is changed (slope: 1 is right), and "
        "when another one is (leakage, on average and in standard deviations: 0 is right). Checks are passed by the "
        "value, beside its interval. A heatmap of a network that fails cannot be held against the truth.",
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
    "faithfulness": (
        "Information curves, faithfulness and randomisation",
        "Mean of each method with 95 % interval over people, beside the method's own nulls (its map turned, laid out "
        "at random with the same spectrum, or taken from another person) and random noise; the difference to the nulls "
        "is paired by person. A scan counts only if every method has a value.",
    ),
    "metric_agreement": (
        "Do the metrics agree?",
        "Kendall's tau between the orders in which two metrics put the methods, with 95 % interval over people; "
        "is_truth marks pairs with a metric against the exact truth.",
    ),
    "truth_agreement": (
        "Does a metric without truth find the order of the truth?",
        "Rank correlation between the methods' means by each metric and by average precision against the truth of each "
        "scan, with 95 % interval over people: 1 is the same order. rho is Spearman's, tau Kendall's, over all methods "
        "or without controls; rho_scans is the mean within single scans. exact_rank is the place that a metric gives "
        "to the truth itself among the methods.",
    ),
    "metric_reliability": (
        "Do scans agree about the methods?",
        "Krippendorff's alpha of each metric: scans are raters, methods are what they rate. 1 is full agreement, 0 is "
        "chance.",
    ),
    "sanity": (
        "Do the metrics pass their own test?",
        "A constant network must not tell maps apart, the exact truth must beat random noise, and random noise must "
        "not beat the methods. A metric that fails cannot rank methods; where only the truth does not beat noise, the "
        "network may decide by something else than the lesion.",
    ),
    "median_curves": (
        "Information curves summed up as published",
        "Area under the median over scans of each method's curve, as the paper took it, beside the area under the mean "
        "curve, over the scans that every method has. The median of curves that are 0 or 1 is degenerate.",
    ),
    "unanswered": (
        "Scans without an answer",
        "How many scans a question could not be asked about, and why; the same for every method.",
    ),
    "simulations": (
        "Simulated scans",
        "What each simulator makes of test scans: correlation of its change and of its log-Jacobian (how much tissue a "
        "place gains) with the exact ones, what leaks into regions that must not change, whether the network and a "
        "referee, trained from another seed, answer as they were meant to. Mean with 95 % interval over people, and "
        "over runs; the difference to the reference, the first simulator, is paired by person. Shown: the full dose, "
        "removal and injection together.",
    ),
    "ablations": (
        "What the settings of simulators contribute",
        "Each simulator with the settings in which it differs from the first of its kind, and its main scores with 95 "
        "% interval over people.",
    ),
    "leakage": (
        "Leakage audit",
        "Every check of every fold: n counts offenders, passed says whether the fold is clean.",
    ),
}


def with_prior(caption: str, prior: str) -> str:
    """Return the caption of a figure or a table for a study whose methods are compared with another prior.

    Parameters
    ----------
    caption : str
        Text that says `USUAL_PRIOR`.
    prior : str
        Name of the study's own, such as ``centre prior``.
    """
    return caption.replace(USUAL_PRIOR, prior)
