"""WFDB recordings: labels from marks and tables, median beats, waves as areas and truths, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scan_files import outputs
from signal_files import LEADS, Ecg, write_ludb, write_marks, write_record

from heatproof.cohorts.delineation import POINT, beat_times, beats_of, matched, waves_of
from heatproof.cohorts.leads import check_signal, places_of, resampled
from heatproof.cohorts.median_beats import r_peaks
from heatproof.cohorts.sources import open_source
from heatproof.cohorts.store import Cohort
from heatproof.cohorts.wave_areas import closed
from heatproof.cohorts.wave_measurements import measured
from heatproof.cohorts.waves import WAVES
from heatproof.configuration import complete, schema_entries
from heatproof.errors import ConfigError, HeatproofError, IntakeError
from heatproof.files import read_table
from heatproof.provenance import data_state
from heatproof.stages.prepare import prepare
from heatproof.stages.split import split

SHARED = Path(os.environ["HEATPROOF_SHARED_DATA"])
ROOT = Path(__file__).resolve().parents[2]
V5 = LEADS.index("V5")


def spec(**keys: Any) -> dict[str, Any]:
    """Return an entry with the schema's defaults, for a folder as LUDB has it."""
    properties = schema_entries("cohorts_signals.yaml")["wfdb"]["properties"]
    defaults = {name: entry["default"] for name, entry in properties.items() if "default" in entry}
    ludb = {"source": "wfdb", "folder": "ludb", "annotations": "{name}.{lead}"}
    table = {"table": "ludb/ludb.csv", "key_column": "ID", "age_column": "Age", "sex_column": "Sex"}
    return {**defaults, **ludb, **(table if keys.get("table", "") is not None else {}), **keys}


def run(root: Path, **keys: Any) -> Cohort:
    files = outputs(root / "results")
    prepare(spec(**keys), seed=1, root=root, **files)
    return Cohort(files["cohort"])


def excluded(root: Path) -> dict[str, str]:
    table = read_table(root / "results/intake.tsv").query("action == 'excluded'")
    return dict(zip(table["scan_id"], table["reason"], strict=True))


def ecgs() -> dict[str, Ecg]:
    return {
        "1": Ecg(),
        "2": Ecg(pr=100, qrs=60, qt=210, rr=450, scale=0.8),
        "10": Ecg(has_p=False, rr=350, j=-0.1),
    }


# ------------------------------------------------------------------------------------ labels from marks


def test_marks_measure_what_was_drawn(tmp_path: Path) -> None:
    write_ludb(tmp_path / "ludb", ecgs())
    with run(tmp_path) as cohort:
        assert cohort.scan_ids == ["1", "2", "10"]
        assert cohort.outputs == {
            "heart_rate": "bpm", "pr": "ms", "qrs": "ms", "qt": "ms", "r_v5": "mV", "t_v5": "mV", "j_v5": "mV",
        }  # fmt: skip
        for scan_id, ecg in ecgs().items():
            row = cohort.participants.loc[scan_id]
            # 500 samples a second: 2 ms each.
            assert (row["qrs"], row["qt"]) == (2 * ecg.qrs, 2 * ecg.qt)
            assert row["heart_rate"] == pytest.approx(60000 / (2 * ecg.rr))
            assert np.isnan(row["pr"]) if not ecg.has_p else row["pr"] == 2 * ecg.pr
            height = ecg.heights["V5"] * ecg.scale
            assert row["r_v5"] == pytest.approx(height, abs=2e-3)
            assert row["t_v5"] == pytest.approx(height * (0.3 + ecg.j), abs=2e-3)
            assert row["j_v5"] == pytest.approx(height * ecg.j, abs=2e-3)
        assert cohort.participants["sex"].tolist() == ["F", "M", "F"]
        assert cohort.participants["age"].tolist() == [50, 51, 52]
        assert cohort.participants["participant_id"].tolist() == cohort.scan_ids
        assert set(cohort.participants["diagnosis"]) == {"recording"}
        assert cohort.classes == ("recording",) and not cohort.has_controls


def test_a_lead_with_few_marks_has_no_say_and_one_odd_lead_does_not_move_the_median(tmp_path: Path) -> None:
    ecg = Ecg()
    write_ludb(tmp_path / "ludb", {"1": ecg})
    late = ecg.points.copy()
    late[:, POINT["t_offset"]] += 60
    write_marks(tmp_path / "ludb/data/1.v1", late[1:3])
    write_marks(tmp_path / "ludb/data/1.v2", late[1:-1])
    few = ecg.points[1:-1].copy()
    few[2:, POINT["qrs_onset"]] = np.nan
    write_marks(tmp_path / "ludb/data/1.v5", few)
    with run(tmp_path) as cohort:
        assert cohort.participants.loc["1", "qt"] == 2 * ecg.qt
        # An amplitude is that of its lead only: two onsets are fewer than min_beats.
        assert np.isnan(cohort.participants.loc["1", "r_v5"])
    with run(tmp_path, min_beats=2) as cohort:
        assert cohort.participants.loc["1", "r_v5"] == pytest.approx(ecg.heights["V5"], abs=2e-3)


def slow_measured(signal: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Return PR and R of V5 beat by beat, one lead after the other."""
    per_lead = []
    for _ in range(12):
        values = [(row[3] - row[0]) * 2 for row in points]
        per_lead.append(sorted(values)[len(values) // 2])
    heights = [signal[V5, int(row[4])] - np.mean(signal[V5, int(row[3]) - 10 : int(row[3])]) for row in points]
    return {"pr": float(np.median(per_lead)), "r_v5": float(np.median(heights))}


def test_measuring_agrees_with_a_loop_over_beats() -> None:
    ecg = Ecg(noise=0.03, seed=4)
    points = ecg.points[: (len(ecg.points) - 1) // 2 * 2 + 1] + np.random.default_rng(1).integers(0, 4, (1, 9))
    signal = ecg.signal()
    found = measured(signal, np.stack([points] * 12), 500, LEADS, ("pr", "r_v5"), 3)
    assert found == pytest.approx(slow_measured(signal, points))


def test_waves_from_marks_that_are_missing_or_drawn_twice() -> None:
    #          no onset    twice drawn peak and ends            no peak    T far behind
    samples = [50, 70, 200, 204, 208, 230, 231, 260, 262, 400, 420, 600, 900]
    symbols = ["N", ")", "(", "(", "(", "t", "t", ")", ")", "(", ")", "N", "t"]
    waves = waves_of(samples, symbols, [""] * len(samples), 500)
    assert [(wave.kind, wave.peak) for wave in waves] == [("qrs", 50), ("t", 230), ("qrs", 600), ("t", 900)]
    assert np.isnan(waves[0].onset) and waves[0].offset == 70
    assert (waves[1].onset, waves[1].offset) == (204, 260)
    assert np.isnan([waves[2].onset, waves[2].offset]).all()
    rows = beats_of(waves, 500)
    assert rows.shape == (2, 9)
    assert rows[0, POINT["t_peak"]] == 230 and rows[1, POINT["t_peak"]] == 900
    # At 1000 samples a second, 300 samples are 300 ms; at 300, a second: that T is another beat's.
    assert np.isnan(beats_of(waves, 300)[1, POINT["t_peak"]])


def test_marks_in_words_go_before_codes() -> None:
    samples = [100, 110, 120, 130, 140, 150]
    notes = ["QRS onset", "Q peak", "R peak\0", "S peak", "QRS offset", "L point"]
    (wave,) = waves_of(samples, ["N"] * 6, notes, 500)
    assert (wave.kind, wave.onset, wave.peak, wave.offset) == ("qrs", 100, 120, 140)


@pytest.mark.parametrize("n_lost", [0, 1, 2])
def test_beats_of_leads_are_matched_and_timed_whatever_a_lead_lacks(n_lost: int) -> None:
    rng = np.random.default_rng(n_lost)
    times = np.cumsum(rng.integers(300, 500, 9)).astype(float)
    # Each lead has its peak elsewhere; the usual distances have a median of zero.
    shifts = np.array([-12.0, -5.0, 0.0, 3.0, 20.0])
    leads = []
    for number, shift in enumerate(shifts):
        rows = np.full((9, 9), np.nan)
        rows[:, POINT["qrs_peak"]] = times + shift
        # Other beats in every lead, so that most leads have each.
        leads.append(np.delete(rows, [(number + lost) % 9 for lost in range(n_lost)], axis=0))
    marks = matched(leads, 500)
    assert marks.shape == (5, 9, 9)
    peaks = marks[..., POINT["qrs_peak"]]
    for lead, shift in enumerate(shifts):
        known = np.isfinite(peaks[lead])
        assert known.sum() == 9 - n_lost
        np.testing.assert_array_equal(peaks[lead, known], times[known] + shift)
    np.testing.assert_allclose(beat_times(marks), times, atol=1e-9)


# ------------------------------------------------------------------------------- median beats and waves


def slow_median_beat(signal: np.ndarray, times: list[int], before: int, after: int) -> np.ndarray:
    beat = np.zeros((len(signal), before + after))
    for lead in range(len(signal)):
        cut = [signal[lead, time - before : time + after] for time in times]
        cut = [part - np.median(part) for part in cut]
        for sample in range(before + after):
            beat[lead, sample] = np.median([part[sample] for part in cut])
    return beat


def test_the_median_beat_is_the_sample_wise_median_of_the_beats(tmp_path: Path) -> None:
    ecg = Ecg(noise=0.02, seed=7)
    write_ludb(tmp_path / "ludb", {"1": ecg})
    with run(tmp_path, before_ms=300, after_ms=500) as cohort:
        assert (cohort.grid.shape, cohort.grid.spacing, cohort.grid.units) == ((400,), (2.0,), "ms")
        assert cohort.channel_names == LEADS
        times = [int(row[POINT["qrs_peak"]]) for row in ecg.points[1:-1]]
        expected = slow_median_beat(ecg.signal(), times, 150, 250)
        np.testing.assert_allclose(cohort.scan("1"), expected, atol=2e-3)
        # What wanders from beat to beat is averaged away.
        clean = slow_median_beat(Ecg().signal(), times, 150, 250)
        assert np.std(cohort.scan("1") - clean) < 0.02


def test_missing_ends_come_from_symmetry_or_for_qrs_from_the_other_leads() -> None:
    whole = [20.0, 30, 38, 50, 62, 75, 120, 150, 170]
    marks = np.array([[whole], [[p + 4 for p in whole]], [[p + 8 for p in whole]], [whole]])
    marks[2, 0, [POINT["qrs_onset"], POINT["t_onset"], POINT["p_offset"]]] = np.nan
    marks[3, 0, POINT["qrs_onset"] : POINT["qrs_offset"] + 1] = np.nan
    found = closed(marks)
    # QRS begins where the median of the two leads that mark it does; not 2 * 70 - 83 = 57.
    assert found[2, 0, POINT["qrs_onset"]] == 52
    assert found[2, 0, POINT["t_onset"]] == 2 * 158 - 178 and found[2, 0, POINT["p_offset"]] == 2 * 38 - 28
    # A lead without a complex gets none.
    assert np.isnan(found[3, 0, POINT["qrs_onset"] : POINT["qrs_offset"] + 1]).all()
    np.testing.assert_array_equal(found[:2], marks[:2])


def test_waves_become_areas_and_truths(tmp_path: Path) -> None:
    ecg = Ecg(rr=340)
    write_ludb(tmp_path / "ludb", {"1": ecg})
    with run(tmp_path) as cohort:
        labels = cohort.labels("1")
        assert labels is not None and labels.shape == (12, 600)
        r_peak = int(ecg.points[2, 4])
        own = {name: (np.full((12, 600), False)) for name in ("p", "pq", "qrs", "st", "t", "tp")}
        for sample in range(600):
            at = sample - 200 + r_peak
            for row in ecg.points:
                spans = {"p": (row[0], row[2]), "qrs": (row[3], row[5]), "t": (row[6], row[8])}
                wave = next((name for name, (low, high) in spans.items() if low <= at <= high), None)
                wave = wave or ("pq" if row[2] < at < row[3] else "st" if row[5] < at < row[6] else None)
                if wave:
                    own[wave][:, sample] = True
        own["tp"] = ~(own["p"] | own["pq"] | own["qrs"] | own["st"] | own["t"])
        for wave, where in own.items():
            expected = 1 + np.arange(12)[:, None] * 6 + WAVES.index(wave)
            np.testing.assert_array_equal(labels == expected, where)
        assert cohort.label_names[int(labels[V5, 200])] == "V5 qrs"
        truths = {name: cohort.truth("1", name) for name in cohort.outputs}
        np.testing.assert_array_equal(truths["pr"], own["p"] | own["pq"])
        np.testing.assert_array_equal(truths["qrs"], own["qrs"])
        np.testing.assert_array_equal(truths["qt"], own["qrs"] | own["st"] | own["t"])
        for name, wave in (("r_v5", "qrs"), ("t_v5", "t")):
            np.testing.assert_array_equal(truths[name][V5], own[wave][V5])
            assert not np.delete(truths[name], V5, axis=0).any()
        j_points = [int(row[5]) - r_peak + 200 for row in ecg.points]
        near = [any(abs(sample - point) <= 10 for point in j_points) for sample in range(600)]
        np.testing.assert_array_equal(truths["j_v5"][V5], near)
        assert cohort.known_truth("1", "heart_rate") is None
        assert cohort.description["truth_kind"] == "waves"


def test_a_rhythm_without_p_has_no_pr_and_no_place_for_it(tmp_path: Path) -> None:
    write_ludb(tmp_path / "ludb", {"1": Ecg(), "2": Ecg(has_p=False, scale=0.9)})
    with run(tmp_path) as cohort:
        assert np.isnan(cohort.participants.loc["2", "pr"])
        assert cohort.known_truth("2", "pr") is None and cohort.known_truth("1", "pr") is not None
        assert not np.isin((cohort.labels("2") - 1) % 6, [WAVES.index("p"), WAVES.index("pq")]).any()


def test_a_record_is_cut_and_what_nobody_marked_is_no_area(tmp_path: Path) -> None:
    ecg = Ecg()
    write_ludb(tmp_path / "ludb", {"1": ecg})
    with run(tmp_path, view="record", start_ms=400, duration_ms=8000) as cohort:
        np.testing.assert_allclose(cohort.scan("1"), ecg.signal()[:, 200:4200], atol=1e-3)
        labels = cohort.labels("1")
        first, last = ecg.points[1, 0] - 200, ecg.points[-2, 8] - 200
        at = np.arange(4000)
        np.testing.assert_array_equal(labels == 0, np.broadcast_to((at < first) | (at > last), (12, 4000)))
        assert cohort.truth("1", "qrs")[V5].sum() == sum(46 for row in ecg.points[1:-1] if row[5] - 200 < 4000)
    with pytest.raises(IntakeError, match=r"data/1.*duration_ms.*10 s.*10\.4 s"):
        run(tmp_path, view="record", start_ms=400)


def test_r_peaks_are_found_without_marks(tmp_path: Path) -> None:
    for number, rate in enumerate((500, 250)):
        share = rate / 500
        whole = {name: round(getattr(Ecg(), name) * share) for name in ("rr", "first", "pr", "p", "qrs", "qt", "t")}
        ecg = Ecg(rate=rate, n_samples=round(5000 * share), noise=0.03, seed=number, **whole)
        found = r_peaks(ecg.signal(), rate)
        expected = ecg.points[:, POINT["qrs_peak"]]
        assert len(found) == len(expected)
        assert np.abs(found - expected).max() <= 0.02 * rate
    write_ludb(tmp_path / "ludb", {"1": Ecg(noise=0.01)})
    with run(tmp_path, align="r_peaks", labels_from="table", outputs={"age_years": {"column": "Age", "unit": "years"}},
             annotations=None) as cohort:  # fmt: skip
        assert cohort.labels("1") is None and cohort.truth("1", "age_years") is None
        assert cohort.scan("1")[V5, :400].argmax() == pytest.approx(200, abs=8)
        assert cohort.outputs == {"age_years": "years"}
        assert cohort.participants.loc["1", "age_years"] == 50


# ---------------------------------------------------------------------------------- units, order, rates


def test_leads_come_in_the_order_that_is_asked_for_and_in_millivolts(tmp_path: Path) -> None:
    ecg = Ecg()
    write_ludb(tmp_path / "ludb", {"1": ecg})
    order = list(range(11, -1, -1))
    spelled = [f" {LEADS[place].upper()}" for place in order]
    write_record(
        tmp_path / "ludb/data/1",
        ecg.signal()[order] * 1000,
        leads=[name.strip() for name in spelled],
        unit="uV",
        gain=1,
    )
    for name in LEADS:
        write_marks(tmp_path / f"ludb/data/1.{name.upper()}", ecg.points[1:-1])
    with run(tmp_path, leads=["V5", "II"]) as cohort:
        expected = slow_median_beat(ecg.signal()[[V5, 1]], [int(row[4]) for row in ecg.points[1:-1]], 200, 400)
        np.testing.assert_allclose(cohort.scan("1"), expected, atol=2e-3)
        assert cohort.channel_names == ("V5", "II")
    assert places_of(("#2", "v5"), ("MLII", "V5"), "file") == [1, 1]


def test_another_sampling_rate_is_refused_or_resampled(tmp_path: Path) -> None:
    share = {name: getattr(Ecg(), name) // 2 * 2 for name in ("rr", "first", "pr", "p", "qt", "t")}
    slow = Ecg(rate=250, n_samples=2500, qrs=24, **{name: value // 2 for name, value in share.items()})
    write_ludb(tmp_path / "ludb", {"1": slow})
    with pytest.raises(IntakeError, match=r"sampling_rate.*250 samples per second.*resample: true"):
        run(tmp_path)
    with run(tmp_path, resample=True) as cohort:
        row = cohort.participants.loc["1"]
        assert (row["pr"], row["qrs"], row["qt"]) == (4 * slow.pr, 4 * slow.qrs, 4 * slow.qt)
        assert row["heart_rate"] == pytest.approx(60000 / (4 * slow.rr))
        assert cohort.scan("1").shape == (12, 600)
        assert cohort.scan("1")[V5].argmax() == pytest.approx(200, abs=2)
        notes = read_table(tmp_path / "results/intake.tsv").query("action == 'noted'")
        assert notes["reason"].tolist() == ["resampled from 250 to 500 Hz"]
    # Both grids sample the same line and the same slow wave.
    at = np.arange(1000) / 250
    line = np.stack([5 + 2 * at, np.sin(2 * np.pi * at)])
    finer = np.arange(2000) / 500
    np.testing.assert_allclose(resampled(line, 250, 500)[0, :1990], (5 + 2 * finer)[:1990], atol=2e-2)
    np.testing.assert_allclose(resampled(line, 250, 500)[1, 20:1980], np.sin(2 * np.pi * finer)[20:1980], atol=1e-2)


def test_gains_of_single_leads_break_einthovens_law_and_counts_mend_it(tmp_path: Path) -> None:
    ecg = Ecg()
    write_ludb(tmp_path / "ludb", {"1": ecg})
    # As in LUDB: the counts are in uV, and each header gain makes the lead's range 1 mV.
    signal = ecg.signal()
    gains = 1000 * np.ptp(signal, axis=1)
    write_record(tmp_path / "ludb/data/1", signal * (1000 / gains)[:, None],
                 leads=[name.lower() for name in LEADS], gain=gains)  # fmt: skip
    with pytest.raises(IntakeError, match=r"III is not what I and II say.*Einthoven.*gain"):
        run(tmp_path)
    with run(tmp_path, limb_tolerance=None) as cohort:
        assert np.ptp(cohort.scan("1"), axis=1) == pytest.approx(np.ones(12), abs=0.02)
    with run(tmp_path, counts_per_mv=1000) as cohort:
        assert cohort.participants.loc["1", "r_v5"] == pytest.approx(ecg.heights["V5"], abs=3e-3)


def test_limb_leads_that_are_exchanged_are_noticed() -> None:
    signal = Ecg(noise=0.005).signal()
    check_signal(signal, LEADS, "file", 0.1)
    for one, other in ((0, 1), (2, 3), (4, 5)):
        swapped = signal.copy()
        swapped[[one, other]] = signal[[other, one]]
        with pytest.raises(IntakeError, match="Einthoven"):
            check_signal(swapped, LEADS, "file", 0.1)
    # Without I and II nothing can be said.
    check_signal(signal[[3, 2]], ("III", "aVR"), "file", 0.1)


# ------------------------------------------------------------------------------------------- refusals


FEW = ("I", "II", "III", "V2", "V5")
PLACES = [LEADS.index(name) for name in FEW]


def short(scale: float = 1.0) -> Ecg:
    """Return a record of six beats."""
    return Ecg(n_samples=2600, scale=scale)


def spoilt(name: str, root: Path) -> None:
    """Spoil recording 2 of a folder with few leads in one way."""
    data, signal, spelled = root / "ludb/data", short(0.8).signal()[PLACES], [lead.lower() for lead in FEW]
    if name == "missing lead":
        write_record(data / "2", signal[:4], leads=spelled[:4])
    elif name == "double lead":
        (data / "2.hea").write_text((data / "2.hea").read_text().replace(" v2\n", " v5\n"))
    elif name == "flat lead":
        signal[3] = 0.3
        write_record(data / "2", signal, leads=spelled)
    elif name == "not a number":
        signal[4, 100] = np.nan
        write_record(data / "2", signal, leads=spelled)
    elif name == "microvolts":
        write_record(data / "2", signal * 1000, leads=spelled, gain=1)
    elif name == "no voltage":
        write_record(data / "2", signal, leads=spelled, unit="mmHg")
    elif name == "too short":
        write_record(data / "2", signal[:, :500], leads=spelled)
    elif name == "no marks":
        (data / "2.v2").unlink()
    elif name == "no complex":
        for lead in spelled:
            points = short().points
            points[:, 3:] = np.nan
            write_marks(data / f"2.{lead}", points)
    elif name == "marks behind the end":
        write_marks(data / "2.v2", short().points + 2000)
    elif name == "few beats":
        for lead in spelled:
            write_marks(data / f"2.{lead}", short().points[1:3])
    elif name == "damaged header":
        (data / "2.hea").write_text("2 twelve 500\n")
    elif name == "no samples":
        (data / "2.dat").unlink()
    elif name == "cut samples":
        (data / "2.dat").write_bytes((data / "2.dat").read_bytes()[:1000])
    elif name == "copied samples":
        (data / "2.dat").write_bytes((data / "1.dat").read_bytes())
    elif name == "elsewhere":
        (data / "2.hea").write_text((data / "2.hea").read_text().replace("2.dat", "../2.dat"))
    elif name == "unknown record":
        table = root / "ludb/ludb.csv"
        table.write_text(table.read_text() + "77,F,50,x,y\n")


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("missing lead", "leads", ["V5", "missing"]),
        ("double lead", "leads", ["V5", "more than once"]),
        ("flat lead", "values", ["V2", "flat"]),
        ("not a number", "values", ["V5", "NaN"]),
        ("microvolts", "units", ["mV between its peaks", "uV"]),
        ("no voltage", "units", ["mmHg"]),
        ("too short", "duration_ms", ["1 s", "1.2 s"]),
        ("no marks", "annotations", ["missing"]),
        ("no complex", "annotations", ["no QRS complex"]),
        ("marks behind the end", "annotations", ["outside the recording"]),
        ("few beats", "min_beats", ["2 beats", "fewer than 3"]),
        ("damaged header", "file", ["header cannot be read"]),
        ("no samples", "header", ["do not lie beside"]),
        ("cut samples", "file", ["samples cannot be read"]),
        ("copied samples", "image", ["filed under several ids"]),
        ("elsewhere", "file", ["header cannot be read"]),
        ("unknown record", "record", ["no recording '77'"]),
    ],
)
def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path, name: str, field: str, words: list[str]) -> None:
    write_ludb(tmp_path / "ludb", {"1": short(), "2": short(0.8), "3": short(0.6)}, FEW)
    spoilt(name, tmp_path)
    keys = {"leads": list(FEW)}
    with pytest.raises(IntakeError) as caught:
        run(tmp_path, **keys)
    (line, *_) = [line for line in str(caught.value).splitlines() if line.startswith("  ") and f"\t{field}\t" in line]
    scan_id, file, _, _, remedy = line.strip().split("\t")
    assert scan_id in ("2", "77", "1") and file and remedy
    assert all(word in str(caught.value) for word in words), str(caught.value)
    with run(tmp_path, on_bad_scan="exclude", **keys) as cohort:
        assert cohort.scan_ids == (["3"] if name == "copied samples" else
                                   ["1", "2", "3"] if name == "unknown record" else ["1", "3"])  # fmt: skip
    assert excluded(tmp_path)


def test_a_recording_without_a_row_is_left_out_and_counted(tmp_path: Path) -> None:
    write_ludb(tmp_path / "ludb", {"1": Ecg(), "2": Ecg(scale=0.8)})
    table = tmp_path / "ludb/ludb.csv"
    table.write_text('ID,Sex,Age\n2,F,"51\n"\n')
    with run(tmp_path) as cohort:
        assert cohort.scan_ids == ["2"]
    assert excluded(tmp_path) == {"1": "the table has no row for it"}
    with run(tmp_path, table=None) as cohort:
        assert cohort.scan_ids == ["1", "2"]
    with run(tmp_path, table=None, records="data/[2-9]") as cohort:
        assert cohort.scan_ids == ["2"]


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"annotations": None}, "cohort.annotations"),
        ({"annotations": "{record}.{lead}"}, "cohort.annotations"),
        ({"annotations": "{name.__class__}"}, "cohort.annotations"),
        ({"measured": ["r_v9"]}, "cohort.measured"),
        ({"leads": ["I", "i"]}, "cohort.leads"),
        ({"labels_from": "table"}, "cohort.outputs"),
        ({"labels_from": "table", "outputs": {"mass": {"column": "Age"}}}, "cohort.outputs.mass.unit"),
        ({"labels_from": "table", "outputs": {"pr": {"column": "PR"}}}, "cohort.outputs"),
        ({"key_column": None}, "cohort.key_column"),
        ({"table": None, "sex_column": "Sex"}, "cohort.sex_column"),
        ({"folder": "../elsewhere"}, "cohort.folder"),
        ({"folder": "nowhere"}, "cohort.folder"),
        ({"annotation_folder": ".."}, "cohort.annotation_folder"),
    ],
)
def test_wrong_settings(tmp_path: Path, keys: dict[str, Any], field: str) -> None:
    write_ludb(tmp_path / "ludb", {"1": Ecg()})
    with pytest.raises(HeatproofError) as caught:
        open_source(spec(**keys), seed=1, root=tmp_path)
    assert caught.value.field == field and caught.value.remedy


def test_the_schema_refuses_what_no_reader_knows() -> None:
    import yaml

    config = yaml.safe_load((ROOT / "config/ludb.yaml").read_text(encoding="utf-8"))
    for key, value in (("view", "mean_beat"), ("measured", ["qtc"]), ("sampling_rate", 0), ("annotation", "x")):
        broken = yaml.safe_load(yaml.safe_dump(config))
        broken["studies"]["ludb"]["cohort"][key] = value
        with pytest.raises(ConfigError, match=key):
            complete(broken)


# ------------------------------------------------------------------------------- PTB-XL, QTDB, real LUDB


def write_ptbxl(root: Path, n: int = 11) -> None:
    """Write PTB-XL with PTB-XL+ features and marks in their layout; record 3 has no PR, record 5 no features.

    Names of leads are AVR in the recordings and aVR in the names of the marks' files.
    """
    rows, features = [], []
    for ecg_id in range(1, n + 1):
        ecg = Ecg(n_samples=2600, pr=70 + ecg_id, scale=0.5 + 0.1 * ecg_id, seed=ecg_id, has_p=ecg_id != 3)
        name, group = f"{ecg_id:05d}", "00000"
        write_record(root / f"ptbxl/records500/{group}/{name}_hr", ecg.signal(), leads=[x.upper() for x in LEADS])
        for lead in LEADS:
            write_marks(root / f"plus/ecgdeli/{group}/{name}_points_lead_{lead}.atr", ecg.points, in_words=True)
        # Patients 1 and 2 have two recordings each, in one published fold.
        patient = {2: 1, 4: 3}.get(ecg_id, ecg_id)
        fold = (patient - 1) % 10 + 1
        rows.append(f'{ecg_id},{patient}.0,{60 + ecg_id},{ecg_id % 2},"a, b",records500/{group}/{name}_hr,{fold}')
        if ecg_id != 5:
            pr = "" if ecg_id == 3 else 2 * ecg.pr
            features.append(f"{1300 * ecg.scale},{ecg_id},{pr},{2 * ecg.qt}")
    header = "ecg_id,patient_id,age,sex,report,filename_hr,strat_fold"
    (root / "ptbxl/ptbxl_database.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "plus/12sl_features.csv").write_text(
        "\n".join(["R_Amp_V5,ecg_id,PR_Int_Global,QT_Int_Global", *features]) + "\n"
    )


def ptbxl(**keys: Any) -> dict[str, Any]:
    return {
        "folder": "ptbxl",
        "table": "ptbxl/ptbxl_database.csv",
        "key_column": "ecg_id",
        "record_column": "filename_hr",
        "participant_column": "patient_id",
        "age_column": "age",
        "sex_column": "sex",
        "kept_columns": ["strat_fold"],
        "joined": {"table": "plus/12sl_features.csv", "key_column": "ecg_id"},
        "annotations": "{group}/{key:0>5}_points_lead_{lead_as_listed}.atr",
        "annotation_folder": "plus/ecgdeli",
        "labels_from": "table",
        "outputs": {
            "pr": {"column": "PR_Int_Global"},
            "qt": {"column": "QT_Int_Global", "unit": "ms"},
            "r_v5": {"column": "R_Amp_V5", "factor": 0.001},
        },
        **keys,
    }


def test_ptbxl_is_joined_with_its_features_marks_and_folds(tmp_path: Path) -> None:
    write_ptbxl(tmp_path)
    with run(tmp_path, **ptbxl()) as cohort:
        people = cohort.participants
        assert cohort.scan_ids == [str(number) for number in range(1, 12)]
        assert people["participant_id"].tolist()[:5] == ["1", "1", "3", "3", "5"]
        assert people.loc["7", "pr"] == 2 * 77 and np.isnan(people.loc["3", "pr"])
        assert people.loc["7", "r_v5"] == pytest.approx(1.3 * 1.2)
        assert people.loc["5", ["pr", "qt", "r_v5"]].isna().all()
        # The next beat begins 15 samples before the end.
        assert cohort.truth("7", "qt")[V5].sum() == 191 + 15 and cohort.label_names[61 + 2] == "V5 qrs"
    folds = {"n_folds": 1, "split_column": "strat_fold",
             "parts": {"train": list(range(1, 9)), "validation": [9], "test": [10]}}  # fmt: skip
    files = {"folds": tmp_path / "results/folds.tsv", "leakage": tmp_path / "results/leakage.tsv"}
    split(tmp_path / "results/participants.tsv", folds, ["corrected"], seed=1, root=tmp_path, **files)
    parts = read_table(files["folds"]).set_index("scan_id")["part"]
    assert parts["9"] == "validation" and parts["10"] == "test" and (parts.drop(["9", "10"]) == "train").all()


def test_numbers_of_a_table_that_cannot_be_in_their_unit_are_refused(tmp_path: Path) -> None:
    write_ptbxl(tmp_path, 2)
    wrong = {"r_v5": {"column": "R_Amp_V5"}}
    with pytest.raises(IntakeError, match=r"00001_hr.*R_Amp_V5.*780 mV cannot be.*factor"):
        run(tmp_path, **ptbxl(outputs=wrong))
    unknown = {"qt": {"column": "QT_Int_Global", "missing": [380]}}
    with run(tmp_path, **ptbxl(outputs=unknown)) as cohort:
        assert cohort.participants["qt"].isna().all()
    table = tmp_path / "plus/12sl_features.csv"
    table.write_text(table.read_text() + "1,1,2,3\n")
    with pytest.raises(IntakeError, match="stands in two rows"):
        run(tmp_path, **ptbxl())


def test_qtdb_has_two_leads_of_any_name_and_one_reader_for_both(tmp_path: Path) -> None:
    shares = {"rr": 200, "first": 150, "pr": 40, "p": 24, "qrs": 24, "qt": 96, "t": 40}
    for number, names in enumerate((("MLII", "V5"), ("ECG1", "ECG2"))):
        ecg = Ecg(rate=250, n_samples=5000, scale=1 + number / 2, **shares)
        write_record(tmp_path / f"qtdb/sel{number}", ecg.signal()[[1, V5]], leads=names, rate=250)
        points = ecg.points[10:16]
        points[:, POINT["t_onset"]] = np.nan
        write_marks(tmp_path / f"qtdb/sel{number}.q1c", points)
    keys = {"folder": "qtdb", "records": "*", "table": None, "leads": ["#1", "#2"], "sampling_rate": 250,
            "annotations": "{name}.q1c", "measured": ["pr", "qrs", "qt"]}  # fmt: skip
    with run(tmp_path, **keys) as cohort:
        assert cohort.scan_ids == ["sel0", "sel1"] and cohort.scan("sel0").shape == (2, 300)
        assert cohort.participants["qt"].tolist() == [384, 384]
        assert cohort.participants["pr"].tolist() == [160, 160]
        # QT needs no onset of T; its area is as long before the peak as behind it.
        truth = cohort.truth("sel0", "qt")
        # The next complex begins at sample 292 of 300.
        assert truth[0].sum() == truth[1].sum() == 97 + 8
        assert ((cohort.labels("sel0")[1] - 1) % 6 == WAVES.index("t")).sum() == 41


def test_any_file_of_a_recording_counts_for_the_state_of_the_data(tmp_path: Path) -> None:
    write_ludb(tmp_path / "ludb", {"1": Ecg()})
    states = {data_state(spec(), tmp_path)}
    for name in ("data/1.dat", "data/1.hea", "data/1.v5", "ludb.csv"):
        path = tmp_path / "ludb" / name
        os.utime(path, ns=(1, 1))
        states.add(data_state(spec(), tmp_path))
    assert len(states) == 5


@pytest.mark.real_data
def test_ludb_gives_plausible_intervals_in_real_records(tmp_path: Path) -> None:
    if not (SHARED / "ecg_ludb").is_dir():
        pytest.skip("the shared data are not here")
    entry = {"folder": "ecg_ludb", "table": "ecg_ludb/ludb.csv", "counts_per_mv": 1000, "kept_columns": ["Rhythms"]}
    source = open_source(spec(**entry), seed=1, root=SHARED)
    records = list(source.records)
    assert len(records) == 200 and len({record.row["participant_id"] for record in records}) == 200
    ages = pd.Series([record.row["age"] for record in records])
    assert ages.notna().sum() == 199 and ages.median() == 56
    assert {record.row["sex"] for record in records} == {"F", "M"}
    rows = []
    for record in records[5::14]:
        assert record.inspect(source.grid) == []
        scan = record.load()
        rows.append(record.row)
        assert scan.labels.shape == scan.values.shape == (12, 600)
        if "fibrillation" in record.row["Rhythms"]:
            assert np.isnan(record.row["pr"]) and not scan.truths["pr"].any()
    table = pd.DataFrame(rows)
    for output, (low, high) in {"pr": (130, 180), "qrs": (80, 110), "qt": (360, 430), "heart_rate": (55, 80)}.items():
        assert low < table[output].median() < high
    assert 0.8 < table["r_v5"].median() < 2
    # The headers' gains are not the recorder's: the limb leads tell.
    with pytest.raises(IntakeError, match="Einthoven"):
        next(iter(open_source(spec(**{**entry, "counts_per_mv": None}), seed=1, root=SHARED).records)).load()
