"""The loss of training and the time of registration."""

import math
from typing import TYPE_CHECKING

from ..vocabulary import METRICS, MetricEntry

if TYPE_CHECKING:
    from ..measured_pair import MeasuredPair

METRICS.add(
    MetricEntry(
        name="loss",
        title="loss",
        meaning="the objective of the trial, on the test pairs: similarity + λ · multiplier · penalty",
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
        meaning="time to register a test pair whose images are in memory: one pass of a network, or all iterations of "
        "a baseline",
        target=f"{__name__}:seconds",
        place=400,
        needs=("seconds",),
        unit="s",
        range=(0.0, math.inf),
        form=".2g",
        interval=False,
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
    """The objective; NaN for a method without one."""
    if pair.objective is None or (pair.objective.both_directions and pair.inverse_displacement is None):
        return math.nan
    return float(pair.objective(pair.registration, pair.fixed, pair.weight_map).loss)


def seconds(pair: "MeasuredPair") -> float:
    """The duration of the registration; NaN if nobody knows it."""
    assert pair.seconds is not None  # stated in `needs`
    return pair.seconds


def steps(pair: "MeasuredPair") -> float:
    assert pair.steps is not None  # needed
    return pair.steps
