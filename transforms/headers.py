"""What the libraries that read image files let pass in silence: damage behind the last voxel, no or two places."""

import gzip
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener

from .errors import InputError, times
from .geometry import SAME_PLACE, corners_apart

NIFTI_STARTS = [size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")]
"""The first bytes of a NIfTI-1 or NIfTI-2 file: the size of its header."""
TEXT_HEADERS = {
    ".mha": rb"(?mi)^\s*(TransformMatrix|Rotation|Orientation)\s*=",
    ".mhd": rb"(?mi)^\s*(TransformMatrix|Rotation|Orientation)\s*=",
    ".nrrd": rb"(?mi)^space directions:",
}
"""The line that holds the direction cosines."""
SCALED_UNITS = {1: "metres", 3: "micrometres"}
"""NIfTI's codes of lengths other than mm."""
DATA_FILE = {
    ".mha": rb"(?mi)^\s*ElementDataFile\s*=\s*(.+?)\s*$",
    ".mhd": rb"(?mi)^\s*ElementDataFile\s*=\s*(.+?)\s*$",
    ".nrrd": rb"(?mi)^data ?file:\s*(.+?)\s*$",
}
"""The line that names the file with the voxels."""
LONGEST_HEADER = 1 << 16
"""Bytes that are searched for these lines."""


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


def check_data_file(path: Path) -> None:
    """Raise InputError if a MetaImage or NRRD header names a file for the voxels that is not there."""
    pattern = DATA_FILE.get(path.suffix.lower())
    if pattern is None:
        return
    with open(path, "rb") as file:
        found = re.search(pattern, file.read(LONGEST_HEADER))
    name = found.group(1).decode("utf-8", "replace") if found else "LOCAL"
    several = name.startswith(("LOCAL", "LIST")) or "%" in name
    if not several and not (path.parent / name).exists():
        raise InputError(f"{path} keeps its voxels in {path.parent / name}, which does not exist; put it there.")


def check_place(image: Any, path: Path) -> None:
    """Raise InputError if tools place the voxels of a NIfTI image, as nibabel loads it, differently, or nowhere.

    nibabel takes the sform where there is one and ITK sometimes the qform; ITK scales by the file's unit of length and
    nibabel does not; a voxel size of 0 becomes 1 mm in silence.
    """
    header, shape = image.header, image.shape[:3]
    unit = SCALED_UNITS.get(int(header["xyzt_units"]) % 8)
    if unit is not None:
        raise InputError(
            f"the header of {path} gives lengths in {unit}, which some tools turn into mm and others take for mm; "
            "write it in mm (xyzt_units 2)."
        )
    if not np.isfinite(image.affine).all():
        raise InputError(f"the affine of {path} holds NaN or infinite numbers; write a valid one into its header.")
    if header["sform_code"] <= 0:
        sizes = _stored_sizes(image, path)[: len(shape)]
        if any(size == 0 and length > 1 for size, length in zip(sizes, shape, strict=True)):
            raise InputError(f"the header of {path} has voxels of {times(sizes)} mm; every size must be above 0.")
    elif header["qform_code"] > 0:
        apart = _forms_apart(image)
        if not apart <= SAME_PLACE * np.linalg.norm(image.affine[:3, : len(shape)], axis=0).min():
            raise InputError(
                f"the sform and the qform of {path} place its voxels up to {apart:.3g} mm apart, and tools differ in "
                "which one they take; keep one (`fslorient -setqformcode 0` keeps the sform, `-setsformcode 0` the "
                "qform)."
            )


def set_place(image: Any, affine: np.ndarray) -> None:
    """Write an affine (4x4) into the header of a NIfTI image such that every tool that reads it reads the same one.

    A qform cannot say shear: then there is the sform only.
    """
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if _forms_apart(image) > SAME_PLACE * np.linalg.norm(affine[:3, :3], axis=0).min():
        image.set_qform(affine, code=0)


def _forms_apart(image: Any) -> float:
    """mm between the corners as the sform and as the qform have them."""
    return corners_apart(image.shape[:3], image.get_sform(), image.get_qform())


def _stored_sizes(image: Any, path: Path) -> list[float]:
    """The voxel sizes as they are in the file: nibabel mends them while it loads."""
    with ImageOpener(str(path)) as file:
        header = type(image.header).from_fileobj(file, check=False)
    return header["pixdim"][1:4].tolist()
