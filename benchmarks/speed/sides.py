"""The parts of a comparison: a case, the place where it is measured, and its two sides."""

import math
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.1}
"""Largest allowed difference between the sides, relative to the largest value. Official float32 results differ by up to
2e-5 from those in double precision, and a gradient by more if rounding flips the sign of an activation."""
TOLERANCE_ON_GPU = {**TOLERANCE, "float32": 1e-3, "bfloat16": 0.2}
"""On a GPU two runs of the same code differ, because the order of sums is not fixed."""
DOUBLE_VOXELS = 2**19
"""Larger grids are halved in double precision: torch then convolves by unfolding, which takes 27 times the memory."""


@dataclass(frozen=True)
class Place:
    """The device and number of threads that a case is measured with; ``quick`` uses tiny grids, for tests."""

    device: torch.device
    threads: int
    quick: bool = False

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def memory_peak(self) -> float:
        """Return the peak memory so far in GB (10^9 bytes): of tensors on a GPU, of the whole process on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e9
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


@dataclass(frozen=True)
class Sides:
    """The two sides of a comparison, as functions without arguments.

    A side can time itself, to leave out a part; it then returns seconds as a float. ``results`` returns the results of
    both as (ours, official) pairs. It is None if one side is a part of the other.
    """

    official: Callable[[], Any]
    ours: Callable[[], Any]
    results: Callable[[], Sequence[tuple[Tensor, Tensor]]] | None = None


@dataclass(frozen=True)
class Case:
    """A comparison. ``prepare`` makes its sides in the given precision (float32, bfloat16 or float64)."""

    name: str
    title: str
    prepare: Callable[["Case", Place, str], Sides]
    shape: tuple[int, ...]
    precision: str = "float32"
    rounds: int = 10
    warm_up: int = 2
    repeats: int = 1
    """Number of consecutive runs in a round, for short runs: in training, steps follow each other."""
    memory: bool = False
    training: bool = False
    """Whether this is a training step. Our process is then set up as in a trial, and the arithmetic is counted."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Devices where the case is useful and fast enough; on others it is measured only if named."""
    one_process: bool = False
    """Whether both sides share one process, because the second is a part of the first."""

    def sides(self, place: Place) -> Sides:
        """Make the sides that are timed."""
        torch.set_num_threads(place.threads)
        return self.prepare(self, place, self.precision)

    def differences(self, place: Place) -> dict[str, float] | None:
        """Return the largest difference of the sides, relative to the largest value.

        It is computed in double precision, which shows that both compute the same, and in the precision and on the grid
        of the case, where rounding decides. On a GPU, TensorFloat-32 is switched off; torch's default would round
        float32 convolutions to 10 bits.
        """
        torch.set_num_threads(place.threads)
        torch.backends.cudnn.allow_tf32 = False  # this process times nothing
        differences = {}
        for precision in ("float64", self.precision):
            case = self._halved() if precision == "float64" else self
            results = self.prepare(case, place, precision).results
            if results is None:
                return None
            differences[precision] = max(_relative(ours, official) for ours, official in results())
        return differences

    def _halved(self) -> "Case":
        shape = self.shape
        while math.prod(shape) > DOUBLE_VOXELS:
            shape = tuple(length // 32 * 16 for length in shape)  # official VxmDense takes multiples of 16
        return replace(self, shape=shape)


def _relative(ours: Tensor, official: Tensor) -> float:
    scale = official.detach().abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((ours - official).detach().abs().max() / scale)
