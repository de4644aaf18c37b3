"""A coarse-to-fine pyramid network: each level warps features, correlates them locally and adds to the velocity.

Sun et al., CVPR 2018 (PWC-Net: warping and correlation of feature pyramids); Hu et al., MICCAI 2019 (dual-stream
pyramid for medical images); Mok and Chung, MICCAI 2020 (LapIRN: velocities added from level to level); Greer et al.,
MICCAI 2023, and Honkamaa and Marttinen, arXiv:2303.10211 (networks that are inverse consistent by construction).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn

from ...transforms.basics.errors import quoted
from ...transforms.fields.differences import float32_or_better
from ...transforms.fields.warping import Padding, resize_displacement
from ..blocks import DVF2DDF, Warp
from .entries.pyramid import CHANNELS, check_options
from .vocabulary import Integration, check_pair, whole

SLOPE = 0.2  # negative slope of LeakyReLU, as in VoxelMorph


class Pyramid(nn.Module):
    """Predicts a velocity (B, D, *grid), in voxels of its grid, from moving and fixed images (B, 1, *spatial).

    One encoder computes a feature pyramid of each image. On each level, from coarse to fine, the velocity so far warps
    the moving features. They are compared with the fixed features, and convolutions predict a correction of the
    velocity. Each level has half the voxels per axis of the next finer one, with corners aligned, so images of any size
    need no padding.

    Args:
        spatial_dims: D, 2 or 3.
        integration: how the velocity becomes a displacement; the features of every level are warped in the same way.
            Without squarings the field is a displacement on the image's grid.
        channels: channel numbers of the encoder, from the image's grid to the coarsest level; two or more.
        symmetric: swapping the images gives exactly -v. The features of both images are warped, each half of the way.
        radius: radius of the correlation in voxels of each level; 0 compares features at the same voxel only.
        convolutions: number of convolutions per level before the velocity.
        repeats: how many times the finest level is applied, each time with the same weights.
        residual: add the input of each convolution after the first one of a level to its output.

    Raises:
        ValueError: ``spatial_dims`` is neither 2 nor 3, or as :func:`check_options`.
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
            Level(spatial_dims, width, coarser, radius, convolutions, residual, bias=not symmetric)
            for width, coarser in zip(channels[self.finest :], (*channels[self.finest + 1 :], 0), strict=True)
        )
        self.integrate = DVF2DDF(steps, padding_mode=padding_mode) if steps else None
        self.warp = Warp(padding_mode=padding_mode)
        # Convolutions are fastest in this memory layout.
        order = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        self.to(memory_format=order)  # pyright: ignore[reportCallIssue]

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
            features, grid = pyramid[self.finest + place], grids[self.finest + place]
            velocity = resize_displacement(velocity, grid)
            carried = None if hidden is None else _resize(hidden, grid)
            for _ in range(self.repeats if place == 0 else 1):
                lacking, hidden = self._compare(self.levels[place], features, velocity, carried)
                velocity = velocity + lacking.to(velocity.dtype)
        return velocity

    def _compare(
        self, level: nn.Module, features: Tensor, velocity: Tensor, carried: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what a level adds to the velocity, and its hidden features (of both image orders if symmetric)."""
        moving, fixed = features.chunk(2)
        if not self.symmetric:
            return level(self._warped(moving, velocity), fixed, carried)
        halves = self._warped(features, torch.cat([velocity, -velocity]) / 2)
        lacking, hidden = level(halves, torch.cat(halves.chunk(2)[::-1]), carried)
        forward, backward = lacking.chunk(2)
        return forward - backward, hidden

    def _warped(self, features: Tensor, velocity: Tensor) -> Tensor:
        displacement = velocity if self.integrate is None else self.integrate(velocity)
        return self.warp(features.contiguous(), displacement).to(features.dtype)


class Encoder(nn.Module):
    """Computes the features of every level, (B, channels[l], *grid), from images (B, 1, *spatial).

    Each level's grid has half the voxels per axis of the one before.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = (1, *channels[:-1])
        self.convolutions = nn.ModuleList(
            _convolution(spatial_dims, width, out) for width, out in zip(inputs, channels, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        pyramid = [self.convolutions[0](images)]
        for convolution in list(self.convolutions)[1:]:
            halved = [max(length // 2, 1) for length in pyramid[-1].shape[2:]]
            pyramid.append(convolution(_resize(pyramid[-1], halved)))
        return pyramid


class Level(nn.Module):
    """Predicts a correction of the velocity (B, D, *grid) and hidden features from two features (B, width, *grid)."""

    def __init__(
        self, spatial_dims: int, width: int, coarser: int, radius: int, convolutions: int, residual: bool, bias: bool
    ) -> None:
        super().__init__()
        self.radius, self.residual = radius, residual
        compared = 2 * width + (2 * radius + 1) ** spatial_dims + coarser
        self.first = _convolution(spatial_dims, compared, width)
        self.others = nn.ModuleList(_convolution(spatial_dims, width, width) for _ in range(convolutions - 1))
        self.flow = Convolution(spatial_dims, width, spatial_dims, kernel_size=3, bias=bias, conv_only=True)
        flow: Any = self.flow.conv
        nn.init.normal_(flow.weight, std=1e-5)  # start at the identity
        if bias:  # a symmetric network has none: it would cancel
            nn.init.zeros_(flow.bias)

    def forward(self, warped: Tensor, fixed: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor]:
        parts = [warped, fixed, correlation(warped, fixed, self.radius)]
        hidden = self.first(torch.cat(parts if carried is None else [*parts, carried], dim=1))
        for convolution in self.others:
            hidden = hidden + convolution(hidden) if self.residual else convolution(hidden)
        return self.flow(hidden), hidden


def correlation(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate two features locally: the mean over channels of ``first`` at x times ``second`` at x + o.

    Args:
        first, second: features (B, C, *grid); ``second`` counts as 0 outside the grid.
        radius: largest offset o along each axis, in voxels.

    Returns:
        (B, (2 · radius + 1)^D, *grid), one channel per offset; the last axis varies fastest.
    """
    if torch.is_grad_enabled():
        return _Correlation.apply(first, second, radius)
    return torch.stack([(first * there).mean(1) for there in _shifted(_padded(second, radius), radius)], dim=1)


class _Correlation(torch.autograd.Function):
    """The correlation with gradients that are summed in place; torch's own allocate a whole grid per offset."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.radius = radius
        return correlation(first, second, radius)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        dtype = gradient.dtype
        gradient = gradient.to(float32_or_better(gradient)) / ctx.saved_tensors[0].shape[1]
        first, second = (features.to(gradient.dtype) for features in ctx.saved_tensors)
        of_first, of_padded = torch.zeros_like(first), _padded(torch.zeros_like(second), ctx.radius)
        places, shifts = _shifted(of_padded, ctx.radius), _shifted(_padded(second, ctx.radius), ctx.radius)
        for back, there, place in zip(gradient.split(1, dim=1), shifts, places, strict=True):
            of_first.addcmul_(back, there)
            place.addcmul_(back, first)
        return of_first.to(dtype), places[len(places) // 2].to(dtype), None


def _padded(features: Tensor, radius: int) -> Tensor:
    return F.pad(features, [radius] * 2 * (features.ndim - 2))


def _shifted(padded: Tensor, radius: int) -> list[Tensor]:
    """Return views of the features at x + o for every offset o; ``padded`` has ``radius`` extra voxels per side."""
    views = [padded]
    for axis in range(2, padded.ndim):
        length = padded.shape[axis] - 2 * radius
        views = [view.narrow(axis, start, length) for view in views for start in range(2 * radius + 1)]
    return views


def _convolution(spatial_dims: int, inputs: int, outputs: int) -> Convolution:
    activation = ("leakyrelu", {"negative_slope": SLOPE})
    return Convolution(spatial_dims, inputs, outputs, kernel_size=3, act=activation, norm=None, adn_ordering="A")


def _resize(features: Tensor, grid: Sequence[int]) -> Tensor:
    mode = "bilinear" if features.ndim == 4 else "trilinear"
    return F.interpolate(features, size=tuple(grid), mode=mode, align_corners=True)
