"""Figures of a study, drawn from its rows, histories and example pairs: never from models or images of a cohort."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..folders import Run
from ..statistics import Analysis, accuracies
from ..summaries import summary
from .distributions import distribution_figures
from .fields import field_figures
from .lambdas import folding_vs_lambda, metric_vs_lambda, similarity_vs_folding
from .loss import training_figures
from .style import save, styled
from .trade import trade_figures

__all__ = ["draw_figures"]


def draw_figures(run: Run, rows: pd.DataFrame, history: pd.DataFrame, analysis: Analysis) -> list[Path]:
    """Draw every figure of a run into its ``figures``, as PNG and SVG; a fault in one leaves those before it written.

    Raises:
        InputError: a damaged file of example pairs.
    """
    folder = run.path / "figures"
    with styled():
        drawn = _draw(run, rows, history, analysis)
        return [path for name, figure in drawn if figure is not None for path in save(figure, folder, name)]


def _draw(
    run: Run, rows: pd.DataFrame, history: pd.DataFrame, analysis: Analysis
) -> Iterator[tuple[str, Figure | None]]:
    whole, title = summary(rows), run.study.title
    measured = accuracies(rows)
    similarity = measured[-1]
    yield from training_figures(history, title, _warm_up(run))
    yield "similarity_vs_folding", similarity_vs_folding(whole, similarity, title)
    yield "similarity_vs_lambda", metric_vs_lambda(rows, whole, similarity, title)
    yield "folding_vs_lambda", folding_vs_lambda(rows, whole, title)
    yield "dice_vs_lambda", metric_vs_lambda(rows, whole, "dice", title)
    yield from trade_figures(analysis, measured[0], title)
    yield from distribution_figures(rows, title)
    yield from field_figures(run, rows).items()


def _warm_up(run: Run) -> str:
    """What a caption must say where λ is on its way up during training."""
    shares = {trial.training.penalty_warmup for trial in run.trials.values()} - {0.0}
    if not shares:
        return ""
    words = " or ".join(f"{100 * share:g}" for share in sorted(shares))
    return f"In training λ grows from 0 in the first {words} % of the steps; validation has all of it throughout."
