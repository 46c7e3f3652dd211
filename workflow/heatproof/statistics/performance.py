"""Performance of the networks, with intervals over people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.regression import regression_scores
from heatproof.statistics.resampling import draw_counts, interval

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("model", "recipe", "part", "fold", "seed", "metric", "value", "low", "high", "n_scans", "n_people")
N_BINS = 10


def performance(predictions: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Return ``performance.tsv``: how well each model classifies, or predicts its number, per run and pooled.

    Parameters
    ----------
    predictions : DataFrame
        All ``predictions.tsv`` with model, recipe, fold and seed; logits are not needed.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people, with all their scans, folds and seeds.

    Returns
    -------
    DataFrame
        Long, one number per row. ``fold`` and ``seed`` are -1 for the rows over all of them. Metrics:
        balanced_accuracy, accuracy, auc, sensitivity, specificity, brier, calibration_error (expected, ten bins
        of equal width, of the patient probability) and the counts true_positives, false_negatives, true_negatives and
        false_positives. With more than two classes: balanced_accuracy, accuracy, auc (mean over classes, one
        against the rest), brier and calibration_error (of the predicted class). Of a network that predicts a number:
        the metrics of `heatproof.statistics.regression.regression_scores`.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    if predictions.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    by_part = predictions.groupby(["model", "recipe", "part"], observed=True, sort=True)
    for (model, recipe, part), frame in by_part:
        if part == "train":
            continue
        shared = {"model": model, "recipe": recipe, "part": part}
        rows += _rows(frame, {**shared, "fold": -1, "seed": -1}, seed, n_bootstrap)
        for (fold, run), single in frame.groupby(["fold", "seed"], sort=True):
            rows += _rows(single, {**shared, "fold": int(fold), "seed": int(run)}, seed, n_bootstrap)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(frame: pd.DataFrame, shared: dict[str, Any], seed: int, n_bootstrap: int) -> list[dict[str, Any]]:
    people = frame["participant_id"].factorize()[0]
    n_people = int(people.max()) + 1
    counts = draw_counts(seed, n_people, n_bootstrap)[:, people]
    weights = np.concatenate([np.ones((1, len(frame))), counts])
    rows = []
    for metric, values in _scores(frame, weights).items():
        low, high = interval(values[1:, None], n_people)
        rows.append({
            **shared, "metric": metric, "value": values[0], "low": low[0], "high": high[0], "n_scans": len(frame),
            "n_people": n_people,
        })  # fmt: skip
    return rows


def _scores(frame: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return every metric of one network's predictions: of its number, or of its classes."""
    if predicts_number(frame):
        measured, estimate = (frame[name].to_numpy(dtype=float) for name in ("measured", "estimate"))
        return regression_scores(measured, estimate, weights)
    target, predicted = (frame[name].to_numpy(dtype=int) for name in ("target", "predicted"))
    return scores_of(target, predicted, frame[probability_columns(frame)].to_numpy(dtype=float), weights)


def predicts_number(predictions: pd.DataFrame) -> bool:
    """Return whether the predictions of one network are numbers that were measured, not classes."""
    return "estimate" in predictions and bool(predictions["estimate"].notna().any())


def probability_columns(predictions: pd.DataFrame) -> list[str]:
    """Return the columns that hold probabilities, in the order of the classes; none if a model gives none."""
    names = [name for name in predictions.columns if name.startswith("probability_")]
    return sorted((n for n in names if predictions[n].notna().any()), key=lambda n: int(n.rsplit("_", 1)[1]))


def scores_of(
    target: np.ndarray, predicted: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every metric for every weighting of the scans.

    Parameters
    ----------
    target, predicted : ndarray of int, shape (n,)
        Class of each scan, and the class predicted.
    probability : ndarray, shape (n, n_classes)
        Probability of each class; no column if the model gives none.
    weights : ndarray, shape (m, n)
        How often each scan counts.

    Returns
    -------
    dict of str to ndarray, shape (m,)
        NaN where a class that the metric needs is absent.
    """
    classes = max(probability.shape[1], int(target.max()) + 1, 2)
    right = target == predicted
    recalls = np.stack([_share(weights, target == k, right) for k in range(classes)], axis=1)
    result = {
        "balanced_accuracy": recalls.mean(axis=1),
        "accuracy": _share(weights, np.ones_like(right), right),
    }
    if classes == 2:
        result |= {"sensitivity": recalls[:, 1], "specificity": recalls[:, 0]}
        for name, true, found in (
            ("true_positives", 1, 1), ("false_negatives", 1, 0), ("true_negatives", 0, 0), ("false_positives", 0, 1),
        ):  # fmt: skip
            result[name] = weights @ ((target == true) & (predicted == found)).astype(float)
    if probability.shape[1]:
        result |= _probability_scores(target, probability, weights)
    return result


def _share(weights: np.ndarray, among: np.ndarray, hit: np.ndarray) -> np.ndarray:
    total = weights @ among.astype(float)
    return np.divide(weights @ (among & hit), total, out=np.full(total.shape, np.nan), where=total > 0)


def _probability_scores(target: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    classes = probability.shape[1]
    positives = [1] if classes == 2 else range(classes)
    auc = np.mean([weighted_auc(target == k, probability[:, k], weights) for k in positives], axis=0)
    total = weights.sum(axis=1)
    truth = np.eye(classes)[target]
    # For two classes the squared error of the patient probability alone, as the field reports it.
    squared = ((probability - truth) ** 2).sum(axis=1) / (2 if classes == 2 else 1)
    event, sure = _events(target, probability)
    return {
        "auc": auc,
        "brier": weights @ squared / total,
        "calibration_error": _calibration_error(event, sure, weights),
    }


def _events(target: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a calibrated probability foretells, and that probability.

    With two classes being a patient and the patient probability; with more, the predicted class being right and its
    probability (Guo et al., ICML 2017, equation 1).
    """
    if probability.shape[1] == 2:
        return target == 1, probability[:, 1]
    return target == probability.argmax(axis=1), probability.max(axis=1)


def weighted_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve for every weighting of the scans, ties counting half.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        Scans of the class.
    score : ndarray, shape (n,)
        Larger means more likely in the class.
    weights : ndarray, shape (m, n)
        How often each scan counts.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered = weights[:, order]
    hits = np.add.reduceat(ordered * positive[order], starts, axis=1)
    misses = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    won = (hits * (below + misses / 2)).sum(axis=1)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _bins(probability: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    return np.clip((probability * n_bins).astype(int), 0, n_bins - 1)


def _calibration_error(event: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the expected calibration error: mean over scans of |observed - predicted| in their bin."""
    belongs = np.eye(N_BINS)[_bins(probability)]
    gap = np.abs((weights * (event - probability)) @ belongs)
    return gap.sum(axis=1) / weights.sum(axis=1)


def reliability(predictions: pd.DataFrame, n_bins: int = N_BINS) -> pd.DataFrame:
    """Return the reliability curve of each model on its test scans.

    With two classes the patient probability against the share of patients; with more, the probability of the
    predicted class against how often it is right, whose mean gap is the calibration error of `performance`.

    Parameters
    ----------
    predictions : DataFrame
        All ``predictions.tsv``; models without probabilities are left out.
    n_bins : int
        Bins of equal width from 0 to 1.

    Returns
    -------
    DataFrame
        model, recipe, bin, n_scans, mean_probability, observed_share; bins without scans are left out.
    """
    import pandas as pd

    columns = ["model", "recipe", "bin", "n_scans", "mean_probability", "observed_share"]
    test = predictions[predictions["part"] == "test"] if len(predictions) else predictions
    parts = []
    for (model, recipe), frame in test.groupby(["model", "recipe"], observed=True) if len(test) else ():
        names = probability_columns(frame)
        if names:
            event, sure = _events(frame["target"].to_numpy(dtype=int), frame[names].to_numpy(dtype=float))
            binned = pd.DataFrame({"bin": _bins(sure, n_bins), "sure": sure, "event": event}).groupby("bin")
            curve = binned.agg(
                n_scans=("event", "size"), mean_probability=("sure", "mean"), observed_share=("event", "mean")
            )
            parts.append(curve.reset_index().assign(model=model, recipe=recipe))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
