"""The ARC: accuracy against smoothness, with its Pareto front."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...pipeline.evaluation import METRICS, SDLOGJ
from ...pipeline.settings.vocabulary import METHODS
from ..rows.summaries import number, pick, way_keys
from ..statistics import Analysis
from .axes import rows_and_columns, setting_panels
from .baselines import Baseline, baselines_of, draw_points, handles
from .kinds import ANSWER, KINDS, Drawn, FigureKind, Look, Material
from .penalty_curves import bars_of, handles_of, look_of, reach, setting_keys, settings_of, smoothness_axis
from .style import GREY, LINES, caption, colour_of, legend, legend_width, marker_of, new_figure, penalties_of

BEYOND = 1.25
"""Baselines at more than so many times the largest SDlogJ of the curves lie outside of the panels."""


class _Way(NamedTuple):
    """A way to find fields: its line style, its name, and one line with the columns that tell it from the others."""

    style: Any
    words: str
    keys: pd.DataFrame

    def among(self, lines: pd.DataFrame) -> pd.DataFrame:
        """Those of the lines whose fields were found this way."""
        return lines.merge(self.keys, on=list(self.keys)) if len(self.keys) else lines


def pareto_front(analysis: Analysis, metric: str, title: str) -> Figure:
    """The ARC, one panel per setting: accuracy against SDlogJ, with intervals. Points on the Pareto front are filled.

    The range of SDlogJ over which AUC-ARC is taken is marked.

    Networks, refined networks and optimization share a panel; each has its own line style. The baselines are points in
    every panel; without penalties they have one panel.
    """
    means = analysis.tables["means"]
    points, without = analysis.tables.get("fronts", pd.DataFrame()), baselines_of(means)
    keys = setting_keys(points) if len(points) else []
    areas = analysis.tables.get("auc_arc", pd.DataFrame())
    different = way_keys(points, keys) if len(points) else []
    ways = _ways(points, different)
    parts = list(settings_of(points, [key for key in keys if key not in different])) if len(points) else [("", points)]
    entries = [*(_front_handles(points, ways) if len(points) else []), *handles(without)]
    rows, columns = rows_and_columns(len(parts))
    width = 3.6 * columns + legend_width(str(entry.get_label()) for entry in entries)
    figure = new_figure(width, 3.3 * rows + 0.9, "ARC: accuracy against smoothness")
    for axes, (words, part) in zip(setting_panels(figure, len(parts), across=False), parts, strict=True):
        for penalty, style, own in _lines(part, ways):
            measured = (pick(means, means["metric"] == name) for name in (SDLOGJ, metric))
            line = [*keys, "penalty", "lambda"]
            x, y = (own[line].merge(intervals, on=line, how="left") for intervals in measured)
            look = look_of(penalty) | {"marker": "", "linestyle": style}
            _, _, bars = axes.errorbar(x["mean"], y["mean"], xerr=reach(x), yerr=reach(y), **look)
            for one in bars if len(own) == 1 else ():  # a point has no line that could show its style
                one.set_linestyle(style)
            faces = [colour_of(penalty) if there else "white" for there in own["on_front"]]
            axes.scatter(
                x["mean"], y["mean"], marker=marker_of(penalty), c=faces, edgecolors=colour_of(penalty), s=32, zorder=3
            )
        draw_points(axes, without, SDLOGJ, metric)
        _mark_ranges(axes, areas, part, keys, ways)
        smoothness_axis(axes, SDLOGJ)
        axes.set_title(words)
    for axes in figure.axes[::columns]:
        axes.set_ylabel(METRICS[metric].axis())
    outside = _leave_outside(figure.axes, without, points)
    legend(figure, entries)
    bars = "One point per λ; bars" if len(points) else "Bars"
    stand_on = f"{number(means['n_pairs'], 'test pair')}, {number(means['n_seeds'], 'seed')} per point"
    marked = "Shaded: the range" if len(ways) == 1 else "Grey lines at the bottom: the ranges"
    ranges = "" if areas.empty else f" {marked} of AUC-ARC."
    caption(figure, f"{title}.", f"{bars}: {bars_of(means)}. {stand_on}.{ranges}{outside}")
    return figure


def _leave_outside(panels: list[Axes], without: list[Baseline], points: pd.DataFrame) -> str:
    """End the panels near the roughest curve if a baseline lies far beyond it; the sentence that says so, or ''.

    The curves, which the figure is about, would be squeezed otherwise.
    """
    if points.empty:
        return ""
    end = BEYOND * points[SDLOGJ].max()
    at = [(one, float(line["mean"])) for one in without if (line := one.line(SDLOGJ)) is not None]
    far = [f"{METHODS.title(one.model)} at {sdlogj:.2f}" for one, sdlogj in at if sdlogj > end]
    for axes in panels if far else []:
        axes.set_xlim(right=end)
    return f" Beyond the panel: {', '.join(far)}." if far else ""


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
    found = enumerate(settings_of(points, keys))
    return [_Way(LINES[i % len(LINES)], words, part[keys].drop_duplicates()) for i, (words, part) in found]


def _front_handles(points: pd.DataFrame, ways: list[_Way]) -> list[Line2D]:
    return [
        *handles_of(penalties_of(points)),
        *(Line2D([], [], color=GREY, ls=way.style, label=way.words) for way in ways if way.words),
        Line2D([], [], color=GREY, marker="o", ls="", label="on the Pareto front"),
        Line2D([], [], color=GREY, marker="o", ls="", markerfacecolor="white", label="not on it"),
    ]


def _drawn(material: Material) -> Drawn:
    if "means" in material.analysis.tables:
        yield "pareto_front", pareto_front(material.analysis, material.measured[0], material.title)


def _looks() -> dict[str, Look]:
    return {
        "pareto_front": Look(
            "ARC: accuracy against smoothness",
            "Smoother is left, more accurate is up (down, if the metric is an error). Filled points are on the Pareto "
            "front: no other point is better on both axes.",
            beside=ANSWER,
        )
    }


KINDS.append(FigureKind(place=60, draw=_drawn, looks=_looks))
