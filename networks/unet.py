"""VoxelMorph's U-Net: MONAI's modules and weights, evaluated with less work and memory.

A decoder level convolves [skip, upsample(x)]. Convolution is linear in its input channels, and a 3-wide convolution
after nearest upsampling is one transposed convolution of stride 2 with a 4-wide kernel, so

    conv([s, upsample(x)]) = conv_s(s) + conv_transposed(x),

which needs neither the upsampled nor the concatenated copy, and for the second term 4 products per output voxel and
channel pair instead of 9 in 2-D, 8 instead of 27 in 3-D.
"""

import math
from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets.voxelmorph import VoxelMorphUNet
from torch import Tensor, nn

from ..transforms.differences import slabs
from ..transforms.kept import keep

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

    def forward(self, concatenated_pairs: Tensor) -> Tensor:
        """The flow of ``concatenated_pairs``; without gradients a large grid's top level is evaluated in slabs."""
        pairs = concatenated_pairs
        planes = max(SLAB_VOXELS // pairs[:, 0, 0].numel() // 2 * 2, 2)
        if torch.is_grad_enabled() or planes >= pairs.shape[2]:
            top = self._enter(pairs)
            return self._leave(top, self._inner(self._pool(top)))
        halves = [
            self._pool(self._enter(pairs[:, :, read]))[:, :, own.start // 2 : own.stop // 2]
            for read, own in slabs(pairs.shape[2], planes, before=2, after=2)
        ]
        features = self._inner(torch.cat(halves, dim=2))
        # A voxel per convolution of the top level; even, because the coarser grid has a plane for every second.
        margin = 2 * math.ceil((len(self.convolutions) - 2 * self.levels + 1) / 2)
        flows = [
            self._leave(self._enter(pairs[:, :, read]), features[:, :, read.start // 2 : read.stop // 2])[:, :, own]
            for read, own in slabs(pairs.shape[2], planes, margin, margin)
        ]
        return torch.cat(flows, dim=2)

    def _enter(self, pairs: Tensor) -> Tensor:
        return _activate(self.convolutions[0](pairs))

    def _inner(self, features: Tensor) -> Tensor:
        """The levels below the top one."""
        convolutions, levels, skips = self.convolutions, self.levels, []
        for convolution in convolutions[1:levels]:
            skips.append(_activate(convolution(features)))
            features = self._pool(skips[-1])
        features = _activate(convolutions[levels](features))
        for convolution in convolutions[levels + 1 : 2 * levels]:
            features = _activate(_convolve_upsampled(convolution, skips.pop(), features))
        return features

    def _leave(self, top: Tensor, features: Tensor) -> Tensor:
        decoder, *finals, flow = self.convolutions[2 * self.levels :]
        features = _activate(_convolve_upsampled(decoder, top, features))
        for convolution in finals:
            features = _activate(convolution(features))
        return flow(features)

    def _pool(self, features: Tensor) -> Tensor:
        return F.max_pool2d(features, 2) if self.dimensions == 2 else F.max_pool3d(features, 2)


def _convolve_upsampled(convolution: Any, skip: Tensor, features: Tensor) -> Tensor:
    """``convolution`` of [skip, upsample(features)]."""
    two_dimensional = features.ndim == 4
    convolve: Any = F.conv2d if two_dimensional else F.conv3d
    convolve_transposed: Any = F.conv_transpose2d if two_dimensional else F.conv_transpose3d
    for_skip, for_features = convolution.weight.tensor_split([skip.shape[1]], dim=1)
    coarse = convolve_transposed(features, _transposed_kernel(for_features), stride=2, padding=1)
    return convolve(skip, for_skip, convolution.bias, padding=1).add_(coarse)


def _transposed_kernel(weight: Tensor) -> Tensor:
    """(out, in, 3, ...) for use after nearest upsampling -> (in, out, 4, ...) for a transposed convolution.

    Along each axis, fine voxel j reads fine voxel j + t - 1 with weight t, which is a copy of the coarse voxel
    i = (j + t - 1) // 2: the transposed kernel's entry k = j - 2 i + 1 is the sum of the weights t with
    2 <= t + k <= 3.
    """
    axes = weight.ndim - 2
    with torch.autocast(weight.device.type, enabled=False):  # sums of weights, to be rounded once
        kernel = weight.transpose(0, 1).reshape(-1, 3**axes) @ _spread(axes, weight.dtype, weight.device)
    return kernel.view(weight.shape[1], weight.shape[0], *[4] * axes)


@keep
def _spread(axes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Which of the 3^D weights count for which of the 4^D entries: (3^D, 4^D)."""
    one_axis = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=dtype, device=device)
    return reduce(torch.kron, [one_axis] * axes)


def _activate(features: Tensor) -> Tensor:
    return F.leaky_relu_(features, SLOPE)
