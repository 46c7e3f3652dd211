"""Truths: maps that say where the signal really is; `heatproof.truths.sources` names every source."""
