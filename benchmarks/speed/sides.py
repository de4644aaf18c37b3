"""What a comparison is made of: a case, where it is measured, and its two sides."""

import math
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.1}
"""How far the sides may be apart, relative to the largest value. In float32 official results are up to 2e-5 from its
own in double precision, and a gradient changes more where a rounding turns an activation's sign."""
TOLERANCE_ON_GPU = {**TOLERANCE, "float32": 1e-3, "bfloat16": 0.2}
"""Two runs of the same code differ there: sums are added up in any order."""
DOUBLE_VOXELS = 2**19
"""In double precision torch convolves by unfolding, which takes 27 times the memory: larger grids are halved."""


@dataclass(frozen=True)
class Place:
    """Where a case is measured. ``quick`` is for tests: tiny grids."""

    device: torch.device
    threads: int
    quick: bool = False

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def memory_peak(self) -> float:
        """The most memory held so far, GB (10^9 bytes): by tensors on a GPU, by the whole process on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e9
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


@dataclass(frozen=True)
class Sides:
    """Both sides as functions without arguments.

    A side that times itself, to leave out what is not compared, returns its seconds as a float. ``results`` gives what
    both compute as (ours, official) pairs; None where one side is a part of the other.
    """

    official: Callable[[], Any]
    ours: Callable[[], Any]
    results: Callable[[], Sequence[tuple[Tensor, Tensor]]] | None = None


@dataclass(frozen=True)
class Case:
    """One comparison. ``prepare`` makes its sides in the given precision (float32, bfloat16 or float64)."""

    name: str
    title: str
    prepare: Callable[["Case", Place, str], Sides]
    shape: tuple[int, ...]
    precision: str = "float32"
    rounds: int = 10
    warm_up: int = 2
    repeats: int = 1
    """Runs in a turn, where one is short: in training a step follows a step."""
    memory: bool = False
    training: bool = False
    """A training step: our process is set up as a trial sets it up, and the arithmetic is counted."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where it tells something, in a reasonable time; elsewhere it is measured only when asked for by name."""
    one_process: bool = False
    """Both sides in one process: the second is a part of the first."""

    def sides(self, place: Place) -> Sides:
        """The sides as they are timed."""
        torch.set_num_threads(place.threads)
        return self.prepare(self, place, self.precision)

    def differences(self, place: Place) -> dict[str, float] | None:
        """How far the sides are apart, relative to the largest value: in double precision, which shows that both
        compute the same, and in the precision and on the grid of the case, which rounding decides. (On a GPU without
        TensorFloat-32, which torch takes for convolutions in float32 and which rounds them to 10 bits.)"""
        torch.set_num_threads(place.threads)
        torch.backends.cudnn.allow_tf32 = False  # in a process of its own, which times nothing
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
