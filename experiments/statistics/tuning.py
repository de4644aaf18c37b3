"""The best λ of a network that takes every λ: between the tested ones, and for each structure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ...pipeline.evaluation import FOLDING, METRICS, SDLOGJ
from ...pipeline.evaluation.limit import Limit
from ...transforms.basics.errors import InputError
from ..rows.summaries import pick
from .curves import Curve, accuracies, curves, position, weight_at
from .recommendation import Recommendation, recommend
from .sample import Interval, Sample

How = Literal["tested", "parabola", "limit"]


@dataclass(frozen=True)
class Reading:
    """A λ of a curve, and the shares (K,) of the values at its K tested λ that make the value there.

    ``how``: ``tested``; ``parabola``: the top of the parabola through the best tested λ and its neighbours, in log λ;
    ``limit``: where the curve meets the limit, by linear interpolation of the limited metric.
    """

    weight: float
    shares: np.ndarray
    how: How

    def of(self, curve: Curve, metric: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
        """The statistic that reads a metric there: means (..., C) -> (..., 1)."""
        return lambda means: means[metric][..., curve.places] @ self.shares[:, None]


@dataclass(frozen=True)
class Tuned:
    """What pairs say about λ.

    Attributes:
        found: the most accurate tested configuration, within the limit if there is one.
        curve: one line per tested penalty and λ: the accuracy as ``mean``, ``low`` and ``high``, and the means of
            ``metrics``.
        metrics: SDlogJ, folding and the similarity, if it is not the accuracy.
        weight: the recommended λ of the best penalty; an interpolated one has three digits.
        how: how it was found, see :class:`Reading`.
        expected: the accuracy there, with its interval.
        others: the means of ``metrics`` there.
        alike: the lowest and the highest tested λ around the best one that are not clearly less accurate, by the
            interval of the difference on the same pairs; None if there are too few subjects to tell.
        smoothest: of all configurations that are not clearly less accurate, the smoothest: a line of ``found.table``
            with ``behind``, ``behind_low`` and ``behind_high``, how much less accurate it is. None if it is the best.
        edge: whether the best tested λ is the ``lowest`` or the ``highest`` one, with better ones perhaps beyond it.
        structures: a line per structure with its best λ of the same penalty: ``structure``, ``lambda``, ``mean``,
            ``low``, ``high``, and the ``gain`` over the recommended λ with ``gain_low`` and ``gain_high``.
    """

    found: Recommendation
    curve: pd.DataFrame
    metrics: list[str]
    weight: float
    how: How
    expected: Interval
    others: dict[str, float]
    alike: tuple[float, float] | None
    smoothest: pd.Series | None
    edge: Literal["", "lowest", "highest"]
    structures: pd.DataFrame


def tune(rows: pd.DataFrame, limit: Limit | None = None, metric: str | None = None) -> Tuned:
    """Find the best λ from the rows of one network at several λ.

    The penalty is that of the best tested configuration. Between its tested λ, the accuracy is interpolated by a
    parabola in log λ; where the limit forbids that, λ is the one that just meets the limit.

    Args:
        rows: rows of one network at several λ, of one penalty or more.
        limit: the limit on folding or SDlogJ; None: there is none.
        metric: the metric of accuracy; default: the first measured one, or else the similarity.

    Raises:
        InputError: as :func:`.recommend`.
    """
    found = recommend(rows, limit, metric)
    metric, similarity = found.metric, accuracies(rows)[-1]
    metrics = [name for name in (SDLOGJ, FOLDING, similarity) if name in rows and name != metric]
    metrics += [limit.metric] if limit is not None and limit.metric not in metrics else []
    sample = Sample.of(rows, [metric, *metrics])
    curve = next(own for group in curves(sample).values() for own in group if own.penalty == found.best["penalty"])
    allowed = _allowed(curve, found)
    reading = _reading(sample, curve, found, limit, allowed)
    behind = _behind(sample, found)
    return Tuned(
        found=found,
        curve=_table(sample, metric, metrics),
        metrics=metrics,
        weight=reading.weight if reading.how == "tested" else float(f"{reading.weight:.3g}"),
        how=reading.how,
        expected=sample.interval(reading.of(curve, metric)).within(METRICS[metric].range),
        others={name: _within(name, float(reading.of(curve, name)(sample.means())[0])) for name in metrics},
        alike=_alike(behind, found),
        smoothest=_smoothest(behind, found),
        edge=_edge(curve, found) if reading.how == "tested" else "",
        structures=_structures(rows, metric, reading, found, allowed),
    )


def parabola(places: np.ndarray, at: float) -> np.ndarray:
    """The shares (3,) of the values at three places that make the value of their parabola ``at`` another place.

    These are Lagrange's polynomials.
    """
    shares = np.ones(3)
    for own in range(3):
        for other in range(3):
            if other != own:
                shares[own] *= (at - places[other]) / (places[own] - places[other])
    return shares


def top(weights: np.ndarray, values: np.ndarray, allowed: np.ndarray | None = None) -> Reading:
    """The λ with the highest value, interpolated if tested λ are on both sides of the best one.

    Args:
        weights: the tested λ (K,), growing.
        values: what is to be high (K,).
        allowed: which λ may be the best one, (K,); default: all. Between two λ both must be.
    """
    values = np.asarray(values, float)
    allowed = np.ones(len(weights), bool) if allowed is None else allowed
    best = int(np.argmax(np.where(allowed, values, -np.inf)))
    shares = np.eye(len(weights))[best]
    near = slice(best - 1, best + 2)
    if not 0 < best < len(weights) - 1 or weights[best - 1] <= 0 or not allowed[near].all():
        return Reading(float(weights[best]), shares, "tested")
    x = np.log(weights[near])
    curvature, slope, _ = np.polyfit(x - x[1], values[near], 2)
    at = x[1] - slope / (2 * curvature) if curvature < 0 else x[1]
    if at == x[1]:
        return Reading(float(weights[best]), shares, "tested")
    shares[near] = parabola(x, at)
    return Reading(float(np.exp(at)), shares, "parabola")


def _allowed(curve: Curve, found: Recommendation) -> np.ndarray:
    """Which tested λ of the curve are within the limit."""
    own = pick(found.table, found.table["penalty"] == curve.penalty)
    within = dict(zip(own["lambda"], own["within"], strict=True))
    return np.array([bool(within.get(weight, False)) for weight in curve.weights])


def _reading(sample: Sample, curve: Curve, found: Recommendation, limit: Limit | None, allowed: np.ndarray) -> Reading:
    means = sample.means()
    if limit is not None and found.between is not None:
        place, share = position(means[limit.metric][curve.places], limit.metric, np.array([limit.value]))
        shares = np.zeros(len(curve.weights))
        shares[place[0]], shares[place[0] + 1] = 1 - share[0], share[0]
        weight = float(weight_at(curve, sample, limit.metric, np.array([limit.value]))[0])
        return Reading(weight, shares, "limit")
    return top(curve.weights, _sign(found.metric) * means[found.metric][curve.places], allowed)


def _sign(metric: str) -> int:
    return -1 if METRICS[metric].smaller_is_better else 1


def _within(metric: str, value: float) -> float:
    """An interpolated value, within what is possible."""
    return float(np.clip(value, *METRICS[metric].range))


def _table(sample: Sample, metric: str, metrics: list[str]) -> pd.DataFrame:
    lines = []
    for about, own in sample.each():
        accuracy, means = own.interval(lambda means: means[metric]).within(METRICS[metric].range), own.means()
        lines.append(
            {**about, "mean": accuracy.estimate[0], "low": accuracy.low[0], "high": accuracy.high[0]}
            | {name: float(means[name][0]) for name in metrics}
        )
    return pd.DataFrame(lines).sort_values(["penalty", "lambda"], ignore_index=True)


def _behind(sample: Sample, found: Recommendation) -> pd.DataFrame:
    """How much less accurate than the best each configuration within the limit is: lines of ``found.table``."""
    keys, sign = ["penalty", "lambda"], _sign(found.metric)
    order = sample.configurations.reset_index(names="place").set_index(keys)["place"]
    table = pick(found.table, found.table["within"]).reset_index(drop=True)
    places = np.array([order[penalty, weight] for penalty, weight in table[keys].itertuples(index=False)])
    gap = sample.interval(
        lambda means: sign * (means[found.metric][..., places[:1]] - means[found.metric][..., places])
    )
    return table.assign(behind=gap.estimate, behind_low=gap.low, behind_high=gap.high)


def _alike(behind: pd.DataFrame, found: Recommendation) -> tuple[float, float] | None:
    """The tested λ around the best one, without a gap, that are not clearly less accurate."""
    if behind["behind_low"].iloc[1:].isna().any():
        return None
    own = pick(behind, behind["penalty"] == found.best["penalty"]).sort_values("lambda", ignore_index=True)
    alike = ((own["behind_low"] <= 0) | (own["behind"] == 0)).to_numpy()
    first = last = int(np.flatnonzero(own["lambda"] == found.best["lambda"])[0])
    while first > 0 and alike[first - 1]:
        first -= 1
    while last < len(own) - 1 and alike[last + 1]:
        last += 1
    return float(own["lambda"].iloc[first]), float(own["lambda"].iloc[last])


def _smoothest(behind: pd.DataFrame, found: Recommendation) -> pd.Series | None:
    alike = pick(behind, (behind["behind_low"] <= 0) | (behind["behind"] == 0))
    line = alike.iloc[int(np.argmin(alike["roughness"]))] if len(alike) else None
    return None if line is None or not line["roughness"] < found.best["roughness"] else line


def _edge(curve: Curve, found: Recommendation) -> Literal["", "lowest", "highest"]:
    """Whether the best tested λ is an end of the curve; one that the limit forced is not the lowest by choice."""
    if len(curve.weights) < 2 or not found.table["within"].all():
        return ""
    ends = {curve.weights[0]: "lowest", curve.weights[-1]: "highest"}
    return ends.get(found.best["lambda"], "")  # pyright: ignore[reportReturnType]


def _structures(
    rows: pd.DataFrame, metric: str, reading: Reading, found: Recommendation, allowed: np.ndarray
) -> pd.DataFrame:
    """The best λ of each structure, for the best penalty."""
    own, lines = pick(rows, rows["penalty"] == found.best["penalty"]), []
    for column in (str(name) for name in rows if str(name).startswith(f"{metric}/")):
        try:
            sample = Sample.of(own, [column])
        except InputError:  # no pair has this structure at every λ
            continue
        curve = next(iter(curves(sample).values()))[0]
        best = top(curve.weights, _sign(metric) * sample.means()[column][curve.places], allowed)
        gain = replace(best, shares=_sign(metric) * (best.shares - reading.shares))
        at = sample.interval(best.of(curve, column)).within(METRICS[metric].range)
        more = sample.interval(gain.of(curve, column))
        line: dict[str, Any] = {
            "structure": column.partition("/")[2],
            "lambda": best.weight,
            "pairs": len(sample.moving),
        }
        line |= {"mean": at.estimate[0], "low": at.low[0], "high": at.high[0]}
        lines.append(line | {"gain": more.estimate[0], "gain_low": more.low[0], "gain_high": more.high[0]})
    return pd.DataFrame(lines)
