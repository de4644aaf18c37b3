"""How smooth a deformation is asked to be."""

import math
from dataclasses import dataclass

from ...transforms.basics.errors import InputError

SMOOTHNESS = {"displacement_sdlogj": "SDlogJ", "displacement_nonpositive_percent": "folding (%)"}
"""What penalties are matched in, smaller is smoother."""


@dataclass(frozen=True)
class Limit:
    """The most that a mean over pairs may be: of folding (percent of the displacement's voxels) or of its SDlogJ."""

    metric: str
    value: float

    def __post_init__(self) -> None:
        if self.metric not in SMOOTHNESS:
            raise InputError(f"a limit can be on {' or '.join(SMOOTHNESS)}, found {self.metric}.")
        if not (math.isfinite(self.value) and self.value >= 0):
            raise InputError(
                f"a limit of {SMOOTHNESS[self.metric]} must be a number of at least 0, found {self.value}."
            )
