"""Dice of each structure: before registration, with each penalty at similar smoothness, and with the baselines."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...networks import PENALTIES
from ...pipeline.evaluation import DICE, METRICS, SDLOGJ
from ..rows.naming import variant
from ..rows.summaries import baselines, penalized, per_label, pick
from .axes import rows_and_columns, setting_panels
from .baselines import baselines_of, look
from .distributions import settings_of
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .style import GREY, caption, colour_of, legend, marker_of, new_figure, penalties_of, standard_error


class Series(NamedTuple):
    """The points of one colour: label, look, and one line of a summary per structure."""

    label: str
    look: dict[str, Any]
    lines: pd.DataFrame


def dice_per_structure(rows: pd.DataFrame, title: str) -> Figure | None:
    """One line per structure, best first, one panel per setting; None without labels."""
    trained = penalized(rows)
    without = _of_baselines(baselines(rows))
    parts = [_alike(part) for part in settings_of(trained)] if len(trained) else [trained]
    panels_of = [[*_of_penalties(part), *without] for part in parts]
    everything = [series.lines for panel in panels_of for series in panel]
    if not everything or all(lines.empty for lines in everything):
        return None
    table = pd.concat(everything)
    order = table.groupby("label")["mean"].mean().sort_values().index
    before = table.groupby("label")["before"].mean().reindex(order)
    shown = {series.label: series for panel in panels_of for series in panel}
    height = max(0.19 * len(order) + 1.8, 0.2 * len(shown) + 1.8, 3.2)  # room for the structures and the legend
    rows_of_panels, columns = rows_and_columns(len(parts))
    figure = new_figure(3.4 * columns + 4.2, height * rows_of_panels, f"{METRICS.title(DICE)} of each structure")
    panels = setting_panels(figure, len(parts))
    for axes, part, found in zip(panels, parts, panels_of, strict=True):
        axes.scatter(before, range(len(order)), marker="|", color=GREY, s=40)
        for place, series in enumerate(found):
            own = series.lines.set_index("label").reindex(order)
            y = np.arange(len(order)) + 0.6 * ((place + 0.5) / len(found) - 0.5)
            axes.errorbar(own["mean"], y, xerr=standard_error(own), elinewidth=0.7, **series.look)
        axes.set_title(", ".join(variant(part.iloc[0], rows)) if len(part) else "")
        axes.grid(axis="y", alpha=0.25)
        axes.set_xlabel(METRICS.title(DICE))
    panels[0].set_yticks(range(len(order)), list(order), fontsize=7)
    known = [Line2D([], [], label=label, **series.look) for label, series in shown.items()]
    legend(figure, [*known, Line2D([], [], color=GREY, marker="|", ls="", label="before registration")])
    caption(figure, f"{title}.", f"{_weights(parts, rows)}Bars: ± 1 standard error over pairs.")
    return figure


def _of_penalties(part: pd.DataFrame) -> list[Series]:
    lines, found = per_label(part) if len(part) else part, []
    for penalty in penalties_of(part) if len(lines) else ():
        look = {"color": colour_of(penalty), "marker": marker_of(penalty), "linestyle": "", "markersize": 3.5}
        found.append(Series(PENALTIES.title(penalty), look, pick(lines, lines["penalty"] == penalty)))
    return found


def _of_baselines(rows: pd.DataFrame) -> list[Series]:
    """Each baseline that registers; the other one equals the values before registration."""
    lines = per_label(rows) if len(rows) else rows
    if lines.empty:
        return []
    return [
        Series(b.label, look(b) | {"color": b.colour, "markersize": 4}, b.metrics.rename_axis("label").reset_index())
        for b in baselines_of(lines.rename(columns={"label": "metric"}))
        if b.registers
    ]


def _weights(parts: list[pd.DataFrame], rows: pd.DataFrame) -> str:
    """The sentence of the caption that names the λ of each panel."""
    at: list[str] = []
    for part in parts:
        if len(part):
            words = ", ".join(variant(part.iloc[0], rows))
            weights = part.groupby("penalty")["lambda"].first()
            shown = ", ".join(f"{PENALTIES.title(p)} λ = {weights[p]:g}" for p in penalties_of(part))
            at.append(f"{words}: {shown}" if words else shown)
    return f"Penalties at the tested λ with the most similar SDlogJ. {'; '.join(at)}. " if at else ""


def _alike(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of one λ per penalty: its SDlogJ is the nearest to the middle of the common range."""
    means = part.groupby(["penalty", "lambda"])[SDLOGJ].mean()
    ends = means.groupby("penalty").agg(["min", "max"])
    goal = (ends["min"].max() + ends["max"].min()) / 2
    nearest = {penalty: (means[penalty] - goal).abs().idxmin() for penalty in penalties_of(part)}
    return pick(part, part["lambda"] == part["penalty"].map(nearest))


def _drawn(material: Material) -> Drawn:
    yield "dice_per_structure", dice_per_structure(material.rows, material.title)


def _looks() -> dict[str, Look]:
    return {
        "dice_per_structure": Look(
            f"{METRICS.title(DICE)} of each structure",
            "Which structures improve, with the penalties at similar smoothness.",
            beside="structures",
        )
    }


KINDS.append(FigureKind(place=30, draw=_drawn, looks=_looks))
