"""Simulated 12-lead electrocardiograms whose intervals and amplitudes, and what each does to the signal, are known.

Every record shows one whole beat and parts of its neighbours (see `heartbeats`), noise and wander. The truth of an
output is the exact counterfactual: the same record with that number a step larger and a step smaller, noise and
nuisance held fixed. Three switches make it harder to find: a suppressor (V6 knows a nuisance of V5, and nothing of V5
itself; Haufe et al., NeuroImage 2014;87:96, doi:10.1016/j.neuroimage.2013.10.067), a decoy (a mark that goes along
with an output) and redundancy (V6 repeats V5). Every random number is keyed by the scan, so record i is the same in a
cohort of ten or of ten thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.heartbeat_draws import RANGES, STEPS, check, draw
from heatproof.cohorts.heartbeats import (
    AMPLITUDES,
    LEADS,
    OUTPUTS,
    RECORDED,
    USUAL,
    V5,
    V6,
    Heartbeat,
    bell,
    changed,
    measured,
    render,
    twelve_leads,
    wave_bounds,
)
from heatproof.cohorts.store import RawScan, Record, Source
from heatproof.cohorts.waves import wave_labels, wave_names
from heatproof.errors import IntakeError
from heatproof.geometry import Grid
from heatproof.randomness import generator

CLASS = "recording"
# The mark of a decoy: in V1, before the beat.
MARK_LEAD, MARK_MS = RECORDED.index("V1"), (4.0, 16.0, 28.0)
# Wander is as slow as breath.
WANDER_HZ, N_WANDERS = (0.15, 0.5), 2


@dataclass
class SimulatedSource(Source):
    """A source that can show each of its scans as it would have been.

    Attributes
    ----------
    records : Beats
        The scans.
    steps : dict of str to float
        Steps of the counterfactual truths, in the unit of the output.
    """

    records: Beats
    steps: dict[str, float] = field(default_factory=dict)

    def counterfactual(self, scan_id: str, output: str, change: float) -> np.ndarray:
        """Return one scan with an output changed and all else held fixed (see `Beats.counterfactual`)."""
        return self.records.counterfactual(scan_id, output, change)


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> SimulatedSource:
    """Return the simulated records that a configuration describes; they are made when they are loaded.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config with its defaults filled (schema ``cohorts_signals.yaml``).
    seed : int
        Seed of the study.
    root : Path
        Unused: nothing is read.

    Raises
    ------
    ConfigError
        If a range is upside down, waves would run into each other, or two switches contradict each other.
    """
    beats = Beats(spec, seed)
    return SimulatedSource(
        grid=beats.grid,
        records=beats,
        classes=(CLASS,),
        has_controls=False,
        label_names=wave_names(LEADS),
        description={
            "source": "beats",
            "seed": seed,
            "people": spec["n_participants"],
            "unit": "people",
            "truth_kind": "counterfactual",
            "steps": STEPS,
            "suppressor_mv": spec["suppressor_mv"],
            "redundancy": spec["redundancy"],
            "decoy": spec["decoy"],
        },
        channel_names=LEADS,
        outputs=dict(OUTPUTS),
        steps=dict(STEPS),
    )


class Beats:
    """The simulated records, in order of participant; may be iterated more than once.

    Parameters
    ----------
    spec : dict
        The cohort's entry of the config.
    seed : int
        Seed of the study.
    """

    def __init__(self, spec: dict[str, Any], seed: int) -> None:
        check(spec)
        self.spec, self.seed = spec, seed
        rate = float(spec["sampling_rate"])
        self.grid = Grid((round(spec["duration_ms"] * rate / 1000),), spacing=(1000 / rate,), units="ms")
        self._people = {f"sub-{index + 1:04d}_ses-1": f"sub-{index + 1:04d}" for index in range(len(self))}
        self._render = partial(render, sampling_rate=rate, n_samples=self.grid.shape[0])

    def __len__(self) -> int:
        return int(self.spec["n_participants"])

    def __iter__(self) -> Iterator[Record]:
        for scan_id, participant_id in self._people.items():
            beat = self.beat(scan_id)
            row = {"scan_id": scan_id, "participant_id": participant_id, "diagnosis": CLASS, "target": 0}
            yield Record({**row, **{name: measured(beat, name) for name in OUTPUTS}}, partial(self.scan, scan_id))

    def beat(self, scan_id: str) -> Heartbeat:
        """Return what shapes the beats of one record; independent of how many records there are."""
        return draw(self.spec, self._random(scan_id, "beat"))

    def scan(self, scan_id: str) -> RawScan:
        """Return one record (mV) with the exact effect of every output and the wave of every sample."""
        beat = self.beat(scan_id)
        variants = [changed(beat, name, sign * step) for name, step in STEPS.items() for sign in (1, -1)]
        signal, *others = self._render([beat, *variants])
        effects = {
            name: ((larger - smaller) / (2 * step)).astype(np.float32)
            for (name, step), larger, smaller in zip(STEPS.items(), others[::2], others[1::2], strict=True)
        }
        bounds = wave_bounds(beat, self.spec["sampling_rate"], self.grid.shape[0])
        values = (signal + self.nuisance(scan_id)).astype(np.float32)
        return RawScan(values, self.grid, labels=wave_labels(bounds, self.grid.shape[0]), truths=effects)

    def counterfactual(self, scan_id: str, output: str, change: float) -> np.ndarray:
        """Return one record with an output changed and everything else held fixed.

        Parameters
        ----------
        scan_id : str
            The record.
        output : str
            One of `OUTPUTS`.
        change : float
            What is added to it, in its unit; 0 gives the record itself.

        Returns
        -------
        ndarray, shape (12, samples), float32
            Millivolts.

        Raises
        ------
        IntakeError
            If the cohort has no such output or scan.
        """
        if output not in OUTPUTS:
            raise IntakeError(
                f"the source has no output '{output}'.", field=scan_id, remedy=f"use one of {', '.join(OUTPUTS)}."
            )
        if scan_id not in self._people:
            raise IntakeError("the scan is not in the cohort.", field=scan_id, remedy="ask for one of its records.")
        signal = self._render([changed(self.beat(scan_id), output, change)])[0]
        return (signal + self.nuisance(scan_id)).astype(np.float32)

    def nuisance(self, scan_id: str) -> np.ndarray:
        """Return what one record holds beside its beats, shape (12, samples), in mV: no counterfactual changes it."""
        spec, n_samples = self.spec, self.grid.shape[0]
        times = np.arange(n_samples) * self.grid.spacing[0]
        recorded = spec["noise_mv"] * self._random(scan_id, "noise").standard_normal((len(RECORDED), n_samples))
        recorded += _wander(times, spec["wander_mv"], self._random(scan_id, "wander"))
        if spec["decoy"]:
            recorded[MARK_LEAD] += self.mark(scan_id) * bell(times, *map(np.asarray, MARK_MS))
        leads = twelve_leads(recorded)
        return leads + self._suppressor(scan_id) if spec["suppressor_mv"] else leads

    def mark(self, scan_id: str) -> float:
        """Return the height of a record's decoy (mV): correlated with an output, but no effect of it."""
        spec, output = self.spec, self.spec["decoy"]
        value = measured(self.beat(scan_id), output)
        if output in RANGES:
            low, high = spec[RANGES[output]]
            standard = (value - (low + high) / 2) * math.sqrt(12) / (high - low)
        else:
            standard = math.log(value / USUAL[AMPLITUDES[output]][V5]) / spec["amplitude_sd"]
        share = spec["decoy_correlation"]
        chance = float(self._random(scan_id, "decoy").standard_normal())
        return float(spec["decoy_mv"] * (share * standard + math.sqrt(1 - share**2) * chance))

    def _suppressor(self, scan_id: str) -> np.ndarray:
        """Return the nuisance of V5 and V6: in shape and place an R wave, so that V5 alone cannot tell it."""
        beat = self.beat(scan_id)
        heights = {wave: np.zeros(len(RECORDED)) for wave in beat.amplitudes}
        heights["r"][[V5, V6]] = self.spec["suppressor_mv"] * self._random(scan_id, "suppressor").standard_normal()
        return self._render([replace(beat, amplitudes=heights)])[0]

    def _random(self, *keys: object) -> np.random.Generator:
        return generator(self.seed, "beats", *keys)


def _wander(times: np.ndarray, amplitude: float, random: np.random.Generator) -> np.ndarray:
    """Return slow waves with a standard deviation of `amplitude`, shape (8, samples)."""
    shape = (len(RECORDED), N_WANDERS, 1)
    cycles = random.uniform(*WANDER_HZ, size=shape) * times / 1000 + random.uniform(size=shape)
    heights = amplitude * math.sqrt(2 / N_WANDERS) * random.standard_normal(shape)
    return (heights * np.sin(2 * np.pi * cycles)).sum(axis=1)
