"""Accuracy against smoothness: the ARC with its Pareto front, penalties at equal smoothness, amortization gaps."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS, SDLOGJ
from ...pipeline.settings.schema import ObjectiveSettings
from ..rows.summaries import named_settings, number, pick, telling, way_keys
from ..statistics import Analysis
from .axes import lambda_axis
from .baselines import baselines_of, draw_points, handles
from .style import GREY, LINES, caption, colour_of, legend, legend_width, marker_of, new_figure, penalties_of

LONGEST_TITLE = 34
"""Letters of two ways to find fields that fit above a panel on one line."""
MANY = 6
"""With more penalties than this, the panels that show them side by side are wider."""
MOST_GAPS = 6
"""With more pairs of ways to find fields than this, only those with the first way of each setting are shown."""


class _Way(NamedTuple):
    """A way to find fields: its line style, its name, and one line with the columns that tell it from the others."""

    style: Any
    words: str
    keys: pd.DataFrame

    def among(self, lines: pd.DataFrame) -> pd.DataFrame:
        """Those of the lines whose fields were found this way."""
        return lines.merge(self.keys, on=list(self.keys)) if len(self.keys) else lines


def matched_name(smoothness: str) -> str:
    """The file name of the figure of penalties at equal ``smoothness`` (a metric)."""
    return f"matched_{METRICS.title(smoothness).lower().replace(' ', '_')}"


def _across(smoothness: str) -> str:
    """The label of an axis that shows smoothness."""
    label, unit = METRICS[smoothness].axis(), METRICS[smoothness].unit
    return label if unit else f"{label} (smoother to the left)"


def trade_figures(analysis: Analysis, metric: str, title: str) -> Iterator[tuple[str, Figure | None]]:
    """The Pareto front; if there are curves, comparisons at equal SDlogJ and folding, and of ways to find fields."""
    if "means" not in analysis.tables:
        return
    yield "pareto_front", pareto_front(analysis, metric, title)
    for smoothness in METRICS.of_role("smoothness"):
        yield matched_name(smoothness), matched(analysis, metric, smoothness, title)
    yield "amortization_gap", amortization_gap(analysis, metric, title)


def pareto_front(analysis: Analysis, metric: str, title: str) -> Figure:
    """The ARC, one panel per setting: accuracy against SDlogJ, with intervals. Points on the Pareto front are filled.

    The range of SDlogJ over which AUC-ARC is taken is marked.

    Networks, refined networks and optimization share a panel; each has its own line style. The baselines are points in
    every panel; without penalties they have one panel.
    """
    means = analysis.tables["means"]
    points, without = analysis.tables.get("fronts", pd.DataFrame()), baselines_of(means)
    keys = _setting_keys(points) if len(points) else []
    areas = analysis.tables.get("auc_arc", pd.DataFrame())
    different = way_keys(points, keys) if len(points) else []
    ways = _ways(points, different)
    parts = list(_settings(points, [key for key in keys if key not in different])) if len(points) else [("", points)]
    entries = [*(_front_handles(points, ways) if len(points) else []), *handles(without)]
    width = 3.6 * len(parts) + legend_width(str(entry.get_label()) for entry in entries)
    figure = new_figure(width, 4.2, "ARC: accuracy against smoothness")
    for axes, (words, part) in zip(_panels(figure, 1, len(parts))[0], parts, strict=True):
        for penalty, style, own in _lines(part, ways):
            measured = (pick(means, means["metric"] == name) for name in (SDLOGJ, metric))
            line = [*keys, "penalty", "lambda"]
            x, y = (own[line].merge(intervals, on=line, how="left") for intervals in measured)
            look = _look(penalty) | {"marker": "", "linestyle": style}
            axes.errorbar(x["mean"], y["mean"], xerr=_reach(x), yerr=_reach(y), **look)
            faces = [colour_of(penalty) if there else "white" for there in own["on_front"]]
            axes.scatter(
                x["mean"], y["mean"], marker=marker_of(penalty), c=faces, edgecolors=colour_of(penalty), s=32, zorder=3
            )
        draw_points(axes, without, SDLOGJ, metric)
        _mark_ranges(axes, areas, part, keys, ways)
        axes.set_xlabel(_across(SDLOGJ))
        axes.set_title(words)
    figure.axes[0].set_ylabel(METRICS[metric].axis())
    legend(figure, entries)
    bars = "One point per λ; bars" if len(points) else "Bars"
    stand_on = f"{number(means['n_pairs'], 'test pair')}, {number(means['n_seeds'], 'seed')} per point"
    marked = "Shaded: the range" if len(ways) == 1 else "Grey lines at the bottom: the ranges"
    ranges = "" if areas.empty else f" {marked} of AUC-ARC."
    caption(figure, f"{title}.", f"{bars}: {_bars(means)}. {stand_on}.{ranges}")
    return figure


def _mark_ranges(axes: Axes, areas: pd.DataFrame, part: pd.DataFrame, keys: list[str], ways: list[_Way]) -> None:
    """Shade the range of AUC-ARC. Each way of finding fields has its own range: several are lines in their styles."""
    if areas.empty or part.empty:
        return
    for place, way in enumerate(ways):
        found = areas.merge(way.among(part)[keys].drop_duplicates(), on=keys)[["from", "to"]].drop_duplicates()
        for low, high in found.to_numpy(dtype=float):
            if len(ways) == 1:
                axes.axvspan(low, high, color=GREY, alpha=0.1, linewidth=0, zorder=0)
            else:
                height = 0.02 + 0.025 * place  # as a share of the panel
                axes.plot(
                    [low, high], [height, height], color=GREY, linestyle=way.style, transform=axes.get_xaxis_transform()
                )


def _lines(part: pd.DataFrame, ways: list[_Way]) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    """Penalty, line style and points over λ of each curve in a panel."""
    for penalty in penalties_of(part) if len(part) else ():
        own = pick(part, part["penalty"] == penalty).sort_values(by="lambda")
        for way in ways:
            points = way.among(own)
            if len(points):
                yield penalty, way.style, points


def _ways(points: pd.DataFrame, keys: list[str]) -> list[_Way]:
    """The ways by which fields were found. With more of them than line styles, the styles begin again."""
    if not keys:
        return [_Way(LINES[0], "", pd.DataFrame())]
    found = enumerate(_settings(points, keys))
    return [_Way(LINES[i % len(LINES)], words, part[keys].drop_duplicates()) for i, (words, part) in found]


def _front_handles(points: pd.DataFrame, ways: list[_Way]) -> list[Line2D]:
    return [
        *_handles(penalties_of(points)),
        *(Line2D([], [], color=GREY, ls=way.style, label=way.words) for way in ways if way.words),
        Line2D([], [], color=GREY, marker="o", ls="", label="on the Pareto front"),
        Line2D([], [], color=GREY, marker="o", ls="", markerfacecolor="white", label="not on it"),
    ]


def matched(analysis: Analysis, metric: str, smoothness: str, title: str) -> Figure | None:
    """Top: accuracy at equal smoothness. Bottom: paired differences to one penalty. None without curves."""
    table = analysis.tables.get("matched", pd.DataFrame())
    if table.empty or smoothness not in set(table["matched_in"]):
        return None
    table = pick(table, (table["matched_in"] == smoothness) & (table["metric"] == metric))
    compared = analysis.tables["comparisons"]
    compared = pick(compared, (compared["matched_in"] == smoothness) & (compared["metric"] == metric))
    penalties = penalties_of(table)
    usual = ObjectiveSettings().penalty
    reference = usual if usual in penalties else penalties[0]
    parts = list(_settings(table, _setting_keys(table)))
    width = 3.6 if len(penalties) <= MANY else 6.0
    figure = new_figure(width * len(parts) + 1.9, 5.4, "Penalties at equal smoothness")
    above, below = _panels(figure, 2, len(parts))
    for top, bottom, (words, part) in zip(above, below, parts, strict=True):
        values = sorted(part["at"].unique())
        for place, penalty in enumerate(penalties):
            own = pick(part, part["penalty"] == penalty).sort_values(by="at")
            beside = min(0.16, 0.75 / len(penalties))
            places = np.searchsorted(values, own["at"]) + beside * (place - (len(penalties) - 1) / 2)
            top.errorbar(places, own["mean"], yerr=_reach(own), **_look(penalty))
            if penalty != reference:
                against = _against(compared, own, penalty, reference)
                bottom.errorbar(places, against["mean"], yerr=_reach(against), **_look(penalty) | {"linestyle": ""})
        bottom.axhline(0, color=GREY, linewidth=0.9, zorder=0)
        bottom.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        bottom.set_xlabel(_across(smoothness))
        top.set_title(words)
    above[0].set_ylabel(METRICS[metric].axis())
    below[0].set_ylabel(f"difference to {PENALTIES.title(reference)}")
    legend(figure, _handles(penalties))
    seeds = number(table["n_seeds"], "seed")
    caption(
        figure, f"{title}.",
        f"Interpolated between neighbouring λ of each penalty; bars: {_bars(table)} "
        f"({number(compared['n_pairs'], 'test pair')}, {seeds}). Differences are paired, so their bars are shorter.",
    )  # fmt: skip
    return figure


def amortization_gap(analysis: Analysis, metric: str, title: str) -> Figure | None:
    """How far two ways to find fields are apart, per penalty: top at equal SDlogJ, bottom at equal λ.

    None if there is one way only, or no two curves of a penalty overlap.
    """
    table = analysis.tables.get("amortization_gap", pd.DataFrame())
    if table.empty:
        return None
    table = pick(table, table["metric"] == metric)
    bases = [basis for basis in (SDLOGJ, "lambda") if basis in set(table["matched_in"])]
    parts = [
        (words, ways, own)
        for words, part in _settings(table, _setting_keys(table))
        for ways, own in part.groupby(["first", "second"], sort=False)
    ]
    if len(parts) > MOST_GAPS:
        nearest = {words: first for words, (first, _), _ in reversed(parts)}
        parts = [part for part in parts if part[1][0] == nearest[part[0]]]
    figure = new_figure(3.6 * len(parts) + 1.9, 0.9 + 2.5 * len(bases), "Amortization gap")
    panels = figure.subplots(len(bases), len(parts), sharey=True, sharex="row", squeeze=False)
    for basis, row in zip(bases, panels, strict=True):
        for axes, (words, (first, second), part) in zip(row, parts, strict=True):
            axes.axhline(0, color=GREY, linewidth=0.9, zorder=0)
            for penalty in penalties_of(part):
                own = pick(part, (part["penalty"] == penalty) & (part["matched_in"] == basis)).sort_values(by="at")
                shown = own.rename(columns={"difference": "mean"})
                axes.errorbar(shown["at"], shown["mean"], yerr=_reach(shown), **_look(penalty))
            if basis == SDLOGJ:
                axes.set_xlabel(_across(SDLOGJ))
            else:
                lambda_axis(axes, list(table.loc[table["matched_in"] == basis, "at"]))  # of all panels
            if axes in panels[0]:
                space = " " if len(f"{first}{second}") <= LONGEST_TITLE else "\n"
                axes.set_title(f"{words}:\n{first}{space}minus {second}")
        row[0].set_ylabel(f"difference in\n{METRICS[metric].axis()}")
    legend(figure, _handles(penalties_of(table)))
    seeds, pairs = number(analysis.tables["means"]["n_seeds"], "seed"), number(table["n_pairs"], "test pair")
    caption(
        figure, f"{title}.",
        f"Differences pair by pair; bars: {_bars(analysis.tables['means'])} ({pairs}, {seeds}). At equal SDlogJ, "
        "interpolated between neighbouring λ.",
    )  # fmt: skip
    return figure


def _against(compared: pd.DataFrame, own: pd.DataFrame, penalty: str, reference: str) -> pd.DataFrame:
    """Penalty minus reference, in the order of ``own``. ``compared`` has each two penalties in one order only."""
    keys = [*_setting_keys(own), "at"]
    forward = compared.query("first == @penalty and second == @reference")
    backward = compared.query("first == @reference and second == @penalty")
    lines = own[keys].merge(forward if len(forward) else backward, on=keys, how="left")
    sign = 1 if len(forward) else -1
    low, high = ("low", "high")[::sign]
    return pd.DataFrame({"mean": sign * lines["difference"], "low": sign * lines[low], "high": sign * lines[high]})


def _setting_keys(table: pd.DataFrame) -> list[str]:
    """The columns before the penalty: the model and whatever else varies between settings."""
    columns = list(table.columns)
    return columns[: min(columns.index(name) for name in ("matched_in", "penalty") if name in columns)]


def _settings(table: pd.DataFrame, keys: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    names = telling(table, keys) or keys[:1]  # a single setting is named, too
    for _, part in table.groupby(keys, sort=False, dropna=False):
        yield ", ".join(named_settings(part.iloc[0], names)), part


def _reach(lines: pd.DataFrame) -> Any:
    return np.clip(np.stack([lines["mean"] - lines["low"], lines["high"] - lines["mean"]]), 0, None)


def _panels(figure: Figure, rows: int, columns: int) -> np.ndarray:
    sharey: Any = "row"
    return figure.subplots(rows, columns, sharey=sharey, sharex="col", squeeze=False)


def _look(penalty: str) -> dict[str, Any]:
    look = {"color": colour_of(penalty), "marker": marker_of(penalty), "linestyle": "-", "linewidth": 1.2}
    return look | {"elinewidth": 0.8, "markersize": 4.5}


def _handles(penalties: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], label=PENALTIES.title(p), color=colour_of(p), marker=marker_of(p), markersize=4.5)
        for p in penalties
    ]


def _bars(table: pd.DataFrame) -> str:
    return f"95 % intervals over subjects{' and seeds' if table['n_seeds'].max() > 1 else ''}"
