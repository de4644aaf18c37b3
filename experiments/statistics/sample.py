"""The rows of a study as arrays: configurations x seeds x test pairs, and how to resample them.

Shapes: C configurations, S seeds, P test pairs, N subjects, B resamples, T values of a statistic.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from ...transforms.basics.errors import InputError
from ..rows.summaries import configuration, records

RESAMPLES = 2000
LEVEL = 0.95
INTERVALS = (
    f"{LEVEL:.0%} intervals over subjects ({RESAMPLES} resamples; pairs share subjects), and over seeds if there are "
    "several"
)
"""What the notes of tables say about their intervals."""
STEP = 1e-4  # change of a pair's weight, for the derivative of a statistic

Statistic = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Means of each metric (..., C) -> numbers (..., T); works on any leading shape."""


class Interval(NamedTuple):
    """``estimate`` and the ends of its interval, each (T,); ``seeds``: the number of seeds that it is based on."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


@dataclass(frozen=True)
class Sample:
    """The measurements of a study on the test pairs that all of its configurations share.

    Attributes:
        configurations: (C lines) the columns of `summaries.configuration`.
        seeds: (S,) the seeds of all trials; a configuration may lack some.
        moving, fixed: (P,) the subjects of each pair, as numbers 0..N-1.
        values: metric -> (C, S, P); NaN where a configuration lacks a seed.
        weights: (B, P) the weight of each pair in each resample.
    """

    configurations: pd.DataFrame
    seeds: np.ndarray
    moving: np.ndarray
    fixed: np.ndarray
    values: Mapping[str, np.ndarray]
    weights: np.ndarray = field(repr=False)

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame,
        metrics: Sequence[str],
        resamples: int = RESAMPLES,
        seed: int = 0,
        keys: Sequence[str] | None = None,
    ) -> "Sample":
        """Arrange rows; a pair that one trial lacks, or has no value for, is left out for all.

        Args:
            rows: one line per trial and test pair.
            metrics: the metrics to take.
            resamples: B.
            seed: seed of the resampling.
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
        _, subjects = np.unique(np.array([list(pair) for pair in common], dtype=str), return_inverse=True)
        moving, fixed = subjects.reshape(-1, 2).T
        weights = pair_weights(moving, fixed, resamples, np.random.default_rng(seed))
        return cls(configurations, seeds, moving, fixed, values, weights)

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

    def interval(self, statistic: Statistic, level: float = LEVEL) -> Interval:
        """A statistic with its percentile interval over resampled subjects and seeds.

        Subjects, not pairs, are drawn with replacement, because pairs share subjects. If the subjects of a pair were
        drawn w_i and w_j times, the pair counts w_i + w_j - 1 times: the part of the pigeonhole bootstrap that is
        linear in the weights (Owen 2007, Annals of Applied Statistics 1:386). This counts the deviation of each pair
        twice, once with each subject. So the deviations are shrunk: their variance becomes the sum over all couples
        of pairs with a common subject, each couple counted once (Aronow, Samii and Assenova 2015, Political Analysis
        23:564).

        A handful of seeds is too few to resample. Their deviation is drawn from Student's t distribution, with the
        standard error of the statistic over seeds. With one seed the interval is over subjects only.
        """
        estimate = statistic(self.means())
        resampled = statistic(self._weighted(self.weights)) - estimate
        deviations = resampled * self._shrinkage(statistic, estimate)
        complete = ~np.isnan(next(iter(self.values.values()))).any(axis=(0, 2))
        count = int(complete.sum())
        if count > 1:
            per_seed = statistic({m: array[:, complete].mean(-1).T for m, array in self.values.items()})
            error = per_seed.std(axis=0, ddof=1) / np.sqrt(count)
            deviations = deviations + _student(count - 1, len(deviations))[:, None] * error
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = estimate + np.quantile(deviations, tails, axis=0)
        return Interval(estimate, low, high, count)

    def _weighted(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Means over pairs with ``weights`` (B, P), whose mean is 1, then over seeds: (B, C) of each metric."""
        means = {}
        for metric, array in self.values.items():
            centre = array.mean(-1, keepdims=True)
            shifts = np.einsum("csp,bp->bcs", array - centre, weights - 1) / len(self.moving)
            means[metric] = np.nanmean(centre[None, ..., 0] + shifts, axis=2)
        return means

    def _shrinkage(self, statistic: Statistic, estimate: np.ndarray) -> np.ndarray:
        """(T,): the factor that removes the second count of each pair: the square root of a ratio of variances."""
        count = len(self.moving)
        influence = (statistic(self._weighted(1 + STEP * np.eye(count))) - estimate) / STEP  # (P, T)
        subjects = np.zeros((max(self.moving.max(), self.fixed.max()) + 1, influence.shape[1]))
        np.add.at(subjects, self.moving, influence)
        np.add.at(subjects, self.fixed, influence)
        whole = (subjects**2).sum(0)
        own = (influence**2).sum(0)
        return np.sqrt(np.clip(1 - own / np.where(whole > 0, whole, 1), 0.5, 1))


def _student(freedom: int, count: int) -> np.ndarray:
    """(B,): quantiles of Student's t at evenly spaced probabilities, shuffled: exact tails instead of a random draw."""
    values = student.ppf((np.arange(count) + 0.5) / count, freedom)
    return np.random.default_rng(1).permutation(values)


def is_everywhere(rows: pd.DataFrame, metric: str) -> bool:
    """Whether every configuration has this metric for each of its seeds."""
    return bool(rows.groupby([*configuration(rows), "seed"], dropna=False)[metric].count().min() > 0)


def titled(table: pd.DataFrame, title: str, note: str) -> pd.DataFrame:
    """The table with a title and a note for the report."""
    table.attrs.update(title=title, note=note)
    return table


def pair_weights(moving: np.ndarray, fixed: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """(B, P): w_i + w_j - 1, where w is how often each of the N subjects is drawn."""
    subjects = np.unique(np.concatenate([moving, fixed]))
    counts = generator.multinomial(len(subjects), np.full(len(subjects), 1 / len(subjects)), size=resamples)
    place = np.searchsorted(subjects, np.stack([moving, fixed]))
    return (counts[:, place[0]] + counts[:, place[1]] - 1).astype(float)
