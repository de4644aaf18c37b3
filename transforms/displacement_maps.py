"""Maps and pictures (1, *spatial) of a displacement (D, *spatial) in voxels; they keep its affine and metadata."""

from collections.abc import Sequence

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.transforms.transform import Transform
from torch import Tensor

from .basics.metadata import TORCH, EachKeyd, like, plain, tracked
from .fields.jacobian import jacobian_determinant
from .fields.warping import warp


class JacobianDeterminant(Transform):
    """Computes the map of det(I + ∂u/∂x) of a displacement.

    It is <= 0 where the deformation folds, and > 1 where a voxel of the warped image is taken from more than its own
    volume of the moving image.
    """

    backend = TORCH

    def __call__(self, displacement: NdarrayOrTensor) -> Tensor:
        """Return the map (1, *spatial), float32 or better, of a displacement (D, *spatial) in voxels."""
        return like(jacobian_determinant(plain(displacement)[None]), tracked(displacement))


class DeformationGrid(Transform):
    """Draws a deformation as a warped regular grid of lines (planes in 3-D, so that every section shows lines).

    Args:
        spacing: distance between lines in voxels.
        thickness: thickness of a line in voxels, less than ``spacing``.
        axes: axes along which the lines are spaced; None means all. For a section across axis 1 of a volume, use
            (0, 2): planes that lie in the section would cover it.

    Raises:
        ValueError: ``thickness`` is not above 0 and below ``spacing``.
    """

    backend = TORCH

    def __init__(self, spacing: int = 8, thickness: int = 1, axes: Sequence[int] | None = None) -> None:
        if not 0 < thickness < spacing:
            raise ValueError(f"a grid needs 0 < thickness < spacing, got thickness {thickness} and spacing {spacing}")
        self.spacing = spacing
        self.thickness = thickness
        self.axes = axes

    def __call__(self, displacement: NdarrayOrTensor) -> Tensor:
        """Return the picture (1, *spatial) of a displacement (D, *spatial) in voxels: 1 on lines, 0 between them."""
        field = plain(displacement)
        lines = torch.zeros(1, 1, *field.shape[1:], device=field.device)
        for axis in range(lines.ndim - 2) if self.axes is None else self.axes:
            # Start half a cell from the edge, where a line would be hard to see.
            position = torch.arange(field.shape[axis + 1], device=field.device) + self.spacing // 2
            on_line = position % self.spacing < self.thickness
            lines.index_fill_(axis + 2, on_line.nonzero()[:, 0], 1.0)
        return like(warp(lines, field[None])[0], tracked(displacement))


class JacobianDeterminantd(EachKeyd):
    """Dictionary-based version of :class:`JacobianDeterminant`.

    Args:
        keys: keys of displacements (D, *spatial) in voxels.
        output_keys: keys to store the maps (1, *spatial) under, one per key; None replaces the displacements.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = JacobianDeterminant.backend

    def __init__(
        self, keys: KeysCollection, output_keys: KeysCollection | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(JacobianDeterminant(), keys, output_keys, allow_missing_keys)


class DeformationGridd(EachKeyd):
    """Dictionary-based version of :class:`DeformationGrid`.

    Args:
        keys: keys of displacements (D, *spatial) in voxels.
        output_keys: keys to store the pictures (1, *spatial) under, one per key; None replaces the displacements.
        spacing, thickness, axes: see :class:`DeformationGrid`.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = DeformationGrid.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        spacing: int = 8,
        thickness: int = 1,
        axes: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(DeformationGrid(spacing, thickness, axes), keys, output_keys, allow_missing_keys)


JacobianDeterminantD = JacobianDeterminantDict = JacobianDeterminantd
DeformationGridD = DeformationGridDict = DeformationGridd
