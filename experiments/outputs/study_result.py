"""The result of a run: write, print and rebuild its tables and figures, and archive it without the models."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from ...transforms.basics.atomic import remove_leftovers
from ...transforms.basics.errors import InputError
from ..store.run_folder import Run, TrialState, check_writable, claim, open_run, short_names, states
from ..store.run_lock import running_trials
from ..study.screen import say
from .terminal_tables import status_table, summary_table

if TYPE_CHECKING:
    from ..statistics import Analysis


@dataclass
class StudyResult:
    """The result of a run; ``failed`` and ``interrupted`` map the identifiers of trials to reasons."""

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


def write_outputs(result: StudyResult, console: Console) -> None:
    """Write the tables and figures of the complete trials, and remove partial files of killed processes."""
    from ..figures import draw_figures
    from ..statistics import analyse
    from .tables import collect, collect_history, write_tables

    for folder in (result.run.path, *(result.run.path / name for name in ("tables", "figures"))):
        remove_leftovers(folder)
    rows, history = collect(result.run, result.complete), collect_history(result.run)
    result.rows, result.history = rows, history
    if rows.empty:
        return
    with console.status("computing intervals over subjects and seeds"):
        result.analysis = analyse(rows)
    result.summary = write_tables(result.run, rows, history, result.analysis)
    with console.status("drawing the figures"):
        result.figures = draw_figures(result.run, rows, history, result.analysis)


def print_summary(result: StudyResult, console: Console) -> None:
    """Print the summary table, the folders of the outputs, and what went wrong."""
    from ..statistics.curves import accuracies

    if not result.summary.empty:
        similarity = accuracies(result.rows)[-1]
        console.print(summary_table(result.summary, result.run.study.title, similarity))
        say(console, f"tables: {result.run.path / 'tables'}   figures: {result.run.path / 'figures'}")
    print_trials(result, console)


def print_trials(result: StudyResult, console: Console) -> None:
    """Print which trials failed or were interrupted, and how many are complete."""
    names = short_names(result.run)
    for word, trials in (("failed", result.failed), ("interrupted", result.interrupted)):
        for trial, reason in trials.items():
            say(console, f"{word}: {names[trial]}: {reason}", "red")
    count = f"{len(result.complete)} of {len(result.run.trials)} trials complete"
    say(console, f"{count} after {result.seconds:.0f} s" if result.seconds else count)


def archive(path: Path, out: Path, pairs: int = 1, console: Console | None = None) -> StudyResult:
    """Archive the complete trials of a run in ``out``, without their folders, and write tables and figures there.

    Args:
        path: folder of the run.
        out: folder of the archived run.
        pairs: example pairs per configuration to keep for the figures.
        console: where to print; default: the standard output.

    Raises:
        InputError: ``path`` holds no run or no complete trial, or ``out`` holds something else.
    """
    from ..store.archive import write_archive
    from .tables import collect, collect_history, further_settings, settings_columns

    run, console = open_run(path), console or Console()
    rows, history = collect(run, complete_trials(run, console).complete), collect_history(run)
    claim(out, run.study, list(run.trials))
    settings = settings_columns(next(iter(run.trials.values())), further_settings(run))
    write_archive(path, out, rows, history, list(settings), pairs)
    return rebuild(out, console)


def status(out: Path, console: Console | None = None) -> dict[str, TrialState]:
    """Print and return the state of each trial of a run; the run may be in progress.

    Raises:
        InputError: ``out`` holds no run.
    """
    run = open_run(out)
    found, going_on = states(run), running_trials(out) is not None
    (console or Console()).print(status_table(run, found, going_on))
    return found


def rebuild(out: Path, console: Console | None = None) -> StudyResult:
    """Write the tables and figures of a run again, from the files of its trials or its archive; nothing is trained.

    Failed and damaged trials are left out; they are printed and listed in the result.

    Raises:
        InputError: ``out`` holds no run or no complete trial, or a file of example pairs is damaged.
    """
    run = open_run(out)
    console = console or Console()
    check_writable(out, "allow writing there, or copy the run to another folder")
    result = complete_trials(run, console)
    write_outputs(result, console)
    return result


def complete_trials(run: Run, console: Console) -> StudyResult:
    """Find the complete trials of a run, and print which ones failed or are damaged.

    Raises:
        InputError: no trial is complete.
    """
    result = StudyResult(run)
    for trial, state in states(run).items():
        if state.state == "complete":
            result.complete.append(trial)
        elif state.state in ("failed", "damaged"):
            result.failed[trial] = state.reason
    print_trials(result, console)
    if not result.complete:
        raise InputError(
            f"{run.path} has no complete trial yet; `smoothmorph status {run.path}` shows the state of each trial."
        )
    return result
