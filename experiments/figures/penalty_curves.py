"""What the figures of penalties beside each other share: panels, looks, bars and words."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS
from ..rows.naming import named_settings, namer
from ..rows.rounding import PERCENT
from .style import colour_of, marker_of

LEAST_STEP = 0.001
"""Between ticks: with less, labels have more than three decimals."""


def setting_keys(table: pd.DataFrame) -> list[str]:
    """The columns before the penalty: the model and whatever else varies between settings."""
    columns = list(table.columns)
    return columns[: min(columns.index(name) for name in ("matched_in", "penalty") if name in columns)]


def settings_of(table: pd.DataFrame, keys: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The name and the lines of each setting, which has a panel of its own."""
    named = namer(table, keys)
    for _, part in table.groupby(keys, sort=False, dropna=False):
        line = part.iloc[0]
        yield ", ".join(named(line) or named_settings(line, keys[:1])), part  # a single setting is named, too


def panels_of(figure: Figure, rows: int, columns: int) -> np.ndarray:
    """The panels of a figure; those of a row share the values up, those of a column the values across."""
    sharey: Any = "row"
    return figure.subplots(rows, columns, sharey=sharey, sharex="col", squeeze=False)


def reach(lines: pd.DataFrame) -> Any:
    """The lengths of the bars from each mean to its interval's ends, as matplotlib takes them."""
    return np.clip(np.stack([lines["mean"] - lines["low"], lines["high"] - lines["mean"]]), 0, None)


def look_of(penalty: str) -> dict[str, Any]:
    """The style of a penalty's line, points and bars."""
    look = {"color": colour_of(penalty), "marker": marker_of(penalty), "linestyle": "-", "linewidth": 1.2}
    return look | {"elinewidth": 0.8, "markersize": 4.5}


def handles_of(penalties: list[str]) -> list[Line2D]:
    """The penalties for a legend."""
    return [
        Line2D([], [], label=PENALTIES.title(p), color=colour_of(p), marker=marker_of(p), markersize=4.5)
        for p in penalties
    ]


def bars_of(table: pd.DataFrame) -> str:
    """What the bars show, for a caption."""
    return f"{PERCENT} intervals over subjects{' and seeds' if table['n_seeds'].max() > 1 else ''}"


class FewTicks(MaxNLocator):
    """Few ticks, and every second of them where their labels are long."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        ticks = super().tick_values(vmin, vmax)
        return ticks[::2] if len(ticks) > 2 and ticks[1] - ticks[0] < LEAST_STEP else ticks


def smoothness_axis(axes: Axes, smoothness: str) -> None:
    """Let the x axis show smoothness, with few ticks: labels of small numbers are long."""
    label, unit = METRICS[smoothness].axis(), METRICS[smoothness].unit
    axes.set_xlabel(label if unit else f"{label} (smoother to the left)")
    axes.xaxis.set_major_locator(FewTicks(5, steps=[1, 2, 5, 10]))
