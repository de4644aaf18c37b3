"""Executors run trials and tell what happens to them. `LocalExecutor`: this process, or N spawned ones.

`distributed.executor.RayExecutor` implements the same small interface on a cluster; another one could.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any, Protocol

from ...pipeline import TrialSettings
from ...pipeline.settings.device import choose_device
from ...transforms.basics.errors import InputError
from .jobs import Event, Job, Listen, Task, attempt
from .worker_pool import Pool

__all__ = ["Event", "Executor", "Job", "Listen", "LocalExecutor", "Task", "attempt", "available_cores"]


class Executor(Protocol):
    """Runs every job, one event of an end (finished, failed, interrupted) for each; the order is its own."""

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None: ...


def available_cores() -> int:
    """The cores this process may use."""
    with contextlib.suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def with_threads(settings: TrialSettings, threads: int) -> TrialSettings:
    """Give a trial its share of the cores, unless its settings name one."""
    return settings if settings.compute.threads is not None else computing(settings, threads=threads)


def computing(settings: TrialSettings, **how: Any) -> TrialSettings:
    """The same trial, computed otherwise: ``threads`` or ``device``."""
    return settings.model_copy(update={"compute": settings.compute.model_copy(update=how)})


class LocalExecutor:
    """Trials on this machine. One worker: in this process. More: that many processes.

    The cores are divided among the workers. A worker that dies costs its trial's last epoch at most (run the study
    again to resume it) and is replaced.

    Args:
        workers: processes.

    Raises:
        InputError: a number below 1.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"--workers {workers}: at least one is needed.")
        self.workers = workers

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None:
        """Run every job. KeyboardInterrupt stops them, reports those under way as interrupted and goes on up.

        Raises:
            InputError: this machine lacks the device of a job; none was run.
        """
        for device in {job.settings.compute.device for job in jobs}:
            choose_device(device)
        threads = max(1, available_cores() // self.workers)
        jobs = [Job(j.trial, with_threads(j.settings, threads), j.folder, j.root) for j in jobs]
        if self.workers == 1:
            _run_here(jobs, task, listen)
        elif jobs:
            with Pool(task, threads, listen) as pool:
                pool.run(jobs, min(self.workers, len(jobs)))


def _run_here(jobs: Sequence[Job], task: Task, listen: Listen) -> None:
    for job in jobs:
        listen(Event(job.trial, "started"))
        try:
            ended = attempt(task, job, lambda progress, trial=job.trial: listen(Event(trial, "progress", "", progress)))
        except KeyboardInterrupt:
            listen(Event(job.trial, "interrupted", "stopped by the user"))
            raise
        listen(ended)
