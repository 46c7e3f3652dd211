"""Paths that lead out of the data root or of the working directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input import Trial, signals
from bad_input.settings import FILE, changed
from bad_input.tables import BAD, folds_of
from cohorts.scan_files import brain, outputs, table_rows, table_spec, write_cohort, write_image, write_rows
from cohorts.signal_files import Ecg, write_record
from heatproof.cohorts.sources import open_source
from heatproof.configuration import complete
from heatproof.stages.prepare import prepare

ELSEWHERE = "/elsewhere/scan.nii.gz"


def in_config(path: str, value: Any) -> Callable[[Path], object]:
    """Return an attempt with one path of a configuration that leads out of the data root."""
    return lambda folder: complete(changed({"/data_root": str(folder), path: value}), FILE)


def linked(path: str, value: Any) -> Callable[[Path], object]:
    """Return an attempt with a path inside the data root that is a link out of it."""

    def attempt(folder: Path) -> None:
        (folder / "data").mkdir()
        (folder / "data/link").symlink_to(folder)
        complete(changed({"/data_root": str(folder / "data"), path: value}), FILE)

    return attempt


def in_cell(cell: Callable[[Path], str]) -> Callable[[Path], object]:
    """Return an attempt with a table whose row names a file outside."""

    def attempt(folder: Path) -> None:
        root = folder / "data"
        write_cohort(root)
        write_image(folder / "secret.nii.gz", brain(9))
        (root / "images/link.nii.gz").symlink_to(folder / "secret.nii.gz")
        rows = table_rows()
        rows[BAD]["path"] = cell(folder)
        write_rows(root / "scans.tsv", rows)
        prepare(table_spec(), seed=1, root=root, **outputs(folder / "results"))

    return attempt


def _grid(folder: Path) -> None:
    write_cohort(folder / "data")
    prepare(table_spec(grid="../secret.nii.gz"), seed=1, root=folder / "data", **outputs(folder / "results"))


def _records(folder: Path) -> None:
    write_record(folder / "data/ecg/1", Ecg().signal())
    (folder / "data/ecg/RECORDS").write_text("../../secret/1\n")
    spec = signals.entry("wfdb", folder="ecg", annotations="{name}.{lead}")
    open_source(spec, seed=1, root=folder / "data")


def _people(folder: Path) -> None:
    (folder / "data/bids").mkdir(parents=True)
    (folder / "participants.tsv").write_text("participant_id\tdiagnosis\nsub-1\tHC\n")
    (folder / "data/bids/participants.tsv").symlink_to(folder / "participants.tsv")
    spec = {"source": "bids", "folder": "bids", "entities": {}}
    open_source(spec, seed=1, root=folder / "data")


TABLE = {"source": "table", "table": "scans.tsv"}

TRIALS = (
    Trial("config: results above the working directory", in_config("/results", "../results")),
    Trial("config: results that climb out again", in_config("/results", "a/../../results")),
    Trial("config: results at an absolute path", in_config("/results", "/results")),
    Trial("config: results with a name in braces", in_config("/results", "results/{study}")),
    Trial("config: a table above the data root", in_config("cohort", {**TABLE, "table": "../scans.tsv"})),
    Trial("config: a table at an absolute path", in_config("cohort", {**TABLE, "table": "/elsewhere/scans.tsv"})),
    Trial("config: a table behind a link", linked("cohort", {**TABLE, "table": "link/scans.tsv"})),
    Trial("config: a grid outside", in_config("cohort", {**TABLE, "grid": ELSEWHERE})),
    Trial("config: an atlas outside", in_config("cohort", {**TABLE, "atlas": {"path": ELSEWHERE}})),
    Trial("config: a folder to fetch into outside",
          in_config("cohort", {"source": "wfdb", "folder": "ecg", "fetch": [{"folder": "../ecg", "dataset": "ludb"}]})),
    Trial("config: a truth outside", in_config("truths", {"map": {"source": "mask", "file": ELSEWHERE}})),
    Trial("config: one of several tables of foci outside",
          in_config("truths", {"ale": {"source": "meta_analysis", "foci": ["foci.tsv", "../foci.tsv"]}})),
    Trial("config: initial weights outside", in_config("models.net.initial_weights", "../../weights.pt")),
    Trial("config: folds outside", in_config("folds.file", "../folds.tsv")),
    Trial("config: raters' answers outside", in_config("rating.answers", "/elsewhere/answers")),
    Trial("table: a file above the data root", in_cell(lambda folder: "../secret.nii.gz")),
    Trial("table: a file at an absolute path", in_cell(lambda folder: str(folder / "secret.nii.gz"))),
    Trial("table: a link to a file outside", in_cell(lambda folder: "images/link.nii.gz")),
    Trial("the gate itself: a grid outside", _grid),
    Trial("the gate itself: folds outside", folds_of({"n_folds": 3, "file": "../own.tsv"})),
    Trial("WFDB: a list of recordings that leads out", _records),
    Trial("BIDS: a table of participants that is a link", _people),
)  # fmt: skip
