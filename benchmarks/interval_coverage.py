"""How often the 95 % intervals of the statistics contain the truth, in simulated studies of few test subjects.

    python benchmarks/interval_coverage.py            # the table of docs/explain/statistics.md, about two minutes
    python benchmarks/interval_coverage.py 200        # with 200 studies of each kind

A study measures pairs of subjects. What it measures is the sum of a mean, an effect of the moving subject, one of the
fixed subject, one of the pair, one of the seed and noise. The true values are known, because the effects have mean 0.
"""

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from smoothmorph.experiments.statistics.arc import area, dominated_share
from smoothmorph.experiments.statistics.curves import Curve, at_smoothness
from smoothmorph.experiments.statistics.sample import Sample, Statistic
from smoothmorph.pipeline.evaluation import SDLOGJ

STUDIES = 2000
SDLOGJS, DICES = np.array([0.45, 0.30, 0.18, 0.09]), np.array([0.72, 0.70, 0.66, 0.60])  # of four λ
CURVE = Curve("l2", (), 10.0 ** np.arange(4), np.arange(4))
STATISTICS: dict[str, Statistic] = {
    "mean": lambda means: means["dice"][..., :1],
    "at equal SDlogJ": at_smoothness(CURVE, SDLOGJ, "dice", np.array([0.22])),
    "AUC-ARC": area(CURVE, "dice", 0.12, 0.40),
    "hypervolume": dominated_share(CURVE, "dice", 0.5),
}


class Spread(NamedTuple):
    """Standard deviations of the effects, in units of that of one value: 0.04 of Dice and of SDlogJ."""

    moving: float = 0.0
    fixed: float = 0.0
    pair: float = 0.0
    seed: float = 0.0
    noise: float = 0.0


SPREADS = {
    "subjects": Spread(moving=1.0, fixed=0.7, pair=0.3),
    "moving subjects": Spread(moving=1.0, pair=0.3),
    "subjects and pairs": Spread(moving=0.4, fixed=0.4, pair=1.0),
    "pairs": Spread(pair=1.0),
}
Design = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Draws the moving and the fixed subject of each pair."""


def across(subjects: int, pairs: int) -> Design:
    """Random ordered pairs of distinct subjects, none twice."""
    possible = np.array([(m, f) for m in range(subjects) for f in range(subjects) if m != f])
    return lambda generator: tuple(generator.permutation(possible)[:pairs].T)  # type: ignore[return-value]


def within(subjects: int, most: int) -> Design:
    """One to ``most`` pairs of each subject, as slices of one heart."""

    def draw(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        owners = np.repeat(np.arange(subjects), generator.integers(1, most + 1, subjects))
        return owners, owners

    return draw


def study(design: Design, spread: Spread, seeds: int, generator: np.random.Generator) -> Sample:
    """One simulated study of four λ. The effects of a subject on its Dice at different λ are alike, but not equal."""
    moving, fixed = design(generator)
    values, count, pairs = {}, len(SDLOGJS), len(moving)
    for metric, means in (("dice", DICES), (SDLOGJ, SDLOGJS)):
        shape = (count, 1, max(moving.max(), fixed.max()) + 1)
        effects = [0.8 * generator.normal(size=shape[1:]) + 0.6 * generator.normal(size=shape) for _ in range(2)]
        parts = spread.moving * effects[0][..., moving] + spread.fixed * effects[1][..., fixed] * (moving != fixed)
        parts = parts + spread.pair * generator.normal(size=(count, 1, pairs))
        parts = parts + spread.seed * generator.normal(size=(count, seeds, 1))
        parts = parts + spread.noise * generator.normal(size=(count, seeds, pairs))
        values[metric] = means[:, None, None] + 0.04 * parts
    frame = pd.DataFrame({"penalty": "l2", "lambda": CURVE.weights, "model": "diffeomorphic"})
    return Sample(frame, np.arange(seeds), moving, fixed, values)


def coverage(design: Design, spread: Spread, seeds: int = 1, studies: int = STUDIES) -> dict[str, float]:
    """The share of studies whose interval contains the truth, by statistic."""
    generator, hits = np.random.default_rng(2026), dict.fromkeys(STATISTICS, 0)
    truth = {"dice": DICES, SDLOGJ: SDLOGJS}
    for _ in range(studies):
        sample = study(design, spread, seeds, generator)
        for name, statistic in STATISTICS.items():
            found = sample.interval(statistic)
            hits[name] += bool(found.low[0] <= statistic(truth)[0] <= found.high[0])
    return {name: count / studies for name, count in hits.items()}


def table(studies: int) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield f"| test subjects | pairs | seeds | what varies | {' | '.join(STATISTICS)} |"
    yield f"|---|---|---|---|{'---|' * len(STATISTICS)}"
    cases = [(n, f"{p}", across(n, p), name, spread) for n, p in ((8, 56), (12, 60), (20, 100), (40, 100))
             for name, spread in SPREADS.items()]  # fmt: skip
    cases += [(n, "1 to 8 each", within(n, 8), name, SPREADS[name])
              for n in (8, 14, 20) for name in ("moving subjects", "subjects and pairs")]  # fmt: skip
    for subjects, pairs, design, name, spread in cases:
        yield _line(subjects, pairs, 1, name, coverage(design, spread, 1, studies))
    for subjects, pairs in ((8, 56), (20, 100)):
        spread = Spread(moving=0.7, fixed=0.7, pair=0.5, seed=0.2, noise=0.5)
        yield _line(subjects, str(pairs), 3, "all, and seeds", coverage(across(subjects, pairs), spread, 3, studies))


def _line(subjects: int, pairs: str, seeds: int, name: str, found: dict[str, float]) -> str:
    shares = " | ".join(f"{share:.3f}" for share in found.values())
    return f"| {subjects} | {pairs} | {seeds} | {name} | {shares} |"


if __name__ == "__main__":
    for line in table(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES):
        print(line, flush=True)
