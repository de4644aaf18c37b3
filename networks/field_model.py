"""What a field means: how it becomes a displacement, and what it makes of the moving image."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from ..transforms.basics.bounds import MOST_SQUARINGS
from ..transforms.basics.errors import quoted
from ..transforms.fields.differences import float32_or_better
from ..transforms.fields.inversion import invert
from ..transforms.fields.warping import Padding, resize_displacement
from .backbones.vocabulary import whole
from .blocks import DVF2DDF, Warp


class Registration(NamedTuple):
    """The result of a registration. Every network and method uses these names.

    ``warped`` (B, C, *spatial): the warped image, moving(x + u(x)).
    ``displacement`` u (B, D, *spatial): the field that warps the image, in voxels of the fixed grid.
    ``velocity`` (B, D, *grid): the field that is penalized by default, in voxels of its own grid. The grid has half the
    resolution if the integration is downsized. In the displacement model, the velocity is the displacement.
    ``inverse_displacement`` (B, D, *spatial): displacement of the inverse registration if requested, otherwise None.
    """

    warped: Tensor
    displacement: Tensor
    velocity: Tensor
    inverse_displacement: Tensor | None = None


class FieldModel(nn.Module):
    """The displacement or the diffeomorphic model, for a field from anywhere. :class:`.VoxelMorph` predicts the field.

    A field at half resolution is resized with aligned corners, and its values are doubled, as in VoxelMorph.

    Args:
        integration_steps: number of squarings of the diffeomorphic model, up to 16; 0 is the displacement model, which
            can fold.
        integration_downsize: 2 integrates at half resolution, as VoxelMorph does by default; 1 at full resolution.
            Without integration the field always has full resolution.
        padding_mode: padding of warp and integration, ``zeros`` (as in VoxelMorph) or ``border``.

    Raises:
        ValueError: an argument is invalid or out of the bounds of ``transforms/basics/bounds.py``.
    """

    def __init__(
        self, integration_steps: int = 7, integration_downsize: int = 2, padding_mode: Padding = "zeros"
    ) -> None:
        super().__init__()
        if not (whole(integration_steps, 0, MOST_SQUARINGS) and whole(integration_downsize, 1, 2)):
            raise ValueError(
                f"integration_steps must be a whole number from 0 to {MOST_SQUARINGS} and integration_downsize 1 or 2, "
                f"got {quoted(integration_steps)} and {quoted(integration_downsize)}"
            )
        if not isinstance(padding_mode, str) or padding_mode not in get_args(Padding):
            raise ValueError(f"padding_mode must be {' or '.join(get_args(Padding))}, got {quoted(padding_mode)}")
        self.integration_steps = int(integration_steps)
        self.integration_downsize = int(integration_downsize)
        self.padding_mode: Padding = padding_mode
        self.integrate = DVF2DDF(integration_steps, padding_mode=padding_mode) if integration_steps else None
        self.warp = Warp(padding_mode=padding_mode)

    @property
    def factor(self) -> int:
        """How many times as many voxels along an axis the images have as the field: 1 or 2."""
        return self.integration_downsize if self.integration_steps else 1

    def grid(self, size: Sequence[int]) -> list[int]:
        """The grid of the field for images of ``size``: theirs, or half of it."""
        return [max(length // self.factor, 1) for length in size]

    def identity(self, moving: Tensor) -> Tensor:
        """The field (B, D, *grid) that leaves images (B, 1, *spatial) as they are."""
        size = len(moving), moving.ndim - 2, *self.grid(moving.shape[2:])
        return torch.zeros(size, dtype=float32_or_better(moving), device=moving.device)

    def register_with(self, velocity: Tensor, moving: Tensor, inverse: bool = False) -> Registration:
        """Compute the registration from a field (B, D, *grid), in voxels of its grid, see :meth:`grid`.

        Args:
            velocity: the field; without integration it is the displacement.
            moving: images (B, C, *spatial).
            inverse: also return the inverse displacement: exp(-v), or a fixed-point inverse in the displacement model,
                which has no gradient.
        """
        size = moving.shape[2:]
        displacement = self._displacement(velocity, size)
        backward = None
        if inverse:
            backward = self._displacement(-velocity, size) if self.integrate else invert(displacement)
        return Registration(self.warp(moving, displacement), displacement, velocity, backward)

    def forward(self, velocity: Tensor, moving: Tensor, inverse: bool = False) -> Registration:
        """As :meth:`register_with`."""
        return self.register_with(velocity, moving, inverse)

    def extra_repr(self) -> str:
        return f"integration_steps={self.integration_steps}, integration_downsize={self.integration_downsize}"

    def _displacement(self, velocity: Tensor, size: Sequence[int]) -> Tensor:
        if self.integrate is None:
            return velocity
        displacement = self.integrate(velocity)
        return displacement if self.factor == 1 else resize_displacement(displacement, size, float(self.factor))
