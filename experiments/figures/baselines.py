"""Baselines in figures: grey points or horizontal lines beside the curves of networks, one marker per method."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...pipeline.settings.vocabulary import METHODS, untrained
from ..rows.summaries import baselines, pick, setting_columns, variant

GREYS = ("#222222", "#8A8A8A", "#555555", "#AAAAAA")  # for several configurations of one method
MARKERS = ("P", "X", "p", "h", "*", "8", "d", "H")
DASHES: Sequence[Any] = ((0, (1, 2)), (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (9, 2)))
"""Assigned to the methods by their order."""


class Baseline(NamedTuple):
    """One baseline: its look, and its lines by metric, from a summary or from the table of means."""

    label: str
    model: str
    colour: str
    metrics: pd.DataFrame

    @property
    def registers(self) -> bool:
        """Whether it moves images: false for the baseline without registration."""
        return METHODS[self.model].registers

    @property
    def marker(self) -> str:
        return MARKERS[untrained().index(self.model) % len(MARKERS)]

    @property
    def dashes(self) -> Any:
        return DASHES[untrained().index(self.model) % len(DASHES)]

    def line(self, metric: str) -> pd.Series | None:
        return self.metrics.loc[metric] if metric in self.metrics.index else None


def baselines_of(table: pd.DataFrame) -> list[Baseline]:
    """The baselines in a summary or in the table of means, in the order of the methods."""
    own = baselines(table)
    found: list[Baseline] = []
    for model in untrained():
        parts = pick(own, own["model"] == model).groupby(setting_columns(own), dropna=False, sort=True)
        for place, (_, lines) in enumerate(parts):
            label = ", ".join([METHODS.title(model), *variant(lines.iloc[0], own)])
            found.append(Baseline(label, model, GREYS[place % len(GREYS)], lines.set_index("metric")))
    return found


def look(baseline: Baseline) -> dict[str, Any]:
    """The matplotlib style of a baseline's point."""
    return {"color": baseline.colour, "marker": baseline.marker, "linestyle": "", "markersize": 6}


def draw_points(axes: Axes, found: Sequence[Baseline], x: str, y: str) -> None:
    """Draw one point per baseline, with bars if its table has ``low`` and ``high``."""
    for baseline in found:
        across, up = baseline.line(x), baseline.line(y)
        if across is None or up is None:
            continue
        sides = ([[v["mean"] - v["low"]], [v["high"] - v["mean"]]] if "low" in v else None for v in (across, up))
        bars: Any = dict(zip(("xerr", "yerr"), sides, strict=True))
        axes.errorbar(across["mean"], up["mean"], elinewidth=0.8, zorder=4, **bars, **look(baseline))


def draw_levels(axes: Axes, found: Sequence[Baseline], metric: str) -> None:
    """Draw one horizontal line per baseline."""
    for baseline in found:
        line = baseline.line(metric)
        if line is not None and np.isfinite(line["mean"]):
            axes.axhline(line["mean"], color=baseline.colour, linestyle=baseline.dashes, linewidth=1.1, zorder=0.5)


def handles(found: Sequence[Baseline], levels: bool = False) -> list[Line2D]:
    """The baselines for a legend, as points or as lines."""
    if levels:
        return [Line2D([], [], color=b.colour, linestyle=b.dashes, linewidth=1.1, label=b.label) for b in found]
    return [Line2D([], [], label=baseline.label, **look(baseline)) for baseline in found]
