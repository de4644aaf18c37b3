"""The statistical tables of a study."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ...pipeline.evaluation import METRICS, SDLOGJ
from ...transforms.basics.errors import InputError
from ..rows.naming import upper_first
from ..rows.summaries import configuration, pick
from .amortization import amortization_gaps, gaps_in_words
from .answer import answer
from .arc import REFERENCE_SDLOGJ, arc_areas, dominated_share, error, error_name, front_of
from .baselines import against_baselines, baselines_in_words
from .curves import (
    Curve,
    CurveSet,
    Part,
    accuracies,
    at_smoothness,
    common_range,
    pairs_at,
    reaching,
    shared_weights,
    targets,
    weight_at,
)
from .curves import groups as groups_of
from .mixed_model import mixed_model
from .pairwise import compare, with_holm
from .sample import INTERVALS, Sample, is_everywhere, titled
from .sentences import in_words
from .variations import variations, variations_in_words


@dataclass(frozen=True)
class Analysis:
    """``tables`` by name, each with ``attrs['title']`` and ``attrs['note']``; ``words``: sentences on them.

    ``answer``: at most four sentences that sum them up.
    """

    tables: dict[str, pd.DataFrame]
    words: list[str]
    answer: list[str]


def analyse(rows: pd.DataFrame) -> Analysis:
    """All statistics of a study's rows; if the trials share no test pair, only a sentence that says so."""
    measured = accuracies(rows)
    try:
        parts = list(_parts(rows))
    except InputError as error:
        return Analysis({}, [], [upper_first(str(error))])
    main = parts[0].groups
    tables = {
        "means": means(parts),
        "baselines": against_baselines(parts, measured, rows),
        "comparisons": comparisons(parts, measured),
        "matched": matched(parts, measured),
        "auc_arc": arc_areas(list(_curves_of(parts, measured))),
        "amortization_gap": amortization_gaps(parts, measured),
        "variations": variations(parts, measured),
        "mixed_model": mixed_models(main, measured[0]),
        **fronts(main, measured[0], rows),
    }
    tables = {name: table for name, table in tables.items() if not table.empty}
    words = [*in_words(tables, measured[0], rows), *baselines_in_words(tables, measured[0], rows)]
    words += [*gaps_in_words(tables, measured[0]), *variations_in_words(tables, measured[0])]
    return Analysis(tables, words, answer(tables, measured[0], rows))


def _parts(rows: pd.DataFrame) -> Iterator[Part]:
    """First all trials with the metrics that they share; then, for each other metric, the trials that have it.

    Raises:
        InputError: no test pair is common to all trials.
    """
    metrics, keys = _with_intervals(rows), configuration(rows)
    shared = [metric for metric in metrics if is_everywhere(rows, metric)]
    sample = Sample.of(rows, shared)
    yield Part(sample, list(groups_of(sample)), shared)
    smoothness = [metric for metric in shared if METRICS[metric].role == "smoothness"]
    for metric in metrics:
        if metric not in shared:
            own = pick(rows, rows.groupby("trial")[metric].transform("count") > 0)
            with contextlib.suppress(InputError):
                sample = Sample.of(own, [metric, *smoothness], keys)
                yield Part(sample, list(groups_of(sample)), [metric])


def _with_intervals(rows: pd.DataFrame) -> list[str]:
    """The measured metrics that get intervals: those of images and labels, those of smoothness, then the rest."""
    there = [name for name, metric in METRICS.items() if metric.interval and name in rows and rows[name].notna().any()]
    of_images = [name for name in there if not METRICS[name].of_field]
    matched_in = [name for name in METRICS.of_role("smoothness") if name in there]
    return list(dict.fromkeys([*of_images, *matched_in, *there]))


def means(parts: list[Part]) -> pd.DataFrame:
    """One line per configuration and metric: mean with its interval, and the spread between seeds."""
    lines = []
    for sample, _, metrics in parts:
        for about, own in sample.each():
            for metric in metrics:
                entry = METRICS[metric]
                found = own.interval(lambda values, metric=metric: values[metric]).within(entry.range)
                seeds = own.values[metric][0].mean(-1)
                lines.append(
                    {**about, "metric": metric, "unit": entry.unit, "mean": found.estimate[0]}
                    | {"low": found.low[0], "high": found.high[0]}
                    | {"sd_seeds": seeds.std(ddof=1) if len(seeds) > 1 else np.nan}
                    | {"n_pairs": len(own.moving), "n_seeds": found.seeds}
                )
    return titled(pd.DataFrame(lines), "Means with intervals", f"{INTERVALS}.")


def _curves_of(parts: list[Part], measured: list[str]) -> Iterator[tuple[CurveSet, list[str]]]:
    """The curves of each setting, with the accuracy metrics that all of them have."""
    for part in parts:
        for group in part.groups:
            yield group, [metric for metric in measured if metric in part.metrics]


def comparisons(parts: list[Part], measured: list[str]) -> pd.DataFrame:
    """Compare each two penalties on the same pairs: at every λ that both have, and at equal smoothness."""
    lines: list[dict[str, Any]] = []
    for group, metrics in _curves_of(parts, measured):
        for first, second in combinations(group.curves, 2):
            names = {**group.about, "first": first.penalty, "second": second.penalty}
            for metric in metrics:
                for basis, value, differences in _differences(group, first, second, metric):
                    result = compare(group.sample, differences)
                    about = {**names, "matched_in": basis, "at": value, "metric": metric}
                    lines.append({**about, **result._asdict(), "n_pairs": differences.shape[1]})
    return titled(
        with_holm(lines),
        "Penalties compared pair by pair",
        f"Difference: first minus second, {INTERVALS}. p: Wilcoxon signed-rank test over pairs, Holm-corrected over "
        "all lines of a metric. Effect: matched-pairs rank-biserial correlation. The test assumes independent pairs; "
        "if it disagrees with the interval, trust the interval.",
    )


def _differences(group: CurveSet, first: Curve, second: Curve, metric: str) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield what is equal, its value, and the differences (S, P); nothing if the two have no seed in common."""
    values = group.sample.values[metric]
    for weight, one, other in shared_weights(first, second):
        difference = values[one] - values[other]
        if not np.isnan(difference).all():
            yield "lambda", weight, difference
    for smoothness, value in _targets(group):
        if len(reaching(group.sample, [first, second], smoothness, value)) == 2:
            a, b = (pairs_at(curve, group.sample, smoothness, metric, value) for curve in (first, second))
            if not np.isnan(a - b).all():
                yield smoothness, value, a - b


def _targets(group: CurveSet) -> Iterator[tuple[str, float]]:
    for smoothness in METRICS.of_role("smoothness"):
        reach = common_range(group.sample, group.curves, smoothness) if smoothness in group.sample.values else None
        if reach is not None:
            yield from ((smoothness, float(value)) for value in targets(*reach, smoothness))


def matched(parts: list[Part], measured: list[str]) -> pd.DataFrame:
    """The accuracy of each penalty at equal smoothness, read from its curve, with its interval and λ."""
    lines = []
    for group, metrics in _curves_of(parts, measured):
        for smoothness, value in _targets(group):
            for curve in reaching(group.sample, group.curves, smoothness, value):
                weight = weight_at(curve, group.sample, smoothness, np.array([value]))[0]
                for metric in metrics:
                    read = at_smoothness(curve, smoothness, metric, np.array([value]))
                    found = group.sample.interval(read, curve.places).within(METRICS[metric].range)
                    lines.append(
                        {**group.about, "matched_in": smoothness, "at": value, "penalty": curve.penalty}
                        | {"lambda": weight, "metric": metric, "mean": found.estimate[0]}
                        | {"low": found.low[0], "high": found.high[0], "n_seeds": found.seeds}
                    )
    return titled(
        pd.DataFrame(lines),
        "Accuracy at equal smoothness",
        "Penalties at the same SDlogJ or folding of the displacement, by linear interpolation between the two nearest "
        f"λ; {INTERVALS}. A penalty is left out where its curve does not reach.",
    )


def mixed_models(groups: list[CurveSet], metric: str) -> pd.DataFrame:
    """Check the comparisons: subject and seed as random effects, at the middle of each common range of SDlogJ."""
    lines = []
    for group in groups:
        values = [value for smoothness, value in _targets(group) if smoothness == SDLOGJ]
        if not values:
            continue
        value = values[len(values) // 2]
        for first, second in combinations(reaching(group.sample, group.curves, SDLOGJ, value), 2):
            a, b = (pairs_at(c, group.sample, SDLOGJ, metric, value) for c in (first, second))
            fitted = mixed_model(group.sample, a - b)
            if fitted is not None:
                about = {**group.about, "first": first.penalty, "second": second.penalty}
                about |= {"matched_in": SDLOGJ, "at": value, "metric": metric}
                lines.append({**about, **fitted._asdict()})
    return titled(
        pd.DataFrame(lines),
        "The same differences by a mixed model",
        "Difference = mean + effects of both subjects + effect of the seed + residual; fitted by restricted maximum "
        "likelihood.",
    )


def fronts(groups: list[CurveSet], metric: str, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Which configurations are on the Pareto front, and the hypervolume of each penalty."""
    points, volumes = [], []
    before = float(rows[f"{metric}_before"].mean()) if f"{metric}_before" in rows else np.nan
    bounded = METRICS[metric].best is not None and np.isfinite(before)
    for group in groups:
        flags, average = front_of(group.sample, group.curves, metric), group.sample.means()
        for curve in group.curves:
            for weight, place in zip(curve.weights, curve.places, strict=True):
                values = {
                    name: average[name][place] for name in (metric, *METRICS.of_role("smoothness")) if name in average
                }
                about = {**group.about, "penalty": curve.penalty, "lambda": weight}
                points.append({**about, **values, "on_front": flags[int(place)]})
            if not bounded:
                continue
            found = group.sample.interval(dominated_share(curve, metric, before), curve.places).within((0.0, 1.0))
            volumes.append(
                {**group.about, "penalty": curve.penalty, "points": len(curve.places)}
                | {"hypervolume": found.estimate[0], "low": found.low[0], "high": found.high[0]}
            )
    reference = f"({error(metric, np.array(before)):.4g}, {REFERENCE_SDLOGJ})"
    return {
        "fronts": titled(
            pd.DataFrame(points),
            f"Pareto front of {error_name(metric)} and SDlogJ",
            "On the front: no other configuration of the same model is better in both.",
        ),
        "hypervolume": titled(
            pd.DataFrame(volumes),
            "Hypervolume",
            "The share of a box that the configurations of a penalty dominate. The box lies between (0, 0) and the "
            f"reference point {reference}: the error before registration and an SDlogJ of {REFERENCE_SDLOGJ}. "
            f"{INTERVALS}.",
        ),
    }
