"""Reading and writing of image files with their position in the world, for any orientation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.basics.errors import InputError, naming, reason, times
from ...transforms.basics.quiet import writing_with_itk
from ...transforms.field_files import lps
from ...transforms.world.grid import Geometry
from ..files.text import write_atomically
from .dicom import is_dicom
from .reading import check_finite, check_image, check_image_file, image_header, load_file

if TYPE_CHECKING:
    from torch import Tensor

WRITTEN = (".nii", ".nii.gz", ".mha", ".nrrd")
FARTHER_ON, LABELS_ALIKE = 1 / 24, 0.2
"""A label map is recognized by voxels that equal those 1/24 of the axis away; their fraction exceeds 0.2."""


@dataclass(frozen=True)
class Volume:
    """An image: a volume, a slice in space (160x192x1 voxels) or a true 2-D image."""

    path: Path
    values: Tensor
    """(1, *grid.shape) float64, or int64 of a label map."""
    grid: Geometry

    @property
    def looks_like_labels(self) -> bool:
        """Whether all values are integers from 0 on, and many foreground voxels equal a voxel at a fixed distance.

        The distance is a fraction of the image size, so that nearest-neighbour upsampling, which repeats voxels, does
        not change the result. In 8-bit images (hippocampi of the Medical Segmentation Decathlon, Neurite-OASIS slices),
        1 to 7 % of the voxels are equal; in their label maps, 33 to 73 %, also after repeating voxels up to four times.
        """
        values = self.values
        if not bool((values >= 0).all() and (values == values.round()).all()):
            return False
        background, alike, pairs = values.flatten().mode().values, 0, 0
        for axis in range(1, values.ndim):
            length = values.shape[axis]
            step = max(1, round(length * FARTHER_ON))
            one, other = values.narrow(axis, step, length - step), values.narrow(axis, 0, length - step)
            seen = (one != background) | (other != background)
            alike, pairs = alike + int(((one == other) & seen).sum()), pairs + int(seen.sum())
        return alike > pairs * LABELS_ALIKE


def read_volume(path: Path, labels: bool = False, constant: bool = False) -> Volume:
    """Read an image or a label map.

    Args:
        path: the file.
        labels: whether it is a label map.
        constant: whether the image may be constant, such as a mask of the field of view that is only warped.

    Raises:
        InputError: the file cannot be read, has no direction cosines or is not one image with 2 or 3 axes; an image
            has NaN or is constant; a label map has values that are not integers.
    """
    volume = _read(path, labels)
    if not labels:
        check = check_finite if constant else check_image
        check(volume.values, str(path))
    return volume


def read_grid(path: Path) -> Geometry:
    """The grid of an image file; its voxels are not checked. Errors are those of :func:`read_volume`."""
    return _read(path).grid


def _read(path: Path, labels: bool = False) -> Volume:
    from monai.data.utils import to_affine_nd

    check_headers([path])
    loaded, affine = load_file(path, labels)
    shape = tuple(loaded.shape)
    while len(shape) > max(len(affine) - 1, 2) and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2 and len(affine) == 4 and _is_truly_2d(loaded, affine):
        affine = to_affine_nd(2, affine)
    if len(shape) not in (2, 3) or len(shape) > len(affine) - 1:
        raise InputError(f"{path} has {times(loaded.shape)} values, expected one image of 2 or 3 axes.")
    with naming(path):
        grid = Geometry(lps.slice_shape(shape), affine)
    return Volume(path, loaded.reshape(1, *grid.shape), grid)


def check_headers(paths: Iterable[Path | None]) -> None:
    """Raise InputError if a file is missing or its header shows that :func:`read_volume` cannot read it."""
    files = [path for path in paths if path is not None and not is_dicom(path)]
    for path in files:
        check_image_file(path)
    for path in files:
        image_header(path).check_direction()


def stored_type(path: Path) -> np.dtype:
    """The dtype of a file's voxels: float32 if they are scaled, int32 for DICOM."""
    return np.dtype(np.int32) if is_dicom(path) else image_header(path).value_type


def write_volume(path: Path, values: np.ndarray, grid: Geometry) -> Path:
    """Write an image (*grid.shape) with its dtype; .mha and .nrrd store 64-bit integers as unsigned.

    Raises:
        InputError: the format is unknown or cannot store the dtype or the grid, or the folder cannot be written.
    """
    suffix = next((suffix for suffix in WRITTEN if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{path} is not one of the image formats that can be written: {', '.join(WRITTEN)}.")
    values = values.astype(np.uint8) if values.dtype == bool else values
    save = _save_nifti if suffix.startswith(".nii") else _save_itk
    try:
        return write_atomically(
            path, lambda temporary: save(temporary, values.reshape(grid.lifted_shape), grid), suffix
        )
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"cannot write {path}: {error}") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot write {path} with voxels of type {values.dtype}: {reason(error)}; choose another format."
        ) from None


def _is_truly_2d(loaded: Tensor, affine: np.ndarray) -> bool:
    """Whether ITK treats a NIfTI file as 2-D: it has two axes, which span the x-y plane."""
    return loaded.ndim == 2 and not np.any(affine[2, :2]) and abs(np.linalg.det(affine[:2, :2])) > 0


def _save_nifti(path: Path, values: np.ndarray, grid: Geometry) -> None:
    import nibabel as nib

    from ...transforms.image_files.nifti import set_place

    image = nib.Nifti1Image(values, grid.affine_4x4, dtype=values.dtype)
    set_place(image, grid.affine_4x4)
    nib.save(image, path)


def _save_itk(path: Path, values: np.ndarray, grid: Geometry) -> None:
    itk = lps.load_itk()
    origin, spacing, direction = lps.itk_grid(grid)
    kind = None
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:  # ITK's Python package writes only unsigned 64 bits
        if (lowest := int(values.min(initial=0))) < 0:
            raise InputError(f"it would hold {lowest}, but stores no negative 64-bit integers; choose .nii.gz.")
        values, kind = values.astype(np.uint64), itk.Image[itk.ULL, values.ndim]
    image = itk.image_from_array(np.ascontiguousarray(values.T), ttype=kind)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    with writing_with_itk():
        itk.imwrite(image, str(path), compression=True)
