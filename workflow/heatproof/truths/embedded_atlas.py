"""Named areas of the brain in MNI space, built from published coordinates; no atlas file is needed.

Deep structures are chains of balls along their course; cortical areas take the grey matter that lies nearest
to their published centres. The atlas is coarse by design: it names places for the phantom and for scans
without labels of their own, and makes no claim about sulcal borders.

Coordinates: centres of the AAL areas (Tzourio-Mazoyer et al., NeuroImage 2002;15:273,
doi:10.1006/nimg.2001.0978), with further points along long gyri; courses of deep structures after the
Harvard-Oxford and Desikan-Killiany areas (Desikan et al., NeuroImage 2006;31:968,
doi:10.1016/j.neuroimage.2006.01.021). Left side, in mm; the right side is the mirror image, as the
template is symmetric.
"""

from __future__ import annotations

import numpy as np

from heatproof.errors import TruthError
from heatproof.geometry import Grid

Point = tuple[float, float, float]

# Share of grey matter above which a voxel belongs to the cortex.
CORTEX_GREY_MATTER = 0.3
# Grey matter further from every centre than this belongs to no area, in mm.
CORTEX_REACH_MM = 26.0
# Distance between the balls of a chain, in mm.
CHAIN_STEP_MM = 1.0

# name: (course, radius of the balls in mm, least share of grey matter)
COURSES: dict[str, tuple[tuple[Point, ...], float, float]] = {
    "Amygdala": (((-23, -6, -17), (-23, -3, -21)), 6.2, 0.2),
    "Hippocampus": (
        ((-23, -12, -20), (-27, -18, -17), (-29, -25, -13), (-28, -31, -9), (-24, -37, -3)),
        6.2,
        0.2,
    ),
    "Entorhinal cortex": (((-22, 3, -32), (-23, -5, -32), (-24, -14, -30)), 6.0, 0.2),
    "Parahippocampal gyrus": (((-26, -20, -27), (-24, -26, -22), (-22, -34, -15), (-21, -41, -9)), 6.0, 0.2),
    "Caudate": (((-10, 17, 0), (-13, 15, 8), (-14, 4, 15), (-17, -10, 20)), 5.6, 0.0),
    "Putamen": (((-22, 14, -3), (-25, 5, 0), (-28, -8, 3)), 7.6, 0.0),
    "Pallidum": (((-16, 2, -1), (-20, -5, 0)), 5.0, 0.0),
    "Accumbens": (((-9, 11, -8),), 5.5, 0.0),
    "Thalamus": (((-8, -10, 6), (-11, -18, 8), (-15, -26, 7)), 9.0, 0.0),
    "Lateral ventricle": (
        ((-6, 18, 8), (-6, 4, 14), (-10, -10, 23), (-15, -29, 20), (-24, -43, 10), (-28, -52, 5)),
        4.0,
        0.0,
    ),
    "Posterior cingulate": (((-5, -36, 32), (-5, -44, 26), (-5, -50, 18)), 9.0, 0.3),
}

# name: centres; a long gyrus has several
CENTRES: dict[str, tuple[Point, ...]] = {
    "Precentral gyrus": ((-39, -7, 50), (-51, 0, 32), (-26, -14, 64)),
    "Postcentral gyrus": ((-43, -24, 47), (-57, -12, 27), (-26, -34, 64)),
    "Superior frontal gyrus": ((-19, 33, 41), (-18, 52, 26), (-20, 10, 58)),
    "Middle frontal gyrus": ((-34, 31, 34), (-38, 46, 16), (-34, 12, 50)),
    "Opercular inferior frontal gyrus": ((-49, 11, 18),),
    "Triangular inferior frontal gyrus": ((-46, 29, 13),),
    "Orbital inferior frontal gyrus": ((-36, 29, -13),),
    "Rolandic operculum": ((-47, -10, 13),),
    "Supplementary motor area": ((-6, 4, 60),),
    "Medial superior frontal gyrus": ((-5, 48, 30), (-5, 58, 14), (-6, 36, 46)),
    "Medial orbitofrontal cortex": ((-5, 53, -9),),
    "Lateral orbitofrontal cortex": ((-24, 46, -13), (-18, 46, -15), (-20, 30, -18)),
    "Gyrus rectus": ((-5, 36, -20),),
    "Olfactory cortex": ((-8, 14, -13),),
    "Insula": ((-35, 5, 2), (-33, 20, 0), (-38, -8, 4), (-37, 0, -10)),
    "Anterior cingulate": ((-4, 34, 13), (-5, 40, 2), (-5, 24, 24)),
    "Middle cingulate": ((-6, -16, 40), (-5, 2, 38), (-6, -28, 42)),
    "Calcarine cortex": ((-7, -80, 5), (-10, -66, 10), (-8, -92, 0)),
    "Cuneus": ((-6, -81, 26),),
    "Lingual gyrus": ((-15, -69, -6), (-12, -84, -8), (-16, -60, -5)),
    "Superior occipital gyrus": ((-17, -86, 27),),
    "Middle occipital gyrus": ((-33, -82, 15), (-28, -90, 4)),
    "Inferior occipital gyrus": ((-40, -78, -9), (-28, -88, -10)),
    "Fusiform gyrus": ((-31, -41, -20), (-33, -58, -16), (-34, -28, -26)),
    "Superior parietal lobule": ((-24, -61, 58), (-18, -72, 50)),
    "Inferior parietal lobule": ((-43, -47, 45),),
    "Supramarginal gyrus": ((-56, -35, 29),),
    "Angular gyrus": ((-44, -62, 34), (-40, -72, 38)),
    "Precuneus": ((-8, -57, 47), (-8, -66, 34), (-8, -48, 60)),
    "Paracentral lobule": ((-8, -27, 69),),
    "Transverse temporal gyrus": ((-47, -18, 8),),
    "Superior temporal gyrus": ((-53, -22, 6), (-56, -6, -4), (-56, -38, 14)),
    "Middle temporal gyrus": ((-56, -35, -4), (-57, -14, -16), (-52, -58, 6), (-54, -4, -24)),
    "Inferior temporal gyrus": ((-50, -29, -25), (-52, -52, -16), (-46, -10, -36)),
    "Temporal pole": ((-40, 14, -21), (-37, 13, -35)),
    "Frontal pole": ((-22, 62, 2), (-10, 66, 8)),
    "Occipital pole": ((-14, -100, 2),),
    "Cerebellum": (
        (-20, -46, -22),
        (-24, -64, -28),
        (-38, -62, -32),
        (-20, -76, -36),
        (-40, -52, -42),
        (-22, -50, -50),
        (-8, -56, -18),
        (-8, -74, -24),
        (-10, -56, -40),
    ),
}

# Areas of the classic prior for Alzheimer's disease, and areas that also shrink but lie off it (the cortical
# signature of Dickerson et al., Cereb Cortex 2009;19:497, doi:10.1093/cercor/bhn113).
PRIOR_AREAS = (
    "Hippocampus",
    "Amygdala",
    "Entorhinal cortex",
    "Parahippocampal gyrus",
    "Posterior cingulate",
)
OFF_PRIOR_AREAS = (
    "Precuneus",
    "Angular gyrus",
    "Middle temporal gyrus",
    "Inferior temporal gyrus",
    "Temporal pole",
    "Superior frontal gyrus",
)


def area_names() -> dict[int, str]:
    """Return the name of every label, ``{1: "Amygdala left", 2: "Amygdala right", ...}``; odd is left."""
    names: dict[int, str] = {}
    for index, name in enumerate([*COURSES, *CENTRES]):
        names[2 * index + 1] = f"{name} left"
        names[2 * index + 2] = f"{name} right"
    return names


def labels_of(area: str) -> tuple[int, int]:
    """Return the labels of an area, left and right.

    Raises
    ------
    TruthError
        If the atlas has no such area.
    """
    names = [*COURSES, *CENTRES]
    if area not in names:
        raise TruthError(
            f"the embedded atlas has no area '{area}'.",
            field="regions",
            remedy=f"use one of: {', '.join(names)}.",
        )
    index = names.index(area)
    return 2 * index + 1, 2 * index + 2


def embedded_atlas(grid: Grid, grey_matter: np.ndarray) -> np.ndarray:
    """Return the label volume on a grid in MNI space.

    Parameters
    ----------
    grid : Grid
        A volume grid with its affine to MNI space.
    grey_matter : ndarray, shape grid.shape
        Fraction of grey matter, 0 to 1, of the template (or of one brain aligned to it).

    Returns
    -------
    ndarray of int32, shape grid.shape
        Labels of `area_names`, 0 where there is none.
    """
    world = grid.coordinates()
    labels = np.zeros(grid.shape, dtype=np.int32)
    for side, sign in enumerate((-1.0, 1.0)):
        here = sign * world[..., 0] > 0
        mirrored = world[here] * np.array([-sign, 1.0, 1.0])
        labels[here] = _label_left(mirrored, grey_matter[here], side)
    return labels


def _label_left(points: np.ndarray, grey_matter: np.ndarray, side: int) -> np.ndarray:
    """Return the label of each point (n, 3) of the left half space; `side` 1 numbers it as right."""
    from scipy.spatial import cKDTree

    labels = np.zeros(len(points), dtype=np.int32)
    # A structure owns what lies deepest inside it, so touching structures share their border fairly.
    depth = np.ones(len(points))
    for index, (course, radius, least) in enumerate(COURSES.values()):
        distance, _ = cKDTree(_along(course)).query(points, distance_upper_bound=radius)
        inside = (distance / radius < depth) & (grey_matter >= least)
        labels[inside] = 2 * index + 1 + side
        depth[inside] = distance[inside] / radius
    seeds = [(seed, index) for index, seeds in enumerate(CENTRES.values()) for seed in seeds]
    owner = np.array([index for _, index in seeds])
    cortex = (labels == 0) & (grey_matter > CORTEX_GREY_MATTER)
    tree = cKDTree(np.array([seed for seed, _ in seeds]))
    distance, nearest = tree.query(points[cortex], distance_upper_bound=CORTEX_REACH_MM)
    found = np.isfinite(distance)
    values = np.zeros(len(distance), dtype=np.int32)
    values[found] = 2 * (len(COURSES) + owner[nearest[found]]) + 1 + side
    labels[cortex] = values
    return labels


def _along(course: tuple[Point, ...]) -> np.ndarray:
    """Return points (n, 3) along a course, at most `CHAIN_STEP_MM` apart."""
    corners = np.asarray(course, dtype=np.float64)
    pieces = [corners[:1]]
    for start, end in zip(corners[:-1], corners[1:], strict=True):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / CHAIN_STEP_MM)))
        pieces.append(start + (end - start) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(pieces)
