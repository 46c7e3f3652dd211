"""Files of WFDB recordings: what a header promises, checked before a sample is read, samples in mV, and marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.delineation import beats_of, matched, waves_of
from heatproof.cohorts.leads import per_millivolt, places_of
from heatproof.errors import HeatproofError, IntakeError

HEADER = ".hea"
# A forged header must not fill the memory: 12 leads of a day at 500 Hz, as float64.
LARGEST_BYTES = 4 << 30


@dataclass(frozen=True)
class RecordHeader:
    """What the header of a recording says.

    Attributes
    ----------
    path : Path
        The recording without its suffix.
    leads : tuple of str
        Names as the recording spells them.
    places : tuple of int
        Where the wanted leads stand among all of its signals.
    factors : tuple of float
        mV per unit of the samples, lead by lead.
    rate : float
        Samples per second.
    n_samples : int
        Length.
    data : Path
        The file with the samples.
    """

    path: Path
    leads: tuple[str, ...]
    places: tuple[int, ...]
    factors: tuple[float, ...]
    rate: float
    n_samples: int
    data: Path


def read_record_header(path: Path, leads: Sequence[str], counts_per_mv: float | None = None) -> RecordHeader:
    """Return what a header says of the wanted leads.

    Parameters
    ----------
    path : Path
        The recording without its suffix.
    leads : sequence of str
        Wanted leads (`heatproof.cohorts.leads.places_of`).
    counts_per_mv : float, optional
        Gain that goes before those of the header, for headers whose gains are not those of the recorder.

    Raises
    ------
    IntakeError
        If it cannot be read, has several segments, names a file elsewhere, lacks a lead, or a unit is no voltage.
    """
    import wfdb

    file = path.name + HEADER
    try:
        header: Any = wfdb.rdheader(str(path))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise _unreadable("the header cannot be read", file, error) from error
    if not getattr(header, "sig_name", None):
        raise IntakeError(
            "the recording has several segments or no signals.",
            file=file,
            field="header",
            remedy="join its segments into one recording first",
        )
    names = {str(name) for name in header.file_name}
    if any(Path(name).name != name for name in names) or not all((path.parent / name).is_file() for name in names):
        raise IntakeError(
            f"the samples ({', '.join(sorted(names))}) do not lie beside the header.",
            file=file,
            field="header",
            remedy="put the files of a recording into one folder",
        )
    if header.sig_len is None or header.sig_len * header.n_sig * 8 > LARGEST_BYTES:
        raise IntakeError(
            f"the header promises {header.sig_len} samples.", file=file, field="header", remedy="correct the header"
        )
    places = places_of(leads, header.sig_name, file)
    spelled = tuple(str(header.sig_name[place]) for place in places)
    units = header.units or ["mV"] * header.n_sig
    factors = tuple(
        1 / (counts_per_mv or per_millivolt(str(units[place]), f"{file}, lead {header.sig_name[place]}"))
        for place in places
    )
    data = path.parent / str(header.file_name[places[0]])
    return RecordHeader(path, spelled, tuple(places), factors, float(header.fs), int(header.sig_len), data)


def read_record(header: RecordHeader, is_digital: bool = False) -> np.ndarray:
    """Return the wanted leads of a recording in mV, shape (leads, n_samples), NaN where a sample is marked invalid.

    Parameters
    ----------
    header : RecordHeader
        As read by `read_record_header`.
    is_digital : bool
        Whether the factors are for the samples as stored (`counts_per_mv`), not for those with the header's gain.
    """
    import wfdb

    try:
        record: Any = wfdb.rdrecord(str(header.path))
        samples = np.asarray(record.p_signal, dtype=np.float64)
        if is_digital:
            # Taken back, so that invalid samples, which only the physical ones tell, stay missing.
            samples = samples * np.asarray(record.adc_gain) + np.asarray(record.baseline)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise _unreadable("the samples cannot be read", header.data.name, error) from error
    return samples[:, list(header.places)].T * np.array(header.factors)[:, None]


def read_marks(paths: Sequence[Path], n_leads: int, rate: float, wanted_rate: float, n_samples: int) -> np.ndarray:
    """Return the beats that are marked in a recording, shape (leads, n_beats, 9), in samples at the wanted rate.

    Parameters
    ----------
    paths : sequence of Path
        One annotation file per lead, or a single one for all of them.
    n_leads : int
        How many leads there are.
    rate, wanted_rate : float
        Samples per second that the marks are counted in, and are returned in.
    n_samples : int
        Length of the recording at its own rate.

    Raises
    ------
    IntakeError
        If a file cannot be read, its marks lie outside the recording or are counted at another rate, or none is a
        QRS complex.
    """
    beats = [_beats(path, rate, wanted_rate, n_samples) for path in paths]
    marks = matched(beats, wanted_rate)
    if not marks.shape[1]:
        raise IntakeError(
            "no QRS complex is marked.",
            file=paths[0].name,
            field="annotations",
            remedy="name the annotator that marks waves: ( onset, p N t peak, ) offset",
        )
    return np.broadcast_to(marks, (n_leads, *marks.shape[1:])) if len(paths) == 1 else marks


def _beats(path: Path, rate: float, wanted_rate: float, n_samples: int) -> np.ndarray:
    import wfdb

    try:
        found: Any = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise _unreadable("the marks cannot be read", path.name, error) from error
    samples = np.asarray(found.sample, dtype=np.float64)
    if found.fs and found.fs != rate:
        raise IntakeError(
            f"the marks are counted at {found.fs:g} Hz, the samples at {rate:g}.",
            file=path.name,
            field="annotations",
            remedy="use the marks of this recording",
        )
    if len(samples) and not (samples.min() >= 0 and samples.max() < n_samples):
        raise IntakeError(
            "marks lie outside the recording.",
            file=path.name,
            field="annotations",
            remedy="use the marks of this recording",
        )
    notes = found.aux_note or [""] * len(samples)
    waves = waves_of((samples * wanted_rate / rate).tolist(), list(found.symbol), list(notes), wanted_rate)
    return beats_of(waves, wanted_rate)


def _unreadable(problem: str, file: str, error: Exception) -> HeatproofError:
    return IntakeError(
        f"{problem} ({str(error).splitlines()[0] if str(error) else type(error).__name__}).",
        file=file,
        field="file",
        remedy="copy it again from its origin",
    )
