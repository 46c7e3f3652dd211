"""The certificate of a model that predicts a number: what it answers to test scans, and to scans changed in one way."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

import heatproof.cohorts
from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError
from heatproof.outputs import SIMULATED
from heatproof.statistics.certificate import Measurements, certificate
from heatproof.training import FoldParts, ScanLoader
from heatproof.training.outputs import OutputScale
from heatproof.training.responses import Redrawable, asked_scans, redrawn_responses

if TYPE_CHECKING:
    import pandas as pd


def open_redrawable(spec: Mapping[str, Any], seed: int, root: Path) -> Redrawable:
    """Return the source of a simulated cohort.

    Parameters
    ----------
    spec : mapping
        The cohort's config entry; its source is one of `heatproof.outputs.SIMULATED`.
    seed : int
        Root seed of the study.
    root : Path
        Data root.

    Raises
    ------
    ConfigError
        If the source cannot change a number of its scans.
    """
    source = str(spec["source"])
    if source not in SIMULATED:
        raise ConfigError(
            f"the source '{source}' cannot draw its scans again.",
            field="cohort.source",
            remedy=f"use {' or '.join(SIMULATED)}.",
        )
    # The module's name is not written out, so that no other cohort's training depends on its code.
    redrawable: Redrawable = import_module(f"{heatproof.cohorts.__name__}.{source}").open_source(
        dict(spec), seed=seed, root=root
    )
    return redrawable


def certified(
    network: nn.Module,
    loader: ScanLoader,
    cohort: Cohort,
    parts: FoldParts,
    answers: pd.DataFrame,
    scale: OutputScale,
    redrawable: Redrawable | None,
    seed: int,
) -> pd.DataFrame:
    """Return the rows of ``certificate.tsv``.

    Parameters
    ----------
    network : nn.Module
        The trained network, which answers in the unit of its output.
    loader : ScanLoader
        Normalises scans as in training.
    cohort : Cohort
        The open cohort.
    parts : FoldParts
        The fold, without scans whose output is unknown.
    answers : DataFrame
        The rows of ``predictions.tsv``.
    scale : OutputScale
        The output, its unit, mean and deviation.
    redrawable : Redrawable, optional
        Draws scans with one number changed; without one, slopes are regressions over the test scans.
    seed : int
        Root seed of the study.
    """
    test = answers[answers["part"] == "test"]
    others = [name for name in cohort.outputs if name != scale.output]
    training, rows = cohort.participants.loc[parts.train, others], cohort.participants.loc[test["scan_id"], others]
    measured, within, responses = test["measured"].to_numpy(dtype=float), None, {}
    if redrawable:
        step, known = redrawable.steps[scale.output], cohort.participants.loc[parts.train, scale.output]
        within = (measured - step >= known.min()) & (measured + step <= known.max())
        asked = asked_scans(parts.test, seed, scale.output)
        place = test["scan_id"].isin(asked).to_numpy()
        found = redrawn_responses(network, redrawable, loader.normalised, asked, [scale.output, *others])
        for name, values in found.items():
            responses[name] = np.full(len(test), np.nan)
            responses[name][place] = values
    measurements = Measurements(
        output=scale.output,
        unit=scale.unit,
        estimates=test["estimate"].to_numpy(dtype=float),
        measured=measured,
        people=test["participant_id"].astype(str).to_numpy(),
        deviation=scale.deviation,
        others={name: rows[name].to_numpy(dtype=float) for name in others},
        deviations={name: float(training[name].std(ddof=0)) for name in others},
        responses=responses,
        within=within,
    )
    return certificate(measurements, seed=seed)
