"""Settings that only some entries of a registry have, described beside the entry."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting that an entry of a registry adds to a section of a study, and that other entries need not have.

    Attributes:
        name: the key in the section.
        kind: the type of a value: ``bool``, ``int``, ``float`` or ``str``.
        meaning: what it is, in a phrase.
        default: its value if a study does not give it; a tuple for a list. None: the entry's own code decides, and a
            study can give null.
        least, most: bounds of a number, included.
        among: the texts that can be given; empty: any text.
        many: whether the value is a list of such values.
        fewest: how many values a list has at least.
        always_in_id: whether a trial's id covers it at its default, too. True only for options that are older than
            this rule, so that finished trials keep their ids.
    """

    name: str
    kind: type
    meaning: str
    default: Any = None
    least: float | None = None
    most: float | None = None
    among: tuple[str, ...] = ()
    many: bool = False
    fewest: int = 0
    always_in_id: bool = False


def names(options: Iterable[Option]) -> tuple[str, ...]:
    """The names of options, in order."""
    return tuple(option.name for option in options)
