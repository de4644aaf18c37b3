"""Figures of a study, drawn from its rows, histories and example pairs. They need no models and no cohort."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ...pipeline.evaluation import METRICS
from ..rows.summaries import penalized, summary
from ..statistics import Analysis, accuracies
from ..store.run_folder import Run
from .arc import pareto_front
from .baselines import baselines_of
from .distributions import distribution_figures
from .fields import field_figures
from .gap import amortization_gap
from .lambdas import folding_vs_lambda, metric_vs_lambda, similarity_vs_folding
from .loss import training_figures
from .matched import matched, matched_name
from .structures import dice_per_structure
from .style import save, styled

__all__ = ["draw_figures"]


def draw_figures(run: Run, rows: pd.DataFrame, history: pd.DataFrame, analysis: Analysis) -> list[Path]:
    """Draw every figure of a run into its folder ``figures``, as PNG and SVG, one after the other.

    Raises:
        InputError: a file of example pairs is damaged; the figures before it are written.
    """
    folder = run.path / "figures"
    with styled():
        drawn = _draw(run, rows, history, analysis)
        return [path for name, figure in drawn if figure is not None for path in save(figure, folder, name)]


def _draw(
    run: Run, rows: pd.DataFrame, history: pd.DataFrame, analysis: Analysis
) -> Iterator[tuple[str, Figure | None]]:
    measured, title = accuracies(rows), run.study.title
    yield from _over_lambda(run, rows, history, measured)
    if "means" in analysis.tables:
        yield "pareto_front", pareto_front(analysis, measured[0], title)
        for smoothness in METRICS.of_role("smoothness"):
            yield matched_name(smoothness), matched(analysis, measured[0], smoothness, title)
        yield "amortization_gap", amortization_gap(analysis, measured[0], title)
    yield from distribution_figures(rows, title)
    yield "dice_per_structure", dice_per_structure(rows, title)
    yield from field_figures(run, rows).items()


def _over_lambda(
    run: Run, rows: pd.DataFrame, history: pd.DataFrame, measured: list[str]
) -> Iterator[tuple[str, Figure | None]]:
    """The figures of the training and over λ; a run of baselines has none of them."""
    own, without, title = penalized(rows), baselines_of(summary(rows)), run.study.title
    if own.empty:
        return
    whole, similarity = summary(own), measured[-1]
    yield from training_figures(history, title, _warm_up(run))
    yield "similarity_vs_folding", similarity_vs_folding(whole, similarity, title, without)
    yield "similarity_vs_lambda", metric_vs_lambda(own, whole, similarity, title, without)
    yield "folding_vs_lambda", folding_vs_lambda(own, whole, title, without)
    for metric in METRICS.of_role("accuracy"):
        yield f"{metric}_vs_lambda", metric_vs_lambda(own, whole, metric, title, without)


def _warm_up(run: Run) -> str:
    """The sentence for captions if λ is warmed up during training; empty otherwise."""
    trained = [trial for trial in run.trials.values() if trial.model.trains]
    shares = {trial.training.penalty_warmup for trial in trained} - {0.0}
    if not shares:
        return ""
    words = " or ".join(f"{100 * share:g}" for share in sorted(shares))
    return f"In training λ grows from 0 over the first {words} % of the steps; validation always uses the full λ."
