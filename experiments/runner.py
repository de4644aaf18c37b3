"""Run a study: only what is missing, then tables and figures of everything that is complete."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.status import Status

from ..pipeline.config import TrialSettings
from ..transforms.errors import InputError
from .board import Board
from .executors import Event, Executor, Job, LocalExecutor, Task, available_cores
from .folders import Run, TrialState, check_writable, claim, open_run, short_names, states, trial_state
from .locks import Lock, locked, running_trials
from .study import Study
from .views import status_table, summary_table

if TYPE_CHECKING:
    from .statistics import Analysis

Fingerprint = Callable[[TrialSettings, "Path | None", Callable[[int, int], None]], str]
"""(trial, root, told of (subjects done, subjects)) -> the fingerprint of its data."""


@dataclass
class StudyResult:
    """What a run of a study left behind; ``failed`` and ``interrupted`` map trial identifiers to reasons."""

    run: Run
    complete: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: dict[str, str] = field(default_factory=dict)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    summary: pd.DataFrame = field(default_factory=pd.DataFrame)
    analysis: "Analysis | None" = None
    figures: list[Path] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return 1 if self.failed or self.interrupted else 0


def run_study(
    study: Study,
    out: Path,
    root: Path | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    console: Console | None = None,
    task: Task | None = None,
    fingerprint: Fingerprint | None = None,
) -> StudyResult:
    """Run the trials that ``out`` lacks, then write ``out/tables`` and ``out/figures``.

    Args:
        root: where the cohort's files are (none for the phantom).
        workers: processes at once; by default one per missing trial, at most one per core, and one for 3-D or a GPU.
        executor: something else than this machine's processes.
        task, fingerprint: what runs a trial and what identifies its data; the pipeline's own by default.

    Raises:
        InputError: the study, its data or the folder are at fault, or a baseline is not installed; nothing was run.
        KeyboardInterrupt: stopped; running again goes on where it stopped.
    """
    begin = time.monotonic()
    console = console or Console()
    check_writable(out)
    from ..pipeline.baselines import require

    if task is None:
        from ..pipeline.trial import run_trial as task
    with locked(out) as lock:
        ids = identifiers(study, root, fingerprint or _pipeline_fingerprint, console)
        run = claim(out, study, ids)
        result = StudyResult(run)
        jobs = _missing(run, root, result)
        require({job.settings.model.method for job in jobs})
        executor = executor or LocalExecutor(workers or default_workers(study, len(jobs)))
        done = len(run.trials) - len(jobs)
        console.print(
            f"{study.name}: {done} of {len(run.trials)} trials there already, {len(jobs)} to run", highlight=False
        )
        _run_jobs(jobs, executor, task, result, lock, Board(console, short_names(run), len(run.trials), done))
        try:
            finish(result, console)
        finally:  # a fault in a figure must not hide how the trials ended
            result.seconds = time.monotonic() - begin
            report(result, console)
    return result


def identifiers(study: Study, root: Path | None, fingerprint: Fingerprint, console: Console) -> list[str]:
    """The identifier of each trial: its settings and the fingerprint of its data, which is read and checked here."""
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
    from ..pipeline.trial import prepare

    return prepare(settings, root, tell).fingerprint


def default_workers(study: Study, missing: int) -> int:
    """One process per missing trial and at most one per core in 2-D on the CPU; otherwise one."""
    for trial in study.trials:
        if trial.cohort.spatial_dims != 2 or trial.compute.device.startswith("cuda"):
            return 1
        if trial.compute.device == "auto" and _has_gpu():
            return 1
    return max(1, min(missing, available_cores()))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _missing(run: Run, root: Path | None, result: StudyResult) -> list[Job]:
    jobs = []
    for trial, found in states(run).items():
        if found.state == "complete":
            result.complete.append(trial)
        elif found.state == "damaged":  # never deleted here: it may be all that is left of a long training
            result.failed[trial] = found.reason
        else:
            jobs.append(Job(trial, run.trials[trial], run.path / trial, root))
    return jobs


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
        executor.run(jobs, task, listen)


def _enter(event: Event, result: StudyResult) -> None:
    if event.kind == "finished":
        fault = trial_state(result.run.path / event.trial, result.run.trials[event.trial])
        if fault.state == "complete":
            result.complete.append(event.trial)
        else:
            result.failed[event.trial] = fault.reason or "it ended without results; its log.txt may tell why"
    elif event.kind == "failed":
        result.failed[event.trial] = event.reason
    else:
        result.interrupted[event.trial] = event.reason


def finish(result: StudyResult, console: Console) -> None:
    """Write the tables and figures of what is complete."""
    from .figures import draw_figures
    from .statistics import analyse
    from .tables import collect, collect_history, write_tables

    rows, history = collect(result.run, result.complete), collect_history(result.run)
    result.rows, result.history = rows, history
    if rows.empty:
        return
    with console.status("resampling subjects and seeds"):
        result.analysis = analyse(rows)
    result.summary = write_tables(result.run, rows, history, result.analysis)
    with console.status("drawing the figures"):
        result.figures = draw_figures(result.run, rows, history, result.analysis)


def report(result: StudyResult, console: Console) -> None:
    """Print the summary table, where everything is, and what went wrong."""
    if not result.summary.empty:
        console.print(summary_table(result.summary, result.run.study.title))
        console.print(f"tables: {result.run.path / 'tables'}   figures: {result.run.path / 'figures'}", soft_wrap=True)
    report_trials(result, console)


def report_trials(result: StudyResult, console: Console) -> None:
    """Print which trials failed or were interrupted, and how many are complete."""
    names = short_names(result.run)
    for word, trials in (("failed", result.failed), ("interrupted", result.interrupted)):
        for trial, reason in trials.items():
            console.print(f"{word}: {names[trial]}: {reason}", style="red", markup=False, soft_wrap=True)
    count = f"{len(result.complete)} of {len(result.run.trials)} trials complete"
    console.print(f"{count} after {result.seconds:.0f} s" if result.seconds else count, highlight=False)


def archive(path: Path, out: Path, pairs: int = 1, console: Console | None = None) -> StudyResult:
    """Keep the complete trials of a run in ``out`` without their folders, and write its tables and figures there.

    Args:
        pairs: how many example pairs of each configuration to keep, for the figures.

    Raises:
        InputError: no run there, no complete trial in it, or ``out`` holds something else.
    """
    from .archive import write_archive
    from .tables import collect, collect_history, further_settings, settings_columns

    run = open_run(path)
    rows, history = collect(run), collect_history(run)
    if rows.empty:
        raise InputError(f"{path} has no complete trial yet; `smoothmorph status {path}` tells how far each is.")
    claim(out, run.study, list(run.trials))
    settings = settings_columns(next(iter(run.trials.values())), further_settings(run))
    write_archive(path, out, rows, history, list(settings), pairs)
    return rebuild(out, console)


def status(out: Path, console: Console | None = None) -> dict[str, TrialState]:
    """Print and return how far each trial of a run is; also while it is going on.

    Raises:
        InputError: no run there.
    """
    run = open_run(out)
    found, going_on = states(run), running_trials(out) is not None
    (console or Console()).print(status_table(run, found, going_on))
    return found


def rebuild(out: Path, console: Console | None = None) -> StudyResult:
    """Write the tables and figures of a run again, from what its trials (or their archive) left; trains nothing.

    Failed and damaged trials are left out, printed, and in the result.

    Raises:
        InputError: no run there, no complete trial in it, or a figure's file is damaged.
    """
    run = open_run(out)
    console = console or Console()
    check_writable(out)
    result = StudyResult(run)
    for trial, state in states(run).items():
        if state.state == "complete":
            result.complete.append(trial)
        elif state.state in ("failed", "damaged"):
            result.failed[trial] = state.reason
    report_trials(result, console)
    if not result.complete:
        raise InputError(f"{out} has no complete trial yet; `smoothmorph status {out}` tells how far each is.")
    finish(result, console)
    return result
