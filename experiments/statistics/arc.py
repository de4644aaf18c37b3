"""The area under the ARC: the mean accuracy of a penalty over the range of smoothness that all penalties reach.

The curve of accuracy over smoothness is the alignment-regularity characteristic (ARC; Sideri-Lampretsa, Rueckert and
Qiu 2025, arXiv:2503.07185; see also arXiv:2608.16146). The area below it, AUC-ARC, is defined here as the integral of
the accuracy over SDlogJ, from the largest of the curves' lower ends to the smallest of their upper ends, divided by the
width of that range. Deformations rougher than the reference point of the hypervolume do not count.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...pipeline.evaluation import METRICS, SDLOGJ
from .curves import Curve, CurveSet, at_smoothness, common_range
from .fronts import REFERENCE_SDLOGJ
from .sample import INTERVALS, Statistic, titled

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
        f"Mean accuracy over the SDlogJ that all penalties reach (from, to), up to {REFERENCE_SDLOGJ}; {INTERVALS}. "
        "Difference: to the best penalty, paired.",
    )


def _lines(group: CurveSet, metric: str, low: float, high: float) -> Iterator[dict[str, Any]]:
    statistics = {curve.penalty: area(curve, metric, low, high) for curve in group.curves}
    means = group.sample.means()
    sign = 1 if METRICS[metric].smaller_is_better else -1
    best = statistics[min(statistics, key=lambda penalty: sign * float(statistics[penalty](means)[0]))]
    for penalty, statistic in statistics.items():
        found = group.sample.interval(statistic)
        apart = group.sample.interval(lambda m, own=statistic: own(m) - best(m))
        of_best = statistic is best
        lows = [float("nan")] * 3 if of_best else [float(part[0]) for part in apart[:3]]
        yield (
            {**group.about, "penalty": penalty, "from": low, "to": high, "metric": metric}
            | {"auc_arc": found.estimate[0], "low": found.low[0], "high": found.high[0]}
            | {"difference": lows[0], "difference_low": lows[1], "difference_high": lows[2], "n_seeds": found.seeds}
        )
