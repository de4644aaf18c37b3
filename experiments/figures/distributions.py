"""Distributions for each λ: SDlogJ over pairs, and Jacobian determinants over voxels."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter

from ...networks import PENALTIES
from ...pipeline.evaluation import SDLOGJ
from ...pipeline.evaluation.vocabulary import FIELDS
from ..rows.summaries import configuration, number, pick
from .baselines import Baseline, draw_levels, handles
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .style import GREY, caption, colour_of, legend, marker_of, new_figure, penalties_of, title_panel

MOST_CHARACTERS = 36
"""Characters of all labels below a panel that fit beside each other, with the spaces between them."""
MOST_LABELS = 8
"""Slanted labels below a panel that do not touch each other."""
COLUMNS = 6
"""Panels beside each other, at most."""
DETERMINANTS = (-100, -10, -3, -1, 0, 0.5, 1, 2, 5, 10, 30, 100)
DETERMINANT = f"{FIELDS[0]}_det_"
BANDS = (("p01", "p99", 0.18), ("p05", "p95", 0.35))


def sdlogj_by_lambda(rows: pd.DataFrame, title: str, without: Sequence[Baseline] = ()) -> Figure | None:
    """One box per λ over test pairs (each pair: mean over seeds); one column per penalty, one row per setting.

    The means of the baselines (``without`` training) are horizontal lines.
    """
    without = [baseline for baseline in without if baseline.registers]  # without registration SDlogJ is 0
    figure, grid = _grid(rows, "SDlogJ of the displacement over test pairs", "SDlogJ")
    for line, part in zip(grid, settings_of(rows), strict=True):
        for axes, penalty in zip(line, penalties_of(rows), strict=True):
            own = pick(part, part["penalty"] == penalty)
            if own.empty:
                continue
            pairs = own.groupby(["lambda", "moving", "fixed"], as_index=False)[SDLOGJ].mean()
            weights = sorted(pairs["lambda"].unique())
            look: Any = {"flierprops": {"markersize": 2}, "medianprops": {"color": "black"}, "patch_artist": True}
            boxes = [pairs.loc[pairs["lambda"] == weight, SDLOGJ].to_numpy() for weight in weights]
            drawn = axes.boxplot(boxes, widths=0.6, **look)
            _label(axes, np.arange(len(weights)) + 1, weights)
            for box in drawn["boxes"]:
                box.set(facecolor=colour_of(penalty), linewidth=0.8)
            draw_levels(axes, without, SDLOGJ)
    for line in grid:
        line[0].set_ylim(bottom=0)
    if without:
        legend(figure, handles(without, levels=True))
    pairs_of = rows.groupby([*configuration(rows), "seed"], dropna=False)["moving"].size()
    lines = " Horizontal lines: means of baselines." * bool(without)
    words = f"Boxes: quartiles over {number(pairs_of, 'test pair')}; whiskers: up to 1.5 box lengths.{lines}"
    caption(figure, f"{title}.", words)
    return figure


def determinants_by_lambda(rows: pd.DataFrame, title: str) -> Figure | None:
    """For each λ: percentiles of the Jacobian determinant over the voxels of a pair, averaged over pairs and seeds."""
    columns = [f"{DETERMINANT}{name}" for name in ("p01", "p05", "p50", "p95", "p99", "min", "max")]
    if not set(columns) <= set(rows):
        return None
    figure, grid = _grid(rows, "Jacobian determinants of the displacement", "Jacobian determinant\n(1: volume kept)")
    for line, part in zip(grid, settings_of(rows), strict=True):
        for axes, penalty in zip(line, penalties_of(rows), strict=True):
            own = pick(part, part["penalty"] == penalty)
            if own.empty:
                continue
            means = own.groupby("lambda")[columns].mean()
            places, colour = np.arange(len(means)), colour_of(penalty)
            axes.plot(places, means[f"{DETERMINANT}p50"], color=colour, marker=marker_of(penalty), markersize=4)
            wide = places
            if len(means) == 1:  # a band needs some width
                means, wide = pd.concat([means, means]), np.array([-0.2, 0.2])
            for low, high, shade in BANDS:
                lower, upper = (means[f"{DETERMINANT}{end}"] for end in (low, high))
                axes.fill_between(wide, lower, upper, color=colour, alpha=shade, linewidth=0)
            for end in ("min", "max"):
                axes.plot(wide, means[f"{DETERMINANT}{end}"], color=colour, ls=":", lw=1)
            axes.axhline(0, color="#FF2A2A", linewidth=0.8)
            axes.axhline(1, color=GREY, linewidth=0.6, zorder=0)
            _label(axes, places, means.index[: len(places)])
            axes.set_yscale("symlog", linthresh=1, linscale=1.2)
            axes.yaxis.set_major_locator(FixedLocator(DETERMINANTS))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    explained = [
        Line2D([], [], color=GREY, marker="o", markersize=4, label="median"),
        Patch(color=GREY, alpha=0.45, label="5 % to 95 %"),
        Patch(color=GREY, alpha=0.2, label="1 % to 99 %"),
        Line2D([], [], color=GREY, ls=":", label="minimum, maximum"),
        Line2D([], [], color="#FF2A2A", label="0 (below: folding)"),
    ]
    legend(figure, explained)
    caption(
        figure, f"{title}.", "Over the voxels of a pair, averaged over pairs and seeds. Axis logarithmic beyond ±1."
    )
    return figure


def _grid(rows: pd.DataFrame, title: str, measure: str) -> tuple[Figure, list[list[Axes]]]:
    """The panels of each setting, one per penalty, with a common scale for ``measure``: rows of up to `COLUMNS`."""
    parts, penalties = list(settings_of(rows)), penalties_of(rows)
    lines = -(-len(penalties) // COLUMNS)
    columns = -(-len(penalties) // lines)
    figure = new_figure(2.6 * columns + 2.0, 2.5 * lines * len(parts) + 1.1, title)
    shared: Any = "row" if lines == 1 else "all"
    grid = figure.subplots(lines * len(parts), columns, sharey=shared, squeeze=False)
    panels: list[list[Axes]] = [own.ravel().tolist() for own in np.split(grid, len(parts))]
    for line, part in zip(panels, parts, strict=True):
        for axes in line[::columns]:
            axes.set_ylabel(measure)
        for axes in line[len(penalties) :]:
            axes.set_visible(False)
        del line[len(penalties) :]
        for axes, penalty in zip(line, penalties, strict=True):
            title_panel(axes, PENALTIES.title(penalty), colour_of(penalty), part, rows)
            if not (part["penalty"] == penalty).any():
                axes.set_xticks([])
                axes.text(0.5, 0.5, "not measured", color=GREY, ha="center", va="center", transform=axes.transAxes)
    for axes in panels[-1][-columns:]:
        axes.set_xlabel("λ")
    return figure, panels


def _label(axes: Axes, places: np.ndarray, weights: Iterable[float]) -> None:
    """Write λ below the places: slanted where the numbers would touch, and below some places only where many would."""
    every = -(-len(places) // MOST_LABELS)
    labels = ["" if place % every else f"{weight:g}" for place, weight in enumerate(weights)]
    widest = max((len(one) + len(other)) / 2 + 1 for one, other in pairwise(["", *labels]))
    slanted = widest * len(labels) > MOST_CHARACTERS
    axes.set_xticks(places, labels, rotation=30 if slanted else 0, ha="right" if slanted else "center")


def settings_of(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of networks, split by every setting other than penalty and λ."""
    keys = [key for key in configuration(rows) if key not in ("penalty", "lambda")]
    return [part for _, part in rows.groupby(keys, dropna=False, sort=False)]


def _drawn(material: Material) -> Drawn:
    if not material.trained.empty:
        yield "sdlogj_by_lambda", sdlogj_by_lambda(material.trained, material.title, material.without)
        yield "determinants_by_lambda", determinants_by_lambda(material.trained, material.title)


def _looks() -> dict[str, Look]:
    return {
        "sdlogj_by_lambda": Look(
            "SDlogJ by λ", "How unevenly the deformation changes volume; boxes over test pairs.", (SDLOGJ,)
        ),
        "determinants_by_lambda": Look(
            "Jacobian determinants by λ",
            "1: volume is kept; below 1: compression; above 1: expansion; at 0 and below: folding.",
            (f"{DETERMINANT}min",),
        ),
    }


KINDS.append(FigureKind(place=20, draw=_drawn, looks=_looks))
