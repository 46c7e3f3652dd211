"""What the numbers support: intervals over people, paired tests, stability of ranks, performance, areas.

Every function takes long tables and returns a tidy one. People are the unit: a person is resampled with all
scans, folds and seeds.
"""

from heatproof.statistics.anatomy import area_relevance, gain, volume_relevance
from heatproof.statistics.comparisons import comparisons
from heatproof.statistics.faithfulness import faithfulness
from heatproof.statistics.location import location
from heatproof.statistics.median_curves import median_curves
from heatproof.statistics.meta_evaluation import metric_agreement, metric_reliability
from heatproof.statistics.performance import performance, reliability
from heatproof.statistics.ranking import ranking
from heatproof.statistics.sanity import sanity
from heatproof.statistics.simulations import ablations, simulations
from heatproof.statistics.stability import concordance, rank_stability, rank_summary
from heatproof.statistics.truth_agreement import truth_agreement

__all__ = [
    "ablations",
    "area_relevance",
    "comparisons",
    "concordance",
    "faithfulness",
    "gain",
    "location",
    "median_curves",
    "metric_agreement",
    "metric_reliability",
    "performance",
    "rank_stability",
    "rank_summary",
    "ranking",
    "reliability",
    "sanity",
    "simulations",
    "truth_agreement",
    "volume_relevance",
]
