"""Measure speed and memory against official VoxelMorph: ``make bench``."""

from .cases import CASES
from .runner import run_bench

__all__ = ["CASES", "run_bench"]
