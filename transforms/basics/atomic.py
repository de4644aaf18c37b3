"""Atomic writes: whenever the process dies, a file or folder is either the old one or the complete new one.

Data are written to a hidden folder beside the target, ``.name.partial``, and moved when complete. The writer locks that
folder. The system releases the lock when the process ends, however it ends. A folder without a lock was therefore left
by a killed process. The next write of the same name, or :func:`remove_leftovers`, removes it.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from filelock import lock_descriptor

from .errors import InputError

LEFTOVER = re.compile(r"\..+\.(partial|unpacking)(\.[A-Za-z0-9.]+)?")
"""Names of temporary folders, and of the temporary files that earlier versions wrote."""
UNLOCKED_FOR = 24 * 3600
"""On systems without locks: seconds without a change after which a temporary folder counts as a leftover."""


def write_atomically(path: Path, write: Callable[[Path], object], ending: str = "") -> Path:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and move it into place.

    Args:
        path: the file.
        write: function that writes the file; it gets the path of the temporary file, which does not exist yet.
        ending: ending of that path, for writers that choose the format by the name.

    Raises:
        InputError: the folder cannot be written or the disk is full. A file that was at ``path`` stays as it was.
    """
    with _told(path), temporary_folder(path) as folder:
        temporary = folder / f"file{ending}"
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    return path


def check_new(path: Path) -> None:
    """Raise InputError if something is at ``path``."""
    if path.exists():
        raise InputError(f"{path} exists; choose another name or remove it.")


def write_folder(path: Path, fill: Callable[[Path], object]) -> Path:
    """Let ``fill`` fill a temporary folder beside ``path`` and move it into place.

    Raises:
        InputError: something is at ``path``, the folder cannot be written or the disk is full.
    """
    check_new(path)
    with _told(path), temporary_folder(path) as folder:
        fill(folder)
        os.chmod(folder, 0o755)
        os.rename(folder, path)
    return path


@contextlib.contextmanager
def temporary_folder(path: Path, kind: str = "partial") -> Iterator[Path]:
    """Make a new, empty folder beside ``path``, and remove it at the end unless it was renamed.

    Raises:
        OSError: the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder, lock = _claim(path, kind)
    try:
        yield folder
    finally:
        if lock is None or _is_open_as(lock, folder):  # another process may use this name by now
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes from ``folder``, but not those of running ones."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if LEFTOVER.fullmatch(path.name) and not path.is_symlink():
                _remove_unless_locked(path)


def unwritable(path: Path, error: OSError) -> InputError:
    """Return the error for a file or folder that could not be written, with advice that fits the reason."""
    said, advice = error.strerror or str(error), "Free space or choose another folder"
    if isinstance(error, FileExistsError | NotADirectoryError):  # raised when the parent folders are made
        nearest = next(parent for parent in path.parents if parent.exists())
        said, advice = f"{nearest} is a file, not a folder", "Choose another folder"
    elif isinstance(error, IsADirectoryError):
        said, advice = "it is a folder", "Choose another name"
    elif isinstance(error, FileNotFoundError):  # nothing can be made in system folders such as /proc
        advice = "Choose another folder"
    elif isinstance(error, PermissionError):
        advice = "Choose another folder or change its permissions"
    return InputError(f"cannot write {path}: {said}. {advice}, then run again.")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def _claim(path: Path, kind: str) -> tuple[Path, int | None]:
    """Make a new folder and lock it; the lock is None where the system has no locks."""
    for number in count():
        folder = path.with_name(f".{path.name}.{kind}{f'.{number}' if number else ''}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            lock = _lock(folder, getattr(os, "O_DIRECTORY", 0))
        except (BlockingIOError, FileNotFoundError):  # another process writes this name, or has just removed its folder
            continue
        except OSError:  # there are no locks, or this folder is not ours
            with contextlib.suppress(OSError):
                folder.rmdir()
            break
        if _is_open_as(lock, folder):
            for left in folder.iterdir():  # the files of a killed process
                _remove(left)
            return folder, lock
        os.close(lock)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=f".{kind}", dir=path.parent))
    with contextlib.suppress(OSError):
        return folder, _lock(folder)
    return folder, None


def _lock(path: Path, flags: int = 0) -> int:
    """Open a file or folder and lock it. OSError: it cannot be locked; BlockingIOError: another process has the lock.

    Windows cannot open a folder, so there are no such locks.
    """
    lock = os.open(path, getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | flags)
    try:
        if not lock_descriptor(lock, blocking=False):
            raise BlockingIOError
    except OSError:
        os.close(lock)
        raise
    return lock


def _is_open_as(lock: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(lock), os.lstat(path))
    return False


def _remove_unless_locked(path: Path) -> None:
    try:
        lock = _lock(path)
    except BlockingIOError:
        return
    except OSError:
        if time.time() - path.stat().st_mtime > UNLOCKED_FOR:
            _remove(path)
        return
    _remove(path)
    os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
