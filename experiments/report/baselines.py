"""How baselines register, in words, from their resolved settings."""

from collections.abc import Callable, Mapping

from ...pipeline.methods import elastix
from ...pipeline.methods.syn import RADIUS
from ...pipeline.settings.schema import TrialSettings


def _identity(trial: TrialSettings) -> str:
    return "nothing is done: the displacement is 0"


def _syn(trial: TrialSettings) -> str:
    steps = " × ".join(map(str, trial.baseline.iterations))
    return (
        f"ANTs, without an affine part; cross-correlation in windows of {2 * RADIUS + 1} voxels; at most {steps} "
        "iterations, from coarse to fine; gradient step 0.2, updates smoothed with a variance of 3 voxels²"
    )


def _elastix(trial: TrialSettings) -> str:
    own = trial.baseline
    return (
        f"B-spline without an affine part, {own.grid_spacing:g} voxels between its control points; normalized "
        f"correlation, and {own.bending_weight:g} times the bending energy (per mm²); {elastix.LEVELS} levels, each of "
        f"{elastix.ITERATIONS} iterations of adaptive stochastic gradient descent on {elastix.SAMPLES} voxels; seed "
        f"{trial.seed}"
    )


BASELINES: Mapping[str, Callable[[TrialSettings], str]] = {"identity": _identity, "syn": _syn, "elastix": _elastix}
