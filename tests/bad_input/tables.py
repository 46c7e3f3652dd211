"""Tables, labels and folds: what spreadsheets spoil, ids that are not one, classes that are not there, leaks."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from bad_input import Trial
from cohorts.scan_files import outputs, table_rows, table_spec, write_cohort, write_rows
from heatproof.files import write_table
from heatproof.stages.prepare import prepare
from heatproof.stages.split import split

BAD = 3
N_FOLDS = 3


def prepared(folder: Path, **keys: object) -> None:
    prepare(table_spec(**keys), seed=1, root=folder, **outputs(folder / "results"))


def with_cells(**cells: object) -> Callable[[Path], object]:
    """Return an attempt with some cells of one row replaced."""

    def attempt(folder: Path) -> None:
        write_cohort(folder)
        rows = table_rows()
        rows[BAD] |= cells
        write_rows(folder / "scans.tsv", rows)
        prepared(folder)

    return attempt


def with_bytes(change: Callable[[bytes], bytes], **keys: object) -> Callable[[Path], object]:
    """Return an attempt with the bytes of the table changed."""

    def attempt(folder: Path) -> None:
        write_cohort(folder)
        table = folder / "scans.tsv"
        table.write_bytes(change(table.read_bytes()))
        prepared(folder, **keys)

    return attempt


def _rows(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    return with_bytes(lambda content: ("\n".join(change(content.decode().splitlines())) + "\n").encode())


def _one_image(repacked: bool) -> Callable[[Path], object]:
    def attempt(folder: Path) -> None:
        write_cohort(folder)
        content = (folder / "images/scan-2.nii.gz").read_bytes()
        again = gzip.compress(gzip.decompress(content), compresslevel=1) if repacked else content
        (folder / f"images/scan-{BAD}.nii.gz").write_bytes(again)
        prepared(folder)

    return attempt


def _excluded_class(folder: Path) -> None:
    rows = write_cohort(folder)
    for row in rows:
        if row["diagnosis"] == "AD":
            (folder / str(row["path"])).write_bytes(b"")
    prepared(folder, on_bad_scan="exclude")


def people(n: int = 24) -> pd.DataFrame:
    """Return a participants table of two scans per person."""
    return pd.DataFrame(
        {
            "scan_id": [f"scan-{number:02d}" for number in range(n)],
            "participant_id": [f"person-{number // 2:02d}" for number in range(n)],
            "diagnosis": [("HC", "AD")[number // 2 % 2] for number in range(n)],
            "strat_fold": [number // 2 % N_FOLDS for number in range(n)],
            "visit": [number % 2 for number in range(n)],
        }
    )


def own_folds() -> pd.DataFrame:
    """Return folds of one's own without a leak."""
    scans = people()
    person = scans["participant_id"].str[-2:].astype(int)
    parts = []
    for fold in range(N_FOLDS):
        away = (person // 2 - fold) % N_FOLDS
        parts.append(
            pd.DataFrame(
                {"fold": fold, "scan_id": scans["scan_id"], "part": away.map({0: "test", 1: "validation", 2: "train"})}
            )
        )
    return pd.concat(parts, ignore_index=True)


def folds_of(
    spec: dict[str, object],
    table: Callable[[], pd.DataFrame] = people,
    own: Callable[[pd.DataFrame], pd.DataFrame] = lambda own: own,
    recipe: str = "corrected",
) -> Callable[[Path], object]:
    """Return an attempt to split a table as a config entry asks."""

    def attempt(folder: Path) -> None:
        write_table(table(), folder / "participants.tsv")
        write_table(own(own_folds()), folder / "own.tsv")
        split(
            folder / "participants.tsv", spec, [recipe], seed=1, root=folder,
            folds=folder / "folds.tsv", leakage=folder / "leakage.tsv",
        )  # fmt: skip

    return attempt


def _leak(own: pd.DataFrame) -> pd.DataFrame:
    row = own.index[(own["fold"] == 0) & (own["part"] == "test")][0]
    return own.assign(part=own["part"].where(own.index != row, "train"))


def _few_patients() -> pd.DataFrame:
    return people().assign(
        diagnosis=lambda table: ["AD" if name < "person-02" else "HC" for name in table["participant_id"]]
    )


OWN = {"n_folds": N_FOLDS, "file": "own.tsv"}
PARTS = {"train": [0], "validation": [1], "test": [2]}

TRIALS = (
    Trial("an id is used twice", with_cells(scan_id="scan-2")),
    Trial("ids that differ only in case", with_cells(scan_id="SCAN-2")),
    Trial("ids that differ only in zero padding", with_cells(participant_id="person-02")),
    Trial("an id padded with a space", with_cells(scan_id="scan-3 ")),
    Trial("an id with a zero-width space", with_cells(participant_id="person-2\u200b")),
    Trial("a person without an id", with_cells(participant_id="n/a")),
    Trial("the same image bytes under two ids", _one_image(False)),
    Trial("the same image, packed anew, under two ids", _one_image(True)),
    Trial("the label n/a", with_cells(diagnosis="n/a")),
    Trial("the label unknown", with_cells(diagnosis="unknown")),
    Trial("an empty label", with_cells(diagnosis="")),
    Trial("a label that is no class", with_cells(diagnosis="FTD")),
    Trial("no file is named", with_cells(path="n/a")),
    Trial("an age in words", with_cells(age="seventy")),
    Trial("an age with a decimal comma", with_cells(age="63,5")),
    Trial("an age below zero", with_cells(age=-63)),
    Trial("the table is missing", lambda folder: prepared(folder)),
    Trial("the table is empty", with_bytes(lambda content: b"")),
    Trial("a header and no rows", _rows(lambda lines: lines[:1])),
    Trial("a column is missing", _rows(lambda lines: [lines[0].replace("diagnosis", "dx"), *lines[1:]])),
    Trial("a column is there twice", _rows(lambda lines: [lines[0].replace("sex", "diagnosis"), *lines[1:]])),
    Trial("semicolons as separators", with_bytes(lambda content: content.replace(b"\t", b";"))),
    Trial("one row longer than the header", _rows(lambda lines: [*lines[:4], lines[4] + "\tmore", *lines[5:]])),
    Trial("all rows longer than the header", _rows(lambda lines: [lines[0], *(line + "\t" for line in lines[1:])])),
    Trial("one row cut short", _rows(lambda lines: [*lines[:4], "\t".join(lines[4].split("\t")[:3]), *lines[5:]])),
    Trial("a quotation mark that is never closed",
          with_bytes(lambda content: content.replace(b"scan-2\t", b'"scan-2\t'))),
    Trial("Latin-1 instead of UTF-8",
          with_bytes(lambda content: content.replace(b"person-3", "M\u00fcller".encode("latin-1")))),
    Trial("UTF-16", with_bytes(lambda content: content.decode().encode("utf-16"))),
    Trial("a spreadsheet's own file", with_bytes(lambda content: b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(255)))),
    Trial("classes that the mapping does not fill", with_bytes(lambda content: content, diagnosis={"HC": ["HC"]})),
    Trial("one label stands for two classes",
          with_bytes(lambda content: content, diagnosis={"HC": ["HC"], "AD": ["HC"]})),
    Trial("nobody of one class", with_bytes(lambda content: content.replace(b"\tAD\t", b"\tHC\t"))),
    Trial("nobody of one class is left (on_bad_scan: exclude)", _excluded_class),
    Trial("a class smaller than the folds", folds_of({"n_folds": N_FOLDS}, _few_patients)),
    Trial("more folds than people", folds_of({"n_folds": 50})),
    Trial("more folds than scans, split as published", folds_of({"n_folds": 50}, recipe="as_published")),
    Trial("own folds: a person trained on and tested", folds_of(OWN, own=_leak)),
    Trial("own folds: numbered from 1", folds_of(OWN, own=lambda own: own.assign(fold=own["fold"] + 1))),
    Trial("own folds: a scan that is in no table", folds_of(OWN, own=lambda own: own.replace("scan-05", "scan-99"))),
    Trial("own folds: a part that is none", folds_of(OWN, own=lambda own: own.replace("validation", "development"))),
    Trial("own folds: a column is missing", folds_of(OWN, own=lambda own: own.drop(columns="part"))),
    Trial("published folds: no such column", folds_of({"n_folds": N_FOLDS, "published_column": "fold"})),
    Trial("published folds: a person in two of them", folds_of({"n_folds": 2, "published_column": "visit"})),
    Trial("published folds: another number of them", folds_of({"n_folds": 5, "published_column": "strat_fold"})),
    Trial("a split column whose values are in no part",
          folds_of({"n_folds": 1, "split_column": "strat_fold", "parts": {**PARTS, "test": [7]}})),
    Trial("two ways to give the folds", folds_of({**OWN, "published_column": "strat_fold"})),
)  # fmt: skip
