"""Suppress the messages that C and C++ libraries print: pages about a full disk, which an exception already reports."""

import contextlib
import os
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_saved: list[int] = []
"""Copies of the real standard error while it is redirected, one per thread that asked for it."""


@contextlib.contextmanager
def without_prints() -> Iterator[None]:
    """Discard everything that this process writes to standard error. Keep it short: no other thread can print either.

    Exceptions are unchanged.
    """
    with contextlib.suppress(OSError), _lock:  # a process may have no standard error
        _saved.append(os.dup(2))
        if len(_saved) == 1:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
    try:
        yield
    finally:
        with _lock:
            if _saved:
                if len(_saved) == 1:
                    os.dup2(_saved[0], 2)
                os.close(_saved.pop())


@contextlib.contextmanager
def writing_with_itk() -> Iterator[None]:
    """Turn ITK's RuntimeError about a failed write, whose message names its own functions, into OSError.

    Raises:
        OSError: the file could not be written.
    """
    with without_prints():
        try:
            yield
        except RuntimeError as error:
            raise OSError("ITK could not write all of it") from error
