"""How a process ends before its work does: a command by SIGTERM as by Ctrl-C, a worker together with its parent.

Nothing large is imported here, so that a worker can follow its parent while it imports the rest.
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
"""Of Linux's prctl: the signal that this process gets when its parent ends."""


class Stopped(KeyboardInterrupt):
    """A signal that ends a command in order: a batch system's time limit, a terminal that was closed."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP raise :class:`Stopped` here, once: a second one ends the process at once.

    Signals that are ignored (nohup) or that others handle are left alone.
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
    """Undo what a library makes of these signals here: Ray leaves by ``sys.exit`` where SIGTERM should end in order."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def without_interruption() -> Iterator[None]:
    """Ctrl-C waits until the end; a process that is started here never hears of it, as its parent decides."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow(pipe: Connection) -> None:
    """What a worker process does first: it sees to it that it ends with its parent, and then does its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":  # by the kernel, whatever this process is doing
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from .worker_pool import work

    work(pipe)


def _end_with(parent: BaseProcess) -> None:
    """End this process as soon as its parent has ended, in whatever way: nobody would use what it computes."""
    parent.join()
    os._exit(1)
