"""Training and validation loss, and its terms, against epoch."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...networks import PENALTIES, SIMILARITIES
from ..rows.summaries import configuration, number, pick
from ..store.run_folder import Run
from .kinds import KINDS, Drawn, FigureKind, Look, Material
from .style import GREY, caption, colour_of, legend, new_figure, penalties_of, title_panel

FEW_EPOCHS = 12
"""Up to this number of epochs, each one gets a dot: a line alone would not show a single epoch."""
Shades = dict[float, tuple[float, float, float]]
EVERY = "one network for every λ"
"""Takes the place of the penalty for a training that several trials share."""


def term_by_epoch(history: pd.DataFrame, term: str, title: str, note: str = "") -> Figure | None:
    """One panel per penalty, one row per further setting, one colour per λ; None without history.

    A training that several trials share is drawn once, in a panel of its own.
    """
    columns = [f"train_{term}", f"validation_{term}"]
    if history.empty or not set(columns) <= set(history):
        return None
    history = _each_training_once(history)
    shared = history["penalty"] == EVERY
    penalties = penalties_of(pick(history, ~shared)) + [EVERY] * bool(shared.any())
    others = [key for key in configuration(history) if key not in ("penalty", "lambda")]
    variants = [part for _, part in history.groupby(others, dropna=False)]
    weights = sorted(history["lambda"].dropna().unique())
    shades: Shades = dict(zip(weights, sns.color_palette("viridis_r", len(weights) + 1)[1:], strict=True))
    figure = new_figure(2.9 * len(penalties) + 1.6, 2.7 * len(variants) + 0.9, f"{term.capitalize()} against epoch")
    sharey: Any = "col" if term == "penalty" else "all"  # each penalty has a unit of its own
    grid = figure.subplots(len(variants), len(penalties), sharex=True, sharey=sharey, squeeze=False)
    for line, part in zip(grid, variants, strict=True):
        for axes, penalty in zip(line, penalties, strict=True):
            _draw(axes, pick(part, part["penalty"] == penalty), columns, shades)
            look = (EVERY, GREY) if penalty == EVERY else (PENALTIES.title(penalty), colour_of(penalty))
            title_panel(axes, *look, part, history)
        line[0].set_ylabel(_label(part, term))
    if np.nanmin(history[columns].to_numpy(dtype=float)) > 0:
        for axes in grid.ravel():
            axes.set_yscale("log")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        if (last := int(history["epoch"].max())) <= FEW_EPOCHS:
            axes.set_xlim(0.5, last + 0.5)
            axes.set_xticks(range(1, last + 1))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    handles = [Line2D([], [], color=shade, label=f"λ = {weight:g}") for weight, shade in shades.items()]
    handles += [Line2D([], [], color=GREY, label="training"), Line2D([], [], color=GREY, ls="--", label="validation")]
    legend(figure, handles)
    seeds = history.groupby(["penalty", "lambda", *others], dropna=False)["seed"].nunique()
    lines = "one seed" if seeds.max() == 1 else f"one line per seed ({number(seeds, 'seed')})"
    caption(figure, f"{title}.", f"Mean over the training pairs of an epoch, or the validation pairs; {lines}.", note)
    return figure


def _each_training_once(history: pd.DataFrame) -> pd.DataFrame:
    """The history of each training. Trials that share one have copies of it: the same losses in the same seconds."""
    of_trials = ("trial", "penalty", "lambda")
    values = [column for column in history if column not in of_trials]
    copies = history.groupby(values, dropna=False)["trial"].transform("nunique") > 1
    once = pick(history, ~copies | ~history.duplicated(values))
    shared = copies[once.index]
    return once.assign(penalty=once["penalty"].mask(shared, EVERY), **{"lambda": once["lambda"].mask(shared)})


def _draw(axes: Axes, history: pd.DataFrame, columns: list[str], shades: Shades) -> None:
    marker = "o" if len(history) and history["epoch"].max() <= FEW_EPOCHS else None
    for _, one in history.groupby("trial", sort=False):
        shade = shades.get(float(one["lambda"].iloc[0]), GREY)
        for column, line, face in zip(columns, ("-", "--"), (shade, "white"), strict=True):
            axes.plot(
                one["epoch"], one[column], color=shade, linestyle=line, linewidth=1.2,
                marker=marker, markersize=3.5, markerfacecolor=face, markeredgecolor=shade,
            )  # fmt: skip


def _label(history: pd.DataFrame, term: str) -> str:
    if term == "penalty":
        return "penalty, without λ"
    loss, unit = _similarity(history)
    if term == "similarity":
        return f"{loss}{unit}"
    if history["similarity"].nunique() > 1 or history["multiplier"].nunique() > 1:
        return "loss"
    multiplier = history["multiplier"].iloc[0]
    factor = "" if multiplier == 1 else f"{multiplier:g}·"
    return f"{loss} + λ·{factor}penalty{unit}"


def _similarity(history: pd.DataFrame) -> tuple[str, str]:
    """The name of the similarity loss, and its unit in brackets."""
    minimized = set(history["similarity"])
    name = str(minimized.pop())
    if minimized:
        return "similarity loss", ""
    if name not in SIMILARITIES:
        return name, ""
    entry = SIMILARITIES[name]
    return entry.loss, f" ({entry.unit})" if entry.unit else ""


def _drawn(material: Material) -> Drawn:
    if not material.trained.empty:
        note = _warm_up(material.run)
        for term in ("loss", "similarity", "penalty"):
            yield f"{term}_by_epoch", term_by_epoch(material.history, term, material.title, note)


def _warm_up(run: Run) -> str:
    """The sentence for captions if λ is warmed up during training; empty otherwise."""
    trained = [trial for trial in run.trials.values() if trial.model.trains]
    shares = {trial.training.penalty_warmup for trial in trained} - {0.0}
    if not shares:
        return ""
    words = " or ".join(f"{100 * share:g}" for share in sorted(shares))
    return f"In training λ grows from 0 over the first {words} % of the steps; validation always uses the full λ."


def _looks() -> dict[str, Look]:
    return {
        "loss_by_epoch": Look("Loss against epoch", "Shows whether training has converged.", beside="trials"),
        "similarity_by_epoch": Look("Similarity against epoch", "The loss without the penalty.", beside="trials"),
        "penalty_by_epoch": Look("Penalty against epoch", "The penalty, not multiplied by λ.", beside="trials"),
    }


KINDS.append(FigureKind(place=70, draw=_drawn, looks=_looks))
