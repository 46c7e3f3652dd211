"""Foci: Sleuth text, tables and the conversion from Talairach."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest

from heatproof.errors import TruthError
from heatproof.truths.foci import MNI, TALAIRACH, Experiment, in_mni
from heatproof.truths.foci_tables import read_tables
from heatproof.truths.sleuth import parse_sleuth, read_sleuth, write_sleuth

SLEUTH = """\
// Reference=Talairach
// Baron et al., 2001: AD < HC
// Subjects=19
-26\t-20\t-12
24 -8 -16

// Baron et al., 2001: AD < MCI
// Subjects = 12
2, -44, 30

//Reference=MNI
//Frisoni, 2002
//grey matter loss
//Subjects=29
30 -10 -20
"""


def test_a_sleuth_file_gives_every_experiment_with_its_space_and_size():
    first, second, third = parse_sleuth(SLEUTH)
    assert (first.study_id, first.contrast, first.subjects) == ("Baron et al., 2001", "AD < HC", 19)
    assert (second.study_id, second.contrast, second.subjects) == ("Baron et al., 2001", "AD < MCI", 12)
    assert (third.study_id, third.space) == ("Frisoni, 2002 grey matter loss", MNI)
    assert first.space == second.space == TALAIRACH
    np.testing.assert_array_equal(first.coordinates, [[-26, -20, -12], [24, -8, -16]])
    np.testing.assert_array_equal(second.coordinates, [[2, -44, 30]])


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    path = tmp_path / "export.txt"
    path.write_bytes(b"\xef\xbb\xbf" + SLEUTH.replace("\n", "\r\n").encode())
    for ours, plain in zip(read_sleuth(path), parse_sleuth(SLEUTH), strict=True):
        assert replace(ours, coordinates=0, file="") == replace(plain, coordinates=0)
        np.testing.assert_array_equal(ours.coordinates, plain.coordinates)


def test_writing_and_reading_again_gives_the_same_foci():
    mni = [in_mni(experiment) for experiment in parse_sleuth(SLEUTH)]
    again = parse_sleuth(write_sleuth(mni))
    for before, after in zip(mni, again, strict=True):
        assert after.space == MNI
        assert (before.study_id, before.contrast, before.subjects) == (
            after.study_id,
            after.contrast,
            after.subjects,
        )
        np.testing.assert_allclose(before.coordinates, after.coordinates, atol=0.005)


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (("// Subjects=19\n", ""), ("line 3", "Baron", "Subjects")),
        (("// Subjects=19", "// Subjects=many"), ("line 3", "Baron", "many")),
        (("// Subjects=19", "// Subjects=0"), ("line 3", "Baron", "'0'")),
        (("// Reference=Talairach\n", ""), ("line 3", "Reference")),
        (("Reference=Talairach", "Reference=native"), ("line 1", "native")),
        (("24 -8 -16", "24 -8"), ("line 5", "Baron", "'24 -8'")),
        (("24 -8 -16", "24 -8 x"), ("line 5", "Baron")),
        (("24 -8 -16", "240 -8 -16"), ("line 5", "Baron", "150")),
        (("24 -8 -16", "nan -8 -16"), ("line 5", "Baron")),
        (("//Subjects=29\n30 -10 -20\n", ""), ("Frisoni", "Subjects")),
    ],
)
def test_a_damaged_sleuth_file_names_line_and_experiment(damage, names):
    text = SLEUTH.replace(*damage)
    assert text != SLEUTH
    with pytest.raises(TruthError) as caught:
        parse_sleuth(text, "export.txt")
    message = str(caught.value)
    assert message.startswith("export.txt: ")
    assert "Remedy:" in message
    for name in names:
        assert name in message


def test_foci_without_any_name_are_refused():
    with pytest.raises(TruthError, match="Study"):
        parse_sleuth("// Reference=MNI\n// Subjects=3\n1 2 3\n")


def test_an_empty_file_is_refused():
    with pytest.raises(TruthError, match="no experiment"):
        parse_sleuth("// Reference=MNI\n")


def test_talairach_becomes_mni_by_the_published_matrix():
    """Lancaster et al. 2007, icbm_other: MNI to Talairach; the inverse leads back, outwards and downwards."""
    matrix = np.array(
        [
            [0.9357, 0.0029, -0.0072, -1.0423],
            [-0.0065, 0.9396, -0.0726, -1.3940],
            [0.0103, 0.0752, 0.8967, 3.6475],
        ]
    )
    mni = np.array([[-28.0, -20.0, -18.0], [60.0, -30.0, 10.0], [0.0, 60.0, 20.0]])
    talairach = mni @ matrix[:, :3].T + matrix[:, 3]
    given = Experiment("one", "", 10, TALAIRACH, talairach)
    moved = in_mni(given)
    np.testing.assert_allclose(moved.coordinates, mni, atol=1e-6)
    assert moved.space == MNI
    # The MNI brain is the larger one: the lateral point lies further out, by millimetres and not centimetres.
    assert 3 < mni[1, 0] - talairach[1, 0] < 7
    # Converting what is MNI already changes nothing.
    np.testing.assert_array_equal(in_mni(moved).coordinates, moved.coordinates)


def _tables(folder, n_subjects=True):
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / "a.tsv.gz", "wt") as handle:
        handle.write("id\ttable_id\tx\ty\tz\n0011\t1\t-26\t-20\t-14\n0011\t2\t24\t-4\t-18\n22\t1\t0\t-50\t26\n")
        handle.write("33\t1\t1\t2\t3\n")
    header, sizes = "id\tspace\tstructural_title\ttitle", ["", "", ""]
    if n_subjects:
        header, sizes = f"{header}\tn_subjects", ["\t20", "\t31", "\t8"]
    rows = ["0011\tTAL\tTrue\tAtrophy", "22\tUNKNOWN\tTrue\tVBM", "33\tMNI\tFalse\tfMRI"]
    lines = [header, *(row + size for row, size in zip(rows, sizes, strict=True))]
    (folder / "a_studies.tsv").write_text("\n".join(lines) + "\n")
    (folder / "b.csv").write_text("pmid,x,y,z,n_subjects\n22,5,5,5,99\n44,6,6,6,17\n")
    (folder / "b_studies.csv").write_text("pmid,structural_title,n_subjects\n22,true,99\n44,true,17\n")
    return [folder / "a.tsv.gz", folder / "b.csv"], [folder / "a_studies.tsv", folder / "b_studies.csv"]


def test_tables_are_joined_selected_and_deduplicated_with_every_reason_kept(tmp_path):
    foci, studies = _tables(tmp_path)
    defaults = {"subjects": None, "space": "MNI"}
    taken, left_out = read_tables(foci, studies, defaults=defaults, select={"structural_title": True})
    assert [(one.study_id, one.subjects, one.space) for one in taken] == [
        ("0011", 20, TALAIRACH),
        ("22", 31, MNI),
        ("44", 17, MNI),
    ]
    np.testing.assert_array_equal(taken[0].coordinates, [[-26, -20, -14], [24, -4, -18]])
    assert taken[1].note == "space assumed"
    assert {one.study_id: one.note for one in left_out} == {
        "33": "not selected: structural_title is not True",
        "22": "already in an earlier table of foci",
    }


def test_a_study_without_size_is_an_error_unless_a_default_is_declared(tmp_path):
    foci, studies = _tables(tmp_path, n_subjects=False)
    settings = {"select": {"structural_title": True}}
    with pytest.raises(TruthError, match="study 0011.*subjects_default"):
        read_tables(foci, studies, defaults={"space": "MNI"}, **settings)
    taken, _ = read_tables(foci, studies, defaults={"space": "MNI", "subjects": 40}, **settings)
    assert taken[0].subjects == 40
    assert taken[0].note == "number of subjects assumed"
    assert taken[2].subjects == 17


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id\tx\ty\n1\t2\t3\n", ("z", "missing")),
        ("x\ty\tz\n1\t2\t3\n", ("study_id",)),
        ("id\tx\ty\tz\n1\t2\t3\toops\n", ("z", "line 2")),
        ("id\tx\ty\tz\n1\t1\t1\t1\n1\t2\t3\t900\n", ("z", "line 3")),
        ("", ("cannot be read",)),
    ],
)
def test_a_damaged_table_names_file_and_column(tmp_path, text, names):
    path = tmp_path / "foci.tsv"
    path.write_text(text)
    with pytest.raises(TruthError) as caught:
        read_tables([path], defaults={"subjects": 10, "space": "MNI"}, select={})
    for name in ("foci.tsv", *names):
        assert name in str(caught.value)


def test_selecting_by_a_column_that_does_not_exist_lists_those_that_do(tmp_path):
    foci, studies = _tables(tmp_path)
    with pytest.raises(TruthError, match="structural_titel.*structural_title"):
        read_tables(foci, studies, defaults={"space": "MNI"}, select={"structural_titel": True})


def test_a_truncated_archive_is_refused(tmp_path):
    foci, _ = _tables(tmp_path)
    foci[0].write_bytes(foci[0].read_bytes()[:-12])
    with pytest.raises(TruthError, match="cannot be read"):
        read_tables(foci[:1], defaults={"subjects": 10, "space": "MNI"}, select={})
