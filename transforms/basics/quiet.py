"""What C and C++ libraries print of their own: pages about a full disk, where an exception says it in a sentence."""

import contextlib
import os
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_saved: list[int] = []
"""The real standard error while it is redirected, once for every thread that wants it so."""


@contextlib.contextmanager
def without_prints() -> Iterator[None]:
    """Within it, what this process writes to standard error goes nowhere. Not for long work: nobody else prints either.

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
    """Where ITK writes a file: it tells failures as RuntimeError, in words about its own functions.

    Raises:
        OSError: the file could not be written.
    """
    with without_prints():
        try:
            yield
        except RuntimeError as error:
            raise OSError("ITK could not write all of it") from error
