"""Penalties at equal smoothness."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...networks import PENALTIES
from ...pipeline.evaluation import METRICS
from ...pipeline.settings.schema import ObjectiveSettings
from ..rows.summaries import number, pick
from ..statistics import Analysis
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .penalty_curves import bars_of, handles_of, look_of, panels_of, reach, setting_keys, settings_of, smoothness_axis
from .style import GREY, caption, legend, new_figure, penalties_of

MANY = 6
"""With more penalties than this, the panels that show them side by side are wider."""


def matched_name(smoothness: str) -> str:
    """The file name of the figure of penalties at equal ``smoothness`` (a metric)."""
    return f"matched_{METRICS.title(smoothness).lower().replace(' ', '_')}"


def matched(analysis: Analysis, metric: str, smoothness: str, title: str) -> Figure | None:
    """Top: accuracy at equal smoothness. Bottom: paired differences to one penalty.

    None without curves, or if no two penalties have a seed in common.
    """
    table = analysis.tables.get("matched", pd.DataFrame())
    compared = analysis.tables.get("comparisons", pd.DataFrame())
    if table.empty or compared.empty or smoothness not in set(table["matched_in"]):
        return None
    table = pick(table, (table["matched_in"] == smoothness) & (table["metric"] == metric))
    compared = pick(compared, (compared["matched_in"] == smoothness) & (compared["metric"] == metric))
    penalties = penalties_of(table)
    usual = ObjectiveSettings().penalty
    reference = usual if usual in penalties else penalties[0]
    parts = list(settings_of(table, setting_keys(table)))
    width = 3.6 if len(penalties) <= MANY else 6.0
    figure = new_figure(width * len(parts) + 1.9, 5.4, "Penalties at equal smoothness")
    above, below = panels_of(figure, 2, len(parts))
    for top, bottom, (words, part) in zip(above, below, parts, strict=True):
        values = sorted(part["at"].unique())
        for place, penalty in enumerate(penalties):
            own = pick(part, part["penalty"] == penalty).sort_values(by="at")
            beside = min(0.16, 0.75 / len(penalties))
            places = np.searchsorted(values, own["at"]) + beside * (place - (len(penalties) - 1) / 2)
            top.errorbar(places, own["mean"], yerr=reach(own), **look_of(penalty))
            if penalty != reference:
                against = _against(compared, own, penalty, reference)
                bottom.errorbar(places, against["mean"], yerr=reach(against), **look_of(penalty) | {"linestyle": ""})
        bottom.axhline(0, color=GREY, linewidth=0.9, zorder=0)
        smoothness_axis(bottom, smoothness)
        bottom.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        top.set_title(words)
    above[0].set_ylabel(METRICS[metric].axis())
    below[0].set_ylabel(f"difference to {PENALTIES.title(reference)}")
    legend(figure, handles_of(penalties))
    seeds = number(table["n_seeds"], "seed")
    caption(
        figure, f"{title}.",
        f"Interpolated between neighbouring λ of each penalty; bars: {bars_of(table)} "
        f"({number(compared['n_pairs'], 'test pair')}, {seeds}). Differences are paired, so their bars are shorter.",
    )  # fmt: skip
    return figure


def _against(compared: pd.DataFrame, own: pd.DataFrame, penalty: str, reference: str) -> pd.DataFrame:
    """Penalty minus reference, in the order of ``own``. ``compared`` has each two penalties in one order only."""
    keys = [*setting_keys(own), "at"]
    forward = compared.query("first == @penalty and second == @reference")
    backward = compared.query("first == @reference and second == @penalty")
    lines = own[keys].merge(forward if len(forward) else backward, on=keys, how="left")
    sign = 1 if len(forward) else -1
    low, high = ("low", "high")[::sign]
    return pd.DataFrame({"mean": sign * lines["difference"], "low": sign * lines[low], "high": sign * lines[high]})


def _drawn(material: Material) -> Drawn:
    for smoothness in METRICS.of_role("smoothness"):
        figure = matched(material.analysis, material.measured[0], smoothness, material.title)
        yield matched_name(smoothness), figure


def _looks() -> dict[str, Look]:
    first, *others = METRICS.of_role("smoothness")
    fair = "The fair comparison: every penalty with equally smooth deformations."
    readings = {first: fair} | {
        name: f"The same comparison at equal {METRICS.title(name)} instead of equal {METRICS.title(first)}."
        for name in others
    }
    return {
        matched_name(name): Look(f"Penalties at equal {METRICS.title(name)}", reading, beside="statistics-matched")
        for name, reading in readings.items()
    }


KINDS.append(FigureKind(place=40, draw=_drawn, looks=_looks))
