"""The style of all figures: one colour and marker per penalty, captions, and saving as PNG and SVG."""

import functools
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from ...networks import PENALTIES
from ...pipeline.files.text import write_atomically
from ...transforms.basics.errors import printable, printable_lines
from ..rows.naming import variant
from ..rows.summaries import pick, setting_columns

COLOURS = (
    *("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"),
    *("#332288", "#999933", "#882255", "#44AA99", "#661100", "#888888"),
    *("#EE3377", "#BBCC33", "#AA4499"),
)
"""The palettes of Okabe and Ito, then Tol, for all kinds of colour vision. Assigned to penalties by their order."""
COLOURS_OF_SUMS = ("#004D40", "#994F00", "#7F7FFF")
MARKERS = ("s", "o", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
LINES: Sequence[Any] = ("-", "--", ":", "-.", (0, (9, 2)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 4)))
GREY = "#666666"
LARGE = 100
"""Square inches."""
NAMING = (FixedFormatter, FuncFormatter)
"""The formatters that matplotlib uses for named ticks."""
RC: Any = {
    **sns.axes_style("ticks"),
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "gray",
    "svg.hashsalt": "smoothmorph",  # the same figure is the same file
}


def colour_of(penalty: str) -> str:
    """The colour of a penalty, in every figure."""
    palette = COLOURS_OF_SUMS if PENALTIES.is_sum(penalty) else COLOURS
    return palette[PENALTIES.place(penalty) % len(palette)]


def marker_of(penalty: str) -> str:
    """The marker of a penalty, in every figure."""
    place = PENALTIES.place(penalty)
    return MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]  # another one where the colours begin again


class Curve(NamedTuple):
    """One line in a figure against λ: a colour per penalty, and a line style per further setting."""

    label: str
    colour: str
    marker: str
    line: str
    hollow: bool
    points: pd.DataFrame  # the summary's lines of this curve, one metric, ordered by λ


def curves(summary: pd.DataFrame, metric: str) -> list[Curve]:
    """The summary of one metric as curves over λ, in a fixed order."""
    chosen = pick(summary, (summary["metric"] == metric) & summary["mean"].notna())
    setting = [key for key in curve_keys(summary) if key != "penalty"]
    places = chosen.groupby(setting, dropna=False, sort=True).ngroup()  # a setting has one line style in all penalties
    found: list[Curve] = []
    for penalty in penalties_of(chosen):
        own = pick(chosen, chosen["penalty"] == penalty)
        for place, points in own.groupby(places.loc[own.index]):
            label = ", ".join([PENALTIES.title(penalty), *variant(points.iloc[0], summary)])
            points = points.sort_values(by="lambda")
            line = LINES[place % len(LINES)]
            found.append(Curve(label, colour_of(penalty), marker_of(penalty), line, place > 0, points))
    return found


def penalties_of(frame: pd.DataFrame) -> list[str]:
    """The penalties in a table, in the order of the registry."""
    return PENALTIES.in_order(frame["penalty"])


def standard_error(lines: pd.DataFrame) -> pd.Series:
    """The standard error of the mean over pairs, from the lines of a summary."""
    return (lines["std_pairs"] / lines["n_pairs"].clip(lower=1).pow(0.5)).fillna(0)


def curve_keys(summary: pd.DataFrame) -> list[str]:
    """The columns that define a curve over λ: all settings but λ."""
    return [key for key in setting_columns(summary) if key != "lambda"]


def new_figure(width: float, height: float, title: str) -> Figure:
    """A figure outside pyplot, so that the state of a notebook is not touched. Sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(printable(title), x=0.01, ha="left", fontweight="bold")
    return figure


BESIDE_LEGEND, LINE_OF_LEGEND = 0.9, 0.168
"""Inches: the height of title and caption, and of one entry of a legend."""


def legend(figure: Figure, handles: list[Line2D]) -> None:
    """A legend to the right of the panels, below the height of the title. A figure that is too low for it grows."""
    figure.set_figheight(max(figure.get_figheight(), BESIDE_LEGEND + LINE_OF_LEGEND * len(handles)))
    figure.legend(handles=handles, loc="outside right center", handlelength=3)


LONGEST_LINE = 24
"""Letters of a panel's title that fit on one line."""


def title_panel(axes: Axes, title: str, colour: str, part: pd.DataFrame, whole: pd.DataFrame) -> None:
    """Write the title of a panel, and below it the setting that it shows (``part`` of the ``whole`` rows)."""
    words = ", ".join(variant(part.iloc[0], whole))
    words = words if len(words) <= LONGEST_LINE else words.replace(", ", ",\n")  # else it reaches into the next panel
    axes.set_title(f"{title}\n{words}".strip(), color=colour)


def curve_look(curve: Curve) -> dict[str, Any]:
    """The matplotlib style of a curve."""
    look = {"color": curve.colour, "marker": curve.marker, "linestyle": curve.line, "linewidth": 1.3, "markersize": 5}
    return look | ({"markerfacecolor": "white"} if curve.hollow else {})


def curve_handles(found: list[Curve]) -> list[Line2D]:
    """The curves for a legend."""
    return [Line2D([], [], label=curve.label, **curve_look(curve)) for curve in found]


def legend_width(labels: Iterable[str]) -> float:
    """The approximate width in inches of a legend with these labels."""
    return 0.7 + 0.065 * max(map(len, labels))


def caption(figure: Figure, *lines: str) -> None:
    """Write small grey lines below the figure: what is shown, and over how many pairs and seeds."""
    letters = int(figure.get_figwidth() * 17)  # letters of this size that fit the width of the figure
    printed = [printable(line) for text in lines for line in text.split("\n")]
    wrapped = [part for line in printed for part in textwrap.wrap(line, letters)]
    figure.supxlabel("\n".join(wrapped), x=0.01, ha="left", fontsize=7.5, color=GREY)


def without_formulas(figure: Figure) -> Figure:
    """Show the texts of a figure literally: a $ in a title, a name or a setting is a $, not the start of a formula.

    Control characters, which SVG does not allow, are removed. Only the numbers along axes may be formulas.
    """
    numbers = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(formatter := axis.get_major_formatter(), NAMING):  # it makes its labels at each drawing
                axis.set_major_formatter(
                    FuncFormatter(lambda at, place, names=formatter: printable_lines(names(at, place)))
                )
            else:
                numbers.update(axis.get_ticklabels(which="both"))
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in numbers:
            text.set_parse_math(False)
            text.set_text(printable_lines(text.get_text()))
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.png`` (180 dpi; 120 for large figures) and ``name.svg``. A file is complete or not written."""
    width, height = without_formulas(figure).get_size_inches()
    how, written = {"dpi": 180 if width * height < LARGE else 120, "facecolor": "white"}, []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        write = functools.partial(figure.savefig, format=kind, metadata=metadata, **how)
        written.append(write_atomically(folder / f"{name}.{kind}", write))
    return written


def styled() -> Any:
    """A context in which matplotlib draws in this style."""
    return matplotlib.rc_context(RC)
