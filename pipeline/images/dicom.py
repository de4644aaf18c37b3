"""Reading of DICOM: a series of files, or one file with many frames.

pydicom reads the headers and ITK the voxels. ITK's geometry is not used: it makes a regular grid with perpendicular
axes from the first slices, whatever the positions of the others. :mod:`.dicom_geometry` uses every slice's own header.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...transforms.basics.bounds import MOST_JPEG_EXPANSION
from ...transforms.basics.errors import InputError, one_line, reason, times
from ...transforms.field_files.lps import load_itk
from .dicom_geometry import CONVERT, GEOMETRY_TAGS, frames_of, grid_of

VOXEL_TAGS = [
    "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelData",
]  # fmt: skip
DEFLATED = "1.2.840.10008.1.2.1.99"
DAMAGED = "{file} is truncated or damaged ({found}); copy or download it again."


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder (a DICOM series) or a .dcm file."""
    return path.is_dir() or path.name.lower().endswith(".dcm")


def read_dicom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a folder with one series, or a file with one or many slices.

    Returns:
        the voxels, float64 (columns, rows, slices), and the affine (voxels to RAS mm, 4x4). The affine is sheared if
        the gantry was tilted or the table drifted.

    Raises:
        InputError: there is no DICOM file, there are several series, a slice has no position, or a file is damaged or
            in colour. Slices that are not on one grid are refused, too: they differ in orientation, spacing or size,
            share a position, or have uneven distances.
    """
    from pydicom import config

    if not path.exists():
        raise InputError(f"{path} does not exist.")
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        headers = _headers(path)
        slices = [frame for file, header in headers.items() for frame in frames_of(file, header)]
        order, affine = grid_of(path, slices)
        voxels = {file: _voxels(file, header) for file, header in headers.items()}
    stacked = np.stack([voxels[slices[index].file][slices[index].number] for index in order])
    return np.ascontiguousarray(stacked.T), affine


def _headers(path: Path) -> dict[Path, Any]:
    """The header of a file, or the headers of all files in a folder, which must be one series."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    found = {file: header for file in files if (header := _read(file)) is not None}
    if not path.is_dir():
        if not found:
            raise InputError(f"cannot read {path} as an image: it is not a DICOM file.")
        return found
    images = {file: header for file, header in found.items() if "Rows" in header}
    series = {str(header.get("SeriesInstanceUID", "")) for header in images.values()}
    if len(series) != 1:
        raise InputError(
            f"the folder {path} holds {len(series) or 'no'} DICOM series; give an image file or a folder with one."
        )
    return images


def _read(file: Path, with_voxels: bool = False) -> Any:
    """The known tags of a DICOM file; None for any other file."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        if read_file_meta_info(file).get("TransferSyntaxUID") == DEFLATED:
            raise InputError(f"{file} is compressed as a whole (deflated), which is not supported; {CONVERT}.")
        tags = [*GEOMETRY_TAGS, *VOXEL_TAGS] if with_voxels else GEOMETRY_TAGS
        return dcmread(file, stop_before_pixels=not with_voxels, specific_tags=tags)
    except InvalidDicomError:
        return None
    except InputError:
        raise
    except Exception as error:  # pydicom can raise any exception type
        raise InputError(DAMAGED.format(file=file, found=one_line(error))) from None


def _voxels(file: Path, header: Any) -> np.ndarray:
    """The voxels of a file, scaled by its slope and intercept: float64 (frames, rows, columns)."""
    itk = load_itk()
    frames = int(header.get("NumberOfFrames") or 1)
    try:
        whole = _read(file, with_voxels=True)
        _check_length(file, whole, frames)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "voxels.dcm"  # with the known tags only, because ITK trusts all tags of a header
            whole.save_as(copy, enforce_file_format=True)
            image = itk.imread(str(copy), pixel_type=itk.D, imageio=itk.GDCMImageIO.New())
    except InputError:
        raise
    except Exception as error:  # both libraries can raise any exception type
        said = reason(error)
        said = "its voxels cannot be read" if "voxels.dcm" in said else said
        raise InputError(DAMAGED.format(file=file, found=said)) from None
    voxels = itk.array_from_image(image)
    voxels = voxels[None] if voxels.ndim == 2 else voxels
    if voxels.shape != (frames, header.Rows, header.Columns):
        raise InputError(DAMAGED.format(file=file, found=f"its voxels are {times(voxels.shape)}"))
    return voxels


def _check_length(file: Path, header: Any, frames: int) -> None:
    """Raise InputError if the voxel data has another length than stated; ITK would fill the rest with random memory.

    The length of compressed data is known only after decompression; this check limits the memory for it.
    """
    stated = frames * header.Rows * header.Columns * header.BitsAllocated // 8
    length = len(header.get("PixelData") or b"")
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        fits = length * MOST_JPEG_EXPANSION >= stated
    else:
        fits = length in (stated, stated + stated % 2)
    if not fits:
        found = f"{length} bytes of voxels, but its header states {stated}"
        raise InputError(DAMAGED.format(file=file, found=found))
