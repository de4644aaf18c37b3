"""Registration without a network: the fields of several pairs are optimized together, from coarse images to fine ones.

The gradient is a Sobolev gradient: it is smoothed by (1 - α Δ)⁻¹ (Neuberger, Sobolev Gradients and Differential
Equations, 1997; in registration: Zhang and Fletcher, IEEE TMI 2019), so that a field moves as a whole first. L-BFGS
learns the rest of the curvature, see :mod:`.lbfgs`.
"""

import math
from collections.abc import Sequence
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
    model: FieldModel, objective: Objective, moving: Tensor, fixed: Tensor, schedule: Schedule = Schedule()
) -> Optimized:
    """Minimize the objective of each pair over its field, from the identity on.

    Where the objective needs both directions, the fields of both are optimized together, under the mean of both.
    The same images, in the same batch, give the same bits on a CPU.

    Args:
        model: what a field means, and its grid.
        objective: similarity + λ · penalty, with ``reduction="none"``.
        moving, fixed: images (B, 1, *spatial).
        schedule: the levels, and when each ends.
    """
    fields = found = None
    steps = torch.zeros(len(moving), dtype=torch.long)
    for images in _pyramid(moving, fixed, schedule.levels):
        start = model.identity(images[0])
        if objective.both_directions:
            start = torch.cat([start, start], dim=1)
        fields = start if fields is None else _resized(fields, start.shape)
        found = _on_level(model, objective, *images, fields, schedule)
        fields, steps = found.fields, steps + found.steps
    assert fields is not None and found is not None  # there is one level at least
    with torch.no_grad():
        forward, *others = _directions(fields, moving.ndim - 2)
        registration = model.register(forward, moving)
        if others:
            registration = registration._replace(inverse_displacement=model.register(others[0], fixed).displacement)
        return Optimized(registration, found.values, steps)


def _on_level(
    model: FieldModel, objective: Objective, moving: Tensor, fixed: Tensor, start: Tensor, schedule: Schedule
) -> Minimum:
    smooth = SobolevGradient(start.shape[2:]).to(start.device)

    def value(fields: Tensor, places: Tensor) -> Tensor:
        one, other = (moving, fixed) if len(places) == len(moving) else (moving[places], fixed[places])
        forward, *others = _directions(fields, moving.ndim - 2)
        there = model.register(forward, one)
        if not others:
            return objective(there, other).loss
        return objective.of_both(there, model.register(others[0], other), one, other).loss

    return minimize(value, start, smooth, schedule.steps, schedule.tolerance, schedule.window)


def _directions(fields: Tensor, axes: int) -> Sequence[Tensor]:
    """(B, D, *grid) of one direction or of both, which are (B, 2 D, *grid) together."""
    return fields.split(axes, dim=1)


def _resized(fields: Tensor, shape: Sequence[int]) -> Tensor:
    """Fields of one direction or of both on the grid of ``shape`` (B, D or 2 D, *grid)."""
    size = shape[2:]
    return torch.cat([resize_displacement(field, size) for field in _directions(fields, len(size))], dim=1)


def _pyramid(moving: Tensor, fixed: Tensor, levels: int) -> list[tuple[Tensor, Tensor]]:
    """The images on each level, coarse to fine: a coarser voxel is the mean of two along each axis."""
    images, halve = [(moving, fixed)], F.avg_pool2d if moving.ndim == 4 else F.avg_pool3d
    while len(images) < levels and min(images[0][0].shape[2:]) >= 2 * LEAST_SIZE:
        one, other = images[0]
        images.insert(0, (halve(one, 2), halve(other, 2)))
    return images


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
