"""Displacement fields in NIfTI files: (i, j, k, 1, component) with intent 1007 (vector), LPS mm, as ITK writes them."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import InputError, reason, times
from ..geometry import Geometry
from ..headers import check_direction, check_gzip, check_place, set_place
from ..physical import PhysicalField
from . import lps

VECTOR, DISPLACEMENT = 1007, 1006
"""Intent codes: ITK's vectors in LPS, and the NIfTI standard's displacements in RAS, which ITK reads, too."""
MAPPING = "mapping"
"""The intent name by which SPM marks positions, under the same intent code."""
REPEATED = "one slice, repeated"
"""A slice in space is written three times, the middle one in its place, with this description: ITK takes a field that
is one voxel thick for a 2-D image and loses where it lies."""


def write(path: Path, field: PhysicalField) -> None:
    """Write ``field``, with its affine folded in."""
    field = field.dense()
    lps.itk_grid(field.fixed)  # NIfTI could hold sheared axes, but nobody could read the field
    data, affine = np.moveaxis(lps.vectors(field), 0, -1), field.fixed.affine_4x4
    world, repeated = field.fixed.world_axes, field.fixed.axes < field.fixed.world_axes
    if repeated:
        data = np.repeat(data, 3, axis=2)
        affine[:3, 3] -= affine[:3, 2]
    image = nib.Nifti1Image(data.reshape(*data.shape[:-1], *[1] * (5 - data.ndim), world), affine)
    image.header.set_intent(VECTOR)
    image.header["descrip"] = REPEATED if repeated else ""
    set_place(image, affine)
    nib.save(image, path)


def read(path: Path, like: Geometry | None = None) -> PhysicalField:
    """Read a field; intent 1006 as well. Raises InputError where the file holds something else."""
    try:
        if path.name.lower().endswith(".gz"):
            check_gzip(path)
        image: Any = nib.load(path)
        header = image.header
        _check(path, header)
        data = np.asarray(image.dataobj, dtype=np.float32)[:, :, :, 0]
    except InputError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is truncated or damaged ({reason(error)}); copy or download it again.") from None
    except Exception as error:  # nibabel raises what it likes
        raise InputError(f"cannot read {path} as a displacement field: {reason(error)}.") from None
    check_direction(path)
    check_place(image, path)
    affine, data = np.array(image.affine), np.moveaxis(data, -1, 0)
    if int(header["intent_code"]) == DISPLACEMENT:
        data[:2] *= -1
    if header["descrip"].item().decode("latin-1") == REPEATED and data.shape[3] == 3:
        data = data[..., 1:2]
        affine[:3, 3] += affine[:3, 2]
    if len(data) == 2:
        affine, data = affine[[0, 1, 3]][:, [0, 1, 3]], data[..., 0]
    return lps.from_vectors(data, Geometry(lps.slice_shape(data.shape[1:]), affine))


def _check(path: Path, header: Any) -> None:
    shape, intent = header.get_data_shape(), int(header["intent_code"])
    fits = len(shape) == 5 and shape[3] == 1 and (shape[4] == 3 or (shape[4] == 2 and shape[2] == 1))
    if not fits or intent not in (VECTOR, DISPLACEMENT) or header.get_data_dtype().kind not in "iuf":
        raise InputError(
            f"{path} has {times(shape)} values with intent code {intent}, so it is no displacement field of ITK or "
            "ANTs; expected ...x1x3 (2-D: ...x1x1x2) with intent code 1007."
        )
    if header["intent_name"].item().decode("latin-1").lower() == MAPPING:
        raise InputError(f"{path} holds positions (a mapping of SPM's), expected displacements; convert it with SPM.")
