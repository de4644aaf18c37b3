"""A coarse-to-fine pyramid network: each level warps features, correlates them locally and adds to the velocity.

Sun et al., CVPR 2018 (PWC-Net: warping and correlation of feature pyramids); Hu et al., MICCAI 2019 (dual-stream
pyramid for medical images); Mok and Chung, MICCAI 2020 (LapIRN: velocities added from level to level); Greer et al.,
MICCAI 2023, and Honkamaa and Marttinen, arXiv:2303.10211 (networks that are inverse consistent by construction).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...transforms.basics.errors import quoted
from ...transforms.fields.differences import float32_or_better
from ...transforms.fields.warping import Padding, resize_displacement
from ..blocks import DVF2DDF, Warp
from .convolutions import convolve
from .entries.pyramid import CHANNELS, check_options
from .pyramid_level import Level, activate, convolution, kernel, layout
from .vocabulary import Integration, check_pair, whole


class Pyramid(nn.Module):
    """Predicts a velocity (B, D, *grid), in voxels of its grid, from moving and fixed images (B, 1, *spatial).

    One encoder computes a feature pyramid of each image. On each level, from coarse to fine, the velocity so far warps
    the moving features. They are compared with the fixed features, and convolutions predict a correction of the
    velocity. Each level has half the voxels per axis of the next finer one, with corners aligned, so images of any size
    need no padding.

    Args:
        spatial_dims: D, 2 or 3.
        integration: how the velocity is integrated to a displacement, also to warp the features of each level. With
            0 steps the field is a displacement on the images' grid.
        channels: channel numbers of the encoder, from the image's grid to the coarsest level; two or more.
        symmetric: swapping the images gives exactly -v. The features of both images are warped, each half of the way.
        radius: radius of the correlation in voxels of each level; 0 compares features at the same voxel only.
        convolutions: number of convolutions per level before the velocity.
        repeats: how many times the finest level is applied, each time with the same weights.
        residual: add the input of each convolution after the first one of a level to its output.

    Raises:
        ValueError: ``spatial_dims`` is neither 2 nor 3, or an option is bad, see :func:`check_options`.
    """

    def __init__(
        self,
        spatial_dims: int,
        integration: Integration = Integration(7, 2, "border"),  # noqa: B008 (it cannot be changed)
        channels: Sequence[int] = CHANNELS,
        symmetric: bool = True,
        radius: int = 1,
        convolutions: int = 2,
        repeats: int = 3,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if not whole(spatial_dims, 2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {quoted(spatial_dims)}")
        check_options(channels, symmetric, residual, radius=radius, convolutions=convolutions, repeats=repeats)
        self.options: dict[str, Any] = {
            "channels": [int(width) for width in channels],
            "symmetric": symmetric,
            "radius": int(radius),
            "convolutions": int(convolutions),
            "repeats": int(repeats),
            "residual": residual,
        }
        steps, padding_mode = integration.steps, cast(Padding, integration.padding_mode)
        self.spatial_dims, self.symmetric, self.repeats = spatial_dims, symmetric, repeats
        self.encoder = Encoder(spatial_dims, channels)
        self.finest = integration.downsize - 1 if steps else 0  # the level of the velocity's grid
        self.levels = nn.ModuleList(
            Level(spatial_dims, width, coarser, symmetric, radius, convolutions, residual)
            for width, coarser in zip(channels[self.finest :], (*channels[self.finest + 1 :], 0), strict=True)
        )
        self.integrate = DVF2DDF(steps, padding_mode=padding_mode) if steps else None
        self.warp = Warp(padding_mode=padding_mode)
        self.to(memory_format=layout(self.encoder.convolutions[0].conv.weight))  # pyright: ignore

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the velocity that registers ``moving`` to ``fixed``, both (B, 1, *spatial), in float32 or better.

        Raises:
            ValueError: the images differ in shape, or the network has another number of axes.
        """
        check_pair("Pyramid", self.spatial_dims, moving, fixed)
        pyramid = self.encoder(torch.cat([moving, fixed]))
        grids = [features.shape[2:] for features in pyramid]
        velocity = moving.new_zeros(len(moving), self.spatial_dims, *grids[-1], dtype=float32_or_better(moving))
        hidden = None
        for place in reversed(range(len(self.levels))):
            level: Any = self.levels[place]
            features, grid = pyramid[self.finest + place], grids[self.finest + place]
            velocity = resize_displacement(velocity, grid)
            source = features.contiguous().to(velocity.dtype)  # the layout and precision that it is sampled in
            kernels = level.kernels()
            known = None if hidden is None else convolve(_resize(hidden, grid), kernels.coarser)
            for _ in range(self.repeats if place == 0 else 1):
                lacking, hidden = level(kernels, *self._warped(features, source, velocity), known)
                velocity = velocity + lacking.to(velocity.dtype)
        return velocity

    def _warped(self, features: Tensor, source: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the moving and the fixed image, warped: the former, or if symmetric both halfway."""
        if self.symmetric:
            velocity = torch.cat([velocity, -velocity]) / 2
        else:
            source = source.chunk(2)[0]
        displacement = velocity if self.integrate is None else self.integrate(velocity)
        warped = self.warp(source, displacement).to(features.dtype).contiguous(memory_format=layout(source))
        moving, fixed = warped.chunk(2) if self.symmetric else (warped, features.chunk(2)[1])
        return moving, fixed


class Encoder(nn.Module):
    """Computes the features of every level, (B, channels[l], *grid), from images (B, 1, *spatial).

    Each level's grid has half the voxels per axis of the one before.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = (1, *channels[:-1])
        self.convolutions = nn.ModuleList(
            convolution(spatial_dims, width, out) for width, out in zip(inputs, channels, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        pyramid: list[Tensor] = []
        for each in self.convolutions:
            if pyramid:
                images = _resize(pyramid[-1], [max(length // 2, 1) for length in pyramid[-1].shape[2:]])
            pyramid.append(activate(convolve(images, *kernel(each))))
        return pyramid


def _resize(features: Tensor, grid: Sequence[int]) -> Tensor:
    mode = "bilinear" if features.ndim == 4 else "trilinear"
    return F.interpolate(features, size=tuple(grid), mode=mode, align_corners=True)
