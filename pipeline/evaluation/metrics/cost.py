"""What training minimizes, and what registration takes."""

import math
from typing import TYPE_CHECKING

from ..vocabulary import METRICS, MetricEntry

if TYPE_CHECKING:
    from ..measured_pair import MeasuredPair

METRICS.add(
    MetricEntry(
        name="loss",
        title="loss",
        meaning="what training or optimization minimizes, on the test pairs: similarity + λ · penalty",
        target=f"{__name__}:loss",
        place=150,
        needs=("displacement",),
        main=False,
        interval=False,
    )
)
SECONDS = METRICS.add(
    MetricEntry(
        name="seconds",
        title="time",
        meaning="time to register a test pair whose images are in memory: a trained network's pass, or a baseline's "
        "iterations",
        target=f"{__name__}:seconds",
        place=400,
        needs=("seconds",),
        unit="s",
        range=(0.0, math.inf),
        form=".2g",
        interval=False,
        required=True,
        heading="seconds per pair",
        narrow="s per\npair",
    )
).name
METRICS.add(
    MetricEntry(
        name="optimization_steps",
        title="steps",
        meaning="steps of optimization on a test pair, on all levels",
        target=f"{__name__}:steps",
        place=401,
        needs=("steps",),
        range=(0.0, math.inf),
        form=".0f",
        main=False,
        interval=False,
    )
)


def loss(pair: "MeasuredPair") -> float:
    """NaN for a method without an objective."""
    return math.nan if pair.objective is None else float(pair.objective(pair.registration, pair.fixed).loss)


def seconds(pair: "MeasuredPair") -> float:
    assert pair.seconds is not None  # needed
    return pair.seconds


def steps(pair: "MeasuredPair") -> float:
    assert pair.steps is not None  # needed
    return pair.steps
