"""The choice of the device that computes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...transforms.basics.errors import InputError

if TYPE_CHECKING:
    import torch


DEVICE = r"^(auto|cpu(:0)?|cuda(:\d{1,3})?)$"
"""The names of the CPU and of CUDA GPUs. Torch's other devices are untested here."""
DEVICES = "auto, cpu, cuda or cuda:N"
"""The same in words."""


def choose_device(name: str) -> torch.device:
    """The torch device of this name; ``auto`` is the first GPU, or the CPU if there is none.

    Raises:
        InputError: the name is invalid (see :func:`check_device`), or there is no GPU with that number.
    """
    check_device(name)
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"the device is {name}, but torch sees {torch.cuda.device_count()} GPUs; use cpu or auto.")
    return device


def check_device(name: str) -> None:
    """Raise InputError unless the name matches ``DEVICE``."""
    if not re.fullmatch(DEVICE, name):
        raise InputError(f"the device is {name!r}; expected {DEVICES}.")
