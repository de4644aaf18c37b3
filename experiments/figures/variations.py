"""What each setting changes: a line per setting, its difference to the usual settings with an interval."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS, SDLOGJ
from ..rows.naming import USUAL
from ..rows.summaries import number, pick
from ..statistics import Analysis
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .penalty_curves import bars_of, reach, setting_keys, settings_of
from .style import GREY, caption, colour_of, legend, new_figure

LINE = 0.42
"""Inches up for each setting."""


def what_settings_change(analysis: Analysis, metric: str, title: str) -> Figure | None:
    """One panel per penalty, one line per setting: the difference at equal SDlogJ, and at each λ. None without any."""
    table = analysis.tables.get("variations", pd.DataFrame())
    if table.empty:
        return None
    table = pick(table, table["metric"] == metric)
    names = list(dict.fromkeys(table["setting"]))[::-1]
    keys = [*setting_keys(table), "penalty"]
    parts = [(part["penalty"].iloc[0], words, part) for words, part in settings_of(table, keys)]
    figure = new_figure(3.4 * len(parts) + 3.6, LINE * len(names) + 1.7, "What each setting changes")
    panels = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (penalty, words, part) in zip(panels, parts, strict=True):
        axes.axvline(0, color=GREY, linewidth=0.9, zorder=0)
        for place, name in enumerate(names):
            own = pick(part, part["setting"] == name).rename(columns={"difference": "mean"})
            smooth = pick(own, own["matched_in"] == SDLOGJ)
            middle = smooth.iloc[len(smooth) // 2 : len(smooth) // 2 + 1]
            at_lambda = pick(own, own["matched_in"] == "lambda")
            below = place - 0.16 * (1 + np.arange(len(at_lambda))[::-1])
            look: dict[str, Any] = {"color": colour_of(penalty), "linestyle": "", "marker": "o", "markersize": 5}
            axes.errorbar(middle["mean"], [place + 0.12] * len(middle), xerr=reach(middle), elinewidth=1.1, **look)
            look |= {"markerfacecolor": "white", "markersize": 3.5, "alpha": 0.7}
            axes.errorbar(at_lambda["mean"], below, xerr=reach(at_lambda), elinewidth=0.7, **look)
        axes.grid(axis="y", alpha=0.25)
        axes.set_xlabel(f"difference in {METRICS[metric].axis()}")
        axes.set_title(words if len(parts) > 1 else PENALTIES.title(penalty))
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(-0.6, len(names) - 0.4)
    grey: dict[str, Any] = {"color": GREY, "marker": "o", "ls": ""}
    smoothly = Line2D([], [], markersize=5, label="at equal SDlogJ", **grey)
    legend(figure, [smoothly, Line2D([], [], markerfacecolor="white", markersize=3.5, label="at each λ", **grey)])
    pairs, seeds = number(table["n_pairs"], "test pair"), number(analysis.tables["means"]["n_seeds"], "seed")
    caption(
        figure, f"{title}.",
        f"The setting minus the {USUAL}, pair by pair; bars: {bars_of(analysis.tables['means'])} ({pairs}, {seeds}). "
        "At equal SDlogJ: in the middle of what both reach, interpolated between neighbouring λ.",
    )  # fmt: skip
    return figure


def _drawn(material: Material) -> Drawn:
    yield "variations", what_settings_change(material.analysis, material.measured[0], material.title)


def _looks() -> dict[str, Look]:
    return {
        "variations": Look(
            "What each setting changes",
            f"Each line is one setting that differs from the {USUAL}. Where the bar at equal SDlogJ crosses 0, the "
            "setting makes no clear difference.",
            beside="statistics-variations",
        )
    }


KINDS.append(FigureKind(place=55, draw=_drawn, looks=_looks))
