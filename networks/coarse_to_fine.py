"""Registration without a network: the fields of several pairs are optimized together, from coarse images to fine ones.

Each level is a descent by L-BFGS with Sobolev gradients, see :mod:`.descent`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..transforms.fields.warping import resize_displacement
from .descent import lower_objective, registration_of
from .field_model import FieldModel, Registration
from .objective.objective import Objective

LEAST_SIZE = 8
"""Voxels along an axis: images are not made coarser than this."""


@dataclass(frozen=True)
class Schedule:
    """How the fields are optimized.

    Attributes:
        levels: resolutions of the images; each has half the voxels along an axis of the next. The last is their own.
        steps: evaluations of the objective on each level, at most.
        tolerance, window: a pair is done on a level when its objective fell by no more than this share of it over so
            many evaluations.

    Raises:
        ValueError: ``levels``, ``steps`` or ``window`` is below 1, or ``tolerance`` is not a number of 0 or more.
    """

    levels: int = 3
    steps: int = 200
    tolerance: float = 1e-3
    window: int = 10

    def __post_init__(self) -> None:
        if min(self.levels, self.steps, self.window) < 1 or not 0 <= self.tolerance < math.inf:
            raise ValueError(
                f"levels, steps and window must be 1 or more and tolerance a number of 0 or more, got {self.levels}, "
                f"{self.steps}, {self.window} and {self.tolerance}"
            )


class Optimized(NamedTuple):
    """``registration`` of B pairs, detached; ``values`` (B,), the objectives reached; ``steps`` (B,), on all levels."""

    registration: Registration
    values: Tensor
    steps: Tensor


def optimize(
    model: FieldModel,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    schedule: Schedule = Schedule(),
    weight_map: Tensor | None = None,
) -> Optimized:
    """Minimize the objective of each pair over its field, from the identity on.

    Where the objective needs both directions, the fields of both are optimized together, under the mean of both.
    The same images, in the same batch, give the same bits on a CPU.

    Args:
        model: what a field means, and its grid.
        objective: similarity + λ · penalty, with ``reduction="none"`` unless B is 1.
        moving, fixed: images (B, 1, *spatial), floating.
        schedule: the levels, and when each ends.
        weight_map: (B or 1, 1, *spatial), a factor on the penalty for every voxel; see :meth:`Objective.forward`.

    Raises:
        ValueError: images or weight map have other shapes, or values that are not finite, or the objective has another
            reduction.
    """
    _check(objective, moving, fixed, weight_map)
    if weight_map is not None:
        weight_map = weight_map.expand(len(fixed), *weight_map.shape[1:])
    pairs = _Pairs(moving, fixed, weight_map)
    found = None
    steps = torch.zeros(len(moving), dtype=torch.long)
    for level in pairs.pyramid(schedule.levels):
        start = model.identity(level.moving)
        if objective.both_directions:
            start = torch.cat([start, start], dim=1)
        start = start if found is None else _resized(found.fields, start.shape[2:])
        ending = schedule.steps, schedule.tolerance, schedule.window
        found = lower_objective(model.register_with, objective, *level, start, *ending)
        steps = steps + found.steps
    assert found is not None  # there is one level at least
    with torch.no_grad():
        return Optimized(registration_of(model.register_with, found.fields, moving, fixed), found.values, steps)


def _check(objective: Objective, moving: Tensor, fixed: Tensor, weight_map: Tensor | None) -> None:
    """Raise ValueError for what :func:`optimize` cannot use."""
    if objective.reduction != "none" and len(fixed) > 1:
        raise ValueError(f'the objective needs reduction="none", one value per pair, got {objective.reduction!r}')
    if moving.shape != fixed.shape or fixed.ndim not in (4, 5) or fixed.shape[1] != 1 or not len(fixed):
        raise ValueError(
            f"moving and fixed images must have the same shape (B, 1, *spatial), got {tuple(moving.shape)} and "
            f"{tuple(fixed.shape)}"
        )
    if weight_map is not None and weight_map.shape not in (fixed.shape, (1, *fixed.shape[1:])):
        raise ValueError(f"the weight map {tuple(weight_map.shape)} is not on the grid of {tuple(fixed.shape)}")
    for name, part in (("moving images", moving), ("fixed images", fixed), ("weight map", weight_map)):
        if part is not None and not (part.is_floating_point() and bool(torch.isfinite(part).all())):
            raise ValueError(
                f"the {name} must be finite floating numbers, got {part.dtype}"
                + (" with NaN or infinity" if part.is_floating_point() else "")
            )


class _Pairs(NamedTuple):
    """The images of B pairs on one level, and their weight maps: (B, 1, *spatial)."""

    moving: Tensor
    fixed: Tensor
    weight_map: Tensor | None

    def pyramid(self, levels: int) -> list["_Pairs"]:
        """The pairs on each level, coarse to fine: a coarser voxel is the mean of two along each axis."""
        pairs: list[_Pairs] = [self]
        halve = F.avg_pool2d if self.moving.ndim == 4 else F.avg_pool3d
        while len(pairs) < levels and min(pairs[0].moving.shape[2:]) >= 2 * LEAST_SIZE:
            pairs.insert(0, pairs[0]._each(lambda part: halve(part, 2)))
        return pairs

    def _each(self, change: Callable[[Tensor], Tensor]) -> "_Pairs":
        weight_map = None if self.weight_map is None else change(self.weight_map)
        return _Pairs(change(self.moving), change(self.fixed), weight_map)


def _resized(fields: Tensor, size: Sequence[int]) -> Tensor:
    """Fields of one direction or of both on a grid of another size."""
    parts = fields.split(len(size), dim=1)
    return torch.cat([resize_displacement(field, size) for field in parts], dim=1)
