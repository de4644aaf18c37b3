"""Executors run trials and tell what happens to them. `LocalExecutor`: this process, or N spawned ones.

`distributed.executor.RayExecutor` implements the same small interface on a cluster; another one could.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..pipeline.config import TrialSettings
from ..pipeline.turns import Turns
from ..transforms.errors import InputError
from .jobs import Event, Job, Listen, Task, attempt, attempt_in_turns
from .processes import Pool

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
    if settings.compute.threads is not None:
        return settings
    compute = settings.compute.model_copy(update={"threads": threads})
    return settings.model_copy(update={"compute": compute})


class LocalExecutor:
    """Trials on this machine. One worker: in this process. More: that many processes.

    The cores are divided among the workers. A worker that dies costs its trial's last epoch at most (run the study
    again to resume it) and is replaced.

    Args:
        workers: processes.
        together: trials that one process advances in turns, a training step each: on a GPU they compute at the same
            time, on streams of their own. Each computes what it would compute alone.

    Raises:
        InputError: a number below 1, or several workers and several trials together.
    """

    def __init__(self, workers: int = 1, together: int = 1) -> None:
        for option, number in (("--workers", workers), ("--together", together)):
            if number < 1:
                raise InputError(f"{option} {number}: at least one is needed.")
        if min(workers, together) > 1:
            raise InputError(
                f"--together {together} is for trials of one process, which share a GPU; leave out --workers {workers}."
            )
        self.workers, self.together = workers, together

    def run(self, jobs: Sequence[Job], task: Task, listen: Listen) -> None:
        """Run every job. KeyboardInterrupt stops them, reports those under way as interrupted and goes on up.

        Raises:
            InputError: this machine lacks the device of a job; none was run.
        """
        from ..pipeline.trial import choose_device

        for device in {job.settings.compute.device for job in jobs}:
            choose_device(device)
        threads = max(1, available_cores() // self.workers)
        jobs = [Job(j.trial, with_threads(j.settings, threads), j.folder, j.root) for j in jobs]
        if self.workers == 1:
            _run_here(jobs, task, listen, self.together)
        elif jobs:
            with Pool(task, threads, listen) as pool:
                pool.run(jobs, min(self.workers, len(jobs)))


def _run_here(jobs: Sequence[Job], task: Task, listen: Listen, together: int) -> None:
    waiting, running = deque(jobs), dict[str, Turns[Event]]()
    try:
        while waiting or running:
            while waiting and len(running) < together:
                job = waiting.popleft()
                listen(Event(job.trial, "started"))
                running[job.trial] = attempt_in_turns(task, job, _reporter(job.trial, listen))
            for trial, turns in list(running.items()):
                try:
                    next(turns)
                except StopIteration as end:
                    del running[trial]
                    listen(end.value)
    except KeyboardInterrupt:
        for trial in running:
            listen(Event(trial, "interrupted", "stopped by the user"))
        raise


def _reporter(trial: str, listen: Listen) -> Callable[[Any], None]:
    return lambda progress: listen(Event(trial, "progress", "", progress))
