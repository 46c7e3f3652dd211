"""Tables of CSV and NPY signals: the same scans from both, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scan_files import outputs, write_rows
from signal_files import LEADS, Ecg

from heatproof.cohorts.signal_listing import Column
from heatproof.cohorts.sources import open_source
from heatproof.cohorts.store import Cohort
from heatproof.configuration import schema_entries
from heatproof.errors import HeatproofError, IntakeError
from heatproof.files import read_table
from heatproof.provenance import data_state
from heatproof.stages.prepare import prepare

N = 4


def spec(**keys: Any) -> dict[str, Any]:
    """Return an entry with the schema's defaults."""
    properties = schema_entries("cohorts_signals.yaml")["signals"]["properties"]
    defaults = {name: entry["default"] for name, entry in properties.items() if "default" in entry}
    outputs_ = {"pr": {"column": "PR"}, "potassium": {"column": "K", "unit": "mmol/l"}}
    given = {"source": "signals", "table": "signals.tsv", "outputs": outputs_, "units": "mV", "duration_ms": 2000}
    return {**defaults, **given, **keys}


def run(root: Path, **keys: Any) -> Cohort:
    files = outputs(root / "results")
    prepare(spec(**keys), seed=1, root=root, **files)
    return Cohort(files["cohort"])


def signal(number: int) -> np.ndarray:
    return Ecg(n_samples=1200, scale=0.6 + 0.1 * number).signal()


def write_csv(path: Path, values: np.ndarray, names: tuple[str, ...] = LEADS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, values.T, delimiter=",", header=",".join(names), comments="", fmt="%.9g")


def write_signals(root: Path, suffix: str = ".npy", factor: float = 1.0) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(N):
        path = root / f"signals/{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            np.save(path, signal(number) * factor)
        else:
            write_csv(path, signal(number) * factor)
        rows.append({"scan_id": f"s{number}", "participant_id": f"p{number // 2}", "path": f"signals/{number}{suffix}",
                     "PR": 150 + number, "K": "" if number == 1 else 4.1, "site": "A"})  # fmt: skip
    write_rows(root / "signals.tsv", rows)
    return rows


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_signals_become_scans_in_millivolts_with_their_numbers(tmp_path: Path, suffix: str) -> None:
    write_signals(tmp_path, suffix, factor=1000)
    with run(tmp_path, units="uV", start_ms=100) as cohort:
        for number, scan_id in enumerate(cohort.scan_ids):
            np.testing.assert_allclose(cohort.scan(scan_id), signal(number)[:, 50:1050], atol=1e-6)
        assert cohort.channel_names == LEADS
        assert (cohort.grid.shape, cohort.grid.spacing, cohort.grid.units) == ((1000,), (2.0,), "ms")
        people = cohort.participants
        assert people["pr"].tolist() == [150, 151, 152, 153]
        assert people["potassium"].isna().tolist() == [False, True, False, False]
        assert cohort.outputs == {"pr": "ms", "potassium": "mmol/l"}
        assert people["participant_id"].tolist() == ["p0", "p0", "p1", "p1"] and set(people["site"]) == {"A"}
        assert not {"path", "PR", "K"} & set(people.columns)
        assert cohort.classes == ("recording",) and not cohort.has_controls
        assert cohort.labels("s0") is None and cohort.truth("s0", "pr") is None


def test_leads_are_taken_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    rows = write_signals(tmp_path)
    order = [5, 3, 0, 10, 1]
    names = tuple(LEADS[place] for place in order)
    for number, row in enumerate(rows):
        values = signal(number)[order]
        if number % 2:
            np.save(tmp_path / str(row["path"]), values)
        else:
            # A column that is no lead is passed over.
            row["path"] = f"signals/{number}.csv"
            timed = np.concatenate([np.arange(1200)[None], values])
            write_csv(tmp_path / str(row["path"]), timed, ("time", *(name.lower() for name in names)))
    write_rows(tmp_path / "signals.tsv", rows)
    with run(tmp_path, leads=["V5", "I", "II", "aVR"], file_leads=list(names)) as cohort:
        for number, scan_id in enumerate(cohort.scan_ids):
            np.testing.assert_allclose(cohort.scan(scan_id), signal(number)[[10, 0, 1, 3], :1000], atol=1e-6)


def test_an_array_with_its_leads_in_another_order_is_noticed(tmp_path: Path) -> None:
    write_signals(tmp_path)
    named = [LEADS[1], LEADS[0], *LEADS[2:]]
    with pytest.raises(IntakeError, match="Einthoven"):
        run(tmp_path, file_leads=named)
    with run(tmp_path, file_leads=named, limb_tolerance=None) as cohort:
        np.testing.assert_allclose(cohort.scan("s0")[0], signal(0)[1, :1000], atol=1e-6)


def test_rates_of_single_signals_are_refused_or_resampled(tmp_path: Path) -> None:
    rows = write_signals(tmp_path)
    for row, rate in zip(rows, (500, 250, "", 500), strict=True):
        row["sampling_rate"] = rate
    np.save(tmp_path / "signals/1.npy", signal(1)[:, ::2])
    write_rows(tmp_path / "signals.tsv", rows)
    with pytest.raises(IntakeError, match=r"s1\t.*sampling_rate.*250 samples per second"):
        run(tmp_path)
    with run(tmp_path, resample=True) as cohort:
        scan = cohort.scan("s1")
        # Corners of the triangles are rounded off by the filter.
        assert np.abs(scan - signal(1)[:, :1000]).max() < 0.1
        assert np.corrcoef(scan.ravel(), signal(1)[:, :1000].ravel())[0, 1] > 0.999
        np.testing.assert_allclose(cohort.scan("s2"), signal(2)[:, :1000], atol=1e-6)
    rows[0]["sampling_rate"] = "fast"
    write_rows(tmp_path / "signals.tsv", rows)
    with pytest.raises(IntakeError, match=r"s0\t.*sampling_rate.*'fast' is no number"):
        run(tmp_path)


def spoil(name: str, path: Path) -> None:
    values = signal(1)
    if name == "missing lead":
        write_csv(path, values[:11], LEADS[:11])
    elif name == "words":
        write_csv(path, values)
        path.write_text(path.read_text().replace("\n0", "\nx", 1))
    elif name == "flat":
        values[6] = 0
        write_csv(path, values)
    elif name == "short":
        write_csv(path, values[:, :900])
    elif name == "turned":
        np.save(path, values.T)
    elif name == "objects":
        np.save(path, np.array([["a"] * 1200] * 12, dtype=object), allow_pickle=True)
    elif name == "text":
        path.write_text("no array")
    elif name == "volts":
        np.save(path, values * 1e3)
    elif name == "gone":
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("name", "suffix", "field", "words"),
    [
        ("missing lead", ".csv", "leads", "leads V6 are missing"),
        ("words", ".csv", "values", "NaN"),
        ("flat", ".csv", "values", "V1 are flat"),
        ("short", ".csv", "duration_ms", "ends after 1.8 s"),
        ("turned", ".npy", "shape", r"\(1200, 12\)"),
        ("objects", ".npy", "file", "cannot be read"),
        ("text", ".npy", "file", "cannot be read"),
        ("volts", ".npy", "units", "between its peaks"),
        ("gone", ".npy", "path", "does not exist"),
        ("other", ".mat", "path", "'.mat' files are not read"),
    ],
)
def test_a_signal_that_cannot_be_used_is_named(tmp_path: Path, name: str, suffix: str, field: str, words: str) -> None:
    rows = write_signals(tmp_path)
    path = tmp_path / f"signals/1{suffix}"
    path.touch()
    rows[1]["path"] = f"signals/1{suffix}"
    write_rows(tmp_path / "signals.tsv", rows)
    spoil(name, path)
    with pytest.raises(IntakeError, match=rf"s1\tsignals/1{suffix}\t{field}\t.*{words}.*\t\w+"):
        run(tmp_path)
    with run(tmp_path, on_bad_scan="exclude") as cohort:
        assert cohort.scan_ids == ["s0", "s2", "s3"]
    table = read_table(tmp_path / "results/intake.tsv").query("action == 'excluded'")
    assert table["scan_id"].tolist() == ["s1"]


def test_equal_files_and_paths_out_of_the_root_are_refused(tmp_path: Path) -> None:
    rows = write_signals(tmp_path)
    (tmp_path / "signals/3.npy").write_bytes((tmp_path / "signals/0.npy").read_bytes())
    with pytest.raises(IntakeError, match="several ids: s0, s3"):
        run(tmp_path)
    rows[0]["path"] = "../0.npy"
    write_rows(tmp_path / "signals.tsv", rows)
    with pytest.raises(IntakeError, match=r"s0\t.*data root"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"outputs": {"mass": {"column": "K"}}}, "cohort.outputs.mass.unit"),
        ({"outputs": {"pr": {"column": "QT"}}}, "QT"),
        ({"duration_ms": 1}, "cohort"),
        ({"leads": ["V1", " v1"]}, "cohort.leads"),
        ({"table": "../signals.tsv"}, "cohort.table"),
        ({"table": "none.tsv"}, None),
    ],
)
def test_wrong_settings(tmp_path: Path, keys: dict[str, Any], field: str | None) -> None:
    write_signals(tmp_path)
    with pytest.raises(HeatproofError) as caught:
        open_source(spec(**keys), seed=1, root=tmp_path)
    assert caught.value.field == field and caught.value.remedy


def test_a_unit_that_is_no_voltage_is_refused(tmp_path: Path) -> None:
    write_signals(tmp_path)
    with pytest.raises(IntakeError, match=r"units.*'hPa' is no unit of voltage"):
        run(tmp_path, units="hPa")


def test_numbers_of_a_cell() -> None:
    column = Column("r_v5", "R", "mV", 0.001, (0.0, -32768.0))
    assert column.value("1250", "file") == 1.25
    assert column.value(-500.0, "file") == -0.5
    assert np.isnan([column.value(cell, "file") for cell in ("", None, np.nan, 0, "-32768", "inf")]).all()
    for cell, words in (("1.2.3", "no number"), (25000, "25 mV cannot be")):
        with pytest.raises(IntakeError, match=words):
            column.value(cell, "file")
    # Nothing is known of what another unit can be.
    assert Column("k", "K", "mmol/l").value(1e6, "file") == 1e6


def test_a_replaced_signal_changes_the_state_of_the_data(tmp_path: Path) -> None:
    write_signals(tmp_path)
    before = data_state(spec(), tmp_path)
    np.save(tmp_path / "signals/2.npy", signal(2)[:, :-1])
    assert data_state(spec(), tmp_path) != before
