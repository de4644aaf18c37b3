"""Tables for the page: from any data frame, or one line per configuration with mean and standard deviation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import floor, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from ...pipeline.evaluation import DICE, METRICS
from ...pipeline.files.csv_tables import csv_text
from ..rows.naming import configuration_name
from ..rows.rounding import rounded
from ..rows.summaries import as_shown, counts, number, pick, setting_columns
from ..study.setting_keys import known_keys
from .blocks import Cell, Column, Table, data_uri
from .headings import heading, value_name

SMALL_CSV = 200_000  # bytes; a larger table has no download, it is in tables/
EVEN = 50  # a column whose numbers differ by less than this factor has the same number of decimals in every line
EXACT = ("lambda", "at")
SUPPORT = (
    *((value, ("low", "high")) for value in ("mean", "difference", "hypervolume", "auc_arc")),
    *((value, (f"{value}_low", f"{value}_high")) for value in ("difference", "effect")),
)
"""Columns with the columns of their intervals; each line is rounded to what its interval supports (the last one)."""


def from_frame(name: str, frame: pd.DataFrame, title: str = "", note: str = "", csv: bool = True) -> Table:
    """A table from a data frame, with headings in plain words; ``attrs`` of the frame may hold its title and note.

    The page omits empty columns, the unit (it is in the headings) and the model if there is only one. The CSV has all
    columns.
    """
    shown = [key for key in map(str, frame) if key != "unit" and frame[key].notna().any()]
    shown = [key for key in shown if key != "model" or frame[key].nunique() > 1]
    named = as_shown(frame)
    columns = [Column(heading(key), _is_numeric(named[key])) for key in shown]
    cells = {key: _cells(key, named[key]) for key in shown}
    for value, ends in SUPPORT:
        if {value, *ends} <= set(shown):
            cells |= _supported(frame, value, *ends)
    lines = list(zip(*cells.values(), strict=True))
    title = title or str(frame.attrs.get("title", "")) or heading(name).capitalize()
    note = note or str(frame.attrs.get("note", ""))
    return Table(name, title, columns, lines, note=note, csv=csv_link(frame) if csv else "")


def by_configuration(name: str, whole: pd.DataFrame, metrics: Sequence[str], title: str, note: str = "") -> Table:
    """One line per configuration, one column per metric: mean ± standard deviation over pairs.

    The first line has the values before registration.

    Args:
        name: name of the table.
        whole: a summary.
        metrics: the metrics, in order; those that were not measured are left out.
        title: title of the table.
        note: note below the table; default: what the numbers are, and over how many pairs and seeds.
    """
    keys = setting_columns(whole)
    wide = whole.pivot(index=keys, columns="metric", values=["mean", "std_pairs"])
    wide = wide.reindex(pd.MultiIndex.from_frame(whole[keys].drop_duplicates()))  # in the order of the summary
    metrics = [metric for metric in metrics if ("mean", metric) in wide and wide["mean", metric].notna().any()]
    shown = [key for key in keys if key != "model" or whole[key].nunique() > 1]
    settings = as_shown(wide.index.to_frame(index=False))
    columns = [_cells(key, settings[key]) for key in shown]
    first = [Cell("before registration"), *[Cell()] * (len(shown) - 1)]
    for metric in metrics:
        mean, spread = wide["mean", metric].to_numpy(float), wide["std_pairs", metric].to_numpy(float)
        before = float(pick(whole, whole["metric"] == metric)["before"].mean())
        form = number_form([*mean, before])
        columns.append([_with_spread(m, s, form) for m, s in zip(mean, spread, strict=True)])
        first.append(Cell(form(before), value=before) if isfinite(before) else Cell())
    heads = [*(Column(heading(key), _is_numeric(settings[key])) for key in shown)]
    heads += [Column(heading(metric), True) for metric in metrics]
    known = any(cell.value is not None for cell in first)
    return Table(
        name, title, heads, list(zip(*columns, strict=True)), [first] if known else (),
        note or f"Mean ± standard deviation over pairs; {counts(whole)}.",
        csv_link(pick(whole, whole["metric"].isin(metrics))),
    )  # fmt: skip


def structures(labels: pd.DataFrame) -> Table:
    """Dice of each structure: one line per structure, one column per configuration."""
    keys = list(labels.columns[: list(labels.columns).index("label")])
    named = labels.assign(metric=DICE, label=labels["label"].astype(str))
    order = named["label"].drop_duplicates()
    columns: dict[str, Any] = {"structure": order, "before": named.groupby("label")["before"].mean().loc[order]}
    for _, part in named.groupby(keys, dropna=False, sort=False):
        name = configuration_name(part.iloc[0], named[[*keys, "metric"]])
        columns[name] = part.set_index("label")["mean"].loc[order]
    frame = pd.DataFrame({key: np.asarray(values) for key, values in columns.items()})
    note = f"Mean over the {number(named['n_pairs'], 'test pair')} that have the structure."
    return replace(
        from_frame("structures", frame, f"{METRICS.title(DICE)} of each structure", note), csv=csv_link(labels)
    )


def csv_link(frame: pd.DataFrame) -> str:
    """A data frame as a link to a CSV file; empty if the file is too large."""
    text = csv_text(frame).encode()
    return data_uri("text/csv;charset=utf-8", text) if len(text) <= SMALL_CSV else ""


def significant(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits: 0.00238, 41.5, 1.20 · 10⁻⁷; exactly 0 is 0."""
    if value == 0:
        return "0"
    if not isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else ""
    power = floor(log10(abs(value)))
    if -5 < power < 6:
        return _minus(f"{value:.{max(0, digits - 1 - power)}f}")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return _minus(f"{mantissa} · 10") + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _is_numeric(column: pd.Series) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _cells(key: str, column: pd.Series) -> list[Cell]:
    if not _is_numeric(column):
        return [Cell("" if pd.isna(value) else value_name(value)) for value in column]
    values = column.to_numpy(float)
    there = values[np.isfinite(values)]
    exact = key in EXACT or key in known_keys() or bool((there == np.round(there)).all())
    form = _exactly if exact else _p_value if key == "p" or key.startswith("p_") else number_form(values)
    return [Cell(form(value), value=value) if not np.isnan(value) else Cell() for value in values]


def _supported(frame: pd.DataFrame, value: str, low: str, high: str) -> dict[str, list[Cell]]:
    """The cells of a value and of the ends of its interval, rounded line by line."""
    numbers = frame[[value, low, high]].to_numpy(float)
    columns = {key: numbers[:, place] for place, key in enumerate((value, low, high))}
    return {
        key: [
            Cell(_minus(rounded(number, *ends)), value=number) if isfinite(number) else Cell()
            for number, ends in zip(column, numbers[:, 1:], strict=True)
        ]
        for key, column in columns.items()
    }


def _exactly(value: float) -> str:
    return _minus(f"{value:.0f}" if value == round(value) else f"{value:.4g}")


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else significant(value, 2)


def number_form(values: Sequence[float] | np.ndarray) -> Callable[[float], str]:
    """The format of the numbers of one column: the same number of decimals if they are of similar size."""
    sizes = [abs(float(value)) for value in values if isfinite(value) and value]
    if not sizes or max(sizes) / min(sizes) > EVEN or not 1e-5 < float(np.median(sizes)) < 1e6:
        return significant
    places = max(0, 2 - floor(log10(float(np.median(sizes)))))
    return lambda value: "0" if value == 0 else _minus(f"{value:.{places}f}")


def _with_spread(mean: float, spread: float, form: Any) -> Cell:
    if not isfinite(mean):
        return Cell()
    return Cell(form(mean), f"± {form(spread)}" if isfinite(spread) else "", mean)
