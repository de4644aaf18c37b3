"""A trial as a job, the events of a job, and how a job is run on any machine."""

import contextlib
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...pipeline.files.text import write_text
from ...pipeline.settings.schema import TrialSettings
from ...transforms.basics.errors import InputError, one_line, printable_lines
from ...transforms.basics.registry import Vocabulary


@dataclass(frozen=True)
class Job:
    """One trial to run in its folder; ``root``: the folder of the cohort's files."""

    trial: str
    settings: TrialSettings
    folder: Path
    root: Path | None


@dataclass(frozen=True)
class Event:
    """An event of a trial. ``progress``: a TrialProgress of the pipeline (stage, done, total, message)."""

    trial: str
    kind: Literal["started", "progress", "finished", "failed", "interrupted"]
    reason: str = ""
    progress: Any = None


Task = Callable[[TrialSettings, Path, "Path | None", Callable[[Any], None]], None]
"""A function that runs a trial, called with (settings, folder, root, progress)."""
Listen = Callable[[Event], None]


@dataclass(frozen=True)
class InformedTask:
    """A task that may run in another process: there it first learns what this process knows.

    Attributes:
        vocabulary: the registry entries of this process.
        folder: its working folder. Relative paths in settings begin there; a machine that has no such folder keeps its
            own.
    """

    task: Task
    vocabulary: Vocabulary
    folder: Path = field(default_factory=Path.cwd)

    def __call__(
        self, settings: TrialSettings, folder: Path, root: Path | None, progress: Callable[[Any], None]
    ) -> None:
        self.vocabulary.learn()
        with contextlib.suppress(OSError):
            os.chdir(self.folder)
        self.task(settings, folder, root, progress)


def attempt(task: Task, job: Job, progress: Callable[[Any], None]) -> Event:
    """Run one trial. An error becomes one sentence, in the event and in its ``failure.json``."""
    failure = job.folder / "failure.json"
    try:
        failure.unlink(missing_ok=True)
        task(job.settings, job.folder, job.root, progress)
        return Event(job.trial, "finished")
    except Exception as error:
        own = isinstance(error, InputError) or type(error).__module__.startswith("smoothmorph.")
        reason = one_line(error, longest=2000) if own else f"{type(error).__name__}: {one_line(error)}"
        log = job.folder / "log.txt"
        with contextlib.suppress(OSError, InputError):  # a full disk must not hide the reason
            job.folder.mkdir(parents=True, exist_ok=True)
            with open(log, "a", encoding="utf-8") as file:
                file.write(printable_lines(traceback.format_exc()))
            write_text(failure, json.dumps({"reason": reason}))
        return Event(job.trial, "failed", reason if own else f"{reason} (traceback in {log})")


def attempt_quietly(task: Task, job: Job, progress: Callable[[Any], None]) -> Event:
    """Like `attempt`, for a process of its own: the output of the trial goes to its ``log.txt``."""
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        log = open(job.folder / "log.txt", "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        return Event(job.trial, "failed", f"cannot write in {job.folder}: {error.strerror}.")
    with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        return attempt(task, job, progress)
