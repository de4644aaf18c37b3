"""Place the λ of a penalty: a grid that spans a range of smoothness, found without labels and without training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..transforms import jacobian_statistics
from .methods.optimization import by_optimization
from .settings.schema import TrialSettings

STEP = 4.0
"""The factor between two λ, while both ends of the range are looked for."""
WALKS, REFINEMENTS = 8, 3
CLIPPED = (1e-3, 3.0)
"""SDlogJ, of which the logarithm is interpolated."""
NEAR = 0.06
"""A λ is good enough if its SDlogJ is within this share of the wanted one."""


def roughness(settings: TrialSettings, pairs: Sequence[tuple[Any, Any]], device: torch.device) -> float:
    """The mean SDlogJ of the displacements that optimization finds for these pairs of samples."""
    found = by_optimization(settings, device).register(pairs)
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
