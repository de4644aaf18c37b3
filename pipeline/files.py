"""Files of a run: written atomically, text in UTF-8."""

import os
from pathlib import Path

from ..transforms.atomic import write_atomically
from ..transforms.errors import InputError

__all__ = ["cache_folder", "read_text", "write_atomically", "write_text"]


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8, atomically."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_text(path: Path) -> str:
    """Read UTF-8, with its line ends as they are.

    Raises:
        InputError: the file is missing, cannot be read or is in another encoding.
        PermissionError: this user may not read it; a file that others hold must not be taken for a damaged one.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except PermissionError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8.") from None


def cache_folder() -> Path:
    """Where results that can be found again are kept: $SMOOTHMORPH_CACHE, or ``smoothmorph`` in the user's caches."""
    chosen = os.environ.get("SMOOTHMORPH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smoothmorph"
