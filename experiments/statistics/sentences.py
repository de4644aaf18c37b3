"""The statistics of a study in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import FOLDING, METRICS, SDLOGJ
from ..rows.naming import namer
from ..rows.rounding import is_clear, rounded, rounded_in, span, with_interval
from ..rows.summaries import METHOD, is_set, penalized, pick, records, trained_methods
from ..study.setting_keys import known_keys

NOT_MATCHED = "Penalties cannot be compared at equal smoothness: "
OF_MEANS = ("penalty", "lambda", "metric", "unit", "sd_seeds", "n_pairs")
"""The columns of the table of means that do not tell settings apart, besides those of the means."""
EACH = 3
"""Of up to so many penalties, each two are compared in words; of more, the best with every other one."""


def in_words(tables: dict[str, pd.DataFrame], metric: str, rows: pd.DataFrame) -> list[str]:
    """Sentences about the penalties: folding, accuracy at equal smoothness, hypervolumes, spread between seeds.

    ``rows`` tell whether a network was trained: optimization has no seeds.
    """
    own = of_curves(tables["means"])
    if own.empty:
        return []
    words = [*_folding(own)]
    if are_matched(tables):
        words += [*_matched(tables["matched"], compared(tables), metric), *_left_out(own, tables["matched"])]
    else:
        words += [*at_one_weight(own, metric), *not_matched(own)]
    if "auc_arc" in tables:
        words += _areas(tables["auc_arc"], metric)
    if "hypervolume" in tables and tables["hypervolume"]["points"].min() > 1:
        words += _volumes(tables["hypervolume"])
    return [*words, *spread_of_seeds(own, metric)] if trained_methods(rows) else words


def of_curves(means: pd.DataFrame) -> pd.DataFrame:
    """The means of configurations with a penalty, without the columns that only settings of baselines fill."""
    own = penalized(means)
    return own[[key for key in own if key not in known_keys() or own[key].notna().any()]]


def _folding(means: pd.DataFrame) -> Iterator[str]:
    folding = pick(means, means["metric"] == FOLDING)
    for model, part in folding.groupby("model"):
        least, most = records(part.nsmallest(1, "mean"))[0], records(part.nlargest(1, "mean"))[0]
        if most["mean"] == 0:
            yield f"The {model} model folds in no test pair, with any penalty and λ."
        else:
            low, high = rounded_in(least), rounded_in(most)
            yield (
                f"The displacement of the {model} model folds in {low} to {high} % of the voxels; most with "
                f"{PENALTIES.title(most['penalty'])} at λ = {most['lambda']:g}."
            )


def at_one_weight(means: pd.DataFrame, metric: str) -> Iterator[str]:
    """Accuracy and smoothness at the middle one of the λ that penalties share."""
    for setting, part in by_setting(means, OF_MEANS):
        counts = part.groupby("lambda")["penalty"].nunique()
        shared = sorted(counts.index[(counts > 1) & (counts == counts.max())])
        if not shared:
            continue
        weight = shared[len(shared) // 2]
        lines = pick(part, part["lambda"] == weight).sort_values("mean", ascending=METRICS[metric].smaller_is_better)
        smooth = {line["penalty"]: line for line in records(pick(lines, lines["metric"] == SDLOGJ))}
        accurate = records(pick(lines, lines["metric"] == metric))
        reached = "; ".join(
            f"{_reached(line)}) at an SDlogJ of {rounded_in(smooth[line['penalty']])}" for line in accurate
        )
        yield f"{METRICS.title(metric)} at λ = {weight:g}{setting}: {reached}."


def are_matched(tables: dict[str, pd.DataFrame]) -> bool:
    """Whether penalties are compared at equal SDlogJ."""
    return "matched" in tables and SDLOGJ in set(tables["matched"]["matched_in"])


def not_matched(means: pd.DataFrame) -> Iterator[str]:
    """Why no penalties are compared at equal smoothness; nothing if there is only one."""
    weights = means.groupby("penalty")["lambda"].nunique()
    if weights.min() < 2 and len(weights) > 1:
        yield f"{NOT_MATCHED}each penalty needs two or more λ."
    elif len(weights) > 1:
        yield f"{NOT_MATCHED}no SDlogJ is reached by all of them. Choose λ for which their curves overlap."


def compared(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The comparisons of penalties; empty if no two penalties have a seed in common."""
    return tables.get("comparisons", pd.DataFrame())


def at_middle(
    matched: pd.DataFrame, comparisons: pd.DataFrame, metric: str
) -> Iterator[tuple[str, float, pd.DataFrame, pd.DataFrame]]:
    """Of each setting: its name, the middle SDlogJ of the comparison, its lines (best first), and its differences."""
    chosen = pick(matched, (matched["metric"] == metric) & (matched["matched_in"] == SDLOGJ))
    for setting, part in by_setting(chosen, ("matched_in", "at", "penalty", "lambda", "metric")):
        values = sorted(part["at"].unique())
        value = values[len(values) // 2]
        lines = pick(part, part["at"] == value).sort_values("mean", ascending=METRICS[metric].smaller_is_better)
        if comparisons.empty:
            yield setting, value, lines, comparisons
            continue
        same = _same(comparisons, lines.iloc[0]) & (comparisons["metric"] == metric) & (comparisons["at"] == value)
        yield setting, value, lines, pick(comparisons, same & (comparisons["matched_in"] == SDLOGJ))


def _matched(matched: pd.DataFrame, comparisons: pd.DataFrame, metric: str) -> Iterator[str]:
    for setting, value, lines, pairs in at_middle(matched, comparisons, metric):
        reached = "; ".join(f"{_reached(line)}, at λ = {line['lambda']:.2g})" for line in records(lines))
        yield f"{METRICS.title(metric)} at an SDlogJ of {value:g}{setting}: {reached}."
        best = lines["penalty"].iloc[0]
        all_of_them = len(lines) <= EACH or pairs.empty
        told = pairs if all_of_them else pick(pairs, (pairs[["first", "second"]] == best).any(axis=1))
        yield from (_verdict(line, metric) for line in records(told))


def _left_out(means: pd.DataFrame, matched: pd.DataFrame) -> Iterator[str]:
    """The curves that share too little with the others of their setting to be compared at equal SDlogJ."""
    matched = pick(matched, matched["matched_in"] == SDLOGJ)
    smoothness = pick(means, means["metric"] == SDLOGJ)
    for setting, part in by_setting(smoothness, OF_MEANS):
        compared = set(matched.loc[_same(matched, part[part.columns.intersection(matched.columns)].iloc[0]), "penalty"])
        for penalty, curve in part.groupby("penalty", sort=False) if compared else ():
            if penalty not in compared:
                yield (
                    f"{PENALTIES.title(str(penalty))}{setting} is not compared at equal smoothness: its SDlogJ of "
                    f"{curve['mean'].min():.3g} to {curve['mean'].max():.3g} has too little in common with the others."
                )


def _reached(line: dict[str, Any]) -> str:
    """Penalty, mean and interval; the caller closes the bracket."""
    return f"{PENALTIES.title(line['penalty'])} {with_interval(line).removesuffix(')')}"


def versus(line: Mapping[str, Any], penalty: str, metric: str) -> tuple[float, float, float]:
    """How much ``penalty`` is better than the other one of a comparison: difference, low, high; negative: worse."""
    found = line["difference"], line["low"], line["high"]
    if (line["first"] == penalty) != METRICS[metric].smaller_is_better:
        return found
    return -found[0], -found[2], -found[1]


def _verdict(line: dict[str, Any], metric: str) -> str:
    first, second = PENALTIES.title(line["first"]), PENALTIES.title(line["second"])
    if not is_clear(line):
        ends = span(line["low"], line["high"])
        return f"At this SDlogJ, there is no clear difference between {first} and {second} ({ends})."
    better = (line["difference"] < 0) == METRICS[metric].smaller_is_better
    ahead, behind = (first, second) if better else (second, first)
    difference, low, high = versus(line, line["first" if better else "second"], metric)
    p = "p < 0.001" if line["p_holm"] < 0.001 else f"p = {line['p_holm']:.2g}"
    size = rounded(difference, low, high)
    return f"At this SDlogJ, {ahead} is better than {behind} by {size} ({span(low, high)}; Wilcoxon, Holm: {p})."


def _areas(areas: pd.DataFrame, metric: str) -> Iterator[str]:
    """AUC-ARC of each penalty, best first."""
    own = ("penalty", "from", "to", "metric", "auc_arc", "difference", "difference_low", "difference_high")
    for setting, part in by_setting(pick(areas, areas["metric"] == metric), own):
        ordered = records(part.sort_values("auc_arc", ascending=METRICS[metric].smaller_is_better))
        reached = ", ".join(f"{PENALTIES.title(line['penalty'])} {with_interval(line, 'auc_arc')}" for line in ordered)
        first = ordered[0]
        yield (
            f"AUC-ARC, the mean {METRICS.title(metric)} from an SDlogJ of {first['from']:.3f} to {first['to']:.3f}"
            f"{setting}: {reached}."
        )


def _volumes(volumes: pd.DataFrame) -> Iterator[str]:
    for setting, part in by_setting(volumes, ("penalty", "points", "hypervolume", "low", "high")):
        ordered = records(part.sort_values("hypervolume", ascending=False))
        shares = ", ".join(
            f"{PENALTIES.title(line['penalty'])} {with_interval(line, 'hypervolume')}" for line in ordered
        )
        yield f"Hypervolume of accuracy and smoothness over all λ{setting}: {shares}."


def spread_of_seeds(means: pd.DataFrame, metric: str) -> Iterator[str]:
    """The standard deviation between seeds, with two significant digits."""
    own = pick(means, means["metric"] == metric)
    if METHOD in own:
        own = pick(own, own[METHOD].isin(trained_methods()))
    if own["n_seeds"].max() < 2:
        yield "Every configuration was trained with one seed only, so the spread between trainings is unknown."
        return
    spread = own["sd_seeds"].dropna()
    yield (
        f"Between seeds of one configuration, the mean {METRICS.title(metric)} has a standard deviation of "
        f"{spread.median():.2g} (median over configurations; at most {spread.max():.2g})."
    )


def middles(lines: pd.DataFrame, key: str) -> list[dict[str, Any]]:
    """The line in the middle of the SDlogJ for each value of ``key``; ``lines``: comparisons at equal SDlogJ."""
    return [records(own)[len(own) // 2] for _, own in lines.groupby(key, sort=False)]


def by_setting(
    table: pd.DataFrame, own: tuple[str, ...], whole: pd.DataFrame | None = None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The parts of a table by their settings other than penalty and λ, each with its name in brackets.

    The name tells a setting from the others of ``whole``; default: of the table.
    """
    keys = [key for key in table.columns if key not in (*own, "mean", "low", "high", "n_seeds")]
    named = namer(table if whole is None else whole, keys)
    for _, part in table.groupby(keys, sort=False, dropna=False):
        names = named(part.iloc[0])
        yield (f" ({', '.join(names)})" if names else ""), part


def _same(table: pd.DataFrame, line: pd.Series) -> pd.Series:
    """Which lines of a table have the same setting as ``line``."""
    own = ("penalty", "lambda", "metric", "mean", "low", "high", "n_seeds", "matched_in", "at")
    return is_set(table, {key: value for key, value in line.items() if key not in own})
