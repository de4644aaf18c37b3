"""What the libraries that read image files let pass in silence: damage behind the last voxel, no direction cosines."""

import gzip
import re
from pathlib import Path
from typing import Any

import nibabel as nib

from .errors import InputError

NIFTI_STARTS = [size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")]
"""The first bytes of a NIfTI-1 or NIfTI-2 file: the size of its header."""
HDF5_START = b"\x89HDF\r\n\x1a\n"
TEXT_HEADERS = {
    ".mha": rb"(?mi)^\s*(TransformMatrix|Rotation|Orientation)\s*=",
    ".mhd": rb"(?mi)^\s*(TransformMatrix|Rotation|Orientation)\s*=",
    ".nrrd": rb"(?mi)^space directions:",
}
"""The line that holds the direction cosines."""
LONGEST_HEADER = 1 << 16
"""Bytes that are searched for it."""


def check_gzip(path: Path) -> None:
    """Read a gzip file to its end: image readers stop at the last voxel, and only the end holds the checksum.

    Raises:
        ValueError: a NIfTI file that is not compressed.
        OSError, EOFError, zlib.error: damaged or truncated.
    """
    with open(path, "rb") as file:
        if file.read(4) in NIFTI_STARTS:
            raise ValueError("it is not gzip-compressed; rename it to .nii")
    with gzip.open(path) as file:
        while file.read(1 << 22):
            pass


def check_hdf5(path: Path) -> None:
    """Compare the length of an HDF5 file with the one in its first bytes: the library prints pages about damage.

    Raises:
        InputError: no HDF5 file, or a truncated one.
    """
    with open(path, "rb") as file:
        start = file.read(64)
    if not start.startswith(HDF5_START) or len(start) < 64:
        raise InputError(f"{path} is no HDF5 file, or its beginning is lost; copy or download it again.")
    version, size = start[8], start[9] if start[8] >= 2 else start[13]
    addresses = {0: 24, 1: 28}.get(version, 12)  # base, one other, end of file
    end = int.from_bytes(start[addresses + 2 * size : addresses + 3 * size], "little")
    if path.stat().st_size < end:
        raise InputError(
            f"{path} is truncated: it has {path.stat().st_size} of {end} bytes; copy or download it again."
        )


def check_direction(path: Path) -> None:
    """Raise InputError if an image file does not say how its axes lie in the world.

    Every tool then assumes something else: ITK that they are the patient's axes, nibabel that the first one is
    flipped and the origin in the middle.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        header: Any = nib.load(path).header
        stated, where = header["qform_code"] > 0 or header["sform_code"] > 0, "qform_code and sform_code are both 0"
    else:
        with open(path, "rb") as file:
            stated = re.search(TEXT_HEADERS[path.suffix.lower()], file.read(LONGEST_HEADER))
        where = "its header has no " + ("space directions" if path.suffix.lower() == ".nrrd" else "TransformMatrix")
    if not stated:
        raise InputError(
            f"{path} has no direction cosines ({where}), so where its voxels lie is unknown; "
            "write its orientation into its header."
        )
