"""The one exception a user's mistake ends in: a sentence, not a traceback. And the words that its sentences share."""

import re
import reprlib
from collections.abc import Iterable

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 100
_short.maxlist = _short.maxtuple = _short.maxdict = 12


class InputError(ValueError):
    """Bad input: the message says which file or field, what was found, what was expected and what to do."""


def one_line(error: BaseException, longest: int = 300) -> str:
    """The message of an exception on one line, or its kind where it has none."""
    return printable(" ".join(str(error).split())[:longest]) or type(error).__name__


def printable(text: object) -> str:
    """The text on one line that is safe on every screen and in every file: for the place where it leaves the program.

    Written as Python writes them in a text (``\\x1b``) are control characters with line breaks, which would move the
    cursor or change a terminal, marks of the writing direction, which would show another order of the letters, and
    halves of surrogate pairs, which no encoding has.
    """
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], str(text))


def quoted(value: object) -> str:
    """``repr`` of what a user gave, shortened: a sentence must be readable whatever it quotes."""
    return _short.repr(value)


def reason(error: BaseException) -> str:
    """What a file's library says is wrong, as a part of a sentence: without ITK's source lines and addresses."""
    said = re.sub(r"(?s)^.*ITK ERROR: (\w+\(\w+\): )?", "", str(error)).strip().splitlines()
    if said and said[-1].startswith("[nrrd]"):  # NRRD's library: who called whom, and last what was wrong
        return said[-1].rpartition(": ")[2]
    return (said[0] if said else type(error).__name__).rstrip(".")


def times(numbers: Iterable[float]) -> str:
    """``160x192`` from (160, 192)."""
    return "x".join(f"{number:g}" for number in numbers)
