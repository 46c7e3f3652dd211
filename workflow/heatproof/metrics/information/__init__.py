"""Information curves: how little of a scan, revealed in the order of a map, brings the model's answer back.

After the performance information curves of Kapishnikov et al. 2019 (arXiv 1906.02825), for one to three space axes.
"""

from .curves import Answers, InformationCurves, aggregated
from .nulls import NULLS, null_maps
from .scores import constant_model_spread, information_curves, information_scores
from .settings import AXES, ENTROPIES, INFILLS, THRESHOLDS, Setting

__all__ = [
    "AXES",
    "ENTROPIES",
    "INFILLS",
    "NULLS",
    "THRESHOLDS",
    "Answers",
    "InformationCurves",
    "Setting",
    "aggregated",
    "constant_model_spread",
    "information_curves",
    "information_scores",
    "null_maps",
]
