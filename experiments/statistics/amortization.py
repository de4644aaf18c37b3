"""Two ways to find fields under one objective, penalty by penalty: what a network loses against the optimum.

The amortization gap is how far the output of a network is from what optimization of each pair reaches under the same
objective (Cremer, Li and Duvenaud 2018, arXiv:1801.03558, for variational autoencoders).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS, REFINED, SDLOGJ
from ...pipeline.settings.vocabulary import METHODS
from ..rows.naming import namer
from ..rows.rounding import with_interval
from ..rows.summaries import CONDITIONAL, METHOD, SEPARATE, of_network, pick, records, way_keys
from .curves import Curve, Part, at_equal, curves, setting_keys
from .pairwise import Paired, compare, with_holm
from .sample import INTERVALS, Sample, titled
from .sentences import by_setting, middles


class _Way(NamedTuple):
    """The curve of a penalty in one setting (``about``: its columns but the ways), and how its fields were found.

    ``network``: by a network; ``trains``: by one for each seed; ``separate``: by one for each λ.
    """

    about: dict[str, Any]
    name: str
    network: bool
    trains: bool
    separate: bool
    refined: float
    curve: Curve


def _ways(keys: Sequence[str], found: Sequence[Curve]) -> Iterator[_Way]:
    """The way of each curve; ``keys``: the columns of their settings."""
    settings = pd.DataFrame([curve.setting for curve in found], columns=pd.Index(keys))
    different = way_keys(settings, keys)
    named = namer(settings, different)
    for line, curve in zip(records(settings), found, strict=True):
        about = {key: value for key, value in line.items() if key not in different}
        trains = METHOD not in line or METHODS[line[METHOD]].trains
        name = ", ".join(named(line))
        separate = line.get(CONDITIONAL, SEPARATE) == SEPARATE
        yield _Way(about, name, of_network(line), trains, separate, float(line.get(REFINED, 0)), curve)


def amortization_gaps(parts: Sequence[Part], measured: Sequence[str]) -> pd.DataFrame:
    """Compare each two ways of finding fields, for each penalty: at every λ that both have, and at equal SDlogJ.

    The way that is closest to the optimum comes first: optimization, then networks, those with more refinement first.
    One network for every λ comes before separate ones.
    At equal λ the SDlogJ is compared, too.
    """
    lines: list[dict[str, Any]] = []
    for sample, _, metrics in parts:
        keys, wanted = setting_keys(sample), [metric for metric in measured if metric in metrics]
        ways = _ways(keys, [curve for own in curves(sample).values() for curve in own])
        for one, other in combinations(sorted(ways, key=lambda way: (way.network, -way.refined, way.separate)), 2):
            alike = one.about == other.about and one.curve.penalty == other.curve.penalty
            if alike and SDLOGJ in sample.values and wanted:
                about = {**one.about, "penalty": one.curve.penalty, "first": one.name, "second": other.name}
                lines += [{**about, **line} for line in _compared(sample, one, other, wanted)]
    return titled(
        with_holm(lines),
        "Amortization gap: two ways to find fields, with the same penalty",
        f"Difference: first minus second, {INTERVALS}. At the same λ, and at the same SDlogJ by linear interpolation "
        "between the two nearest λ. p and effect: as above.",
    )


def _compared(sample: Sample, one: _Way, other: _Way, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    for basis, value, metric, *values in at_equal(sample, one.curve, other.curve, metrics):
        apart = np.subtract(*(_of_seeds(own, way) for own, way in zip(values, (one, other), strict=True)))
        if not np.isnan(apart).all():
            found = compare(sample, apart)._asdict()
            yield {"matched_in": basis, "at": value, "metric": metric, **found, "n_pairs": apart.shape[1]}


def _of_seeds(values: np.ndarray, way: _Way) -> np.ndarray:
    """Values (S, P) for every seed: without training, a pair has the same field for all."""
    return values if way.trains else np.where(np.isnan(values), np.nanmean(values, axis=0), values)


def gaps_in_words(tables: Mapping[str, pd.DataFrame], metric: str) -> Iterator[str]:
    """One sentence per setting and two ways: the gap of each penalty at the middle of their SDlogJ."""
    if "amortization_gap" not in tables:
        return
    table = tables["amortization_gap"]
    table = pick(table, (table["metric"] == metric) & (table["matched_in"] == SDLOGJ))
    own = ("penalty", "first", "second", "matched_in", "at", "metric", *Paired._fields, "n_pairs", "p_holm")
    for (first, second), part in table.groupby(["first", "second"], sort=False):
        for setting, lines in by_setting(part, own):
            gaps = "; ".join(_gap(line) for line in middles(lines, "penalty"))
            yield f"{METRICS.title(metric)}, {first} minus {second}, at equal SDlogJ{setting}: {gaps}."


def _gap(line: dict[str, Any]) -> str:
    reached = with_interval(line, "difference").removesuffix(")")
    return f"{PENALTIES.title(line['penalty'])} {reached}, at {line['at']:g})"
