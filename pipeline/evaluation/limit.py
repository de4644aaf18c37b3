"""The limit on the roughness of a deformation."""

import math
from dataclasses import dataclass

from ...transforms.basics.errors import InputError
from .vocabulary import METRICS

DIGITS = 1e-3
"""A value that exceeds a limit by no more than this share of it is shown like the limit."""


@dataclass(frozen=True)
class Limit:
    """The largest allowed value of a smoothness metric, such as folding (%) or SDlogJ; of many pairs, of their mean.

    Raises:
        InputError: ``metric`` is no smoothness metric, or ``value`` is below 0 or not finite.
    """

    metric: str
    value: float

    def __post_init__(self) -> None:
        known = METRICS.of_role("smoothness")
        if self.metric not in known:
            raise InputError(f"unknown metric for a limit: {self.metric}; expected {' or '.join(known)}.")
        if not (math.isfinite(self.value) and self.value >= 0):
            raise InputError(
                f"the limit on {METRICS[self.metric].short_column} must be a number of at least 0, found {self.value}."
            )

    def exceeded_by(self, value: float) -> str:
        """What to say if ``value`` exceeds the limit; else an empty text."""
        if value <= self.value * (1 + DIGITS):
            return ""
        return f"{METRICS[self.metric].short_column} is {value:.3g}, above the limit of {self.value:g}"
