"""The limit on the roughness of a deformation."""

import math
from dataclasses import dataclass

from ...transforms.basics.errors import InputError, quoted
from .metrics.regularity import FOLDING, SDLOGJ
from .vocabulary import METRICS


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


ONE_LIMIT = "give one limit: either --max-folding (such as 0.1%) or --max-sdlogj (such as 0.25)."


def read_limit(max_folding: str | None, max_sdlogj: float | None) -> Limit | None:
    """The limit that a person gave, as text in percent or as a number; None if none was given.

    Raises:
        InputError: both were given, or a value is bad.
    """
    if max_folding is not None and max_sdlogj is not None:
        raise InputError(ONE_LIMIT)
    if max_sdlogj is not None:
        return Limit(SDLOGJ, max_sdlogj)
    if max_folding is None:
        return None
    try:
        percent = float(max_folding.removesuffix("%"))
    except ValueError:
        raise InputError(f"--max-folding {quoted(max_folding)[1:-1]}: expected a percentage, such as 0.1%.") from None
    if percent > 100:
        raise InputError(f"--max-folding {max_folding}: expected a percentage of the voxels, at most 100%.")
    return Limit(FOLDING, percent)
