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
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def unwritable(path: Path, error: OSError) -> InputError:
    """What is told of a file or folder that could not be written, with advice that fits the reason."""
    said, advice = error.strerror or str(error), "Free space or choose another folder"
    if isinstance(error, FileExistsError | NotADirectoryError):  # from making the folders above it
        nearest = next(parent for parent in path.parents if parent.exists())
        said, advice = f"{nearest} is a file, not a folder", "Choose another folder"
    elif isinstance(error, IsADirectoryError):
        said, advice = "it is a folder", "Choose another name"
    elif isinstance(error, FileNotFoundError):  # in folders of the system's, such as /proc, nothing can be made
        advice = "Choose another folder"
    elif isinstance(error, PermissionError):
        advice = "Choose another folder or see to its permissions"
    return InputError(f"cannot write {path}: {said}. {advice}, then run again.")
