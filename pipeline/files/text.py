"""Text and JSON files in UTF-8: checked when read, written atomically."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from ...transforms.basics.atomic import write_atomically
from ...transforms.basics.bounds import DEEPEST, LONGEST_TEXT, MOST_DIGITS
from ...transforms.basics.errors import InputError, one_line, quoted

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
__all__ = ["cache_folder", "parse_json", "read_json", "read_text", "write_atomically", "write_text"]


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8, atomically.

    Raises:
        InputError: the file cannot be written, or the text holds half of a surrogate pair; such text comes from a file
            name that is not UTF-8.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        around = quoted(text[max(0, error.start - 40) : error.start + 40])
        raise InputError(f"cannot write {path}: {around} is not UTF-8; rename the file it comes from.") from None
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_text(path: Path, longest: int = LONGEST_TEXT) -> str:
    """Read UTF-8 text; line ends are kept.

    Args:
        path: the file.
        longest: maximum size in bytes.

    Raises:
        InputError: the file is missing, cannot be read, is too long or has another encoding.
        PermissionError: this user may not read the file, which is therefore not treated as damaged.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(longest + 1)
        if len(content) > longest:
            raise InputError(f"{path} is longer than {longest >> 20} MiB, the limit for such a file.")
        return content.decode("utf-8-sig")
    except (PermissionError, InputError):
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8.") from None
    except ValueError as error:
        raise InputError(f"cannot read {quoted(str(path))}: {error}.") from None  # a NUL in the path


def read_json(path: Path) -> Any:
    """Read JSON with :func:`parse_json`.

    Raises:
        InputError, PermissionError: as :func:`read_text` and :func:`parse_json`.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """Parse a JSON text.

    Raises:
        InputError: the JSON is invalid, a key occurs twice in one object, there is NaN, infinity or text that UTF-8
            cannot encode, or levels or digits exceed the limits in `transforms.basics.bounds`.
    """
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=_number, object_pairs_hook=_object
        )
        _check(value)
        return value
    except RecursionError:
        raise InputError(f"{where} is not valid JSON: it has more than {DEEPEST} levels.") from None
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {one_line(error)}.") from None


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, at most {MOST_DIGITS} are allowed")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= MOST_DIGITS else math.inf
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text)} is not a finite number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {quoted(key)} is given twice")
        found[key] = value
    return found


def _check(value: Any) -> None:
    """Raise ValueError for a value that is nested too deeply or has text with NUL or half of a surrogate pair."""
    level = [value]
    for _ in range(DEEPEST):
        for text in (text for one in level for text in (one if isinstance(one, dict) else (one,))):
            if isinstance(text, str) and _NO_TEXT.search(text):
                raise ValueError(f"the text {quoted(text)} holds a character that is not allowed in text")
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [value for values in inner for value in values]
        if not level:
            return
    raise ValueError(f"it has more than {DEEPEST} levels")


def cache_folder() -> Path:
    """The folder of cached results: $SMOOTHMORPH_CACHE, or ``smoothmorph`` in the user's cache folder."""
    chosen = os.environ.get("SMOOTHMORPH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smoothmorph"
