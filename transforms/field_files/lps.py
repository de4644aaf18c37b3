"""Convert to and from ITK's frame: LPS, vectors in mm, grids as origin, spacing and direction."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ..basics.errors import InputError
from ..world.grid import Geometry

if TYPE_CHECKING:
    from ..world.physical_field import PhysicalField

SHEAR = 1e-4
"""The largest cosine between two axes that ITK's tools accept as perpendicular."""


def load_itk() -> Any:
    """Import the ``itk`` package only when it is needed: its modules take seconds to load."""
    return import_module("itk")


def turn(matrix: np.ndarray) -> np.ndarray:
    """Convert an affine (W + 1, W + 1) from RAS points to LPS points, or back."""
    sign = _sign(len(matrix))
    return sign @ matrix @ sign


def itk_grid(grid: Geometry) -> tuple[list[float], list[float], np.ndarray]:
    """Return origin (W), spacing (W) and direction (W, W) of a grid in LPS.

    Raises:
        InputError: the axes are not perpendicular.
    """
    affine = (_sign(len(grid.affine)) @ grid.affine)[:-1]
    spacing = np.linalg.norm(affine[:, :-1], axis=0)
    direction = affine[:, :-1] / spacing
    shear = float(np.abs(direction.T @ direction - np.eye(len(direction))).max())
    if shear > SHEAR:
        raise InputError(
            f"the axes of the grid are {np.degrees(np.arcsin(min(shear, 1))):.3g} degrees off perpendicular, "
            "which ITK's files cannot store; resample the image onto perpendicular axes."
        )
    return affine[:, -1].tolist(), spacing.tolist(), direction


def from_itk_grid(
    size: Sequence[int], origin: Sequence[float], spacing: Sequence[float], direction: np.ndarray
) -> Geometry:
    """Make a grid from ITK's numbers, the inverse of :func:`itk_grid`. A last axis of one voxel makes a slice."""
    affine = np.eye(len(size) + 1)
    affine[:-1] = np.column_stack([np.asarray(direction) * np.asarray(spacing), np.asarray(origin)])
    return Geometry(slice_shape(size), _sign(len(affine)) @ affine)


def slice_shape(size: Sequence[int]) -> tuple[int, ...]:
    """Return the D sizes of an image with W axes: 160x192x1 becomes (160, 192)."""
    size = tuple(int(number) for number in size)
    return size[:2] if len(size) == 3 and size[2] == 1 else size


def vectors(field: PhysicalField) -> np.ndarray:
    """Return the displacements of a field without an affine: (W, *lifted_shape), float32, LPS mm."""
    import torch

    from ..fields.affine import apply_linear

    grid = field.fixed
    lifted = torch.zeros(grid.world_axes, *grid.lifted_shape)
    lifted[: grid.axes] = grid.lift(field.displacement)
    return apply_linear(_sign(len(grid.affine)) @ grid.affine, lifted).numpy()


def from_vectors(displacements: np.ndarray, grid: Geometry) -> PhysicalField:
    """Make a field from displacements in LPS mm, the inverse of :func:`vectors`."""
    import torch

    from ..fields.affine import apply_linear
    from ..world.physical_field import PhysicalField

    in_mm = torch.from_numpy(np.ascontiguousarray(displacements, dtype=np.float32))
    in_voxels = apply_linear(np.linalg.inv(grid.affine) @ _sign(len(grid.affine)), in_mm)
    return PhysicalField(grid.in_plane(in_voxels), grid)


def _sign(size: int) -> np.ndarray:
    """Return the matrix that converts LPS to RAS and back: it flips the first two world axes."""
    return np.diag([-1.0, -1.0, *[1.0] * (size - 2)])
