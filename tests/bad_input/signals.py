"""Signals: units, leads, sampling rates, lengths, and headers that contradict their samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

from bad_input import Trial
from cohorts.scan_files import outputs, write_rows
from cohorts.signal_files import LEADS, Ecg, write_ludb, write_marks, write_record
from heatproof.configuration import schema_entries
from heatproof.stages.prepare import prepare

# Recordings with few leads are written fast.
FEW = ("I", "II", "III", "V2", "V5")
PLACES = [LEADS.index(name) for name in FEW]
SPELLED = [name.lower() for name in FEW]


def entry(source: str, **keys: Any) -> dict[str, Any]:
    """Return an entry of a cohort with the defaults of the schema."""
    properties = schema_entries("cohorts_signals.yaml")[source]["properties"]
    defaults = {name: key["default"] for name, key in properties.items() if "default" in key}
    return {**defaults, "source": source, **keys}


def _short(scale: float = 1.0) -> Ecg:
    return Ecg(n_samples=2600, scale=scale)


def in_table(spoil: Callable[[Path], object], suffix: str = ".npy", **keys: Any) -> Callable[[Path], object]:
    """Return an attempt with one of three signals of a table spoiled."""

    def attempt(folder: Path) -> None:
        rows: list[dict[str, object]] = []
        (folder / "signals").mkdir()
        for number in range(3):
            path = folder / f"signals/{number}{suffix if number == 1 else '.npy'}"
            _write(path, _short(0.6 + 0.1 * number).signal()[PLACES])
            rows.append({"scan_id": f"s{number}", "participant_id": f"p{number}",
                         "path": f"signals/{path.name}", "PR": 150 + number})  # fmt: skip
        write_rows(folder / "signals.tsv", rows)
        spoil(folder / f"signals/1{suffix}")
        spec = entry("signals", table="signals.tsv", outputs={"pr": {"column": "PR"}}, units="mV", leads=list(FEW),
                     duration_ms=2000)  # fmt: skip
        prepare({**spec, **keys}, seed=1, root=folder, **outputs(folder / "results"))

    return attempt


def _write(path: Path, values: np.ndarray, names: tuple[str, ...] = FEW) -> None:
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".csv":
        np.savetxt(path, values.T, delimiter=",", header=",".join(names), comments="", fmt="%.6g")


def _again(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda path: _write(path, change(_short(0.7).signal()[PLACES]))


def _word(path: Path) -> None:
    path.write_text(path.read_text().replace("\n0", "\nx", 1))


def _row(**cells: object) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        table = path.parents[1] / "signals.tsv"
        header, *lines = table.read_text().splitlines()
        names = [*header.split("\t"), *(name for name in cells if name not in header.split("\t"))]
        rows = [dict(zip(names, line.split("\t"), strict=False)) for line in lines]
        rows[1] |= {name: str(cell) for name, cell in cells.items()}
        write_rows(table, [{name: row.get(name, "") for name in names} for row in rows])

    return spoil


def in_folder(spoil: Callable[[Path], object], **keys: Any) -> Callable[[Path], object]:
    """Return an attempt with one of three WFDB recordings spoiled."""

    def attempt(folder: Path) -> None:
        write_ludb(folder / "ludb", {"1": _short(), "2": _short(0.8), "3": _short(0.6)}, FEW)
        spoil(folder / "ludb/data")
        spec = entry("wfdb", folder="ludb", table="ludb/ludb.csv", key_column="ID", sex_column="Sex", age_column="Age",
                      leads=list(FEW), annotations="{name}.{lead}", measured=["pr", "qt"])  # fmt: skip
        prepare({**spec, **keys}, seed=1, root=folder, **outputs(folder / "results"))

    return attempt


def _record(
    change: Callable[[np.ndarray], np.ndarray], leads: tuple[str, ...] = FEW, **keys: Any
) -> Callable[[Path], object]:
    spelled = [name.lower() for name in leads]
    return lambda data: write_record(data / "2", change(_short(0.8).signal()[PLACES]), leads=spelled, **keys)


def _set(row: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(signal: np.ndarray) -> np.ndarray:
        signal = signal.copy()
        signal[row, 100 if np.isnan(value) else slice(None)] = value
        return signal

    return change


def _header(old: str, new: str) -> Callable[[Path], object]:
    return lambda data: (data / "2.hea").write_text((data / "2.hea").read_text().replace(old, new))


def _marks(points: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    def spoil(data: Path) -> None:
        for lead in SPELLED:
            write_marks(data / f"2.{lead}", points(_short().points))

    return spoil


def _other_rate(data: Path) -> None:
    places = _short().points[1:3, [3, 4, 5]].ravel().astype(int)
    wfdb.wrann("2", "marks", places, symbol=list("(N)") * 2, fs=250, write_dir=str(data))
    (data / "2.marks").rename(data / "2.v2")


def _no_complex(points: np.ndarray) -> np.ndarray:
    points[:, 3:] = np.nan
    return points


SOUND = _again(lambda signal: signal)

TRIALS = (
    Trial("a unit that is no voltage", in_table(SOUND, units="mmHg")),
    Trial("uV where the config says mV", in_table(_again(lambda signal: signal * 1000))),
    Trial("leads in another order than the config says", in_table(_again(lambda signal: signal[[1, 0, 2, 3, 4]]))),
    Trial("a lead is missing", in_table(lambda path: _write(path, _short().signal()[PLACES[:4]], FEW[:4]), ".csv")),
    Trial("a lead is listed twice in the config", in_table(SOUND, leads=["V5", " v5"])),
    Trial("another sampling rate", in_table(_row(sampling_rate=250))),
    Trial("a sampling rate in no simple ratio to the cohort's",
          in_table(_row(sampling_rate=499.7777), resample=True)),
    Trial("a sampling rate in words", in_table(_row(sampling_rate="fast"))),
    Trial("a flat lead", in_table(_again(_set(3, 0.0)))),
    Trial("a sample is NaN", in_table(_again(_set(3, np.nan)))),
    Trial("a word among the samples", in_table(_word, ".csv")),
    Trial("shorter than asked for", in_table(_again(lambda signal: signal[:, :900]))),
    Trial("leads and samples exchanged", in_table(_again(lambda signal: signal.T))),
    Trial("an array that is no numbers but a pickle",
          in_table(lambda path: np.save(path, np.array([["a"]], dtype=object), allow_pickle=True))),
    Trial("text named .npy", in_table(lambda path: path.write_text("no array"))),
    Trial("a truncated .npy", in_table(lambda path: path.write_bytes(path.read_bytes()[:-4]))),
    Trial("a .csv that is not UTF-8",
          in_table(lambda path: path.write_bytes("I,\u00b5V\n1,2\n".encode("latin-1")), ".csv")),
    Trial("a file of a kind that is not read", in_table(lambda path: path.write_bytes(b"MATLAB 5.0"), ".mat")),
    Trial("the signal is missing", in_table(lambda path: path.unlink())),
    Trial("the number to predict is a word", in_table(_row(PR="long"))),
    Trial("a number to predict without a unit", in_table(SOUND, outputs={"mass": {"column": "PR"}})),
    Trial("a scan of one sample", in_table(SOUND, duration_ms=1)),
    Trial("the same signal under two ids",
          in_table(lambda path: path.write_bytes((path.parent / "0.npy").read_bytes()))),
    Trial("WFDB: a header that cannot be read", in_folder(lambda data: (data / "2.hea").write_text("2 twelve 500\n"))),
    Trial("WFDB: a header that promises more samples than there are", in_folder(_header(" 2600", " 9900"))),
    Trial("WFDB: a header that promises more than the memory holds", in_folder(_header(" 2600", " 900000000000"))),
    Trial("WFDB: a sampling rate of zero", in_folder(_header(" 500 ", " 0 "))),
    Trial("WFDB: several segments",
          in_folder(lambda data: (data / "2.hea").write_text("2/2 5 500 5200\n1 2600\n3 2600\n"))),
    Trial("WFDB: samples cut short",
          in_folder(lambda data: (data / "2.dat").write_bytes((data / "2.dat").read_bytes()[:999]))),
    Trial("WFDB: the samples are missing", in_folder(lambda data: (data / "2.dat").unlink())),
    Trial("WFDB: a header that names a file elsewhere", in_folder(_header("2.dat", "../2.dat"))),
    Trial("WFDB: a lead is missing", in_folder(_record(lambda signal: signal[:4], FEW[:4]))),
    Trial("WFDB: two leads of one name", in_folder(_header(" v2\n", " v5\n"))),
    Trial("WFDB: limb leads exchanged", in_folder(_record(lambda signal: signal[[1, 0, 2, 3, 4]]))),
    Trial("WFDB: uV called mV", in_folder(_record(lambda signal: signal * 1000, gain=1))),
    Trial("WFDB: a unit that is no voltage", in_folder(_record(lambda signal: signal, unit="mmHg"))),
    Trial("WFDB: another sampling rate", in_folder(_record(lambda signal: signal, rate=250))),
    Trial("WFDB: a flat lead", in_folder(_record(_set(3, 0.3)))),
    Trial("WFDB: a sample is NaN", in_folder(_record(_set(4, np.nan)))),
    Trial("WFDB: shorter than a beat", in_folder(_record(lambda signal: signal[:, :500]))),
    Trial("WFDB: marks behind the end", in_folder(_marks(lambda points: points + 2000))),
    Trial("WFDB: marks counted at another rate", in_folder(_other_rate)),
    Trial("WFDB: marks that cannot be read", in_folder(lambda data: (data / "2.v2").write_bytes(b"\x01\xff\xff"))),
    Trial("WFDB: no QRS complex is marked", in_folder(_marks(_no_complex))),
    Trial("WFDB: fewer beats than asked for", in_folder(_marks(lambda points: points[1:3]))),
    Trial("WFDB: the marks are missing", in_folder(lambda data: (data / "2.v2").unlink())),
    Trial("WFDB: the same samples under two ids",
          in_folder(lambda data: (data / "2.dat").write_bytes((data / "1.dat").read_bytes()))),
    Trial("WFDB: a row of the table without a recording",
          in_folder(lambda data: (data.parent / "ludb.csv").open("a").write("77,F,50,x,y\n"))),
    Trial("WFDB: a column of the table that is not there", in_folder(lambda data: None, age_column="years")),
)  # fmt: skip
