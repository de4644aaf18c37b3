"""Settings that only some entries of a registry have, described beside the entry."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .registry import Entry, Registry

KINDS = (bool, int, float, str)


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting that an entry of a registry adds to a section of a study, and that other entries need not have.

    Attributes:
        name: the key in the section: lower-case letters, digits and ``_``.
        kind: the type of a value: ``bool``, ``int``, ``float`` or ``str``.
        meaning: what it is, in a phrase.
        default: its value if a study does not give it; a tuple for a list. None: the entry's own code decides, and a
            study can give null. A trial's id does not cover an option at its default, so never change a default.
        least, most: bounds of a number, included.
        among: the texts that can be given; empty: any text.
        many: whether the value is a list of such values.
        fewest: how many values a list has at least.
        always_in_id: whether a trial's id covers it at its default, too. True only for options that are older than
            this rule, so that finished trials keep their ids.

    Raises:
        ValueError: the name, the kind or the default is not as described.
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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"{self.name!r} is not a valid name of an option: use a-z, digits and '_'")
        if self.kind not in KINDS:
            raise ValueError(f"the option {self.name} is of the kind {self.kind!r}; use bool, int, float or str")
        if self.default is not None and not self._allows(self.default):
            raise ValueError(f"the default of the option {self.name} is {self.default!r}, which it does not allow")

    def _allows(self, value: Any) -> bool:
        if self.many:
            return isinstance(value, tuple) and len(value) >= self.fewest and all(map(self._allows_one, value))
        return self._allows_one(value)

    def _allows_one(self, value: Any) -> bool:
        if type(value) is not self.kind:
            return False
        if self.among and value not in self.among:
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def names(options: Iterable[Option]) -> tuple[str, ...]:
    """The names of options, in order."""
    return tuple(option.name for option in options)


@dataclass(frozen=True, kw_only=True)
class EntryWithOptions(Entry):
    """A registry entry that adds ``options`` to a section of a study."""

    options: tuple[Option, ...] = ()


E = TypeVar("E", bound=EntryWithOptions)


class RegistryWithOptions(Registry[E]):
    """A registry whose entries add options to one section. Entries may share an option, if it is the same for all."""

    reserved: frozenset[str] = frozenset()
    """The section's own names, which no option can have."""

    def add(self, entry: E) -> E:
        """As :meth:`.Registry.add`.

        Raises:
            ValueError: an option has the name of another setting, or is not the same as another entry's of this name.
        """
        self._check_options(entry)
        return super().add(entry)

    def reserve(self, taken: Iterable[str]) -> None:
        """Keep the section's own names. An entry that was added before and has an option of such a name is left out."""
        self.reserved = frozenset(taken)
        for entry in list(self._entries.values()):
            try:
                self._check_options(entry)
            except ValueError as error:
                del self._entries[entry.name]
                self.faults.append(str(error))

    def _check_options(self, entry: E) -> None:
        others = {
            option.name: (other.name, option)
            for other in self._entries.values()
            for option in other.options
            if other.name != entry.name
        }
        for option in entry.options:
            if option.name in self.reserved:
                raise ValueError(f"the option {option.name} of the {self.kind} {entry.name} is another setting's name")
            name, other = others.get(option.name, ("", option))
            if replace(other, meaning="") != replace(option, meaning=""):
                raise ValueError(
                    f"the option {option.name} of the {self.kind} {entry.name} differs from that of {name}; define it "
                    "alike but for the meaning, or give it another name"
                )
