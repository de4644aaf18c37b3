"""How fast this CPU is in bfloat16: without instructions for it, far slower than in float32."""

import statistics
import time

import torch
import torch.nn.functional as F

SLOW = 1.5
"""From this slowdown on, a notice says that bfloat16 is slow."""


def slowdown_in_bfloat16() -> float:
    """How many times as long as in float32 a convolution of VoxelMorph's takes in bfloat16 on this CPU, with gradients.

    The median of three alternations; a tenth of a second, or half a second on a slow CPU.
    """
    took: list[float] = []
    for _ in range(4):  # the first one also prepares the kernels
        whole, half = (_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
        took.append(half / whole)
    return statistics.median(took[1:])


def _seconds(dtype: torch.dtype) -> float:
    """The seconds of one convolution with its gradients: 32 features of 40x48 voxels."""
    image = torch.ones(1, 32, 40, 48, dtype=dtype, requires_grad=True)
    weight = torch.ones(32, 32, 3, 3, dtype=dtype, requires_grad=True)
    begin = time.perf_counter()
    F.conv2d(image, weight, padding=1).sum().backward()
    return time.perf_counter() - begin
