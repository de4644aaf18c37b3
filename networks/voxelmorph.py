"""VoxelMorph built from MONAI's parts, with the official network's channels, integration and initialization.

Balakrishnan et al., IEEE TMI 2019 (displacement model); Dalca et al., Medical Image Analysis 2019 (diffeomorphic).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..transforms.basics.bounds import MOST_SQUARINGS
from ..transforms.basics.errors import quoted
from ..transforms.fields.differences import float32_or_better
from ..transforms.fields.inversion import invert
from ..transforms.fields.warping import Padding, resize_displacement
from .backbones.vocabulary import BACKBONES, Integration, check_pair, whole
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


class VoxelMorph(nn.Module):
    """Registers a moving image to a fixed image in one forward pass.

    The default is the official ``VxmDense``: 109,170 parameters in 2-D, 327,331 in 3-D.

    Args:
        spatial_dims: D, 2 or 3.
        integration_steps: number of squarings of the diffeomorphic model, up to 16; 0 is the displacement model, which
            can fold.
        integration_downsize: 2 integrates at half resolution, as VoxelMorph does by default; 1 at full resolution.
            Without integration the field always has full resolution.
        padding_mode: padding of warp and integration, ``zeros`` (as in VoxelMorph) or ``border``.
        backbone: name of the network that predicts the field; see ``smoothmorph.networks.BACKBONES``.
        options: options of the backbone. VoxelMorph's are the channel numbers of the U-Net: ``channels``, (down, up)
            per level from the top, and ``final_channels`` for the convolutions after the top level.

    Raises:
        ValueError: an argument is invalid or out of the bounds of ``transforms/basics/bounds.py``.
        TypeError: the backbone does not have an option.
    """

    def __init__(
        self,
        spatial_dims: int,
        integration_steps: int = 7,
        integration_downsize: int = 2,
        padding_mode: Padding = "zeros",
        backbone: str = "voxelmorph",
        **options: Any,
    ) -> None:
        super().__init__()
        if not whole(spatial_dims, 2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {quoted(spatial_dims)}")
        if not (whole(integration_steps, 0, MOST_SQUARINGS) and whole(integration_downsize, 1, 2)):
            raise ValueError(
                f"integration_steps must be a whole number from 0 to {MOST_SQUARINGS} and integration_downsize 1 or 2, "
                f"got {quoted(integration_steps)} and {quoted(integration_downsize)}"
            )
        if not isinstance(padding_mode, str) or padding_mode not in get_args(Padding):
            raise ValueError(f"padding_mode must be {' or '.join(get_args(Padding))}, got {quoted(padding_mode)}")
        if not isinstance(backbone, str):
            raise ValueError(f"backbone must be a name, got {quoted(backbone)}")
        self.entry = BACKBONES[BACKBONES.check(backbone)]
        self.spatial_dims = int(spatial_dims)
        self.integration_steps = int(integration_steps)
        self.integration_downsize = int(integration_downsize)
        self.padding_mode: Padding = padding_mode
        integration = Integration(self.integration_steps, self.integration_downsize, padding_mode)
        self.add_module(self.entry.part, self.entry(self.spatial_dims, integration, options))
        self.integrate = DVF2DDF(integration_steps, padding_mode=padding_mode) if integration_steps else None
        self.warp = Warp(padding_mode=padding_mode)

    @property
    def field(self) -> Any:
        """The backbone, which predicts a field from (moving, fixed)."""
        return self.get_submodule(self.entry.part)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain values."""
        return {
            "spatial_dims": self.spatial_dims,
            "integration_steps": self.integration_steps,
            "integration_downsize": self.integration_downsize,
            "padding_mode": self.padding_mode,
            "backbone": self.entry.name,
            **self.field.options,
        }

    def extra_repr(self) -> str:
        return f"integration_steps={self.integration_steps}, integration_downsize={self.integration_downsize}"

    def forward(
        self, moving: Tensor, fixed: Tensor, inverse: bool = False, weights: Mapping[str, Tensor] | None = None
    ) -> Registration:
        """Register ``moving`` to ``fixed``, both (B, 1, *spatial) of any size.

        Args:
            inverse: also return the inverse displacement: exp(-v), or a fixed-point inverse in the displacement model.
            weights: parameters of the backbone by name, in place of its own.

        Raises:
            ValueError: the images differ in shape, or the network has another number of axes.
        """
        check_pair("VoxelMorph", self.spatial_dims, moving, fixed)
        return self.register_with(self._velocity(moving, fixed, weights), moving, inverse)

    def register_both(self, moving: Tensor, fixed: Tensor, weights: Mapping[str, Tensor] | None = None) -> Registration:
        """Register a batch of pairs in both directions. The results are one batch (2 B, ...), moving to fixed first.

        A symmetric backbone is evaluated only once, because swapping the images only changes the sign of its field.

        Args:
            moving, fixed, weights: see ``forward``.
        """
        check_pair("VoxelMorph", self.spatial_dims, moving, fixed)
        images = torch.cat([moving, fixed])
        if getattr(self.field, "symmetric", False):
            velocity = self._velocity(moving, fixed, weights)
            return self.register_with(torch.cat([velocity, -velocity]), images)
        return self.register_with(self._velocity(images, torch.cat([fixed, moving]), weights), images)

    def register_with(self, velocity: Tensor, moving: Tensor, inverse: bool = False) -> Registration:
        """Compute the registration from a velocity (B, D, *grid) on this model's grid.

        ``forward`` passes the predicted velocity. Instance optimization passes the one that it optimizes.
        """
        size = moving.shape[2:]
        displacement = self._displacement(velocity, size)
        backward = None
        if inverse:
            backward = self._displacement(-velocity, size) if self.integrate else invert(displacement)
        warped = self.warp(moving, displacement)
        return Registration(warped, displacement, velocity, backward)

    def _velocity(self, moving: Tensor, fixed: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        pair = moving, fixed
        field = self.field(*pair) if weights is None else functional_call(self.field, dict(weights), pair)
        size = list(moving.shape[2:])
        field = field.to(float32_or_better(field)).contiguous()
        factor = self.integration_downsize if self.integration_steps else 1
        grid = [max(length // factor, 1) for length in size]
        if field.shape[1] != self.spatial_dims or list(field.shape[2:]) not in (size, grid):
            raise ValueError(
                f"the backbone {self.entry.name} gives a field {tuple(field.shape)} for images of {tuple(size)}; "
                f"expected {self.spatial_dims} channels on that grid or on {tuple(grid)}"
            )
        return resize_displacement(field, grid, 1 / factor) if factor > 1 and list(field.shape[2:]) == size else field

    def _displacement(self, velocity: Tensor, size: Sequence[int]) -> Tensor:
        if self.integrate is None:
            return velocity
        displacement = self.integrate(velocity)
        if self.integration_downsize == 1:
            return displacement
        return resize_displacement(displacement, size, float(self.integration_downsize))
