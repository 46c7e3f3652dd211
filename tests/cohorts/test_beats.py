"""Simulated electrocardiograms: leads that agree, numbers a reader finds again, exact effects, switches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from heatproof.cohorts.beats import MARK_MS, Beats, open_source
from heatproof.cohorts.heartbeat_draws import STEPS
from heatproof.cohorts.heartbeats import LEADS, OUTPUTS, REACH, USUAL, bell, changed, render
from heatproof.cohorts.sources import open_source as open_by_name
from heatproof.cohorts.store import Cohort
from heatproof.configuration import complete, schema_entries
from heatproof.errors import ConfigError, IntakeError
from heatproof.stages.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
SEED = 3
QUIET = {"noise_mv": 0.0, "wander_mv": 0.0}
# No shift of ST, so that nothing but P, QRS and T is left.
FLAT = {**QUIET, "j_mv": [-1e-12, 1e-12]}
BUSY = {"suppressor_mv": 0.4, "decoy": "pr"}
LEAD = {name: index for index, name in enumerate(LEADS)}


def spec(**changes):
    properties = schema_entries("cohorts_signals.yaml")["beats"]["properties"]
    defaults = {key: entry["default"] for key, entry in properties.items() if "default" in entry}
    return {**defaults, "source": "beats", "n_participants": 8, **changes}


def beats(seed=SEED, **changes):
    return Beats(spec(**changes), seed)


def scans(cohort):
    return [(record.row, record.load()) for record in cohort]


def wave_of(labels):
    """Return which of p, pq, qrs, st, t, tp each sample is, as numbers 0 to 5, without the lead."""
    return (labels - 1) % 6


# ---- leads


@pytest.mark.parametrize("changes", [QUIET, {}, BUSY, {"redundancy": True}])
def test_limb_leads_obey_einthoven_and_goldberger_in_signal_noise_and_truth(changes):
    for _, scan in scans(beats(**changes)):
        for values in (scan.values, *scan.truths.values()):
            one, two, three, right, left, foot = values[:6].astype(float)
            tolerance = 1e-6 * np.abs(values).max()
            np.testing.assert_allclose(one + three, two, atol=tolerance)
            np.testing.assert_allclose(right + left + foot, 0, atol=tolerance)
            np.testing.assert_allclose(right, -(one + two) / 2, atol=tolerance)
            np.testing.assert_allclose(left, (one - three) / 2, atol=tolerance)
            np.testing.assert_allclose(foot, (two + three) / 2, atol=tolerance)


def test_noise_and_wander_have_the_deviation_that_is_asked_for_in_every_recorded_lead():
    recorded = [LEAD[name] for name in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
    for changes, expected, tolerance in (
        ({"noise_mv": 0.02, "wander_mv": 0.0}, 0.02, 0.03),
        ({"noise_mv": 0.0, "wander_mv": 0.05}, 0.05, 0.15),
    ):
        cohort = beats(n_participants=100, **changes)
        added = np.stack([cohort.nuisance(str(record.row["scan_id"])) for record in cohort])
        deviations = np.sqrt((added**2).mean(axis=(0, 2)))[recorded]
        np.testing.assert_allclose(deviations, expected, rtol=tolerance)
    # White noise is unlike from sample to sample, wander alike.
    assert np.abs(np.diff(added, axis=2)).max() < 0.01


# ---- what a reader measures


def active_runs(trace, threshold=1e-9):
    """Return first and last sample of every run in which any lead leaves the baseline, by walking along."""
    runs, first = [], None
    for sample, moves in enumerate((np.abs(trace) > threshold).any(axis=0)):
        if moves and first is None:
            first = sample
        if not moves and first is not None:
            runs.append((first, sample - 1))
            first = None
    return runs


def read(trace, rate):
    """Measure the first beat as a reader does: the steepest run is QRS, before it lies P, behind it T."""
    slopes = np.abs(np.diff(trace, axis=1)).sum(axis=0)
    steep = [sample for sample in range(len(slopes)) if slopes[sample] > slopes.max() / 2]
    runs = active_runs(trace)
    position = next(index for index, (first, last) in enumerate(runs) if first <= steep[0] <= last)
    (p, _), (qrs, end), (t, t_end) = runs[position - 1], runs[position], runs[position + 1]
    voltage = trace[LEAD["V5"]]
    peak = qrs + int(np.argmax(voltage[qrs : end + 1]))
    behind = next(
        first for first, _ in runs[position + 2 :] if slopes[first : first + (end - qrs)].max() > slopes.max() / 2
    )
    step = 1000 / rate
    found = {"pr": (qrs - p) * step, "qrs": (end - qrs) * step, "qt": (t_end - qrs) * step}
    found |= {"heart_rate": 60_000 / ((behind - qrs) * step)}
    found |= {"r_v5": voltage[peak], "t_v5": voltage[t : t_end + 1].max()}
    return found, end


def test_a_reader_of_the_trace_without_noise_finds_every_number_again():
    rate, length = 5000, {"sampling_rate": 5000, "duration_ms": 2600, "n_participants": 12}
    flat, shifted = (list(beats(**changes, **length)) for changes in (FLAT, QUIET))
    for record, with_shift in zip(flat, shifted, strict=True):
        found, end = read(record.load().values.astype(float), rate)
        assert record.row["pr"] == with_shift.row["pr"]
        for name in ("pr", "qrs", "qt"):
            assert found[name] == pytest.approx(record.row[name], abs=0.5), name
        assert found["heart_rate"] == pytest.approx(record.row["heart_rate"], abs=0.03)
        for name in ("r_v5", "t_v5"):
            assert found[name] == pytest.approx(record.row[name], rel=1e-3), name
        # The shift of ST moves neither peak of V5, and is itself what is read at the J point.
        voltage = with_shift.load().values[LEAD["V5"]].astype(float)
        beat = beats(**QUIET).beat(str(record.row["scan_id"]))
        assert voltage[end] == pytest.approx(with_shift.row["j_v5"], abs=2e-3)
        for moment, name in (
            (beat.onset + 0.42 * beat.qrs, "r_v5"),
            (beat.onset + beat.qt - 0.42 * beat.t_duration, "t_v5"),
        ):
            assert voltage[round(moment * rate / 1000)] == pytest.approx(with_shift.row[name], rel=2e-3), name


def test_numbers_fill_the_ranges_of_the_study_and_know_nothing_of_each_other():
    rows = [record.row for record in beats(n_participants=2000)]
    values = np.array([[row[name] for name in OUTPUTS] for row in rows])
    limits = {"heart_rate": (52, 95), "pr": (120, 210), "qt": (340, 460), "qrs": (75, 125), "j_v5": (-0.12, 0.12)}
    for name, (low, high) in limits.items():
        column = values[:, list(OUTPUTS).index(name)]
        assert low <= column.min() < low + 0.01 * (high - low)
        assert high >= column.max() > high - 0.01 * (high - low)
        assert column.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
        assert column.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.04)
    for name, usual in (("r_v5", 1.4), ("t_v5", 0.35)):
        logarithm = np.log(values[:, list(OUTPUTS).index(name)] / usual)
        assert logarithm.mean() == pytest.approx(0, abs=0.03)
        assert logarithm.std() == pytest.approx(0.35, rel=0.05)
    between = np.corrcoef(values.T) - np.eye(len(OUTPUTS))
    assert np.abs(between).max() < 0.08


def test_no_t_wave_runs_into_the_next_p_wave():
    for record in beats(n_participants=1000, heart_rate_bpm=[80, 110]):
        row = record.row
        assert row["qt"] + row["pr"] <= 60_000 / row["heart_rate"]


# ---- waves


def test_labels_are_where_the_trace_leaves_the_baseline():
    for changes in ({}, {"sampling_rate": 250}, {"duration_ms": 3000}):
        for row, scan in scans(beats(**FLAT, **changes)):
            moving = np.abs(scan.values) > 1e-9
            marked = np.isin(wave_of(scan.labels), (0, 2, 4))
            np.testing.assert_array_equal(moving, marked, err_msg=str(row))


def test_labels_name_lead_and_wave_around_the_known_beat():
    cohort = beats()
    for row, scan in scans(cohort):
        beat = cohort.beat(row["scan_id"])
        times = np.arange(600) * 2.0 - beat.onset
        waves = wave_of(scan.labels)
        assert (scan.labels.min(axis=1) >= 1 + 6 * np.arange(12)).all()
        assert (scan.labels.max(axis=1) <= 6 * np.arange(1, 13)).all()
        around = (times > -beat.pr - 1) & (times < beat.qt + 1)
        for wave, (first, last) in {
            0: (-beat.pr, beat.p_duration - beat.pr),
            2: (0, beat.qrs),
            4: (beat.qt - beat.t_duration, beat.qt),
        }.items():
            anywhere = (waves == wave).any(axis=0)
            expected = np.array([first <= moment <= last for moment in times])
            np.testing.assert_array_equal(anywhere[around], expected[around])
        assert (waves[:, (times > beat.p_duration - beat.pr) & (times < 0)] == 1).all()
        assert (waves[:, (times > beat.qrs) & (times < beat.qt - beat.t_duration)] == 3).all()


def test_neighbour_beats_are_seen_in_every_record():
    cohort = beats(n_participants=150)
    for row, scan in scans(cohort):
        assert scan.truths["heart_rate"].any(), row
        period = 60_000 / row["heart_rate"]
        seen = (wave_of(scan.labels) == 2).any(axis=0)
        # The next QRS, where it begins before the record ends.
        whole = cohort.beat(row["scan_id"]).onset + period < 1198
        assert np.count_nonzero(np.diff(seen.astype(int)) == 1) == 1 + whole


# ---- the truth


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_effect_is_the_mean_derivative_over_the_step(output):
    cohort, n_points, tiny = beats(**QUIET), 200, STEPS[output] * 1e-4
    for row, scan in scans(cohort)[:3]:
        beat = cohort.beat(row["scan_id"])
        points = (np.arange(n_points) + 0.5) / n_points * 2 - 1
        slopes = np.zeros((12, 600))
        for some in np.split(points * STEPS[output], 10):
            more, less = ([changed(beat, output, point + sign * tiny) for point in some] for sign in (1, -1))
            slopes += (render(more, 500, 600) - render(less, 500, 600)).sum(axis=0) / (2 * tiny)
        effect = scan.truths[output]
        assert np.abs(effect).max() > 0
        np.testing.assert_allclose(effect, slopes / n_points, atol=0.01 * np.abs(effect).max())


def test_effects_of_amplitudes_are_the_wave_itself():
    cohort = beats()
    for row, scan in scans(cohort):
        beat = cohort.beat(row["scan_id"])
        times = np.arange(600) * 2.0 - beat.onset
        t_peak = beat.qt - 0.42 * beat.t_duration
        t_end = beat.qt - beat.t_lead[6]
        for index, moment in enumerate(times):
            if -beat.pr < moment < min(500, beat.period - beat.pr):
                half = beat.t_duration - (beat.qt - t_peak) if moment < t_peak else t_end - t_peak
                distance = abs(moment - t_peak) / half
                edge = np.exp(-3.125)
                expected = (np.exp(-3.125 * distance**2) - edge) / (1 - edge) if distance < 1 else 0
                assert scan.truths["t_v5"][10, index] == pytest.approx(expected, abs=1e-5)
        for name in ("r_v5", "t_v5", "j_v5"):
            assert scan.truths[name].max() == pytest.approx(1, abs=0.03)
            assert scan.truths[name].min() > -1e-6


def test_nothing_moves_but_the_waves_that_define_the_output():
    cohort = beats(n_participants=40)
    for row, scan in scans(cohort):
        beat = cohort.beat(row["scan_id"])
        times = np.arange(600) * 2.0
        # Time since the QRS onset of each beat in reach.
        since = [times - beat.onset - number * beat.period for number in (-1, 0, 1, 2)]

        def within(first, last, since=since):
            return np.any([(first < one) & (one < last) for one in since], axis=0)

        allowed = {
            "pr": within(-beat.pr - 8, beat.p_duration - beat.pr + 8),
            "qt": within(beat.qt - beat.t_duration - 8, beat.qt + 8),
            "qrs": within(0, beat.qrs + 8 + beat.st_duration),
            "r_v5": within(0, 0.66 * beat.qrs),
            "t_v5": within(beat.qt - beat.t_duration, beat.qt),
            "j_v5": within(0.42 * beat.qrs, beat.qrs + beat.st_duration),
            "heart_rate": ~((since[1] > -beat.pr + 60) & (since[1] < min(beat.qt, beat.period - beat.pr - 70))),
        }
        for name, places in allowed.items():
            effect = np.abs(scan.truths[name])
            assert effect[:, places].max() > 100 * effect[:, ~places].max(initial=0), (row, name)
            assert effect[:, ~places].max(initial=0) < 1e-9, (row, name)
            if name.endswith("v5"):
                assert not np.delete(effect, LEAD["V5"], axis=0).any()
            elif name != "heart_rate":
                assert (effect.max(axis=1) > 0).all()


def test_qrs_widens_with_pr_qt_and_heights_as_they_were():
    cohort = beats(**FLAT, sampling_rate=5000, duration_ms=2600)
    for record in cohort:
        beat = cohort.beat(str(record.row["scan_id"]))
        narrow, wide = (read(trace, 5000)[0] for trace in render([beat, changed(beat, "qrs", 12.0)], 5000, 13000))
        assert wide["qrs"] - narrow["qrs"] == pytest.approx(12, abs=0.5)
        for name in ("pr", "qt", "heart_rate", "r_v5", "t_v5"):
            assert wide[name] == pytest.approx(narrow[name], rel=1e-3), name


@pytest.mark.parametrize("changes", [{}, BUSY, {"redundancy": True, "decoy": "r_v5"}])
def test_counterfactuals_hold_noise_and_nuisance_fixed(changes):
    source = open_source(spec(**changes), seed=SEED, root=Path())
    assert source.steps == {"heart_rate": 3, "pr": 8, "qt": 8, "qrs": 8, "r_v5": 0.05, "t_v5": 0.03, "j_v5": 0.03}
    for record in source.records:
        scan_id, scan = str(record.row["scan_id"]), record.load()
        for name, step in source.steps.items():
            np.testing.assert_array_equal(source.counterfactual(scan_id, name, 0.0), scan.values)
            more, less = (source.counterfactual(scan_id, name, sign * step).astype(float) for sign in (1, -1))
            effect = (more - less) / (2 * step)
            np.testing.assert_allclose(effect, scan.truths[name], atol=1e-6 / step)
            assert np.abs(effect[scan.truths[name] == 0]).max() < 1e-6 / step


def test_a_counterfactual_of_an_unknown_output_or_scan_is_refused():
    source = open_source(spec(), seed=SEED, root=Path())
    with pytest.raises(IntakeError, match="sub-0009_ses-1.*not in the cohort"):
        source.counterfactual("sub-0009_ses-1", "pr", 1.0)
    with pytest.raises(IntakeError, match="'st'.*heart_rate"):
        source.counterfactual("sub-0001_ses-1", "st", 1.0)


# ---- switches


def test_a_suppressor_is_shared_by_v5_and_v6_and_unknown_to_the_truth():
    plain, hidden = (beats(n_participants=600, suppressor_mv=amount, **QUIET) for amount in (0.0, 0.4))
    heights, peaks = [], []
    for record, other in zip(plain, hidden, strict=True):
        scan_id = str(record.row["scan_id"])
        beat, twin = plain.beat(scan_id), hidden.beat(scan_id)
        added = hidden.nuisance(scan_id)
        np.testing.assert_array_equal(added[LEAD["V5"]], added[LEAD["V6"]])
        assert not np.delete(added, [LEAD["V5"], LEAD["V6"]], axis=0).any()
        assert (record.row["r_v5"], record.row["pr"]) == (other.row["r_v5"], other.row["pr"])
        assert twin.amplitudes["r"][7] == 1.10 != beat.amplitudes["r"][7]
        values = render([twin], 500, 600)[0] + added
        peak = round((beat.onset + 0.42 * beat.qrs) / 2)
        heights.append(record.row["r_v5"])
        peaks.append([values[LEAD["V5"], peak], values[LEAD["V6"], peak]])
    v5, v6 = np.array(peaks).T
    heights = np.array(heights)
    # V6 by itself knows nothing; V5 by itself is wrong; V5 corrected by V6 is right.
    assert abs(np.corrcoef(v6, heights)[0, 1]) < 0.1
    assert np.corrcoef(v5, heights)[0, 1] < 0.85
    assert np.corrcoef(v5, v6)[0, 1] > 0.4
    np.testing.assert_allclose(v5 - v6 + 1.10, heights, atol=0.03)
    for (_, scan), (_, twin) in list(zip(scans(beats(**QUIET)), scans(beats(suppressor_mv=0.4, **QUIET)), strict=True)):
        for name in ("r_v5", "t_v5", "j_v5", "pr", "qt"):
            np.testing.assert_array_equal(scan.truths[name], twin.truths[name])


@pytest.mark.parametrize("output", ["pr", "r_v5", "j_v5"])
@pytest.mark.parametrize("correlation", [0.8, -0.5])
def test_a_decoy_goes_along_with_its_output_only_and_is_no_part_of_any_truth(output, correlation):
    cohort = beats(n_participants=1500, decoy=output, decoy_correlation=correlation, **QUIET)
    rows = [record.row for record in cohort]
    marks = np.array([cohort.mark(row["scan_id"]) for row in rows])
    assert marks.std() == pytest.approx(0.15, rel=0.06)
    for name in OUTPUTS:
        values = np.array([row[name] for row in rows])
        values = np.log(values) if name in ("r_v5", "t_v5") else values
        found = np.corrcoef(marks, values)[0, 1]
        assert found == pytest.approx(correlation if name == output else 0, abs=0.08), name
    for (row, plain), (_, marked) in zip(
        scans(beats(**QUIET)), scans(beats(decoy=output, decoy_correlation=correlation, **QUIET)), strict=True
    ):
        added = (marked.values - plain.values).astype(float)
        index = LEAD["V1"]
        assert np.abs(added[index]).max() == pytest.approx(abs(cohort.mark(row["scan_id"])), rel=0.02)
        assert not np.delete(added, index, axis=0).any()
        assert not added[index, round(MARK_MS[-1] / 2) + 1 :].any()
        for name, effect in plain.truths.items():
            np.testing.assert_array_equal(marked.truths[name], effect)


def test_redundancy_repeats_v5_in_v6_and_puts_both_into_the_truth():
    plain, twice = (scans(beats(redundancy=switch)) for switch in (False, True))
    ratios = {"r_v5": 1.10 / 1.40, "t_v5": 0.26 / 0.35, "j_v5": 1.0}
    for (row, scan), (same, repeated) in zip(plain, twice, strict=True):
        assert row == same
        np.testing.assert_array_equal(np.delete(scan.values, LEAD["V6"], 0), np.delete(repeated.values, LEAD["V6"], 0))
        beat = beats(redundancy=True).beat(row["scan_id"])
        for name, share in ratios.items():
            assert beat.amplitudes[name[0]][7] == pytest.approx(share * row[name])
            effect = repeated.truths[name]
            np.testing.assert_array_equal(effect[LEAD["V5"]], scan.truths[name][LEAD["V5"]])
            assert effect[LEAD["V6"]].max() == pytest.approx(share * effect[LEAD["V5"]].max(), rel=0.02)
            assert not np.delete(effect, [LEAD["V5"], LEAD["V6"]], axis=0).any()
        assert (scan.truths["r_v5"][LEAD["V6"]] == 0).all()


# ---- randomness and grid


def test_records_depend_on_seed_and_scan_only():
    few, many = list(beats(n_participants=3, **BUSY)), list(beats(n_participants=30, **BUSY))
    backwards = [record.load() for record in reversed(many)][::-1]
    for record, other, scan in zip(few, many, backwards, strict=False):
        assert record.row == other.row
        one = record.load()
        np.testing.assert_array_equal(one.values, scan.values)
        np.testing.assert_array_equal(one.labels, scan.labels)
        for name in OUTPUTS:
            np.testing.assert_array_equal(one.truths[name], scan.truths[name])
    assert len({record.row["pr"] for record in many}) == 30
    assert next(iter(beats(seed=SEED + 1))).row["pr"] != few[0].row["pr"]


def test_a_record_rendered_alone_is_the_record_rendered_with_others():
    cohort = beats()
    drawn = [cohort.beat(str(record.row["scan_id"])) for record in cohort]
    together = render(drawn, 500, 600)
    for one, beat in zip(together, drawn, strict=True):
        np.testing.assert_array_equal(one, render([beat], 500, 600)[0])
    half = render([replace(beat, heart_rate=60.0) for beat in drawn], 250, 300)
    np.testing.assert_allclose(half, render([replace(beat, heart_rate=60.0) for beat in drawn], 500, 600)[..., ::2])


def test_bells_are_one_at_the_peak_and_zero_from_their_edges_on():
    times = np.linspace(0, 10, 1001)
    values = bell(times, np.array(2.0), np.array(5.0), np.array(6.0))
    assert values.max() == values[500] == 1
    assert not values[times <= 2].any() and not values[times >= 6].any()
    assert (values[(times > 2.001) & (times < 5.999)] > 0).all()
    assert (np.diff(values[200:501]) > 0).all() and (np.diff(values[500:601]) < 0).all()
    # Half the height of a Gaussian, lowered, lies where it does in theory.
    edge = np.exp(-(REACH**2) / 2)
    half = np.sqrt(-2 * np.log(0.5 * (1 - edge) + edge)) / REACH
    assert np.interp(5 + half, times, values) == pytest.approx(0.5, abs=1e-3)


# ---- the source


def test_a_stored_cohort_has_leads_outputs_waves_and_truths(tmp_path):
    names = ("cohort", "participants", "intake", "volumes")
    paths = dict(
        zip(
            names,
            (tmp_path / file for file in ("cohort.h5", "participants.tsv", "intake.tsv", "volumes.tsv")),
            strict=True,
        )
    )
    prepare(spec(), seed=SEED, root=tmp_path, **paths)
    with Cohort(paths["cohort"]) as stored:
        assert stored.channel_names == LEADS and stored.outputs == OUTPUTS
        assert (stored.grid.shape, stored.grid.units, stored.grid.spacing) == ((600,), "ms", (2.0,))
        assert (stored.classes, stored.has_controls) == (("recording",), False)
        assert stored.label_names[63] == "V5 qrs" and len(stored.label_names) == 72
        assert stored.description["truth_kind"] == "counterfactual"
        for row, scan in scans(beats()):
            np.testing.assert_array_equal(stored.scan(row["scan_id"]), scan.values)
            np.testing.assert_array_equal(stored.labels(row["scan_id"]), scan.labels)
            for name in OUTPUTS:
                np.testing.assert_array_equal(stored.truth(row["scan_id"], name), scan.truths[name])
                assert stored.participants.loc[row["scan_id"], name] == pytest.approx(row[name], rel=1e-6)


def test_the_source_is_found_by_its_name():
    source = open_by_name(spec(), seed=SEED, root=Path())
    assert source.channel_names == LEADS
    assert len(list(source.records)) == 8
    assert set(USUAL) == {"p", "q", "r", "s", "t"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pr_ms": [200, 130]}, "pr_ms"),
        ({"j_mv": [0.1, 0.1]}, "j_mv"),
        ({"pr_ms": [90, 150]}, "pr_ms"),
        ({"qt_ms": [280, 460]}, "qt_ms"),
        ({"qrs_ms": [75, 200]}, "qt_ms"),
        ({"duration_ms": 600}, "duration_ms"),
        ({"heart_rate_bpm": [110, 150]}, "heart_rate_bpm"),
        ({"redundancy": True, "suppressor_mv": 0.2}, "redundancy"),
    ],
)
def test_what_cannot_be_simulated_exactly_is_refused_before_anything_is_drawn(changes, field):
    with pytest.raises(ConfigError, match="Remedy") as caught:
        open_source(spec(**changes), seed=SEED, root=Path())
    assert caught.value.field == field


def test_every_parameter_has_description_unit_and_default():
    entry = schema_entries("cohorts_signals.yaml")["beats"]
    assert entry["additionalProperties"] is False
    for key, described in entry["properties"].items():
        assert described["description"] and described["unit"]
        assert key in entry["required"] or "default" in described


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"decoy": "st"}, "decoy"),
        ({"suppressor_mv": True}, "suppressor_mv"),
        ({"pr_ms": [120]}, "pr_ms"),
        ({"scans_per_person": 2}, "scans_per_person"),
        ({"decoy_correlation": 1.5}, "decoy_correlation"),
    ],
)
def test_a_wrong_key_stops_the_run_with_file_and_field(changes, field):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    study = next(iter(config["studies"].values()))
    study["cohort"] = {"source": "beats", **changes}
    with pytest.raises(ConfigError, match="Remedy") as caught:
        complete(config, "mine.yaml")
    assert caught.value.file == "mine.yaml"
    assert caught.value.field.endswith(f".cohort.{field}")
