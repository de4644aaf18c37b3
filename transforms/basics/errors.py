"""The one exception a user's mistake ends in: a sentence, not a traceback. And the words that its sentences share."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_NUMBER = 256
"""Bits of a number that is written out in a sentence."""


class _Short(reprlib.Repr):
    """``repr`` of plain values, cut where it is long; of others only the kind: a tensor's can take all memory."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100
        self.maxlist = self.maxtuple = self.maxdict = 12
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= LONGEST_NUMBER else f"a number of more than {LONGEST_NUMBER} bits"

    def repr_instance(self, x: object, level: int) -> str:
        return repr(x) if isinstance(x, float | bool | None) else type(x).__name__


_short = _Short()


class InputError(ValueError):
    """Bad input: the message says which file or field, what was found, what was expected and what to do."""


@contextmanager
def naming(source: object, fault: str = "") -> Iterator[None]:
    """Within it, an InputError that does not name ``source``, a file, begins with ``fault`` and its name."""
    try:
        yield
    except InputError as error:
        raise error if str(source) in str(error) else InputError(f"{fault}{source}: {error}") from None


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


def printable_lines(text: object) -> str:
    """As `printable`, with the lines that the text has."""
    return "\n".join(map(printable, str(text).split("\n")))


def quoted(value: object) -> str:
    """``repr`` of what a user or a file gave, shortened: a sentence must be readable whatever it quotes."""
    return _short.repr(value)


def nearest(name: object, known: Iterable[str]) -> str:
    """The one of the known names that ``name`` was meant for, or nothing."""
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)), "")


def reason(error: BaseException) -> str:
    """What a file's library says is wrong, as a part of a sentence: without ITK's source lines and addresses."""
    said = re.sub(r"(?s)^.*ITK ERROR: (\w+\(\w+\): )?", "", str(error)).strip().splitlines()
    if said and said[-1].startswith("[nrrd]"):  # NRRD's library: who called whom, and last what was wrong
        return said[-1].rpartition(": ")[2]
    return (said[0] if said else type(error).__name__).rstrip(".")


def times(numbers: Iterable[float]) -> str:
    """``160x192`` from (160, 192)."""
    return "x".join(f"{number:g}" for number in numbers)
