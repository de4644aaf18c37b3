"""Reading of an image file to a checked tensor. Every fault is an error of one sentence with the file's path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.basics.bounds import LARGEST_FLOAT32
from ...transforms.basics.errors import InputError, times
from ...transforms.image_files import HEADERS, Header, check_file, read_header, read_voxels
from ...transforms.world.grid import SAME_PLACE, corners_apart
from .dicom import is_dicom, read_dicom

if TYPE_CHECKING:
    from torch import Tensor

FEW = 1 << 20
"""Label values up to this are found by counting, which is faster than sorting the voxels."""
STEPS_BETWEEN_LABELS, NEARLY = 64, 0.01
"""A label may be off by half a step if stored integers are scaled by at most 1/64, but never by more than 0.01."""


def read_image(path: Path, spatial_dims: int, labels: bool = False) -> tuple[Tensor, np.ndarray]:
    """Read an image or a label map with a given number of axes.

    Returns:
        the image (1, *spatial), float64 or int64 for labels, without trailing axes of length one, and the 4x4 affine
        (voxels to RAS mm).

    Raises:
        InputError: as :func:`load_file`, or the image does not have ``spatial_dims`` axes.
    """
    from monai.data.utils import to_affine_nd

    image, affine = load_file(path, labels)
    return _drop_singletons(image, spatial_dims, path)[None], to_affine_nd(3, affine)


def image_header(path: Path) -> Header:
    """The checked header of an image file other than DICOM.

    Raises:
        InputError: the file is missing, its format is unknown, its header is faulty, or voxels have several numbers.
    """
    check_image_file(path)
    header = read_header(path)
    if header.components != 1:
        raise InputError(
            f"cannot read {path} as an image: each voxel has {header.components} numbers, expected one; save a single "
            "channel."
        )
    return header


def check_image_file(path: Path) -> None:
    """Raise InputError unless ``path`` exists and has the ending of an image format."""
    if not path.name.lower().endswith(tuple(HEADERS)):
        raise InputError(
            f"{path} is not one of the image formats that can be read: {', '.join(HEADERS)}, .dcm, or the folder of a "
            "DICOM series."
        )
    check_file(path)


def load_file(path: Path, labels: bool = False) -> tuple[Tensor, np.ndarray]:
    """Read all voxels of a file, or of a folder with one DICOM series, and their affine.

    Returns:
        the voxels, float64 or int64 for labels, with the file's axes, and the affine (voxels to RAS mm): 4x4, or 3x3
        for a true 2-D file in MetaImage or NRRD format.

    Raises:
        InputError: the file is missing, truncated or damaged, its format is unknown, its header is faulty, a label map
            has values that are not integers; or as :func:`~smoothmorph.pipeline.images.dicom.read_dicom`.
    """
    import torch

    if is_dicom(path):
        scaled, affine = read_dicom(path)
        return torch.from_numpy(_integers(scaled, (1, 0), str(path)) if labels else scaled), affine
    header = image_header(path)
    stored = read_voxels(header)
    if labels:
        return torch.from_numpy(_integers(stored, header.scale, str(path))), header.affine
    values = stored.astype(np.float64)
    if header.scale != (1, 0):
        values *= header.scale[0]
        values += header.scale[1]
    return torch.from_numpy(values), header.affine


def _integers(stored: np.ndarray, scale: tuple[float, float], source: str) -> np.ndarray:
    """The labels of a map, int64: slope * stored + intercept, rounded to integers.

    A file rounds slope and intercept to 32 bits, and stored integers to the nearest step. A value may be off by as much
    as that causes, but never by more than 0.01.

    Raises:
        InputError: a value is not an integer.
    """
    slope, intercept = scale
    if stored.dtype.kind in "iu" and scale == (1, 0):
        if int(stored.max(initial=0)) > np.iinfo(np.int64).max:
            raise InputError(f"{source} holds label {stored.max()}; the largest is {np.iinfo(np.int64).max}.")
        return stored.astype(np.int64)
    part = stored * np.float64(slope)
    values = part + intercept
    step = abs(slope) if stored.dtype.kind in "iu" and abs(slope) <= 1 / STEPS_BETWEEN_LABELS else 0.0
    allowed = np.minimum(step / 2 + np.finfo(np.float32).eps * (np.abs(part) + abs(intercept)), NEARLY)
    integers = values.round()
    faulty = values[~((np.abs(values - integers) <= allowed) & (np.abs(integers) < 2.0**63))]  # includes NaN
    if len(faulty):
        raise InputError(f"{source} holds {faulty[0]:g}; a label map holds integers only.")
    return integers.astype(np.int64)


def _drop_singletons(image: Tensor, spatial_dims: int, path: Path) -> Tensor:
    shape = tuple(image.shape)
    while image.ndim > spatial_dims and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim != spatial_dims or 0 in shape:
        raise InputError(f"{path} has {times(shape)} voxels, expected {spatial_dims} axes (cohort.spatial_dims).")
    return image


def check_finite(image: Tensor, source: str) -> tuple[float, float]:
    """The minimum and the maximum; InputError if the image holds NaN, infinity or values too large for float32."""
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN passes through min and max
        raise InputError(f"{source} holds NaN or infinite voxels; every voxel must be a finite number.")
    if max(-low, high) > LARGEST_FLOAT32:
        raise InputError(
            f"{source} holds {low if -low > high else high:g}, which exceeds the limit of 32-bit floating point, "
            f"{LARGEST_FLOAT32:.3g}; scale its intensities down."
        )
    return low, high


def check_image(image: Tensor, source: str) -> None:
    """Raise InputError as :func:`check_finite`, or if the image is constant."""
    low, high = check_finite(image, source)
    if low == high:
        raise InputError(f"{source} is constant (every voxel is {low:g}); there is nothing to register.")


def check_label(label: Tensor, source: str, names: Mapping[int, str] | None = None) -> None:
    """Raise InputError if the label map, of integers, has negative values or values not in ``names`` (None: any)."""
    if int(label.min()) < 0:
        raise InputError(f"{source} holds label {int(label.min())}; labels must not be negative.")
    values = (label.unique() if int(label.max()) > FEW else label.flatten().bincount().nonzero()).flatten()
    unknown = sorted(set(values.tolist()) - {0} - set(names)) if names is not None else []
    if unknown:
        raise InputError(f"{source} holds label {unknown[0]}, which the cohort's list of label names does not have.")


def check_same_grid(
    shape: Iterable[int], affine: np.ndarray, label_shape: Iterable[int], label_affine: np.ndarray, source: str
) -> None:
    """Raise InputError unless two grids have the same shape and every corner within 0.1 voxel."""
    shape, label_shape = tuple(shape), tuple(label_shape)
    if shape != label_shape:
        raise InputError(f"{source} has {times(label_shape)} voxels, but its image has {times(shape)}.")
    apart = corners_apart(shape, affine, label_affine)
    if not apart <= SAME_PLACE * min(spacing_of(affine, len(shape), source)):
        raise InputError(f"{source} lies up to {apart:.3g} mm away from its image: the affines differ; resample it.")


def axes_of(affine: np.ndarray) -> str:
    """The directions of the axes of a 4x4 affine in nibabel's notation ("RAS"); empty if two axes coincide."""
    import nibabel as nib

    axes = nib.aff2axcodes(affine)
    return "" if None in axes else "".join(axes)


def spacing_of(affine: np.ndarray, spatial_dims: int, source: str) -> tuple[float, ...]:
    """mm per voxel along the first axes of an affine.

    Raises:
        InputError: a spacing is zero, negative or not finite.
    """
    from monai.data.utils import affine_to_spacing

    spacing = np.asarray(affine_to_spacing(affine, suppress_zeros=False))[:spatial_dims]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise InputError(f"{source} has voxel spacing {times(spacing)} mm; every spacing must be positive.")
    return tuple(float(f"{number:.6g}") for number in spacing)  # headers hold float32
