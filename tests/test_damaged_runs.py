"""Foreign or damaged content in run folders: one judgement of it, one sentence per fault, no file outside is used."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import synthetic_run
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.outputs.study_result import archive, complete_trials, rebuild
from smoothmorph.experiments.outputs.study_result import status as show_status
from smoothmorph.experiments.outputs.tables import collect, collect_history
from smoothmorph.experiments.store import run_folder as folders
from smoothmorph.experiments.store import trial_tables as trial_files
from smoothmorph.experiments.store.archive import HISTORY, ROWS, environments, read_archived
from smoothmorph.experiments.store.joining import join
from smoothmorph.experiments.store.run_folder import claim, open_run, states
from smoothmorph.experiments.store.run_lock import locked, running_trials
from smoothmorph.experiments.study.study import load_study
from smoothmorph.transforms.basics.errors import InputError

pytestmark = pytest.mark.usefixtures("no_figures")
RESULTS = sorted((Path(__file__).parents[1] / "experiments" / "results").glob("*/study.yaml"))
QUIET = Console(file=io.StringIO())


def make(folder: Path, *overrides: str, **study: object) -> folders.Run:
    folder.mkdir()
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump({"name": "tried", "axes": {"objective.penalty": ["l1", "l2"]}, **study}))
    loaded = load_study(str(file), ["training.epochs=3", "pairs.test=6", *overrides])
    run = claim(folder, loaded, [trial.trial_id("data") for trial in loaded.trials])
    for trial, settings in run.trials.items():
        synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
        (run.path / trial / "environment.json").write_text('{"data": "d", "test_pairs": "t"}')
    return run


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """A run of two trials, and its archive."""
    folder = tmp_path_factory.mktemp("templates")
    archive(make(folder / "run").path, folder / "kept", console=QUIET)
    return folder


@pytest.fixture
def run(templates, tmp_path):
    shutil.copytree(templates / "run", tmp_path / "run")
    return open_run(tmp_path / "run")


@pytest.fixture
def kept(templates, tmp_path):
    shutil.copytree(templates / "kept", tmp_path / "kept")
    return open_run(tmp_path / "kept")


def change(path: Path, edit) -> None:
    edit(pd.read_parquet(path)).to_parquet(path)


@pytest.mark.parametrize("name", ["../../../../evil", "/evil", "..", "l1_0.01_diffeomorphic_s0_0123456789", "a\nb", ""])
def test_a_trial_has_the_name_that_its_settings_make_or_the_run_is_refused(name, run, tmp_path):
    file, trials = run.path / "study.yaml", list(run.trials)
    (tmp_path / "evil").mkdir()
    file.write_text(run.study.to_yaml([trials[0], name]))  # the second trial is l2
    before = sorted(tmp_path.rglob("*"))
    other = make(tmp_path / "other")
    shutil.rmtree(other.path / next(iter(other.trials)))
    for use in (states, rebuild, lambda path: archive(path, tmp_path / "kept"), lambda path: join(other.path, path)):
        with pytest.raises(
            InputError, match=rf"^{file} has the trial id .*, expected l2_0\.01_diffeomorphic_s0_ and ten"
        ):
            use(run.path) if use is not states else states(open_run(run.path))
    made = set(tmp_path.rglob("*")) - set(before)
    assert {path.relative_to(tmp_path).parts[0] for path in made} == {"other", "other.yaml"}


def test_a_name_twice_is_refused(run):
    (run.path / "study.yaml").write_text(run.study.to_yaml(2 * [next(iter(run.trials))]))
    with pytest.raises(InputError, match="names 1 trials, expected 2"):
        open_run(run.path)


def with_value(column, value):
    return lambda frame: frame.assign(**{column: [value, *frame[column][1:]]})


ROW_FAULTS = {
    "a pair twice": lambda rows: pd.concat([rows, rows[:1]]),
    "-1 in 'displacement_sdlogj'": with_value("displacement_sdlogj", -1.0),
    "'good' in 'mse', expected numbers": lambda rows: rows.assign(mse="good"),
    "nan in 'mse'": with_value("mse", np.nan),
    "-0.5 in 'mse'": with_value("mse", -0.5),
    "inf in 'displacement_det_min'": with_value("displacement_det_min", np.inf),
    "1.2 in 'dice'": with_value("dice", 1.2),
    "-0.1 in 'dice/left gray matter'": with_value("dice/left gray matter", -0.1),
    "100.5 in 'displacement_nonpositive_percent'": with_value("displacement_nonpositive_percent", 100.5),
    "-3 in 'seconds'": with_value("seconds", -3.0),
    "a loss in only some of the rows": with_value("loss", np.nan),
    "1e+39 in 'displacement_det_min'": with_value("displacement_det_min", 1e39),
    "rows, expected one for each of the": lambda rows: rows.head(1),
    "5 in 'moving', expected a text": lambda rows: rows.assign(moving=5),
    "True in 'ncc', expected numbers": lambda rows: rows.assign(ncc=True),
    "a row without its pair": with_value("fixed", None),
    "rows of the trial 'another'": lambda rows: rows.assign(trial="another"),
    "text of more than 1000 characters in 'fixed'": with_value("fixed", 1001 * "x"),
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_rows_that_cannot_be_are_damaged(fault, run):
    first, second = run.trials
    path = run.path / first / "pairs.parquet"
    change(path, ROW_FAULTS[fault])
    found = states(run)
    assert (found[first].state, found[second].state) == ("damaged", "complete")
    assert f"{path} has " in found[first].reason
    assert fault.removesuffix(" twice") in found[first].reason
    with pytest.raises(InputError, match=re.escape(found[first].reason)):
        collect(run)
    assert list(complete_trials(run, QUIET).failed) == [first]
    assert set(collect_history(run)["trial"]) == {second}


def test_a_damaged_trial_is_left_out_by_everyone(run, tmp_path):
    first, second = run.trials
    change(run.path / first / "pairs.parquet", ROW_FAULTS["a pair twice"])
    result = rebuild(run.path, QUIET)
    assert set(result.rows["trial"]) == set(result.history["trial"]) == {second}
    assert archive(run.path, tmp_path / "kept", console=QUIET).complete == [second]
    other = make(tmp_path / "other", "objective.penalty=l1")
    with pytest.raises(InputError, match=r"has a damaged trial: .* Then repeat this command"):
        join(other.path, run.path)
    told = CliRunner().invoke(app, ["recommend", str(run.path), "--max-folding", "60%"])
    assert told.exit_code == 0, told.output
    assert "failed: l1_0.01_diffeomorphic_s0: " in told.output
    assert "Use l2" in told.output


@pytest.mark.parametrize("epochs", [[1, 2, 2], [1, 3, 2], [0, 1, 2], [1.0, np.nan, 3.0], [-3, 2, 3], ["x", "y", "z"]])
@pytest.mark.parametrize("archived", [False, True])
def test_epochs_that_are_not_one_two_three_are_damaged(epochs, archived, run, kept):
    first = next(iter(run.trials))
    if archived:
        path = kept.path / "archive" / HISTORY
        change(path, lambda frame: frame[frame["trial"] == first].assign(epoch=epochs))
        with pytest.raises(InputError, match=rf"{path} has .*; archive the run again"):
            states(kept)
    else:
        change(run.path / first / "history.parquet", lambda frame: frame.assign(epoch=epochs))
        assert states(run)[first].state == "damaged"


@pytest.mark.parametrize("fault", ["a pair twice", "-1 in 'displacement_sdlogj'", "nan in 'mse'", "1.2 in 'dice'"])
def test_rows_of_an_archive_are_judged_alike(fault, kept):
    path = kept.path / "archive" / ROWS
    change(path, ROW_FAULTS[fault])
    for use in (states, collect):
        with pytest.raises(InputError, match=rf"{path} has .*; archive the run again"):
            use(kept)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_the_committed_results_pass(path):
    run = open_run(path.parent)
    assert {state.state for state in states(run).values()} == {"complete"}
    assert set(read_archived(run.path, ROWS)["trial"]) == set(run.trials) == set(environments(run.path, run.trials))


def test_more_rows_than_any_study_has_are_not_read(run, monkeypatch):
    path = run.path / next(iter(run.trials)) / "pairs.parquet"
    monkeypatch.setattr(trial_files, "MOST_ROWS", 5)
    monkeypatch.setattr(pd, "read_parquet", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(InputError, match=r"claims 6 rows of \d+ columns"):
        trial_files.read_parquet(path)


DEEP = 5000 * '{"a":' + "1" + 5000 * "}"


@pytest.mark.parametrize(
    "content",
    [DEEP, 60 * "[" + 60 * "]", "[5]", '{"reason": [1]}', '{"reason": NaN}', '{"reason": "\\ud800"}', "", "{", b"\xff"],
)
def test_a_damaged_note_of_a_failure_is_no_reason(content, run):
    trial = run.path / next(iter(run.trials))
    (trial / "pairs.parquet").unlink()
    (trial / "failure.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    state = states(run)[trial.name]
    assert (state.state, state.reason) == ("failed", "the reason was not recorded")


@pytest.mark.parametrize(
    "content", ["[5]", "5", "[[1]]", '[{"trials": 5, "environment": {}}]', '[{"trials": [[1]]}]', '[{"trials": ["x"]}]']
)
def test_damaged_environments_are_left_out(content, kept):
    (kept.path / "archive" / "environments.json").write_text(content)
    assert environments(kept.path, kept.trials) == {}


@pytest.mark.parametrize("content", [DEEP, '{"running": 5}', '{"running": [[1], {}, null]}', "[5]"])
def test_a_damaged_lock_names_no_trial(content, run):
    with locked(run.path):
        (run.path / ".running.json").write_text(content)
        assert running_trials(run.path) == set()


def test_a_folder_that_is_removed_while_it_is_looked_at_is_missing(run, monkeypatch):
    trial = run.path / next(iter(run.trials))

    def removed(path, *_):
        shutil.rmtree(trial, ignore_errors=True)
        return trial_files.read_parquet(path, *_)

    monkeypatch.setattr(folders, "read_parquet", removed)
    assert folders.trial_state(trial, run.trials[trial.name]) == folders.TrialState("missing")


def test_no_file_is_to_be_deleted_that_does_not_exist(run):
    trial = run.path / next(iter(run.trials))
    (trial / "trial.yaml").unlink()
    advice = states(run)[trial.name].reason.partition("To repair it, ")[2]
    assert advice.startswith(f"delete {trial / 'pairs.parquet'} and run the study again;")
    with pytest.raises(InputError, match=r"cannot be read .*; run the study again; epochs saved in checkpoint"):
        trial_files.read_parquet(trial.with_name("gone") / "pairs.parquet")


@pytest.mark.parametrize("where", ["inside", "the folder"])
def test_a_link_is_not_taken_along(where, run, tmp_path):
    other, secret = make(tmp_path / "other", "objective.penalty=bending-pure"), tmp_path / "secret"
    (trial,) = (other.path / name for name in other.trials)
    secret.write_text("precious")
    if where == "inside":
        (trial / "log.txt").symlink_to(secret)
    else:
        trial.rename(tmp_path / "elsewhere")
        trial.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"is a symbolic link, expected a file"):
        join(run.path, other.path)
    assert not (run.path / trial.name).exists()


HOSTILE = "[/x] [bold]b[/] :smile: $\\frac{ $ <script>"


def test_the_text_of_a_study_is_shown_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    labels = ["[/x]", "[red]r\u202e"]
    run = make(tmp_path / "run", axes={"cohort.labels": labels}, title=HOSTILE, question=f"{HOSTILE}\nsecond line")
    for words in (["show", str(run.path / "study.yaml")], ["status", str(run.path)], ["figures", str(run.path)]):
        told = CliRunner().invoke(app, words)
        assert told.exit_code == 0, told.output
        if words[0] == "show":
            assert HOSTILE in told.output
            assert "[red]r\\u202e" in told.output
            assert "second line" in told.output.splitlines()
        assert "\u202e" not in told.output
    console = Console(file=io.StringIO(), width=200)
    show_status(run.path, console)
    assert HOSTILE in console.file.getvalue()


@pytest.mark.parametrize("reason", ["a\x1b[31mb\nc", "[/x]", "\u202e\x9b1m"])
def test_what_a_trial_says_of_its_failure_moves_no_cursor(reason, run):
    trial = run.path / next(iter(run.trials))
    (trial / "pairs.parquet").unlink()
    (trial / "failure.json").write_text(json.dumps({"reason": reason}))
    console = Console(file=io.StringIO(), width=300)
    show_status(run.path, console)
    complete_trials(run, console)
    told = console.file.getvalue()
    assert told.count(repr(reason)[1:-1]) == 2
    assert not set("\x1b\x9b\u202e") & set(told)


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "\udcff", "a\u202eb", 5000 * "[/x]"])
def test_a_mistake_with_a_strange_name_is_one_plain_line(name):
    for words in (["status", name], ["show", f"{name}.yaml"], ["show", "demo", "--set", f"{name}=1"]):
        told = CliRunner().invoke(app, words)
        assert told.exit_code == 2
        (line,) = told.stderr.splitlines()
        assert line.startswith("error: ")
        assert line.isprintable()
        assert len(line) < 4100


def test_a_shape_of_5000_digits_is_one_sentence():
    told = CliRunner().invoke(app, ["export", "brain-2d", "model", "x.safetensors", "--shape", f"{5000 * '9'}x5"])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "expected numbers of voxels, such as 160x192" in told.stderr


def test_an_archive_that_lacks_pairs_is_refused(kept):
    path = kept.path / "archive" / ROWS
    change(path, lambda frame: frame.groupby("trial").head(1))
    with pytest.raises(
        InputError, match=r"rows\.parquet has 1 rows of .*, expected one for each of its \d+ test pairs; archive"
    ):
        states(kept)
