"""What each figure is called and how to read it; the report, its captions and the plots share these words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes
    ----------
    title : str
        Heading.
    caption : str
        How to read it.
    """

    title: str
    caption: str


FIGURES: dict[str, Entry] = {
    "ranking": Entry(
        "Ranking against the truth",
        "Each row is a method, each panel a metric. Dots are means over scans, bars 95 % bootstrap "
        "intervals over people. The grey band is the anatomical prior, a map made without any image or "
        "network; the dotted line is chance. Open squares are controls. A method is worth something only "
        "where its dot is a blue disc: its paired difference to the prior is clear of zero and survives "
        "Holm's correction.",
    ),
    "information_curves": Entry(
        "Information curves: AIC and SIC",
        "The scan is revealed from a blurred version, the most relevant voxels first; a curve shows how "
        "soon the network gives the scan its class again (AIC) or is as sure as of the whole scan (SIC), "
        "mean over scans. Higher and further left is better; in the key, the area with its 95 % bootstrap "
        "interval over people, which is shaded too. Black dashes: the truth used as a map, what a perfect "
        "map would reach. Grey: controls. Fine dark lines: nulls, the methods' own maps turned, laid out "
        "with random phases, or of another scan. A method that does not rise above its nulls shows how its "
        "maps are shaped, not where the evidence is.",
    ),
    "faithfulness": Entry(
        "Faithfulness against nulls",
        "Each row is a method, each panel a metric that asks the network and needs no truth. Dots are means "
        "over scans, bars 95 % bootstrap intervals over people. The tick is the mean of the method's own "
        "nulls: the same values, laid out elsewhere; the dotted line is a random map. A blue disc is better "
        "than its own nulls, clear of zero and after Holm's correction. Open squares are controls; the star "
        "is the truth used as a map.",
    ),
    "metric_ranks": Entry(
        "Which method does each metric prefer?",
        "Rank of each method (1 = best) by each metric; methods are sorted by their mean rank against the "
        "truth. On the left the metrics that know the truth, on the right those that ask the network; a block "
        "per network. "
        "Columns that look unlike the left ones prefer other methods than the truth does. Hatched: the "
        "metric failed a test of its own, such as ranking the maps of a constant network.",
    ),
    "metric_agreement": Entry(
        "Do the metrics agree?",
        "Left: Kendall's τ between the orders into which two metrics put the methods; 1 is the same order, "
        "0 none in common, −1 the reverse. Right: τ of each metric with the truth, with its 95 % bootstrap "
        "interval over people, a panel per network; the tick leaves the controls out, because putting noise last is "
        "no agreement about methods. Triangles: Krippendorff's α, whether the scans agree on the order at all. A "
        "metric that is starred failed a test of its own.",
    ),
    "gallery": Entry(
        "Heatmaps of single scans",
        "Scans of each class with the map of each method, each map on a scale of its own, the truth "
        "outlined in cyan. Relevance should lie inside the outline. Signed maps are red where they speak "
        "for the class and blue where they speak against it. A few scans illustrate; they rank nothing.",
    ),
    "mean_maps": Entry(
        "Mean heatmaps",
        "Each row is the mean map of one method over the test scans, as absolute relevance scaled to its own "
        "99.9th percentile, on the same slices through the truth. The cyan outline is the truth: colour "
        "should lie inside it. Left is left; coordinates are millimetres in template space. Of signals there is a "
        "strip per lead and a block per network; the first panel is the truth itself.",
    ),
    "dice_curves": Entry(
        "Dice against the threshold",
        "Overlap of the thresholded group map with the truth, for every threshold from the map's minimum "
        "to its maximum. The dot is the best threshold; it is chosen on the map that is judged, so it "
        "flatters. A flat, low curve is a map without the truth in it. Grey: controls; black dashes: "
        "anatomical prior.",
    ),
    "smoothing": Entry(
        "What smoothing does to the score",
        "The metric after smoothing the maps with a Gaussian of the given width. Lines that cross mean "
        "that the winner depends on a choice of the analyst. Shading: 95 % bootstrap interval over "
        "people.",
    ),
    "areas": Entry(
        "Relevance by area: sum against density",
        "Each disc is a brain area (of an ECG: a wave of a lead): to the right it gathers much relevance, further "
        "up it holds much per voxel. Large areas drift right by their size alone, so both axes are needed. The "
        "densest areas are named.",
    ),
    "gain": Entry(
        "Gain: patients over controls, by area",
        "Mean relevance of recognised patients divided by that of controls, for the areas with the "
        "largest gain. One (dotted) means no difference; blue where the 95 % interval lies above one.",
    ),
    "volume_relevance": Entry(
        "Does relevance follow volume?",
        "Each point is a person. If the network reads atrophy and the method shows it, a smaller "
        "hippocampus carries more relevance: the line falls. r with 95 % interval over people; p by "
        "permuting people.",
    ),
    "fingerprints": Entry(
        "Fingerprints of individual patients",
        "Each row is one recognised patient, each column an area; colour is relevance density as a share "
        "of the patient's top area. Rows that all look alike mean that the method draws the disease, not "
        "the patient.",
    ),
    "rank_stability": Entry(
        "How stable is the ranking?",
        "Left: rank of each method (1 = best) in every condition, one column each. Right: median (dot), "
        "middle half (thick) and range (thin) of its ranks. A method whose ranks span the axis wins or "
        "loses by the choice of metric, truth or smoothing.",
    ),
    "training": Entry(
        "Training",
        "Loss and balanced accuracy on validation scans by epoch, one line per fold and seed. Validation "
        "loss that rises while training loss falls is overfitting; balanced accuracy at the dotted line "
        "is chance. A network that predicts a number has R² instead, the share of its variance that is explained, "
        "and at the dotted line does no better than the mean.",
    ),
    "performance": Entry(
        "What the networks can do",
        "Balanced accuracy on test scans with its 95 % interval over people, ROC curve and calibration. "
        "With more than two classes each is held against the rest, and calibration is that of the predicted "
        "class. A heatmap of a network that is not clearly above chance explains nothing.",
    ),
    "confusion": Entry(
        "Which class is taken for which?",
        "Rows are true classes, columns predicted ones, over the test scans of all folds: share of the true "
        "class, and below it the number of scans. Shares on the diagonal are recalls; their mean is the "
        "balanced accuracy.",
    ),
    "estimates": Entry(
        "What the networks estimate",
        "Each point is a test scan: across what was measured, up what the network says, on the dashed line both agree. "
        "R² is the share of variance that is explained (1: all, 0: no better than the mean), beside the mean absolute "
        "error and the slope (below 1: the network shrinks differences), each with its 95 % bootstrap interval over "
        "people. A heatmap of a network that does not lie on the line explains something else than the number.",
    ),
    "ecg": Entry(
        "Heatmaps on ECG paper",
        "For each network one scan, first with the truth and then with the map of the method that comes first against "
        "the truth. 25 mm are a second and 10 mm a millivolt: small squares are 40 ms by 0.1 mV, large ones 200 ms by "
        "0.5 mV, the pulse before each row is 1 mV. The trace lies on a ribbon that is wide and dark where a point is "
        "relevant: orange where a higher voltage raises the answer, blue where it lowers it; yellow to purple where "
        "the map has no sign. Bars below each lead are P, QRS (dark) and T from onset to end, where they are known. "
        "Of long recordings each lead shows its part of the time, as on a usual print, and the last row one lead "
        "throughout. One scan illustrates; it ranks nothing.",
    ),
    "ecg_grid": Entry(
        "Nine methods on one ECG, all leads",
        "The maps of nine methods of one scan, three by three as Storås et al. (2025) showed them to experts, and the "
        "truth beside them, for the first network. A good method puts its ribbons where the truth has them, in the "
        "same leads. Each map has a scale of its own: full width and colour at the 99.5th percentile of its |values|.",
    ),
    "ecg_lead": Entry(
        "Nine methods on one ECG, one lead",
        "The same nine maps and the truth, large, in the lead that holds most of the truth; of a long recording the "
        "2.5 s with most of it. Full width and colour are as before the 99.5th percentile of |values| over all leads, "
        "so a pale lead says that the method looks elsewhere.",
    ),
    "waves": Entry(
        "Which waves of which leads",
        "Each table shares out the mass of a map among waves (columns) and leads (rows), in percent, mean over people; "
        "the last row adds up the leads. First the truth, then chance, which is the share of samples. Red boxes are "
        "the cells where the truth has more than chance; a method that sees what the truth says has its mass in them: "
        "above each table the share that falls there, with its 95 % bootstrap interval over people.",
    ),
    "perturbation": Entry(
        "Perturbation of the most relevant points",
        "A row per network. Left: how far the answer moves while points are perturbed, the most relevant first; mean "
        "over people, shaded the 95 % bootstrap interval of the highest curves. Right: mean areas under such curves, "
        "read as in the figure on faithfulness: the tick is the mean of a method's own nulls, the dotted line a random "
        "map, the star the truth used as a map. As published, noise is drawn anew for every method and moves a few "
        "points only; a method above the truth finds points that the network is sensitive to, not where the number "
        "stands.",
    ),
    "simulator_scores": Entry(
        "What the simulators are worth",
        "A simulator changes a scan so that the network changes its mind; each row is one, each panel a score at the "
        "full dose. The first panels need the exact change, which only simulated cohorts have: a good simulator "
        "changes what the disease changes and leaves the nuisance alone. Moving the answer alone proves nothing, an "
        "attack does that too; a referee is a network trained from another seed to which the simulator was not fitted. "
        "Ticks are what the scan itself, blind chance or, for the referee, the same change mirrored reaches; dotted "
        "lines are what nothing learned would, and for the size what is right. The scan itself is hard to beat as a "
        "likeness of the exact scan, because a warp carries the noise along. Dots are means over scans, bars 95 % "
        "bootstrap intervals over people; blue discs are better than the first simulator, vermilion crosses worse, "
        "paired by person, after Holm's correction and in every run.",
    ),
    "simulated_scans": Entry(
        "Scans before and after the simulators",
        "For each scan what every simulator makes of it, beside the exact change where that is known: the simulated "
        "scan with the network's answer before and after, what has changed, and the log-Jacobian of the warp, blue "
        "where tissue is lost and red where it is gained. A faithful simulator looks like the exact column. Each "
        "picture has a scale of its own, whose end is written in it. Of signals the exact values are dashed. A few "
        "scans, those that the network recognises first, illustrate; they rank nothing.",
    ),
    "simulated_warps": Entry(
        "How the simulators move tissue",
        "For each scan a regular grid that the simulator carries along with the tissue, over the simulated scan, and "
        "arrows from where tissue was to where it is. Lines crowd where tissue was lost. Where they cross or tangle "
        "the warp folds, which no tissue can do: such voxels are vermilion. Simulators that only change brightness "
        "have no warp. Of signals the shift is drawn.",
    ),
    "doses": Entry(
        "Dose and answer",
        "Above, one scan per direction under growing doses of each simulator, with the network's answer in each "
        "picture; vermilion if it moved the wrong way. Below, how far the answer moves at each dose, mean over scans "
        "with 95 % bootstrap interval over people, in standard deviations of the network's answers. A dose that means "
        "something gives a line that rises steadily.",
    ),
    "dose_frames": Entry(
        "Slide through the doses",
        "The same scans, from the scan as it is to the full dose, a column per simulator with the network's answer in "
        "each picture. Move the slider, or press the arrow keys on it: what grows or shrinks is what the simulator "
        "says the network looks for.",
    ),
    "nulls": Entry(
        "Observed overlap against surrogate maps",
        "The grey bar reaches to the 95th percentile of the score of random maps that are as smooth as "
        "the real one; the tick is their mean. The dot is the real map: blue beyond what smooth noise "
        "reaches (p below .05), vermilion within it.",
    ),
    "recipes": Entry(
        "As published against corrected",
        "Each line joins the value of one network or method under the published recipe (validation scans "
        "partly seen in training, contiguous folds) to its value under the corrected one. Lines that "
        "cross are ranks that the recipe decides.",
    ),
}
