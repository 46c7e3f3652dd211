"""What differs between simulated electrocardiograms, and the ranges it is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heatproof.cohorts.heartbeats import AMPLITUDES, INTERVALS, RECORDED, T_PEAK, USUAL, V5, V6, Heartbeat, ratio
from heatproof.errors import ConfigError

# Steps of the counterfactual, in the unit of the output.
STEPS = {"heart_rate": 3.0, "pr": 8.0, "qt": 8.0, "qrs": 8.0, "r_v5": 0.05, "t_v5": 0.03, "j_v5": 0.03}
# Key of the configuration that holds the range of an output.
RANGES = {"heart_rate": "heart_rate_bpm", "pr": "pr_ms", "qt": "qt_ms", "qrs": "qrs_ms", "j_v5": "j_mv"}
# What differs between records without being an output (ms, or shares of the QRS duration).
P_DURATION, T_DURATION, ST_DURATION = (80.0, 105.0), (150.0, 190.0), (80.0, 110.0)
P_DELAY, T_LEAD, QRS_DELAY, QRS_LEAD = 6.0, 12.0, 0.05, 0.05
# The longest PR begins this long after the record, and the beat up to `JITTER_MS` later.
MARGIN_MS, JITTER_MS = 10.0, 10.0


def draw(spec: Mapping[str, Any], random: np.random.Generator) -> Heartbeat:
    """Return what shapes the beats of one record.

    Rate and intervals are drawn last, so that other ranges leave everything else as it was.

    Parameters
    ----------
    spec : mapping
        The cohort's entry of the config (schema ``cohorts_signals.yaml``), as `check` lets it pass.
    random : numpy.random.Generator
        The record's own.
    """
    heights = {
        wave: usual * np.exp(spec["amplitude_sd"] * random.standard_normal(len(RECORDED)))
        for wave, usual in USUAL.items()
    }
    low, high = spec["j_mv"]
    heights["j"] = random.uniform(low, high, size=len(RECORDED))
    if spec["redundancy"]:
        for wave in AMPLITUDES.values():
            heights[wave][V6] = ratio(wave) * heights[wave][V5]
    if spec["suppressor_mv"]:
        # Nothing else about the height of V6 is left to be known, so it tells the nuisance.
        heights["r"][V6] = USUAL["r"][V6]
    return Heartbeat(
        onset=spec["pr_ms"][1] + MARGIN_MS + float(random.uniform(0, JITTER_MS)),
        p_duration=float(random.uniform(*P_DURATION)),
        t_duration=float(random.uniform(*T_DURATION)),
        st_duration=float(random.uniform(*ST_DURATION)),
        p_delay=_behind_the_first(random, P_DELAY),
        qrs_delay=_behind_the_first(random, QRS_DELAY),
        qrs_lead=_behind_the_first(random, QRS_LEAD),
        t_lead=_behind_the_first(random, T_LEAD),
        amplitudes=heights,
        linked=bool(spec["redundancy"]),
        **_intervals(spec, random),
    )


def check(spec: Mapping[str, Any]) -> None:
    """Refuse what cannot be simulated so that every number is exactly what a reader would measure.

    Parameters
    ----------
    spec : mapping
        The cohort's entry of the config with its defaults filled.

    Raises
    ------
    ConfigError
        If a range is upside down, waves would run into each other, or two switches contradict each other.
    """
    for name in RANGES.values():
        low, high = spec[name]
        if low >= high:
            raise ConfigError(f"{name} runs from {low} to {high}.", field=name, remedy="give the smaller number first.")
    (pr, longest_pr), (_, qrs), (qt, longest_qt) = spec["pr_ms"], spec["qrs_ms"], spec["qt_ms"]
    middle_rate, middle_pr, middle_qt = (sum(spec[name]) / 2 for name in ("heart_rate_bpm", "pr_ms", "qt_ms"))
    longest = longest_pr + MARGIN_MS + JITTER_MS + longest_qt
    # Room for the steps of the counterfactual, too.
    least_pr = P_DURATION[1] + STEPS["pr"]
    least_qt = qrs + STEPS["qrs"] + STEPS["qt"] + max(T_DURATION[1], ST_DURATION[1] + (1 - T_PEAK) * T_DURATION[1])
    for refused, name, problem, remedy in (
        (pr < least_pr, "pr_ms", "the longest P would run into QRS", f"begin at {least_pr:.0f} ms or more."),
        (qt < least_qt, "qt_ms", "the longest QRS would run into T", f"begin at {least_qt:.0f} ms or more."),
        (longest > spec["duration_ms"], "duration_ms", "the record ends before T", f"use {longest:.0f} ms or more."),
        (
            middle_qt + middle_pr > 60_000 / middle_rate,
            "heart_rate_bpm",
            "T would mostly run into the next P",
            "choose lower rates, or shorter PR and QT.",
        ),
        (
            bool(spec["suppressor_mv"] and spec["redundancy"]),
            "redundancy",
            "V6 cannot both repeat V5 and know its nuisance only",
            "set redundancy to false or suppressor_mv to 0.",
        ),
    ):
        if refused:
            raise ConfigError(f"{problem}.", field=name, remedy=remedy)


def _intervals(spec: Mapping[str, Any], random: np.random.Generator) -> dict[str, float]:
    """Return rate and intervals, drawn again until T has ended when the next P begins."""
    while True:
        drawn = {name: float(random.uniform(*spec[RANGES[name]])) for name in INTERVALS}
        if drawn["qt"] + drawn["pr"] <= 60_000 / drawn["heart_rate"]:
            return drawn


def _behind_the_first(random: np.random.Generator, most: float) -> np.ndarray:
    """Return a delay for each recorded lead, at most `most`, of which the least is exactly 0."""
    delays = random.uniform(0, most, size=len(RECORDED))
    delays[random.integers(len(RECORDED))] = 0
    return delays
