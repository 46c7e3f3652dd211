"""What the numbers support: intervals over people, paired tests, stability of ranks, performance, areas.

Every function takes long tables and returns a tidy one. People are the unit: a person is resampled with all
scans, folds and seeds.
"""

from heatproof.statistics.anatomy import area_relevance, gain, volume_relevance
from heatproof.statistics.comparisons import comparisons
from heatproof.statistics.location import location
from heatproof.statistics.performance import performance, reliability
from heatproof.statistics.ranking import ranking
from heatproof.statistics.stability import concordance, rank_stability, rank_summary

__all__ = [
    "area_relevance",
    "comparisons",
    "concordance",
    "gain",
    "location",
    "performance",
    "rank_stability",
    "rank_summary",
    "ranking",
    "reliability",
    "volume_relevance",
]
