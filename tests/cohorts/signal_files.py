"""Small electrocardiograms with known waves, written the way that real recordings lie on a disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import wfdb

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Height of the QRS peak in mV; the other limb leads follow from I and II.
HEIGHTS = {"I": 0.6, "II": 1.0, "V1": -0.8, "V2": -1.1, "V3": 0.7, "V4": 1.5, "V5": 1.3, "V6": 0.9}
# The 9 points of a beat in the order of the package, in WFDB's codes.
CODES = "(p)(N)(t)"
MIT_CODES = {"N": 1, "p": 24, "t": 27, "(": 39, ")": 40}
NOTES = (
    "p-wave onset", "p-wave peak", "p-wave offset", "QRS onset", "R peak", "QRS offset",
    "t-wave onset", "t-wave peak", "t-wave offset",
)  # fmt: skip


@dataclass
class Ecg:
    """One record: triangles for P, QRS and T, on and off at whole samples.

    Times are in samples. ST lies `j` times the height of QRS above the baseline, from the end of QRS to that of T.
    """

    rate: int = 500
    n_samples: int = 5000
    rr: int = 400
    first: int = 300
    pr: int = 80
    p: int = 50
    qrs: int = 45
    qt: int = 190
    t: int = 80
    j: float = 0.05
    has_p: bool = True
    scale: float = 1.0
    offset: float = 0.2
    noise: float = 0.0
    seed: int = 0
    heights: Mapping[str, float] = field(default_factory=lambda: dict(HEIGHTS))

    @property
    def points(self) -> np.ndarray:
        """The 9 points of every whole beat, shape (n_beats, 9)."""
        onsets = np.arange(self.first, self.n_samples - self.qt, self.rr)
        p, end = onsets - self.pr, onsets + self.qt
        table = np.stack(
            [
                p, p + self.p // 2, p + self.p,
                onsets, onsets + self.qrs // 3, onsets + self.qrs,
                end - self.t, end - self.t // 2, end,
            ],
            axis=1,
        ).astype(float)  # fmt: skip
        if not self.has_p:
            table[:, :3] = np.nan
        return table

    def lead(self, height: float) -> np.ndarray:
        """Return one lead without noise, shape (n_samples,)."""
        at, values = np.arange(self.n_samples), np.zeros(self.n_samples)
        for row in self.points:
            waves = [(3, 1.0), (6, 0.3)] + ([(0, 0.15)] if self.has_p else [])
            for column, share in waves:
                values += share * np.interp(at, row[column : column + 3], (0, 1, 0), left=0, right=0)
            values[int(row[5]) : int(row[8])] += self.j
        return values * height * self.scale

    def signal(self) -> np.ndarray:
        """Return the 12 leads in mV, shape (12, n_samples)."""
        of_lead = {name: self.lead(height) for name, height in self.heights.items()}
        rng = np.random.default_rng(self.seed)
        for values in of_lead.values():
            values += self.offset + self.noise * rng.standard_normal(self.n_samples)
        one, two = of_lead["I"], of_lead["II"]
        of_lead |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
        return np.stack([of_lead[name] for name in LEADS])


def write_record(
    path: Path,
    signal: np.ndarray,
    *,
    leads: Sequence[str] = LEADS,
    rate: float = 500,
    unit: str = "mV",
    gain: float | Sequence[float] = 1000,
) -> None:
    """Write a WFDB recording of leads x samples; values are in the unit given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gains = [float(gain)] * len(leads) if np.isscalar(gain) else [float(value) for value in gain]
    wfdb.wrsamp(
        path.name,
        fs=rate,
        units=[unit] * len(leads),
        sig_name=list(leads),
        p_signal=np.ascontiguousarray(signal.T),
        fmt=["32"] * len(leads),
        adc_gain=gains,
        baseline=[0] * len(leads),
        write_dir=str(path.parent),
    )


def write_marks(path: Path, points: np.ndarray, *, in_words: bool = False) -> None:
    """Write one annotation file (its suffix is the annotator) from rows of 9 points; NaN is not marked.

    The bytes are those of WFDB's MIT format: a word per mark with its code and the distance from the last one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    marks = sorted((int(sample), column) for row in points for column, sample in enumerate(row) if sample == sample)
    words, last = bytearray(), 0
    for sample, column in marks:
        # A distance that does not fit beside a code follows code 59 (SKIP) as a long, the high word first.
        step = sample - last
        words += b"".join(word.to_bytes(2, "little") for word in (59 << 10, step >> 16, step & 0xFFFF))
        words += ((22 if in_words else MIT_CODES[CODES[column]]) << 10).to_bytes(2, "little")
        if in_words:
            note = NOTES[column].encode()
            words += (63 << 10 | len(note)).to_bytes(2, "little") + note + b"\0" * (len(note) % 2)
        last = sample
    path.write_bytes(bytes(words) + b"\0\0")


def write_ludb(folder: Path, ecgs: Mapping[str, Ecg], leads: Sequence[str] = LEADS) -> None:
    """Write recordings as LUDB lies on a disk: data/N, one annotator per lead, first and last beat not marked."""
    spelled, places = [name.lower() for name in leads], [LEADS.index(name) for name in leads]
    for name, ecg in ecgs.items():
        write_record(folder / "data" / name, ecg.signal()[places], leads=spelled, rate=ecg.rate)
        for lead in spelled:
            write_marks(folder / "data" / f"{name}.{lead}", ecg.points[1:-1])
    (folder / "RECORDS").write_text("".join(f"data/{name}\n" for name in ecgs))
    rows = [f'{name},"{"FM"[number % 2]}\n","{50 + number}\n",Sinus rhythm,"a\nb"' for number, name in enumerate(ecgs)]
    (folder / "ludb.csv").write_text("\n".join(["ID,Sex,Age,Rhythms,Ischemia", *rows]) + "\n")
