"""The exception for every mistake of a user, and functions that write its messages. It prints without a traceback."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_NUMBER = 256
"""Integers with more bits are not written out in a message."""


class _Short(reprlib.Repr):
    """A shortened ``repr`` of plain values. Other values show only their type: a tensor's repr can fill the memory."""

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
    """Bad input. The message says which file or field, what was found, what was expected and what to do."""


@contextmanager
def naming(source: object, fault: str = "") -> Iterator[None]:
    """Put ``fault`` and the name of the file ``source`` before any InputError that does not name this file."""
    try:
        yield
    except InputError as error:
        raise error if str(source) in str(error) else InputError(f"{fault}{source}: {error}") from None


def one_line(error: BaseException, longest: int = 300) -> str:
    """Return the message of an exception on one line, or its type if it has no message."""
    return printable(" ".join(str(error).split())[:longest]) or type(error).__name__


def printable(text: object) -> str:
    """Return the text on one line that is safe for every terminal and file. Use it where text leaves the program.

    Some characters are replaced by Python's escapes, such as ``\\x1b``: control characters and line breaks, which can
    move the cursor or change a terminal; direction marks, which can change the order of letters; and halves of
    surrogate pairs, which cannot be encoded.
    """
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], str(text))


def printable_lines(text: object) -> str:
    """Make the text safe as `printable` does, but keep its lines."""
    return "\n".join(map(printable, str(text).split("\n")))


def quoted(value: object) -> str:
    """Return a shortened ``repr`` of a value from a user or a file, so that the message stays readable."""
    return _short.repr(value)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the known name that is most similar to ``name``, or an empty text if none is similar."""
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)), "")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``did you mean X? ``, with a blank for the next sentence; an empty text if no known name is similar."""
    return f"did you mean {close}? " if (close := nearest(name, known)) else ""


def reason(error: BaseException) -> str:
    """Return a library's error message as a part of a sentence, without ITK's source lines and addresses."""
    said = re.sub(r"(?s)^.*ITK ERROR: (\w+\(\w+\): )?", "", str(error)).strip().splitlines()
    if said and said[-1].startswith("[nrrd]"):  # NRRD's library prints the call stack; the reason is last
        return said[-1].rpartition(": ")[2]
    return (said[0] if said else type(error).__name__).rstrip(".")


def times(numbers: Iterable[float]) -> str:
    """Format sizes: (160, 192) becomes ``160x192``."""
    return "x".join(f"{number:g}" for number in numbers)
