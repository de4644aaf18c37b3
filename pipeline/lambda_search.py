"""The lowest λ of a conditional network whose field stays within a limit on its roughness, for one pair of images."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from ..transforms.basics.errors import InputError
from .evaluation.limit import Limit
from .evaluation.vocabulary import METRICS
from .models.trained_model import Trained

HALVINGS = 8  # a range of four decades is divided into steps of 4 %
NOISE = 0.01
"""Share by which roughness may rise with λ and still count as falling."""


class Lowest(NamedTuple):
    """The lowest ``weight`` found within a limit, its ``value``, and whether all values that were seen fall with λ."""

    weight: float
    value: float
    monotone: bool


def lowest_weight(measure: Callable[[float], float], low: float, high: float, limit: float) -> Lowest | None:
    """Find the lowest λ from ``low`` to ``high`` whose value is at most ``limit``, by bisection in log λ.

    Args:
        measure: λ -> roughness, which falls with λ.
        low, high: the range of λ.
        limit: the largest allowed value.

    Returns:
        The λ; None if even that of ``high`` is above the limit.
    """
    seen = {high: measure(high)}
    if seen[high] > limit:
        return None
    seen[low] = measure(low)
    if seen[low] > limit:
        above, within = low, high
        for _ in range(HALVINGS):
            middle = math.sqrt(above * within)
            seen[middle] = measure(middle)
            above, within = (above, middle) if seen[middle] <= limit else (middle, within)
    else:
        within = low
    values = [seen[weight] for weight in sorted(seen)]
    monotone = all(later <= value * (1 + NOISE) for value, later in pairwise(values))
    return Lowest(within, seen[within], monotone)


def within_limit(
    model: Trained, limit: Limit, roughness: Callable[[Trained], float], progress: Callable[[str, int, int], None]
) -> tuple[Trained, str]:
    """Return the model at the lowest λ of its penalty that keeps the limit for a pair, and what to tell about it.

    Args:
        model: with a conditional network.
        limit: the limit.
        roughness: measures the metric of the limit for the field of a model.
        progress: called with (activity, done, total).

    Raises:
        InputError: the network is an ordinary one, or no λ keeps the limit.
    """
    if model.conditional is None or model.settings is None:
        raise InputError(
            f"{model.source} is a network for one λ; a limit on roughness needs one that was trained for many."
        )
    penalty, metric = model.settings.objective.penalty, METRICS[limit.metric]
    done = 0

    def measure(weight: float) -> float:
        nonlocal done
        progress("looking for λ", done, HALVINGS + 2)
        done += 1
        return roughness(model.at(penalty, weight))

    low, high = model.conditional.ranges.bounds(penalty)
    found = lowest_weight(measure, low, high, limit.value)
    if found is None:
        raise InputError(
            f"no λ of {model.source} keeps {metric.short_column} at most {limit.value:g} for this pair: the highest, "
            f"{high:g}, gives {roughness(model.at(penalty, high)):.3g}. Choose a higher limit."
        )
    told = (
        f"λ is {found.weight:.3g} ({penalty}), the lowest whose {metric.short_column} is at most {limit.value:g} here"
    )
    told += f" ({found.value:.3g})" if found.weight > low else f" ({found.value:.3g}); it is the lowest of the network"
    if not found.monotone:
        told += f"; {metric.short_column} does not fall with λ everywhere for this pair, so a lower λ may keep it, too"
    return model.at(penalty, found.weight), f"{told}."
