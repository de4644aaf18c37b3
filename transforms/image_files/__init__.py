"""Image files, of images and of fields: one strict reader of headers per format, and one reader of voxels for all.

A header is believed after it was checked: every number that is used, the bounds, and the length of the file. The
libraries for these formats let much pass in silence, and some of it ends the process.
"""

from importlib import import_module
from pathlib import Path

from ..basics.errors import InputError
from .header import Header
from .voxels import read_voxels

HEADERS = {".nii": "nifti", ".nii.gz": "nifti", ".mha": "metaimage", ".mhd": "metaimage", ".nrrd": "nrrd"}
"""The module for each ending, loaded where it is needed: NIfTI's takes nibabel, half a second."""

__all__ = ["HEADERS", "Header", "check_file", "read_header", "read_voxels"]


def read_header(path: Path) -> Header:
    """The checked header of an image file; its ending, one of ``HEADERS``, says which format it is.

    Raises:
        InputError: no such regular file; a header that is faulty, states what the bounds or the length of the file do
            not allow, or means different things to different tools; voxels outside of the header's folder.
    """
    check_file(path)
    module = next(module for ending, module in HEADERS.items() if path.name.lower().endswith(ending))
    return import_module(f".{module}", __name__).read_header(path)


def check_file(path: Path) -> None:
    """Raise InputError unless there is such a regular file."""
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give an image file.")
