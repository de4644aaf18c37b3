"""Sums over a cubic window around each voxel, by doubling: 9 voxels in a row are 1 + 8, and 8 are 4 + 4.

A convolution with ones has as many products as the window has voxels along an axis, and its gradient is slow for
images of one channel. Doubling needs four additions along an axis for a window of 9.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def window_sums(image: Tensor, window: int) -> Tensor:
    """Sum ``image`` (B, C, *spatial) over the window around each voxel; beyond the border, the image is 0.

    Args:
        image: values; the result has its shape.
        window: side length in voxels, odd.

    Raises:
        ValueError: ``window`` is not a positive odd number.
    """
    check_window(window)
    summed = _WindowSums.apply(image, window)
    assert isinstance(summed, Tensor)
    return summed


def check_window(window: int) -> None:
    """Raise ValueError unless the side length of a window is a positive odd number."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the side length of a window must be odd, found {window}")


class _WindowSums(torch.autograd.Function):
    """The window is symmetric, so the gradient of the sums is the sums of their gradient."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, window: int) -> Tensor:
        ctx.window = window
        for axis in range(2, image.ndim):
            image = _along(image, axis, window)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return window_sums(gradients[0], ctx.window), None


def _along(image: Tensor, axis: int, window: int) -> Tensor:
    """The sums over a window along one axis; ``rows`` are sums of ``length`` voxels from each voxel on."""
    size, reach = image.shape[axis], window // 2
    rows = F.pad(image, [0, 0] * (image.ndim - 1 - axis) + [reach, reach])
    total, start, length = rows.narrow(axis, 0, size), 1, 1  # an odd window has a 1
    while 2 * length <= window:
        remaining = rows.shape[axis] - length
        rows = rows.narrow(axis, 0, remaining) + rows.narrow(axis, length, remaining)
        length *= 2
        if window & length:
            total = total + rows.narrow(axis, start, size)
            start += length
    return total
