"""Networks against baselines: the accuracy of each penalty at the smoothness of the baseline, on the same pairs."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import FOLDING, METRICS, REFINED, SDLOGJ, SECONDS
from ...pipeline.settings.vocabulary import METHODS, without_objective
from ..rows.naming import BACKBONE, named_settings, upper_first, variant
from ..rows.rounding import is_clear, rounded_in, span, with_interval
from ..rows.summaries import METHOD, WAYS, baselines, configuration, penalized, pick, records, trained_methods
from .curves import Curve, CurveSet, Part, pairs_at, reach, weight_at
from .pairwise import Paired, compare, with_holm
from .sample import INTERVALS, titled
from .sentences import by_setting


def against_baselines(parts: Sequence[Part], measured: Sequence[str], rows: pd.DataFrame) -> pd.DataFrame:
    """One line per baseline, setting, penalty and metric; only for curves that reach the baseline's SDlogJ."""
    lines: list[dict[str, Any]] = []
    for sample, groups, metrics in parts:
        for baseline, own in sample.each():
            if baseline["model"] not in without_objective():
                continue
            value = np.array([own.means()[SDLOGJ][0]])
            for group, curve in _reaching(groups, float(value[0])):
                weight = weight_at(curve, group.sample, SDLOGJ, value)[0]
                about = {**group.about, "penalty": curve.penalty, "lambda": weight, "baseline": baseline["model"]}
                about |= {"matched_in": SDLOGJ, "at": value[0]}
                for metric in (name for name in measured if name in metrics):
                    reached = pairs_at(curve, group.sample, SDLOGJ, metric, float(value[0]))
                    if not np.isnan(apart := reached - own.pair_means(metric)).all():
                        difference = compare(group.sample, apart)._asdict()
                        lines.append({**about, "metric": metric, **difference, "n_pairs": apart.shape[1]})
    return titled(
        with_holm(lines),
        f"{_what(rows)} against baselines at equal smoothness",
        "Difference: penalty minus baseline. The penalty is read at the baseline's SDlogJ, by linear interpolation "
        f"between the two nearest λ; {INTERVALS}. p and effect: as above. Penalties that do not reach that SDlogJ "
        "are left out.",
    )


def _reaching(groups: Sequence[CurveSet], value: float) -> Iterator[tuple[CurveSet, Curve]]:
    for group in groups:
        means = group.sample.means()[SDLOGJ]
        for curve in group.curves:
            low, high = reach(curve, means)
            if len(curve.places) > 1 and low <= value <= high:
                yield group, curve


def baselines_in_words(tables: dict[str, pd.DataFrame], metric: str, rows: pd.DataFrame) -> Iterator[str]:
    """The accuracy and time of each baseline, and which penalties are better at its smoothness."""
    of_baselines, own_rows = baselines(tables["means"]), baselines(rows)
    keys = configuration(rows)
    parts = (frame.groupby(keys, sort=False, dropna=False) for frame in (of_baselines, own_rows))
    for (_, lines), (_, own) in zip(*parts, strict=True):
        found, line = lines.set_index("metric"), lines.iloc[0]
        name = ", ".join([METHODS.title(line["model"]), *variant(line, of_baselines)])
        reached = with_interval(found.loc[metric])
        if not METHODS[line["model"]].registers:
            yield f"Without registration, the {METRICS.title(metric)} is {reached}."
            continue
        seconds = own[SECONDS].mean()
        yield (
            f"Without training, {name} reaches a {METRICS.title(metric)} of {reached} at an SDlogJ of "
            f"{rounded_in(found.loc[SDLOGJ])} and {rounded_in(found.loc[FOLDING])} % folding"
            f"{f', in {seconds:.2g} s per pair' if np.isfinite(seconds) else ''}."
        )
    if len(own_rows) and len(penalized(rows)):
        yield from _seconds(penalized(rows))
    if "baselines" in tables:
        yield from _verdicts(pick(tables["baselines"], tables["baselines"]["metric"] == metric), metric, rows)


def _what(rows: pd.DataFrame) -> str:
    """What the curves over λ are of."""
    kinds = {METHODS[name].is_network for name in penalized(rows)[METHOD]} if METHOD in rows else {True}
    return "Networks" if kinds == {True} else "Networks and optima" if True in kinds else "Optima"


def _seconds(rows: pd.DataFrame) -> Iterator[str]:
    """One sentence for each way to find a field: how long it takes."""
    keys = [key for key in (*WAYS, BACKBONE) if key in rows]
    for _, own in rows.groupby(keys, sort=False, dropna=False) if keys else [((), rows)]:
        way = own.iloc[0]
        method = METHODS[str(way.get(METHOD, trained_methods()[0]))]
        name = f"A {method.title}" if method.is_network else upper_first(method.title)
        parts = "".join(f" ({word})" for word in named_settings(way, [BACKBONE] if BACKBONE in keys else []))
        takes = f" refined in at most {way[REFINED]:g} steps takes" if way.get(REFINED) else " takes"
        yield f"{name}{parts}{takes} {own[SECONDS].mean():.2g} s per pair."


def _verdicts(table: pd.DataFrame, metric: str, rows: pd.DataFrame) -> Iterator[str]:
    own = ("penalty", "lambda", "baseline", "matched_in", "at", "metric", *Paired._fields, "n_pairs", "p_holm")
    what, whole = _what(rows), penalized(rows)
    for key, part in table.groupby(["baseline", "at"], sort=False):
        baseline, value = cast(tuple[str, float], key)
        for setting, lines in by_setting(part, own, whole):
            verdicts = []
            for line in records(lines):
                behind = (line["difference"] < 0) != METRICS[metric].smaller_is_better
                word = ("worse" if behind else "better") if is_clear(line) else "no clear difference"
                verdicts.append(f"{PENALTIES.title(line['penalty'])} {word} ({span(line['low'], line['high'])})")
            yield (
                f"{what} as smooth as {METHODS.title(baseline)} (SDlogJ {value:.3g}){setting}, their "
                f"{METRICS.title(metric)} minus that of {METHODS.title(baseline)}: {'; '.join(verdicts)}."
            )
