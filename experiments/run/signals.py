"""How processes stop early: SIGTERM stops a command like Ctrl-C does, and a worker ends together with its parent.

This module imports nothing large, so that a worker watches its parent before it imports the rest.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl: the signal that this process gets when its parent ends."""


class Stopped(KeyboardInterrupt):
    """A signal that stops a command cleanly: the time limit of a batch system, or a closed terminal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Inside, the first SIGTERM or SIGHUP raises :class:`Stopped`; a second one ends the process immediately.

    Signals that are ignored (nohup) or have another handler are not changed.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in STOPPING if main and signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, frame: FrameType | None) -> None:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)
        raise Stopped(number)

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore the signal handlers that a library replaces inside: Ray's handler of SIGTERM calls ``sys.exit``."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def without_interruption() -> Iterator[None]:
    """Delay Ctrl-C until the end. Processes that are started inside never get it: their parent stops them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow(pipe: Connection) -> None:
    """The main function of a worker process: make sure that it ends with its parent, then work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":  # the kernel ends this process, whatever it is doing
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from .worker_pool import work

    work(pipe)


def _end_with(parent: BaseProcess) -> None:
    """End this process as soon as its parent has ended for any reason: nobody would use its results."""
    parent.join()
    os._exit(1)
