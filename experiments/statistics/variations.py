"""What a setting changes: each setting beside the usual ones, for studies that change one thing at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS, SDLOGJ
from ..rows.naming import USUAL, named_settings, telling, usual
from ..rows.rounding import is_clear, rounded_in, with_interval
from ..rows.summaries import pick, way_keys
from .curves import Part, at_equal, curves, setting_keys
from .pairwise import Paired, compare, with_holm
from .sample import INTERVALS, Sample, titled
from .sentences import by_setting, middles

OWN = ("penalty", "setting", "matched_in", "at", "metric", *Paired._fields, "n_pairs", "p_holm")


def variations(parts: Sequence[Part], measured: Sequence[str]) -> pd.DataFrame:
    """Compare each setting with the usual ones, for each penalty: at every λ that both have, and at equal SDlogJ.

    A setting is usual if more than half of the settings of curves have it. The model and the way in which fields were
    found are never usual: curves that differ in them are not compared here. Empty if nothing is usual, or no curve has
    the usual settings.
    """
    lines: list[dict[str, Any]] = []
    for sample, _, metrics in parts:
        if SDLOGJ in sample.values and (wanted := [metric for metric in measured if metric in metrics]):
            lines += [{**about, **line} for about, line in _of_sample(sample, wanted)]
    return titled(
        with_holm(lines),
        f"What each setting changes, compared with the {USUAL}",
        f"Difference: the setting minus the {USUAL}, which more than half of the settings have; {INTERVALS}. At the "
        "same λ, and at the same SDlogJ by linear interpolation between the two nearest λ. p and effect: as above.",
    )


def _of_sample(sample: Sample, metrics: Sequence[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The columns of the setting that both curves share, and a line about their difference."""
    keys, found = setting_keys(sample), curves(sample)
    settings = pd.DataFrame(list(found), columns=pd.Index(keys))
    may_vary = [key for key in telling(settings, keys) if key not in ("model", *way_keys(settings, keys))]
    common = usual(settings, may_vary)
    for setting in found:
        line = dict(zip(keys, setting, strict=True))
        name = ", ".join(named_settings(line, [key for key in common if line[key] != common[key]]))
        beside = found.get(tuple({**line, **common}.values()), [])
        for one, other in ((one, other) for one in found[setting] for other in beside if name):
            if one.penalty == other.penalty:
                about = {key: value for key, value in line.items() if key not in common}
                about |= {"penalty": one.penalty, "setting": name}
                for basis, value, metric, own, its in at_equal(sample, one, other, metrics):
                    if not np.isnan(apart := own - its).all():
                        measured = {**compare(sample, apart)._asdict(), "n_pairs": apart.shape[1]}
                        yield about, {"matched_in": basis, "at": value, "metric": metric, **measured}


def variations_in_words(tables: Mapping[str, pd.DataFrame], metric: str) -> Iterator[str]:
    """One sentence per penalty: what each setting changes at the middle of the SDlogJ that it shares with the usual."""
    for what, lines in _at_middle(tables, metric):
        told = "; ".join(map(_told, lines))
        yield f"{METRICS.title(metric)} with {what}, minus that of the {USUAL}: {told}."


def variations_in_brief(tables: Mapping[str, pd.DataFrame], metric: str) -> Iterator[str]:
    """The same without intervals: first what makes a clear difference, the largest one first."""
    for what, lines in _at_middle(tables, metric):
        ordered = sorted(lines, key=lambda line: -abs(line["difference"]))
        clear = [f"{rounded_in(line, 'difference')} with {line['setting']}" for line in ordered if is_clear(line)]
        unclear = [line["setting"] for line in ordered if not is_clear(line)]
        parts = [f"{METRICS.title(metric)} changes by {', '.join(clear)}"] if clear else []
        parts += [f"no clear difference with {', '.join(unclear)}"] if unclear else []
        yield f"Compared with the {USUAL}, for {what}: {'; '.join(parts)}."


def _at_middle(tables: Mapping[str, pd.DataFrame], metric: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The penalty and what else is equal, in words, and the line of each setting at the middle of its SDlogJ."""
    if "variations" not in tables:
        return
    table = tables["variations"]
    table = pick(table, (table["metric"] == metric) & (table["matched_in"] == SDLOGJ))
    for penalty, part in table.groupby("penalty", sort=False):
        for setting, lines in by_setting(part, OWN):
            yield f"{PENALTIES.title(str(penalty))} at equal SDlogJ{setting}", middles(lines, "setting")


def _told(line: dict[str, Any]) -> str:
    return f"{line['setting']} {with_interval(line, 'difference').removesuffix(')')}, at {line['at']:g})"
