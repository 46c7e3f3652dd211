"""What the rows about simulated scans are: the words that stages, statistics and claims share.

Nothing is imported here, so that whoever reads the words depends on no metric.
"""

from __future__ import annotations

# The option that takes the pattern out of a scan, and the one that puts it in.
OPTIONS = {"removal": -1, "injection": 1}
FULL_DOSE = 1.0
# The long table of a study: one number about one simulated scan.
ROW_COLUMNS = (
    "study", "model", "recipe", "fold", "seed", "simulator", "kind", "scan_id", "participant_id", "direction", "dose",
    "score", "value",
)  # fmt: skip
