"""Lower the objective of fields by L-BFGS with Sobolev gradients: what refinement and optimization share.

A Sobolev gradient is smoothed by (1 - α Δ)⁻¹, so that a field moves as a whole first (Neuberger, Sobolev Gradients and
Differential Equations, 1997; in registration: Zhang and Fletcher, IEEE TMI 2019). L-BFGS learns the rest of the
curvature, see :mod:`.lbfgs`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .field_model import Registration
from .lbfgs import Minimum, minimize
from .objective.objective import Objective

SMOOTHING = 128.0
"""α, in squared voxels of the field's grid."""
Register = Callable[[Tensor, Tensor], Registration]
"""(fields (B, D, *grid), moving images (B, 1, *spatial)) -> their registrations."""


def lower_objective(
    register: Register,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    weight_map: Tensor | None,
    start: Tensor,
    steps: int,
    tolerance: float = 0.0,
    window: int = 10,
    report: Callable[[int, Tensor], None] | None = None,
) -> Minimum:
    """Lower the objective of every pair from the field ``start`` on. No pair ends above its start.

    Args:
        register: what a field means.
        objective: similarity + λ · penalty, with ``reduction="none"`` unless B is 1.
        moving, fixed: images (B, 1, *spatial).
        weight_map: (B, 1, *spatial), a factor on the penalty for every voxel, or None.
        start: fields (B, D, *grid) in voxels of their grid. If the objective needs both directions: (B, 2 D, *grid),
            those of moving to fixed images first. Both are then lowered together, under the mean of both.
        steps: evaluations of the objective, at most.
        tolerance, window: when a pair is done, see :func:`~.lbfgs.has_converged`.
        report: called after every evaluation, see :func:`~.lbfgs.minimize`.
    """

    def value(fields: Tensor, places: Tensor) -> Tensor:
        one, other, weights = moving, fixed, weight_map
        if len(places) < len(moving):  # indexing would copy all of them
            one, other, weights = one[places], other[places], None if weights is None else weights[places]
        if not objective.both_directions:
            return objective(register(fields, one), other, weights).loss.view(-1)
        both = register(directions(fields), torch.cat([one, other]))
        return objective.of_both(both, one, other, weights).loss.view(-1)

    smooth = SobolevGradient(start.shape[2:]).to(start)
    return minimize(value, start, smooth, steps, tolerance, window, report)


def registration_of(register: Register, fields: Tensor, moving: Tensor, fixed: Tensor) -> Registration:
    """Return the registrations of fields of one direction, or of both, whose other is the inverse displacement."""
    if fields.shape[1] == moving.ndim - 2:
        return register(fields, moving)
    there, back = directions(fields).chunk(2)
    inverse = register(back, fixed).displacement
    return register(there, moving)._replace(inverse_displacement=inverse)


def directions(fields: Tensor) -> Tensor:
    """Fields of both directions (B, 2 D, *grid) as a batch (2 B, D, *grid): moving to fixed first."""
    return torch.cat(fields.chunk(2, dim=1))


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
        """Smooth a gradient (B, D, *grid); the unit stays."""
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
