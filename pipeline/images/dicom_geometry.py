"""The geometry of a DICOM image: the position of each slice from its own header, and the grid that all slices form."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...transforms.basics.bounds import MOST_VOXELS
from ...transforms.basics.errors import InputError, one_line, times

UNEVEN = 0.01
"""Positions are rounded: a slice may be off its grid position by this fraction of the distance between slices."""
ALIKE = 1e-4
"""Largest accepted difference of direction cosines, and relative difference of pixel spacings, between slices."""
PERPENDICULAR = 1e-3
"""Largest accepted deviation of the axes from perpendicular unit vectors; direction cosines are rounded, too."""
GEOMETRY_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType", "NumberOfFrames",
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
PARTS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)
"""Functional groups of a multi-frame file, per frame or shared. A single-frame file has their values at top level."""
CONVERT = "convert it to NIfTI, for example with dcm2niix"


@dataclass(frozen=True)
class Frame:
    """One slice: its index in its file, and its geometry in LPS mm."""

    file: Path
    number: int
    """Index of the slice in the file."""
    size: tuple[int, int]
    """Columns and rows."""
    position: np.ndarray
    """(3,), the centre of the first voxel."""
    axes: np.ndarray
    """(3, 2), the unit vectors along a row and along a column."""
    spacing: np.ndarray
    """(2,), mm along a row and along a column."""
    thickness: float
    frame_of_reference: str
    scale: tuple[float, ...]
    """Slope and intercept of the slice, if a multi-frame file has them per frame."""


def frames_of(file: Path, header: Any) -> list[Frame]:
    """The slices in a file: one, or as many as a multi-frame file describes.

    Raises:
        InputError: the file is in colour, a mosaic without positions, or damaged.
    """
    try:
        return list(_read_frames(file, header))
    except InputError:
        raise
    except Exception as error:  # pydicom converts values only when they are accessed
        raise InputError(f"the header of {file} is damaged: {one_line(error)}.") from None


def _read_frames(file: Path, header: Any) -> Iterator[Frame]:
    if int(header.get("SamplesPerPixel", 1)) != 1 or "MONOCHROME" not in header.get("PhotometricInterpretation", ""):
        raise InputError(f"cannot read {file} as an image: it is in colour; save a single channel.")
    if "MOSAIC" in (header.get("ImageType") or ()):
        raise InputError(f"{file} is a mosaic of slices without the position of each slice; {CONVERT}.")
    count, groups = int(header.get("NumberOfFrames") or 1), header.get("PerFrameFunctionalGroupsSequence")
    if groups is None and count == 1:
        yield _frame(file, 0, header, [header])
        return
    if groups is None or len(groups) != count:
        raise InputError(f"{file} has {count} frames, but not the position of each frame; {CONVERT}.")
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    for number, group in enumerate(groups):
        parts = [item[0] for place in (group, shared[0]) for item in map(place.get, PARTS) if item]
        yield _frame(file, number, header, parts)


def _frame(file: Path, number: int, header: Any, parts: Sequence[Any]) -> Frame:
    def numbers(name: str, count: int, default: Sequence[float] | None = None) -> np.ndarray:
        values = next((part.get(name) for part in parts if part.get(name) is not None), default)
        if values is None:
            raise InputError(f"{file} has no {name}, so the positions of its voxels are unknown; {CONVERT}.")
        found = np.array(values, dtype=float).reshape(-1)
        if len(found) != count or not np.isfinite(found).all():
            raise InputError(f"the header of {file} has an invalid {name}; expected {count} finite numbers.")
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


def grid_of(path: Path, frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """The order of the slices along their normal, and the affine (voxels to RAS mm) of the grid that they form.

    Raises:
        InputError: the slices differ in their grids, are not evenly spaced, or hold too many voxels.
    """
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
    """Raise InputError unless all slices have the same size, orientation, spacing, frame of reference and scale."""
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
                f"the slices of {path} have different {what}, so they are not one image; keep the slices of one image, "
                f"or {CONVERT}."
            )


def _check_even(path: Path, positions: np.ndarray, step: np.ndarray, normal: np.ndarray) -> None:
    """Raise InputError unless the sorted positions are on one line at equal distances."""
    gaps = np.diff(positions @ normal)
    distance, off = float(step @ normal), positions - positions[0] - np.outer(np.arange(len(positions)), step)
    if not gaps.min() > UNEVEN * distance:
        raise InputError(
            f"{path} has several slices at one position, for example of several times or echoes; keep those of one "
            f"image, or {CONVERT}."
        )
    if np.abs(off @ normal).max() > UNEVEN * distance:
        raise InputError(
            f"cannot read {path} as an image: the distances between its slices differ by up to "
            f"{float(np.abs(gaps - distance).max()):.3g} mm; is a slice missing?"
        )
    if np.linalg.norm(off, axis=1).max() > UNEVEN * distance:
        raise InputError(
            f"cannot read {path} as an image: its slices are up to {float(np.linalg.norm(off, axis=1).max()):.3g} mm "
            f"off a straight line; {CONVERT}."
        )
