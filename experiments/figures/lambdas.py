"""Metrics against λ, and similarity against folding: the figures of the published study."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...pipeline.evaluation import FOLDING, METRICS, VELOCITY_FOLDING
from ..rows.summaries import counts, pick
from . import style
from .axes import annotate_apart, lambda_axis, percent_axis, say_no_folding
from .baselines import Baseline, draw_levels, draw_points, handles
from .kinds import KINDS, Drawn, FigureKind, Look, Material

AFTER = "after registration"
BARS = "bars: ± 1 standard error over pairs, which ignores that pairs share subjects"
MANY_POINTS = 18
"""Above this number, points are not labelled with their λ."""
FIELDS = {"displacement": "Displacement (what warps the image)", "velocity": "Velocity (as in the published study)"}


BOTH_FOLD = (FOLDING, VELOCITY_FOLDING)


def similarity_vs_folding(
    whole: pd.DataFrame, similarity: str, title: str, without: Sequence[Baseline] = ()
) -> Figure | None:
    """Similarity against folding: one point per λ, one line per penalty; one panel each for displacement and velocity.

    The baselines (``without`` training) are points in the panel of the displacement; they have no velocity.
    """
    found = style.curves(whole, similarity)
    width = 7.6 + style.legend_width(one.label for one in (*found, *without))
    figure = style.new_figure(width, 4.2, "Similarity against folding")
    note, words = "", []
    for axes, (field, heading) in zip(figure.subplots(1, 2, sharey=True), FIELDS.items(), strict=True):
        metric = f"{field}_nonpositive_percent"
        beside = without if field == "displacement" else ()
        label = f"non-positive Jacobian determinants, {field} (%)"
        note = percent_axis(axes, "x", _reach(whole, [metric], beside), label) or note
        words = []
        for x, y in zip(style.curves(whole, metric), found, strict=True):
            _trade(axes, x, y)
            points = zip(x.points["mean"], y.points["mean"], x.points["lambda"], strict=True)
            words += [(a, b, f"{weight:g}", x.colour) for a, b, weight in points]
        draw_points(axes, beside, metric, similarity)
        axes.set_title(heading)
        axes.set_ylabel(METRICS[similarity].axis(AFTER) if field == "displacement" else "")
        say_no_folding(axes, [*(x for x, *_ in words), *_means_of(beside, metric)], style.GREY)
        annotate_apart(axes, words if len(words) <= MANY_POINTS else [])
    style.legend(figure, [*style.curve_handles(found), *handles(without)])
    bars = f"Mean over {counts(whole)}; {BARS}."
    numbers = " Numbers at points: λ." if len(words) <= MANY_POINTS else ""
    style.caption(figure, f"{title}. {bars}{numbers}", note)
    return figure


def _reach(whole: pd.DataFrame, metrics: list[str], without: Sequence[Baseline]) -> np.ndarray:
    """The values that an axis must show: means, and the upper ends of their bars."""
    lines = pick(whole, whole["metric"].isin(metrics))
    others = [value for metric in metrics for value in _means_of(without, metric)]
    return np.concatenate([lines["mean"], lines["mean"] + style.standard_error(lines), others])


def _means_of(without: Sequence[Baseline], metric: str) -> list[float]:
    return [float(line["mean"]) for baseline in without if (line := baseline.line(metric)) is not None]


def _trade(axes: Axes, x: style.Curve, y: style.Curve) -> None:
    error_x, error_y = style.standard_error(x.points), style.standard_error(y.points)
    axes.errorbar(
        x.points["mean"], y.points["mean"],
        xerr=[np.minimum(error_x, x.points["mean"]), error_x], yerr=error_y, elinewidth=0.6, **style.curve_look(x),
    )  # fmt: skip


def metric_vs_lambda(
    rows: pd.DataFrame, whole: pd.DataFrame, metric: str, title: str, without: Sequence[Baseline] = ()
) -> Figure | None:
    """One metric against λ, one line per penalty, with its value before registration and those of the baselines.

    None if the metric was not measured.
    """
    without = [baseline for baseline in without if baseline.registers]  # the other one is "before registration"
    found = style.curves(whole, metric)
    if not found:
        return None
    name = "Similarity" if METRICS[metric].role == "similarity" else METRICS[metric].title
    width = 4.9 + style.legend_width(one.label for one in (*found, *without))
    figure = style.new_figure(width, 4.0, f"{name} against λ")
    axes = figure.subplots()
    _against_lambda(axes, rows, whole, metric)
    draw_levels(axes, without, metric)
    axes.set_ylabel(METRICS[metric].axis(AFTER))
    before = whole.loc[whole["metric"] == metric, "before"].mean()
    if np.isfinite(before):
        axes.axhline(before, color=style.GREY, linestyle=(0, (4, 3)), linewidth=0.9, zorder=0)
        axes.annotate(
            "before registration", (1, before), (-2, 3), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", ha="right", fontsize=7.5, color=style.GREY,
        )  # fmt: skip
    style.legend(figure, [*style.curve_handles(found), *handles(without, levels=True)])
    style.caption(figure, f"{title}.", _means(whole))
    return figure


def folding_vs_lambda(
    rows: pd.DataFrame, whole: pd.DataFrame, title: str, without: Sequence[Baseline] = ()
) -> Figure | None:
    """Non-positive Jacobian determinants against λ, of the displacement and of the velocity; the axes include 0."""
    without = [baseline for baseline in without if baseline.registers]  # the other one never folds
    metrics = [f"{field}_nonpositive_percent" for field in FIELDS]
    found = style.curves(whole, metrics[0])
    width = 7.6 + style.legend_width(one.label for one in (*found, *without))
    figure = style.new_figure(width, 4.0, "Folding against λ")
    panels = figure.subplots(1, 2, sharey=True)
    note = ""
    for axes, metric, heading in zip(panels, metrics, FIELDS.values(), strict=True):
        _against_lambda(axes, rows, whole, metric, floor=0.0)
        beside = without if metric == metrics[0] else ()
        draw_levels(axes, beside, metric)
        note = percent_axis(axes, "y", _reach(whole, metrics, without), "non-positive Jacobian determinants (%)")
        say_no_folding(axes, [*whole.loc[whole["metric"] == metric, "mean"], *_means_of(beside, metric)], style.GREY)
        axes.set_title(heading)
    panels[1].set_ylabel("")
    panels[1].tick_params(labelleft=True)
    style.legend(figure, [*style.curve_handles(found), *handles(without, levels=True)])
    style.caption(figure, f"{title}. {_means(whole)}", note)
    return figure


def _against_lambda(
    axes: Axes, rows: pd.DataFrame, whole: pd.DataFrame, metric: str, floor: float | None = None
) -> None:
    found = style.curves(whole, metric)
    lambda_axis(axes, list(whole["lambda"]))
    for place, curve in enumerate(found):
        shift = 1 + 0.035 * (place - (len(found) - 1) / 2)  # bars at the same λ must not hide each other
        points = curve.points
        error = style.standard_error(points)
        below = error if floor is None else np.minimum(error, points["mean"] - floor)
        axes.errorbar(
            points["lambda"] * shift, points["mean"], yerr=[below, error],
            elinewidth=0.7, clip_on=False, **style.curve_look(curve),
        )  # fmt: skip
        seeds = _seed_means(rows, points, style.curve_keys(whole), metric)
        axes.scatter(
            seeds["lambda"] * shift, seeds[metric], s=80, marker="_", color=curve.colour, zorder=1.5, linewidths=0.8
        )


def _seed_means(rows: pd.DataFrame, points: pd.DataFrame, keys: list[str], metric: str) -> pd.DataFrame:
    """The mean of each seed, for points with more than one seed."""
    own = rows.merge(points[keys].drop_duplicates(), on=keys)
    seeds = own.groupby(["lambda", "seed"], as_index=False).agg({metric: "mean"})
    return pick(seeds, seeds.duplicated("lambda", keep=False))


def _means(whole: pd.DataFrame) -> str:
    seeds = " Dashes: means of single seeds." if whole["n_seeds"].max() > 1 else ""
    return f"Mean over {counts(whole)}; {BARS}.{seeds}"


def _drawn(material: Material) -> Drawn:
    """The figures over λ; a run of baselines has none of them."""
    if material.trained.empty:
        return
    own, whole, similarity = material.trained, material.whole, material.measured[-1]
    about = material.title, material.without
    yield "similarity_vs_folding", similarity_vs_folding(whole, similarity, *about)
    yield "similarity_vs_lambda", metric_vs_lambda(own, whole, similarity, *about)
    yield "folding_vs_lambda", folding_vs_lambda(own, whole, *about)
    for metric in METRICS.of_role("accuracy"):
        yield f"{metric}_vs_lambda", metric_vs_lambda(own, whole, metric, *about)


def _looks() -> dict[str, Look]:
    similarities = tuple(METRICS.of_role("similarity"))
    return {
        "similarity_vs_folding": Look(
            "Similarity against folding",
            "One point per configuration; a line joins the λ of one penalty. A penalty is better than another where "
            "its line is better on both axes.",
            (*similarities, *BOTH_FOLD),
        ),
        "similarity_vs_lambda": Look(
            "Similarity against λ",
            "A larger λ makes the warped and the fixed image less similar. Equal λ does not mean equal smoothness, "
            "because penalties differ in scale.",
            similarities,
        ),
        **{
            f"{name}_vs_lambda": Look(
                f"{METRICS.title(name)} against λ",
                f"The effect of a larger λ on {METRICS[name].effect or METRICS.title(name)}, which was not used in "
                "training.",
                (name,),
            )
            for name in METRICS.of_role("accuracy")
        },
        "folding_vs_lambda": Look(
            "Folding against λ",
            "Left: the displacement, which warps the image. Right: the velocity, which the published study measured.",
            BOTH_FOLD,
        ),
    }


KINDS.append(FigureKind(place=10, draw=_drawn, looks=_looks))
