"""The ARC: the accuracy of a penalty over its smoothness. Its area, its Pareto front, and the share that it dominates.

The curve of accuracy over smoothness is the alignment-regularity characteristic (ARC; Sideri-Lampretsa, Rueckert and
Qiu 2025, arXiv:2503.07185; see also arXiv:2608.16146). The area below it, AUC-ARC, is defined here as the integral of
the accuracy over SDlogJ, from the largest of the curves' lower ends to the smallest of their upper ends, divided by the
width of that range. Deformations rougher than the reference point of the hypervolume do not count. Fronts and
hypervolumes come from moocore.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import moocore
import numpy as np
import pandas as pd

from ...pipeline.evaluation import METRICS, SDLOGJ
from .curves import Curve, CurveSet, at_smoothness, common_range, reaching
from .sample import INTERVALS, Sample, Statistic, titled

REFERENCE_SDLOGJ = 0.5
"""SDlogJ of the reference point, the same in every study; its error is the one before registration."""
STEPS = 128
"""Steps of the trapezoidal rule over the range. The curves are piecewise linear, so the error is below 1e-4 of it."""


def area(curve: Curve, metric: str, low: float, high: float) -> Statistic:
    """The statistic: the mean of ``metric`` over SDlogJ from ``low`` to ``high``, by the trapezoidal rule.

    The curve is interpolated as in :func:`.at_smoothness`. The ends of the range stay where they are.
    """
    read = at_smoothness(curve, SDLOGJ, metric, np.linspace(low, high, STEPS + 1))
    weights = np.full(STEPS + 1, 1 / STEPS)
    weights[[0, -1]] /= 2

    def statistic(means: dict[str, np.ndarray]) -> np.ndarray:
        return (read(means) * weights).sum(-1, keepdims=True)

    return statistic


def arc_areas(curve_sets: Sequence[tuple[CurveSet, Sequence[str]]]) -> pd.DataFrame:
    """A line per setting, metric and penalty: AUC-ARC and its difference to the best penalty, with intervals.

    Args:
        curve_sets: the curves of each setting, and the measures of accuracy that they have.
    """
    lines: list[dict[str, Any]] = []
    for group, metrics in curve_sets:
        there = SDLOGJ in group.sample.values
        reach = common_range(group.sample, group.curves, SDLOGJ) if there else None
        low, high = (reach[0], min(reach[1], REFERENCE_SDLOGJ)) if reach is not None else (0.0, 0.0)
        if low < high:
            for metric in metrics:
                lines += _lines(group, metric, low, high)
    return titled(
        pd.DataFrame(lines),
        "AUC-ARC: area under the accuracy-smoothness curve",
        f"Mean accuracy over the SDlogJ that all these penalties reach (from, to), up to {REFERENCE_SDLOGJ}; "
        f"{INTERVALS}. Difference: to the best penalty, paired.",
    )


def _lines(group: CurveSet, metric: str, low: float, high: float) -> Iterator[dict[str, Any]]:
    there = reaching(group.sample, group.curves, SDLOGJ, low, high)
    statistics = {curve.penalty: area(curve, metric, low, high) for curve in there}
    places = {curve.penalty: curve.places for curve in there}
    means = group.sample.means()
    sign = 1 if METRICS[metric].smaller_is_better else -1
    first = min(statistics, key=lambda penalty: sign * float(statistics[penalty](means)[0]))
    best = statistics[first]
    for penalty, statistic in statistics.items():
        found = group.sample.interval(statistic, places[penalty]).within(METRICS[metric].range)
        both = np.concatenate([places[first], places[penalty]])
        apart = group.sample.interval(lambda m, own=statistic: own(m) - best(m), both)
        of_best = penalty == first
        lows = [float("nan")] * 3 if of_best else [float(part[0]) for part in apart[:3]]
        yield (
            {**group.about, "penalty": penalty, "from": low, "to": high, "metric": metric}
            | {"auc_arc": found.estimate[0], "low": found.low[0], "high": found.high[0]}
            | {"difference": lows[0], "difference_low": lows[1], "difference_high": lows[2], "n_seeds": found.seeds}
        )


def error(metric: str, values: np.ndarray) -> np.ndarray:
    """A metric as an error to minimize, 0 at its best value if it has one: Dice and NCC become 1 - value."""
    entry = METRICS[metric]
    away = np.asarray(values) - (entry.best or 0.0)
    return away if entry.smaller_is_better else -away


def error_name(metric: str) -> str:
    """The name of `error`: ``1 - Dice``."""
    entry = METRICS[metric]
    if entry.smaller_is_better:
        return entry.title
    return f"-{entry.title}" if entry.best is None else f"{entry.best:g} - {entry.title}"


def on_front(errors: np.ndarray, roughness: np.ndarray) -> np.ndarray:
    """Which points are not dominated: no other point is better in both. Equal points all stay."""
    return moocore.is_nondominated(np.stack([errors, roughness], axis=-1), keep_weakly=True)


def dominated_share(curve: Curve, metric: str, before: float) -> Statistic:
    """The statistic: which share of the box between (0, 0) and the reference point a curve's points dominate.

    Hypervolume (Zitzler and Thiele 1999, IEEE Transactions on Evolutionary Computation 3:257) divided by the area of
    the box: 0 for a curve no better than no registration, 1 for perfect accuracy without any change of volume.
    ``before``: the metric before registration.
    """
    worst = np.array([float(error(metric, np.array(before))), REFERENCE_SDLOGJ])

    def statistic(means: dict[str, np.ndarray]) -> np.ndarray:
        errors = error(metric, means[metric][..., curve.places])
        points = np.stack([errors, means[SDLOGJ][..., curve.places]], axis=-1) / worst
        flat = points.reshape(-1, *points.shape[-2:])
        volumes = [moocore.hypervolume(own, ref=[1.0, 1.0]) for own in flat]
        return np.array(volumes).reshape(*points.shape[:-2], 1)

    return statistic


def front_of(sample: Sample, group: list[Curve], metric: str) -> dict[int, bool]:
    """For each configuration of a group (by its line): whether it is on the common front of all penalties."""
    places = np.concatenate([curve.places for curve in group])
    means = sample.means()
    flags = on_front(error(metric, means[metric][places]), means[SDLOGJ][places])
    return dict(zip(places.tolist(), flags.tolist(), strict=True))
