"""Axes: λ including 0, percentages that span decades and include 0, labels that do not overlap."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

APART = 1.4
"""With neighbouring λ closer than this factor, decades are labelled, as the labels of the λ would overlap."""


def lambda_axis(axes: Axes, values: Sequence[float]) -> None:
    """λ on a logarithmic axis; λ = 0, if present, is at the left end and labelled 0."""
    distinct = sorted(set(values))
    positive = [value for value in distinct if value > 0]
    axes.set_xlabel("λ (weight of the penalty)")
    if not positive:
        axes.set_xlim(-1, 1)
        axes.xaxis.set_major_locator(FixedLocator([0]))
        return
    if distinct[0] == 0:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
        axes.set_xlim(-0.25 * positive[0], positive[-1] * 1.6)
    else:
        axes.set_xscale("log")
        axes.set_xlim(positive[0] / 1.6, positive[-1] * 1.6)
    decades = 10.0 ** np.arange(np.floor(np.log10(positive[0])), np.ceil(np.log10(positive[-1])) + 1)
    apart = all(upper >= APART * lower for lower, upper in pairwise(positive))
    if len(distinct) <= 7 and apart:
        ticks = distinct
    else:
        low, high = axes.get_xlim()
        few = sum(low <= decade <= high for decade in decades) < 2  # one label gives no scale
        ticks = [0.0] * (distinct[0] == 0) + ([positive[0], positive[-1]] if few else list(decades))
    _ticks(axes.xaxis, ticks)


def percent_axis(axes: Axes, which: str, values: np.ndarray, label: str) -> str:
    """An axis for a percentage that spans decades and may be 0: logarithmic, but linear near 0, with 0 marked.

    Returns:
        The sentence about it for the caption; empty if the whole axis is linear.
    """
    values = np.asarray(values, dtype=float)
    positive = values[np.isfinite(values) & (values > 0)]
    set_scale, set_limits, axis, zero_line = (
        (axes.set_xscale, axes.set_xlim, axes.xaxis, axes.axvline)
        if which == "x"
        else (axes.set_yscale, axes.set_ylim, axes.yaxis, axes.axhline)
    )
    axis.set_label_text(label)
    zero_line(0, color="0.8", linewidth=0.8, zorder=0)
    if not len(positive):
        set_limits(-0.05, 1.0)
        _ticks(axis, [0.0, 0.5, 1.0])
        return ""
    threshold = 10.0 ** np.clip(np.floor(np.log10(positive.min())), -4, 0)
    top = max(float(positive.max()) * 1.5, 2 * threshold)
    set_scale("symlog", linthresh=threshold, linscale=0.7)
    set_limits(-0.35 * threshold, top)
    decades = 10.0 ** np.arange(np.log10(threshold), np.log10(top))
    _ticks(axis, [0.0, *decades])
    return "Axes of folding are linear up to the first tick after 0, and logarithmic above it."


def _ticks(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def annotate_apart(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a word beside each point (x, y, word, colour). A word without room is left out, so that none overlap."""
    cast(Figure, axes.figure).draw_without_rendering()
    centres = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    taken = [Bbox([centre - 5, centre + 5]) for centre in centres if np.isfinite(centre).all()]
    for x, y, word, colour in points:
        label = axes.annotate(word, (x, y), (0, 0), textcoords="offset points", fontsize=7, color=colour)
        label.set_in_layout(False)
        for dy, dx in product((4, -10, 14), (7, -7)):
            label.set_position((dx, dy))
            label.set_horizontalalignment("left" if dx > 0 else "right")
            box = label.get_window_extent().padded(1)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 + 12
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
        else:
            label.remove()


def say_no_folding(axes: Axes, means: Sequence[float], colour: str) -> None:
    """If nothing folded, say so in the panel."""
    if len(means) and not np.any(np.asarray(means, dtype=float) > 0):
        axes.text(0.5, 0.5, "no folding in any test pair", transform=axes.transAxes, ha="center", color=colour)


MOST_IN_ROW = 5
"""Panels of settings that stand beside each other; more begin another row."""


def rows_and_columns(count: int) -> tuple[int, int]:
    """The rows and columns of so many panels."""
    rows = -(-count // MOST_IN_ROW)
    return rows, -(-count // rows)


def setting_panels(figure: Figure, count: int, across: bool = True) -> list[Axes]:
    """So many panels in `rows_and_columns`. They share the values up, and those ``across``; in several rows always."""
    rows, columns = rows_and_columns(count)
    panels = figure.subplots(rows, columns, sharex=across or rows > 1, sharey=True, squeeze=False)
    for axes in panels.flat[count:]:
        axes.remove()
    for axes in panels.flat[:count]:
        axes.tick_params(labelbottom=True)
    return list(panels.flat[:count])
