"""A level of the pyramid: it predicts a correction of the velocity from features of both images on one grid."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn

from .convolution_kernels import computed_in
from .convolutions import convolve
from .correlation import correlation

SLOPE = 0.2  # negative slope of LeakyReLU, as in VoxelMorph


class Kernels(NamedTuple):
    """Weights of a level's convolutions, in the precision that they are computed in.

    Attributes:
        compared: weights of the first convolution for features and correlation: one, or if symmetric two, for sums and
            for differences of both orders of the images.
        coarser: weights of the first convolution for the hidden features of the coarser level.
        bias: bias of the first convolution.
        others: (weight, bias) of the convolutions after it, the last one being that of the flow.
    """

    compared: list[Tensor]
    coarser: Tensor
    bias: Tensor | None
    others: list[tuple[Tensor, Tensor | None]]


class Level(nn.Module):
    """Predicts a correction of the velocity (B, D, *grid) and hidden features from two features (B, width, *grid).

    The first convolution of a symmetric level sees both orders of the images, (a, b) and (b, a). With weights V for the
    first and W for the second features, y = V a + W b and z = V b + W a are computed as

        y + z = (V + W) (a + b),    y - z = (V - W) (a - b),

    which are half as many products.

    Args:
        spatial_dims: D.
        width: channels of the features and of the hidden features.
        coarser: channels of the coarser level's hidden features; 0 on the coarsest level.
        symmetric, radius, convolutions, residual: as of :class:`~.pyramid.Pyramid`.
    """

    def __init__(
        self,
        spatial_dims: int,
        width: int,
        coarser: int,
        symmetric: bool,
        radius: int,
        convolutions: int,
        residual: bool,
    ) -> None:
        super().__init__()
        self.symmetric, self.radius, self.residual = symmetric, radius, residual
        self.inputs = [width, width, (2 * radius + 1) ** spatial_dims, coarser]
        self.first = convolution(spatial_dims, sum(self.inputs), width)
        self.others = nn.ModuleList(convolution(spatial_dims, width, width) for _ in range(convolutions - 1))
        self.flow = convolution(spatial_dims, width, spatial_dims, bias=not symmetric)  # symmetric: it would cancel
        flow: Any = self.flow.conv
        nn.init.normal_(flow.weight, std=1e-5)  # start at the identity
        if not symmetric:
            nn.init.zeros_(flow.bias)

    def kernels(self) -> Kernels:
        """Return the weights as the convolutions take them."""
        weight, bias = kernel(self.first)
        first, second, correlated, coarser = self.first.conv.weight.split(self.inputs, dim=1)  # pyright: ignore
        if self.symmetric:
            compared = [torch.cat([both, correlated], dim=1) / 2 for both in (first + second, first - second)]
        else:
            compared = [torch.cat([first, second, correlated], dim=1)]
        *compared, coarser = (
            part.to(weight.dtype).contiguous(memory_format=layout(weight)) for part in (*compared, coarser)
        )
        return Kernels(compared, coarser, bias, [kernel(other) for other in (*self.others, self.flow)])

    def forward(self, kernels: Kernels, moving: Tensor, fixed: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the correction of the velocity and the hidden features, if symmetric (2 B, ...) of both orders.

        Args:
            kernels: from :meth:`kernels`.
            moving, fixed: features, warped.
            known: what the coarser level's hidden features add to the first convolution.
        """
        hidden = self._compare(kernels, moving, fixed)
        hidden = activate(hidden if known is None else hidden.add_(known))
        *others, flow = kernels.others
        for other in others:
            added = activate(convolve(hidden, *other))
            hidden = hidden + added if self.residual else added
        lacking = convolve(hidden, *flow)
        if self.symmetric:
            there, back = lacking.chunk(2)
            lacking = there - back
        return lacking, hidden

    def _compare(self, kernels: Kernels, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the first convolution without the part of the coarser level."""
        correlated = correlation(moving, fixed, self.radius, both=self.symmetric)
        if not self.symmetric:
            return convolve(torch.cat([moving, fixed, correlated], dim=1), kernels.compared[0], kernels.bias)
        there, back = correlated.chunk(2)
        sums = convolve(torch.cat([moving + fixed, there + back], dim=1), kernels.compared[0], kernels.bias)
        differences = convolve(torch.cat([moving - fixed, there - back], dim=1), kernels.compared[1])
        return torch.cat([sums + differences, sums - differences])


def convolution(spatial_dims: int, inputs: int, outputs: int, bias: bool = True) -> Convolution:
    """Return MONAI's block of one 3-wide convolution without activation."""
    return Convolution(spatial_dims, inputs, outputs, kernel_size=3, bias=bias, conv_only=True)


def kernel(block: Any) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a block, in the precision that its convolution is computed in."""
    weight, bias = block.conv.weight, block.conv.bias
    dtype = computed_in(weight)
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def activate(features: Tensor) -> Tensor:
    """Apply LeakyReLU in place."""
    return F.leaky_relu_(features, SLOPE)


def layout(features: Tensor) -> torch.memory_format:
    """Return the memory layout in which convolutions are fastest."""
    return torch.channels_last if features.ndim == 4 else torch.channels_last_3d
