"""Activation likelihood estimation (ALE) through NiMARE, with guards on what goes in.

Sources: Eickhoff et al. 2012 (NeuroImage 59:2349) for the kernel and its null distribution; Eickhoff et al.
2016 (NeuroImage 137:70) for the correction at cluster level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.errors import TruthError
from heatproof.geometry import Grid
from heatproof.truths.foci import MNI, Experiment

if TYPE_CHECKING:
    import pandas as pd

SIZE_MAP = "logp_desc-size_level-cluster_corr-FWE_method-montecarlo"
# NiMARE scales its kernel by the square root of the voxel's volume, which is right for voxels of 2 mm only
# (sqrt(2 ** 3) / sqrt(2) = 2); so the analysis always runs at 2 mm.
TEMPLATE = "mni152_2mm"


@dataclass(frozen=True)
class AleResult:
    """Result of one ALE on its own grid.

    Attributes
    ----------
    statistic : ndarray, shape (X, Y, Z), float32
        ALE value; 0 outside the template's brain.
    significant : ndarray of bool, shape (X, Y, Z)
        Voxels of clusters that survive the cluster-level correction.
    grid : Grid
        The template's grid.
    n_outside : dict of str to int
        Foci outside the template's brain per study.
    description : str
        NiMARE's own account of what it did.
    """

    statistic: np.ndarray
    significant: np.ndarray
    grid: Grid
    n_outside: dict[str, int]
    description: str


def template_grid() -> Grid:
    """Return the grid on which the analysis runs: MNI152 (NLin6Asym) at 2 mm."""
    return _template()[1]


def _template() -> tuple[Any, Grid]:
    from nimare.utils import get_template

    brain = get_template(TEMPLATE, mask="brain")
    return brain, Grid(brain.shape, brain.affine)


def run_ale(
    experiments: Sequence[Experiment],
    *,
    n_iterations: int,
    voxel_p: float,
    cluster_p: float,
    seed: int,
    n_cores: int = 1,
) -> AleResult:
    """Run NiMARE's ALE with a Monte-Carlo family-wise correction at cluster level.

    Parameters
    ----------
    experiments : sequence of Experiment
        One per group of people, foci in MNI space.
    n_iterations : int
        Random literatures of the null distribution.
    voxel_p, cluster_p : float
        Cluster-defining threshold (uncorrected) and corrected threshold for the size of a cluster.
    seed : int
        Seed of the null distribution.
    n_cores : int
        Threads; the result does not depend on it.
    """
    from nimare.correct import FWECorrector
    from nimare.meta.cbma import ALE
    from nimare.nimads import Studyset

    brain, grid = _template()
    inside = np.asarray(brain.dataobj) > 0
    estimator = ALE(mask=brain, null_method="approximate", n_cores=n_cores, random_state=seed)
    fitted = estimator.fit(Studyset(_studyset(experiments), target=TEMPLATE))
    _require_untouched(estimator.inputs_["coordinates"], experiments)
    corrector = FWECorrector(
        method="montecarlo", voxel_thresh=voxel_p, n_iters=n_iterations, n_cores=n_cores, vfwe_only=False
    )
    corrected = corrector.transform(fitted)
    statistic = np.zeros(grid.shape, dtype=np.float32)
    statistic[inside] = fitted.get_map("stat", return_type="array")
    significant = np.zeros(grid.shape, dtype=bool)
    significant[inside] = corrected.get_map(SIZE_MAP, return_type="array") > -np.log10(cluster_p)
    outside = {e.study_id: _n_outside(e.coordinates, inside, grid) for e in experiments}
    return AleResult(statistic, significant, grid, outside, str(corrected.description_))


def _studyset(experiments: Iterable[Experiment]) -> dict[str, Any]:
    """Return the experiments as a NIMADS dictionary, every focus labelled MNI."""
    studies = []
    for experiment in experiments:
        points = [{"coordinates": row, "space": MNI} for row in experiment.coordinates.tolist()]
        analysis = {
            "id": "1",
            "name": experiment.contrast or "1",
            "conditions": [],
            "weights": [],
            "images": [],
            "metadata": {"sample_sizes": [experiment.subjects]},
            "points": points,
        }
        name = experiment.study_id
        studies.append({"id": name, "name": name, "metadata": {}, "analyses": [analysis]})
    return {"id": "heatproof", "name": "heatproof", "studies": studies}


def _require_untouched(coordinates: pd.DataFrame, experiments: Sequence[Experiment]) -> None:
    """Raise if NiMARE moved or dropped foci (it has converted coordinates that were in MNI space already)."""
    given = np.concatenate([experiment.coordinates for experiment in experiments])
    read = coordinates[["x", "y", "z"]].to_numpy(float)
    order_given, order_read = np.lexsort(given.T), np.lexsort(read.T)
    if read.shape != given.shape or not np.allclose(read[order_read], given[order_given], atol=1e-3):
        raise TruthError(
            "NiMARE changed the coordinates while it read them.",
            field="foci",
            remedy="install the pinned version of NiMARE.",
        )


def _n_outside(coordinates: np.ndarray, inside: np.ndarray, grid: Grid) -> int:
    voxels = np.rint(grid.voxel(coordinates)).astype(int)
    within = np.all((voxels >= 0) & (voxels < np.array(grid.shape)), axis=1)
    hits = inside[tuple(voxels[within].T)]
    return int(len(coordinates) - hits.sum())
