import errno
import io
import json
import multiprocessing
import os
import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

import synthetic_run
from smoothmorph.experiments.outputs import study_result as outcome
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.run import executors, runner
from smoothmorph.experiments.run.executors import Job, LocalExecutor, threads_each
from smoothmorph.experiments.store import run_lock
from smoothmorph.experiments.store.run_folder import open_run
from smoothmorph.experiments.store.run_lock import locked, running_trials
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import PENALTIES, PenaltyEntry
from smoothmorph.pipeline.training import precision
from smoothmorph.transforms.basics.errors import InputError

pytestmark = pytest.mark.usefixtures("no_figures")
STUDY = {
    "name": "tried",
    "base": {"training.epochs": 2, "pairs.test": 5},
    "axes": {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01, 0.1]},
}


@pytest.fixture
def execute(tmp_path, root):
    """Run a study with the fast replacement for training; the output is in the ``text`` of the result."""

    def run(*overrides, study=STUDY, out=None, workers=1, executor=None, task=synthetic_run.trial):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        loaded = load_study(str(tmp_path / "study.yaml"), overrides)
        console = Console(file=io.StringIO(), width=120)
        out = out or tmp_path / "out"
        fingerprint = synthetic_run.fingerprint
        result = runner.run_study(loaded, out, root, workers, executor, console, task, fingerprint)
        result.text = console.file.getvalue()
        return result

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trial_of(result, penalty: str, weight: float) -> str:
    return next(name for name in result.run.trials if name.startswith(f"{penalty}_{weight:g}_"))


def refuse(settings, folder, root, report):
    pytest.fail("this trial is complete")


def test_a_study_from_nothing_to_tables(execute, tmp_path):
    result = execute()
    assert (result.exit_code, len(result.complete), result.failed, result.interrupted) == (0, 4, {}, {})
    assert (tmp_path / "out" / "tables" / "summary.csv").exists()
    assert open_run(tmp_path / "out").trials == result.run.trials
    assert len(collect(tmp_path / "out")) == 4 * 5
    lines = result.text.splitlines()
    assert lines[0] == "tried: 0 of 4 trials are complete, 4 to run"
    assert "l1_0.01_diffeomorphic_s0  started" in lines
    assert "l1_0.01_diffeomorphic_s0  training: loss 0.003 (1 of 2)" in lines
    assert "l2_0.1_diffeomorphic_s0  [4/4] finished" in lines
    assert "4 of 4 trials complete" in lines[-1]


def test_again_only_what_is_missing_is_run(execute, tmp_path):
    first = execute()
    before = contents(tmp_path / "out")
    assert execute(task=refuse).exit_code == 0
    assert contents(tmp_path / "out") == before
    trial = tmp_path / "out" / first.complete[1]
    (trial / "pairs.parquet").unlink()
    again = execute()
    assert "3 of 4 trials are complete, 1 to run" in again.text
    assert contents(tmp_path / "out").keys() == before.keys()


def test_a_study_may_grow_in_its_folder(execute):
    execute()
    larger = {**STUDY, "axes": {**STUDY["axes"], "objective.lambda": [0.001, 0.01, 0.1]}}
    assert "4 of 6 trials are complete" in execute(study=larger).text


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["training.epochs=3"],
            "holds a run with training.epochs = 2, but the study has training.epochs = 3; use the same settings",
        ),
        (
            ["objective.lambda=0.01"],
            "holds a run with objective.lambda = 0.1, but the study has objective.lambda = 0.01",
        ),
        (
            ["objective.penalty=l1"],
            "holds a run with objective.penalty = 'l2', but the study has objective.penalty = 'l1'",
        ),
        (
            ["training.epochs=3", "seed=1"],
            "training.epochs = 2 and seed = 0, but the study has training.epochs = 3 and seed = 1; use the same",
        ),
    ],
)
def test_a_folder_of_another_study_is_refused_and_left_alone(overrides, sentence, execute, tmp_path):
    execute()
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match=sentence):
        execute(*overrides)
    assert contents(tmp_path / "out") == before


def test_a_setting_that_every_trial_refused_can_be_corrected(execute, tmp_path):
    def failing(settings, folder, root, report):
        folder.mkdir(exist_ok=True)
        (folder / "trial.yaml").write_text(settings.to_yaml())
        raise InputError("the network was trained with another similarity; set it to mse.")

    def begun(settings, folder, root, report):
        folder.mkdir(exist_ok=True)
        (folder / "checkpoint.pt").touch()
        raise InputError("the disk is full.")

    refused = execute(task=failing)
    assert {reason.partition(";")[0] for reason in refused.failed.values()} == {
        "the network was trained with another similarity"
    }
    assert len(execute("training.epochs=3", task=begun).failed) == 4
    with pytest.raises(
        InputError, match=r"holds a run with training\.epochs = 3, but the study has training\.epochs = 2"
    ):
        execute()


def test_a_smaller_study_is_told_how_to_go_on_in_a_joined_folder(execute, tmp_path):
    larger = {**STUDY, "axes": {**STUDY["axes"], "objective.lambda": [0.001, 0.01, 0.1]}}
    execute(study=larger)
    before = contents(tmp_path / "out")
    with pytest.raises(
        InputError, match=r"lambda = 0\.001, but the study has .*, or `smoothmorph run .*study\.yaml --out "
    ):
        execute()
    assert contents(tmp_path / "out") == before
    assert "6 of 6 trials are complete" in execute(study=yaml.safe_load(before["study.yaml"])).text


def test_compute_settings_are_not_another_study(execute):
    execute()
    assert execute("compute.threads=1", task=refuse).exit_code == 0


def test_results_of_other_data_are_not_mixed(execute, root):
    execute()
    (root / "data").write_text("changed")
    with pytest.raises(InputError, match="holds results with the same settings but other data"):
        execute()


def test_a_folder_of_something_else_is_refused(execute, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(InputError, match=r"is not empty and has no study\.yaml"):
        execute(out=tmp_path / "thesis")
    with pytest.raises(InputError, match=r"cannot write in .*: Not a directory; choose another folder with --out"):
        execute(out=tmp_path / "thesis" / "chapter.txt" / "run")


def test_one_run_at_a_time_in_a_folder(execute, tmp_path):
    execute()
    out = tmp_path / "out"
    assert running_trials(out) is None
    with locked(out) as lock:
        lock.note(["one", "two"])
        assert running_trials(out) == {"one", "two"}
        with pytest.raises(InputError, match=f"another run \\(process {os.getpid()}\\) is writing in"):
            execute()
    assert execute().exit_code == 0


def hold(folder, ready):
    with locked(folder) as lock:
        lock.note(["one"])
        ready.set()
        time.sleep(60)


def test_a_run_that_is_killed_leaves_no_lock_and_what_it_noted_is_not_believed(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    assert running_trials(tmp_path) == {"one"}
    with pytest.raises(InputError, match=rf"another run \(process {process.pid}\)"), locked(tmp_path):
        pass
    process.kill()
    process.join()
    assert (tmp_path / ".running.json").exists()
    assert running_trials(tmp_path) is None
    with locked(tmp_path):
        assert running_trials(tmp_path) == set()
    assert not (tmp_path / ".running.json").exists()


def test_a_file_system_without_locks_goes_on_without_them(tmp_path, monkeypatch):
    def lacking(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock, "lock_descriptor", lacking)
    with locked(tmp_path) as lock:
        lock.note(["one"])
        assert running_trials(tmp_path) is None


def test_the_trials_of_a_run_are_seen_by_who_may_only_read(tmp_path):
    with locked(tmp_path) as lock:
        lock.note(["one"])
        for path in (tmp_path / ".lock", tmp_path / ".running.json", tmp_path):
            path.chmod(path.stat().st_mode & ~0o222)
        found = running_trials(tmp_path)
        tmp_path.chmod(0o755)
    assert found == {"one"}


def test_a_failing_trial_is_reported_and_the_others_go_on(execute, root, tmp_path):
    (root / "fail-l1-0.1").touch()
    (root / "crash-l2-0.01").touch()
    result = execute()
    diverged, crashed = trial_of(result, "l1", 0.1), trial_of(result, "l2", 0.01)
    log = tmp_path / "out" / crashed / "log.txt"
    assert (result.exit_code, len(result.complete)) == (1, 2)
    assert result.failed == {
        diverged: "training diverged: the loss is nan in epoch 1.",
        crashed: f"ZeroDivisionError: division by zero (traceback in {log})",
    }
    assert "failed: l1_0.1_diffeomorphic_s0: training diverged: the loss is nan in epoch 1." in result.text
    assert "Traceback" in log.read_text()
    assert json.loads((log.parent / "failure.json").read_text()) == {"reason": "ZeroDivisionError: division by zero"}
    states = outcome.status(tmp_path / "out", Console(file=io.StringIO()))
    assert [states[name].state for name in (diverged, crashed)] == ["failed", "failed"]
    assert len(collect(tmp_path / "out")) == 2 * 5

    for marker in root.iterdir():
        marker.unlink()
    again = execute()
    assert "2 of 4 trials are complete, 2 to run" in again.text
    assert again.exit_code == 0
    assert not list((tmp_path / "out").glob("*/failure.json"))


def test_a_damaged_trial_is_told_of_not_deleted_and_spoils_no_other(execute, tmp_path):
    first = execute()
    trial = first.complete[0]
    path = tmp_path / "out" / trial / "pairs.parquet"
    path.write_bytes(path.read_bytes()[:100])
    result = execute(task=refuse)
    assert result.exit_code == 1
    assert f"{path} cannot be read" in result.failed[trial]
    assert f"delete {path} and run the study again;" in result.failed[trial]
    assert len(result.complete) == 3
    assert len(path.read_bytes()) == 100
    again = outcome.rebuild(tmp_path / "out", Console(file=io.StringIO()))
    assert (again.failed, again.exit_code, len(again.complete)) == (result.failed, 1, 3)


def _damage(trial: Path, how: str) -> None:
    if how == "file":
        shutil.rmtree(trial)
        trial.write_text("in the way")
    elif how == "trial.yaml":
        (trial / how).write_text("a: [")
    elif how == "history.parquet":
        (trial / how).write_bytes(b"PAR1")
    elif how == "columns":
        pd.DataFrame({"a": [1]}).to_parquet(trial / "pairs.parquet")
    elif how == "no rows":
        pd.read_parquet(trial / "pairs.parquet")[:0].to_parquet(trial / "pairs.parquet")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("file", "{trial} is a file, expected a folder; move it away and run the study again."),
        ("trial.yaml", "To repair it, delete {trial}/trial.yaml and {trial}/pairs.parquet and run the study again;"),
        ("history.parquet", "; delete {trial}/history.parquet and {trial}/pairs.parquet and run the study again;"),
        (
            "columns",
            "{trial}/pairs.parquet has no column moving; delete {trial}/pairs.parquet and run",
        ),
        ("no rows", "{trial}/pairs.parquet has no rows; delete {trial}/pairs.parquet and run the study again;"),
    ],
)
def test_what_to_do_about_a_damaged_trial_is_said_and_helps(how, sentence, execute, tmp_path):
    first = execute()
    trial = tmp_path / "out" / first.complete[0]
    _damage(trial, how)
    told = execute(task=refuse).failed[first.complete[0]]
    assert sentence.format(trial=trial) in told
    for path in re.findall(rf"{trial}\S*", sentence.format(trial=trial).partition("delete")[2]) or [trial]:
        Path(path).unlink()
    assert execute().exit_code == 0


@pytest.mark.parametrize("text", ["", "name: tried", "name: [", "name: tried\nbase: {seed: 1.5}"])
def test_a_damaged_study_file_can_be_deleted(text, execute, tmp_path):
    execute()
    file = tmp_path / "out" / "study.yaml"
    file.write_text(text)
    with pytest.raises(
        InputError, match=rf"; otherwise delete {file} and run the study again; complete trials are kept\.$"
    ):
        execute()
    file.unlink()
    assert execute(task=refuse).exit_code == 0
    assert open_run(tmp_path / "out").trials


def test_a_fault_in_a_figure_hides_nothing(execute, root, monkeypatch):
    def fault(*_):
        raise InputError("examples.npz cannot be read.")

    (root / "fail-l1-0.1").touch()
    reported = []
    monkeypatch.setattr("smoothmorph.experiments.figures.draw_figures", fault)
    monkeypatch.setattr(runner, "print_summary", lambda result, console: reported.append(result))
    with pytest.raises(InputError, match=r"examples\.npz"):
        execute()
    assert len(reported[0].failed) == 1
    assert not reported[0].summary.empty


def test_an_absent_device_is_refused_before_any_trial_starts(execute):
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"the device is cuda:99, but torch sees"):
            execute("compute.device=cuda:99", task=refuse, workers=workers)


@pytest.mark.parametrize(("slowdown", "told"), [(9.62, True), (1.2, False)])
def test_a_cpu_without_bfloat16_is_told_of_before_a_long_training(execute, monkeypatch, slowdown, told):
    monkeypatch.setattr(precision, "slowdown_in_bfloat16", lambda: slowdown)
    text = execute("training.precision=bfloat16").text
    assert ("notice: on this CPU, a convolution takes 9.6 times as long in bfloat16 as in float32." in text) == told


def test_a_setting_without_effect_is_told_of_before_the_run(execute, tmp_path):
    study = {"name": "untrained", "base": {"model.method": "identity", "training.learning_rate": 0.5}}
    told = "notice: training.learning_rate in base has no effect: no method of this study uses it."
    assert told in execute(study=study, out=tmp_path / "other").text
    assert "no effect" not in execute("training.learning_rate=0.5").text


def test_only_a_training_in_bfloat16_is_timed(execute, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "slowdown_in_bfloat16", lambda: pytest.fail("timed"))
    execute()
    execute(study={"name": "untrained", "base": {"model.method": "identity"}}, out=tmp_path / "other")


def test_the_time_of_a_convolution_in_bfloat16_is_measured():
    assert 0.05 < precision.slowdown_in_bfloat16() < 500


@pytest.mark.parametrize(
    ("target", "why"), [("no_such_package:f", "No module named 'no_such_package'"), ("math:cosinus", "'cosinus'")]
)
def test_a_wrong_target_of_an_entry_is_told_before_any_trial_starts(execute, monkeypatch, target, why):
    monkeypatch.setattr(PENALTIES, "_entries", dict(PENALTIES._known()))
    PENALTIES.add(PenaltyEntry(name="mine", title="Mine", meaning="a penalty of mine", target=target))
    with pytest.raises(
        InputError, match=rf"cannot load '{target}', the target of 'mine': .*{why}.*; correct the entry"
    ):
        execute(study=STUDY | {"axes": {"objective.penalty": ["l2+0.1*mine"]}}, task=refuse)


def test_a_trial_of_other_settings_in_the_folder_is_told_of(execute, tmp_path):
    first = execute()
    path = tmp_path / "out" / first.complete[0] / "trial.yaml"
    path.write_text(path.read_text().replace("epochs: 2", "epochs: 9"))
    assert "trial.yaml belongs to another trial; delete the folder" in execute(task=refuse).failed[first.complete[0]]


def test_a_trial_that_ends_without_results_has_failed(execute):
    result = execute(task=lambda settings, folder, root, report: None)
    assert set(result.failed.values()) == {"it ended without results; see its log.txt"}
    assert "0 of 4 trials complete" in result.text


def test_states_while_running_and_after_an_interruption(execute, root, tmp_path):
    seen = {}

    def task(settings, folder, root, report):
        synthetic_run.trial(settings, folder, root, report)
        if settings.objective.weight == 0.1:
            (folder / "pairs.parquet").unlink()
            seen.update(runner.states(open_run(tmp_path / "out")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(task=task)
    assert [(state.state, state.epochs) for state in seen.values()] == [
        ("complete", 2), ("running", 2), ("missing", 0), ("missing", 0),
    ]  # fmt: skip
    console = Console(file=io.StringIO(), width=120)
    states = outcome.status(tmp_path / "out", console)
    assert [state.state for state in states.values()] == ["complete", "partial", "missing", "missing"]
    assert "2 of 2" in console.file.getvalue()
    assert execute().exit_code == 0


def test_processes_give_the_same_rows_and_survive_a_kill(execute, root, tmp_path):
    one = execute(out=tmp_path / "one")
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    (root / "kill-l1-0.1").touch()
    (root / "fail-l2-0.01").touch()
    result = execute(workers=2, out=tmp_path / "two")
    assert result.interrupted == {
        trial_of(
            result, "l1", 0.1
        ): "its worker was killed (SIGKILL, perhaps out of memory); run the study again to resume it"
    }
    assert result.failed == {trial_of(result, "l2", 0.01): "training diverged: the loss is nan in epoch 1."}
    assert (result.exit_code, len(result.complete)) == (1, 2)
    assert "interrupted: l1_0.1_diffeomorphic_s0: its worker was killed" in result.text

    (root / "fail-l2-0.01").unlink()
    again = execute(workers=2, out=tmp_path / "two")
    assert "2 of 4 trials are complete" in again.text
    assert again.exit_code == 0
    pd.testing.assert_frame_equal(collect(tmp_path / "two"), collect(tmp_path / "one"))
    assert one.run.trials == again.run.trials

    threads = threads_each(2)
    who = [json.loads(path.read_text()) for path in (tmp_path / "two").glob("*/who.json")]
    assert {tuple(rest) for _, *rest in who} == {(threads, str(threads), os.getcwd())}
    assert os.getpid() not in {process for process, *_ in who}
    assert {name: os.environ.get(name) for name in before} == before
    logs = [path.read_text() for path in (tmp_path / "two").glob("*/log.txt")]
    assert all("a line for the log" in log for log in logs)
    assert "a line for the log" not in again.text


def test_an_interruption_leaves_no_process_behind(tmp_path):
    settings = load_study("demo").trials[0]
    jobs = [Job(name, settings, tmp_path / name, None) for name in ("a", "b", "c")]
    events = []

    def listen(event):
        events.append((event.trial, event.kind))
        if event == ("b", "started") or len(events) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(2).run(jobs, synthetic_run.trial, listen)
    assert events == [("a", "started"), ("b", "started"), ("a", "interrupted"), ("b", "interrupted")]
    assert not multiprocessing.active_children()


def test_workers_end_with_their_parent(tmp_path, root):
    fcntl = pytest.importorskip("fcntl")
    trials = load_study("demo").trials[:2]
    jobs = [Job(str(place), trial, tmp_path / str(place), root) for place, trial in enumerate(trials)]
    (root / "sleep").touch()
    parent = multiprocessing.get_context("spawn").Process(
        target=LocalExecutor(2).run, args=(jobs, synthetic_run.trial, print)
    )
    parent.start()
    deadline = time.monotonic() + 60
    while not all((job.folder / "asleep").exists() for job in jobs):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.terminate()
    parent.join()
    deadline = time.monotonic() + 10
    for job in jobs:
        with open(job.folder / "asleep") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases the locks of a dead process
                    break
                except BlockingIOError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)


def test_threads_that_settings_name_are_kept(execute, tmp_path):
    execute("compute.threads=3")
    assert {json.loads(path.read_text())[1] for path in (tmp_path / "out").glob("*/who.json")} == {3}


@pytest.mark.parametrize(("limit", "threads"), [("", 4), ("1", 1), ("3", 3), ("16", 4), ("0", 4), ("2,1", 4)])
def test_a_limit_of_the_environment_holds_for_each_worker(limit, threads, monkeypatch):
    monkeypatch.setattr(executors, "available_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert executors.threads_each(2) == threads


def test_how_many_workers_by_default(monkeypatch):
    monkeypatch.setattr(runner, "available_cores", lambda: 4)
    plane = load_study("demo", ["compute.device=cpu"])
    assert [runner.default_workers(plane, missing) for missing in (0, 1, 3, 9)] == [1, 1, 3, 4]
    assert runner.default_workers(load_study("demo", ["cohort.spatial_dims=3"]), 9) == 1
    assert runner.default_workers(load_study("demo", ["compute.device=cuda"]), 9) == 1
    with pytest.raises(InputError, match="--workers 0"):
        LocalExecutor(0)


def test_another_executor_can_take_the_jobs(execute):
    class Backwards:
        workers = 1

        def run(self, jobs, task, listen):
            LocalExecutor(1).run(list(reversed(jobs)), task, listen)

    result = execute(executor=Backwards())
    assert result.complete == list(reversed(result.run.trials))
    assert result.exit_code == 0


def test_bars_in_a_terminal(tmp_path):
    def task(settings, folder, root, report):
        synthetic_run.trial(settings, folder, root, report)
        time.sleep(0.15)  # longer than the time between two updates of the screen

    study = load_study("demo", ["training.epochs=2", "pairs.test=4"])
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    result = runner.run_study(study, tmp_path / "bars", None, 1, None, console, task, synthetic_run.fingerprint)
    assert result.exit_code == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert re.search(r"l2_\S+ ━+ +2/2 +\S+ training: loss 0.003", shown)


def test_tables_and_figures_can_be_made_again(execute, tmp_path):
    execute()
    before = contents(tmp_path / "out" / "tables")
    for path in (tmp_path / "out" / "tables").iterdir():
        path.unlink()
    assert len(outcome.rebuild(tmp_path / "out", Console(file=io.StringIO())).complete) == 4
    assert contents(tmp_path / "out" / "tables") == before


@pytest.mark.parametrize("again", ["run", "figures"])
def test_what_a_run_that_was_killed_left_of_its_writing_is_removed(again, execute, tmp_path):
    execute()
    before = contents(tmp_path / "out")
    for folder in (tmp_path / "out", tmp_path / "out" / "figures", tmp_path / "out" / "tables"):
        (folder / ".a.png.partial").mkdir(parents=True)
        (folder / ".a.png.partial" / "file").touch()
        (folder / ".b.svg.x1_y.partial").touch()
    execute() if again == "run" else outcome.rebuild(tmp_path / "out", Console(file=io.StringIO()))
    assert contents(tmp_path / "out") == before


def test_nothing_to_make_tables_of(execute, tmp_path):
    execute(task=lambda settings, folder, root, report: None)
    with pytest.raises(InputError, match="has no complete trial yet; `smoothmorph status"):
        outcome.rebuild(tmp_path / "out")
