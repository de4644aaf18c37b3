"""What a field means without a network: how it becomes a displacement, and what it makes of the moving image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..transforms.fields.warping import Padding, integrate, resize_displacement, warp
from .voxelmorph import Registration


@dataclass(frozen=True)
class FieldModel:
    """The displacement or the diffeomorphic model, as :class:`.VoxelMorph` has it, with a field from anywhere.

    Attributes:
        integration_steps: squarings of a velocity; 0: the field is a displacement.
        integration_downsize: 2 integrates at half the resolution of the images, 1 at theirs.
        padding_mode: of warp and integration, beyond the image.
    """

    integration_steps: int = 7
    integration_downsize: int = 2
    padding_mode: Padding = "zeros"

    def grid(self, size: Sequence[int]) -> list[int]:
        """The grid of the field for images of ``size``: theirs, or half of it."""
        factor = self.integration_downsize if self.integration_steps else 1
        return [max(length // factor, 1) for length in size]

    def identity(self, moving: Tensor) -> Tensor:
        """The field (B, D, *grid) that leaves images (B, 1, *spatial) as they are."""
        return torch.zeros(len(moving), moving.ndim - 2, *self.grid(moving.shape[2:]), device=moving.device)

    def register(self, field: Tensor, moving: Tensor) -> Registration:
        """The registration that a field (B, D, *grid), voxels of its grid, means for images (B, 1, *spatial)."""
        displacement = field
        if self.integration_steps:
            displacement = integrate(field, self.integration_steps, self.padding_mode)
            if self.integration_downsize != 1:
                displacement = resize_displacement(displacement, moving.shape[2:], float(self.integration_downsize))
        return Registration(warp(moving, displacement, padding_mode=self.padding_mode), displacement, field)
