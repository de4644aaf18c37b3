"""Run a study: only the missing trials, then tables and figures of all complete trials."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.status import Status

from ...networks import PENALTIES, SIMILARITIES
from ...pipeline import METHODS, TrialSettings
from ...pipeline.models.built_in import find_model
from ...pipeline.settings.device import choose_device
from ...pipeline.settings.schema import SHARED
from ...transforms.basics.registry import Vocabulary
from ..outputs.study_result import StudyResult, print_summary, write_outputs
from ..store.run_folder import Run, check_writable, claim, short_names, states, trial_state
from ..store.run_lock import Lock, locked
from ..study.description import without_effect
from ..study.screen import say
from ..study.study import Study
from .executors import Executor, LocalExecutor, available_cores
from .jobs import Event, InformedTask, Job, Task
from .progress import Board

Fingerprint = Callable[[TrialSettings, "Path | None", Callable[[int, int], None]], str]
"""A function (settings, root, progress(done, subjects)) -> fingerprint of the data of a trial."""


def run_study(
    study: Study,
    out: Path,
    root: Path | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    console: Console | None = None,
    task: Task | None = None,
    fingerprint: Fingerprint | None = None,
    tell: Callable[[StudyResult, Console], None] | None = None,
) -> StudyResult:
    """Run the trials that ``out`` lacks, then write ``out/tables`` and ``out/figures``.

    Args:
        study: the study.
        out: folder of the run.
        root: folder of the cohort's files; None for the phantom.
        workers: number of processes; default: `default_workers`.
        executor: replaces the processes of this machine, for example a `RayExecutor`.
        console: where to print; default: the standard output.
        task: the function that runs a trial; default: that of the pipeline.
        fingerprint: the function that identifies the data of a trial; default: that of the pipeline.
        tell: prints the result at the end; default: `print_summary`.

    Raises:
        InputError: the study, its data or the folder cannot be used, or a baseline is not installed; nothing was run.
        KeyboardInterrupt: stopped; running again continues from there.
    """
    begin = time.monotonic()
    console = console or Console()
    check_writable(out)
    if task is None:
        from ...pipeline.trial import run_trial as task
    with locked(out) as lock:
        ids = identifiers(study, root, fingerprint or _pipeline_fingerprint, console)
        run = claim(out, study, ids)
        result = StudyResult(run)
        jobs = _missing(run, root, result)
        for method in {job.settings.model.method for job in jobs}:
            METHODS[method].require()
        for job in jobs:
            _check_targets(job.settings)
            _check_start(job)
        executor = executor or LocalExecutor(default_workers(study, len(jobs)) if workers is None else workers)
        done = len(run.trials) - len(jobs)
        say(console, f"{study.name}: {done} of {len(run.trials)} trials are complete, {len(jobs)} to run")
        for notice in (*without_effect(study), *(_slow_precision(jobs) if isinstance(executor, LocalExecutor) else ())):
            say(console, f"notice: {notice}")
        _run_jobs(jobs, executor, task, result, lock, Board(console, short_names(run), len(run.trials), done))
        try:
            write_outputs(result, console)
        finally:  # an error in a figure must not hide how the trials ended
            result.seconds = time.monotonic() - begin
            (tell or print_summary)(result, console)
    return result


def identifiers(study: Study, root: Path | None, fingerprint: Fingerprint, console: Console) -> list[str]:
    """The identifier of each trial, from its settings and the fingerprint of its data; reads and checks the data."""
    known: dict[str, str] = {}
    ids = []
    for trial in study.trials:
        data = json.dumps(trial.model_dump(mode="json", include={"cohort", "split", "pairs"}), sort_keys=True)
        if data not in known:
            doing = f"reading and checking the {trial.cohort.reader} cohort"
            with console.status(doing) as status:
                known[data] = fingerprint(trial, root, _counting(status, doing))
        ids.append(trial.trial_id(known[data]))
    return ids


def _counting(status: Status, doing: str) -> Callable[[int, int], None]:
    return lambda done, total: status.update(f"{doing} ({done} of {total})")


def _pipeline_fingerprint(settings: TrialSettings, root: Path | None, tell: Callable[[int, int], None]) -> str:
    from ...pipeline.trial import prepare

    return prepare(settings, root, tell).fingerprint


def default_workers(study: Study, missing: int) -> int:
    """2-D on a CPU: one process per missing trial, at most one per core. 3-D or a GPU: one process."""
    if any(trial.cohort.spatial_dims != 2 or _on_gpu(trial) for trial in study.trials):
        return 1
    return max(1, min(missing, available_cores()))


def _on_gpu(trial: TrialSettings) -> bool:
    device = trial.compute.device
    return device.startswith("cuda") or (device == "auto" and choose_device(device).type == "cuda")


def _missing(run: Run, root: Path | None, result: StudyResult) -> list[Job]:
    jobs = []
    for trial, found in states(run).items():
        if found.state == "complete":
            result.complete.append(trial)
        elif found.state == "damaged":  # never deleted here: a long training may be lost
            result.failed[trial] = found.reason
        else:
            jobs.append(Job(trial, run.trials[trial], run.path / trial, root))
    return jobs


def _check_targets(settings: TrialSettings) -> None:
    """Raise InputError for an entry of the objective whose code cannot be loaded, before any trial starts."""
    if settings.model.has_objective:
        for term in PENALTIES.terms(settings.objective.penalty):
            PENALTIES[term.name].load()
        for term in SIMILARITIES.terms(settings.objective.similarity):
            SIMILARITIES[term.name].load()


def _check_start(job: Job) -> None:
    """Raise InputError if a training that has not begun would not find ``training.start``."""
    start = job.settings.training.start
    begun = job.folder.exists() or (job.folder.parent / SHARED).exists()
    if job.settings.model.trains and start is not None and not begun:
        find_model(Path(start))


def _slow_precision(jobs: list[Job]) -> list[str]:
    """What to say if a training in bfloat16 would be slow on this CPU."""
    if not any(_in_bfloat16(job.settings) for job in jobs):
        return []
    from ...pipeline.training.precision import SLOW, slowdown_in_bfloat16

    slowdown = slowdown_in_bfloat16()
    if slowdown < SLOW:
        return []
    return [
        f"on this CPU, a convolution takes {slowdown:.2g} times as long in bfloat16 as in float32. "
        "--set training.precision=float32 trains faster; in another --out, because those are other trials."
    ]


def _in_bfloat16(settings: TrialSettings) -> bool:
    return settings.model.trains and settings.training.precision == "bfloat16" and not _on_gpu(settings)


def _run_jobs(jobs: list[Job], executor: Executor, task: Task, result: StudyResult, lock: Lock, board: Board) -> None:
    running: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "started":
            running.append(event.trial)
            lock.note(running)
        elif event.kind != "progress":
            running.remove(event.trial)
            lock.note(running)
            _enter(event, result)
        board.show(event)

    with board:
        executor.run(jobs, InformedTask(task, Vocabulary.here()), listen)


def _enter(event: Event, result: StudyResult) -> None:
    if event.kind == "finished":
        fault = trial_state(result.run.path / event.trial, result.run.trials[event.trial])
        if fault.state == "complete":
            result.complete.append(event.trial)
        else:
            result.failed[event.trial] = fault.reason or "it ended without results; see its log.txt"
    elif event.kind == "failed":
        result.failed[event.trial] = event.reason
    else:
        result.interrupted[event.trial] = event.reason
