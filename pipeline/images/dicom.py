"""DICOM series, and files of many frames: each slice where its own header says, or not at all.

pydicom reads the headers and ITK the voxels. ITK's own geometry is not used: from the first slices it makes a regular
grid with perpendicular axes, whatever the positions of the others.
"""

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...transforms.basics.bounds import MOST_JPEG_EXPANSION, MOST_VOXELS
from ...transforms.basics.errors import InputError, one_line, reason, times
from ...transforms.field_files.lps import load_itk

UNEVEN = 0.01
"""A slice may lie off its place on the grid by this part of the distance between slices, for positions are rounded."""
ALIKE = 1e-4
"""Direction cosines and pixel spacings of the slices of one image differ by less."""
PERPENDICULAR = 1e-3
"""Cosines of rows and columns are rounded, too."""
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType", "NumberOfFrames",
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
OF_VOXELS = [
    "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelData",
]  # fmt: skip
PARTS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)
"""The groups of a file of many frames, of one frame or shared by all, that hold what a classic file has at its top."""
DEFLATED = "1.2.840.10008.1.2.1.99"
DAMAGED = "{file} is truncated or damaged ({found}); copy or download it again."
CONVERT = "convert it to NIfTI, for example with dcm2niix"


@dataclass(frozen=True)
class Frame:
    """One slice: which one of its file it is, and where it lies (LPS mm)."""

    file: Path
    number: int
    size: tuple[int, int]
    """Columns and rows."""
    position: np.ndarray
    """(3) of the first voxel."""
    axes: np.ndarray
    """(3, 2): the unit vectors along a row and along a column."""
    spacing: np.ndarray
    """(2) mm along a row and along a column."""
    thickness: float
    frame_of_reference: str
    scale: tuple[float, ...]
    """Slope and intercept, where a file of many frames has them for each."""


def is_dicom(path: Path) -> bool:
    """Whether an image is a DICOM series, or one file of it."""
    return path.is_dir() or path.name.lower().endswith(".dcm")


def read_dicom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A folder that holds one series, or a file with one slice or many.

    Returns:
        float64 (columns, rows, slices), and the affine (voxel to RAS mm, 4x4), sheared where the gantry was tilted or
        the table drifted.

    Raises:
        InputError: no DICOM file or several series; slices that do not say where they lie, or do not lie on one grid:
            of several orientations, spacings or sizes, at one position, or at uneven distances; not one real number
            per voxel; damaged.
    """
    from pydicom import config

    if not path.exists():
        raise InputError(f"{path} does not exist.")
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        headers = _headers(path)
        slices = [frame for file, header in headers.items() for frame in _frames(file, header)]
        order, affine = _grid(path, slices)
        voxels = {file: _voxels(file, header) for file, header in headers.items()}
    stacked = np.stack([voxels[slices[index].file][slices[index].number] for index in order])
    return np.ascontiguousarray(stacked.T), affine


def _headers(path: Path) -> dict[Path, Any]:
    """The header of a file, or those of the files of a folder, which must be of one series."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    found = {file: header for file in files if (header := _read(file)) is not None}
    if not path.is_dir():
        if not found:
            raise InputError(f"cannot read {path} as an image: it is no DICOM file.")
        return found
    images = {file: header for file, header in found.items() if "Rows" in header}
    series = {str(header.get("SeriesInstanceUID", "")) for header in images.values()}
    if len(series) != 1:
        raise InputError(
            f"the folder {path} holds {len(series) or 'no'} DICOM series; give an image file or a folder with one."
        )
    return images


def _read(file: Path, with_voxels: bool = False) -> Any:
    """The known tags of a DICOM file; of another file None."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        if read_file_meta_info(file).get("TransferSyntaxUID") == DEFLATED:
            raise InputError(f"{file} is compressed as a whole (deflated), which is not read; {CONVERT}.")
        tags = [*TAGS, *OF_VOXELS] if with_voxels else TAGS
        return dcmread(file, stop_before_pixels=not with_voxels, specific_tags=tags)
    except InvalidDicomError:
        return None
    except InputError:
        raise
    except Exception as error:  # pydicom raises what it likes
        raise InputError(DAMAGED.format(file=file, found=one_line(error))) from None


def _frames(file: Path, header: Any) -> list[Frame]:
    """The slices in a file: one, or as many as a file of many frames describes."""
    try:
        return list(_read_frames(file, header))
    except InputError:
        raise
    except Exception as error:  # pydicom converts values when they are asked for
        raise InputError(f"the header of {file} is damaged: {one_line(error)}.") from None


def _read_frames(file: Path, header: Any) -> Iterator[Frame]:
    if int(header.get("SamplesPerPixel", 1)) != 1 or "MONOCHROME" not in header.get("PhotometricInterpretation", ""):
        raise InputError(f"cannot read {file} as an image: each of its voxels has a colour; save one channel.")
    if "MOSAIC" in (header.get("ImageType") or ()):
        raise InputError(f"{file} is a mosaic of slices, of which it does not say where each lies; {CONVERT}.")
    count, groups = int(header.get("NumberOfFrames") or 1), header.get("PerFrameFunctionalGroupsSequence")
    if groups is None and count == 1:
        yield _frame(file, 0, header, [header])
        return
    if groups is None or len(groups) != count:
        raise InputError(f"{file} has {count} frames, but does not say where each of them lies; {CONVERT}.")
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    for number, group in enumerate(groups):
        parts = [item[0] for place in (group, shared[0]) for item in map(place.get, PARTS) if item]
        yield _frame(file, number, header, parts)


def _frame(file: Path, number: int, header: Any, parts: Sequence[Any]) -> Frame:
    def numbers(name: str, count: int, default: Sequence[float] | None = None) -> np.ndarray:
        values = next((part.get(name) for part in parts if part.get(name) is not None), default)
        if values is None:
            raise InputError(f"{file} has no {name}, so where its voxels lie is unknown; {CONVERT}.")
        found = np.array(values, dtype=float).reshape(-1)
        if len(found) != count or not np.isfinite(found).all():
            raise InputError(f"the header of {file} has a faulty {name}; expected {count} finite numbers.")
        return found

    axes, spacing = numbers("ImageOrientationPatient", 6).reshape(2, 3).T, numbers("PixelSpacing", 2)[::-1]
    size = (int(header.Columns), int(header.Rows))
    if np.abs(axes.T @ axes - np.eye(2)).max() > PERPENDICULAR or not (spacing > 0).all() or min(size) < 1:
        raise InputError(
            f"the header of {file} has {times(size)} pixels of {times(spacing)} mm and the direction cosines "
            f"{axes.T.tolist()}; expected sizes above 0 and two perpendicular unit vectors."
        )
    return Frame(
        file,
        number,
        size,
        numbers("ImagePositionPatient", 3),
        axes / np.linalg.norm(axes, axis=0),
        spacing,
        float(numbers("SliceThickness", 1, [1])[0]) or 1.0,
        str(header.get("FrameOfReferenceUID", "")),
        (*numbers("RescaleSlope", 1, [1]), *numbers("RescaleIntercept", 1, [0])) if parts[0] is not header else (),
    )


def _grid(path: Path, frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """The order of the slices along their normal, and the affine (voxel to RAS mm) of the grid that they make."""
    first = frames[0]
    _check_alike(path, first, frames)
    if first.size[0] * first.size[1] * len(frames) > MOST_VOXELS:
        raise InputError(f"{path} has {times(first.size)} voxels in {len(frames)} slices, more than {MOST_VOXELS:,}.")
    normal = np.cross(first.axes[:, 0], first.axes[:, 1])
    positions = np.stack([frame.position for frame in frames])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    step = normal * first.thickness
    if len(frames) > 1:
        step = (positions[-1] - positions[0]) / (len(frames) - 1)
        _check_even(path, positions, step, normal)
    affine = np.eye(4)
    affine[:3] = np.column_stack([first.axes * first.spacing, step, positions[0]])
    return order, np.diag([-1.0, -1, 1, 1]) @ affine


def _check_alike(path: Path, first: Frame, frames: Iterable[Frame]) -> None:
    """Raise InputError unless all slices have one size, orientation, spacing, frame of reference and scale."""
    for frame in frames:
        differing = {
            "sizes": frame.size != first.size,
            "orientations": np.abs(frame.axes - first.axes).max() > ALIKE,
            "pixel spacings": np.abs(frame.spacing / first.spacing - 1).max() > ALIKE,
            "frames of reference": frame.frame_of_reference != first.frame_of_reference,
            "scales (RescaleSlope) in one file": frame.file == first.file and frame.scale != first.scale,
        }
        what = next((name for name, differs in differing.items() if differs), None)
        if what is not None:
            raise InputError(
                f"the slices of {path} have different {what}, so they are no one image; keep those of one, or "
                f"{CONVERT}."
            )


def _check_even(path: Path, positions: np.ndarray, step: np.ndarray, normal: np.ndarray) -> None:
    """Raise InputError unless the positions, in their order, lie on one line at equal distances."""
    gaps = np.diff(positions @ normal)
    distance, off = float(step @ normal), positions - positions[0] - np.outer(np.arange(len(positions)), step)
    if not gaps.min() > UNEVEN * distance:
        raise InputError(
            f"{path} has several slices at one position, such as those of several times or echoes; keep those of one, "
            f"or {CONVERT}."
        )
    if np.abs(off @ normal).max() > UNEVEN * distance:
        raise InputError(
            f"cannot read {path} as an image: the distances between its slices differ by up to "
            f"{float(np.abs(gaps - distance).max()):.3g} mm; is a slice missing?"
        )
    if np.linalg.norm(off, axis=1).max() > UNEVEN * distance:
        raise InputError(
            f"cannot read {path} as an image: its slices lie up to {float(np.linalg.norm(off, axis=1).max()):.3g} mm "
            f"beside a straight line; {CONVERT}."
        )


def _voxels(file: Path, header: Any) -> np.ndarray:
    """The voxels of a file, scaled as it says: float64 (frames, rows, columns)."""
    itk = load_itk()
    frames = int(header.get("NumberOfFrames") or 1)
    try:
        whole = _read(file, with_voxels=True)
        _check_length(file, whole, frames)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "voxels.dcm"  # of the known tags alone: ITK believes whatever else is in a header
            whole.save_as(copy, enforce_file_format=True)
            image = itk.imread(str(copy), pixel_type=itk.D, imageio=itk.GDCMImageIO.New())
    except InputError:
        raise
    except Exception as error:  # both raise what they like
        said = reason(error)
        said = "its voxels cannot be read" if "voxels.dcm" in said else said
        raise InputError(DAMAGED.format(file=file, found=said)) from None
    voxels = itk.array_from_image(image)
    voxels = voxels[None] if voxels.ndim == 2 else voxels
    if voxels.shape != (frames, header.Rows, header.Columns):
        raise InputError(DAMAGED.format(file=file, found=f"its voxels are {times(voxels.shape)}"))
    return voxels


def _check_length(file: Path, header: Any, frames: int) -> None:
    """Raise InputError if the voxels are not as long as the header states: ITK fills up with what is in the memory.

    Of compressed ones only the decompression tells; this bounds what it may take.
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
