"""Figures of a study, drawn from its rows, histories and example pairs. They need no models and no cohort."""

from pathlib import Path

import pandas as pd

from ..statistics import Analysis
from ..store.run_folder import Run
from .kinds import Material, kinds
from .style import save, styled

__all__ = ["draw_figures"]


def draw_figures(run: Run, rows: pd.DataFrame, history: pd.DataFrame, analysis: Analysis) -> list[Path]:
    """Draw every figure of a run into its folder ``figures``, as PNG and SVG, one after the other.

    Raises:
        InputError: a file of example pairs is damaged; the figures before it are written.
    """
    folder, material = run.path / "figures", Material(run, rows, history, analysis)
    with styled():
        drawn = (each for kind in kinds() for each in kind.draw(material))
        return [path for name, figure in drawn if figure is not None for path in save(figure, folder, name)]
