"""Weighted sums of registry entries. A text names a sum everywhere: ``mse+gradient-mse``, ``l2+100*folding``."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from ...transforms.basics.errors import InputError, quoted
from ...transforms.basics.registry import Entry, Registry

E = TypeVar("E", bound=Entry)


class Term(NamedTuple):
    """One member of a sum: the name of an entry, and its weight."""

    name: str
    weight: float = 1.0


class SumRegistry(Registry[E]):
    """A registry in which weighted sums of its entries are entries, too.

    A sum is written ``name+name`` or ``weight*name+weight*name``, without spaces; a weight of 1 is left out. Weights
    are finite and above 0, and no name occurs twice. Iteration lists only the single entries.

    Args:
        total: makes the entry of a sum from its text and its members (entry, weight).
        options: arguments of :class:`~smoothmorph.transforms.basics.registry.Registry`.
    """

    def __init__(self, *args: Any, total: Callable[[str, Sequence[tuple[E, float]]], E], **options: Any) -> None:
        super().__init__(*args, **options)
        self.total = total

    def terms(self, text: str) -> tuple[Term, ...]:
        """Return the members of a sum in its order; a single entry gives one member of weight 1.

        Raises:
            InputError: a member is unknown or occurs twice, or a weight is not finite and above 0.
        """
        if text in self._known() or not _is_sum(text):
            return (Term(super().check(text)),)
        parts = [part.rpartition("*") for part in re.sub(r"(?<=\d)[eE]\+(?=\d)", "e", text).split("+")]
        return self._checked([(name, weight if sign else 1.0) for weight, sign, name in parts], f" in {quoted(text)}")

    def check(self, name: str) -> str:
        """Return the standard spelling of ``name`` if it is an entry or a sum of entries.

        Raises:
            InputError: as :meth:`terms`.
        """
        terms = self.terms(name)
        return name if name in self._known() else _written(terms)

    def read(self, value: Any) -> Any:
        """Return the text of a sum that is given as a list, ``[{name: l2, weight: 0.01}, ...]``.

        Any other value is returned unchanged, for :meth:`check`.

        Raises:
            InputError: the list is empty or holds other values or keys; or as :meth:`terms`.
        """
        if not isinstance(value, list | tuple):
            return value
        for member in value:
            if not isinstance(member, Mapping) or "name" not in member or set(member) - {"name", "weight"}:
                raise InputError(
                    f"{quoted(member)} is not a {self.kind} with a weight; expected {{name: ..., weight: ...}}"
                )
        if not value:
            raise InputError(f"a sum needs at least one {self.kind}, found an empty list")
        return _written(self._checked([(member["name"], member.get("weight", 1.0)) for member in value]))

    def is_sum(self, value: Any) -> bool:
        """Whether a value of a setting, a text or a list, is a sum and not a single entry."""
        return isinstance(value, list | tuple) or (
            isinstance(value, str) and value not in self._known() and _is_sum(value)
        )

    def place(self, name: str) -> int:
        """Return the position of a single entry, or that of a sum after them, which is the same in every process."""
        if name in self._known() or name not in self:
            return super().place(name)
        return len(self) + 1 + crc32(name.encode()) % 10_000

    def __getitem__(self, name: str) -> E:
        known = self._known()
        if name in known or not (isinstance(name, str) and _is_sum(name)):
            return known[name]
        try:
            return self.total(name, [(known[term.name], term.weight) for term in self.terms(name)])
        except InputError as error:
            raise KeyError(name) from error

    def _checked(self, members: Sequence[tuple[Any, Any]], where: str = "") -> tuple[Term, ...]:
        """Check names and weights and return them as terms; ``where`` is a part of the message."""
        found: dict[str, Term] = {}
        for name, weight in members:
            if not str(name).strip():
                raise InputError(f"a name is missing{where}; a sum is written name+name or weight*name+weight*name")
            if str(weight).strip() in self._known() and math.isfinite(_number(name)):
                raise InputError(f"the weight stands behind its name{where}; write {name}*{weight}")
            name, number = super().check(str(name).strip()), _number(weight)
            if not (math.isfinite(number) and number > 0):
                raise InputError(f"the weight of {name}{where} is {quoted(weight)}; expected a finite number above 0")
            if name in found:
                raise InputError(f"{name} occurs twice{where}; add its weights up")
            found[name] = Term(name, number)
        return tuple(found.values())


def weighted(words: str, weight: float) -> str:
    """Put the weight in front of ``words``, unless it is 1: ``0.01 · L2``."""
    return words if weight == 1 else f"{_shortest(weight)} · {words}"


def _is_sum(text: str) -> bool:
    return "+" in text or "*" in text


def _written(terms: Sequence[Term]) -> str:
    """Write a sum. A sum of one member keeps its weight of 1, to differ from the single entry."""
    alone = len(terms) == 1
    return "+".join(name if weight == 1 and not alone else f"{_shortest(weight)}*{name}" for name, weight in terms)


def _shortest(weight: float) -> str:
    """Write a number without ``+`` so that it reads back as the same number."""
    short = f"{weight:g}"
    return (short if float(short) == weight else repr(weight)).replace("e+", "e")


def _number(weight: Any) -> float:
    """Convert to a number; NaN if it is not one."""
    if isinstance(weight, bool):
        return math.nan
    try:
        return float(weight)
    except (TypeError, ValueError):
        return math.nan
