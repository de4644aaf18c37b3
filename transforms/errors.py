"""The one exception a user's mistake ends in: a sentence, not a traceback. And the words that its sentences share."""

import re
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message says which file or field, what was found, what was expected and what to do."""


def one_line(error: BaseException, longest: int = 300) -> str:
    """The message of an exception on one line, or its kind where it has none."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def reason(error: BaseException) -> str:
    """What a file's library says is wrong, as a part of a sentence: without ITK's source lines and addresses."""
    said = re.sub(r"(?s)^.*ITK ERROR: (\w+\(\w+\): )?", "", str(error)).strip().splitlines()
    if said and said[-1].startswith("[nrrd]"):  # NRRD's library: who called whom, and last what was wrong
        return said[-1].rpartition(": ")[2]
    return (said[0] if said else type(error).__name__).rstrip(".")


def times(numbers: Iterable[float]) -> str:
    """``160x192`` from (160, 192)."""
    return "x".join(f"{number:g}" for number in numbers)


def shown(value: object, longest: int = 60) -> str:
    """A value from a file for a sentence: cut where it is long, and only its kind where it is no plain value."""
    if isinstance(value, list | tuple) and 0 < len(value) <= 8:
        plain = (type(item).__name__ if isinstance(item, list | tuple) else shown(item, 20) for item in value)
        return f"({', '.join(plain)})"
    if not isinstance(value, str | int | float | None):
        return type(value).__name__
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of more than 70 digits"
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."
