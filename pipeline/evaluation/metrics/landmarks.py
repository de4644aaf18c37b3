"""How far corresponding landmarks stay apart."""

import math
from typing import TYPE_CHECKING

from ..vocabulary import METRICS, MetricEntry

if TYPE_CHECKING:
    from ..measured_pair import MeasuredPair

METRICS.add(
    MetricEntry(
        name="tre",
        title="TRE",
        meaning="target registration error: mean distance of corresponding landmarks",
        target=f"{__name__}:target_registration_error",
        place=12,
        needs=("landmarks",),
        better="lower",
        best=0.0,
        unit="mm",
        range=(0.0, math.inf),
        form=".2f",
        role="accuracy",
        priority=1,
    )
)


def target_registration_error(pair: "MeasuredPair") -> float:
    """From the landmarks of the moving image to where the field takes those of the fixed one."""
    return float(pair.landmark_distances.mean())
