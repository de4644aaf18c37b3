"""Text headers of MetaImage and NRRD. Every number in them is checked, and so is the data file that they name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..basics.bounds import LONGEST_HEADER, MOST_DIGITS, MOST_VOXELS
from ..basics.errors import InputError, quoted

T = TypeVar("T")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LISTED = 12
"""Number of known values that a message lists."""


@dataclass(frozen=True)
class Fields:
    """The fields of a header by lower-case name. Every method raises InputError for a value that does not fit."""

    path: Path
    values: Mapping[str, str]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.values

    @classmethod
    def of(cls, path: Path, pairs: Iterable[tuple[str, str]]) -> "Fields":
        values: dict[str, str] = {}
        for name, value in pairs:
            if name.lower() in values:
                raise InputError(f"the header of {path} has {quoted(name)} twice; keep one of them.")
            values[name.lower()] = value.strip()
        return cls(path, values)

    def text(self, *names: str, default: str | None = None) -> str:
        """Return the value of the field that has one of these ``names``."""
        there = [name for name in names if name in self]
        if len(there) > 1:
            raise InputError(f"the header of {self.path} has {' and '.join(there)}; keep one of them.")
        if not there and default is None:
            raise InputError(f"the header of {self.path} has no {names[0]}, so it cannot be read; is it complete?")
        return self.values[there[0].lower()] if there else str(default)

    def choice(self, known: Mapping[str, T], *names: str, default: str | None = None) -> T:
        """Look up the lower-case value in ``known``."""
        value = self.text(*names, default=default)
        if value.lower() not in known:
            raise self.unfit(
                names[0], value, "one of " + ", ".join([*known][:LISTED]) + ", ..." * (len(known) > LISTED)
            )
        return known[value.lower()]

    def numbers(self, count: int, *names: str, default: str | None = None) -> np.ndarray:
        """Parse the value as ``count`` finite numbers."""
        value = self.text(*names, default=default)
        return self.parsed(names[0], value, value.split(), count)

    def parsed(self, name: str, value: str, words: list[str], count: int) -> np.ndarray:
        """Parse the words of a value as ``count`` finite numbers."""
        fit = len(words) == count and all(len(word) <= MOST_DIGITS and NUMBER.fullmatch(word) for word in words)
        numbers = np.array([float(word) for word in words]) if fit else np.full(1, np.nan)
        if not np.isfinite(numbers).all():
            raise self.unfit(name, value, f"{count} finite number{'s'[: count != 1]}")
        return numbers

    def integers(self, count: int, low: int, high: int, *names: str, default: str | None = None) -> list[int]:
        """Parse the value as ``count`` integers from ``low`` to ``high``."""
        value = self.text(*names, default=default)
        words = value.split()
        fit = len(words) == count and all(re.fullmatch(r"[+-]?\d{1,18}", word) for word in words)
        if not fit or not all(low <= int(word) <= high for word in words):
            raise self.unfit(names[0], value, f"{count} integer{'s'[: count != 1]} from {low} to {high}")
        return [int(word) for word in words]

    def sizes(self, count: int, name: str) -> tuple[int, ...]:
        """Parse the numbers of voxels along ``count`` axes."""
        return tuple(self.integers(count, 1, MOST_VOXELS, name))

    def unfit(self, name: str, value: str, expected: str) -> InputError:
        """Return the error for a value that is not as expected."""
        return InputError(f"the header of {self.path} has {name} {quoted(value)}; expected {expected}.")

    def beside(self, name: str) -> Path:
        """Return the data file that a header names. It must be in the header's folder: a header could name any file."""
        name = name.removeprefix("./")
        data = self.path.parent / name
        if name in ("", ".", "..") or re.search(r"[/\\%\0]", name) or name.startswith(("LIST", "SKIPLIST")):
            raise InputError(
                f"the header of {self.path} keeps its voxels in {quoted(name)}; expected the name of one file in the "
                "header's own folder: put it there, or write header and voxels into one file."
            )
        if not data.exists():
            raise InputError(f"{self.path} keeps its voxels in {data}, which does not exist; put it there.")
        if not data.is_file() or data.resolve().parent != self.path.parent.resolve():
            raise InputError(
                f"{self.path} keeps its voxels in {data}, which is not a regular file of that folder; put the file "
                "itself there, not a link."
            )
        return data


def header_text(path: Path) -> bytes:
    """Read the part of a file that may hold its header."""
    with open(path, "rb") as file:
        return file.read(LONGEST_HEADER)


def not_this(path: Path, kind: str) -> InputError:
    """Return the error for a file whose format is not that of its ending."""
    return InputError(f"cannot read {path} as an image: its ending says {kind}, but it is not such a file.")
