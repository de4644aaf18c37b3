"""The distance between corresponding landmarks."""

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
        needs=("landmarks", "spacing"),
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
    """The mean distance between the moving landmarks and the fixed landmarks, mapped by the field."""
    return float(pair.landmark_distances.mean())
