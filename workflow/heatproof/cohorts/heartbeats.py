"""A heartbeat as a function of what a reader measures in it: intervals, amplitudes and rate.

Every wave is a Gaussian bell with two half widths (as in the dynamical model of McSharry et al., IEEE Trans Biomed
Eng 2003;50:289, doi:10.1109/TBME.2003.808805, whose waves are Gaussians), cut at `REACH` standard deviations and
lowered to be exactly zero there, so that onsets and offsets are exact. No wave reaches the peak of another one, so
that amplitudes are exact as well.

What changes when one number changes, and what stays:

- ``pr``: all P waves move as they are; QRS and T stay.
- ``qrs``: the complex stretches from its onset, with its amplitudes and with its peaks at the same share of its
  duration; the J point and the shape of the ST segment move along; P and T stay, and so do PR and QT.
- ``qt``: T waves move as they are; QRS and ST shift stay.
- ``heart_rate``: the beat in question stays, its neighbours move as they are.
- ``r_v5``, ``t_v5``, ``j_v5``: that wave of V5 is scaled, in every beat.

All is a pure function of a `Heartbeat`; noise is none of its business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from heatproof.cohorts.leads import STANDARD_LEADS as LEADS
from heatproof.cohorts.waves import Bound

# Leads that are recorded; the other four follow from I and II.
RECORDED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
V5, V6 = RECORDED.index("V5"), RECORDED.index("V6")
OUTPUTS = {
    "heart_rate": "bpm", "pr": "ms", "qt": "ms", "qrs": "ms", "r_v5": "mV", "t_v5": "mV", "j_v5": "mV",
}  # fmt: skip
INTERVALS = ("heart_rate", "pr", "qt", "qrs")
# Outputs that are the amplitude of a wave in V5.
AMPLITUDES = {"r_v5": "r", "t_v5": "t", "j_v5": "j"}
# Usual amplitudes (mV) in the order of `RECORDED`; V1 to V3 have no Q wave.
USUAL = {
    "p": np.array([0.09, 0.14, 0.06, 0.07, 0.07, 0.07, 0.07, 0.06]),
    "q": np.array([-0.07, -0.09, 0.0, 0.0, 0.0, -0.05, -0.10, -0.10]),
    "r": np.array([0.60, 0.95, 0.22, 0.45, 0.85, 1.45, 1.40, 1.10]),
    "s": np.array([-0.14, -0.18, -0.90, -1.40, -0.95, -0.55, -0.28, -0.16]),
    "t": np.array([0.20, 0.28, 0.06, 0.45, 0.50, 0.42, 0.35, 0.26]),
}
# Half of a bell is this many standard deviations long.
REACH = 2.5
# Where the peaks lie: shares of the duration of P, QRS and T.
P_PEAK, Q_PEAK, R_PEAK, S_PEAK, T_PEAK = 0.5, 0.15, 0.42, 0.70, 0.58
# Q has left where R peaks, S begins there; R begins inside Q, or with the complex where there is no Q.
Q_END, R_ONSET, R_END, S_ONSET = 0.36, 0.20, 0.66, 0.44


@dataclass(frozen=True)
class Heartbeat:
    """All that shapes the beats of one record; one value per recorded lead where the shape is (8,).

    Attributes
    ----------
    heart_rate : float
        Beats per minute.
    pr, qrs, qt : float
        Earliest P onset to earliest QRS onset; earliest QRS onset to latest QRS offset; earliest QRS onset to latest
        T offset (ms).
    onset : float
        Where the beat's QRS begins in the record (ms).
    p_duration, t_duration, st_duration : float
        Length of P and of T, and how long after the J point the shift of ST has gone (ms).
    p_delay, t_lead : ndarray, shape (8,)
        How much later than the earliest lead P begins, and earlier than the latest lead T ends (ms); the least is 0.
    qrs_delay, qrs_lead : ndarray, shape (8,)
        The same for QRS, as shares of its duration.
    amplitudes : mapping of str to ndarray, shape (8,)
        Height of p, q, r, s, t and of j, the J point, over the baseline (mV).
    linked : bool
        Whether V6 repeats V5: a change of R, T or J in V5 changes V6 too.
    """

    heart_rate: float
    pr: float
    qrs: float
    qt: float
    onset: float
    p_duration: float
    t_duration: float
    st_duration: float
    p_delay: np.ndarray
    qrs_delay: np.ndarray
    qrs_lead: np.ndarray
    t_lead: np.ndarray
    amplitudes: Mapping[str, np.ndarray]
    linked: bool = False

    @property
    def period(self) -> float:
        """Time from one beat to the next (ms)."""
        return 60_000 / self.heart_rate


@dataclass(frozen=True)
class _Wave:
    """One wave in several records; onset, peak and offset (ms, from the QRS onset) and height, each (records, 8)."""

    onset: np.ndarray
    peak: np.ndarray
    offset: np.ndarray
    height: np.ndarray


def measured(beat: Heartbeat, output: str) -> float:
    """Return what a reader measures in a beat without noise, in the unit of `OUTPUTS`."""
    if output in AMPLITUDES:
        return float(beat.amplitudes[AMPLITUDES[output]][V5])
    return float(getattr(beat, output))


def changed(beat: Heartbeat, output: str, change: float) -> Heartbeat:
    """Return the beat with one output changed by `change` (in its unit) and all else held fixed."""
    if output not in AMPLITUDES:
        return replace(beat, **{output: getattr(beat, output) + change})
    wave = AMPLITUDES[output]
    heights = beat.amplitudes[wave].copy()
    heights[V5] += change
    if beat.linked:
        heights[V6] += change * ratio(wave)
    return replace(beat, amplitudes={**beat.amplitudes, wave: heights})


def ratio(wave: str) -> float:
    """Return how high a wave is in V6 for each mV in V5, where V6 repeats V5."""
    return float(USUAL[wave][V6] / USUAL[wave][V5]) if wave in USUAL else 1.0


def render(beats: Sequence[Heartbeat], sampling_rate: float, n_samples: int) -> np.ndarray:
    """Return records without noise.

    Parameters
    ----------
    beats : sequence of Heartbeat
        One per record.
    sampling_rate : float
        Samples per second.
    n_samples : int
        Length of the records.

    Returns
    -------
    ndarray, shape (len(beats), 12, n_samples), float64
        Millivolts in the order of `LEADS`.
    """
    times = np.arange(n_samples) * (1000 / sampling_rate)
    recorded = np.zeros((len(beats), len(RECORDED), n_samples))
    onsets = np.array([beat.onset for beat in beats])[:, np.newaxis]
    periods = np.array([beat.period for beat in beats])[:, np.newaxis]
    # Enough neighbours on either side to fill the record, and those of which only a tail reaches into it.
    reach = math.ceil(n_samples * 1000 / sampling_rate / periods.min()) + 1
    for wave in _waves(beats):
        for neighbour in range(-reach, reach + 1):
            _add(recorded, times, wave, onsets + neighbour * periods)
    return twelve_leads(recorded)


def twelve_leads(recorded: np.ndarray) -> np.ndarray:
    """Return all twelve leads of the eight that are recorded, (..., 8, samples) to (..., 12, samples).

    III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2 (Einthoven; Goldberger).
    """
    first, second = recorded[..., 0, :], recorded[..., 1, :]
    limbs = (first, second, second - first, -(first + second) / 2, first - second / 2, second - first / 2)
    return np.concatenate([np.stack(limbs, axis=-2), recorded[..., 2:, :]], axis=-2)


def wave_bounds(beat: Heartbeat, sampling_rate: float, n_samples: int) -> list[list[Bound]]:
    """Return onset and offset (in samples) of every wave of every lead, neighbour beats included.

    A lead that follows from I and II has the earlier onset and the later offset of both.
    """
    qrs = np.stack([beat.qrs_delay * beat.qrs, (1 - beat.qrs_lead) * beat.qrs])
    p = np.stack([beat.p_delay - beat.pr, np.full(len(RECORDED), beat.p_duration - beat.pr)])
    t = np.stack([np.full(len(RECORDED), beat.qt - beat.t_duration), beat.qt - beat.t_lead])
    reach = math.ceil(n_samples * 1000 / sampling_rate / beat.period) + 1

    def samples(edge: float, neighbour: int) -> float:
        return (edge + beat.onset + neighbour * beat.period) * sampling_rate / 1000

    found: list[list[Bound]] = []
    for lead in LEADS:
        sources = [RECORDED.index(lead)] if lead in RECORDED else [0, 1]
        edges = {
            name: (float(onset[sources].min()), float(offset[sources].max()))
            for name, (onset, offset) in (("p", p), ("qrs", qrs), ("t", t))
        }
        found.append(
            [
                (name, samples(first, neighbour), samples(last, neighbour))
                for neighbour in range(-reach, reach + 1)
                for name, (first, last) in edges.items()
            ]
        )
    return found


def bell(times: np.ndarray, onset: np.ndarray, peak: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return a Gaussian with two half widths that is 1 at its peak and exactly 0 outside (onset, offset).

    All arguments broadcast against each other (ms).
    """
    half = np.where(times < peak, peak - onset, offset - peak)
    distance = np.abs(times - peak) / half
    edge = math.exp(-(REACH**2) / 2)
    values = (np.exp(-((REACH * distance) ** 2) / 2) - edge) / (1 - edge)
    return np.where(distance < 1, values, 0.0)


def _waves(beats: Sequence[Heartbeat]) -> Iterator[_Wave]:
    """Yield every wave of several records in time from their QRS onset."""

    def number(name: str) -> np.ndarray:
        return np.array([getattr(beat, name) for beat in beats])[:, np.newaxis]

    def leads(name: str) -> np.ndarray:
        return np.stack([getattr(beat, name) for beat in beats])

    height = {wave: np.stack([beat.amplitudes[wave] for beat in beats]) for wave in (*USUAL, "j")}
    pr, qrs, qt = number("pr"), number("qrs"), number("qt")
    p_duration, t_duration = number("p_duration"), number("t_duration")
    start, end = leads("qrs_delay") * qrs, (1 - leads("qrs_lead")) * qrs
    yield _Wave(leads("p_delay") - pr, P_PEAK * p_duration - pr, p_duration - pr, height["p"])
    yield _Wave(start, Q_PEAK * qrs, Q_END * qrs, height["q"])
    yield _Wave(np.where(USUAL["q"] == 0, start, R_ONSET * qrs), R_PEAK * qrs, R_END * qrs, height["r"])
    yield _Wave(S_ONSET * qrs, S_PEAK * qrs, end, height["s"])
    # The shift of ST rises behind the peak of R and is whole at the J point.
    yield _Wave(R_PEAK * qrs, qrs, qrs + number("st_duration"), height["j"])
    yield _Wave(qt - t_duration, qt - (1 - T_PEAK) * t_duration, qt - leads("t_lead"), height["t"])


def _add(recorded: np.ndarray, times: np.ndarray, wave: _Wave, shift: np.ndarray) -> None:
    """Add one wave of one beat, computed only on the samples that it can reach."""
    onset, peak, offset = (edge + shift for edge in (wave.onset, wave.peak, wave.offset))
    first, last = np.searchsorted(times, onset.min()), np.searchsorted(times, offset.max(), side="right")
    if first < last:
        edges = (edge[..., np.newaxis] for edge in (onset, peak, offset))
        recorded[..., first:last] += wave.height[..., np.newaxis] * bell(times[first:last], *edges)
