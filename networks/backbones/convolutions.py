"""Convolve features in 2-D and 3-D, safely in every precision."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve with a 3-wide kernel. The grid is padded by one voxel of zeros, so that it keeps its size."""
    return safely(F.conv2d if features.ndim == 4 else F.conv3d, features, weight, bias, padding=1)


def safely(convolution: Any, features: Tensor, weight: Any, bias: Tensor | None, **how: int) -> Tensor:
    """Call ``convolution``, in float32 if a 3-D grid on a CPU has only one or two voxels along an axis.

    On such grids, oneDNN 3.12 (torch 2.13) reads uninitialized memory for the gradients of bfloat16 weights. With two
    voxels the gradients are arbitrary; with one, those of transposed kernels crash the process.
    """
    if weight.dtype.itemsize > 2 or features.ndim == 4 or min(features.shape[2:]) > 2 or features.device.type != "cpu":
        return convolution(features, weight, bias, **how)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        return convolution(features.float(), weight.float(), bias, **how).to(weight.dtype)
