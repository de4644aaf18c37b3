"""A pool of long-lived worker processes for trials; used through `LocalExecutor`."""

import contextlib
import functools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from .jobs import Event, Job, Listen, Task, attempt_quietly
from .signals import follow, without_interruption


@dataclass
class Worker:
    process: Any
    pipe: Connection
    job: Job | None = None


class Pool:
    """Long-lived worker processes. Each has its own pipe, so a worker that dies cannot damage messages of others."""

    def __init__(self, task: Task, threads: int, listen: Listen) -> None:
        self.task, self.threads, self.listen = task, threads, listen
        self.workers: list[Worker] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
            if worker.job is not None:
                self.listen(Event(worker.job.trial, "interrupted", "stopped by the user"))

    def run(self, jobs: Sequence[Job], count: int) -> None:
        waiting = deque(jobs)
        while waiting or any(worker.job for worker in self.workers):
            self._hand_out(waiting, count)
            watched = {watch: w for w in self.workers for watch in (w.pipe, w.process.sentinel)}
            for worker in {id(w): w for w in (watched[ready] for ready in wait(list(watched)))}.values():
                self._hear(worker)

    def _hand_out(self, waiting: deque[Job], count: int) -> None:
        while waiting:
            idle = next((worker for worker in self.workers if worker.job is None), None)
            if idle is None and len(self.workers) >= count:
                return
            worker = idle or self._start()
            worker.job = waiting.popleft()
            self.listen(Event(worker.job.trial, "started"))
            with contextlib.suppress(OSError):  # the worker just died: its sentinel reports it
                worker.pipe.send(worker.job)

    def _start(self) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=follow, args=(theirs,), daemon=True)
        # numerical libraries read these variables when they are imported
        with _environment(OMP_NUM_THREADS=str(self.threads), MKL_NUM_THREADS=str(self.threads)), without_interruption():
            process.start()
        theirs.close()
        with contextlib.suppress(OSError):
            ours.send(self.task)
        worker = Worker(process, ours)
        self.workers.append(worker)
        return worker

    def _hear(self, worker: Worker) -> None:
        try:
            while worker.pipe.poll():
                event: Event = worker.pipe.recv()
                if event.kind != "progress":
                    worker.job = None
                self.listen(event)
        except (EOFError, OSError):
            pass
        else:
            if worker.process.is_alive():
                return
        self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        worker.process.join(5)
        self.workers.remove(worker)
        worker.pipe.close()
        if worker.job is not None:
            reason = f"its worker {_cause(worker.process.exitcode)}; run the study again to resume it"
            self.listen(Event(worker.job.trial, "interrupted", reason))


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"was killed ({name}{', perhaps out of memory' if name == 'SIGKILL' else ''})"
    return f"died (exit code {code})"


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def work(pipe: Connection) -> None:
    """The loop of a worker: receive the task, then run each received job and send its events."""
    try:
        task: Task = pipe.recv()
        while True:
            job: Job = pipe.recv()
            pipe.send(attempt_quietly(task, job, functools.partial(_report, pipe, job.trial)))
    except EOFError:
        return


def _report(pipe: Connection, trial: str, progress: Any) -> None:
    with contextlib.suppress(OSError):  # the parent has ended, and so will this process
        pipe.send(Event(trial, "progress", "", progress))
