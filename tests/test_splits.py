import hashlib
import shutil
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest

from cohort_files import neurite_id
from smoothmorph.pipeline.cohorts.cohort import Cohort, Subject
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.preparation import find_data, prepare
from smoothmorph.pipeline.cohorts.splits import frozen_pairs, pairs_hash, split_cohort, training_pairs
from smoothmorph.pipeline.settings.schema import CohortSettings, SplitSettings, TrialSettings, parse
from smoothmorph.transforms.basics.errors import InputError


def cohort_of(groups: dict[str, str], declared=None, left_out=frozenset()) -> Cohort:
    subjects = tuple(Subject(subject_id, group) for subject_id, group in sorted(groups.items()))
    return Cohort("made", 2, subjects, {}, declared, transform=lambda item: item, left_out=left_out)  # type: ignore


def singles(count: int, **options) -> Cohort:
    return cohort_of({f"s{number:02d}": f"s{number:02d}" for number in range(count)}, **options)


def test_fractions_are_counts_of_groups():
    split = split_cohort(singles(10), SplitSettings())
    assert [len(side) for side in (split.train, split.validation, split.test)] == [6, 2, 2]
    assert len({*split.train, *split.validation, *split.test}) == 10
    assert split == split_cohort(singles(10), SplitSettings())
    assert split != split_cohort(singles(10), SplitSettings(seed=1))


def test_fractions_are_the_same_for_ever():
    # fixed here, because an update of a dependency must not move subjects to another side
    split = split_cohort(singles(8), SplitSettings(train=0.5, validation=0.25, test=0.25))
    assert split.train == ("s01", "s02", "s03", "s06")
    assert split.validation == ("s00", "s07")
    assert split.test == ("s04", "s05")


def test_fractions_never_divide_a_group():
    groups = {f"s{number:02d}": f"person {number // 3}" for number in range(30)}
    for seed in range(20):
        split = split_cohort(cohort_of(groups), SplitSettings(seed=seed))
        sides = [{groups[subject_id] for subject_id in side} for side in (split.train, split.validation, split.test)]
        assert [len(side) for side in sides] == [6, 2, 2]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_without_a_test_side_the_validation_subjects_are_tested():
    split = split_cohort(singles(10), SplitSettings(train=0.6, validation=0.4, test=None))
    assert split.test == split.validation
    assert len(split.validation) == 4


def test_where_nothing_trains_every_subject_can_be_tested():
    split = split_cohort(singles(10), SplitSettings(train=0, validation=0, test=1.0))
    assert (split.train, split.validation, len(split.test)) == ((), (), 10)
    for wrong in ({"test": 0.0}, {"train": 0, "validation": 0, "test": None}, {"train": -0.1}):
        with pytest.raises(InputError, match=r"split\.(test|validation|train) "):
            split_cohort(singles(10), SplitSettings(**wrong))
    everything = {"split": {"train": 0, "validation": 0, "test": 1.0}, "pairs": {"test": 4}, "cohort": {"subjects": 4}}
    prepared = prepare(parse(TrialSettings, {**everything, "model": {"method": "optimization"}}, "test"), None)
    assert (prepared.validation_pairs, len(prepared.test_pairs)) == ((), 4)
    with pytest.raises(InputError, match=r"split\.train is 0, but model\.method voxelmorph trains a network"):
        parse(TrialSettings, everything, "test")


def test_declared():
    declared = {"train": ("s00", "s01"), "validation": ("s02", "s03"), "test": ("s04", "s05")}
    split = split_cohort(singles(7, declared=declared), SplitSettings(source="declared"))
    assert (split.train, split.validation, split.test) == tuple(declared.values())
    settings = SplitSettings(source="declared", test=None)
    assert split_cohort(singles(7, declared=declared), settings).test == declared["validation"]
    del declared["test"]
    assert split_cohort(singles(7, declared=declared), settings).test == declared["validation"]
    with pytest.raises(InputError, match=r"split.test has 0 of the cohort's 7 .* or set split.test=null"):
        split_cohort(singles(7, declared=declared), SplitSettings(source="declared"))


@pytest.fixture
def lists(tmp_path):
    """A function that writes lists of ids and splits ten subjects by these."""

    def split(cohort=None, **sides):
        for side, ids in sides.items():
            (tmp_path / f"{side}.txt").write_text("# ids\n\n" + "\n".join(ids))
        names = {side: f"{side}.txt" if side in sides else None for side in ("train", "validation", "test")}
        return split_cohort(cohort or singles(10), SplitSettings(source="files", **names), tmp_path)

    return split


def test_files(lists):
    split = lists(train=["s03", "s01"], validation=["s02", "s04"], test=["s05", "s06"])
    assert split.train == ("s01", "s03")
    assert split.test == ("s05", "s06")
    assert lists(train=["s03", "s01"], validation=["s02", "s04"]).test == ("s02", "s04")


def test_a_split_by_files_is_part_of_the_data(tiny_cohort, tmp_path):
    """The settings only have the names of the lists, so the fingerprint must show when their content changes."""
    root = Path(shutil.copytree(tiny_cohort(2), tmp_path / "cohort"))
    cohort = CohortSettings(reader="table", file="subjects.csv", spatial_dims=2)
    ids = sorted(read_cohort(cohort, root).ids)
    settings = SplitSettings(source="files", train="train.txt", validation="validation.txt", test=None)

    def fingerprint(train, validation):
        (root / "train.txt").write_text("\n".join(train))
        (root / "validation.txt").write_text("\n".join(validation))
        return find_data(cohort, settings, root)[0].fingerprint()

    one, other = ids[:2], ids[2:4]
    assert fingerprint(one, other) == fingerprint(one[::-1], other)
    assert fingerprint(one, other) != fingerprint(other, one)


def test_subjects_that_the_settings_leave_out_may_be_listed(lists):
    cohort = singles(6, left_out=frozenset({"s06", "s07"}))
    assert lists(cohort, train=["s00", "s01", "s06"], validation=["s02", "s03", "s07"]).train == ("s00", "s01")


@pytest.mark.parametrize(
    ("sides", "sentence"),
    [
        (
            {"train": ["s01", "s02"], "validation": ["s02", "s03"]},
            "subject s02 is on two sides of the split, train",
        ),
        ({"train": ["s01", "s02"], "validation": ["s03", "s99"]}, "split.validation lists 's99', which the cohort"),
        ({"train": ["s01", "s01"], "validation": ["s02", "s03"]}, "split.train lists subject s01 twice"),
        ({"train": [], "validation": ["s02", "s03"]}, "split.train has 0 of the cohort's 10 subjects"),
        ({"train": ["s01", "s04"], "validation": ["s02"]}, "split.validation has 1 of the cohort's 10 subjects"),
        ({"train": ["s01", "s04"], "validation": ["s02", "s03"], "test": []}, "split.test has 0 of the cohort's 10"),
    ],
)
def test_faulty_lists(lists, sides, sentence):
    with pytest.raises(InputError, match=sentence):
        lists(**sides)


def test_a_group_on_two_sides_is_named(lists):
    groups = {f"s{number:02d}": f"s{number:02d}" for number in range(6)} | {"s04": "s01"}
    with pytest.raises(InputError, match="group s01 is on two sides of the split: s01 in train and s04 in validation"):
        lists(cohort_of(groups), train=["s00", "s01"], validation=["s04", "s05"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (SplitSettings(train=0.8, validation=0.2, test=0.2), "add up to 1.2, which exceeds 1"),
        (SplitSettings(test=0.0), "split.test is 0.0"),
        (
            SplitSettings(train="train.txt"),
            "split.train is 'train.txt'; with split.source fractions it must be a number",
        ),
        (SplitSettings(train=0.9, validation=0.05, test=0.05), "split.validation has 1 of the cohort's 10"),
        (SplitSettings(source="files"), "split.train is 0.6; with split.source files it must be the name"),
        (SplitSettings(source="files", train="no.txt", validation="no.txt"), r"cannot read .*no\.txt"),
        (SplitSettings(source="declared"), "declares no split"),
        (SplitSettings(source="published"), "split.train lists 'OASIS_OAS1_0001_MR1' and 247 more, which the cohort"),
    ],
)
def test_faulty_settings(tmp_path, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        split_cohort(singles(10), settings, tmp_path)


def test_published_split_is_that_of_the_study(real_data):
    from smoothmorph.pipeline.cohorts.opening import read_cohort
    from smoothmorph.pipeline.settings.schema import CohortSettings

    root = real_data / "neurite-oasis-2d"
    cohort = read_cohort(CohortSettings(reader="neurite-oasis"), root)
    split = split_cohort(cohort, SplitSettings(source="published", test=None), root)
    for side, name in (("train", "study_train_subjects.txt"), ("validation", "study_val_subjects.txt")):
        assert list(getattr(split, side)) == sorted((root / name).read_text().split())
    assert (len(split.train), len(split.validation)) == (248, 166)
    assert split.test == split.validation
    assert {neurite_id(79), neurite_id(193)} <= set(split.train)
    own = split_cohort(cohort, SplitSettings(source="published", test=0.75), root)
    assert own.train == split.train
    assert (len(own.validation), len(own.test)) == (41, 125)  # of 166, halves rounded up
    assert sorted(own.validation + own.test) == list(split.validation)
    assert own != split_cohort(cohort, SplitSettings(source="published", test=0.75, seed=1), root)
    with pytest.raises(InputError, match=r"split.test is 'x.txt'; with split.source published it must be a number"):
        split_cohort(cohort, SplitSettings(source="published", test="x.txt"), root)


def test_frozen_pairs_are_distinct_ordered_and_reproducible():
    ids = [f"s{number:02d}" for number in range(20)]
    pairs = frozen_pairs(ids, 300, seed=4)
    assert len(set(pairs)) == 300
    assert all(moving != fixed for moving, fixed in pairs)
    assert {subject for pair in pairs for subject in pair} == set(ids)
    assert pairs == frozen_pairs(reversed(ids), 300, seed=4)
    assert pairs[:100] == frozen_pairs(ids, 100, seed=4)
    assert pairs != frozen_pairs(ids, 300, seed=5)


def test_all_pairs_if_fewer_exist_than_asked_for():
    pairs = frozen_pairs(["a", "b", "c"], 100, seed=0)
    assert set(pairs) == set(permutations("abc", 2))
    assert len(pairs) == 6


def test_frozen_pairs_are_the_same_for_ever():
    pairs = frozen_pairs(["a", "b", "c", "d"], 4, seed=0)
    assert pairs == (("d", "c"), ("c", "a"), ("a", "c"), ("a", "b"))
    assert pairs_hash(pairs[1:2]) == hashlib.sha256(b"c\ta\n").hexdigest()
    assert pairs_hash(pairs) != pairs_hash(reversed(pairs))


def test_frozen_pairs_are_uniform():
    counts = Counter(frozen_pairs("abc", 1, seed)[0] for seed in range(1200))
    assert len(counts) == 6
    assert max(abs(count - 200) for count in counts.values()) < 60  # 4.6 standard deviations


def test_training_pairs_are_a_function_of_seed_and_epoch():
    ids = [f"s{number}" for number in range(5)]
    pairs = training_pairs(ids, 2000, seed=1, epoch=2)
    assert pairs == training_pairs(ids, 2000, seed=1, epoch=2)
    assert pairs != training_pairs(ids, 2000, seed=1, epoch=3)
    assert pairs != training_pairs(ids, 2000, seed=2, epoch=2)
    counts = Counter(pairs)
    assert set(counts) == set(permutations(ids, 2))
    assert max(abs(count - 100) for count in counts.values()) < 45


@pytest.mark.parametrize("ids", [[], ["a"]])
def test_one_subject_makes_no_pairs(ids):
    with pytest.raises(InputError, match="make no pairs"):
        frozen_pairs(ids, 3, seed=0)
    with pytest.raises(InputError, match="make no pairs"):
        training_pairs(ids, 3, seed=0, epoch=1)
