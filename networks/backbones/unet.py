"""VoxelMorph's U-Net with MONAI's modules and weights, computed faster and in less memory.

A decoder level convolves [skip, upsample(x)]. Convolution is linear in its input channels, and a 3-wide convolution
after nearest upsampling is one transposed convolution of stride 2 with a 4-wide kernel, so

    conv([s, upsample(x)]) = conv_s(s) + conv_transposed(x),

This needs neither the upsampled nor the concatenated copy. Its second term takes 4 instead of 9 products per output
voxel and channel pair in 2-D, and 8 instead of 27 in 3-D.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets.voxelmorph import VoxelMorphUNet
from torch import Tensor, nn

from ...transforms.fields.differences import slabs
from .convolution_kernels import Kernels, make_kernels
from .convolutions import convolve, safely
from .entries.voxelmorph import CHANNELS, FINAL_CHANNELS, check_widths
from .vocabulary import Integration

SLOPE = 0.2  # negative slope of LeakyReLU, as in VoxelMorph
SLAB_VOXELS = 2**22  # number of top-level voxels computed at once when no gradient is needed


class UNet(VoxelMorphUNet):
    """U-Net from (B, 2, *spatial) to (B, D, *spatial). Each size must be divisible by 2^levels.

    Args:
        spatial_dims: D, 2 or 3.
        channels: channel numbers, (down, up) per level from the top.
        final_channels: channel numbers of the convolutions after the top level.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int], final_channels: Sequence[int]) -> None:
        super().__init__(spatial_dims, 2, 32, channels, final_channels)
        # Convolutions are fastest in this memory layout: in 3-D float32 three times as fast on a CPU.
        order = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        self.to(memory_format=order)  # pyright: ignore[reportCallIssue]

    @property
    def levels(self) -> int:
        """How often the grid is halved."""
        return len(self.channels) // 2

    @cached_property
    def convolutions(self) -> list[Any]:
        """All convolutions in the order in which they are applied."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]

    @cached_property
    def skips(self) -> list[int]:
        """How many input channels of each convolution are a skip connection; they come first."""
        widths = [convolution.out_channels for convolution in self.convolutions[: self.levels]]
        return [0] * (self.levels + 1) + widths[::-1] + [0] * (len(self.convolutions) - 2 * self.levels - 1)

    def forward(self, concatenated_pairs: Tensor) -> Tensor:
        """Return the flow of ``concatenated_pairs``. Without gradients, the top level of a large grid runs in slabs."""
        pairs, levels = concatenated_pairs, self.levels
        kernels = make_kernels(self.convolutions, self.skips)
        first, inner, last = kernels[0], kernels[1 : 2 * levels], kernels[2 * levels :]
        planes = max(SLAB_VOXELS // pairs[:, 0, 0].numel() // 2 * 2, 2)
        if torch.is_grad_enabled() or planes >= pairs.shape[2]:
            top = _activate(_convolve(pairs, first))
            return _leave(top, self._inner(_pool(top), inner), last)
        halves = [
            _pool(_activate(_convolve(pairs[:, :, read], first)))[:, :, own.start // 2 : own.stop // 2]
            for read, own in slabs(pairs.shape[2], planes, before=2, after=2)
        ]
        features = self._inner(torch.cat(halves, dim=2), inner)
        margin = 2 * math.ceil(
            (len(last) + 1) / 2
        )  # one voxel per convolution; even, because a coarse plane is two fine ones
        flows = []
        for read, own in slabs(pairs.shape[2], planes, margin, margin):
            top = _activate(_convolve(pairs[:, :, read], first))
            flows.append(_leave(top, features[:, :, read.start // 2 : read.stop // 2], last)[:, :, own])
        return torch.cat(flows, dim=2)

    def _inner(self, features: Tensor, kernels: Sequence[Kernels]) -> Tensor:
        """Apply the levels below the top one."""
        skips = []
        for down in kernels[: self.levels - 1]:
            skips.append(_activate(_convolve(features, down)))
            features = _pool(skips[-1])
        features = _activate(_convolve(features, kernels[self.levels - 1]))
        for up in kernels[self.levels :]:
            features = _activate(_convolve_upsampled(skips.pop(), features, up))
        return features


class PairUNet(UNet):
    """VoxelMorph's backbone: the U-Net applied to both images. The field lies on the images' grid.

    Args:
        spatial_dims: D, 2 or 3.
        integration: how the field is integrated; not used here.
        channels, final_channels: see :class:`UNet`.

    Raises:
        ValueError: a channel number is bad, see :func:`check_widths`.
    """

    def __init__(
        self,
        spatial_dims: int,
        integration: Integration | None = None,
        channels: Sequence[int] = CHANNELS,
        final_channels: Sequence[int] = FINAL_CHANNELS,
    ) -> None:
        check_widths(channels, final_channels)
        self.options = {"channels": [*map(int, channels)], "final_channels": [*map(int, final_channels)]}
        super().__init__(spatial_dims, *self.options.values())
        flow = self.convolutions[-1]
        nn.init.normal_(flow.weight, std=1e-5)  # start at the identity
        nn.init.zeros_(flow.bias)

    @property
    def multiple(self) -> int:
        """Number that every padded image size is divisible by."""
        return 2**self.levels

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the flow (B, D, *spatial) of two images (B, 1, *spatial).

        Images are padded to sizes divisible by ``multiple``, and the flow is cropped back.
        """
        pair = torch.cat([moving, fixed], dim=1)
        missing = [-length % self.multiple for length in pair.shape[2:]]
        if not any(missing):
            return super().forward(pair)
        before = [total // 2 for total in missing]
        margins = [(first, total - first) for first, total in zip(before, missing, strict=True)]
        padded = F.pad(pair, [side for margin in reversed(margins) for side in margin])
        flow = super().forward(padded)
        for axis, first in enumerate(before):
            flow = flow.narrow(axis + 2, first, pair.shape[axis + 2])
        return flow


def _leave(top: Tensor, features: Tensor, kernels: Sequence[Kernels]) -> Tensor:
    """Compute the flow from the features of the top level and of the level below it."""
    decoder, *finals, flow = kernels
    features = _activate(_convolve_upsampled(top, features, decoder))
    for final in finals:
        features = _activate(_convolve(features, final))
    return _convolve(features, flow)


def _convolve(features: Tensor, kernels: Kernels) -> Tensor:
    return convolve(features, kernels.weight, kernels.bias)


def _convolve_upsampled(skip: Tensor, features: Tensor, kernels: Kernels) -> Tensor:
    """Convolve [skip, upsample(features)] without making it."""
    convolution = F.conv_transpose2d if features.ndim == 4 else F.conv_transpose3d
    coarse = safely(convolution, features, kernels.transposed, None, stride=2, padding=1)
    return _convolve(skip, kernels).add_(coarse)


def _pool(features: Tensor) -> Tensor:
    """Halve the grid by max pooling, which only selects values, so the dtype is kept (a CPU's autocast changes it)."""
    with torch.autocast(features.device.type, enabled=False):
        return F.max_pool2d(features, 2) if features.ndim == 4 else F.max_pool3d(features, 2)


def _activate(features: Tensor) -> Tensor:
    return F.leaky_relu_(features, SLOPE)
