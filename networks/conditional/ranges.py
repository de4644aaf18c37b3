"""The penalties of a conditional network, the range of λ of each, and the conditions in them. It loads no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from ...transforms.basics.errors import InputError, quoted
from ..objective.vocabulary import PENALTIES

Kind = Literal["modulation", "weights"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""How the weights of a network depend on the condition."""
MOST_WIDTH = 1024
"""Hidden units between the condition and the weights, at most."""


class Condition(NamedTuple):
    """A regularization: a ``mixture`` of the penalties (weights that sum to 1), and a ``level`` of all their λ.

    At level 0 every λ is the lowest of its range, at level 1 the highest, between them it is interpolated in log λ.
    """

    mixture: tuple[float, ...]
    level: float


@dataclass(frozen=True)
class LambdaRanges:
    """The range of λ of each penalty, (low, high) with 0 < low < high.

    A condition with the mixture w and the level t means the regularization

        Σ w_p · λ_p(t) · R_p(field),    λ_p(t) = low_p^(1 - t) · high_p^t.

    With ranges of about the same smoothness, the fields of all penalties and mixtures at one level are about equally
    smooth.

    Raises:
        InputError: there is no penalty, a name is unknown or a sum, or a range is bad.
    """

    ranges: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        if not self.ranges:
            raise InputError("a condition needs at least one penalty")
        for name, bounds in self.ranges.items():
            if PENALTIES.is_sum(name):
                raise InputError(f"{quoted(name)} is a sum; a condition names single penalties, which it mixes itself")
            PENALTIES.check(name)
            check_range(name, bounds)

    @property
    def names(self) -> list[str]:
        """The penalties, in the order of mixtures."""
        return [*self.ranges]

    def weight_at(self, penalty: str, level: float) -> float:
        """λ of a penalty, or of a weighted sum of penalties, at a level: the inverse of :meth:`locate`.

        Raises:
            InputError: another penalty is named.
        """
        return 1 / sum(share / self._weight_of(name, level) for name, share in self._terms(penalty))

    def _weight_of(self, name: str, level: float) -> float:
        low, high = self.ranges[name]
        return low ** (1 - level) * high**level

    def coefficients(self, condition: Condition) -> list[float]:
        """The factor w_p · λ_p(t) of each penalty."""
        return [
            share and share * self._weight_of(name, condition.level)
            for name, share in zip(self.ranges, condition.mixture, strict=True)
        ]

    def locate(self, penalty: str, weight: float) -> Condition:
        """Find the condition that means ``weight`` · ``penalty``.

        Args:
            penalty: a penalty of these ranges, or a weighted sum of them.
            weight: λ.

        Raises:
            InputError: another penalty is named, or no level of the ranges has this λ.
        """
        factors = dict.fromkeys(self.ranges, 0.0)
        for name, share in self._terms(penalty):
            factors[name] = share * weight
        if not (math.isfinite(weight) and weight > 0):
            ranges = ", ".join(f"{name} from {low:g} to {high:g}" for name, (low, high) in self.ranges.items())
            raise InputError(f"λ = {quoted(weight)}: expected a number above 0; the network takes {ranges}")

        def shares(level: float) -> list[float]:
            return [factor / self._weight_of(name, level) for name, factor in factors.items()]

        for level, side in ((0.0, "lowest"), (1.0, "highest")):
            excess = sum(shares(level))  # the nearest λ within the ranges is weight / excess
            if (excess < 1 - EQUAL) if level == 0 else (excess > 1 + EQUAL):
                raise InputError(
                    f"λ = {weight:g} of {penalty} is out of the trained range; the {side} is {weight / excess:.4g}"
                )
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):  # the shares sum to less, the higher the level
            middle = (low + high) / 2
            low, high = (middle, high) if sum(shares(middle)) > 1 else (low, middle)
        level = (low + high) / 2
        total = sum(found := shares(level))
        return Condition(tuple(share / total for share in found), level)

    def bounds(self, penalty: str) -> tuple[float, float]:
        """The lowest and the highest λ of a penalty or of a weighted sum of penalties; errors as in :meth:`locate`."""
        return self.weight_at(penalty, 0.0), self.weight_at(penalty, 1.0)

    def _terms(self, penalty: str) -> list[tuple[str, float]]:
        terms = [(term.name, term.weight) for term in PENALTIES.terms(penalty)]
        for name, _ in terms:
            if name not in self.ranges:
                raise InputError(
                    f"the network knows the penalties {', '.join(self.ranges)}, but not {name}; choose one of them"
                )
        return terms


EQUAL, HALVINGS = 1e-6, 60


def check_range(name: str, bounds: Any) -> None:
    """Raise InputError unless the range of λ of a penalty is two numbers, 0 < low < high."""
    listed = isinstance(bounds, Sequence) and not isinstance(bounds, str) and len(bounds) == 2
    if not listed or not all(isinstance(end, int | float) and math.isfinite(end) for end in bounds):
        raise InputError(f"the range of λ of {name} is {quoted(bounds)}; expected two numbers, [low, high]")
    low, high = map(float, bounds)
    if not 0 < low < high:
        raise InputError(f"the range of λ of {name} is {low:g} to {high:g}; expected 0 < low < high")
