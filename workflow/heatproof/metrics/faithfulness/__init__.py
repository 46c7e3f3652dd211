"""Faithfulness: whether a map names what the network really uses, asked of the network itself.

No truth is needed: parts of the scan are taken away, put back or shaken, and the answers are compared with the map.
Whatever is drawn at random is the same for every map, and a network that always says the same ranks no map.
"""

from heatproof.metrics.faithfulness.fidelity import f_fidelity
from heatproof.metrics.faithfulness.fills import FILLS
from heatproof.metrics.faithfulness.fine_tuning import fine_tuned
from heatproof.metrics.faithfulness.imputation import noisy_linear
from heatproof.metrics.faithfulness.infidelity import infidelity
from heatproof.metrics.faithfulness.removal import RemovalCurves, removal_curves
from heatproof.metrics.faithfulness.road import RoadScores, road
from heatproof.metrics.faithfulness.sensitivity import max_sensitivity

__all__ = [
    "FILLS",
    "RemovalCurves",
    "RoadScores",
    "f_fidelity",
    "fine_tuned",
    "infidelity",
    "max_sensitivity",
    "noisy_linear",
    "removal_curves",
    "road",
]
