"""Which penalty, λ and model to use if the roughness of the deformation is limited."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...pipeline.evaluation import METRICS, SDLOGJ
from ...pipeline.evaluation.limit import Limit
from ...transforms.basics.errors import InputError
from ..rows.summaries import METHOD, is_set, penalized, pick
from .curves import accuracies, at_smoothness, curves, position, setting_keys, weight_at
from .sample import Sample

ROUNDING = 1e-6
"""A share of a segment of a curve that is not told from 0 or 1."""


@dataclass(frozen=True)
class Recommendation:
    """The most accurate tested configuration within a limit, and the others.

    Attributes:
        best: penalty, lambda, model and whatever else varies; the accuracy ``mean`` with ``low`` and ``high``; the
            limited metric (without a limit, SDlogJ) as ``roughness`` with ``roughness_low`` and ``roughness_high``;
            ``n_seeds``; ``method``, if the rows have one.
        table: the same columns for every configuration, and ``within`` (the limit); best first.
        metric: the metric of accuracy.
        between: a λ between two tested ones, where the curve of the best configuration meets the limit, and the
            accuracy expected there. None if the curve does not cross the limit or accuracy would not improve.
        unclear: the accuracy before registration, if the best configuration is not clearly better, by the interval of
            their difference; otherwise None.
    """

    best: pd.Series
    table: pd.DataFrame
    metric: str
    between: tuple[float, float] | None
    unclear: float | None = None


def recommend(rows: pd.DataFrame, limit: Limit | None, metric: str | None = None) -> Recommendation:
    """Choose the most accurate configuration, within a limit if there is one, by the mean over test pairs.

    The intervals are over subjects and seeds.

    Args:
        rows: rows of a study; its baselines are never chosen.
        limit: the limit on folding or SDlogJ; None: there is none.
        metric: the metric of accuracy; default: the first measured one. Trials without it are left out.

    Raises:
        InputError: nothing is within the limit, no network was trained, or the metric was not measured.
    """
    rows = penalized(rows)
    if rows.empty:
        raise InputError("this run has no trial with a penalty, so there is nothing to choose from; give another run.")
    measured = accuracies(rows)
    metric = metric or measured[0]
    if metric not in measured:
        raise InputError(f"this run did not measure {metric}; choose one of {', '.join(measured)}.")
    smoothness = limit.metric if limit else SDLOGJ
    if smoothness not in rows:
        raise InputError(f"this run did not measure {smoothness}; run the study again to measure it.")
    counted = rows.groupby("trial")[[metric, smoothness]].transform("count").min(axis=1)
    before = f"{metric}_before"
    known = [before] if before in rows and rows[before].notna().all() else []
    sample = Sample.of(pick(rows, counted > 0), [metric, smoothness, *known])
    order = [False, METRICS[metric].smaller_is_better]
    table = _table(sample, metric, smoothness, limit).sort_values(
        ["within", "mean"], ascending=order, ignore_index=True
    )
    if limit and not table["within"].any():
        least = table.loc[table["roughness"].idxmin()]
        raise InputError(
            f"no configuration of this run has a mean {METRICS[limit.metric].short_column} of at most {limit.value:g}; "
            f"the lowest is {least['roughness']:.3g}, {least['penalty']} at λ = {least['lambda']:g} "
            f"({least['model']} model). Choose a higher limit."
        )
    best = table.iloc[0].copy()
    if METHOD in rows and METHOD not in best:  # it is the same in all configurations
        best[METHOD] = rows[METHOD].iloc[0]
    unclear = _unclear(sample, best, metric, before) if known else None
    between = _between(sample, best, metric, limit) if limit else None
    return Recommendation(best, table, metric, between, unclear)


def _unclear(sample: Sample, best: pd.Series, metric: str, before: str) -> float | None:
    """The accuracy before registration, unless that of the best configuration is clearly better."""
    own = sample.select(is_set(sample.configurations, {str(key): best[str(key)] for key in sample.configurations}))
    sign = -1 if METRICS[metric].smaller_is_better else 1
    gain = own.interval(lambda means: sign * (means[metric] - means[before]))
    at_least = gain.estimate[0] if np.isnan(gain.low[0]) else gain.low[0]
    return None if at_least > 0 else float(own.means()[before][0])


def _table(sample: Sample, metric: str, smoothness: str, limit: Limit | None) -> pd.DataFrame:
    lines = []
    for about, own in sample.each():
        accuracy = own.interval(lambda means: means[metric]).within(METRICS[metric].range)
        roughness = own.interval(lambda means: means[smoothness]).within(METRICS[smoothness].range)
        lines.append(
            {**about, "mean": accuracy.estimate[0], "low": accuracy.low[0], "high": accuracy.high[0]}
            | {"roughness": roughness.estimate[0], "n_seeds": accuracy.seeds}
            | {"roughness_low": roughness.low[0], "roughness_high": roughness.high[0]}
            | {"within": limit is None or bool(roughness.estimate[0] <= limit.value)}
        )
    return pd.DataFrame(lines)


def _between(sample: Sample, best: pd.Series, metric: str, limit: Limit) -> tuple[float, float] | None:
    own = is_set(sample.configurations, {key: best[key] for key in setting_keys(sample)})
    place = sample.configurations.index[own & (sample.configurations["penalty"] == best["penalty"])][0]
    curve = next(curve for group in curves(sample).values() for curve in group if place in curve.places)
    if len(curve.places) < 2:
        return None
    wanted = np.array([limit.value])
    _, share = position(sample.means()[limit.metric][curve.places], limit.metric, wanted)
    value = float(at_smoothness(curve, limit.metric, metric, wanted)(sample.means())[0])
    gains = value < best["mean"] if METRICS[metric].smaller_is_better else value > best["mean"]
    if not (ROUNDING < share[0] < 1 - ROUNDING and gains):  # otherwise it is a tested λ
        return None
    return float(weight_at(curve, sample, limit.metric, wanted)[0]), value
