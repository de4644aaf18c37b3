"""The limit on the roughness of a deformation."""

import math
from dataclasses import dataclass

from ...pipeline.evaluation import METRICS
from ...transforms.basics.errors import InputError


@dataclass(frozen=True)
class Limit:
    """The largest allowed mean over pairs of a smoothness metric, such as folding (%) or SDlogJ."""

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
