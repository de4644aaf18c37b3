"""Registries: what a study can name. An entry tells what a thing is; its code is loaded where it is first used.

Settings, tables, figures, reports and error messages read these entries, and list nothing themselves. Another package
adds an entry by an entry point in its ``pyproject.toml``, which names an object of the kind's entry class::

    [project.entry-points."smoothmorph.penalties"]
    elastic = "my_package.elastic:ENTRY"
"""

import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from .errors import InputError, nearest, one_line, quoted


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that a study can name.

    Attributes:
        name: in study files and in rows: lower-case letters, digits, ``-``, ``_`` and ``.``.
        title: in figures, tables and sentences.
        meaning: what it is, in a sentence without a full stop.
        target: its function or class, as ``"package.module:name"``.
        arguments: what the target is called with besides what the user of the entry gives.
        symbol: a formula, or nothing.
        source: the paper and its equation, or nothing.
        place: entries are listed by this number, then by name.
    """

    name: str
    title: str
    meaning: str
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    symbol: str = ""
    source: str = ""
    place: int = 100

    def load(self) -> Any:
        """The function or class."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def definition(self) -> str:
        """The meaning and the source, for a reader."""
        return f"{self.meaning}; {self.source}" if self.source else self.meaning


E = TypeVar("E", bound=Entry)
REGISTRIES: dict[str, "Registry[Any]"] = {}
"""Those that were made in this process, by the group of their entry points."""


class Registry(Mapping[str, E], Generic[E]):
    """Entries of one kind by name, in the order of their places.

    Args:
        kind: what an entry is, in the singular, for messages.
        group: the entry points of other packages.
        entries: those that are known here.
        package: its modules are imported first; each may call :meth:`add`.

    Attributes:
        packages: which installed package an entry of another one comes from.
        faults: which entry points could not be read, and why, in sentences without a full stop.
    """

    def __init__(self, kind: str, group: str, entries: Iterable[E] = (), package: str = "") -> None:
        self.kind, self.group, self.package = kind, group, package
        self.packages: dict[str, str] = {}
        self.faults: list[str] = []
        self._entries: dict[str, E] = {}
        self._complete = False
        REGISTRIES[group] = self
        for entry in entries:
            self.add(entry)

    def add(self, entry: E) -> E:
        """Make an entry known in this process; the entry itself is returned.

        Raises:
            ValueError: its name is taken by another entry, or is no name.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", entry.name):
            raise ValueError(f"{entry.name!r} is no name of a {self.kind}: lower-case letters, digits, '-', '_', '.'")
        if self._entries.get(entry.name, entry) != entry:
            raise ValueError(f"there is a {self.kind} {entry.name!r} already; give this one another name")
        self._entries[entry.name] = entry
        return entry

    def check(self, name: str) -> str:
        """``name``, if it is one.

        Raises:
            InputError: it is not; the sentence has the nearest.
        """
        if name in self:
            return name
        hint = f"did you mean {close}? " if (close := nearest(name, self)) else ""
        raise InputError(
            "; ".join([f"there is no {self.kind} {quoted(name)}", f"{hint}known are {', '.join(self)}", *self.faults])
        )

    def title(self, name: str) -> str:
        """The title of ``name``, or the name itself: rows may tell of an entry whose package is not installed."""
        return self[name].title if name in self else name

    def in_order(self, names: Iterable[str]) -> list[str]:
        """These names, each once, in the order of the registry; those that it does not know come last."""
        return sorted(set(names), key=lambda name: (self.place(name), name))

    def place(self, name: str) -> int:
        """The place of ``name`` in the registry, counted from 0; beyond its end if it is not there."""
        return list(self).index(name) if name in self else len(self)

    def __getitem__(self, name: str) -> E:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        known = self._known()
        return iter(sorted(known, key=lambda name: (known[name].place, name)))

    def __len__(self) -> int:
        return len(self._known())

    def _known(self) -> dict[str, E]:
        if not self._complete:
            self._complete = True
            if self.package:
                for module in pkgutil.iter_modules(import_module(self.package).__path__):
                    import_module(f"{self.package}.{module.name}")
            for point in entry_points(group=self.group):
                try:
                    entry = self.add(point.load())
                except Exception as error:  # of another package, which must not stop those who do not ask for it
                    self.faults.append(
                        f"the entry point {point.name} = {point.value} cannot be read: {one_line(error)}"
                    )
                    continue
                if point.dist is not None:
                    self.packages[entry.name] = point.dist.name
        return self._entries


@dataclass(frozen=True)
class Vocabulary:
    """The entries of this process, for another one, which learns them when this arrives there.

    Entries by entry points another process finds by itself; those of :meth:`Registry.add` it would not know. Code does
    not travel: an entry names its function by its import path.
    """

    entries: Mapping[str, tuple[Entry, ...]]

    @classmethod
    def here(cls) -> "Vocabulary":
        """What this process knows."""
        return cls({group: tuple(registry.values()) for group, registry in REGISTRIES.items()})

    def learn(self) -> None:
        """Make the entries known in this process, which has the registry of every entry that was read."""
        for group, entries in self.entries.items():
            for entry in entries:
                REGISTRIES[group].add(entry)
