"""From answers to curves: what the model says of partly revealed images, against what these images tell.

**nd.** A map's points are the fully blurred image at x = 0, one per share revealed, and the original at x = 1; x is
clipped to [0, 1] and the points are sorted by x. The curve at x is the best y of all points up to x: a step
function, so what is not yet reached with some information counts nothing. Its area is exact, not a sum over a grid.

y of AIC is 1 where the image is classified as the target, else 0; y of SIC is the target's probability over that of
the original, at most 1. Both curves of a scan are left out, for all maps alike, if the original is not classified as
the target, the fully blurred image already is, or the original tells no more than the blurred image. None of these
looks at a map.

A model that answers the same whatever it sees has y = 0 or y = 1 throughout, hence equal areas whatever x is. So does
one that answers only to the complete image: its step lies at x = 1. (Interpolating to that step instead, as PAIR does,
gives ``(1 - x) / 2`` of the last share revealed, which is geometry.) Where x is the fraction revealed, x is the same
for all maps, so a model that reacts only to how much is shown cannot rank them either. Where x is information, it can:
the area then has an error of up to the largest distance between neighbouring points, and a map that spends less
information per share revealed comes out ahead. Compare both axes before reading a ranking.

**pair.** As ``compute_pic_metric`` (PAIR's `saliency`): y is the gain over the blurred image relative to that of the
original, the running maximum follows the thresholds, points are joined by straight lines, (0, 0) and (1, 1) are
added. With a model that is always right and images not left out, that is ``(1 - x) / 2`` of the last threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from heatproof.errors import ConfigError

from .settings import Setting

WRONG = "the model does not give the original the target class"
RIGHT = "the model already gives the fully blurred image the target class"
NO_INFORMATION = "the original holds no more information than the fully blurred image"
UNSURE = "the score on the original is below the least probability"
NO_GAIN = "the score on the original is not above that on the fully blurred image"


@dataclass(frozen=True)
class Answers:
    """What the model and the entropy say of the images of one scan.

    Attributes
    ----------
    information, probability, correct : ndarray, shape (M, T)
        Of the images that each map reveals: information, probability of the target, 1 if that class is the
        most probable, else 0.
    blurred, original : ndarray, shape (3,)
        The same three of the fully blurred image and of the original.
    """

    information: np.ndarray
    probability: np.ndarray
    correct: np.ndarray
    blurred: np.ndarray
    original: np.ndarray

    def constant(self, right: bool) -> Answers:
        """Return the answers of a model that says the same of every image, right or wrong."""
        probability, correct = (0.9, 1.0) if right else (0.1, 0.0)
        return replace(
            self,
            probability=np.full_like(self.probability, probability),
            correct=np.full_like(self.correct, correct),
            blurred=np.array([self.blurred[0], probability, correct]),
            original=np.array([self.original[0], probability, correct]),
        )


@dataclass(frozen=True)
class InformationCurves:
    """Accuracy (AIC) and softmax (SIC) information curves of several maps of one scan.

    Attributes
    ----------
    setting : Setting
        How they were drawn.
    thresholds : ndarray, shape (T,)
        Shares revealed.
    x : ndarray, shape (n_points,)
        Grid of the curves, 0 to 1.
    aic, sic : ndarray, shape (M, n_points)
        Curves; NaN where excluded.
    aic_auc, sic_auc : ndarray, shape (M,)
        Areas; NaN where excluded.
    aic_excluded, sic_excluded : str
        Why the scan is left out of either, for all maps; empty if it is not. In nd they are equal.
    valid : ndarray of bool, shape (M,)
        False for maps with values that are not finite; their curves are NaN.
    answers : Answers
        All that was asked, for valid maps.
    """

    setting: Setting
    thresholds: np.ndarray
    x: np.ndarray
    aic: np.ndarray = field(repr=False)
    sic: np.ndarray = field(repr=False)
    aic_auc: np.ndarray
    sic_auc: np.ndarray
    aic_excluded: str
    sic_excluded: str
    valid: np.ndarray = field(repr=False)
    answers: Answers = field(repr=False)

    @property
    def excluded(self) -> str:
        """Why the scan is left out, in one text; empty if it counts in both curves."""
        if self.aic_excluded == self.sic_excluded:
            return self.aic_excluded
        reasons = (("AIC", self.aic_excluded), ("SIC", self.sic_excluded))
        return "; ".join(f"{name}: {reason}" for name, reason in reasons if reason)

    def constant_spread(self) -> dict[str, dict[str, float]]:
        """Return how far the areas of maps are apart if the model answers the same to every image.

        In nd, and in pair without its checks, the areas are those before any scan is left out, so that a zero is
        shown and not a consequence of leaving the scan out. The checks of pair are part of what is published, and
        they leave every such model out.

        Returns
        -------
        dict
            ``["right" or "wrong"]["aic" or "sic"]``: largest minus least area; NaN in pair with its checks, or
            without a valid map.
        """
        left_out = self.setting.mode == "pair" and self.setting.checks
        spreads = {}
        for name, right in (("right", True), ("wrong", False)):
            areas = _areas(self.setting, self.answers.constant(right), self.x)
            spreads[name] = {
                metric: float("nan") if left_out or not area.size else float(np.ptp(area))
                for metric, (_, area) in areas.items()
            }
        return spreads


def drawn(
    setting: Setting, thresholds: np.ndarray, answers: Answers, valid: np.ndarray, n_points: int
) -> InformationCurves:
    """Return the curves of one setting.

    Parameters
    ----------
    setting : Setting
    thresholds : ndarray, shape (T,)
    answers : Answers
        Of the valid maps.
    valid : ndarray of bool, shape (M,)
    n_points : int
        Points of the grid.
    """
    x = np.append(np.linspace(0, 1, n_points - 1, endpoint=False), 1.0)
    reasons = dict(zip(("aic", "sic"), _exclusions(setting, answers), strict=True))
    found: dict[str, np.ndarray] = {}
    for name, (curves, areas) in _areas(setting, answers, x).items():
        found[name], found[f"{name}_auc"] = np.full((valid.size, x.size), np.nan), np.full(valid.size, np.nan)
        if not reasons[name]:
            found[name][valid], found[f"{name}_auc"][valid] = curves, areas
    return InformationCurves(
        setting=setting,
        thresholds=thresholds,
        x=x,
        aic_excluded=reasons["aic"],
        sic_excluded=reasons["sic"],
        valid=valid,
        answers=answers,
        **found,
    )


def _exclusions(setting: Setting, answers: Answers) -> tuple[str, str]:
    """Return why the scan is left out of AIC and of SIC."""
    blurred, original = answers.blurred, answers.original
    uninformative = setting.axis == "information" and not original[0] > blurred[0]
    if setting.mode == "nd":
        reason = WRONG if not original[2] else RIGHT if blurred[2] else NO_INFORMATION if uninformative else ""
        return reason, reason
    if not setting.checks:
        return "", ""
    aic, sic = (
        UNSURE if original[score] < setting.least_probability
        else NO_INFORMATION if uninformative
        else NO_GAIN if blurred[score] >= original[score]
        else ""
        for score in (2, 1)
    )  # fmt: skip
    return aic, sic


def _areas(setting: Setting, answers: Answers, grid: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return curves, shape (M, n_points), and areas, shape (M,), of AIC and SIC, whether excluded or not."""
    curve = _step_curves if setting.mode == "nd" else _published_curves
    scores = {"aic": (answers.correct, 2), "sic": (answers.probability, 1)}
    x = _horizontal(answers.information, answers.blurred[0], answers.original[0])
    return {
        name: curve(x, score, answers.blurred[place], answers.original[place], grid)
        for name, (score, place) in scores.items()
    }


def _horizontal(information: np.ndarray, blurred: float, original: float) -> np.ndarray:
    """Return the information of images relative to blurred and original, clipped to [0, 1]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip((information - blurred) / (original - blurred), 0, 1)


def _step_curves(
    x: np.ndarray, score: np.ndarray, blurred: float, original: float, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return step curves on a grid and their exact areas (see the module's docstring)."""
    x = np.pad(np.where(np.isnan(x), 1.0, x), ((0, 0), (1, 1)), constant_values=(0, 1))
    y = np.column_stack([np.full(len(score), blurred), score, np.full(len(score), original)])
    y = np.clip(y / original, 0, 1) if original > 0 else np.zeros_like(y)
    order = np.argsort(x, axis=1, kind="stable")
    x = np.take_along_axis(x, order, axis=1)
    y = np.maximum.accumulate(np.take_along_axis(y, order, axis=1), axis=1)
    curves = [heights[np.searchsorted(places, grid, side="right") - 1] for places, heights in zip(x, y, strict=True)]
    return np.array(curves).reshape(len(x), grid.size), (np.diff(x, axis=1) * y[:, :-1]).sum(axis=1)


def _published_curves(
    x: np.ndarray, score: np.ndarray, blurred: float, original: float, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the curves of ``compute_pic_metric`` and their areas by the trapezoidal rule."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.clip((score - blurred) / (original - blurred), 0, 1)
    # 0/0 never becomes the maximum in the published loop, so it counts nothing.
    gain = np.maximum.accumulate(np.where(np.isnan(gain), 0.0, gain), axis=1)
    x, gain = np.pad(x, ((0, 0), (0, 2))), np.pad(gain, ((0, 0), (0, 2)))
    x[:, -1] = gain[:, -1] = 1
    curves = np.empty((len(x), grid.size))
    for row, (places, heights) in enumerate(zip(x, gain, strict=True)):
        order = np.argsort(places, kind="mergesort")
        curves[row] = np.interp(grid, places[order], heights[order])
    curves[:, -1] = 1
    return curves, np.trapezoid(curves, grid, axis=1)


def aggregated(curves: Sequence[InformationCurves], statistic: str = "mean") -> dict[str, np.ndarray]:
    """Return the curves of several scans as one, over the scans that are not left out.

    Parameters
    ----------
    curves : sequence of InformationCurves
        One per scan, with the same maps (methods) in the same order.
    statistic : {"mean", "median"}
        The median of curves that are 0 or 1 is 0 or 1 again, so AIC wants the mean; the published one is the median.

    Returns
    -------
    dict
        ``aic``, ``sic``: shape (M, n_points); ``aic_auc``, ``sic_auc``: areas under these by the trapezoidal rule,
        shape (M,); ``aic_scans``, ``sic_scans``: scans that counted, shape (M,). NaN where none did.

    Raises
    ------
    ConfigError
        There is no scan, the grids differ, or the statistic is unknown.
    """
    if statistic not in ("mean", "median"):
        raise ConfigError(f"'{statistic}' is not a statistic.", field="statistic", remedy="use mean or median.")
    if not curves or any(not np.array_equal(curve.x, curves[0].x) for curve in curves):
        raise ConfigError("the curves have no common grid.", field="curves", remedy="draw them with equal n_points.")
    pool = np.mean if statistic == "mean" else np.median
    found: dict[str, np.ndarray] = {}
    for name in ("aic", "sic"):
        stacked = np.stack([getattr(curve, name) for curve in curves])
        known = ~np.isnan(stacked[:, :, 0])
        pooled = np.full(stacked.shape[1:], np.nan)
        for row, counts in enumerate(known.T):
            if counts.any():
                pooled[row] = pool(stacked[counts, row], axis=0)
        found |= {name: pooled, f"{name}_auc": np.trapezoid(pooled, curves[0].x), f"{name}_scans": known.sum(axis=0)}
    return found
