"""Registries of everything that a study can name. An entry describes a thing; its code is loaded on first use.

Settings, tables, figures, reports and error messages read these entries and list nothing themselves. Another package
adds an entry with an entry point in its ``pyproject.toml``. It names an instance of the entry class::

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

from .errors import InputError, did_you_mean, one_line, quoted


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The registry entry of one thing that a study can name.

    Attributes:
        name: the name in study files and rows: lower-case letters, digits, ``-``, ``_`` and ``.``.
        title: the name in figures, tables and sentences.
        meaning: a definition in one sentence without a full stop.
        target: the import path of the function or class, ``"package.module:name"``.
        arguments: arguments that the target is always called with.
        symbol: a formula, or empty.
        source: the paper and its equation, or empty.
        place: number that entries are sorted by, then by name.
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
        """Import and return the function or class.

        Raises:
            InputError: the module cannot be imported, or does not have it.
        """
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"cannot load {quoted(self.target)}, the target of {quoted(self.name)}: {one_line(error)}; correct the "
                "entry, or install what it needs."
            ) from error

    @property
    def definition(self) -> str:
        """The meaning and the source, for texts."""
        return f"{self.meaning}; {self.source}" if self.source else self.meaning


E = TypeVar("E", bound=Entry)
REGISTRIES: dict[str, "Registry[Any]"] = {}
"""All registries of this process, by the group of their entry points."""


class Registry(Mapping[str, E], Generic[E]):
    """All entries of one kind by name, sorted by their ``place``.

    Args:
        kind: the kind of entry in the singular, for messages.
        group: the group of the entry points of other packages.
        entries: entries to start with.
        package: a package whose modules are imported before the first look-up; each can call :meth:`add`.

    Attributes:
        packages: for each entry of another package, the name of that package.
        faults: entry points that could not be read, and why, in sentences without a full stop.
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
        """Add an entry in this process and return it.

        Raises:
            ValueError: another entry has this name, or the name is invalid.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", entry.name):
            raise ValueError(f"{entry.name!r} is not a valid {self.kind} name: use a-z, digits, '-', '_' and '.'")
        if self._entries.get(entry.name, entry) != entry:
            raise ValueError(f"there is already a {self.kind} {entry.name!r}; give this one another name")
        self._entries[entry.name] = entry
        return entry

    def check(self, name: str) -> str:
        """Return ``name`` if the registry has it.

        Raises:
            InputError: it does not; the message gives the most similar name.
        """
        if name in self:
            return name
        known = f"{did_you_mean(name, self)}known are {', '.join(self)}"
        raise InputError("; ".join([f"there is no {self.kind} {quoted(name)}", known, *self.faults]))

    def title(self, name: str) -> str:
        """Return the title of ``name``, or the name itself: rows may hold an entry whose package is not installed."""
        return self[name].title if name in self else name

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Sort names in the registry's order, without duplicates; unknown names come last."""
        return sorted(set(names), key=lambda name: (self.place(name), name))

    def place(self, name: str) -> int:
        """Return the position of ``name`` in the registry, counted from 0; an unknown name comes after the last one."""
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
                except Exception as error:  # a fault in another package must not stop users who do not need it
                    self.faults.append(
                        f"the entry point {point.name} = {point.value} cannot be read: {one_line(error)}"
                    )
                    continue
                if point.dist is not None:
                    self.packages[entry.name] = point.dist.name
        return self._entries


def packages_of(named: Iterable[tuple[Registry[Any], str]]) -> list[str]:
    """The other packages that entries come from, each once.

    Args:
        named: each entry's registry and name.
    """
    return list(dict.fromkeys(registry.packages[name] for registry, name in named if name in registry.packages))


@dataclass(frozen=True)
class Vocabulary:
    """The entries of this process, to be sent to another process.

    Another process finds the entries of entry points by itself, but not those of :meth:`Registry.add`. Only entries are
    sent, no code: an entry names its function by its import path.
    """

    entries: Mapping[str, tuple[Entry, ...]]

    @classmethod
    def here(cls) -> "Vocabulary":
        """Collect the entries of this process."""
        return cls({group: tuple(registry.values()) for group, registry in REGISTRIES.items()})

    def learn(self) -> None:
        """Add the entries to the registries of this process."""
        for group, entries in self.entries.items():
            for entry in entries:
                REGISTRIES[group].add(entry)
