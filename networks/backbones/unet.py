"""VoxelMorph's U-Net: MONAI's modules and weights, evaluated with less work and memory.

A decoder level convolves [skip, upsample(x)]. Convolution is linear in its input channels, and a 3-wide convolution
after nearest upsampling is one transposed convolution of stride 2 with a 4-wide kernel, so

    conv([s, upsample(x)]) = conv_s(s) + conv_transposed(x),

which needs neither the upsampled nor the concatenated copy, and for the second term 4 products per output voxel and
channel pair instead of 9 in 2-D, 8 instead of 27 in 3-D.
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
from .entries.voxelmorph import CHANNELS, FINAL_CHANNELS, check_widths
from .vocabulary import Integration

SLOPE = 0.2  # of LeakyReLU, as in VoxelMorph
SLAB_VOXELS = 2**22  # of the top level at once, where no gradient is needed


class UNet(VoxelMorphUNet):
    """(B, 2, *spatial) -> (B, D, *spatial); the sizes divide by 2 to the number of levels.

    Args:
        spatial_dims: D, 2 or 3.
        channels: widths, (down, up) per level from the top.
        final_channels: widths of the convolutions after the top level.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int], final_channels: Sequence[int]) -> None:
        super().__init__(spatial_dims, 2, 32, channels, final_channels)
        # The order in memory that convolutions are fastest with; in 3-D float32 three times faster on a CPU.
        order = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        self.to(memory_format=order)  # pyright: ignore[reportCallIssue]

    @property
    def levels(self) -> int:
        """How often the grid is halved."""
        return len(self.channels) // 2

    @cached_property
    def convolutions(self) -> list[Any]:
        """All convolutions in the order of evaluation."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]

    @cached_property
    def skips(self) -> list[int]:
        """How many channels each convolution takes over a skip connection; they are the first of its input."""
        widths = [convolution.out_channels for convolution in self.convolutions[: self.levels]]
        return [0] * (self.levels + 1) + widths[::-1] + [0] * (len(self.convolutions) - 2 * self.levels - 1)

    def forward(self, concatenated_pairs: Tensor) -> Tensor:
        """The flow of ``concatenated_pairs``; without gradients a large grid's top level is evaluated in slabs."""
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
        margin = 2 * math.ceil((len(last) + 1) / 2)  # a voxel per convolution; even, because coarse planes are two fine
        flows = []
        for read, own in slabs(pairs.shape[2], planes, margin, margin):
            top = _activate(_convolve(pairs[:, :, read], first))
            flows.append(_leave(top, features[:, :, read.start // 2 : read.stop // 2], last)[:, :, own])
        return torch.cat(flows, dim=2)

    def _inner(self, features: Tensor, kernels: Sequence[Kernels]) -> Tensor:
        """The levels below the top one."""
        skips = []
        for down in kernels[: self.levels - 1]:
            skips.append(_activate(_convolve(features, down)))
            features = _pool(skips[-1])
        features = _activate(_convolve(features, kernels[self.levels - 1]))
        for up in kernels[self.levels :]:
            features = _activate(_convolve_upsampled(skips.pop(), features, up))
        return features


class PairUNet(UNet):
    """The backbone of VoxelMorph: the U-Net over both images, on the images' own grid.

    Args:
        spatial_dims: D, 2 or 3.
        integration: of the field; it changes nothing here.
        channels, final_channels: as of :class:`UNet`.

    Raises:
        ValueError: as :func:`check_widths`.
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
        """What the poolings divide."""
        return 2**self.levels

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The flow (B, D, *spatial) of two images (B, 1, *spatial): those padded to a multiple, this cropped back."""
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
    """From the features below the top level to the flow."""
    decoder, *finals, flow = kernels
    features = _activate(_convolve_upsampled(top, features, decoder))
    for final in finals:
        features = _activate(_convolve(features, final))
    return _convolve(features, flow)


def _convolve(features: Tensor, kernels: Kernels) -> Tensor:
    convolve = F.conv2d if features.ndim == 4 else F.conv3d
    return _safely(convolve, features, kernels.weight, kernels.bias, padding=1)


def _convolve_upsampled(skip: Tensor, features: Tensor, kernels: Kernels) -> Tensor:
    """The convolution of [skip, upsample(features)]."""
    convolve = F.conv_transpose2d if features.ndim == 4 else F.conv_transpose3d
    coarse = _safely(convolve, features, kernels.transposed, None, stride=2, padding=1)
    return _convolve(skip, kernels).add_(coarse)


def _safely(convolve: Any, features: Tensor, weight: Any, bias: Tensor | None, **how: int) -> Tensor:
    """``convolve``, but in float32 on 3-D grids of only one or two voxels along an axis.

    There oneDNN 3.12 (torch 2.13) reads memory that was never written, for gradients of bfloat16 weights on a CPU: on
    a grid two deep they are off by anything, and those of transposed kernels on a grid one high end the process.
    """
    if weight.dtype.itemsize > 2 or features.ndim == 4 or min(features.shape[2:]) > 2 or features.device.type != "cpu":
        return convolve(features, weight, bias, **how)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        return convolve(features.float(), weight.float(), bias, **how).to(weight.dtype)


def _pool(features: Tensor) -> Tensor:
    """In the precision of ``features``, of which it only chooses: a CPU's autocast pools volumes in float32."""
    with torch.autocast(features.device.type, enabled=False):
        return F.max_pool2d(features, 2) if features.ndim == 4 else F.max_pool3d(features, 2)


def _activate(features: Tensor) -> Tensor:
    return F.leaky_relu_(features, SLOPE)
