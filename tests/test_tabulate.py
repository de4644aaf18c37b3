"""Tables of subjects from BIDS folders and from file name patterns, read back by the table reader."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cohort_files import image, label, write_image
from smoothmorph.experiments.cli import app
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.tables.bids import BidsQuery, find_bids
from smoothmorph.pipeline.cohorts.tables.writing import find_pattern, write_table
from smoothmorph.pipeline.settings.schema import CohortSettings
from smoothmorph.transforms.basics.errors import InputError


def write_bids(root: Path, *names: str) -> Path:
    """Write images and label maps (``dseg``) with BIDS names to the ``anat`` folders of subjects and sessions."""
    for number, name in enumerate(names):
        subject, *rest = name.split("_")
        session = rest[0] if rest[0].startswith("ses-") else ""
        voxels = label() if name.endswith("dseg") else image(number)
        write_image(root / subject / session / "anat" / f"{name}.nii.gz", voxels)
    return root


@pytest.fixture
def raw(tmp_path) -> Path:
    """Three people, one with two sessions and one with two runs; a scan with another suffix, and other files."""
    root = tmp_path / "raw"
    write_bids(root, "sub-01_ses-a_T1w", "sub-01_ses-b_T1w", "sub-02_run-1_T1w", "sub-02_run-2_T1w", "sub-03_T1w")
    write_bids(root, "sub-03_T2w")
    (root / "sub-03" / "anat" / "sub-03_T1w.json").write_text("{}")
    (root / "dataset_description.json").write_text("{}")
    return root


@pytest.fixture
def derived(tmp_path) -> Path:
    """Preprocessed images in two spaces and three label maps in each, with the names of fMRIPrep."""
    root = tmp_path / "derivatives" / "prep"
    for person in ("sub-01_ses-a", "sub-02_run-1", "sub-03"):
        for space in ("", "_space-MNI"):
            write_bids(root, f"{person}{space}_desc-preproc_T1w")
            write_bids(root, *(f"{person}{space}{desc}_dseg" for desc in ("", "_desc-aseg", "_desc-aparcaseg")))
    return root


def rows(listing) -> list[tuple]:
    return [(s.id, s.group, s.image.name, s.label and s.label.name) for s in listing.subjects]


def test_a_row_for_each_scan_and_a_group_for_each_person(raw):
    listing = find_bids(raw, BidsQuery())
    assert rows(listing) == [
        ("sub-01_ses-a", "sub-01", "sub-01_ses-a_T1w.nii.gz", None),
        ("sub-01_ses-b", "sub-01", "sub-01_ses-b_T1w.nii.gz", None),
        ("sub-02_run-1", "sub-02", "sub-02_run-1_T1w.nii.gz", None),
        ("sub-02_run-2", "sub-02", "sub-02_run-2_T1w.nii.gz", None),
        ("sub-03", "sub-03", "sub-03_T1w.nii.gz", None),
    ]
    assert listing.notes == ("There are no label maps (dseg) in the space of the images: Dice will not be measured.",)
    assert listing.summary() == "5 images of 3 subjects without label maps; no split is declared."


def test_subjects_without_the_image_are_noted(raw):
    listing = find_bids(raw, BidsQuery(suffix="T2w", labels=False))
    assert [subject.id for subject in listing.subjects] == ["sub-03"]
    assert listing.notes == ("2 of 3 subjects have no such image and are left out: sub-01, sub-02.",)


def test_label_maps_of_raw_images_lie_in_the_derivatives(raw, tmp_path):
    manual = tmp_path / "manual"
    scans = [subject.id for subject in find_bids(raw, BidsQuery()).subjects]
    write_bids(manual, *(f"{scan}_space-orig_desc-manual_dseg" for scan in scans))
    listing = find_bids(raw, BidsQuery(derivatives=manual))
    assert [row[3] for row in rows(listing)] == [f"{scan}_space-orig_desc-manual_dseg.nii.gz" for scan in scans]
    assert listing.notes == ()


@pytest.mark.parametrize(("space", "inside"), [("", ""), ("MNI", "_space-MNI")])
def test_derived_images_with_their_label_maps(raw, derived, space, inside):
    query = BidsQuery(
        derivatives=derived, entities={"desc": "preproc", "space": space}, label_entities={"desc": "aseg"}
    )
    listing = find_bids(raw, query)
    assert rows(listing) == [
        (scan, scan[:6], f"{scan}{inside}_desc-preproc_T1w.nii.gz", f"{scan}{inside}_desc-aseg_dseg.nii.gz")
        for scan in ("sub-01_ses-a", "sub-02_run-1", "sub-03")
    ]


def test_a_derivative_is_a_data_set_too(derived):
    query = BidsQuery(entities={"space": "MNI"}, label_entities={"desc": ""})
    assert [row[3] for row in rows(find_bids(derived, query))][-1] == "sub-03_space-MNI_dseg.nii.gz"


@pytest.mark.parametrize("column", [None, "split", "side"])
def test_the_split_of_participants(raw, column):
    name = column or "split"
    lines = [
        f"participant_id\tage\t{name}",
        "sub-01\t30\ttrain",
        "02\t40\tTest",
        "sub-03\tn/a\tn/a",
        "sub-99\t1\ttrain",
    ]
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    listing = find_bids(raw, BidsQuery(split_column=column))
    assert listing.split == {
        "sub-01_ses-a": "train",
        "sub-01_ses-b": "train",
        "sub-02_run-1": "test",
        "sub-02_run-2": "test",
    }
    assert listing.summary().endswith("split: 2 train, 2 test, 1 without.")


def test_a_quotation_mark_is_a_character(raw):
    lines = ["participant_id\tsplit\tnote", 'sub-01\ttrain\t"left', "sub-02\ttest\t", "sub-02\ttest\tagain"]
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    assert set(find_bids(raw, BidsQuery()).split.values()) == {"train", "test"}


def fails(sentence: str, root: Path, **query) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        find_bids(root, BidsQuery(**query))
    assert "\n" not in str(error.value)


def test_what_is_ambiguous_or_missing_is_a_sentence(raw, derived, tmp_path):
    fails("nowhere is not a folder", tmp_path / "nowhere")
    fails(r"is not a BIDS data set: it has no folders sub-\*; give one of the data sets in it", tmp_path)
    fails(r"has no FLAIR images; it has T1w \(5\), T2w \(1\)", raw, suffix="FLAIR")
    fails("has no T1w images with desc-preproc; it has", raw, entities={"desc": "preproc"})
    fails(
        r"sub-01_ses-a has 2 T1w files, .*; they differ in space: choose by --desc or --entity",
        raw, derivatives=derived, entities={"desc": "preproc"},
    )  # fmt: skip
    native = {"desc": "preproc", "space": ""}
    fails(
        r"sub-01_ses-a has 3 dseg files, .*; they differ in desc: choose by --label-entity",
        raw, derivatives=derived, entities=native,
    )  # fmt: skip
    fails(
        r"^2 of 5 scans have no label map \(dseg\) in the image's space: sub-01_ses-b, sub-02_run-2; add the missing",
        raw, derivatives=derived, label_entities={"desc": "aseg"},
    )  # fmt: skip
    fails(
        r"--exclude sub-09: there is no such scan; scans are named like sub-01_ses-a",
        raw,
        exclude=frozenset(["sub-09"]),
    )
    everyone = frozenset(subject.id for subject in find_bids(raw, BidsQuery()).subjects)
    fails("--exclude leaves no scan of .*raw", raw, exclude=everyone)
    fails(
        "^1 of 4 scans has no label map .*: sub-02_run-2;",
        raw, derivatives=derived, label_entities={"desc": "aseg"}, exclude=frozenset(["sub-01_ses-b"]),
    )  # fmt: skip
    write_bids(raw, "sub-03_acq-fast_T1w")
    fails(r"sub-03 has 2 T1w files, .*; they differ in acq", raw)
    assert len(find_bids(raw, BidsQuery(entities={"acq": ""})).subjects) == 5
    write_image(raw / "sub-03" / "anat" / "sub-03_acq-fast_T1w.nii", image(0))
    fails(r"sub-03 has 2 T1w files, .*; remove all but one", raw, entities={"acq": "fast"})


def test_scans_left_out_need_no_label_map(raw, derived):
    query = BidsQuery(
        derivatives=derived, label_entities={"desc": "aseg"}, exclude=frozenset(["sub-01_ses-b", "sub-02_run-2"])
    )
    assert len(find_bids(raw, query).subjects) == 3


def test_a_link_to_nothing_is_told(raw):
    path = raw / "sub-03" / "anat" / "sub-03_T1w.nii.gz"
    path.unlink()
    path.symlink_to(raw / ".git" / "annex" / "gone.nii.gz")
    fails(r"sub-03_T1w\.nii\.gz is a link to a missing file; fetch the file", raw)


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        (None, "side", "--split-column side: .* does not exist"),
        ("participant_id\tage\nsub-01\t3\n", "side", "has the columns participant_id, age; participant_id and side"),
        ("id\tsplit\nsub-01\ttrain\n", None, "has the columns id, split"),
        ("participant_id\tsplit\nsub-01\ttraining\n", None, "line 2 has split 'training'; expected train, validation"),
        ("participant_id\tsplit\nsub-01\n", None, "line 2 has 1 cells, but there are 2 columns"),
        ("", "side", "has the columns none"),
        (
            "participant_id\tsplit\nsub-01\t" + 200_000 * "x" + "\n",
            None,
            "is not a tab-separated table: field larger than",
        ),
        (
            "participant_id\tsplit\nsub-01\ttrain\n01\ttest\n",
            None,
            "line 3 has sub-01 with split 'test', but an earlier line says 'train'; keep one",
        ),
    ],
)
def test_faulty_participants(raw, text, column, sentence):
    if text is not None:
        (raw / "participants.tsv").write_text(text)
    fails(sentence, raw, split_column=column)


def write_flat(root: Path) -> Path:
    for name in ("anna", "bert"):
        write_image(root / "images" / f"{name}_t1.nii.gz", image(1))
        write_image(root / "labels" / name / "seg.nii.gz", label())
    return root


def test_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(write_flat(tmp_path))
    listing = find_pattern("images/*_t1.nii.gz", "labels/*/seg.nii.gz")
    assert rows(listing) == [(name, name, f"{name}_t1.nii.gz", "seg.nii.gz") for name in ("anna", "bert")]
    assert [subject.label for subject in find_pattern(f"{tmp_path}/labels/*/seg.nii.gz").subjects] == [None, None]


def test_a_pattern_with_the_id_in_two_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bids(tmp_path, "sub-01_T1w", "sub-02_T1w", "sub-01_dseg", "sub-02_dseg")
    listing = find_pattern("sub-*/anat/sub-*_T1w.nii.gz", "sub-*/anat/sub-*_dseg.nii.gz")
    assert rows(listing)[1] == ("02", "02", "sub-02_T1w.nii.gz", "sub-02_dseg.nii.gz")


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        ("images/anna.nii", None, r"--images 'images/anna\.nii': expected a path with \* in place of the id"),
        ("**/a*.nii", None, "expected a path with"),
        ("images/*.nii.gz", "labels/seg?.nii", "--labels 'labels/seg"),
        ("images/*.mha", None, "matches no file in"),
        ("images/*_t1.nii.gz", "labels/*/truth.nii.gz", r"anna_t1\.nii\.gz has no label map: labels/anna/truth\.nii"),
        ("*/*_t1.nii.gz", "*/*/*/x.nii.gz", r"--labels .* has \* 3 times, but --images .* has it 2"),
        ("*/*.nii.gz", "labels/*.nii.gz", r"--labels .* has \* 1 times, but --images .* has it 2"),
    ],
)
def test_faulty_patterns(tmp_path, monkeypatch, images, labels, sentence):
    monkeypatch.chdir(write_flat(tmp_path))
    with pytest.raises(InputError, match=sentence):
        find_pattern(images, labels)


def test_one_id_for_two_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/b_c.nii", "a_b/c.nii"):
        write_image(tmp_path / name, image(0))
    with pytest.raises(InputError, match=r"a/b_c\.nii and a_b/c\.nii the same id, a_b_c"):
        find_pattern("*/*.nii")


def test_the_table_reader_reads_what_is_written(raw, derived, tmp_path):
    (raw / "participants.tsv").write_text("participant_id\tsplit\nsub-01\ttrain\nsub-02\ttest\nsub-03\ttrain\n")
    native = {"desc": "preproc", "space": ""}
    listing = find_bids(raw, BidsQuery(derivatives=derived, entities=native, label_entities={"desc": "aseg"}))
    table = write_table(listing, tmp_path / "tables" / "subjects.csv")
    assert table.read_text().splitlines()[0] == "id,image,label,group,split"
    assert "../derivatives/prep/sub-03/anat/" in table.read_text()
    cohort = read_cohort(CohortSettings(reader="table", file="subjects.csv"), table.parent)
    assert cohort.ids == ("sub-01_ses-a", "sub-02_run-1", "sub-03")
    assert [subject.group for subject in cohort.subjects] == ["sub-01", "sub-02", "sub-03"]
    assert cohort.declared_split == {"train": ("sub-01_ses-a", "sub-03"), "test": ("sub-02_run-1",)}
    assert set(cohort.label_names) == {1, 2}
    assert cohort.load(cohort["sub-03"])["label"] is not None


def call(*words: object):
    return CliRunner().invoke(app, ["data", "table", *(str(word) for word in words)])


def test_the_command(raw, derived, tmp_path):
    out = tmp_path / "subjects.csv"
    made = call("--bids", raw, "--out", out, "--derivatives", derived, "--desc", "preproc", "--entity", "space=MNI",
                "--label-entity", "desc=aseg")  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "3 images of 3 subjects with label maps" in made.output
    assert f"--data-root {tmp_path} --set cohort.file=subjects.csv" in made.output
    told = CliRunner().invoke(
        app, ["data", "check", "table", "--root", str(tmp_path), "--set", f"cohort.file={out.name}"]
    )
    assert told.exit_code == 0
    assert "3 subjects in 3 groups" in told.output
    before = out.read_text()
    assert "subjects.csv exists; give another --out, or --overwrite" in call("--bids", raw, "--out", out).stderr
    assert out.read_text() == before
    assert call("--bids", raw, "--out", out, "--overwrite").exit_code == 0
    assert out.read_text() != before


def test_an_image_is_never_replaced(raw):
    path = raw / "sub-03" / "anat" / "sub-03_T1w.nii.gz"
    before = path.read_bytes()
    told = call("--bids", raw, "--out", path, "--overwrite")
    assert "has none of the endings" in told.stderr
    listing = find_bids(raw, BidsQuery())
    (path.parent / "link.csv").symlink_to(path)
    with pytest.raises(InputError, match=r"link\.csv is an input file, and writing would replace it"):
        write_table(listing, path.parent / "link.csv", overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give either --bids FOLDER, or --images PATTERN"),
        (["--bids", ".", "--images", "*.nii"], "give either"),
        (["--bids", ".", "--labels", "*.nii"], "give either"),
        (["--bids", ".", "--entity", "space"], "--entity space: expected KEY=VALUE"),
        (["--bids", "nowhere"], "nowhere is not a folder"),
        (["--bids", "nowhere", "--out", "t.tsv"], "t.tsv has none of the endings that it can be written with: .csv"),
    ],
)
def test_a_mistake_is_one_line(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = call("--out", "subjects.csv", *words)
    assert told.exit_code == 2
    assert told.stderr.startswith("error: ")
    assert sentence in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "subjects.csv").exists()
