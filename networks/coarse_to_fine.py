"""Registration without a network: the fields of several pairs are optimized together, from coarse images to fine ones.

The gradient is a Sobolev gradient: it is smoothed by (1 - α Δ)⁻¹ (Neuberger, Sobolev Gradients and Differential
Equations, 1997; in registration: Zhang and Fletcher, IEEE TMI 2019), so that a field moves as a whole first. L-BFGS
learns the rest of the curvature, see :mod:`.lbfgs`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..transforms.fields.warping import resize_displacement
from .field_model import FieldModel
from .lbfgs import Minimum, minimize
from .objective.objective import Objective
from .voxelmorph import Registration

SMOOTHING = 128.0
"""α, in squared voxels of the field's grid."""
LEAST_SIZE = 8
"""Voxels along an axis: images are not made coarser than this."""


@dataclass(frozen=True)
class Schedule:
    """How the fields are optimized.

    Attributes:
        levels: resolutions of the images; each has half the voxels along an axis of the next. The last is their own.
        steps: evaluations of the objective on each level, at most.
        tolerance, window: a pair is done on a level when its objective fell by less than this share of it over so many
            evaluations.
    """

    levels: int = 3
    steps: int = 200
    tolerance: float = 1e-3
    window: int = 10


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
        objective: similarity + λ · penalty, with ``reduction="none"``.
        moving, fixed: images (B, 1, *spatial).
        schedule: the levels, and when each ends.
        weight_map: (B, 1, *spatial), a factor on the penalty for every voxel; see :meth:`Objective.forward`.
    """
    pairs = _Pairs(moving, fixed, weight_map)
    found = None
    steps = torch.zeros(len(moving), dtype=torch.long)
    for level in pairs.pyramid(schedule.levels):
        start = model.identity(level.moving)
        if objective.both_directions:
            start = torch.cat([start, start], dim=1)
        start = start if found is None else _resized(found.fields, start.shape[2:])
        found = _on_level(model, objective, level, start, schedule)
        steps = steps + found.steps
    assert found is not None  # there is one level at least
    with torch.no_grad():
        return Optimized(_registration(model, found.fields, moving, fixed), found.values, steps)


@dataclass(frozen=True)
class _Pairs:
    """The images of B pairs on one level, and their weight maps: (B, 1, *spatial)."""

    moving: Tensor
    fixed: Tensor
    weight_map: Tensor | None

    def at(self, places: Tensor) -> "_Pairs":
        """The pairs at these places (b,)."""
        return self if len(places) == len(self.moving) else self._each(lambda part: part[places])

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


def _on_level(model: FieldModel, objective: Objective, pairs: _Pairs, start: Tensor, schedule: Schedule) -> Minimum:
    smooth = SobolevGradient(start.shape[2:]).to(start.device)

    def value(fields: Tensor, places: Tensor) -> Tensor:
        own = pairs.at(places)
        moving, fixed, weight_map = own.moving, own.fixed, own.weight_map
        if not objective.both_directions:
            return objective(model.register(fields, moving), fixed, weight_map).loss
        both = model.register(_directions(fields), torch.cat([moving, fixed]))
        return objective.of_both(both, moving, fixed, weight_map).loss

    return minimize(value, start, smooth, schedule.steps, schedule.tolerance, schedule.window)


def _registration(model: FieldModel, fields: Tensor, moving: Tensor, fixed: Tensor) -> Registration:
    """The registrations of fields of one direction, or of both, whose other is the inverse displacement."""
    if fields.shape[1] == moving.ndim - 2:
        return model.register(fields, moving)
    there, back = _directions(fields).chunk(2)
    inverse = model.register(back, fixed).displacement
    return model.register(there, moving)._replace(inverse_displacement=inverse)


def _directions(fields: Tensor) -> Tensor:
    """Fields of both directions (B, 2 D, *grid) as a batch (2 B, D, *grid): moving to fixed first."""
    return torch.cat(fields.chunk(2, dim=1))


def _resized(fields: Tensor, size: Sequence[int]) -> Tensor:
    """Fields of one direction or of both on a grid of another size."""
    parts = fields.split(len(size), dim=1)
    return torch.cat([resize_displacement(field, size) for field in parts], dim=1)


class SobolevGradient(nn.Module):
    """(1 - α Δ)⁻¹ on fields (B, D, *grid), with mirrored borders: exact, by cosine transforms.

    Args:
        grid: sizes of the field's grid.
        smoothing: α, squared voxels.
    """

    def __init__(self, grid: Sequence[int], smoothing: float = SMOOTHING) -> None:
        super().__init__()
        self.axes = len(grid)
        laplacian = torch.zeros(1)
        for axis, size in enumerate(grid):
            frequencies = math.pi * torch.arange(size, dtype=torch.float64) / size
            self.register_buffer(f"cosines{axis}", _cosine_transform(size).float(), persistent=False)
            shape = [-1 if other == axis else 1 for other in range(self.axes)]
            laplacian = laplacian + (2 - 2 * frequencies.cos()).view(shape)
        self.register_buffer("weights", (1 / (1 + smoothing * laplacian)).float(), persistent=False)

    def forward(self, field: Tensor) -> Tensor:
        for axis in range(self.axes):
            field = self._transformed(field, axis, inverse=False)
        field = field * self.get_buffer("weights")
        for axis in range(self.axes):
            field = self._transformed(field, axis, inverse=True)
        return field

    def _transformed(self, field: Tensor, axis: int, inverse: bool) -> Tensor:
        matrix = self.get_buffer(f"cosines{axis}")
        return ((field.movedim(axis + 2, -1)) @ (matrix if inverse else matrix.T)).movedim(-1, axis + 2)


def _cosine_transform(size: int) -> Tensor:
    """The orthonormal cosine transform of the second kind, (size, size): its inverse is its transpose."""
    places = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * places[:, None] * (places[None] + 0.5) / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
