"""Checks of what a model file states about the images that its network was trained on."""

import itertools
import math
from typing import Any

import numpy as np

from ...transforms.basics.bounds import LARGEST_FLOAT32, MOST_NETWORK_VOXELS, SPACINGS
from ...transforms.basics.errors import InputError, quoted
from .intensity_level import UNKNOWN

ALL_AXES = [sorted(letters) for letters in itertools.product("LR", "AP", "IS")]
EXPECTED = {
    "shape": f"{{}} whole numbers above 0, for at most {MOST_NETWORK_VOXELS:,} voxels",
    "spacing": f"{{}} numbers in mm from {SPACINGS[0]:g} to {SPACINGS[1]:g}",
    "axes": "three letters such as RAS",
    **dict.fromkeys(("brightest", "tissue"), "a positive number in single precision"),
    "darkest": "a number in single precision",
    "spread": f"a number from 1 to {UNKNOWN:g}",
}
"""Description of each value for error messages; {} is the network's number of axes."""
RANGES = {
    **dict.fromkeys(("brightest", "tissue"), (float(np.finfo(np.float32).tiny), LARGEST_FLOAT32)),
    "darkest": (-LARGEST_FLOAT32, LARGEST_FLOAT32),
    "spread": (1.0, UNKNOWN),
}
"""Smallest and largest allowed value of each number."""


def checked(name: str, value: Any, axes: int, where: str) -> Any:
    """A value that a file states at ``where``, checked and converted for :class:`.TrainingImages`.

    Raises:
        InputError: images cannot have that value.
    """
    if not _fits(name, value, axes):
        raise InputError(f"{where} is {quoted(value)}, expected {EXPECTED[name].format(axes)}.")
    return tuple(value) if isinstance(value, list) else value


def _fits(name: str, value: Any, axes: int) -> bool:
    """Whether ``value`` meets ``EXPECTED``."""
    if name == "axes":
        return isinstance(value, str) and (not value or sorted(value) in ALL_AXES)
    if name in RANGES:
        return _within(value, *RANGES[name])
    if not isinstance(value, list | tuple) or len(value) != axes:
        return False
    if name == "spacing":
        return all(_within(number, *SPACINGS) for number in value)
    return all(type(number) is int and number > 0 for number in value) and math.prod(value) <= MOST_NETWORK_VOXELS


def _within(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most
