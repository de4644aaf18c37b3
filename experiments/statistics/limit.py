"""How smooth a deformation is asked to be."""

import math
from dataclasses import dataclass

from ...pipeline.evaluation import METRICS
from ...transforms.basics.errors import InputError


@dataclass(frozen=True)
class Limit:
    """The most that a mean over pairs may be of a measure of smoothness, as folding (%) or SDlogJ."""

    metric: str
    value: float

    def __post_init__(self) -> None:
        known = METRICS.of_role("smoothness")
        if self.metric not in known:
            raise InputError(f"a limit can be on {' or '.join(known)}, found {self.metric}.")
        if not (math.isfinite(self.value) and self.value >= 0):
            raise InputError(
                f"a limit of {METRICS[self.metric].short_column} must be a number of at least 0, found {self.value}."
            )
