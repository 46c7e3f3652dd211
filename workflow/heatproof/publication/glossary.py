"""The words of the report: what each metric measures, which way is better, and what a map without knowledge scores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One metric: its meaning, the better direction and the level of a map that knows nothing."""

    meaning: str
    better: str
    chance: str


GLOSSARY: dict[str, Term] = {
    "max_dice": Term(
        "Overlap, 2|A∩B| / (|A|+|B|), of the thresholded map with the truth, at the best of all "
        "thresholds. The threshold is chosen on the map that is judged, so it flatters.",
        "larger",
        "2s / (1 + s) for a truth that fills the share s of the brain",
    ),
    "dice_at_size": Term(
        "Dice when as many voxels are kept as the truth has: no threshold to choose.",
        "larger",
        "the truth's share of the brain",
    ),
    "max_iou": Term(
        "Intersection over union, |A∩B| / |A∪B|, at the best of all thresholds: the best Dice on another scale.",
        "larger",
        "the truth's share of the brain",
    ),
    "iou_at_size": Term(
        "Intersection over union when as many voxels are kept as the truth has: no threshold to choose.",
        "larger",
        "about s / (2 - s) for a truth that fills the share s of the brain",
    ),
    "auroc": Term(
        "Probability that a voxel inside the truth is more relevant than one outside it.",
        "larger",
        "0.5",
    ),
    "average_precision": Term(
        "Precision averaged over recall: how pure the most relevant voxels are.",
        "larger",
        "the truth's share of the brain",
    ),
    "spearman": Term(
        "Rank correlation of relevance with the strength of the truth.",
        "larger",
        "0",
    ),
    "correlation": Term(
        "Correlation (Pearson) of relevance with the strength of the truth, amount for amount.",
        "larger",
        "0",
    ),
    "mass_accuracy": Term(
        "Share of the whole relevance that lies inside the truth.",
        "larger",
        "the truth's share of the brain",
    ),
    "rank_accuracy": Term(
        "Share of the most relevant voxels (as many as the truth has) that lie inside it; equal to size-matched Dice.",
        "larger",
        "the truth's share of the brain",
    ),
    "pointing_game": Term(
        "Whether the single most relevant voxel lies inside the truth.",
        "larger",
        "the truth's share of the brain",
    ),
    "earth_movers_distance": Term(
        "How far relevance must be carried, in mm, to become the truth.",
        "smaller",
        "depends on the anatomy; see the random maps",
    ),
    "outside_brain": Term(
        "Share of relevance outside the brain mask.",
        "smaller",
        "0 is ideal; see the random maps",
    ),
    "edge_share": Term(
        "Share of relevance in a shell at the brain's edge, where skull stripping leaves traces.",
        "smaller",
        "the shell's share of the brain",
    ),
    "balanced_accuracy": Term(
        "Mean of sensitivity and specificity of the network.",
        "larger",
        "0.5 for two classes",
    ),
    "r2": Term(
        "Share of the variance of a measured number that the network predicts.",
        "larger",
        "0",
    ),
    "mean_absolute_error": Term(
        "Mean distance between what the network predicts and what was measured, in the unit of the number.",
        "smaller",
        "that of always predicting the mean",
    ),
    "change_correlation": Term(
        "Correlation of what a simulator changes in a scan with the exact change that makes it one of the other group.",
        "larger",
        "0",
    ),
    "jacobian_correlation": Term(
        "The same for log-Jacobians: where tissue is lost and gained, and how much.",
        "larger",
        "0",
    ),
    "image_correlation": Term(
        "Correlation of the simulated scan with the exact scan of the other group.",
        "larger",
        "that of the scan itself (untouched_correlation)",
    ),
    "leakage": Term(
        "Share of the change that lies where nothing may change, of that there and in the effect together.",
        "smaller",
        "those places' share of both",
    ),
    "loss_inside": Term(
        "Share of the tissue that moves the expected way (lost at injection, gained at removal) inside the effect.",
        "larger",
        "the effect's share of the mask (loss_inside_chance)",
    ),
    "answer_shift": Term(
        "How far the network's answer moves the right way, in standard deviations of its answers; exact_shift is how "
        "far the exact change moves it.",
        "none",
        "0",
    ),
    "moved": Term(
        "Share of simulated scans whose answer moves the right way; flipped: of those on the other side before, the "
        "share that crosses over. With referee: by a network to which this simulator was not fitted; mirrored: under "
        "the same change mirrored.",
        "larger",
        "0.5",
    ),
    "folded": Term(
        "Share of the mask where a warp turns space inside out, which no tissue can do.",
        "smaller",
        "0 is ideal",
    ),
    "cycle_error": Term(
        "What is left of the difference when a pattern is injected and removed again, or the other way round, in "
        "standard deviations of the scan.",
        "smaller",
        "0 is ideal",
    ),
    "dose_tau": Term(
        "Whether a larger dose moves the answer further: Kendall's tau of the two.",
        "larger",
        "0",
    ),
    "gain": Term(
        "Mean relevance of an area in recognised patients over that in controls.",
        "larger than 1",
        "1",
    ),
    "completeness_residual": Term(
        "What the map's sum leaves unexplained of the output that it promises to add up to.",
        "smaller",
        "none",
    ),
}
# What the priors are, by method.
PRIORS: dict[str, str] = {
    "anatomical_prior": "a map on the areas known for the disease, made without any image or network",
    "input_magnitude": "the size of the scan at each place, without any network",
    "centre_prior": "a map that is brightest in the middle of the image, made without any image or network",
}
WORDS: dict[str, str] = {
    "individual truth": "The effect that was put into this very scan; a fixed map cannot match it for everybody.",
    "surrogate": "A random map that is as smooth as the real one; its scores are the null distribution.",
    "95 % interval": "Bootstrap over people: all scans of a person stay together.",
    "Holm": "Correction of p values for the number of methods that are compared.",
    "as published": "The recipe of the paper, its leak included; corrected: the same network with clean folds.",
    "simulator": "Something fitted to one network that changes a scan until the network changes its mind.",
    "log-Jacobian": "How much tissue a place of a warped scan has gained, as a logarithm; loss is negative.",
    "referee": "A network of the same kind, trained on the same scans from another seed, to which the simulator was "
    "not fitted.",
    "n/a": "Not defined or not computed here.",
}
