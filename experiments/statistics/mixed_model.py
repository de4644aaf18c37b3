"""A mixed model of differences: their mean, with random effects of subjects and seeds.

Restricted maximum likelihood (Patterson and Thompson, Biometrika 58:545, 1971), with the variance of the residual
profiled out (Lindstrom and Bates, JASA 83:1014, 1988). With one seed, most fits by statsmodels 0.14 ended far from the
highest likelihood (lbfgs), or with an error where a variance is 0 (without gradients). Legend: S seeds, P pairs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import norm

from ..rows.rounding import LEVEL
from .sample import Sample

STARTS = (0.1, 1.0)
"""Standard deviations of the random effects from which the search begins, in units of the residual's."""
LARGEST = 1e3
"""The largest of them: beyond it, nothing is left to the residual."""


class Mixed(NamedTuple):
    """The mean difference of a mixed model with its interval, and the standard deviations of its random effects."""

    difference: float
    low: float
    high: float
    p: float
    sd_subjects: float
    sd_seeds: float
    sd_residual: float


class _Fit(NamedTuple):
    """What follows from the ratios of the standard deviations; ``deviance``: -2 log likelihood, but for a constant."""

    deviance: float
    mean: float
    error: float
    sd_residual: float


def mixed_model(sample: Sample, differences: np.ndarray) -> Mixed | None:
    """Fit differences (S, P) = mean + effect of moving + effect of fixed + effect of the seed + residual.

    Both subjects of a pair have effects of the same distribution. None if no seed has all differences, if they are all
    equal, or if there is nothing to take a variance of, as with pairs of only two subjects. The standard deviations of
    subjects and residual are NaN if no subject repeats, and there is one seed.
    """
    differences = differences[~np.isnan(differences).any(axis=1)]
    seeds, pairs = differences.shape
    if not seeds or np.ptp(differences) == 0:
        return None
    if np.isnan(sample.design.variance(differences.mean(axis=0)[:, None])[0]).any():
        return None
    sides = sample.design.moving, sample.design.fixed  # without an atlas, whose effect cannot be told from the mean
    subjects = np.zeros((pairs, np.max(sides) + 1))
    for side in sides:
        subjects[np.arange(pairs), side] = 1.0
    shared = subjects @ subjects.T
    scale = differences.std()
    fit = partial(_fit, differences / scale, shared)
    ratios = min((_lowest(fit, [start] * min(seeds, 2)) for start in STARTS), key=lambda one: fit(one).deviance)
    best = fit(ratios)
    mean, error, residual = best.mean * scale, best.error * scale, best.sd_residual * scale
    reach = float(norm.ppf((1 + LEVEL) / 2)) * error
    of_subjects, of_seeds = (float(ratio) * residual for ratio in (*ratios, np.nan)[:2])
    if seeds == 1 and np.array_equal(shared, shared[0, 0] * np.eye(pairs)):  # nothing tells subjects from the rest
        of_subjects = residual = np.nan
    p = float(2 * norm.sf(abs(mean) / error))
    return Mixed(mean, mean - reach, mean + reach, p, of_subjects, of_seeds, residual)


def _lowest(fit: Callable[[np.ndarray], _Fit], start: Sequence[float]) -> np.ndarray:
    """The ratios with the lowest deviance that are found from ``start`` on."""
    found = minimize(
        lambda ratios: fit(ratios).deviance,
        start,
        method="Nelder-Mead",
        bounds=[(0, LARGEST)] * len(start),
        options={"xatol": 1e-4, "fatol": 1e-6},
    )
    return np.asarray(found.x)


def _fit(values: np.ndarray, shared: np.ndarray, ratios: np.ndarray) -> _Fit:
    """The fit at the ratios of the standard deviations of subjects, and of seeds if there are several.

    The mean over seeds and the differences between seeds are independent, and subjects matter to the former only. So
    the matrices are P by P.

    Args:
        values: (S, P).
        shared: (P, P), how many subjects two pairs share.
        ratios: to the standard deviation of the residual.
    """
    seeds, pairs = values.shape
    of_seeds = ratios[1] ** 2 if len(ratios) > 1 else 0.0
    averages, sums = values.mean(axis=0), (values - values.mean(axis=0)).sum(axis=1)
    factor = cho_factor(np.eye(pairs) + seeds * ratios[0] ** 2 * shared + of_seeds)
    weights = seeds * cho_solve(factor, np.ones(pairs))
    mean = float(weights @ averages / weights.sum())
    rest = averages - mean
    squares = seeds * rest @ cho_solve(factor, rest) + ((values - averages) ** 2).sum()
    squares -= of_seeds / (1 + pairs * of_seeds) * (sums**2).sum()
    variance = squares / (values.size - 1)
    determinant = 2 * np.log(np.diag(factor[0])).sum() + (seeds - 1) * np.log1p(pairs * of_seeds)
    deviance = (values.size - 1) * np.log(variance) + determinant + np.log(weights.sum())
    return _Fit(float(deviance), mean, float(np.sqrt(variance / weights.sum())), float(np.sqrt(variance)))
