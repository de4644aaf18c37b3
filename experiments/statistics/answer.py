"""The answer of a study in at most four sentences; `sentences` has the details."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import FOLDING, METRICS, SDLOGJ
from ...pipeline.settings.vocabulary import METHODS
from ..rows.naming import variant
from ..rows.rounding import is_clear, rounded, rounded_in, span, with_interval
from ..rows.summaries import baselines, of_network, pick, records, trained_methods
from .amortization import gaps_in_words
from .baselines import baselines_in_words
from .sentences import (
    EACH,
    are_matched,
    at_middle,
    at_one_weight,
    compared,
    not_matched,
    of_curves,
    spread_of_seeds,
    versus,
)
from .variations import variations_in_brief

MOST = 4
SETTINGS = 2
"""Settings, such as models, that have a sentence on accuracy."""


def answer(tables: dict[str, pd.DataFrame], metric: str, rows: pd.DataFrame) -> list[str]:
    """The most accurate penalty at equal smoothness, folding, and the baselines or else the spread between seeds."""
    trained = of_curves(tables["means"])
    if trained.empty:
        return list(islice(baselines_in_words(tables, metric, rows), MOST))
    gaps = [*gaps_in_words(tables, metric)]
    accurate = [*_most_accurate(tables, trained, metric)][: SETTINGS - bool(gaps)]
    known = [*accurate, *islice(variations_in_brief(tables, metric), 1), *gaps[:1], *_folding(trained)]
    spread = [*spread_of_seeds(trained, metric)] if trained_methods(rows) else []
    others = [*_baselines(tables["means"], metric)] or spread
    return [*known, *others][:MOST]


def _most_accurate(tables: dict[str, pd.DataFrame], trained: pd.DataFrame, metric: str) -> Iterator[str]:
    """One sentence per setting. If fields were found in several ways, optimization comes first."""
    if not are_matched(tables):
        yield from islice(at_one_weight(trained, metric), SETTINGS - 1)
        yield from not_matched(trained)
        return
    settings = at_middle(tables["matched"], compared(tables), metric)
    for setting, value, lines, pairs in sorted(settings, key=lambda found: of_network(found[2].iloc[0])):
        best, *others = records(lines)
        against = _against_all(best["penalty"], [other["penalty"] for other in others], records(pairs), metric)
        yield (
            f"At an SDlogJ of {value:g}{setting}, {PENALTIES.title(best['penalty'])} has the best "
            f"{METRICS.title(metric)}, {with_interval(best)}: {against}."
        )


def _against_all(best: str, others: Sequence[str], pairs: Sequence[dict[str, Any]], metric: str) -> str:
    """The best penalty against each other one; many are summed up."""
    found = {other: line for other in others if (line := _pair(best, other, pairs))}
    lacking = [PENALTIES.title(other) for other in others if other not in found]
    apart = [f"not compared with {', '.join(lacking)}, because they have no seed in common"] if lacking else []
    if len(found) < EACH:
        return "; ".join([*(_against(best, other, line, metric) for other, line in found.items()), *apart])
    unclear = [PENALTIES.title(other) for other, line in found.items() if not is_clear(line)]
    clear = {PENALTIES.title(other): versus(line, best, metric) for other, line in found.items() if is_clear(line)}
    worse = [other for other, gain in clear.items() if gain[0] < 0]  # pair by pair, over the seeds that both have
    gains = [gain for gain in clear.values() if gain[0] >= 0]
    parts = [f"no clear difference from {', '.join(unclear)}"] if unclear else []
    parts += [f"pair by pair, worse than {', '.join(worse)}"] if worse else []
    if gains:
        whom = f"the {len(gains)} others" if parts else f"all {len(gains)} others"
        least, most = (rounded(*pick_one(gains, key=lambda gain: gain[0])) for pick_one in (min, max))
        parts.append(f"better than {whom}, by {least} to {most}")
    return "; ".join([*parts, *apart])


def _pair(one: str, other: str, pairs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next((line for line in pairs if {line["first"], line["second"]} == {one, other}), None)


def _against(best: str, other: str, line: dict[str, Any], metric: str) -> str:
    difference, low, high = versus(line, best, metric)
    if not is_clear(line):
        return f"no clear difference from {PENALTIES.title(other)} ({span(low, high)})"
    word = "better" if difference > 0 else "worse"
    gained = {"mean": abs(difference), "low": min(abs(low), abs(high)), "high": max(abs(low), abs(high))}
    return f"{with_interval(gained)} {word} than {PENALTIES.title(other)}"


def _folding(means: pd.DataFrame) -> Iterator[str]:
    """One sentence on all models."""
    parts = []
    for model, part in pick(means, means["metric"] == FOLDING).groupby("model", sort=False):
        most = records(part.nlargest(1, "mean"))[0]
        share = f"up to {rounded_in(most)} %" if most["mean"] > 0 else "none"
        parts.append(f"{share} in the {model} model")
    if parts:
        yield f"Folded voxels: {', '.join(parts)}."


def _baselines(means: pd.DataFrame, metric: str) -> Iterator[str]:
    """One sentence on all methods that register without training."""
    own, parts = baselines(means), []
    keys = list(own.columns[: list(own.columns).index("metric")])
    for _, lines in own.groupby(keys, sort=False, dropna=False):
        model = lines["model"].iloc[0]
        if METHODS[model].registers:
            found = lines.set_index("metric")
            name = ", ".join([METHODS.title(model), *variant(lines.iloc[0], own)])
            at = rounded_in(found.loc[SDLOGJ])
            parts.append(f"{name} reaches {with_interval(found.loc[metric])} at an SDlogJ of {at}")
    if parts:
        yield f"{METRICS.title(metric)} without training: {'; '.join(parts)}."
