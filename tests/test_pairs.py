"""``pairs.source``: which scans are registered to which."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from cohort_files import image, label, write_image
from smoothmorph.experiments.study.setting_keys import leaves_of, value_in_words
from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.cohorts.cohort import Cohort, Subject
from smoothmorph.pipeline.cohorts.pairs import drawn_pairs, epoch_pairs, possible_pairs
from smoothmorph.pipeline.cohorts.preparation import find_data, prepare, show_pairs, training_loader
from smoothmorph.pipeline.cohorts.splits import Split, frozen_pairs, pairs_hash, split_cohort, training_pairs
from smoothmorph.pipeline.settings.schema import PairSettings, SplitSettings, TrialSettings, from_identity, parse
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms.basics.errors import InputError

SLICES = ("1", "2")
HEART = {"source": "within", "match": ("slice",), "moving": {"phase": "es"}, "fixed": {"phase": "ed"}}


def heart(patients: int = 10, left_out: frozenset[str] = frozenset()) -> Cohort:
    """Two slices of each patient at two phases: ``p0_1_ed`` ..."""
    subjects = [
        Subject(f"p{patient}_{slice_}_{phase}", f"p{patient}", columns={"slice": slice_, "phase": phase})
        for patient in range(patients)
        for slice_ in SLICES
        for phase in ("ed", "es")
    ]
    return Cohort("table", 2, tuple(subjects), {}, None, transform=lambda item: item, left_out=left_out)  # type: ignore


COHORT = heart()
SPLIT = split_cohort(COHORT, SplitSettings())


def possible(settings: dict, cohort: Cohort = COHORT, split: Split = SPLIT, root: Path | None = None):
    return possible_pairs(cohort, split, PairSettings(**settings), root)


def test_without_a_word_any_two_subjects_make_a_pair_as_before():
    assert vars(possible({})) == {"train": None, "validation": None, "test": None}
    assert possible({}).hashes() == {}
    assert drawn_pairs(None, SPLIT.test, 7, 3) == frozen_pairs(SPLIT.test, 7, 3)
    assert epoch_pairs(None, SPLIT.train, 7, 3, 2) == training_pairs(SPLIT.train, 7, 3, 2)


def test_within_a_group_is_end_systole_onto_end_diastole_of_the_same_slice():
    found = possible(HEART)
    for side, ids in vars(SPLIT).items():
        expected = {(name, name.replace("_es", "_ed")) for name in ids if name.endswith("es")}
        assert set(getattr(found, side)) == expected
        assert len(expected) == len(ids) / 2


def test_within_a_group_without_more_is_every_two_scans_of_it():
    found = possible({"source": "within"})
    expected = {pair for pair in permutations(SPLIT.test, 2) if pair[0][:2] == pair[1][:2]}
    assert set(found.test or ()) == expected
    assert len(expected) == 2 * 4 * 3  # two patients of four scans each


def test_across_groups_columns_choose_as_well():
    found = possible({**HEART, "source": "across"})
    assert len(found.test or ()) == 2 * 2 * 2  # of each of two slices, two patients onto two
    assert all(m[3] == f[3] and m.endswith("es") and f.endswith("ed") for m, f in found.test or ())


def test_an_atlas_is_fixed_in_every_pair_and_its_group_moves_nowhere():
    atlas = SPLIT.train[0]
    found = possible({"source": "atlas", "atlas": atlas, "moving": {"phase": "ed"}})
    assert {fixed for side in vars(found).values() for _, fixed in side} == {atlas}
    assert {moving for moving, _ in found.test or ()} == {name for name in SPLIT.test if name.endswith("ed")}
    assert not any(moving.startswith(atlas[:2]) for moving, _ in found.train or ())


def test_an_empty_cell_agrees_with_none():
    subjects = [
        Subject(f"s{n}", "one" if n < 4 else f"g{n}", columns={"slice": "" if n < 2 else "1"}) for n in range(10)
    ]
    cohort = Cohort("table", 2, tuple(subjects), {}, None, transform=lambda item: item)  # type: ignore
    everything = Split(*[cohort.ids] * 3)
    found = possible({"source": "within", "match": ("slice",)}, cohort, everything)
    assert found.test == (("s2", "s3"), ("s3", "s2"))


@pytest.fixture
def listed(tmp_path):
    """A function that writes a file of pairs and finds what it leaves of the hearts."""

    def find(content, name="pairs.csv", cohort=COHORT, split=SPLIT):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return possible({"source": "file", "file": name}, cohort, split, tmp_path)

    return find


def lines_of(split: Split = SPLIT) -> list[tuple[str, str]]:
    """One pair of each side."""
    return [(ids[1], ids[0]) for ids in vars(split).values()]


def test_a_table_and_json_of_the_same_pairs_are_the_same(listed):
    pairs = lines_of()
    table = listed("fixed,moving,remark\n" + "\n".join(f"{fixed},{moving},good" for moving, fixed in pairs))
    assert table.train == (pairs[0],)
    assert table.test == (pairs[2],)
    objects = [{"moving": moving, "fixed": fixed} for moving, fixed in pairs]
    assert vars(listed(objects, "pairs.json")) == vars(table)
    of_challenge = {"name": "Heart", "training_paired_images": objects[:1], "registration_val": objects}
    assert vars(listed(of_challenge, "Heart_dataset.json")) == vars(table)


def test_images_of_learn2reg_are_found_by_their_paths(listed, tmp_path):
    subjects = [Subject(f"s{n}", f"s{n}", tmp_path / "imagesTr" / f"Heart_{n:04d}_0000.nii.gz") for n in range(6)]
    cohort = Cohort("table", 2, tuple(subjects), {}, None, transform=lambda item: item)  # type: ignore
    split = Split(("s0", "s1"), ("s2", "s3"), ("s4", "s5"))
    pairs = [
        {"fixed": f"./imagesTr/Heart_{n:04d}_0000.nii.gz", "moving": f"Heart_{n + 1:04d}_0000.nii.gz"}
        for n in (0, 2, 4)
    ]
    found = listed({"registration_val": pairs}, "Heart_dataset.json", cohort, split)
    assert vars(found) == {"train": (("s1", "s0"),), "validation": (("s3", "s2"),), "test": (("s5", "s4"),)}


def test_pairs_of_subjects_that_are_left_out_or_on_no_side_are_not_used(listed):
    pairs = "\n".join(",".join(pair) for pair in lines_of())
    smaller = Split(SPLIT.train[2:], SPLIT.validation, SPLIT.test)
    cohort = heart(left_out=frozenset({"gone"}))
    with_more = f"moving,fixed\n{pairs}\ngone,{SPLIT.test[0]}\n{smaller.train[1]},{smaller.train[0]}"
    assert listed(with_more, cohort=cohort, split=smaller).train == ((smaller.train[1], smaller.train[0]),)


def test_validation_subjects_that_test_have_the_same_pairs(listed):
    split = split_cohort(COHORT, SplitSettings(train=0.6, validation=0.4, test=None))
    pairs = "moving,fixed\n" + "\n".join(",".join(pair) for pair in lines_of(split))
    found = listed(pairs, split=split)
    assert found.test == found.validation != ()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({**HEART, "match": ("slices",)}, "names the column 'slices', .* did you mean slice\\? It has group, id"),
        ({**HEART, "moving": {"fase": "es"}}, "pairs.moving names the column 'fase', .* did you mean phase"),
        ({**HEART, "fixed": {"phase": "edd"}}, "pairs.fixed asks for phase 'edd', .* did you mean ed. phase is ed, es"),
        ({"source": "within", "match": ("id",)}, "within makes no pair of the 24 train subjects with the same id"),
        ({"source": "atlas", "atlas": "p0_1_e"}, "pairs.atlas is 'p0_1_e', .* did you mean p0_1_e"),
        ({"source": "file", "file": "none.csv"}, "cannot read .*none.csv"),
        ({"source": "file", "file": "pairs.txt"}, r"expected a file that ends in .csv or .json"),
    ],
)  # fmt: skip
def test_faulty_choices(settings, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        possible(settings, root=tmp_path)


def test_an_atlas_that_is_left_out_or_on_no_side_is_refused():
    cohort, atlas = heart(left_out=frozenset({"template"})), {"source": "atlas", "atlas": SPLIT.train[0]}
    with pytest.raises(InputError, match=r"pairs.atlas 'p.*' is on no side of the split; put it among the training"):
        possible(atlas, split=Split(SPLIT.train[1:], SPLIT.validation, SPLIT.test))
    with pytest.raises(InputError, match=r"pairs.atlas 'template' is left out by cohort.exclude or cohort.subjects"):
        possible({**atlas, "atlas": "template"}, cohort)


TRAIN, TEST = SPLIT.train[0], SPLIT.test[0]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "moving,target\na,b", "a.csv has the columns moving, target; expected moving and fixed"),
        ("a.csv", f"moving,fixed\n{TRAIN},", "a.csv, line 2 has no fixed scan"),
        ("a.csv", "moving,fixed\n", "a.csv lists no pair"),
        ("a.csv", f"moving,fixed\n{TRAIN},{TRAIN}", f"a.csv, line 2 registers {TRAIN} to itself"),
        ("a.csv", f"moving,fixed\n{TRAIN},{TRAIN}x", f"a.csv, line 2 names '{TRAIN}x', .* did you mean {TRAIN}"),
        ("a.csv", f"moving,fixed\n{TRAIN},{TEST}", f"line 2: {TRAIN} is a train subject and {TEST} a test subject"),
        ("a.csv", f"moving,fixed\n{SPLIT.train[1]},{TRAIN}", "makes no pair of the 8 validation subjects; list pairs"),
        ("a.json", "{", "a.json is not valid JSON"),
        ("a.json", 3, r"a.json is 3; expected \[{\"moving\""),
        ("a.json", {"pairs": []}, "a.json is an object with the keys .'pairs'.; expected .* training_paired_images"),
        ("a.json", {"registration_val": {}}, "a.json: registration_val is {}; expected"),
        ("a.json", [["a", "b"]], r"a.json, pair 1 is \[\"a\", \"b\"\]; expected"),
        ("a.json", {"registration_val": [{"moving": "a"}]}, "a.json, registration_val, pair 1 is"),
    ],
)  # fmt: skip
def test_faulty_files_of_pairs(listed, name, content, sentence):
    with pytest.raises(InputError, match=sentence):
        listed(content, name)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ({"source": "atlas"}, "pairs.source is atlas, which needs pairs.atlas, the id of a subject"),
        ({"source": "file"}, "pairs.source is file, which needs pairs.file, a CSV or JSON file"),
        ({"atlas": "a"}, "pairs.atlas is 'a', but pairs.source is across, which has none"),
        ({"source": "file", "file": "a.csv", "match": ["slice"]}, r"pairs.match is \['slice'\], but .* is file"),
        ({"source": "atlas", "atlas": "a", "fixed": {"a": 1}}, "pairs.fixed is {'a': '1'}, but pairs.source is atlas"),
        ({"source": "inside"}, "pairs.source = 'inside': Input should be 'across', 'within', 'atlas' or 'file'"),
        ({"moving": "es"}, r"pairs.moving = 'es': expected columns of the table with a text each, such as {phase: es}"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(pairs, sentence):
    with pytest.raises(InputError, match=sentence):
        parse(TrialSettings, {"pairs": pairs}, "trial")


def test_the_same_pairs_whatever_the_order_of_columns_and_lines(listed):
    pairs = [(m, f) for m in SPLIT.test for f in SPLIT.test if m != f] + lines_of()[:2]
    text = "moving,fixed\n" + "\n".join(",".join(pair) for pair in pairs)
    assert listed(text).test == listed("moving,fixed\n" + "\n".join(",".join(pair) for pair in pairs[::-1])).test
    one, other = (
        {"source": "within", "moving": dict(items)} for items in ([("a", 1), ("b", 2)], [("b", "2"), ("a", "1")])
    )
    assert PairSettings(**one) == PairSettings(**other)
    assert hash(PairSettings(**one)) == hash(PairSettings(**other))


def test_the_draw_is_the_same_for_ever_and_has_no_pair_twice():
    pairs = tuple((f"m{n}", f"f{n}") for n in range(6))
    assert drawn_pairs(pairs, (), 3, seed=0) == (("m3", "f3"), ("m2", "f2"), ("m1", "f1"))  # written down once
    assert sorted(drawn_pairs(pairs, (), 100, seed=1)) == list(pairs)
    epoch = epoch_pairs(pairs, (), 50, seed=1, epoch=2)
    assert set(epoch) == set(pairs)
    assert epoch == epoch_pairs(pairs, (), 50, seed=1, epoch=2) != epoch_pairs(pairs, (), 50, seed=1, epoch=3)


def test_a_study_of_one_heart_can_be_written_and_read_again(tmp_path):
    study = load_study("cardiac", ["pairs.match=[slice, phase]"])
    trial = study.trials[0]
    assert trial.pairs.moving == (("phase", "es"),)
    assert leaves_of(trial)["pairs.moving"] == {"phase": "es"}
    assert value_in_words({"phase": "es", "slice": "2"}) == "phase es, slice 2"
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    assert load_study(str(tmp_path / "study.yaml")).trials == study.trials
    assert from_identity(trial.identity(), "trial").pairs == trial.pairs
    assert not trial.concerns("pairs.atlas")


def test_settings_of_pairs_leave_the_identity_of_earlier_trials_alone():
    assert set(TrialSettings().identity()["pairs"]) == {"validation", "test", "seed"}
    syn = parse(TrialSettings, {"model": {"method": "syn"}, "pairs": HEART}, "trial").identity()
    assert set(syn["pairs"]) == {"test", "seed", "source", "match", "moving", "fixed"}


@pytest.fixture(scope="module")
def hearts(tmp_path_factory) -> Path:
    """Ten patients on disk, two slices at two phases each, with a table."""
    root = tmp_path_factory.mktemp("hearts")
    lines = ["id,image,label,group,slice,phase"]
    for number, subject in enumerate(COHORT.subjects):
        write_image(root / f"{subject.id}.nii.gz", image(number))
        write_image(root / f"{subject.id}_seg.nii.gz", label())
        columns = subject.columns
        lines.append(
            f"{subject.id},{subject.id}.nii.gz,{subject.id}_seg.nii.gz,{subject.group},{columns['slice']},{columns['phase']}"
        )
    (root / "slices.csv").write_text("\n".join(lines))
    return root


def trial_of(**pairs) -> TrialSettings:
    values = {
        "cohort": {"reader": "table", "file": "slices.csv"},
        "pairs": {**HEART, "test": 3, **pairs},
        "model": {"channels": [4, 8, 8, 8], "final_channels": [4], "integration_steps": 2},
        "training": {"epochs": 1, "steps_per_epoch": 2},
        "compute": {"device": "cpu"},
    }
    return parse(TrialSettings, values, "trial")


def test_training_sees_pairs_within_a_patient_only(hearts):
    prepared = prepare(trial_of(), hearts)
    images = {name: sample["image"].numpy().tobytes() for name, sample in prepared.samples.items()}
    known = {(images[moving], images[fixed]) for moving, fixed in prepared.training_pairs or ()}
    assert len(known) == 12
    for batch in training_loader(prepared, trial_of(), 1, False):
        assert (batch["moving"][0].numpy().tobytes(), batch["fixed"][0].numpy().tobytes()) in known


def test_a_trial_within_patients_is_measured_on_such_pairs_and_names_their_groups(hearts, tmp_path):
    pd = pytest.importorskip("pandas")
    run_trial(trial_of(), tmp_path / "trial", hearts)
    rows = pd.read_parquet(tmp_path / "trial" / "pairs.parquet")
    assert len(rows) == 3
    assert (rows["moving"].str.replace("_es", "_ed") == rows["fixed"]).all()
    assert (rows["moving_group"] == rows["moving"].str[:2]).all()
    assert (rows["moving_group"] == rows["fixed_group"]).all()
    noted = json.loads((tmp_path / "trial" / "environment.json").read_text())
    assert noted["test_pairs"] == pairs_hash(zip(rows["moving"], rows["fixed"], strict=True))


def test_what_decides_the_pairs_is_part_of_the_data(hearts, tmp_path):
    """The settings name columns and files: other values in them must be told apart by the fingerprint."""

    def fingerprint(root=hearts, **pairs) -> str:
        settings = trial_of(**pairs)
        return find_data(settings.cohort, settings.split, root, settings.pairs)[0].fingerprint()

    plain = find_data(trial_of().cohort, SplitSettings(), hearts)[0].fingerprint()
    assert len({plain, fingerprint(), fingerprint(match=()), fingerprint(moving={"phase": "ed"}, fixed={})}) == 4
    other = tmp_path / "other"
    other.mkdir()
    for path in hearts.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert fingerprint(other) == fingerprint()
    text = (other / "slices.csv").read_text()
    (other / "slices.csv").write_text(text.replace("p3,1,ed", "p3,9,ed"))
    assert fingerprint(other) != fingerprint()
    assert find_data(trial_of().cohort, SplitSettings(), other)[0].fingerprint() == plain


def test_the_pairs_of_each_side_are_shown(hearts):
    lines = show_pairs(trial_of(), hearts)
    assert [(line["side"], line["scans"], line["groups"], line["pairs"], line["measured"]) for line in lines] == [
        ("train", 24, 6, 12, "-"), ("validation", 8, 2, 4, 4), ("test", 8, 2, 4, 3),
    ]  # fmt: skip
    moving, _, fixed = str(lines[2]["example"]).partition(" onto ")
    assert moving.replace("_es", "_ed") == fixed
    assert np.isin([moving, fixed], SPLIT.test).all()
