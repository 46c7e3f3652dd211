"""A simulated literature: foci that many imperfect studies would report about a known effect.

The errors are those that the ALE kernel assumes (Eickhoff et al. 2009, Human Brain Mapping 30:2907): the mean
distance between two templates is 5.7 mm and between two people 11.6 mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heatproof.errors import TruthError
from heatproof.randomness import generator
from heatproof.truths.foci import MNI, Experiment
from heatproof.truths.injected import group_truth
from heatproof.truths.meta_analysis import analyse
from heatproof.truths.sleuth import parse_sleuth, write_sleuth
from heatproof.truths.store import Context, Truth

# Half the distance of two draws: a mean distance d of a centre is 2 sd sqrt(2 / pi), per axis.
SD_PER_DISTANCE = 1 / (2 * np.sqrt(2 / np.pi))
BETWEEN_PEOPLE_MM = 11.6
SMALLEST_STUDY = 8


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of a ``literature`` entry: simulate a Sleuth file, then send it through the ALE.

    Raises
    ------
    TruthError
        If the cohort has no injected effect, or nothing survives the correction.
    """
    effect = group_truth(context.patient_truths())
    text = write_sleuth(simulate(effect, spec, context))
    return analyse(parse_sleuth(text, f"{context.name}_foci.txt"), spec, context, source="literature")


def simulate(effect: np.ndarray, spec: Mapping[str, Any], context: Context) -> list[Experiment]:
    """Return the experiments of a simulated literature, foci rounded to whole mm as papers print them.

    Parameters
    ----------
    effect : ndarray, shape (X, Y, Z)
        True group effect; foci fall where it is strong, in proportion.
    spec : mapping
        ``n_studies``, ``n_foci`` (mean per study), ``n_subjects`` (median), ``study_error_mm`` (standard
        deviation of a study's common shift, per axis), ``spurious_share`` (foci anywhere in the brain).
    context : Context
        Grid, mask and seed; each study has random numbers of its own.

    Raises
    ------
    TruthError
        If the effect is zero everywhere in the mask.
    """
    weights = np.where(context.mask, effect, 0).ravel().astype(np.float64)
    if not weights.sum() > 0:
        raise TruthError(
            "there is no effect inside the mask to write a literature about.",
            field=f"truths.{context.name}",
            remedy="use a cohort with an injected effect.",
        )
    strong, brain = np.flatnonzero(weights), np.flatnonzero(context.mask)
    chance = weights[strong] / weights.sum()
    experiments = []
    for number in range(1, int(spec.get("n_studies", 77)) + 1):
        random = generator(context.seed, "truth", context.name, "study", number)
        subjects = int(max(SMALLEST_STUDY, random.lognormal(np.log(float(spec.get("n_subjects", 40))), 0.5)))
        n_foci = 1 + int(random.poisson(max(float(spec.get("n_foci", 6)) - 1, 0)))
        spurious = random.random(n_foci) < float(spec.get("spurious_share", 0.2))
        chosen = np.where(spurious, random.choice(brain, n_foci), random.choice(strong, n_foci, p=chance))
        voxels = np.stack(np.unravel_index(chosen, effect.shape), axis=1)
        shift = random.normal(0, float(spec.get("study_error_mm", 3.6)), 3)
        own = random.normal(0, BETWEEN_PEOPLE_MM * SD_PER_DISTANCE / np.sqrt(subjects), (n_foci, 3))
        foci = np.rint(context.grid.world(voxels) + shift + own)
        experiments.append(Experiment(f"Simulated study {number:03d}", "AD < HC", subjects, MNI, foci))
    return experiments
