"""ITK's frame: LPS, vectors in mm, and grids as origin, spacing and direction. It exists in these files only."""

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
"""The largest cosine between two axes that ITK's tools take for perpendicular."""


def load_itk() -> Any:
    """The ``itk`` package, where it is needed: its modules take seconds to load."""
    return import_module("itk")


def turn(matrix: np.ndarray) -> np.ndarray:
    """An affine (W + 1, W + 1) on RAS points -> the same on LPS points, or back."""
    sign = _sign(len(matrix))
    return sign @ matrix @ sign


def itk_grid(grid: Geometry) -> tuple[list[float], list[float], np.ndarray]:
    """Origin (W), spacing (W) and direction (W, W) in LPS.

    Raises:
        InputError: the axes are not perpendicular.
    """
    affine = (_sign(len(grid.affine)) @ grid.affine)[:-1]
    spacing = np.linalg.norm(affine[:, :-1], axis=0)
    direction = affine[:, :-1] / spacing
    shear = float(np.abs(direction.T @ direction - np.eye(len(direction))).max())
    if shear > SHEAR:
        raise InputError(
            f"the axes of the grid are off perpendicular by {np.degrees(np.arcsin(min(shear, 1))):.3g} degrees, "
            "which ITK's files cannot say; resample the image onto perpendicular axes."
        )
    return affine[:, -1].tolist(), spacing.tolist(), direction


def from_itk_grid(
    size: Sequence[int], origin: Sequence[float], spacing: Sequence[float], direction: np.ndarray
) -> Geometry:
    """The inverse of :func:`itk_grid`; a last axis of one voxel makes a slice in space."""
    affine = np.eye(len(size) + 1)
    affine[:-1] = np.column_stack([np.asarray(direction) * np.asarray(spacing), np.asarray(origin)])
    return Geometry(slice_shape(size), _sign(len(affine)) @ affine)


def slice_shape(size: Sequence[int]) -> tuple[int, ...]:
    """The D sizes of an image of W axes: (160, 192) of 160x192x1."""
    size = tuple(int(number) for number in size)
    return size[:2] if len(size) == 3 and size[2] == 1 else size


def vectors(field: PhysicalField) -> np.ndarray:
    """The displacements of a field without an affine: (W, *lifted_shape) float32, LPS mm."""
    import torch

    from ..fields.affine import apply_linear

    grid = field.fixed
    lifted = torch.zeros(grid.world_axes, *grid.lifted_shape)
    lifted[: grid.axes] = grid.lift(field.displacement)
    return apply_linear(_sign(len(grid.affine)) @ grid.affine, lifted).numpy()


def from_vectors(displacements: np.ndarray, grid: Geometry) -> PhysicalField:
    """The inverse of :func:`vectors`."""
    import torch

    from ..fields.affine import apply_linear
    from ..world.physical_field import PhysicalField

    in_mm = torch.from_numpy(np.ascontiguousarray(displacements, dtype=np.float32))
    in_voxels = apply_linear(np.linalg.inv(grid.affine) @ _sign(len(grid.affine)), in_mm)
    return PhysicalField(grid.in_plane(in_voxels), grid)


def _sign(size: int) -> np.ndarray:
    """LPS <-> RAS: the first two world axes are opposite."""
    return np.diag([-1.0, -1.0, *[1.0] * (size - 2)])
