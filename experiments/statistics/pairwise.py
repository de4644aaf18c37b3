"""Two configurations on the same pairs: Wilcoxon's test, its effect size, Holm's correction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata, wilcoxon

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
    """p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6:65). NaN is no test."""
    from statsmodels.stats.multitest import multipletests

    corrected, known = np.array(p, float), ~np.isnan(p)
    if known.any():
        corrected[known] = multipletests(corrected[known], method="holm")[1]
    return corrected


def with_holm(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Comparisons as a table, with ``p_holm``: p, corrected over all lines of a metric."""
    table = pd.DataFrame(lines)
    if not table.empty:
        table["p_holm"] = table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy()))
    return table
