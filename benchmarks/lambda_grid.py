"""Place the λ of a study of optimization: each penalty gets a grid that spans the same range of smoothness.

    python benchmarks/lambda_grid.py STUDY DATA_ROOT [--pairs 6] [--count 6] [--low 0.06] [--high 0.45] [--only PENALTY]

The fields of a few validation pairs are optimized; of test pairs where the study has no validation subjects. Of the
result, only the mean SDlogJ of the displacement is used: no label, no accuracy. The study's own λ are where the search
begins. For each penalty and model one line is printed, to be copied into the study file: the λ, and the SDlogJ that
each of them gave.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline import TrialSettings, prepare
from smoothmorph.pipeline.methods.optimization import by_optimization
from smoothmorph.transforms import jacobian_statistics

OPTIMIZATION = "optimization"
STEP = 4.0
"""The factor between two λ, while both ends of the range are looked for."""
WALKS, REFINEMENTS = 8, 3
CLIPPED = (1e-3, 3.0)
"""SDlogJ, of which the logarithm is interpolated."""
NEAR = 0.06
"""A λ is good enough if its SDlogJ is within this share of the wanted one."""


def roughness(settings: TrialSettings, pairs: Sequence[tuple[Any, Any]]) -> float:
    """The mean SDlogJ of the displacements that optimization finds for these pairs."""
    found = by_optimization(settings, torch.device("cpu")).register(pairs)
    values = [float(jacobian_statistics(one.registration.displacement)["sdlogj"]) for one in found]
    return float(np.mean(values))


def grid(measure: Callable[[float], float], start: float, targets: Sequence[float]) -> dict[float, float]:
    """The λ whose SDlogJ come close to the ``targets``, each with its SDlogJ.

    Args:
        measure: λ -> SDlogJ; falls with λ, but for noise.
        start: the first λ that is tried.
        targets: SDlogJ.
    """
    tried: dict[float, float] = {}

    def at(weight: float) -> float:
        weight = float(f"{weight:.2g}")
        if weight not in tried:
            tried[weight] = measure(weight)
        return tried[weight]

    for factor, reached in ((1 / STEP, lambda value: value >= max(targets)), (STEP, lambda v: v <= min(targets))):
        weight = start
        for _ in range(WALKS):
            if reached(at(weight)):
                break
            weight *= factor
    for target in targets:
        for _ in range(REFINEMENTS):
            if min(abs(value / target - 1) for value in tried.values()) < NEAR:
                break
            low = max((weight for weight, value in tried.items() if value >= target), default=0.0)
            high = min((weight for weight, value in tried.items() if value < target and weight > low), default=0.0)
            if not low or not high:
                break
            smooth, rough = np.log(np.clip([tried[high], tried[low]], *CLIPPED))
            share = float(np.clip((rough - np.log(target)) / (rough - smooth), 0.15, 0.85))
            at(low * (high / low) ** share)
    chosen = [min(tried, key=lambda weight: abs(np.log(max(tried[weight], CLIPPED[0]) / target))) for target in targets]
    return {weight: tried[weight] for weight in sorted(set(chosen))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--count", type=int, default=6, help="values of λ for each penalty")
    parser.add_argument("--low", type=float, default=0.06, help="the smallest SDlogJ")
    parser.add_argument("--high", type=float, default=0.45, help="the largest SDlogJ")
    parser.add_argument("--only", default=None, help="one penalty")
    asked = parser.parse_args()
    study = load_study(asked.study)
    optimized = [trial for trial in study.trials if trial.model.method == OPTIMIZATION]
    prepared = prepare(optimized[0], asked.data_root)
    drawn = prepared.validation_pairs or prepared.test_pairs
    every = max(len(drawn) // asked.pairs, 1)
    pairs = [(prepared.samples[one], prepared.samples[other]) for one, other in drawn]
    pairs = pairs[::every][: asked.pairs]
    targets = np.linspace(asked.low**0.5, asked.high**0.5, asked.count) ** 2  # denser where fields are smooth
    curves: dict[tuple[str, int], list[TrialSettings]] = {}
    for trial in optimized:
        curves.setdefault((trial.objective.penalty, trial.model.integration_steps), []).append(trial)
    for (penalty, steps), trials in curves.items():
        if asked.only not in (None, penalty):
            continue

        def measure(weight: float, like: TrialSettings = trials[0]) -> float:
            objective = like.objective.model_copy(update={"weight": weight})
            return roughness(like.model_copy(update={"objective": objective}), pairs)

        start = float(np.exp(np.mean([np.log(trial.objective.weight) for trial in trials])))
        found = grid(measure, start, targets.tolist())
        reached = ", ".join(f"{value:.3f}" for value in found.values())
        model = "diffeomorphic" if steps else "displacement"
        print(f"{penalty}, {model}: [{', '.join(f'{weight:g}' for weight in found)}]  # SDlogJ {reached}", flush=True)


if __name__ == "__main__":
    main()
