"""A coarse-to-fine pyramid network: each level warps features, correlates them locally and adds to the velocity.

Sun et al., CVPR 2018 (PWC-Net: warping and correlation of feature pyramids); Hu et al., MICCAI 2019 (dual-stream
pyramid for medical images); Mok and Chung, MICCAI 2020 (LapIRN: velocities added from level to level); Greer et al.,
MICCAI 2023, and Honkamaa and Marttinen, arXiv:2303.10211 (networks that are inverse consistent by construction).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn

from ...transforms.basics.errors import quoted
from ...transforms.fields.differences import float32_or_better
from ...transforms.fields.warping import Padding, resize_displacement
from ..blocks import DVF2DDF, Warp
from .convolution_kernels import computed_in
from .convolutions import convolve
from .correlation import correlation
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
            level: Any = self.levels[place]
            features, grid = pyramid[self.finest + place], grids[self.finest + place]
            velocity = resize_displacement(velocity, grid)
            # Make what all evaluations of this level share only once.
            source = features.to(velocity.dtype, memory_format=torch.contiguous_format)  # the fastest layout to sample
            kernels = level.kernels()
            known = None if hidden is None else convolve(_resize(hidden, grid), kernels.coarser)
            for _ in range(self.repeats if place == 0 else 1):
                lacking, hidden = level(kernels, self._compared(level, features, source, velocity), known)
                velocity = velocity + self._forwards(lacking.to(velocity.dtype))
        return velocity

    def _compared(self, level: Any, features: Tensor, source: Tensor, velocity: Tensor) -> Tensor:
        """Return the channels to convolve: warped features, fixed features, and their correlation.

        A symmetric network compares the images in both orders: (2 B, channels, *grid).
        """
        if not self.symmetric:
            warped, fixed = self._warped(source.chunk(2)[0], velocity, features.dtype), features.chunk(2)[1]
            return torch.cat([warped, fixed, correlation(warped, fixed, level.radius)], dim=1)
        halfway = self._warped(source, torch.cat([velocity, -velocity]) / 2, features.dtype)
        moving, fixed = halfway.chunk(2)
        correlated = correlation(moving, fixed, level.radius, both=True)
        return torch.cat([halfway, torch.cat([fixed, moving]), correlated], dim=1)

    def _forwards(self, lacking: Tensor) -> Tensor:
        """Return the correction of the velocity; a symmetric network subtracts those of both image orders."""
        if not self.symmetric:
            return lacking
        there, back = lacking.chunk(2)
        return there - back

    def _warped(self, source: Tensor, velocity: Tensor, dtype: torch.dtype) -> Tensor:
        displacement = velocity if self.integrate is None else self.integrate(velocity)
        return self.warp(source, displacement).to(dtype, memory_format=_order(source))


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
        pyramid: list[Tensor] = []
        for convolution in self.convolutions:
            if pyramid:
                images = _resize(pyramid[-1], [max(length // 2, 1) for length in pyramid[-1].shape[2:]])
            pyramid.append(_activate(convolve(images, *_kernel(convolution))))
        return pyramid


class Kernels(NamedTuple):
    """Weights of a level's convolutions, in the precision that they are computed in.

    The first convolution is split in two. ``compared`` (out, in, 3, ...) is for the level's features and their
    correlation, ``coarser`` for the hidden features of the coarser level, and ``bias`` for both. ``others`` are
    (weight, bias) of the other convolutions; the flow's are the last.
    """

    compared: Tensor
    coarser: Tensor
    bias: Tensor
    others: list[tuple[Tensor, Tensor | None]]


class Level(nn.Module):
    """Predicts a correction of the velocity (B, D, *grid) and hidden features from the compared features.

    Args:
        spatial_dims: D.
        width: number of channels of the level's features and hidden features.
        coarser: number of channels of the coarser level's hidden features; 0 on the coarsest level.
        radius, convolutions, residual: see :class:`Pyramid`.
        bias: whether the flow convolution has a bias.
    """

    def __init__(
        self, spatial_dims: int, width: int, coarser: int, radius: int, convolutions: int, residual: bool, bias: bool
    ) -> None:
        super().__init__()
        self.radius, self.residual = radius, residual
        self.parts = 2 * width + (2 * radius + 1) ** spatial_dims, coarser
        self.first = _convolution(spatial_dims, sum(self.parts), width)
        self.others = nn.ModuleList(_convolution(spatial_dims, width, width) for _ in range(convolutions - 1))
        self.flow = Convolution(spatial_dims, width, spatial_dims, kernel_size=3, bias=bias, conv_only=True)
        flow: Any = self.flow.conv
        nn.init.normal_(flow.weight, std=1e-5)  # start at the identity
        if bias:  # a symmetric network has none: it would cancel
            nn.init.zeros_(flow.bias)

    def kernels(self) -> Kernels:
        """Make the weights of the convolutions from the parameters."""
        weight, bias = _kernel(self.first)
        compared, coarser = (part.contiguous(memory_format=_order(weight)) for part in weight.split(self.parts, dim=1))
        assert bias is not None
        return Kernels(compared, coarser, bias, [_kernel(convolution) for convolution in (*self.others, self.flow)])

    def forward(self, kernels: Kernels, compared: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the correction of the velocity and the hidden features.

        Args:
            kernels: weights from :meth:`kernels`.
            compared: channels to convolve (B, parts[0], *grid).
            known: the part of the first convolution that comes from the coarser level's hidden features.
        """
        hidden = convolve(compared, kernels.compared, kernels.bias)
        hidden = _activate(hidden if known is None else hidden.add_(known))
        *others, flow = kernels.others
        for other in others:
            added = _activate(convolve(hidden, *other))
            hidden = hidden + added if self.residual else added
        return convolve(hidden, *flow), hidden


def _convolution(spatial_dims: int, inputs: int, outputs: int) -> Convolution:
    return Convolution(spatial_dims, inputs, outputs, kernel_size=3, conv_only=True)


def _kernel(convolution: Any) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias in the precision that the convolution is computed in."""
    weight, bias = convolution.conv.weight, convolution.conv.bias
    dtype = computed_in(weight)
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def _activate(features: Tensor) -> Tensor:
    return F.leaky_relu_(features, SLOPE)


def _order(features: Tensor) -> torch.memory_format:
    """Return the memory layout in which convolutions are fastest."""
    return torch.channels_last if features.ndim == 4 else torch.channels_last_3d


def _resize(features: Tensor, grid: Sequence[int]) -> Tensor:
    mode = "bilinear" if features.ndim == 4 else "trilinear"
    return F.interpolate(features, size=tuple(grid), mode=mode, align_corners=True)
