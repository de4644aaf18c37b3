"""Atomic writes: a file is either the old one or the new one, whole, whenever the process dies."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object], ending: str = "") -> Path:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and move it into place.

    Args:
        path: the file.
        write: gets the temporary file's path.
        ending: what that path has to end in, for writers that choose a format by the name.

    Raises:
        InputError: the folder cannot be written or the disk is full; what stood at ``path`` is untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".partial{ending}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}. Free space or choose another folder, then run again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path
