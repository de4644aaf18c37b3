"""One run at a time writes in a folder, and others can see which trials it is working on.

The run locks ``.lock``, and the system takes the lock away when its process ends, however it ends. Its process number
and its trials in work are in ``.running.json``: a locked file cannot be read on Windows. Only beside a lock that is
held is that file believed.
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
    """Held by the one run that writes in a folder; names the trials in work."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / RUNNING

    def note(self, running: Sequence[str]) -> None:
        """Tell `running_trials` what is in work now."""
        with contextlib.suppress(InputError):  # on a full disk the trials go on, as far as they can
            write_text(self._file, json.dumps({"process": os.getpid(), "running": list(running)}))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the folder for one run.

    Raises:
        InputError: another run is writing there.
    """
    with open(path / LOCK, "ab") as file:
        if _is_locked(file.fileno()):
            process = noted(path / RUNNING).get("process", "unknown")
            raise InputError(
                f"another run (process {process}) is writing in {path}; wait for it, or use another --out."
            )
        lock = Lock(path)
        lock.note([])
        try:
            yield lock
        finally:
            (path / RUNNING).unlink(missing_ok=True)


def running_trials(path: Path) -> set[str] | None:
    """The trials in work in a folder; None if no run is going on."""
    try:
        if not (path / RUNNING).exists():  # so that asking never takes the lock from a run that begins
            return None
        with open(path / LOCK, "r+b" if os.access(path / LOCK, os.W_OK) else "rb") as file:  # NFS wants it writable
            if not _is_locked(file.fileno()):
                return None
    except OSError:
        return None
    running = noted(path / RUNNING).get("running")
    return {trial for trial in running if isinstance(trial, str)} if isinstance(running, list) else set()


def _is_locked(file: int) -> bool:
    """Whether another has the lock of an open file; if not, this process has it, until it closes the file."""
    try:
        return not lock_descriptor(file, blocking=False)
    except OSError:  # a file system without locks: go on unlocked
        return False


def noted(file: Path, kind: type[Any] = dict) -> Any:
    """A JSON file that no result depends on; empty if it is missing, damaged or of another kind."""
    with contextlib.suppress(OSError, InputError):
        if isinstance(content := read_json(file), kind):
            return content
    return kind()
