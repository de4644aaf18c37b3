"""Import official VoxelMorph (PyPI voxelmorph 0.2, PyTorch), the reference for equal results and for speed."""

import importlib
import inspect
import os
import warnings
from collections.abc import Sequence
from typing import Any

from smoothmorph.transforms.basics.errors import InputError


def import_voxelmorph() -> Any:
    """Import the ``voxelmorph`` package with its PyTorch backend.

    Raises:
        InputError: the package is not installed.
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


def official_network(shape: Sequence[int], integration_steps: int = 7, integration_downsize: int = 2) -> Any:
    """Make the official ``VxmDense`` for images of ``shape``, with initial weights from torch's random state.

    Raises:
        InputError: voxelmorph is not installed.
    """
    dense = import_voxelmorph().networks.VxmDense
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its meshgrid
        return dense(tuple(shape), int_steps=integration_steps, int_downsize=integration_downsize)
