"""Trials on a Ray cluster of two nodes, which are local processes and listen on 127.0.0.1 only."""

import io
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

import synthetic_run
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.run import runner
from smoothmorph.experiments.run.distributed import watch, worker
from smoothmorph.experiments.run.distributed.executor import RayExecutor
from smoothmorph.experiments.run.executors import Job, LocalExecutor
from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.cohorts.preparation import prepare
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms.basics.errors import InputError

pytestmark = pytest.mark.usefixtures("no_figures")

DISCS = {
    "name": "discs",
    "base": {
        "cohort": {"reader": "table", "file": "subjects.csv"},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 3},
        "training": {"epochs": 6, "steps_per_epoch": 40, "learning_rate": 1e-3},
        "compute": {"device": "cpu", "threads": 1},
    },
    "axes": {"objective.penalty": ["l1", "l2"]},
}
TRIED = {
    "name": "tried",
    "base": {"training.epochs": 2, "pairs.test": 5, "cohort.subjects": 5},
    "axes": {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01, 0.1]},
}


@pytest.fixture(scope="module", autouse=True)
def ray():
    """Ray, configured to stay on this machine and to write nothing to the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # all nodes listen on 127.0.0.1 only; read at import
        patch.setenv("RAY_worker_niceness", "0")  # otherwise workers would get no CPU time during other tests
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # for synthetic_run
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        yield pytest.importorskip("ray", reason="Ray is not installed (pip install 'smoothmorph[distributed]')")


@pytest.fixture(scope="module")
def address(ray):
    """The address of a cluster of two nodes: one has 1 CPU, the other 2 CPUs and a GPU for the scheduler only."""
    from ray.cluster_utils import Cluster

    common = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**common, "num_cpus": 1})
    try:
        cluster.add_node(**common, num_cpus=2, num_gpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.fixture
def execute(tmp_path):
    """Run a study; the output is in the ``text`` of the result."""

    def run(study, executor, root, out, task=run_trial, fingerprint=None):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        console = Console(file=io.StringIO(), width=120)
        loaded = load_study(str(tmp_path / "study.yaml"))
        result = runner.run_study(loaded, tmp_path / out, root, None, executor, console, task, fingerprint)
        result.text = console.file.getvalue()
        return result

    return run


def assert_same_results(one: Path, other: Path) -> None:
    """Rows and histories without times."""
    pd.testing.assert_frame_equal(*(collect(out).drop(columns="seconds") for out in (one, other)), check_exact=True)
    trials = sorted(path.parent.name for path in one.glob("*/history.parquet"))
    for trial in trials:
        histories = [pd.read_parquet(out / trial / "history.parquet").drop(columns="seconds") for out in (one, other)]
        pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert trials


def log_of(folder: Path) -> list[tuple[int, str]]:
    """The lines of a trial's log as (process, text)."""
    matches = re.findall(r"^\S+ \S+ (\d+) (.+)$", (folder / "log.txt").read_text(), re.MULTILINE)
    return [(int(process), text) for process, text in matches]


def test_data_that_the_nodes_do_not_find_are_sent(execute, address, tiny_cohort, tmp_path):
    def prepare_and_hide(settings, root, tell):
        prepared = prepare(settings, root)
        if root.exists():
            root.rename(tmp_path / "hidden")
        return prepared.fingerprint

    short = {"epochs": 2, "steps_per_epoch": 4}
    study = {**DISCS, "base": {**DISCS["base"], "training": short}, "axes": {"pairs.test": [2, 3]}}
    execute(study, LocalExecutor(1), Path(shutil.copytree(tiny_cohort(2), tmp_path / "one")), "local")
    cohort = Path(shutil.copytree(tiny_cohort(2), tmp_path / "two"))
    for trial in load_study(str(tmp_path / "study.yaml")).trials:
        prepare(trial, cohort)
    result = execute(study, RayExecutor(address), cohort, "ray", fingerprint=prepare_and_hide)
    assert (result.exit_code, len(result.complete)) == (0, 2), result.text
    assert not cohort.exists()
    assert_same_results(tmp_path / "local", tmp_path / "ray")


def test_a_killed_worker_costs_an_epoch_at_most_and_rows_are_those_of_a_local_run(
    execute, address, tiny_cohort, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # nodes have another working directory, but resolve relative paths from this one
    cohort = Path(shutil.copytree(tiny_cohort(2), "cohort")).relative_to(".")
    out = tmp_path / "ray"
    killed: dict[str, int] = {}

    def kill_in_the_middle() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for log in out.glob("l1_*/log.txt"):
                process, text = (log_of(log.parent) or [(0, "")])[-1]
                if text.startswith("epoch 2/6"):
                    killed[log.parent.name] = process
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.005)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    result = execute(DISCS, RayExecutor(address), cohort, "ray")
    killer.join()
    ((trial, process),) = killed.items()
    assert (result.exit_code, len(result.complete)) == (0, 2), result.text
    lines = result.text.splitlines()
    assert lines.count("l1_0.01_diffeomorphic_s0  started") == 1
    assert "l1_0.01_diffeomorphic_s0  waiting: its worker was lost (WorkerCrashedError) (0 of 1)" in lines
    assert "l1_0.01_diffeomorphic_s0  [2/2] finished" in lines

    epochs: dict[bool, list[int]] = {True: [], False: []}
    for owner, text in log_of(out / trial):
        if text.startswith("epoch"):
            epochs[owner == process].append(int(text.split()[1].partition("/")[0]))
    before, after = epochs[True], epochs[False]
    assert before == list(range(1, before[-1] + 1))
    assert after == list(range(after[0], 7))
    assert after[0] - before[-1] in (1, 2)  # it may be killed between the checkpoint and the line in the log
    execute(DISCS, LocalExecutor(1), cohort, "local")
    assert_same_results(tmp_path / "local", out)

    times = {path: path.stat().st_mtime_ns for path in out.glob("*/pairs.parquet")}
    assert "2 of 2 trials are complete, 0 to run" in execute(DISCS, RayExecutor(address), cohort, "ray").text
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/pairs.parquet")} == times
    assert not list(out.glob(".ray-*"))


def test_a_failing_trial_is_reported_and_a_killed_one_sent_out_again(execute, address, root, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "RESUBMISSIONS", 1)
    monkeypatch.chdir(tmp_path)
    for marker in ("fail-l1-0.1", "crash-l2-0.01", "kill-l1-0.01", "doom-l2-0.1"):
        (root / marker).touch()
    arguments = (root, "ray", synthetic_run.trial, synthetic_run.fingerprint)
    result = execute(TRIED, RayExecutor(address), *arguments)
    names = {name.rpartition("_")[0]: name for name in result.run.trials}
    diverged, crashed, doomed = (names[f"{name}_diffeomorphic_s0"] for name in ("l1_0.1", "l2_0.01", "l2_0.1"))
    assert (result.exit_code, result.complete) == (1, [names["l1_0.01_diffeomorphic_s0"]]), result.text
    log = tmp_path / "ray" / crashed / "log.txt"
    assert result.failed == {
        diverged: "training diverged: the loss is nan in epoch 1.",
        crashed: f"ZeroDivisionError: division by zero (traceback in {log})",
    }
    assert result.interrupted == {
        doomed: "its worker was lost 2 times (WorkerCrashedError); run the study again to resume it"
    }
    printed = [(tmp_path / "ray" / trial / "log.txt").read_text().count("a line for") for trial in names.values()]
    assert printed == [1, 1, 1, 0]  # a killed worker loses the lines that it has not written
    lines = result.text.splitlines()
    for name, times in (("l1_0.01", 1), ("l2_0.1", 1), ("l1_0.1", 0)):
        assert lines.count(f"{name}_diffeomorphic_s0  started") == 1
        again = f"{name}_diffeomorphic_s0  waiting: its worker was lost (WorkerCrashedError) (0 of 1)"
        assert lines.count(again) == times

    ((_, *where),) = [json.loads(path.read_text()) for path in (tmp_path / "ray").glob("*/who.json")]
    assert where == [1, "1", str(tmp_path)]


def test_fractions_of_a_gpu_and_an_interruption(address, root, tmp_path):
    trials = load_study("demo", ["cohort.subjects=5"]).trials[:3]
    jobs = [Job(str(place), trial, tmp_path / "run" / str(place), root) for place, trial in enumerate(trials)]
    (root / "sleep").touch()
    events = []

    def listen(event):
        events.append((event.trial, event.kind))
        started = [trial for trial, kind in events if kind == "started"]
        if len(started) == 2 and event.kind == "started":  # two trials fit on the GPU
            deadline = time.monotonic() + 60
            while not all((tmp_path / "run" / trial / "asleep").exists() for trial in started):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RayExecutor(address, gpus=0.5).run(jobs, synthetic_run.trial, listen)
    assert sorted(events) == [("0", "interrupted"), ("0", "started"), ("1", "interrupted"), ("1", "started")]
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".ray-")] == []
    for job in jobs[:2]:
        assert "device: cuda" in (job.folder / "trial.yaml").read_text()
        wait_for_lock(job.folder / "asleep")


def wait_for_lock(path: Path) -> None:
    """The kernel releases the locks of a process when it ends."""
    fcntl = pytest.importorskip("fcntl")
    deadline = time.monotonic() + 10
    with open(path) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.parametrize(
    ("needs", "device", "sentence"),
    [
        (
            {"cpus": 3},
            "auto",
            r"no node of the Ray cluster has the 3 CPUs and 0 GPUs that a trial requests \(nodes: 2",
        ),
        (
            {"gpus": 2},
            "auto",
            r"has the 1 CPUs and 2 GPUs .* \(nodes: 2 CPUs and 1 GPUs; 1 CPUs and 0 GPUs\); lower",
        ),
        ({}, "cuda:0", r"compute\.device is cuda:0, but trials request no GPU; add --gpus-per-trial 1, or less"),
    ],
)
def test_what_no_node_has_is_refused(needs, device, sentence, address, tmp_path):
    (trial, *_) = load_study("demo", [f"compute.device={device}"]).trials
    with pytest.raises(InputError, match=sentence):
        RayExecutor(address, **needs).run([Job("a", trial, tmp_path / "a", None)], run_trial, print)


def test_a_node_that_does_not_see_the_run_folder_is_told_of(monkeypatch, tmp_path):
    (trial, *_) = load_study("demo").trials
    job, flag = Job("a", trial, tmp_path / "run" / "a", None), tmp_path / "elsewhere" / ".ray-1"
    here = SimpleNamespace(remote=lambda *arguments: worker.look(*arguments))
    monkeypatch.setattr(RayExecutor, "_at", lambda self, node, what: here)
    executor = RayExecutor()
    monkeypatch.setattr(executor, "_ray", SimpleNamespace(get=list, exceptions=executor._ray.exceptions))
    sentence = (
        f"does not see the run folder {flag.parent}; give a folder with --out that all nodes see under the same path."
    )
    with pytest.raises(InputError, match=sentence):
        executor._data([job], ["node"], flag)

    mailbox = SimpleNamespace(tell=SimpleNamespace(remote=lambda *news: None))
    event = worker.work(run_trial, job, flag, mailbox, None)  # on a node that joined later
    assert event.kind == "failed"
    assert sentence in event.reason
    assert not job.folder.exists()


def test_without_an_address_a_cluster_lives_as_long_as_the_run(ray, root, tmp_path):
    (trial, *_) = load_study("demo", ["training.epochs=1", "pairs.test=4", "cohort.subjects=5"]).trials
    seen = []

    def listen(event):
        seen.append(event.kind)
        assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}

    RayExecutor().run([Job("a", trial, tmp_path / "run" / "a", root)], synthetic_run.trial, listen)
    assert (seen[0], seen[-1]) == ("started", "finished")
    assert not ray.is_initialized()
    RayExecutor().run([], synthetic_run.trial, listen)  # without trials, nothing is started


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"cpus": 0}, "--cpus-per-trial 0: expected at least 1"),
        ({"gpus": 1.5}, r"--gpus-per-trial 1\.5: expected a whole number, or a fraction to share one GPU"),
        ({"address": "head"}, "--address head: expected HOST:PORT of the cluster's head, such as 10"),
        ({"address": "ray://head:10001"}, "--address ray://head:10001: expected HOST:PORT"),
        (
            {"address": "127.0.0.1:1"},
            r"no Ray cluster answers at 127\.0\.0\.1:1 \(Connection refused\); start one with",
        ),
    ],
)
def test_a_mistake_is_told_at_once(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        RayExecutor(**arguments)


def test_without_ray_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray cannot be imported .*; install it with `pip install 'smoothmorph\["):
        RayExecutor()


def test_no_cluster_to_be_found(ray, monkeypatch, tmp_path):
    def find_none(*_, **__):
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    (trial, *_) = load_study("demo").trials
    monkeypatch.setattr(ray, "init", find_none)
    with pytest.raises(InputError, match="cannot join the Ray cluster at auto: Could not find any running Ray"):
        RayExecutor("auto").run([Job("a", trial, tmp_path / "a", None)], run_trial, print)


def test_samples_keep_their_bits_on_the_way(tiny_cohort):
    (trial, *_) = load_study("demo", ["cohort.reader=table", "cohort.file=subjects.csv", "cohort.subjects=null"]).trials
    prepared = prepare(trial, tiny_cohort(2))
    returned = worker.as_tensors(worker.as_arrays(prepared))
    for subject, sample in prepared.samples.items():
        for part, value in sample.items():
            other = returned.samples[subject][part]
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
