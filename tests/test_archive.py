"""An archive of a run, without the folders of its trials, can be used as a run."""

import io
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import synthetic_run
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.outputs.study_result import archive, rebuild
from smoothmorph.experiments.outputs.tables import collect, collect_history
from smoothmorph.experiments.run.runner import run_study
from smoothmorph.experiments.store.archive import HISTORY, ROWS, environments
from smoothmorph.experiments.store.run_folder import claim, open_run, states
from smoothmorph.experiments.study.study import load_study
from smoothmorph.transforms.basics.errors import InputError

pytestmark = pytest.mark.usefixtures("no_figures")
QUIET = Console(file=io.StringIO())


@pytest.fixture
def run(tmp_path):
    axes = {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01, 0.1], "training.learning_rate": [0.1, 0.001]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "kept", "axes": axes}))
    study = load_study(str(tmp_path / "study.yaml"), ["training.epochs=2", "pairs.test=6"])
    ids = [trial.trial_id(synthetic_run.fingerprint(trial, None)) for trial in study.trials]
    run = claim(tmp_path / "run", study, ids)
    for place, (trial, settings) in enumerate(run.trials.items()):
        synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
        (run.path / trial / "environment.json").write_text(f'{{"threads": {place % 2}}}')
    return run


def test_an_archive_is_the_run_in_single_precision(run, tmp_path):
    result = archive(run.path, tmp_path / "kept", console=QUIET)
    kept = open_run(tmp_path / "kept")
    assert not any((kept.path / trial).exists() for trial in kept.trials)
    assert list(result.complete) == list(run.trials) == list(kept.trials)
    assert {state.state for state in states(kept).values()} == {"complete"}
    assert {state.epochs for state in states(kept).values()} == {2}
    for gather in (collect, collect_history):
        before, after = gather(run), gather(kept)
        assert list(after) == list(before)
        pd.testing.assert_frame_equal(after, before, check_dtype=False, rtol=1e-6)
        assert after["lambda"].tolist() == before["lambda"].tolist()  # settings are stored exactly
        assert after["training.learning_rate"].tolist() == before["training.learning_rate"].tolist()
    assert environments(kept.path, kept.trials) == environments(run.path, run.trials)
    assert (kept.path / "tables" / "comparisons.csv").exists()


def test_a_run_is_not_archived_onto_itself_and_the_advice_names_no_option(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for folder, told in ((run.path, "is the run itself; choose"), (tmp_path / "full", "has no study.yaml; choose")):
        found = CliRunner().invoke(app, ["archive", str(run.path), str(folder)])
        assert found.exit_code == 2
        assert f"{told} another folder for the archive" in " ".join(found.output.split())


def test_an_archive_has_nothing_left_to_run_and_can_be_archived_again(run, tmp_path):
    archive(run.path, tmp_path / "kept", console=QUIET)
    result = run_study(
        run.study, tmp_path / "kept", console=QUIET, task=None, fingerprint=synthetic_run.fingerprint, workers=1
    )
    assert len(result.complete) == len(run.trials)
    archive(tmp_path / "kept", tmp_path / "again", console=QUIET)
    for name in (ROWS, HISTORY):
        files = [(tmp_path / where / "archive" / name).read_bytes() for where in ("kept", "again")]
        assert files[0] == files[1]


def test_example_pairs_are_kept_as_asked(run, tmp_path):
    archive(run.path, tmp_path / "two", pairs=2, console=QUIET)
    first = next(iter(run.trials))
    with np.load(tmp_path / "two" / "archive" / "examples" / f"{first}.npz") as kept:
        with np.load(run.path / first / "examples.npz") as whole:
            np.testing.assert_allclose(kept["displacement"], whole["displacement"][:2], atol=4e-3)
        assert kept["moving_id"].tolist() == ["subject-000", "subject-001"]
    archive(run.path, tmp_path / "none", pairs=0, console=QUIET)
    assert not (tmp_path / "none" / "archive" / "examples").exists()


def test_examples_of_one_seed_are_enough(tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "seeds", "axes": {"seed": [3, 1, 2]}}))
    study = load_study(str(tmp_path / "study.yaml"), ["training.epochs=1", "pairs.test=2"])
    run = claim(tmp_path / "run", study, [trial.trial_id("data") for trial in study.trials])
    for trial, settings in run.trials.items():
        synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
    archive(run.path, tmp_path / "kept", console=QUIET)
    (kept,) = (tmp_path / "kept" / "archive" / "examples").iterdir()
    assert "_s1_" in kept.name


def test_rows_are_enough(run, tmp_path):
    for file in run.path.glob("*/history.parquet"):
        file.unlink()
    assert len(archive(run.path, tmp_path / "kept", console=QUIET).complete) == len(run.trials)
    assert collect_history(open_run(tmp_path / "kept")).empty


def test_a_run_that_is_half_done_is_kept_as_far_as_it_is(run, tmp_path):
    first = next(iter(run.trials))
    (run.path / first / "pairs.parquet").unlink()
    result = archive(run.path, tmp_path / "kept", console=QUIET)
    assert first not in result.complete
    assert states(open_run(tmp_path / "kept"))[first].state == "missing"


@pytest.mark.parametrize("fault", ["cut", "columns"])
def test_a_damaged_archive_is_one_sentence(fault, run, tmp_path):
    archive(run.path, tmp_path / "kept", console=QUIET)
    path = tmp_path / "kept" / "archive" / ROWS
    if fault == "cut":
        path.write_bytes(b"PAR1")
    else:
        pd.read_parquet(path).drop(columns="mse").to_parquet(path)
    sentence = {"cut": "cannot be read", "columns": "has no column mse"}[fault]
    with pytest.raises(InputError, match=rf"{re.escape(str(path))} {sentence}.*archive the run again"):
        rebuild(tmp_path / "kept", QUIET)


def test_what_cannot_be_archived(run, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(InputError, match="is not empty"):
        archive(run.path, tmp_path / "other", console=QUIET)
    for file in run.path.glob("*/pairs.parquet"):
        file.unlink()
    with pytest.raises(InputError, match="no complete trial yet"):
        archive(run.path, tmp_path / "kept", console=QUIET)
