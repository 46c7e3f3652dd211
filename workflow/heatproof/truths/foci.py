"""Foci of the literature: one experiment, its space, and the one conversion between spaces."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from heatproof.errors import TruthError

MNI = "MNI"
TALAIRACH = "Talairach"
SPACES = {"mni": MNI, "mni152": MNI, "mni305": MNI, "tal": TALAIRACH, "talairach": TALAIRACH}
# No part of a head lies further from the anterior commissure; what does is voxels, metres or a typing error.
LARGEST_COORDINATE_MM = 150.0


@dataclass(frozen=True)
class Experiment:
    """One contrast of one study.

    Attributes
    ----------
    study_id, contrast, title, cohort, file : str
        Where it comes from; `cohort` names the data set its people belong to, if known.
    subjects : int
        Number of people.
    space : str
        ``MNI`` or ``Talairach``.
    coordinates : ndarray, shape (n, 3)
        Foci in mm.
    note : str
        What was assumed while reading.
    """

    study_id: str
    contrast: str
    subjects: int
    space: str
    coordinates: np.ndarray
    title: str = ""
    cohort: str = ""
    file: str = ""
    note: str = ""


def space_of(text: object, file: str, where: str) -> str:
    """Return ``MNI`` or ``Talairach`` for one of their usual spellings.

    Raises
    ------
    TruthError
        If the space is not known.
    """
    space = SPACES.get(str(text).strip().lower())
    if space is None:
        raise TruthError(f"the space '{text}' is not known.", file=file, field=where, remedy="use MNI or Talairach.")
    return space


def subjects_of(text: str, file: str, where: str) -> int:
    """Return a number of people.

    Raises
    ------
    TruthError
        If it is not a whole number of 1 or more.
    """
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not (value >= 1 and value == int(value)):
        raise TruthError(
            f"the number of subjects is '{text.strip()}'.",
            file=file,
            field=where,
            remedy="give a whole number of 1 or more.",
        )
    return int(value)


def in_mni(experiment: Experiment) -> Experiment:
    """Return the experiment with its foci in MNI space.

    Talairach coordinates go through the inverse of the pooled transform of Lancaster et al. 2007 (Human Brain
    Mapping 28:1194, ``icbm_other``), as NiMARE has it. The conversion happens here, once, and the foci are
    then labelled MNI, so that no library converts them a second time.
    """
    if experiment.space == MNI or not len(experiment.coordinates):
        return replace(experiment, space=MNI)
    from nimare.utils import tal2mni

    # NiMARE guesses the orientation of a 3 x 3 array; one extra row takes the guess away.
    padded = np.vstack([experiment.coordinates, np.zeros((1, 3))])
    return replace(experiment, space=MNI, coordinates=tal2mni(padded)[:-1])
