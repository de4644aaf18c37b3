"""Access to official VoxelMorph (PyPI voxelmorph 0.2, PyTorch), the reference for parity and the opponent in speed."""

import importlib
import inspect
import os
import warnings
from typing import Any

from ..transforms.errors import InputError


def import_voxelmorph() -> Any:
    """The ``voxelmorph`` package with its PyTorch backend.

    Raises:
        InputError: it is not installed.
    """
    os.environ.update(VXM_BACKEND="pytorch", NEURITE_BACKEND="pytorch")
    if not hasattr(inspect, "getargspec"):  # removed in Python 3.11, used by voxelmorph 0.2
        setattr(inspect, "getargspec", lambda function: inspect.getfullargspec(function)[:4])  # noqa: B010
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("voxelmorph")
    except ImportError as error:
        raise InputError(
            f"official voxelmorph cannot be imported ({error}); install it with pip install 'smoothmorph[dev]'."
        ) from None
