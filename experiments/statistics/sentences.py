"""The statistics of a study in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import FOLDING, METRICS, SDLOGJ
from ..rows.summaries import networks, pick, records
from ..study.setting_keys import known_keys


def in_words(tables: dict[str, pd.DataFrame], measured: list[str]) -> list[str]:
    """Sentences about the networks: folding, penalties at equal smoothness, hypervolumes, spread between seeds."""
    metric, trained = measured[0], networks(tables["means"])
    if trained.empty:
        return []
    # a column without values is a setting of baselines only
    trained = trained[[key for key in trained if key not in known_keys() or trained[key].notna().any()]]
    words = [*_folding(trained)]
    if "matched" in tables:
        words += _matched(tables["matched"], tables["comparisons"], metric)
    else:
        words += _at_one_weight(trained, metric)
        words.append("Penalties cannot be compared at equal smoothness: each penalty needs two or more λ.")
    if "auc_arc" in tables:
        words += _areas(tables["auc_arc"], metric)
    if "hypervolume" in tables and tables["hypervolume"]["points"].min() > 1:
        words += _volumes(tables["hypervolume"])
    return [*words, *_seeds(trained, metric)]


def _folding(means: pd.DataFrame) -> Iterator[str]:
    folding = pick(means, means["metric"] == FOLDING)
    for model, part in folding.groupby("model"):
        if part["mean"].max() == 0:
            yield f"The {model} model folds in no test pair, with any penalty and λ."
        else:
            most = records(part.nlargest(1, "mean"))[0]
            yield (
                f"The displacement of the {model} model folds in {part['mean'].min():.3g} to {most['mean']:.3g} % of "
                f"the voxels; most with {PENALTIES.title(most['penalty'])} at λ = {most['lambda']:g}."
            )


def _at_one_weight(means: pd.DataFrame, metric: str) -> Iterator[str]:
    """Accuracy and smoothness at the middle one of the λ that penalties share."""
    own = ("penalty", "lambda", "metric", "unit", "sd_seeds", "n_pairs")
    for setting, part in by_setting(means, own):
        counts = part.groupby("lambda")["penalty"].nunique()
        shared = sorted(counts.index[(counts > 1) & (counts == counts.max())])
        if not shared:
            continue
        weight = shared[len(shared) // 2]
        lines = pick(part, part["lambda"] == weight).sort_values("mean", ascending=METRICS[metric].smaller_is_better)
        smooth = pick(lines, lines["metric"] == SDLOGJ).set_index("penalty")["mean"]
        accurate = records(pick(lines, lines["metric"] == metric))
        reached = "; ".join(
            f"{_reached(line, metric)}) at an SDlogJ of {smooth[line['penalty']]:.3f}" for line in accurate
        )
        yield f"{METRICS.title(metric)} at λ = {weight:g}{setting}: {reached}."


def _matched(matched: pd.DataFrame, comparisons: pd.DataFrame, metric: str) -> Iterator[str]:
    chosen = pick(matched, (matched["metric"] == metric) & (matched["matched_in"] == SDLOGJ))
    for setting, part in by_setting(chosen, ("matched_in", "at", "penalty", "lambda", "metric")):
        values = sorted(part["at"].unique())
        value = values[len(values) // 2]
        lines = pick(part, part["at"] == value).sort_values("mean", ascending=METRICS[metric].smaller_is_better)
        reached = "; ".join(f"{_reached(line, metric)}, at λ = {line['lambda']:.2g})" for line in records(lines))
        yield f"{METRICS.title(metric)} at an SDlogJ of {value:g}{setting}: {reached}."
        same = _same(comparisons, lines.iloc[0]) & (comparisons["metric"] == metric) & (comparisons["at"] == value)
        pairs = pick(comparisons, same & (comparisons["matched_in"] == SDLOGJ))
        yield from (_verdict(line, metric) for line in records(pairs))


def _reached(line: dict[str, Any], metric: str) -> str:
    """Penalty, mean and interval; the caller closes the bracket."""
    return f"{PENALTIES.title(line['penalty'])} {as_text(line['mean'], metric)} ({interval(line, metric)}"


def _verdict(line: dict[str, Any], metric: str) -> str:
    first, second = PENALTIES.title(line["first"]), PENALTIES.title(line["second"])
    reach = interval(line, metric)
    if not (line["low"] > 0 or line["high"] < 0):  # without an interval nothing can be told apart
        return f"At this smoothness {first} and {second} show no clear difference ({reach})."
    better = (line["difference"] < 0) == METRICS[metric].smaller_is_better
    ahead, behind = (first, second) if better else (second, first)
    p = "p < 0.001" if line["p_holm"] < 0.001 else f"p = {line['p_holm']:.2g}"
    size = as_text(abs(line["difference"]), metric)
    return f"At this smoothness {ahead} is better than {behind} by {size} ({reach}; Wilcoxon, Holm: {p})."


def _areas(areas: pd.DataFrame, metric: str) -> Iterator[str]:
    """AUC-ARC of each penalty, best first."""
    own = ("penalty", "from", "to", "metric", "auc_arc", "difference", "difference_low", "difference_high")
    for setting, part in by_setting(pick(areas, areas["metric"] == metric), own):
        ordered = records(part.sort_values("auc_arc", ascending=METRICS[metric].smaller_is_better))
        reached = ", ".join(
            f"{PENALTIES.title(line['penalty'])} {as_text(line['auc_arc'], metric)} ({interval(line, metric)})"
            for line in ordered
        )
        first = ordered[0]
        yield (
            f"AUC-ARC, the mean {METRICS.title(metric)} from an SDlogJ of {first['from']:.3f} to {first['to']:.3f}"
            f"{setting}: {reached}."
        )


def _volumes(volumes: pd.DataFrame) -> Iterator[str]:
    for setting, part in by_setting(volumes, ("penalty", "points", "hypervolume", "low", "high")):
        ordered = records(part.sort_values("hypervolume", ascending=False))
        shares = ", ".join(
            f"{PENALTIES.title(line['penalty'])} {line['hypervolume']:.3f} ({line['low']:.3f} to {line['high']:.3f})"
            for line in ordered
        )
        yield f"Hypervolume of accuracy and smoothness over all λ{setting}: {shares}."


def _seeds(means: pd.DataFrame, metric: str) -> Iterator[str]:
    own = pick(means, means["metric"] == metric)
    if own["n_seeds"].max() < 2:
        yield "Every configuration was trained with one seed only, so the spread between trainings is unknown."
        return
    spread = own["sd_seeds"].dropna()
    yield (
        f"Between seeds of one configuration, the mean {METRICS.title(metric)} has a standard deviation of "
        f"{as_text(float(spread.median()), metric)} (median over configurations; at most "
        f"{as_text(float(spread.max()), metric)})."
    )


def by_setting(table: pd.DataFrame, own: tuple[str, ...]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The parts of a table by their settings other than penalty and λ, each with its name in brackets."""
    keys = [key for key in table.columns if key not in (*own, "mean", "low", "high", "n_seeds")]
    for values, part in table.groupby(keys, sort=False):
        varied = [(key, value) for key, value in zip(keys, values, strict=True) if table[key].nunique() > 1]
        names = [f"{value} model" if key == "model" else f"{key} {value}" for key, value in varied]
        yield (f" ({', '.join(names)})" if names else ""), part


def _same(table: pd.DataFrame, line: pd.Series) -> pd.Series:
    """Which lines of a table have the same setting as ``line``."""
    own = ("penalty", "lambda", "metric", "mean", "low", "high", "n_seeds", "matched_in", "at")
    keys = [key for key in line.index if key not in own]
    return (table[keys] == line[keys]).all(axis=1)


def interval(line: Mapping[str, Any], metric: str) -> str:
    """``0.71 to 0.73``: the ends of a line's interval."""
    return f"{as_text(line['low'], metric)} to {as_text(line['high'], metric)}"


def as_text(value: float, metric: str) -> str:
    return f"{value:.4f}" if METRICS[metric].best == 1 else f"{value:.3g}"
