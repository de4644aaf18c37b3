"""Which device computes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...transforms.basics.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """``auto`` is the first GPU, or else the CPU.

    Raises:
        InputError: as :func:`check_device`, or there is no GPU of that number.
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
    """Raise InputError for neither the CPU nor a GPU of CUDA's: torch has others, which nothing here is tested on."""
    if not re.fullmatch(r"auto|cpu(:0)?|cuda(:\d{1,3})?", name):
        raise InputError(f"the device is {name!r}; expected auto, cpu, cuda or cuda:N.")
