from functools import reduce
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from smoothmorph.experiments.study.description import study_view
from smoothmorph.experiments.study.setting_keys import known_keys
from smoothmorph.experiments.study.study import built_in_studies, data_settings, load_study
from smoothmorph.pipeline.files.strict_yaml import parse_yaml, read_yaml, to_yaml
from smoothmorph.transforms.basics.errors import InputError

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STUDIES, RESULTS = EXPERIMENTS.glob("studies/*.yaml"), EXPERIMENTS.glob("results/*/study.yaml")
SEEDS = ("seed", "split.seed")
GRID = {"name": "grid", "axes": {"objective.penalty": ["l1", "l2"], "objective.lambda": [0, 0.1], "seed": [3]}}


@pytest.fixture
def load(tmp_path):
    def make(content, *overrides):
        path = tmp_path / "study.yaml"
        text = content if isinstance(content, str | bytes) else yaml.safe_dump(content, sort_keys=False)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_study(str(path), overrides)

    return make


def points(study):
    return [(trial.objective.penalty, trial.objective.weight, trial.seed) for trial in study.trials]


def test_axes_make_their_product_and_the_last_one_varies_fastest(load):
    study = load(GRID)
    assert points(study) == [("l1", 0, 3), ("l1", 0.1, 3), ("l2", 0, 3), ("l2", 0.1, 3)]
    assert study.varying() == ["objective.penalty", "objective.lambda"]


def test_groups_make_a_union_in_which_a_trial_is_once(load):
    groups = [
        {"name": "penalties", "axes": {"objective.penalty": ["l1", "l2"]}},
        {"name": "sweep", "set": {"objective": {"penalty": "l2"}}, "axes": {"objective.lambda": [0.01, 0.1]}},
    ]
    study = load({"name": "two", "base": {"objective.lambda": 0.01}, "groups": groups})
    assert points(study) == [("l1", 0.01, 0), ("l2", 0.01, 0), ("l2", 0.1, 0)]
    assert [trial.objective.weight for trial in study.group_trials("sweep")] == [0.01, 0.1]
    assert study.group_trials("nothing") == ()


def test_without_axes_a_study_is_one_trial(load):
    assert points(load({"name": "one", "base": {"seed": 7}})) == [("l2", 0.01, 7)]


def test_published_is_the_nine_trials_of_the_published_study():
    study = load_study("published")
    assert points(study) == [
        ("l2", 0.01, 0), ("l1", 0.01, 0), ("bending-pure", 0.01, 0),
        *(("l2", weight, 1) for weight in (0.001, 0.005, 0.01, 0.05, 0.1, 0.5)),
    ]  # fmt: skip
    for line in study.numbers.lines:
        trials = study.group_trials(line["group"])
        assert (line["penalty"], line["lambda"]) in [(t.objective.penalty, t.objective.weight) for t in trials]
    first = study.trials[0]
    assert (first.training.epochs, first.training.steps_per_epoch, first.training.learning_rate) == (100, 100, 1e-4)
    assert (first.objective.multiplier, first.training.selection, first.split.source) == (2.0, "last", "published")
    assert (first.cohort.reader, first.cohort.labels, first.pairs.test) == ("neurite-oasis", "seg24", 166)


def test_demo_has_three_penalties_and_a_sweep_and_needs_no_data():
    study = load_study("demo")
    assert {trial.objective.penalty for trial in study.trials} == {"l1", "l2", "bending-hessian"}
    assert len({trial.objective.weight for trial in study.trials if trial.objective.penalty == "l2"}) >= 3
    assert {trial.cohort.reader for trial in study.trials} == {"phantom"}


@pytest.mark.parametrize("name", built_in_studies())
def test_a_study_written_out_is_the_same_study(name, load):
    study = load_study(name, ["training.epochs=3"])
    again = load(study.to_yaml(["a", "b"]))
    assert again.trials == study.trials
    assert [group.name for group in again.groups] == [group.name for group in study.groups]
    assert set(again.trials) == set(study.trials)  # they can be hashed


@pytest.mark.parametrize("name", built_in_studies())
def test_every_study_can_be_shown(name):
    study = load_study(name)
    console = Console(width=200, record=True, file=StringIO())
    console.print(study_view(study))
    count = len(study.trials)
    assert f" {count} trial{'' if count == 1 else 's'}\n" in console.export_text()


def test_an_override_holds_in_every_trial(load):
    study = load(GRID, "training.learning_rate=1e-3", "cohort.size=[64, 64]", "split.test=null")
    assert {trial.training.learning_rate for trial in study.trials} == {1e-3}  # YAML 1.1 reads 1e-3 as text
    assert {trial.cohort.size for trial in study.trials} == {(64, 64)}
    assert {trial.split.test for trial in study.trials} == {None}


def test_an_override_replaces_an_axis_and_a_group_setting():
    study = load_study("published", ["objective.lambda=0.2", "seed=5"])
    assert points(study) == [("l2", 0.2, 5), ("l1", 0.2, 5), ("bending-pure", 0.2, 5)]
    assert load_study("published", ["objective.weight=0.2", "seed=5"]).trials == study.trials


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({**GRID, "axis": {}}, "unknown key 'axis' (did you mean axes?)"),
        ({**GRID, "colour": 1}, "unknown key 'colour' (known are name, title, question, base, axes, groups, trials)"),
        ({**GRID, "base": {"objective.lamda": 1}}, "unknown key 'objective.lamda'; did you mean objective.lambda"),
        ({**GRID, "base": {"epochs": 1}}, "unknown key 'epochs'; did you mean training.epochs?"),
        ({**GRID, "base": {"qqq": 1}}, "unknown key 'qqq'; known are cohort, split"),
        ({**GRID, "base": {"training": 3}}, "training is a section"),
        ({**GRID, "axes": {"objective.penalty": []}}, "axis objective.penalty is empty"),
        ({**GRID, "axes": {}}, "axes is empty"),
        ({**GRID, "groups": []}, "both axes and groups"),
        ({"name": "x", "groups": []}, "expected one or more groups with different names"),
        (
            {"name": "x", "groups": [{"name": "a"}, {"name": "a"}]},
            "expected one or more groups with different names, found ['a', 'a']",
        ),
        ({"name": "x", "groups": [{"name": "a", "oxes": {}}]}, "unknown key 'groups.0.oxes' (did you mean axes?)"),
        ({**GRID, "axes": {"objective.penalty": "l1"}}, "axes.objective.penalty = 'l1': Input should be a valid list"),
        (
            {**GRID, "axes": {"objective.penalty": ["l3"]}},
            "objective.penalty = 'l3': there is no penalty 'l3'; did you mean l",
        ),
        ({**GRID, "axes": {"objective.lambda": [-1]}}, "objective.lambda = -1: Input should be greater than or equal"),
        ({**GRID, "axes": {"objective.lambda": [float("nan")]}}, "objective.lambda = nan: Input should be a finite"),
        ({**GRID, "axes": {"objective.lambda": [True]}}, "objective.lambda is True; expected a number or a word"),
        ({**GRID, "base": {"cohort.size": [True, 192]}}, "cohort.size is [True, 192]; expected a number or a word"),
        (
            {**GRID, "base": {"cohort.size": [160]}},
            "group grid: cohort.size [160] needs 2 positive numbers",
        ),
        ({**GRID, "base": {"cohort.size": 160}}, "cohort.size = 160: Input should be a list."),
        ({**GRID, "base": 3}, "base = 3: Input should be a mapping of keys to values."),
        ({**GRID, "base": {"objective": {"lambda": 0.1, "weight": 0.2}}}, "objective.lambda is given twice"),
        (
            {**GRID, "base": {"training": {"epochs": 1}, "training.epochs": 2}},
            "training.epochs is given twice",
        ),
        ({**GRID, "axes": {"objective.lambda": [1], "objective.weight": [2]}}, "objective.lambda is given twice"),
        ({"name": "x", "groups": [{"name": "a", "set": {"seed": 1}, "axes": {"seed": [2]}}]}, "a: seed is given twice"),
        (
            {"name": "x", "base": {"training.epochs": 10**20}},
            "epochs = 100000000000000000000: Input should be less than",
        ),
        ({"name": "x", "base": {"seed": 2**32}}, "seed = 4294967296: Input should be less than or equal to 4294967295"),
        ({**GRID, "axes": {"compute.threads": [1, 2]}}, "compute.threads cannot be an axis"),
        ({**GRID, "base": {"training.epochs": "many"}}, "training.epochs = 'many': Input should be a valid integer"),
        ({**GRID, "base": {"compute.device": "tpu"}}, "compute.device = 'tpu'"),
        ({**GRID, "name": "../x"}, "name = '../x'"),
        ({"axes": {"seed": [1]}}, "study.yaml: name is missing."),
        ("", "study.yaml is empty, expected a mapping"),
        ("name: x\nbase: {seed: 1, seed: 2}", "key 'seed' is given twice, in lines 2 and 2; keep one of them."),
        ("name: x\nbase:\n  seed: 1\n  seed: 2", "key 'seed' is given twice, in lines 3 and 4"),
        (
            "name: x\nbase: &loop {training: *loop}",
            "not valid YAML: a value contains itself by the alias in line 2; write it out.",
        ),
        ("name: x\nbase: " + 5000 * "[", "not valid YAML: more than 50 levels of lists and mappings"),
        ("name: x\nbase: !!set {a}", "not valid YAML: could not determine a constructor for the tag"),
        ('name: x\ntitle: "\\e[31m"', "the text in line 2 holds '\\x1b', which YAML does not allow in text"),
        ('name: x\ntitle: "\\uD800"', "the text in line 2 holds '\\ud800', which YAML does not allow in text"),
        ("name: x\nbase: {seed: 1" + 100_000 * "0" + "}", "the number in line 2 has 100001 digits, at most 400"),
        ("name: x\nbase: {seed: 190:20:30}", "seed = '190:20:30': Input should be a valid integer"),
        ("name: x\nbase: {seed: yes}", "seed = 'yes': Input should be a valid integer"),
        ("name: x\nbase: {seed: !!int 0777}", "'0777' in line 2 is not a valid int in YAML 1.2"),
        ({**GRID, "name": 101 * "x"}, "name = 'xxx"),
        ({"name": "x", "base": {5000 * "y": 1}}, "yyy'; known are cohort"),
        (
            {"name": "x", "axes": {k: [*range(1, 1001)] for k in ("seed", "training.epochs", "pairs.test")}},
            "the axes make 1,000,000,000 trials, expected at most 10,000; shorten an axis.",
        ),
        ({"name": "x", "axes": {"seed": [*range(10_001)]}}, "axis seed has 10,001 values, expected at most 10,000."),
        (
            {
                "name": "x",
                "base": {"cohort.exclude": 2000 * ["a"]},
                "axes": {k: [*range(95)] for k in ("seed", "split.seed")},
            },
            "9,025 trials with 18,077,075 settings are too many; shorten the lists.",
        ),
        ({"name": "x", "base": {"cohort.exclude": [*range(900)]}}, "valid string; and 895 more faults."),
        (b"name: \xe9t\xe9", "study.yaml is not UTF-8 text (byte 7); save it as UTF-8."),
        ("a: [", "not valid YAML"),
        ("- a", "expected a mapping"),
    ],
)
def test_a_fault_in_a_study_file_is_one_sentence(content, sentence, load):
    with pytest.raises(InputError) as error:
        load(content)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("again", ["[{0},{0},{0},{0},{0},{0},{0},{0}]", "{{<<: [{0},{0},{0},{0},{0},{0},{0},{0}]}}"])
def test_aliases_count_wherever_they_stand(again, load):
    """447 bytes in which each line repeats the previous line eight times: 8**8 values, as lists or merged mappings."""
    lines = ["x0: &x0 {k: 1}", *(f"x{place}: &x{place} {again.format(f'*x{place - 1}')}" for place in range(1, 9))]
    with pytest.raises(InputError, match="more than 100,000 values, where every use of an alias counts"):
        load("\n".join(lines))


def test_aliases_and_merged_keys_within_bounds_are_read(load):
    text = "name: x\nbase: &b {seed: 3, pairs: {test: 7}}\ngroups: [{name: a, set: {<<: *b, seed: 4}}]"
    trial = load(text).trials[0]
    assert (trial.seed, trial.pairs.test) == (4, 7)


@pytest.mark.parametrize(
    ("word", "value"),
    [("0777", 777), ("1_000", 1000), ("0x1F", 31), ("0o17", 15), ("1e3", 1000), ("+12", 12), ("'08'", 8), ("-0", 0)],
)
def test_numbers_are_those_of_yaml_1_2(word, value, load):
    assert load(f"name: x\nbase: {{seed: {word}}}").trials[0].seed == value
    assert load({"name": "x"}, f"seed={word}").trials[0].seed == value


def test_a_name_that_looks_like_an_old_number_or_date_stays_a_name(load):
    names = ["0777", "08", "12:30", "1_000", "2026-02-30", "no", "0b1"]
    assert load(f"name: x\nbase: {{cohort.exclude: [{', '.join(names)}]}}").trials[0].cohort.exclude == tuple(names)


@pytest.mark.parametrize("text", ["1e3", "0o17", "0x1F", "0777", "yes", "null", "2001-01-01", "12:30", "<<", "", "~"])
def test_a_text_is_read_again_as_it_was_written_by_us_and_by_yaml_1_1(text):
    for read in (lambda written: parse_yaml(written, "here"), yaml.safe_load):
        assert read(to_yaml({"a": text, "b": 1e-5, "c": 10})) == {"a": text, "b": 1e-5, "c": 10}


@pytest.mark.parametrize("path", [*STUDIES, *RESULTS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_studies_that_are_there_mean_what_they_meant(path):
    assert repr(read_yaml(path)) == repr(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.epoch=3", "did you mean training.epochs"),
        ("training.epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("training.epochs=[", "not valid YAML"),
        ("training.epochs=", "training.epochs = None"),
        ("training=3", "training is a section"),
        ("objective.lambda=-0.1", "greater than or equal to 0"),
        ("objective.lambda=nan", "finite number"),
        ("objective.penalty=l7", "objective.penalty = 'l7'"),
        ("seed=" + 100_000 * "1", "the number in line 1 has 100000 digits, at most 400"),
        ("seed=" + 300 * "1", "seed = a number of more than 256 bits"),
    ],
)
def test_a_fault_in_an_override_is_one_sentence(override, sentence):
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        load_study("demo", [override])
    assert sentence in str(error.value)
    assert len(str(error.value)) < 1000


def test_an_unknown_study_names_those_there_are(tmp_path):
    with pytest.raises(
        InputError,
        match=r"unknown study 'publishd'; did you mean published\? The built-in studies are ablation, baseline",
    ):
        load_study("publishd")
    with pytest.raises(InputError, match=r"cannot read .*none\.yaml: No such file"):
        load_study(str(tmp_path / "none.yaml"))


def test_every_key_of_a_trial_can_be_overridden():
    trial = load_study("demo").trials[0].model_dump(mode="json", by_alias=True)
    for key in known_keys():
        value = reduce(lambda section, name: section[name], key.split("."), trial)
        load_study("demo", [f"{key}={'null' if value is None else value}"])


def test_settings_of_a_cohort():
    settings, with_pairs = data_settings("phantom", ["cohort.subjects=4"])
    assert (settings.cohort.subjects, with_pairs) == (4, False)
    settings, with_pairs = data_settings("phantom", ["pairs.test=4"])
    assert (settings.pairs.test, with_pairs) == (4, True)
    with pytest.raises(InputError, match="only takes keys of cohort, split and pairs"):
        data_settings("phantom", ["seed=4"])
    with pytest.raises(
        InputError, match="reader = 'nope': there is no reader 'nope'; known are phantom, synthetic, neurite-oasis"
    ):
        data_settings("nope")


def test_a_key_added_later_leaves_the_identity_of_earlier_trials_alone(load, monkeypatch):
    before, other = (
        load({"name": "a"}).trials[0],
        load({"name": "a", "base": {"training.precision": "bfloat16"}}).trials[0],
    )
    monkeypatch.setattr("smoothmorph.pipeline.settings.schema.ADDED_LATER", {"training.precision": "float32"})
    assert "precision" not in before.identity()["training"]
    assert other.identity()["training"]["precision"] == "bfloat16"
    assert before.trial_id("data") != other.trial_id("data")
