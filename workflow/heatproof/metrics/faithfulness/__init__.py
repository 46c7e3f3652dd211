"""Faithfulness: whether a map names what the network really uses, asked of the network itself.

No truth is needed: parts of the scan are taken away, put back or shaken, and the answers are compared with the map.
Whatever is drawn at random is the same for every map, and a network that always says the same ranks no map.
"""

from heatproof.metrics.faithfulness.fidelity import f_fidelity
from heatproof.metrics.faithfulness.fills import FILLS
from heatproof.metrics.faithfulness.fine_tuning import fine_tuned
from heatproof.metrics.faithfulness.imputation import interpolated, noisy_linear
from heatproof.metrics.faithfulness.infidelity import infidelity
from heatproof.metrics.faithfulness.perturbation import (
    PerturbationCurves,
    corrected_curves,
    published_curves,
)
from heatproof.metrics.faithfulness.relative_change import RelativeChange, relative_change
from heatproof.metrics.faithfulness.removal import RemovalCurves, removal_curves
from heatproof.metrics.faithfulness.road import RoadScores, road
from heatproof.metrics.faithfulness.sensitivity import max_sensitivity
from heatproof.metrics.faithfulness.waves import wave_curves

__all__ = [
    "FILLS",
    "PerturbationCurves",
    "RelativeChange",
    "RemovalCurves",
    "RoadScores",
    "corrected_curves",
    "f_fidelity",
    "fine_tuned",
    "infidelity",
    "interpolated",
    "max_sensitivity",
    "noisy_linear",
    "published_curves",
    "relative_change",
    "removal_curves",
    "road",
    "wave_curves",
]
