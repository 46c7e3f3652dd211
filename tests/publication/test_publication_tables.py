from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from heatproof.errors import HeatproofError
from heatproof.files import read_table
from heatproof.publication.captions import TABLES
from heatproof.publication.privacy import shareable, without_paths
from heatproof.publication.recipes import compare_recipes, recipe_pairs
from heatproof.publication.tables import exclusions, residuals, with_verdicts
from heatproof.publication.verdicts import above_chance, beats_prior
from heatproof.stages.runs import read_runs, read_text_table, run_of
from publication import synthetic_study as synthetic

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.01, 0.2, 0.01, "yes"),
        (0.01, 0.2, 0.2, "undecided"),  # the interval alone is not enough
        (0.01, 0.2, 0.05, "undecided"),
        (0.0, 0.2, 0.01, "undecided"),
        (-0.1, 0.2, 0.001, "undecided"),
        (-0.2, -0.01, 0.9, "no"),
        (-0.2, 0.0, 0.001, "undecided"),
        (NAN, NAN, 0.001, "undecided"),
        (0.01, 0.2, NAN, "undecided"),
    ],
)
def test_the_decision_rule(low, high, p, verdict):
    assert beats_prior(low, high, p) == verdict


def test_above_chance_needs_the_whole_interval():
    assert above_chance(0.51, 0.5)
    assert not above_chance(0.5, 0.5)
    assert not above_chance(NAN, 0.5)


def test_controls_and_uncompared_methods_get_no_verdict():
    rows = {"difference_low": [0.1] * 3, "difference_high": [0.2] * 3, "p_holm": [0.01] * 3}
    table = pd.DataFrame({**rows, "is_control": [False, True, False], "prior_mean": [0.3, 0.3, NAN]})
    assert with_verdicts(table)["beats_prior"].tolist() == ["yes", "", ""]


def test_every_table_is_written_and_finds_what_was_planted(finished):
    _, paths, _ = finished
    tables = {name: read_text_table(path) for name, path in paths.items()}
    assert set(tables) == set(TABLES)
    ranking = tables["ranking"]
    scan = ranking[
        (ranking["level"] == "scan") & (ranking["metric"] == "dice_at_size") & (ranking["smoothing_mm"] == 0)
    ]
    verdicts = scan[scan["model"] == "boehle"].set_index("method")["beats_prior"]
    assert verdicts["lrp"] == "yes"
    assert verdicts["saliency"] == "no"
    assert verdicts["random_noise"] == ""
    gain = tables["gain"]
    hippocampus = gain[(gain["name"] == "left hippocampus") & (gain["model"] == "boehle")].set_index("method")["gain"]
    assert hippocampus["lrp"] == pytest.approx(7, rel=0.1)
    assert hippocampus["guided_backprop"] == pytest.approx(1, rel=0.2)


def test_the_same_seed_gives_the_same_bytes(finished, tmp_path):
    from publication import synthetic_study as synthetic

    study, paths, _ = finished
    before = {name: path.read_bytes() for name, path in paths.items()}
    again = synthetic.write_tables(study)
    assert {name: path.read_bytes() for name, path in again.items()} == before


def test_recipes_are_paired_by_network_not_by_name():
    models = {
        "wang": {"network": "wang_b", "width": 8, "recipe": "corrected"},
        "wide": {"network": "wang_b", "width": 24, "recipe": "corrected"},
        "old": {"network": "wang_b", "width": 24, "recipe": "as_published", "intensity": "minmax"},
        "alone": {"network": "boehle", "recipe": "as_published"},
    }
    assert recipe_pairs(models) == [("old", "wide")]


def test_twins_differ_in_nothing_but_what_a_recipe_is():
    old = {"network": "wang_b", "width": 8, "n_blocks": 3, "recipe": "as_published", "intensity": "minmax"}
    models = {"old": old, "new": {**old, "recipe": "corrected", "intensity": "zscore", "n_blocks": 2}}
    assert recipe_pairs(models) == []
    models["new"]["n_blocks"] = 3
    assert recipe_pairs(models) == [("old", "new")]


def test_recipes_rank_the_methods_that_both_ran(finished):
    table = read_text_table(finished[1]["recipes"])
    for _, rows in table[table["method"] != ""].groupby(["panel", "as_published_model", "level"]):
        for side in ("as_published_rank", "corrected_rank"):
            assert rows[side].min() == 1
            assert rows[side].max() <= len(rows)


def test_recipe_difference_is_corrected_minus_published():
    models = {"a": {"network": "x"}, "b": {"network": "x", "recipe": "as_published"}}
    performance = pd.DataFrame(
        {"model": ["a", "b"], "recipe": ["corrected", "as_published"], "fold": -1, "seed": -1, "part": "validation",
         "metric": "balanced_accuracy", "value": [0.7, 0.95], "low": [0.6, 0.9], "high": [0.8, 1.0]}
    )  # fmt: skip
    table = compare_recipes(pd.DataFrame(), performance, models)
    assert table["difference"].tolist() == pytest.approx([-0.25])
    assert table["as_published_high"].tolist() == [1.0]


def test_one_recipe_gives_an_empty_comparison():
    assert compare_recipes(pd.DataFrame(), pd.DataFrame(), {"a": {"network": "x"}}).empty


def test_residuals_count_scans_with_a_promise_only():
    scores = pd.DataFrame(
        {"model": "m", "recipe": "corrected", "method": ["ig", "ig", "ig", "saliency"], "scan_id": ["1", "2", "3", "1"],
         "metric": "completeness_residual", "value": [-0.5, 0.1, np.nan, np.nan]}
    )  # fmt: skip
    predictions = pd.DataFrame(
        {"model": "m", "part": ["test", "test", "train"], "logit_0": 0.0, "logit_1": [-1, 1, 99]}
    )
    table = residuals(scores, predictions)
    assert table["method"].tolist() == ["ig"]
    assert table["median_share"].item() == pytest.approx(0.3 / np.sqrt(2))
    assert residuals(scores, predictions.drop(columns=["logit_0", "logit_1"]))["median_share"].isna().all()
    assert table.loc[0, ["n_scans", "median_absolute", "largest_absolute"]].tolist() == [2, 0.3, 0.5]


def test_exclusions_hold_the_reason_and_no_path():
    path = "/home/some one/scans/9.nii.gz"
    intake = pd.DataFrame(
        {"scan_id": ["1", "9"], "file": ["/x/1.nii", path], "field": ["", "voxels"], "action": ["accepted", "excluded"],
         "reason": ["", f"{path} holds 12 voxels that are not finite; see ~/notes.txt"]}
    )  # fmt: skip
    table = exclusions(intake)
    assert list(table.columns) == ["scan_id", "action", "field", "reason"]
    assert table["reason"].tolist() == ["[path] holds 12 voxels that are not finite; see [path]"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/data/adni/sub-1.nii", "[path]"),
        (r"C:\Users\me\scan.nii", "[path]"),
        ("read ~/scans/a.nii, then stop", "read [path], then stop"),
        ("and/or 1/2 per scan", "and/or 1/2 per scan"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("foci/ad.txt", "foci/ad.txt"),
    ],
)
def test_absolute_paths_are_hidden_and_other_slashes_kept(text, clean):
    assert without_paths(text) == clean


@pytest.mark.parametrize(
    "text",
    [r"C:\Users\Jane Doe\data", "/home/jane doe/x.nii", "file:///home/jane/x.nii", "host1:/home/jane/x", "~jane/data"],
)
def test_a_path_is_hidden_whole_whatever_its_form(text):
    assert shareable({"folder": text}) == {"folder": "[path]"}


def test_paths_deep_inside_a_configuration_are_hidden():
    config = {"cohort": {"files": ["/home/me/a.tsv", "b.tsv"], "n": 3}}
    assert shareable(config) == {"cohort": {"files": ["[path]", "b.tsv"], "n": 3}}


def test_runs_know_their_model_fold_and_seed(finished):
    study, _, _ = finished
    frame = read_runs(study.folder.glob("boehle/fold-*/predictions.tsv"), {"boehle": {"recipe": "corrected"}}, "demo")
    assert sorted(frame["fold"].unique()) == [0, 1, 2]
    one = read_table(study.folder / "boehle" / "fold-1_seed-0" / "predictions.tsv")
    assert (frame["fold"] == 1).sum() == len(one)


def test_a_file_outside_a_run_is_refused(tmp_path):
    with pytest.raises(HeatproofError, match="folder of a run"):
        run_of(tmp_path / "predictions.tsv")


def test_the_stage_hands_the_configured_settings_and_simulators_to_the_claims(finished, monkeypatch):
    from heatproof.publication import tables
    from heatproof.stages.tabulate import tabulate

    given = []
    monkeypatch.setattr(tables, "claims_table", lambda *_, **known: given.append(known) or pd.DataFrame())
    folder = finished[0].folder
    names = ("scores", "areas", "nulls", "probes", "curves", "spreads", "exclusions", "simulations")
    tabulate(
        "demo", synthetic.models_of(finished[0]), {}, **{name: folder / f"{name}.parquet" for name in names},
        predictions=sorted(folder.glob("*/fold-*/predictions.tsv")), certificates=[], intake=folder / "intake.tsv",
        volumes=folder / "volumes.tsv", cohort=folder / "cohort.h5", settings=["b", "a"],
        simulators={"velocity": {"kind": "warp"}}, seed=1, n_bootstrap=20, n_permutations=19, tables={},
    )  # fmt: skip
    assert given == [{"settings": ("b", "a"), "simulators": {"velocity": {"kind": "warp"}}}]


def test_simulated_scans_become_tables_and_claims(finished, tmp_path):
    from heatproof.files import write_parquet
    from heatproof.simulation_rows import ROW_COLUMNS
    from heatproof.stages.tabulate import tabulate

    simulators = {
        "velocity": {"kind": "warp", "field": "velocity", "grid": 8},
        "published": {"kind": "warp", "field": "displacement", "grid": None},
        "attack": {"kind": "attack"},
    }
    merits = {
        "velocity": {"moved": 1.0, "referee_moved": 0.9, "mirrored_referee_moved": 0.2, "answer_shift": 1.0,
                     "referee_shift": 0.8, "change_correlation": 0.6},
        "published": {"moved": 1.0, "referee_moved": 0.2, "mirrored_referee_moved": 0.2, "answer_shift": 1.0,
                      "referee_shift": 0.1, "change_correlation": 0.3},
        "attack": {"moved": 1.0, "referee_moved": 0.2, "mirrored_referee_moved": 0.2, "answer_shift": 2.0,
                   "referee_shift": 0.1, "change_correlation": 0.1},
    }  # fmt: skip
    rows = [
        ("demo", "boehle", "corrected", 0, 0, name, "warp", f"s{i}", f"p{i}", ("removal", "injection")[i % 2], 1.0,
         score, float(np.sin(7 * i + len(name)) < 2 * merit - 1) if "moved" in score else merit + 0.01 * i)
        for name, scores in merits.items() for score, merit in scores.items() for i in range(24)
    ]  # fmt: skip
    write_parquet(pd.DataFrame(rows, columns=list(ROW_COLUMNS)), tmp_path / "simulations.parquet")
    folder = finished[0].folder
    names = ("scores", "areas", "nulls", "probes", "curves", "spreads", "exclusions")
    wanted = {name: tmp_path / f"{name}.tsv" for name in ("simulations", "ablations", "claims")}
    tabulate(
        "demo", synthetic.models_of(finished[0]), {}, **{name: folder / f"{name}.parquet" for name in names},
        simulations=tmp_path / "simulations.parquet", predictions=sorted(folder.glob("*/fold-*/predictions.tsv")),
        certificates=[], intake=folder / "intake.tsv", volumes=folder / "volumes.tsv", cohort=folder / "cohort.h5",
        settings=[], simulators=simulators, seed=1, n_bootstrap=50, n_permutations=49, tables=wanted,
    )  # fmt: skip
    table = read_text_table(wanted["simulations"])
    row = table[(table["simulator"] == "published") & (table["score"] == "change_correlation")]
    assert row.set_index("direction")["difference"].to_dict() == pytest.approx(
        {"removal": -0.3, "injection": -0.3, "both": -0.3}
    )
    settings = read_text_table(wanted["ablations"]).set_index("simulator")["differs_in"]
    assert settings["published"] == "field displacement, not velocity; grid none, not 8"
    verdicts = read_text_table(wanted["claims"]).set_index(["claim", "recipe"])["verdict"]
    assert verdicts["L1", "corrected"] == "supported" and verdicts["L1", "as_published"] == "contradicted"
