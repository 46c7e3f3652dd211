"""Tables of probes and scores made up for the tests: known values per method, scan and person."""

from __future__ import annotations

import numpy as np
import pandas as pd

METHODS = ("saliency", "lrp", "gradcam", "random_noise", "edges")


def probe_rows(
    values: dict[str, np.ndarray],
    people: list[str],
    *,
    metric: str = "aic",
    setting: str = "nd push_pull information",
    null: str = "",
    **origin: object,
) -> pd.DataFrame:
    """A table of probes of one network: `values[method]` per scan."""
    base = {"study": "s", "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, "diagnosis": "AD", **origin}
    return pd.DataFrame([
        {**base, "method": method, "null": null, "scan_id": f"scan-{i:02d}", "participant_id": people[i],
         "metric": metric, "setting": setting, "value": float(value)}
        for method, column in values.items() for i, value in enumerate(column)
    ])  # fmt: skip


def score_rows(values: dict[str, np.ndarray], people: list[str], *, metric: str = "auroc", **origin: object):
    """A score table of the same network against each scan's own truth."""
    base = {"study": "s", "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, "level": "scan",
            "population": "scan", "rectify": "abs_before", "truth": "injected", "smoothing_mm": 0.0,
            "metric": metric, "diagnosis": "AD", "chance": 0.5, **origin}  # fmt: skip
    return pd.DataFrame([
        {**base, "method": method, "scan_id": f"scan-{i:02d}", "participant_id": people[i], "value": float(value)}
        for method, column in values.items() for i, value in enumerate(column)
    ])  # fmt: skip


def persons(n: int, scans_each: int = 1) -> list[str]:
    """People of n scans."""
    return [f"person-{i // scans_each:02d}" for i in range(n)]
