"""The kinds of figures. A module of this folder adds its own, with what the report says about them."""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from ..rows.summaries import penalized, summary
from ..statistics import Analysis, accuracies
from ..store.run_folder import Run
from .baselines import Baseline, baselines_of

Drawn = Iterator[tuple[str, Figure | None]]
"""Figures by file name; None for a figure that these rows do not allow."""

ANSWER = "answer"
"""The section of the report that begins it; ``Look.beside`` of the figure that comes first on the page."""


class Look(NamedTuple):
    """How the report presents a figure: ``beside`` a table or section of that name, or with a table of its ``metrics``.

    ``reading`` says in a sentence or two how to read it.
    """

    title: str
    reading: str = ""
    metrics: tuple[str, ...] = ()
    beside: str = ""


@dataclass(frozen=True)
class Material:
    """What figures are drawn from."""

    run: Run
    rows: pd.DataFrame
    history: pd.DataFrame
    analysis: Analysis

    @property
    def title(self) -> str:
        """The study's title, for captions."""
        return self.run.study.title

    @cached_property
    def measured(self) -> list[str]:
        """The accuracies that were measured, the main one first and the similarity last."""
        return accuracies(self.rows)

    @cached_property
    def trained(self) -> pd.DataFrame:
        """The rows with a penalty; none in a run of baselines."""
        return penalized(self.rows)

    @cached_property
    def whole(self) -> pd.DataFrame:
        """The summary of :attr:`trained`."""
        return summary(self.trained)

    @cached_property
    def without(self) -> list[Baseline]:
        """The baselines."""
        return baselines_of(summary(self.rows))


@dataclass(frozen=True)
class FigureKind:
    """Figures that are drawn together.

    Attributes:
        place: figures are drawn, and presented where they have no table or section, in this order.
        draw: draws them.
        looks: how the report presents them, by file name or its beginning.
    """

    place: int
    draw: Callable[[Material], Drawn]
    looks: Callable[[], Mapping[str, Look]]


KINDS: list[FigureKind] = []


def kinds() -> list[FigureKind]:
    """All kinds in order; first each module of this folder is imported, so that it can add its own to ``KINDS``."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    return sorted(KINDS, key=lambda kind: kind.place)
