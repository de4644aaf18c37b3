"""Compare the arithmetic of a run with the device's rate in a large matrix product."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .sides import Place


def arithmetic(work: Callable[[], Any]) -> float:
    """Count the floating-point operations (10^9) of convolutions and matrix products in a run, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def matrix_rate(place: Place, precision: str) -> float:
    """Measure the rate of a large matrix product in 10^9 floating-point operations per second."""
    size = 256 if place.quick else 8192 if place.device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.randn(size, size, device=place.device).to(dtype)
    taken = []
    for _ in range(7):
        place.synchronize()
        started = time.perf_counter()
        matrix @ matrix
        place.synchronize()
        taken.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(taken) / 1e9
