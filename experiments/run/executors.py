"""Executors run trials and report events. `LocalExecutor` uses this process, or N spawned processes.

`distributed.executor.RayExecutor` implements the same interface on a cluster.
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
    """Runs every job, in any order; each job ends with one event: finished, failed or interrupted."""

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None: ...


def available_cores() -> int:
    """The number of cores that this process may use."""
    with contextlib.suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_each(workers: int) -> int:
    """The threads of each of so many workers: an equal share of the cores, and no more than OMP_NUM_THREADS."""
    share, limit = max(1, available_cores() // workers), os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(limit)) if limit.isdecimal() and int(limit) else share


def with_threads(settings: TrialSettings, threads: int) -> TrialSettings:
    """The settings of a trial with a number of threads, unless they have one already."""
    return settings if settings.compute.threads is not None else computing(settings, threads=threads)


def computing(settings: TrialSettings, **how: Any) -> TrialSettings:
    """The settings of the same trial with another ``threads`` or ``device``."""
    return settings.model_copy(update={"compute": settings.compute.model_copy(update=how)})


class LocalExecutor:
    """Run trials on this machine: one worker runs in this process, several workers are processes of their own.

    The workers share the cores. If a worker dies, it is replaced; its trial loses at most one epoch, and running the
    study again resumes it.

    Args:
        workers: number of workers.

    Raises:
        InputError: ``workers`` is below 1.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"--workers {workers}: expected at least 1.")
        self.workers = workers

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None:
        """Run every job.

        Raises:
            InputError: this machine lacks the device of a job; nothing was run.
            KeyboardInterrupt: stopped; running trials were reported as interrupted.
        """
        for device in {job.settings.compute.device for job in jobs}:
            choose_device(device)
        threads = threads_each(self.workers)
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
