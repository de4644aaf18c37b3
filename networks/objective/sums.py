"""Weighted sums of registry entries. One text names a sum everywhere: ``mse+gradient-mse``, ``l2+100*folding``."""

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
    """A registry in which a weighted sum of its entries is an entry, too.

    A sum is written ``name+name`` or ``weight*name+weight*name``, without spaces; a weight of 1 is left out. The
    weights are finite and above 0, and no name is in it twice. Iteration lists the single entries only.

    Args:
        total: makes the entry of a sum from its text and its members, each an entry and its weight.
        options: of :class:`~smoothmorph.transforms.basics.registry.Registry`.
    """

    def __init__(self, *args: Any, total: Callable[[str, Sequence[tuple[E, float]]], E], **options: Any) -> None:
        super().__init__(*args, **options)
        self.total = total

    def terms(self, text: str) -> tuple[Term, ...]:
        """The members of ``text``, in its order; a single entry is the one member of weight 1.

        Raises:
            InputError: a member that is not known, or is there twice, or a weight that is not finite and above 0.
        """
        if text in self._known() or not _is_sum(text):
            return (Term(super().check(text)),)
        parts = [part.rpartition("*") for part in re.sub(r"(?<=\d)[eE]\+(?=\d)", "e", text).split("+")]
        return self._checked([(name, weight if sign else 1.0) for weight, sign, name in parts], f" in {quoted(text)}")

    def check(self, name: str) -> str:
        """``name`` as it is written everywhere, if it is an entry or a sum of entries.

        Raises:
            InputError: as :meth:`terms`.
        """
        terms = self.terms(name)
        return name if name in self._known() else _written(terms)

    def read(self, value: Any) -> Any:
        """A sum that is given as a list of mappings, ``[{name: l2, weight: 0.01}, ...]``, as its text.

        Anything else comes back as it is, for :meth:`check`.

        Raises:
            InputError: no mappings, none, another key than ``name`` and ``weight``, or as :meth:`terms`.
        """
        if not isinstance(value, list | tuple):
            return value
        for member in value:
            if not isinstance(member, Mapping) or "name" not in member or set(member) - {"name", "weight"}:
                raise InputError(
                    f"{quoted(member)} is no {self.kind} with its weight; expected {{name: ..., weight: ...}}"
                )
        if not value:
            raise InputError(f"a sum needs at least one {self.kind}, found an empty list")
        return _written(self._checked([(member["name"], member.get("weight", 1.0)) for member in value]))

    def is_sum(self, value: Any) -> bool:
        """Whether a value of a setting, a text or a list, is a sum and no single entry."""
        return isinstance(value, list | tuple) or (
            isinstance(value, str) and value not in self._known() and _is_sum(value)
        )

    def place(self, name: str) -> int:
        """As for a single entry; a sum has a place of its own beyond them, the same in every process."""
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
        """Names and weights as terms; ``where`` they stand ends the sentence of a fault."""
        found: dict[str, Term] = {}
        for name, weight in members:
            name, number = super().check(str(name).strip()), _number(weight)
            if not (math.isfinite(number) and number > 0):
                raise InputError(f"the weight of {name}{where} is {quoted(weight)}; expected a finite number above 0")
            if name in found:
                raise InputError(f"{name} is there twice{where}; add its weights up")
            found[name] = Term(name, number)
        return tuple(found.values())


def weighted(words: str, weight: float) -> str:
    """``words`` with the factor before them, which is left out if it is 1: ``0.01 · L2``."""
    return words if weight == 1 else f"{_shortest(weight)} · {words}"


def _is_sum(text: str) -> bool:
    return "+" in text or "*" in text


def _written(terms: Sequence[Term]) -> str:
    """A sum of one keeps its weight of 1, which tells it from the single entry."""
    alone = len(terms) == 1
    return "+".join(name if weight == 1 and not alone else f"{_shortest(weight)}*{name}" for name, weight in terms)


def _shortest(weight: float) -> str:
    """A number without a ``+`` in it that is read as the same number."""
    short = f"{weight:g}"
    return (short if float(short) == weight else repr(weight)).replace("e+", "e")


def _number(weight: Any) -> float:
    """NaN for what is no number."""
    if isinstance(weight, bool):
        return math.nan
    try:
        return float(weight)
    except (TypeError, ValueError):
        return math.nan
