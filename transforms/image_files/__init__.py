"""Read files of images and fields: one strict header reader per format, and one voxel reader for all formats.

A header is used only after a check of all its numbers, of the bounds, and of the file's length. The usual libraries
accept many faulty headers silently, and some of these crash the process.
"""

from importlib import import_module
from pathlib import Path

from ..basics.errors import InputError
from .header import Header
from .voxels import read_voxels

HEADERS = {".nii": "nifti", ".nii.gz": "nifti", ".mha": "metaimage", ".mhd": "metaimage", ".nrrd": "nrrd"}
"""The module for each ending. It is loaded on first use, because nibabel takes half a second."""

__all__ = ["HEADERS", "Header", "check_file", "read_header", "read_voxels"]


def read_header(path: Path) -> Header:
    """Read and check the header of an image file; its ending, one of ``HEADERS``, selects the format.

    Raises:
        InputError: the file is missing or not a regular file; its header is faulty, exceeds the bounds or the file's
            length, or is ambiguous to other tools; or its voxels are in another folder.
    """
    check_file(path)
    module = next(module for ending, module in HEADERS.items() if path.name.lower().endswith(ending))
    return import_module(f".{module}", __name__).read_header(path)


def check_file(path: Path) -> None:
    """Raise InputError unless ``path`` is a regular file."""
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give an image file.")
