"""The rows of a study as arrays: configurations x seeds x test pairs, and intervals of what is computed from them.

Shapes: C configurations, S seeds, P test pairs, N groups of subjects, T values of a statistic.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from ...transforms.basics.errors import InputError
from ..rows.rounding import LEVEL, PERCENT
from ..rows.summaries import configuration, records
from .pair_variance import PairDesign, without_atlas

INTERVALS = f"{PERCENT} intervals (Student's t) over subjects, which pairs share, and over seeds if there are several"
"""What the notes of tables say about their intervals."""

Statistic = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Means of each metric (..., C) -> numbers (..., T); works on any leading shape."""


class Interval(NamedTuple):
    """``estimate`` and the ends of its interval, each (T,); ``seeds``: the number of seeds that it is based on."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int

    def within(self, bounds: tuple[float, float]) -> "Interval":
        """The part of the interval that is possible: no Dice is above 1. Ends that are unknown, NaN, stay so."""
        return self._replace(low=np.maximum(self.low, bounds[0]), high=np.minimum(self.high, bounds[1]))


@dataclass(frozen=True)
class Sample:
    """The measurements of a study on the test pairs that all of its configurations share.

    Attributes:
        configurations: (C lines) the columns of `summaries.configuration`.
        seeds: (S,) the seeds of all trials; a configuration may lack some.
        moving, fixed: (P,) the groups of each pair's subjects, as numbers 0..N-1. A group is what varies on its own:
            a person, however many scans or slices there are.
        values: metric -> (C, S, P); NaN where a configuration lacks a seed.
    """

    configurations: pd.DataFrame
    seeds: np.ndarray
    moving: np.ndarray
    fixed: np.ndarray
    values: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, rows: pd.DataFrame, metrics: Sequence[str], keys: Sequence[str] | None = None) -> "Sample":
        """Arrange rows; a pair that one trial lacks, or has no value for, is left out for all.

        Args:
            rows: one line per trial and test pair.
            metrics: the metrics to take.
            keys: the columns that define a configuration; default: `summaries.configuration` of ``rows``.

        Raises:
            InputError: no test pair is common to all trials.
        """
        keys = list(keys or configuration(rows))
        rows = rows.copy()
        rows["pair"] = list(zip(rows["moving"], rows["fixed"], strict=True))
        rows["line"] = rows.groupby(keys, dropna=False, sort=False).ngroup()
        rows = rows.drop_duplicates(["line", "seed", "pair"])  # two groups of a study may hold the same trial
        tables = {m: rows.pivot(index="pair", columns=["line", "seed"], values=m) for m in metrics}
        common = pd.concat(list(tables.values()), axis=1).dropna().index
        if not len(common):
            raise InputError("the trials of this run share no test pair; statistics need pairs that all of them have.")
        configurations = rows.drop_duplicates("line").sort_values("line")[keys].reset_index(drop=True)
        seeds = np.sort(rows["seed"].unique())
        places = {seed: place for place, seed in enumerate(seeds)}
        values = {}
        for metric, table in tables.items():
            array = np.full((len(configurations), len(seeds), len(common)), np.nan)
            for (line, trial_seed), numbers in table.loc[common].items():
                array[line, places[trial_seed]] = numbers
            values[metric] = array
        owners = _groups(rows)
        names = [[owners.get(subject, subject) for subject in pair] for pair in common]
        _, groups = np.unique(np.array(names, dtype=str), return_inverse=True)
        moving, fixed = groups.reshape(-1, 2).T
        return cls(configurations, seeds, moving, fixed, values)

    @cached_property
    def design(self) -> PairDesign:
        """Which groups the pairs share; an atlas is fixed, and no part of chance."""
        return PairDesign(*without_atlas(self.moving, self.fixed))

    def select(self, mask: Any) -> "Sample":
        """The configurations where ``mask`` holds, and the seeds that any of them has."""
        chosen = np.flatnonzero(mask)
        values = {metric: array[chosen] for metric, array in self.values.items()}
        there = ~np.isnan(next(iter(values.values()))).all(axis=(0, 2))
        return replace(
            self,
            configurations=self.configurations.iloc[chosen].reset_index(drop=True),
            seeds=self.seeds[there],
            values={metric: array[:, there] for metric, array in values.items()},
        )

    def each(self) -> Iterator[tuple[dict[str, Any], "Sample"]]:
        """Every configuration: its columns, and a sample of only this configuration."""
        for place, about in enumerate(records(self.configurations)):
            yield about, self.select(np.arange(len(self.configurations)) == place)

    def with_values(self, values: Mapping[str, np.ndarray]) -> "Sample":
        """The same pairs with other values, each (C, S, P)."""
        return replace(self, values=values)

    def pair_means(self, metric: str) -> np.ndarray:
        """The mean over seeds of each configuration and pair: (C, P)."""
        return np.nanmean(self.values[metric], axis=1)

    def means(self) -> dict[str, np.ndarray]:
        """The mean over pairs and seeds of each configuration, by metric: (C,)."""
        return {metric: np.nanmean(array.mean(-1), axis=1) for metric, array in self.values.items()}

    def interval(self, statistic: Statistic, reads: Any = slice(None)) -> Interval:
        """A statistic with its interval over subjects and seeds, by Student's t distribution.

        ``reads``: the lines of the configurations that the statistic reads, by default all. Seeds that one of these
        lacks do not count; seeds that others lack do.

        The statistic is taken as linear in the means near their values (the delta method). So each pair has a
        deviation, and the variance of their mean is that of pairs which share subjects, see
        :meth:`.PairDesign.variance`. Over seeds, the variance is that of the statistic's values of each seed. The
        half-widths of both intervals add as squares (Zou and Donner 2008, Statistics in Medicine 27:1693), because
        they have different degrees of freedom. With one seed the interval is over subjects only.

        The interval is NaN if there is nothing to take a variance of, as with pairs of only two subjects.
        """
        estimate = statistic(self.means())
        variance, freedom = self.design.variance(self._deviations(statistic, len(estimate)))
        square = variance * student.ppf((1 + LEVEL) / 2, freedom) ** 2
        complete = ~np.isnan(next(iter(self.values.values()))[reads]).any(axis=(0, 2))
        count = int(complete.sum())
        if count > 1:
            per_seed = statistic({m: array[:, complete].mean(-1).T for m, array in self.values.items()})
            square = square + per_seed.var(axis=0, ddof=1) / count * student.ppf((1 + LEVEL) / 2, count - 1) ** 2
        half = np.sqrt(square)
        return Interval(estimate, estimate - half, estimate + half, count)

    def _deviations(self, statistic: Statistic, count: int) -> np.ndarray:
        """(P, T): how far each pair moves a statistic of T values away from its estimate, times P.

        The derivative of the statistic by each mean is a central difference over one standard error of the mean. A
        smaller step would tell only one side of a kink, as there is where a curve has a tested λ.
        """
        means, of_pairs = self.means(), {metric: self.pair_means(metric) for metric in self.values}
        deviations = np.zeros((len(self.moving), count))
        for metric, values in of_pairs.items():
            steps = values.std(axis=1) / np.sqrt(values.shape[1])  # (C,)
            moved = np.flatnonzero(steps > 0)
            if not len(moved):
                continue
            shifts = np.zeros((len(moved), len(steps)))
            shifts[np.arange(len(moved)), moved] = steps[moved]
            up, down = (
                statistic({name: own + sign * shifts if name == metric else np.broadcast_to(own, shifts.shape)
                           for name, own in means.items()})
                for sign in (1, -1)
            )  # fmt: skip
            slopes = (up - down) / (2 * steps[moved, None])  # (moved, T)
            deviations += (values[moved] - means[metric][moved, None]).T @ slopes
        return deviations


def _groups(rows: pd.DataFrame) -> dict[str, str]:
    """The group of each subject where rows tell it; a subject of older rows is its own."""
    if "moving_group" not in rows:
        return {}
    both = [rows[[role, f"{role}_group"]].dropna().drop_duplicates() for role in ("moving", "fixed")]
    return {subject: group for frame in both for subject, group in frame.itertuples(index=False, name=None)}


def is_everywhere(rows: pd.DataFrame, metric: str) -> bool:
    """Whether every configuration has this metric for each of its seeds."""
    return bool(rows.groupby([*configuration(rows), "seed"], dropna=False)[metric].count().min() > 0)


def titled(table: pd.DataFrame, title: str, note: str) -> pd.DataFrame:
    """The table with a title and a note for the report."""
    table.attrs.update(title=title, note=note)
    return table
