"""CSV tables are read with limits, and written tables contain no formula for a spreadsheet program."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohort_files import image, write_image
from smoothmorph.experiments.report.tables import csv_link
from smoothmorph.pipeline import read_label_table
from smoothmorph.pipeline.cohorts.cohort import Subject
from smoothmorph.pipeline.cohorts.loading import Transforms
from smoothmorph.pipeline.cohorts.memory_mapped import MappedDataset
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.tables.bids import BidsQuery, find_bids
from smoothmorph.pipeline.cohorts.tables.writing import Listing, find_pattern, write_table
from smoothmorph.pipeline.files import csv_tables
from smoothmorph.pipeline.files.csv_tables import csv_text, read_csv, write_csv
from smoothmorph.pipeline.settings.schema import CohortSettings
from smoothmorph.transforms.basics.errors import InputError

FORMULAS = ['=HYPERLINK("http://x","y")', "+cmd|' /C calc'!A0", "-2+3+cmd|x", "@SUM(1)", "＝1+1", "-sub-01", "- 5"]
TEXTS = [*FORMULAS, "'=1", "''@x", "'quoted'", 'a "b", c', "-1.5e-3", "+7", "sub-01_ses-1_run-01", "", "ä;=1", "a\nb"]


def test_a_text_that_would_be_run_is_written_with_an_apostrophe_and_numbers_as_they_are():
    frame = pd.DataFrame({"id": [*FORMULAS], "x": np.arange(7) - 3.5, "n": -np.arange(7), "text": ["-1"] * 7})
    cells = pd.read_csv(io.StringIO(csv_text(frame)))
    assert cells["id"].tolist() == [f"'{text}" for text in FORMULAS]
    assert cells["x"].tolist() == frame["x"].tolist()
    assert cells["n"].tolist() == frame["n"].tolist()
    assert cells["text"].tolist() == [-1] * 7


def test_what_is_read_is_what_was_written(tmp_path):
    frame = pd.DataFrame({"id": TEXTS, "=f(x)": TEXTS, "end": "."})
    table = read_csv(write_csv(tmp_path / "t.csv", frame))
    assert table.columns == ("id", "=f(x)", "end")
    assert [row.cells for row in table.rows] == [(text, text, ".") for text in TEXTS]
    assert (tmp_path / "t.csv").read_text().startswith("id,'=f(x),end\n")


def test_a_missing_value_stays_empty_and_other_tables_as_they_were():
    frame = pd.DataFrame({"a": ["x", None, np.nan], "b": [1.5, np.nan, -2], "c": [True, False, True]})
    assert (
        csv_text(frame) == frame.to_csv(index=False, lineterminator="\n") == "a,b,c\nx,1.5,True\n,,False\n,-2.0,True\n"
    )


def test_the_csv_that_a_report_holds_is_no_formula_either():
    link = csv_link(pd.DataFrame({"label": ["=1+1"]}))
    assert base64.b64decode(link.partition("base64,")[2]).decode() == "label\n'=1+1\n"


def test_a_table_of_ids_that_are_formulas_is_read_back_by_the_table_reader(tmp_path):
    ids = ["=1+1", "@b", "-c"]
    for number in range(len(ids)):
        write_image(tmp_path / "@images" / f"{number}.nii", image(number))
    subjects = [Subject(name, name, tmp_path / "@images" / f"{number}.nii") for number, name in enumerate(ids)]
    table = write_table(Listing(tuple(subjects)), tmp_path / "subjects.csv")
    assert table.read_text().splitlines()[1] == "'=1+1,'@images/0.nii,'=1+1"
    cohort = read_cohort(CohortSettings(reader="table", file="subjects.csv"), tmp_path)
    assert cohort.ids == tuple(sorted(ids))
    assert cohort.load(cohort["@b"])["id"] == "@b"


HOSTILE = {
    "a million columns": ("," * 1_000_000 + "x\n", "has 1000001 columns; at most 10000 are allowed"),
    "a row of a million cells": ("id,image\n" + "," * 1_000_000 + "x\n", "line 2 has 1000001 cells, but there are 2"),
    "a NUL": ("id,image\na,1\0.nii\n", "holds NUL characters, so it is not text"),
    "an open quotation mark": ('id,image\n"a,1.nii\nb,2.nii\n', "line 3: unexpected end of data; save it as plain CSV"),
    "a column twice": ("id,image,id\na,1.nii,b\n", "has 2 columns 'id'; keep one of them"),
    "too many rows": ("id,image\n" + "a,b\n" * 6, "has more than 5 rows"),
    "another encoding": ("id,image\na,1.nii\n".encode("utf-16"), r"is not UTF-8 text \(byte 1\)"),
}


@pytest.mark.parametrize(("text", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_a_table_is_read_within_bounds(text, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_tables, "MOST_TABLE_ROWS", 5)
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=sentence) as error:
        read_csv(tmp_path / "t.csv")
    assert len(str(error.value)) < 400


def test_a_line_is_named_by_its_number_in_the_file_and_empty_ones_are_skipped(tmp_path):
    (tmp_path / "t.tsv").write_text('\n"a\tb\n\n\t\n1\t2"\n3\n')
    with pytest.raises(InputError, match="line 6 has 1 cells, but there are 2 columns"):
        read_csv(tmp_path / "t.tsv", tabs=True)
    (tmp_path / "t.tsv").write_text('\n"a\tb\n\n\t\n1\t2"\n')
    assert read_csv(tmp_path / "t.tsv", tabs=True).dicts() == [{'"a': "1", "b": '2"'}]


NO_NAMES = ["a\x1b[2J", "a\nb", "n" * 256, "a\u202eb", "a\u2028b"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_id_is_one_line_of_text(name, tmp_path):
    with pytest.raises(InputError, match=r"the id of a subject is .*expected one line of at most 255") as error:
        Subject(name, "g")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300
    with pytest.raises(InputError, match="the group of subject a is"):
        Subject("a", name)


@pytest.mark.parametrize("name", ["../x", "a/b", "CON", "sub-01_ses-1_run-01", "Zoë 3", "$x", "n" * 255, "A", "a"])
def test_an_id_names_no_file_outside(name, tmp_path):
    rest = {"image": None, "label": None, "landmarks": None, "spacing": (1.0,), "axes": "R"}
    data = [{"id": each, **rest} for each in (name, name.swapcase())]
    folder = tmp_path / "in" / "samples"
    dataset = MappedDataset(data, Transforms([]), folder)
    assert [dataset[0]["id"], dataset[1]["id"]] == [name, name.swapcase()]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len({path.name.lower() for path in files}) == len({name, name.swapcase()})
    assert {path.parent for path in files} == {folder}


@pytest.mark.parametrize("path", ["a\0b.nii", "n" * 256 + ".nii", "d/" * 2100 + "x.nii"])
def test_a_path_that_cannot_be_is_one_sentence(path, tmp_path):
    with pytest.raises(InputError, match="subject a has a file path that is too long or invalid, ") as error:
        Subject("a", "a", tmp_path / path)
    assert len(str(error.value)) < 300
    (tmp_path / "dataset.json").write_text(
        json.dumps({"labels": {"0": "background", "1": "a"}, "training": [{"image": path, "label": path}] * 2})
    )
    with pytest.raises(InputError) as error:
        read_cohort(CohortSettings(reader="decathlon", spatial_dims=3), tmp_path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("9" * 5000 + " name\n", "is not a label value and a name"),
        ("9223372036854775808 name\n", "is not a label value and a name"),
        ("-1 name\n", "is not a label value and a name"),
        ("\u0663 name\n", "is not a label value and a name"),
        ("1 " + "n" * 5000 + "\n", "the name of label 1 is 'nnn"),
        ("1 a\x1b[2J\n", "the name of label 1 is"),
        ("1 left\n1 right\n", "label 1 has two names, left and right; keep one"),
        ("1 left\n2\n", "'2' is not a label value and a name"),
    ],
)
def test_a_table_of_labels_is_read_within_bounds(text, sentence, tmp_path):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=sentence) as error:
        read_label_table(tmp_path / "t.txt")
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()


def test_labels_of_one_name_are_told_apart_and_large_ones_keep_their_value(tmp_path):
    (tmp_path / "t.txt").write_text("0 no\n1 CSF 0 0 0 0\n\n# more\n614454277 x\n5 CSF\n9223372036854775807 no\n")
    assert read_label_table(tmp_path / "t.txt") == {
        1: "CSF 1", 5: "CSF 5", 614454277: "x", 9223372036854775807: "no 9223372036854775807"
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '{"labels": {"1": "a"}, "training": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"labels": {"' + "9" * 5000 + '": "a"}, "training": [{"image": "a.nii", "label": "b.nii"}]}',
        '{"labels": {"1": "a", "01": "b"}, "training": [{"image": "a.nii", "label": "b.nii"}]}',
        '{"labels": {"1": "a"}, "training": [{"image": ' + "9" * 100_000 + "}]}",
        '{"labels": [1], "training": [{"image": "a.nii", "label": "b.nii"}]}',
        '{"labels": {"1": "a"}, "training": [{"image": ["a.nii"], "label": "b.nii"}]}',
    ],
    ids=["deep", "digits", "twice", "number", "list", "path"],
)
def test_a_decathlon_listing_is_read_within_bounds(text, tmp_path):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json") as error:
        read_cohort(CohortSettings(reader="decathlon", spatial_dims=3), tmp_path)
    assert len(str(error.value)) < 600
    assert len(str(error.value).splitlines()) == 1


def test_a_file_whose_name_is_no_text_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a\x1b[2J.nii").touch()
    with pytest.raises(InputError, match="the id of a subject is") as error:
        find_pattern("*.nii")
    assert str(error.value).isprintable()


def test_participants_may_hold_formulas(tmp_path):
    for name in ("01", "02"):
        write_image(tmp_path / f"sub-{name}" / f"sub-{name}_T1w.nii.gz", image(1))
    (tmp_path / "participants.tsv").write_text('participant_id\tnote\tsplit\nsub-01\t=1+1\ttrain\nsub-02\t"\ttest\n')
    assert find_bids(tmp_path, BidsQuery(labels=False)).split == {"sub-01": "train", "sub-02": "test"}
