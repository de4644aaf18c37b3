"""VoxelMorph from MONAI's parts, with the widths, the integration and the initialization of the official network.

Balakrishnan et al., IEEE TMI 2019 (displacement model); Dalca et al., Medical Image Analysis 2019 (diffeomorphic).
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..transforms.basics.bounds import MOST_CHANNELS, MOST_CONVOLUTIONS, MOST_LEVELS, MOST_SQUARINGS
from ..transforms.basics.errors import quoted
from ..transforms.fields.differences import float32_or_better
from ..transforms.fields.inversion import invert
from ..transforms.fields.warping import Padding, resize_displacement
from .backbones.unet import UNet
from .blocks import DVF2DDF, Warp


class Registration(NamedTuple):
    """What the network returns, always under the same names.

    ``warped`` (B, C, *spatial): moving(x + u(x)).
    ``displacement`` u (B, D, *spatial): voxels of the fixed grid, what actually warps the image.
    ``velocity`` (B, D, *grid): what the regularizer sees, in voxels of its own grid: half the resolution when the
    integration is downsized, otherwise full; for the displacement model it is the displacement itself.
    ``inverse_displacement`` (B, D, *spatial): of the map fixed -> moving, when asked for, else None.
    """

    warped: Tensor
    displacement: Tensor
    velocity: Tensor
    inverse_displacement: Tensor | None = None


class VoxelMorph(nn.Module):
    """Registers a moving to a fixed image in one pass.

    The default is official ``VxmDense``: 109,170 parameters in 2-D, 327,331 in 3-D.

    Args:
        spatial_dims: D, 2 or 3.
        integration_steps: squarings of the diffeomorphic model, up to 16; 0 is the displacement model, which can fold.
        integration_downsize: 2 integrates at half resolution, as VoxelMorph does by default; 1 at full.
            Without integration the field stays at full resolution.
        padding_mode: of warp and integration: ``zeros`` is VoxelMorph's.
        channels: U-Net widths, (down, up) per level from the top.
        final_channels: widths of the convolutions after the U-Net.

    Raises:
        ValueError: an argument that is none of these, or out of the bounds of ``transforms/basics/bounds.py``.
    """

    def __init__(
        self,
        spatial_dims: int,
        integration_steps: int = 7,
        integration_downsize: int = 2,
        padding_mode: Padding = "zeros",
        channels: Sequence[int] = (16, 32, 32, 32, 32, 32, 32, 32),
        final_channels: Sequence[int] = (16, 16),
    ) -> None:
        super().__init__()
        if not _whole(spatial_dims, 2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {quoted(spatial_dims)}")
        if not (_whole(integration_steps, 0, MOST_SQUARINGS) and _whole(integration_downsize, 1, 2)):
            raise ValueError(
                f"integration_steps must be a whole number from 0 to {MOST_SQUARINGS} and integration_downsize 1 or 2, "
                f"got {quoted(integration_steps)} and {quoted(integration_downsize)}"
            )
        if not isinstance(padding_mode, str) or padding_mode not in get_args(Padding):
            raise ValueError(f"padding_mode must be {' or '.join(get_args(Padding))}, got {quoted(padding_mode)}")
        self.spatial_dims = int(spatial_dims)
        self.integration_steps = int(integration_steps)
        self.integration_downsize = int(integration_downsize)
        self.padding_mode: Padding = padding_mode
        self.channels = _widths("channels", channels, 2 * MOST_LEVELS)
        self.final_channels = _widths("final_channels", final_channels, MOST_CONVOLUTIONS)
        if not self.channels or len(self.channels) % 2:
            raise ValueError(f"channels must be given in pairs, (down, up) per level, got {len(self.channels)} of them")
        self.unet = UNet(self.spatial_dims, self.channels, self.final_channels)
        self.multiple = 2**self.unet.levels  # what the poolings divide
        self.integrate = DVF2DDF(integration_steps, padding_mode=padding_mode) if integration_steps else None
        self.warp = Warp(padding_mode=padding_mode)
        flow = self.unet.convolutions[-1]
        nn.init.normal_(flow.weight, std=1e-5)  # start at the identity
        nn.init.zeros_(flow.bias)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain values."""
        return {
            "spatial_dims": self.spatial_dims,
            "integration_steps": self.integration_steps,
            "integration_downsize": self.integration_downsize,
            "padding_mode": self.padding_mode,
            "channels": list(self.channels),
            "final_channels": list(self.final_channels),
        }

    def extra_repr(self) -> str:
        return f"integration_steps={self.integration_steps}, integration_downsize={self.integration_downsize}"

    def forward(self, moving: Tensor, fixed: Tensor, inverse: bool = False) -> Registration:
        """Register ``moving`` to ``fixed``, both (B, 1, *spatial) of any size.

        Args:
            inverse: also return the inverse displacement: exp(-v), or by fixed point for the displacement model.

        Raises:
            ValueError: the images differ in shape or do not fit the network's number of axes.
        """
        if moving.shape != fixed.shape or moving.ndim != self.spatial_dims + 2 or moving.shape[1] != 1:
            raise ValueError(
                f"a {self.spatial_dims}-D VoxelMorph takes moving and fixed images of one shape "
                f"(B, 1, {'H, W' if self.spatial_dims == 2 else 'H, W, L'}); "
                f"got moving {tuple(moving.shape)} and fixed {tuple(fixed.shape)}"
            )
        return self.register_with(self._velocity(moving, fixed), moving, inverse)

    def register_with(self, velocity: Tensor, moving: Tensor, inverse: bool = False) -> Registration:
        """The registration that a velocity (B, D, *grid) of this model means, wherever it comes from.

        ``forward`` is this on the network's velocity; instance optimization is this on one that is optimized itself.
        """
        size = moving.shape[2:]
        displacement = self._displacement(velocity, size)
        backward = None
        if inverse:
            backward = self._displacement(-velocity, size) if self.integrate else invert(displacement)
        warped = self.warp(moving, displacement)
        return Registration(warped, displacement, velocity, backward)

    def _velocity(self, moving: Tensor, fixed: Tensor) -> Tensor:
        flow = self._flow(torch.cat([moving, fixed], dim=1))
        flow = flow.to(float32_or_better(flow)).contiguous()
        if not self.integration_steps or self.integration_downsize == 1:
            return flow
        half = [max(length // self.integration_downsize, 1) for length in moving.shape[2:]]
        return resize_displacement(flow, half, 1 / self.integration_downsize)

    def _flow(self, pair: Tensor) -> Tensor:
        """The U-Net on a size its poolings divide, cropped back."""
        missing = [-length % self.multiple for length in pair.shape[2:]]
        if not any(missing):
            return self.unet(pair)
        before = [total // 2 for total in missing]
        margins = [(first, total - first) for first, total in zip(before, missing, strict=True)]
        padded = F.pad(pair, [side for margin in reversed(margins) for side in margin])
        flow = self.unet(padded)
        for axis, first in enumerate(before):
            flow = flow.narrow(axis + 2, first, pair.shape[axis + 2])
        return flow

    def _displacement(self, velocity: Tensor, size: Sequence[int]) -> Tensor:
        if self.integrate is None:
            return velocity
        displacement = self.integrate(velocity)
        if self.integration_downsize == 1:
            return displacement
        return resize_displacement(displacement, size, float(self.integration_downsize))


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def _widths(name: str, widths: Any, most: int) -> tuple[int, ...]:
    fits = isinstance(widths, Sequence) and len(widths) <= most and all(_whole(w, 1, MOST_CHANNELS) for w in widths)
    if not fits:
        raise ValueError(f"{name} must be at most {most} whole numbers from 1 to {MOST_CHANNELS}, got {quoted(widths)}")
    return tuple(int(width) for width in widths)
