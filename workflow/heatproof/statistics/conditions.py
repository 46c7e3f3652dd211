"""Score tables cut into conditions, each a matrix of units by methods with the same exclusions for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Metrics where less is better; the registries of metrics and probes say the same (a test compares them).
SMALLER_IS_BETTER = frozenset(
    {
        "earth_movers_distance", "time_distance", "outside_brain", "edge_share",
        "deletion", "road_morf", "infidelity", "max_sensitivity", "f_fidelity_minus", "turbe_bottom",
        "cascading_mprt", "smooth_mprt", "data_randomisation",
    }
)  # fmt: skip
# Maps made without looking at the model, or without a trained one.
CONTROLS = frozenset(
    {
        "random_noise", "smooth_noise", "input_magnitude", "edges", "anatomical_prior", "centre_prior", "untrained",
        "label_permuted",
    }
)  # fmt: skip
# These multiply by the scan, whose pattern then stays in the map whatever the weights are (Binder et al. 2022).
INPUT_WEIGHTED = frozenset(
    {
        "input_x_gradient", "integrated_gradients", "idgi", "smoothgrad_ig", "expected_gradients", "guided_ig",
        "blur_ig", "deeplift", "deepshap", "lrp", "xrai",
    }
)  # fmt: skip
# Maps that know no network: the first of them that was scored is what a study's methods are held against. The first
# two look at no scan either; where nothing is known beforehand (signals), the size of the scan itself takes their part.
PRIORS = ("anatomical_prior", "centre_prior", "input_magnitude")
# Which group map stands for a recipe: (population, rectify).
PRIMARY = {"as_published": ("all", "abs_after"), "corrected": ("patients", "abs_after")}
# A method with scores on a smaller share of the units leaves the condition instead of cutting the others down.
LEAST_SHARE = 0.5
KEYS = ("model", "recipe", "level", "truth", "metric", "smoothing_mm", "population", "rectify")


def orientation(metric: str) -> float:
    """Return 1 where larger is better, else -1."""
    return -1.0 if metric in SMALLER_IS_BETTER else 1.0


def reference(methods: Iterable[str]) -> str:
    """Return the prior that methods are compared with: the first of `PRIORS` among them (the first of all if none)."""
    there = set(methods)
    return next((name for name in PRIORS if name in there), PRIORS[0])


def without_level(key: dict[str, Any]) -> tuple[Any, ...]:
    """Return what identifies a condition apart from its level, to find the leave-one-out values of a group map."""
    return tuple(value for name, value in key.items() if name != "level")


@dataclass(frozen=True)
class Condition:
    """All that is compared at once.

    Attributes
    ----------
    key : dict
        Values of `KEYS`.
    methods : list of str
        Columns of `values`.
    values : ndarray, shape (n_units, n_methods)
        Scores of the units that every method has.
    units : DataFrame
        fold, seed, scan_id and participant_id of each unit.
    n_excluded : int
        Units left out because at least one method has no finite score there.
    dropped : dict of str to (int, int)
        Methods with a finite score on less than `LEAST_SHARE` of the units: scans and people that they do have.
    """

    key: dict[str, Any]
    methods: list[str]
    values: np.ndarray
    units: pd.DataFrame
    n_excluded: int
    dropped: dict[str, tuple[int, int]] = field(default_factory=dict)

    def person_means(self) -> np.ndarray:
        """Return one row per person, the mean over all of the person's units, shape (n_people, n_methods)."""
        codes = self.units["participant_id"].factorize()[0]
        if not codes.size:
            return np.empty((0, len(self.methods)))
        counts = np.bincount(codes)
        sums = np.stack([np.bincount(codes, column) for column in self.values.T], axis=1)
        return sums / counts[:, None]

    def fold_means(self) -> np.ndarray:
        """Return one row per fold, the mean over seeds, shape (n_folds, n_methods)."""
        codes = self.units["fold"].factorize(sort=True)[0]
        counts = np.bincount(codes)
        return np.stack([np.bincount(codes, column) for column in self.values.T], axis=1) / counts[:, None]


def primary(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of single scans, and of mean maps those that stand for their recipe (`PRIMARY`).

    Where a recipe's population or rectification was not computed, the first that was stands in.
    """
    keep = (scores["level"] == "scan").to_numpy().copy()
    for recipe, (population, rectify) in PRIMARY.items():
        maps = (scores["recipe"] == recipe).to_numpy() & ~(scores["level"] == "scan").to_numpy()
        for column, wanted in (("population", population), ("rectify", rectify)):
            present = sorted(scores.loc[maps, column].unique())
            if present:
                maps &= (scores[column] == (wanted if wanted in present else present[0])).to_numpy()
        keep |= maps
    return scores[keep]


def conditions(scores: pd.DataFrame) -> Iterator[Condition]:
    """Yield every condition of a score table; a method that lacks most of the units is not in it.

    Parameters
    ----------
    scores : DataFrame
        Long score table of one level or several.
    """
    units = ["fold", "seed", "scan_id", "participant_id"]
    if scores.empty:
        return
    wide = scores.set_index([*KEYS, *units, "method"])["value"].unstack("method")
    values, methods = wide.to_numpy(dtype=float), np.array(wide.columns, dtype=object)
    index = wide.index.to_frame(index=False)
    for key, rows in index.groupby(list(KEYS), sort=True, observed=True).indices.items():
        finite = np.isfinite(values[rows])
        # A method that failed almost everywhere cannot be compared; it must not take the others' units with it.
        scored = max(int(finite.any(axis=1).sum()), 1)
        usable = finite.sum(axis=0) >= LEAST_SHARE * scored
        held = index.loc[rows, units]
        dropped = {methods[i]: _held(held[finite[:, i]]) for i in np.flatnonzero(~usable & finite.any(axis=0))}
        complete = finite[:, usable].all(axis=1) & bool(usable.any())
        yield Condition(
            dict(zip(KEYS, key, strict=True)),
            methods[usable].tolist(),
            values[rows[complete]][:, usable],
            index.loc[rows[complete], units].reset_index(drop=True),
            int((~complete).sum()),
            dropped,
        )


def _held(units: pd.DataFrame) -> tuple[int, int]:
    """Return how many scans and people are among the units; mean maps have neither."""
    return len(set(units["scan_id"]) - {""}), len(set(units["participant_id"]) - {""})


def chance_levels(scores: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, float]]:
    """Return for every condition the methods that were really scored, with their chance level."""
    if "chance" not in scores:
        scores = scores.assign(chance=scores["metric"].map({"auroc": 0.5, "spearman": 0.0}).astype(float))
    chances: dict[tuple[Any, ...], dict[str, float]] = {}
    for (*key, method), chance in scores.groupby([*KEYS, "method"], observed=True)["chance"].mean().items():
        chances.setdefault(tuple(key), {})[method] = float(chance)
    return chances
