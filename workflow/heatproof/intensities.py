"""Names of the normalisations, apart from their code (`heatproof.training.intensity`): the Snakefile reads them."""

from __future__ import annotations

# By each scan's own values.
OWN_INTENSITIES = ("zscore", "minmax", "none")
# By means and deviations that come from many scans.
FITTED_INTENSITIES = ("pixelwise", "dataset")
