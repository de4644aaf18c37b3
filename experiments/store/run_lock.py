"""The lock of a run folder: only one run writes there, and other processes can see which trials are running.

The run locks the file ``.lock``. The operating system releases the lock when the process ends, for any reason. The
process id and the running trials are in ``.running.json``, because a locked file cannot be read on Windows. That file
is valid only while the lock is held.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from ...pipeline.files.text import read_json, write_text
from ...transforms.basics.errors import InputError

LOCK, RUNNING = ".lock", ".running.json"


class Lock:
    """The lock that a run holds while it writes in a folder; it lists the running trials."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / RUNNING

    def note(self, running: Sequence[str]) -> None:
        """Record the trials that are running now, for `running_trials`."""
        with contextlib.suppress(InputError):  # a full disk must not stop the trials
            write_text(self._file, json.dumps({"process": os.getpid(), "running": list(running)}))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the lock of a folder.

    Raises:
        InputError: another run is writing there.
    """
    with open(path / LOCK, "ab") as file:
        if _is_locked(file.fileno()):
            process = noted(path / RUNNING).get("process", "unknown")
            raise InputError(
                f"another run (process {process}) is writing in {path}; wait for it, or give another folder with --out."
            )
        lock = Lock(path)
        lock.note([])
        try:
            yield lock
        finally:
            (path / RUNNING).unlink(missing_ok=True)


def running_trials(path: Path) -> set[str] | None:
    """The running trials in a folder; None if no run is in progress."""
    try:
        if not (path / RUNNING).exists():  # without this check, asking could take the lock from a run that begins
            return None
        with open(
            path / LOCK, "r+b" if os.access(path / LOCK, os.W_OK) else "rb"
        ) as file:  # NFS needs write access to lock
            if not _is_locked(file.fileno()):
                return None
    except OSError:
        return None
    running = noted(path / RUNNING).get("running")
    return {trial for trial in running if isinstance(trial, str)} if isinstance(running, list) else set()


def _is_locked(file: int) -> bool:
    """Whether another process holds the lock of an open file; if not, this process gets it until it closes the file."""
    try:
        return not lock_descriptor(file, blocking=False)
    except OSError:  # a file system without locks: continue unlocked
        return False


def noted(file: Path, kind: type[Any] = dict) -> Any:
    """Read a JSON file on which no result depends; an empty ``kind`` if it is missing, damaged or of another type."""
    with contextlib.suppress(OSError, InputError):
        if isinstance(content := read_json(file), kind):
            return content
    return kind()
