"""NIfTI headers: .nii and .nii.gz. The frame is RAS mm, by the sform, or by the qform if there is no sform."""

import gzip
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import data_type_codes, xform_codes
from nibabel.spatialimages import HeaderDataError

from ..basics.bounds import MOST_VOXELS
from ..basics.errors import InputError, one_line, times
from ..world.grid import SAME_PLACE, corners_apart
from .header import Header, truncated

FORMS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
"""NIfTI-1 and NIfTI-2 by the length of their headers; the first four bytes of a file are this length."""
QUIET = logging.Logger("quiet", logging.CRITICAL + 1)
SCALED_UNITS = {1: "metres", 3: "micrometres"}
"""NIfTI's codes of units other than mm."""


@dataclass(frozen=True, kw_only=True)
class NiftiHeader(Header):
    """A NIfTI header, with its fields about the meaning of the voxels."""

    intent: int
    intent_name: str
    description: str


def read_header(path: Path) -> NiftiHeader:
    """Read and check the header of a NIfTI file.

    Raises:
        InputError: see :func:`~smoothmorph.transforms.image_files.read_header`. Also refused: voxels that are not real
            numbers of at most 64 bits, and headers that tools interpret as different places.
    """
    compressed = path.name.lower().endswith(".gz")
    raw = _raw(path, _beginning(path, compressed))
    try:
        sizes, dtype, offset = _sizes(path, raw), _dtype(path, raw), _offset(path, raw)
        header = raw.copy()
        header.check_fix(logger=QUIET)  # nibabel repairs a header like this when it loads an image
        slope, intercept = header.get_slope_inter()
        if np.isinf(raw["scl_slope"]):  # NaN means that no slope is set
            raise InputError(f"the header of {path} has an infinite scl_slope; write 1, or the right one.")
        affine = header.get_best_affine()
        _check_place(path, header, raw, affine)
    except (HeaderDataError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the header of {path} is damaged: {one_line(error)}.") from None
    vector = len(sizes) == 5 and sizes[3] == 1 and sizes[4] > 1
    return NiftiHeader(
        path,
        (*sizes[:3], sizes[4]) if vector else sizes,
        dtype,
        affine,
        path,
        skip=offset,
        compression="gzip" if compressed else "",
        component_axis=3 if vector else None,
        scale=(1.0, 0.0) if slope is None else (slope, intercept),
        undirected=""
        if header["qform_code"] > 0 or header["sform_code"] > 0
        else "qform_code and sform_code are both 0",
        intent=int(header["intent_code"]),
        intent_name=header["intent_name"].item().decode("latin-1"),
        description=header["descrip"].item().decode("latin-1"),
    )


def _beginning(path: Path, compressed: bool) -> bytes:
    """Read as many bytes as the longest header has."""
    with open(path, "rb") as file:
        start = file.read(max(FORMS))
        if not compressed:
            return start
        if _header_length(start) is not None:
            raise InputError(f"cannot read {path} as an image: it is not gzip-compressed; rename it to .nii.")
        file.seek(0)
        try:
            return gzip.open(file).read(max(FORMS))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise truncated(path, one_line(error)) from None


def _header_length(start: bytes) -> int | None:
    lengths = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    return next((length for length in FORMS if length in lengths), None)


def _raw(path: Path, start: bytes) -> Any:
    """Return the header exactly as it is in the file; nibabel would repair a faulty one when it loads an image."""
    length = _header_length(start)
    if length is None or len(start) < length:
        raise InputError(
            f"cannot read {path} as an image: it is not a NIfTI file, or its beginning is lost ({len(start)} bytes)."
        )
    header = FORMS[length](start[:length], check=False)  # without the extensions that follow it
    if header["magic"].item().rstrip(b"\0\r\n\x1a") not in (b"n+1", b"n+2"):
        raise InputError(f"cannot read {path} as an image: it is not a single NIfTI file with header and voxels.")
    return header


def _sizes(path: Path, raw: Any) -> tuple[int, ...]:
    axes, *sizes = (int(number) for number in raw["dim"])
    if not 1 <= axes <= 7 or not all(1 <= size <= MOST_VOXELS for size in sizes[:axes]):
        raise InputError(
            f"the header of {path} has dim {axes}, {times(sizes)}; expected 1 to 7 axes of 1 to {MOST_VOXELS:,} voxels."
        )
    return tuple(sizes[:axes])


def _dtype(path: Path, raw: Any) -> np.dtype:
    code, bits = int(raw["datatype"]), int(raw["bitpix"])
    if code not in data_type_codes.dtype:
        raise InputError(f"the header of {path} has datatype {code}, which is not a NIfTI type; is it damaged?")
    dtype = raw.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"cannot read {path} as an image: its voxels are {dtype}, expected real numbers of at most 64 bits; save "
            "the magnitude or one channel."
        )
    if bits != 8 * dtype.itemsize:
        raise InputError(
            f"the header of {path} states voxels of type {dtype.newbyteorder('=')} and of {bits} bits; expected "
            f"{8 * dtype.itemsize} bits (bitpix). The file is damaged: copy or download it again."
        )
    return dtype


def _offset(path: Path, raw: Any) -> int:
    offset, least = float(raw["vox_offset"]), 352 if type(raw) is nib.Nifti1Header else 544
    if not (math.isfinite(offset) and offset.is_integer() and (offset == 0 or least <= offset <= 2**40)):
        raise InputError(f"the header of {path} has vox_offset {offset:g}; expected an integer of at least {least}.")
    return int(offset) or least


def _check_place(path: Path, header: Any, raw: Any, affine: np.ndarray) -> None:
    """Raise InputError if tools disagree on the place of the voxels, or find none.

    nibabel prefers the sform, ITK sometimes the qform. ITK scales by the file's unit of length, nibabel does not. A
    voxel size of 0 silently becomes 1 mm.
    """
    shape = header.get_data_shape()[:3]
    codes = {int(raw["qform_code"]), int(raw["sform_code"])}
    if not codes <= xform_codes.value_set("code"):
        raise InputError(f"the header of {path} has qform_code and sform_code {codes}; expected numbers from 0 to 5.")
    unit = SCALED_UNITS.get(int(header["xyzt_units"]) % 8)
    if unit is not None:
        raise InputError(
            f"the header of {path} gives lengths in {unit}, which some tools convert to mm and others read as mm; "
            "write it in mm (xyzt_units 2)."
        )
    if not np.isfinite(affine).all():
        raise InputError(f"the affine of {path} holds NaN or infinite numbers; write a valid one into its header.")
    if header["sform_code"] <= 0:
        sizes = raw["pixdim"][1 : 1 + len(shape)].tolist()
        if any(size == 0 and length > 1 for size, length in zip(sizes, shape, strict=True)):
            raise InputError(f"the header of {path} has voxels of {times(sizes)} mm; every size must be above 0.")
    elif header["qform_code"] > 0:
        apart = _forms_apart(header)
        if not apart <= SAME_PLACE * np.linalg.norm(affine[:3, : len(shape)], axis=0).min():
            raise InputError(
                f"the sform and the qform of {path} place its voxels up to {apart:.3g} mm apart, and tools differ in "
                "which one they use; keep one (`fslorient -setqformcode 0` keeps the sform, `-setsformcode 0` the "
                "qform)."
            )


def set_place(image: Any, affine: np.ndarray) -> None:
    """Write an affine (4x4) into the header of a NIfTI image so that every tool reads the same affine.

    A qform cannot store shear; a sheared affine is written as the sform only.
    """
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if _forms_apart(image.header) > SAME_PLACE * np.linalg.norm(affine[:3, :3], axis=0).min():
        image.set_qform(affine, code=0)


def _forms_apart(header: Any) -> float:
    """Return the largest distance in mm between corners placed by the sform and by the qform."""
    return corners_apart(header.get_data_shape()[:3], header.get_sform(), header.get_qform())
