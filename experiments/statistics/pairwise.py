"""Two configurations on the same pairs: Wilcoxon's test, its effect size, Holm's correction, a mixed model."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata, wilcoxon

from .sample import Sample


class Paired(NamedTuple):
    """``difference``: mean of first minus second; ``effect``: matched-pairs rank-biserial correlation, -1 to 1."""

    difference: float
    low: float
    high: float
    p: float
    effect: float
    effect_low: float
    effect_high: float


class Mixed(NamedTuple):
    """The mean difference of a mixed model with its interval, and the standard deviations of its random effects."""

    difference: float
    low: float
    high: float
    p: float
    sd_subjects: float
    sd_seeds: float
    sd_residual: float


def compare(sample: Sample, differences: np.ndarray) -> Paired:
    """Test differences of each seed and pair (S, P): intervals over subjects and seeds, Wilcoxon's p over pairs.

    The p value assumes independent pairs, but pairs that share a subject are not independent. The interval accounts
    for that, so trust the interval if both disagree. The effect is (W+ - W-) / (W+ + W-), where W+ and W- are the sums
    of the ranks of positive and negative differences (Kerby 2014, Comprehensive Psychology 3:1). A seed that one of
    the two lacks is NaN and does not count.
    """
    differences = differences[~np.isnan(differences).all(axis=1)]
    of_pairs = np.nanmean(differences, axis=0)
    own = sample.with_values({"difference": differences[None]})
    mean = own.interval(lambda means: means["difference"])
    ranks, differ = np.zeros_like(of_pairs), of_pairs != 0  # as in the test, pairs without a difference do not count
    ranks[differ] = rankdata(np.abs(of_pairs[differ]))
    if not ranks.any():
        return Paired(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    parts = {"signed": np.sign(of_pairs) * ranks, "ranks": ranks}
    signs = sample.with_values({name: part[None, None] for name, part in parts.items()})
    least = 1e-3 * ranks.mean()  # where the derivative is taken, the ranks must not vanish
    effect = signs.interval(lambda means: means["signed"] / np.maximum(means["ranks"], least))
    tested: Any = wilcoxon(of_pairs)
    difference, low, high = (float(value[0]) for value in mean[:3])
    effect_low, effect_high = (float(value) for value in np.clip([effect.low[0], effect.high[0]], -1, 1))
    return Paired(difference, low, high, float(tested.pvalue), float(effect.estimate[0]), effect_low, effect_high)


def holm(p: np.ndarray) -> np.ndarray:
    """p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p, method="holm")[1]) if len(p) else np.asarray(p, float)


def with_holm(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Comparisons as a table, with ``p_holm``: p, corrected over all lines of a metric."""
    table = pd.DataFrame(lines)
    if not table.empty:
        table["p_holm"] = table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy()))
    return table


def mixed_model(sample: Sample, differences: np.ndarray) -> Mixed | None:
    """Fit differences (S, P) = mean + effect of moving + effect of fixed + effect of the seed + residual.

    Fitted by restricted maximum likelihood. Both subjects of a pair have effects of the same distribution. None if the
    fit fails, or if no seed has all differences.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    differences = differences[~np.isnan(differences).any(axis=1)]
    seeds, pairs = differences.shape
    if not seeds:
        return None
    scale = differences.std() or 1.0
    subjects = np.zeros((pairs, max(sample.moving.max(), sample.fixed.max()) + 1))
    subjects[np.arange(pairs), sample.moving] = 1.0
    subjects[np.arange(pairs), sample.fixed] = 1.0
    effects = {"subject": np.tile(subjects, (seeds, 1))}
    if seeds > 1:
        effects["seed"] = np.repeat(np.eye(seeds), pairs, axis=0)
    columns = [[[f"{name}{i}" for i in range(matrix.shape[1])]] for name, matrix in effects.items()]
    spec = VCSpec(list(effects), columns, [[matrix] for matrix in effects.values()])
    ones = np.ones((seeds * pairs, 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", UserWarning)
            fit = MixedLM(differences.ravel() / scale, ones, groups=ones[:, 0], exog_vc=spec).fit(method=["lbfgs"])
    except (np.linalg.LinAlgError, ValueError):
        return None
    mean, error = float(fit.fe_params[0]) * scale, float(fit.bse_fe[0]) * scale
    if not np.isfinite(error):
        return None
    spreads = dict(zip(effects, np.sqrt(np.maximum(fit.vcomp, 0)) * scale, strict=True))
    reach = float(norm.ppf(0.975)) * error
    p = float(2 * norm.sf(abs(mean) / error))
    return Mixed(
        mean, mean - reach, mean + reach, p, float(spreads["subject"]), float(spreads.get("seed", np.nan)),
        float(np.sqrt(fit.scale)) * scale,
    )  # fmt: skip
