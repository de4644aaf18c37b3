"""Curves over λ: the accuracy of each penalty as a function of its smoothness, read at equal smoothness."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS, SDLOGJ
from ..rows.summaries import is_set, penalized, pick
from .sample import Sample, Statistic, is_everywhere

LEAST_PERCENT = 1e-3  # %; above it folding is interpolated in its logarithm, below it counts as this value
LEFT_OUT, NARROW = 4, 0.25
"""One curve in so many may be left out, if the common range is narrower than this share of the median curve's range."""


@dataclass(frozen=True)
class Curve:
    """The configurations of one penalty in one setting, ordered by λ.

    ``setting``: the values of `setting_keys`, the model and whatever else varies. ``weights``: the λ. ``places``: the
    lines of the sample's configurations.
    """

    penalty: str
    setting: tuple[Any, ...]
    weights: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class CurveSet:
    """The curves that are compared with each other: the same setting, different penalties."""

    about: dict[str, Any]
    sample: Sample
    curves: list[Curve]


class Part(NamedTuple):
    """Trials that were measured in the same ``metrics``, and their curves by setting."""

    sample: Sample
    groups: list[CurveSet]
    metrics: list[str]


def accuracies(rows: pd.DataFrame) -> list[str]:
    """The metrics of accuracy, the main one first, the similarity last.

    Metrics that every trial has come first: older trials may lack the metric of another package.
    """
    similarity, there = similarity_of(rows), [name for name in METRICS.of_role("accuracy") if name in rows]
    there = [name for name in there if rows[name].notna().any()]
    everywhere = {name for name in (*there, similarity) if is_everywhere(rows, name)}
    general = [] if everywhere else METRICS.of_role("similarity")[:1]
    return [*general, *sorted(there, key=lambda name: name not in everywhere), similarity]


def similarity_of(rows: pd.DataFrame) -> str:
    """The similarity in all objectives; the first known one if they differ or it is unknown."""
    minimized, known = set(penalized(rows)["similarity"]), METRICS.of_role("similarity")
    return next((name for name in known if {name} == minimized and name in rows), known[0])


def curves(sample: Sample) -> dict[tuple[Any, ...], list[Curve]]:
    """The curves of each setting of the networks, in the order of the penalties; its columns are `setting_keys`."""
    frame, found = sample.configurations, {}
    keys = setting_keys(sample)
    for setting in penalized(frame)[keys].drop_duplicates().itertuples(index=False, name=None):
        own = is_set(frame, dict(zip(keys, setting, strict=True)))
        for penalty in PENALTIES.in_order(frame.loc[own, "penalty"]):
            points = pick(frame, own & (frame["penalty"] == penalty)).sort_values(by="lambda")
            curve = Curve(penalty, setting, points["lambda"].to_numpy(float), points.index.to_numpy())
            found.setdefault(setting, []).append(curve)
    return found


def groups(sample: Sample) -> Iterator[CurveSet]:
    """The curves of each setting, with a sample that holds only that setting."""
    frame, keys = sample.configurations, setting_keys(sample)
    for setting in curves(sample):
        about = dict(zip(keys, setting, strict=True))
        own = sample.select(is_set(frame, about))
        yield CurveSet(about, own, next(iter(curves(own).values())))


def setting_keys(sample: Sample) -> list[str]:
    """The columns in which settings of curves differ; always the model, never penalty and λ."""
    frame = penalized(sample.configurations)
    others = [key for key in frame.columns if key not in ("penalty", "lambda", "model")]
    return ["model", *(key for key in others if frame[key].nunique(dropna=False) > 1)]


def reach(curve: Curve, means: np.ndarray) -> tuple[float, float]:
    """The smoothest and the roughest value that a curve has, as :func:`position` reads it.

    The roughest one is that of its smallest λ: a field that a larger λ made rougher does not count.

    Args:
        curve: the curve.
        means: a metric of smoothness, the mean of every configuration of the sample.
    """
    return float(means[curve.places].min()), float(means[curve.places[0]])


def shared_weights(one: Curve, other: Curve) -> Iterator[tuple[float, int, int]]:
    """Each λ that two curves share, and their lines of the sample there."""
    places = [dict(zip(curve.weights.tolist(), curve.places.tolist(), strict=True)) for curve in (one, other)]
    for weight in sorted(places[0].keys() & places[1].keys()):
        yield weight, places[0][weight], places[1][weight]


def common_range(sample: Sample, group: Sequence[Curve], smoothness: str) -> tuple[float, float] | None:
    """The range of smoothness over which the curves of a group are compared; None if there is none.

    Every curve reaches it. If there is no such range, or only a narrow one, up to one curve in four is left out: those
    that narrow it most. So one penalty with unsuitable λ does not prevent all comparisons.
    """
    means = sample.means()[smoothness]
    ends = [reach(curve, means) if len(curve.places) > 1 else (np.inf, -np.inf) for curve in group]
    may_go = len(ends) // LEFT_OUT
    while len(ends) > 1:
        width = _overlap(ends, smoothness)
        wanted = NARROW * np.median([max(_overlap([own], smoothness), 0) for own in ends]) if may_go else 0
        if width > 0 and width >= wanted:
            return max(low for low, _ in ends), min(high for _, high in ends)
        if not may_go:
            return None
        without = [ends[:place] + ends[place + 1 :] for place in range(len(ends))]
        ends, may_go = max(without, key=lambda rest: _overlap(rest, smoothness)), may_go - 1
    return None


def reaching(sample: Sample, group: Sequence[Curve], smoothness: str, *values: float) -> list[Curve]:
    """The curves that have all these values of smoothness, as :func:`reach` has it."""
    means = sample.means()[smoothness]
    wanted, found = _scale(np.array(values), smoothness), []
    for curve in (curve for curve in group if len(curve.places) > 1):
        low, high = _scale(np.array(reach(curve, means)), smoothness)
        if low <= wanted.min() and wanted.max() <= high:
            found.append(curve)
    return found


def _overlap(ends: Sequence[tuple[float, float]], smoothness: str) -> float:
    """The width of what several ranges share, on the scale of the interpolation; not above 0 if they share nothing.

    Folding below LEAST_PERCENT is all the same.
    """
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    start, stop = _scale(np.array([low, high]), smoothness)
    return float(stop - start)


def targets(low: float, high: float, smoothness: str, count: int = 5) -> np.ndarray:
    """Rounded values within a range, evenly spaced on the scale of the interpolation.

    They have two digits. A narrow range has fewer than ``count`` such values, and one without any has longer ones.
    """
    start, stop = _scale(np.array([low, high]), smoothness)
    scaled = np.linspace(start, stop, count + 2)[1:-1]
    values = 10**scaled if _is_percent(smoothness) else scaled
    for digits in range(2, 18):
        short = np.unique([float(f"{value:.{digits}g}") for value in values])
        inside = short[(low <= short) & (short <= high)]
        if len(inside):
            return inside
    return np.unique(values.clip(low, high))


def at_smoothness(curve: Curve, smoothness: str, metric: str, wanted: np.ndarray) -> Statistic:
    """The statistic that reads ``metric`` from a curve where its ``smoothness`` is ``wanted`` (T,).

    Between two neighbouring λ the interpolation is linear (of folding: in its logarithm). Only the derivative
    for an interval goes beyond the ends of a curve; there the last segment is extrapolated by at most its own length.
    """

    def statistic(means: dict[str, np.ndarray]) -> np.ndarray:
        place, share = position(means[smoothness][..., curve.places], smoothness, wanted)
        y = means[metric][..., curve.places]
        left, right = np.take_along_axis(y, place, -1), np.take_along_axis(y, place + 1, -1)
        return left + share * (right - left)

    return statistic


def position(roughness: np.ndarray, smoothness: str, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Locate ``wanted`` (T,) on curves (..., K) over growing λ: the point before it, and the fraction of the segment.

    A field gets smoother as λ grows; where noise makes it rougher, the curve is held constant. The fraction is between
    0 and 1, beyond the ends of the curve between -1 and 2: on a flat segment it would be unbounded.
    """
    x = np.minimum.accumulate(_scale(roughness, smoothness), axis=-1)
    x = x - 1e-9 * np.arange(x.shape[-1])
    goal = np.broadcast_to(_scale(wanted, smoothness), (*x.shape[:-1], len(wanted)))
    place = np.clip((x[..., None, :] >= goal[..., None]).sum(-1) - 1, 0, x.shape[-1] - 2)
    left, right = np.take_along_axis(x, place, -1), np.take_along_axis(x, place + 1, -1)
    return place, np.clip((left - goal) / (left - right), -1, 2)


def weight_at(curve: Curve, sample: Sample, smoothness: str, wanted: np.ndarray) -> np.ndarray:
    """The λ (T,) of a curve at the ``wanted`` smoothness, interpolated in its logarithm within the tested range."""
    place, share = position(sample.means()[smoothness][curve.places], smoothness, wanted)
    share = np.clip(share, 0, 1)  # on a flat end of the curve every fraction gives that smoothness
    left, right = curve.weights[place], curve.weights[place + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.exp(np.log(left) + share * (np.log(right) - np.log(left)))
    return np.where(left > 0, between, share * right)  # λ = 0 has no logarithm


def pairs_at(curve: Curve, sample: Sample, smoothness: str, metric: str, wanted: float) -> np.ndarray:
    """``metric`` of each seed and pair (S, P), read where the curve of the means has the ``wanted`` smoothness."""
    place, share = position(sample.means()[smoothness][curve.places], smoothness, np.array([wanted]))
    left, right = curve.places[place[0]], curve.places[place[0] + 1]
    return (1 - share[0]) * sample.values[metric][left] + share[0] * sample.values[metric][right]


def at_equal(
    sample: Sample, one: Curve, other: Curve, metrics: Sequence[str]
) -> Iterator[tuple[str, float, str, np.ndarray, np.ndarray]]:
    """Yield what is equal, its value, the metric, and its values of both curves (S, P).

    Equal is every λ that both have, and several SDlogJ that both reach. At equal λ the SDlogJ is a metric, too.
    """
    for weight, first, second in shared_weights(one, other):
        for metric in (*metrics, SDLOGJ):
            yield "lambda", weight, metric, sample.values[metric][first], sample.values[metric][second]
    shared = common_range(sample, [one, other], SDLOGJ)
    for value in targets(*shared, SDLOGJ) if shared is not None else ():
        for metric in metrics:
            first, second = (pairs_at(curve, sample, SDLOGJ, metric, float(value)) for curve in (one, other))
            yield SDLOGJ, float(value), metric, first, second


def _scale(values: np.ndarray, smoothness: str) -> np.ndarray:
    return np.log10(np.maximum(values, LEAST_PERCENT)) if _is_percent(smoothness) else np.asarray(values, float)


def _is_percent(smoothness: str) -> bool:
    return METRICS[smoothness].unit == "%"
