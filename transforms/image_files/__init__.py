"""Image files, of images and of fields: one strict reader of headers per format, and one reader of voxels for all.

A header is believed after it was checked: every number that is used, the bounds, and the length of the file. The
libraries for these formats let much pass in silence, and some of it ends the process.
"""

from collections.abc import Callable
from pathlib import Path

from ..basics.errors import InputError
from . import metaimage, nifti, nrrd
from .header import Header
from .voxels import read_voxels

HEADERS: dict[str, Callable[[Path], Header]] = {
    ".nii": nifti.read_header,
    ".nii.gz": nifti.read_header,
    ".mha": metaimage.read_header,
    ".mhd": metaimage.read_header,
    ".nrrd": nrrd.read_header,
}

__all__ = ["HEADERS", "Header", "read_header", "read_voxels"]


def read_header(path: Path) -> Header:
    """The checked header of an image file; its ending, one of ``HEADERS``, says which format it is.

    Raises:
        InputError: no such regular file; a header that is faulty, states what the bounds or the length of the file do
            not allow, or means different things to different tools; voxels outside of the header's folder.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give an image file.")
    name = path.name.lower()
    return next(read for ending, read in HEADERS.items() if name.endswith(ending))(path)
