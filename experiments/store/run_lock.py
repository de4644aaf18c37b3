"""One run at a time writes in a folder, and others can see which trials it is working on."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ...pipeline.files.text import read_json
from ...transforms.basics.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows; two runs at once into one folder are then not noticed
    fcntl = None


class Lock:
    """Held by the one run that writes in a folder, gone when its process is; names the trials in work."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def note(self, running: Sequence[str]) -> None:
        """Tell `running_trials` what is in work now."""
        self._file.seek(0)
        self._file.truncate()
        json.dump({"process": os.getpid(), "running": list(running)}, self._file)
        self._file.flush()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the folder for one run.

    Raises:
        InputError: another run is writing there.
    """
    with open(path / ".lock", "a+", encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                process = _read_lock(path).get("process", "unknown")
                raise InputError(
                    f"another run (process {process}) is writing in {path}; wait for it, or use another --out."
                ) from None
            except OSError:  # a file system without locks: go on unlocked
                pass
        lock = Lock(file)
        lock.note([])
        try:
            yield lock
        finally:
            lock.note([])


def running_trials(path: Path) -> set[str] | None:
    """The trials in work in a folder; None if no run is going on."""
    if fcntl is None or not (path / ".lock").exists():
        return None
    try:
        with open(path / ".lock", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        running = _read_lock(path).get("running")
        return {trial for trial in running if isinstance(trial, str)} if isinstance(running, list) else set()
    except OSError:
        return None
    return None


def _read_lock(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path / ".lock")
        return content if isinstance(content, dict) else {}
    except (OSError, InputError):
        return {}
