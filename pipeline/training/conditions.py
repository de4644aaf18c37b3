"""The conditions under which a conditional network is trained and validated: the penalties and λ of every step."""

from typing import Any

import numpy as np
from torch import Tensor

from ...networks import Condition, LambdaRanges, Objective
from ..settings.schema import TrialSettings

GOLDEN = (5**0.5 - 1) / 2  # steps of this size fill an interval evenly


class Conditions:
    """Draws conditions: a penalty, or in a fraction of the steps a mixture, and a level of λ.

    Each draw is a function of the seed and the step, so that a resumed training draws the same.

    Args:
        ranges: penalties and their ranges of λ.
        mixtures: fraction of the steps with a mixture; its weights are uniform on the simplex.
        seed: the trial's seed.
    """

    def __init__(self, ranges: LambdaRanges, mixtures: float, seed: int) -> None:
        self.ranges, self.mixtures, self.seed = ranges, mixtures, seed

    @classmethod
    def of(cls, settings: TrialSettings) -> "Conditions | None":
        """The conditions of a trial; None for an ordinary network."""
        condition = settings.objective.condition
        return None if condition.of_each is None else cls(condition.of_each, condition.mixtures, settings.seed)

    def of_step(self, step: int) -> Condition:
        """The condition of a training step: uniform in the level, thus in log λ."""
        random = np.random.default_rng([self.seed, step])
        count, level = len(self.ranges.names), float(random.random())
        if random.random() < self.mixtures:
            return Condition(tuple(map(float, random.dirichlet(np.ones(count)))), level)
        return self._pure(int(random.integers(count)), level)

    def of_pair(self, place: int) -> Condition:
        """The condition of a validation pair: the penalties in turn, with levels that fill the range evenly."""
        return self._pure(place % len(self.ranges.names), (place + 0.5) * GOLDEN % 1)

    def _pure(self, place: int, level: float) -> Condition:
        return Condition(tuple(float(own == place) for own in range(len(self.ranges.names))), level)


def impose(condition: Condition, model: Any, objective: Objective) -> Tensor:
    """Give the objective the λ of a condition, for each of its penalties, and return the code for the network.

    Args:
        condition: what :class:`Conditions` draws.
        model: the conditional network.
        objective: a sum of the penalties of the ranges, in their order.
    """
    objective.shares = model.ranges.coefficients(condition)
    return model.code(condition)
