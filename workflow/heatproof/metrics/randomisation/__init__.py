"""Randomisation tests: does a map change when the network, its labels or its seed do?

Published as sanity checks by Adebayo et al. (2018), repaired by Hedström et al. (2024); Binder et al. (2022) say how
far they can be trusted. They judge a method on a network, so they need the method itself, as a callable.
"""

from heatproof.metrics.randomisation.layers import randomised, stages
from heatproof.metrics.randomisation.parameters import (
    CascadeResult,
    cascading,
    efficient,
    histogram_entropy,
    smooth,
)
from heatproof.metrics.randomisation.retraining import data_randomisation, retraining_agreement
from heatproof.metrics.randomisation.similarity import KINDS, similarity

__all__ = [
    "KINDS",
    "CascadeResult",
    "cascading",
    "data_randomisation",
    "efficient",
    "histogram_entropy",
    "randomised",
    "retraining_agreement",
    "similarity",
    "smooth",
    "stages",
]
