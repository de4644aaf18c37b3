"""Baselines in figures: grey points or horizontal lines beside the curves of networks, one marker per method."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...pipeline.settings.vocabulary import METHODS, without_objective
from ..rows.naming import variant
from ..rows.summaries import baselines, pick, setting_columns

GREYS = ("#222222", "#8A8A8A", "#555555", "#AAAAAA")  # for several configurations of one method
MARKERS = ("P", "X", "p", "h", "*", "8", "d", "H")
CURVE = 4
"""So many configurations of one method, or more, are drawn as a curve with one entry in the legend."""
DASHES: Sequence[Any] = ((0, (1, 2)), (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (9, 2)))
"""Assigned to the methods by their order."""


class Baseline(NamedTuple):
    """One baseline: its look, and its lines by metric, from a summary or from the table of means.

    ``colour`` tells it from the other configurations of its method, also from those of its curve.
    """

    label: str
    model: str
    colour: str
    metrics: pd.DataFrame
    settings: tuple[Any, ...] = ()
    on_curve: bool = False

    @property
    def registers(self) -> bool:
        """Whether it moves images: false for the baseline without registration."""
        return METHODS[self.model].registers

    @property
    def marker(self) -> str:
        return MARKERS[without_objective().index(self.model) % len(MARKERS)]

    @property
    def dashes(self) -> Any:
        return DASHES[without_objective().index(self.model) % len(DASHES)]

    def line(self, metric: str) -> pd.Series | None:
        return self.metrics.loc[metric] if metric in self.metrics.index else None


def baselines_of(table: pd.DataFrame) -> list[Baseline]:
    """The baselines in a summary or in the table of means, in the order of the methods."""
    own = baselines(table)
    found: list[Baseline] = []
    for model in without_objective():
        parts = pick(own, own["model"] == model).groupby(setting_columns(own), dropna=False, sort=True)
        on_curve = parts.ngroups >= CURVE
        for place, (settings, lines) in enumerate(parts):
            label = ", ".join([METHODS.title(model), *variant(lines.iloc[0], own)])
            colour = _grey(place / (parts.ngroups - 1)) if on_curve else GREYS[place % len(GREYS)]
            found.append(Baseline(label, model, colour, lines.set_index("metric"), tuple(settings), on_curve))
    return found


def _grey(share: float) -> str:
    """A grey from dark (0) to light (1)."""
    return f"{0.13 + 0.55 * share:.2f}"


def curves_of(found: Sequence[Baseline]) -> list[list[Baseline]]:
    """Configurations of one method that differ in one setting only, in its order: the one that takes most values."""
    curves: list[list[Baseline]] = []
    for model in dict.fromkeys(baseline.model for baseline in found if baseline.on_curve):
        own = [baseline for baseline in found if baseline.model == model]
        columns = range(len(own[0].settings))
        axis = max(columns, key=lambda column: len({str(baseline.settings[column]) for baseline in own}))
        alike: dict[str, list[Baseline]] = {}
        for baseline in own:
            others = [str(baseline.settings[column]) for column in columns if column != axis]
            alike.setdefault(" ".join(others), []).append(baseline)
        curves += [sorted(one, key=lambda baseline: baseline.settings[axis]) for one in alike.values() if len(one) > 1]
    return curves


def look(baseline: Baseline) -> dict[str, Any]:
    """The matplotlib style of a baseline's point. The points of a curve have one colour."""
    colour = GREYS[0] if baseline.on_curve else baseline.colour
    return {"color": colour, "marker": baseline.marker, "linestyle": "", "markersize": 6}


def draw_points(axes: Axes, found: Sequence[Baseline], x: str, y: str) -> None:
    """Draw one point per baseline, with bars if its table has ``low`` and ``high``; curves are joined by a line."""
    for curve in curves_of(found):
        ends = [(one.line(x), one.line(y)) for one in curve]
        there = [(across["mean"], up["mean"]) for across, up in ends if across is not None and up is not None]
        axes.plot(*zip(*there, strict=True), color=GREYS[0], linestyle=curve[0].dashes, linewidth=0.9, zorder=3.5)
    for baseline in found:
        across, up = baseline.line(x), baseline.line(y)
        if across is None or up is None:
            continue
        sides = ([[v["mean"] - v["low"]], [v["high"] - v["mean"]]] if "low" in v else None for v in (across, up))
        bars: Any = dict(zip(("xerr", "yerr"), sides, strict=True))
        axes.errorbar(across["mean"], up["mean"], elinewidth=0.8, zorder=4, **bars, **look(baseline))


def draw_levels(axes: Axes, found: Sequence[Baseline], metric: str) -> None:
    """Draw one horizontal line per baseline; none for a curve, which has no single level."""
    for baseline in (one for one in found if not one.on_curve):
        line = baseline.line(metric)
        if line is not None and np.isfinite(line["mean"]):
            axes.axhline(line["mean"], color=baseline.colour, linestyle=baseline.dashes, linewidth=1.1, zorder=0.5)


def handles(found: Sequence[Baseline], levels: bool = False) -> list[Line2D]:
    """The baselines for a legend, as points or as lines."""
    alone = [baseline for baseline in found if not baseline.on_curve]
    if levels:
        return [Line2D([], [], color=b.colour, linestyle=b.dashes, linewidth=1.1, label=b.label) for b in alone]
    models = list(dict.fromkeys(baseline.model for baseline in found))
    shown = []
    for model in models:
        own = [baseline for baseline in found if baseline.model == model]
        if not own[0].on_curve:
            shown += [Line2D([], [], label=baseline.label, **look(baseline)) for baseline in own]
            continue
        style = look(own[0]) | {"linestyle": own[0].dashes, "linewidth": 0.9}
        shown.append(Line2D([], [], label=f"{METHODS.title(model)}, {len(own)} settings", **style))
    return shown
