"""Voxel grids in world coordinates.

World coordinates are RAS in mm, as in nibabel and MONAI. D is the number of axes of the grid, W that of the world. A
volume has D = W = 3, a true 2-D image D = W = 2, and a slice in space (160x192x1 voxels) D = 2 and W = 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..basics.errors import InputError, times

if TYPE_CHECKING:
    from torch import Tensor

SAME_PLACE = 0.1
"""Two grids are the same if corresponding corners are at most this many voxels apart."""
OUT_OF_PLANE = 0.01
"""A displacement out of a slice's plane by at most this many voxels counts as rounding."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in world coordinates: voxel x lies at affine · x.

    Args:
        shape: the D sizes, at least two voxels each.
        affine: (W + 1, W + 1) matrix, voxels -> RAS mm. For a slice in space, the third column is its normal.

    Raises:
        InputError: sizes and affine do not make such a grid.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        axes, world = len(shape), len(affine) - 1 if affine.ndim else 0
        if axes not in (2, 3) or min(shape) < 2:
            raise InputError(
                f"a grid of {times(shape)} voxels is no volume and no slice; expected 2 or 3 axes of at least 2 "
                "voxels, or a slice whose last axis has 1; if another axis has 1, reorder the axes."
            )
        if affine.shape != (world + 1, world + 1) or world not in (axes, 3):
            raise InputError(f"a grid of {times(shape)} voxels cannot have an affine of {times(affine.shape)} numbers.")
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
            raise InputError(
                f"a grid of {times(shape)} voxels has an affine that cannot be inverted: {affine[:world].tolist()}."
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def axes(self) -> int:
        """Number of axes of the grid, D."""
        return len(self.shape)

    @property
    def world_axes(self) -> int:
        """Number of axes of the world, W."""
        return self.affine.shape[0] - 1

    @property
    def lifted_shape(self) -> tuple[int, ...]:
        """The W sizes of the grid; a slice in space has (H, W, 1)."""
        return self.shape + (1,) * (self.world_axes - self.axes)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel size along the D axes in mm."""
        return tuple(np.linalg.norm(self.affine[:-1, : self.axes], axis=0).tolist())

    @property
    def affine_4x4(self) -> np.ndarray:
        """The affine as NIfTI stores it, where a true 2-D image lies in the x-y plane."""
        affine, world = np.eye(4), self.world_axes
        affine[:world, :world], affine[:world, 3] = self.affine[:-1, :-1], self.affine[:-1, -1]
        return affine

    def lift(self, values: Tensor) -> Tensor:
        """Reshape (..., *shape) to (..., *lifted_shape)."""
        return values.reshape(*values.shape[: values.ndim - self.axes], *self.lifted_shape)

    def in_plane(self, displacement: Tensor) -> Tensor:
        """Reduce a lifted displacement (W, *lifted_shape) in voxels to (D, *shape).

        Raises:
            InputError: the displacement leaves the plane of a slice.
        """
        beyond = displacement[self.axes :].abs()
        if beyond.numel() and float(beyond.max()) > OUT_OF_PLANE:
            raise InputError(
                f"the displacement leaves the plane of the slice by up to {float(beyond.max()):.3g} slices; a slice "
                "can only be registered within its plane."
            )
        return displacement[: self.axes].reshape(self.axes, *self.shape)

    def points(self) -> Tensor:
        """Return the voxel coordinates of every voxel: (W, *lifted_shape), float32."""
        import torch

        return torch.stack(torch.meshgrid(*[torch.arange(n).float() for n in self.lifted_shape], indexing="ij"))

    def contains(self, points: Tensor) -> Tensor:
        """Tell which voxel coordinates (W, ...) lie inside the grid, as ITK defines it: [-0.5, size - 0.5)."""
        import torch

        sizes = torch.tensor(self.lifted_shape, dtype=points.dtype).view(-1, *[1] * (points.ndim - 1))
        return ((points >= -0.5) & (points < sizes - 0.5)).all(dim=0)

    def apart(self, other: Geometry) -> float:
        """Return the largest distance between corresponding corners in mm; infinite for grids of different sizes."""
        if self.shape != other.shape or self.world_axes != other.world_axes:
            return float("inf")
        return corners_apart(self.shape, self.affine, other.affine)

    def is_same(self, other: Geometry) -> bool:
        """Whether both grids have the same voxels at the same places, within 0.1 voxel."""
        return self.apart(other) <= SAME_PLACE * min(self.spacing)

    def __str__(self) -> str:
        corner = ", ".join(f"{number:.4g}" for number in self.affine[:-1, -1])
        return f"{times(self.lifted_shape)} voxels of {times(np.round(self.spacing, 4))} mm from ({corner}) mm"


def corners_apart(shape: Sequence[int], affine: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance in mm between a grid's corners under two affines (W + 1, W + 1)."""
    corners = np.stack([*np.ndindex((2,) * len(shape))]) * (np.array(shape) - 1)
    change = (affine - other)[:-1]
    return float(np.linalg.norm(corners @ change[:, : len(shape)].T + change[:, -1], axis=1).max())
