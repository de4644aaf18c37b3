"""The amortization gap: how far a network stays behind what its objective allows."""

from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure

from ...pipeline.evaluation import METRICS, SDLOGJ
from ..rows.summaries import number, pick
from ..statistics import Analysis
from .axes import lambda_axis
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .penalty_curves import bars_of, handles_of, look_of, reach, setting_keys, settings_of, smoothness_axis
from .style import GREY, caption, legend, new_figure, penalties_of

LONGEST_TITLE = 34
"""Letters of two ways to find fields that fit above a panel on one line."""
WIDEST = 44
"""Letters of a line above a panel."""
MOST_GAPS = 6
"""With more pairs of ways to find fields than this, only those with the first way of each setting are shown."""


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
        for words, part in settings_of(table, setting_keys(table))
        for ways, own in part.groupby(["first", "second"], sort=False)
    ]
    left = ""
    if len(parts) > MOST_GAPS:
        nearest = {words: first for words, (first, _), _ in reversed(parts)}
        shown = [part for part in parts if part[1][0] == nearest[part[0]]]
        left = f" {len(parts) - len(shown)} other comparisons are in tables/amortization_gap.csv."
        parts = shown
    figure = new_figure(3.6 * len(parts) + 1.9, 0.9 + 2.5 * len(bases), "Amortization gap")
    panels = figure.subplots(len(bases), len(parts), sharey=True, sharex="row", squeeze=False)
    for basis, row in zip(bases, panels, strict=True):
        for axes, (words, (first, second), part) in zip(row, parts, strict=True):
            axes.axhline(0, color=GREY, linewidth=0.9, zorder=0)
            for penalty in penalties_of(part):
                own = pick(part, (part["penalty"] == penalty) & (part["matched_in"] == basis)).sort_values(by="at")
                shown = own.rename(columns={"difference": "mean"})
                axes.errorbar(shown["at"], shown["mean"], yerr=reach(shown), **look_of(penalty))
            if basis == SDLOGJ:
                smoothness_axis(axes, SDLOGJ)
            else:
                lambda_axis(axes, list(table.loc[table["matched_in"] == basis, "at"]))  # of all panels
            if axes in panels[0]:
                short = len(f"{first}{second}") <= LONGEST_TITLE
                lines = [f"{first} minus {second}"] if short else [first, f"minus {second}"]
                axes.set_title("\n".join(fill(line, WIDEST) for line in [f"{words}:", *lines]))
        row[0].set_ylabel(f"difference in\n{METRICS[metric].axis()}")
    legend(figure, handles_of(penalties_of(table)))
    seeds, pairs = number(analysis.tables["means"]["n_seeds"], "seed"), number(table["n_pairs"], "test pair")
    caption(
        figure, f"{title}.",
        f"Differences pair by pair; bars: {bars_of(analysis.tables['means'])} ({pairs}, {seeds}). At equal SDlogJ, "
        f"interpolated between neighbouring λ.{left}",
    )  # fmt: skip
    return figure


def _drawn(material: Material) -> Drawn:
    yield "amortization_gap", amortization_gap(material.analysis, material.measured[0], material.title)


def _looks() -> dict[str, Look]:
    return {
        "amortization_gap": Look(
            "Amortization gap",
            "How much better the first way to find fields is than the second, with the same penalty. If it differs "
            "between penalties, training favours some of them.",
            beside="statistics-amortization_gap",
        )
    }


KINDS.append(FigureKind(place=50, draw=_drawn, looks=_looks))
