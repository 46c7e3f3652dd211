"""Cohorts: sources of scans (named in `heatproof.cohorts.sources`), the intake gate, and the store."""
