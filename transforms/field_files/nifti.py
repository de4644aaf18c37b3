"""Displacement fields in NIfTI files as ITK writes them: (i, j, k, 1, component), intent 1007 (vector), LPS mm."""

from pathlib import Path

import nibabel as nib
import numpy as np

from ..basics.errors import InputError, times
from ..image_files import read_voxels
from ..image_files.nifti import NiftiHeader, read_header, set_place
from ..world.grid import Geometry
from ..world.physical_field import PhysicalField
from . import lps

VECTOR, DISPLACEMENT = 1007, 1006
"""Intent codes: ITK's vectors in LPS, and the NIfTI standard's displacements in RAS, which ITK also reads."""
MAPPING = "mapping"
"""The intent name of SPM's files of positions, which have the same intent code."""
REPEATED = "one slice, repeated"
"""Description of a file that holds a slice in space three times, the middle one at its true place. ITK would read a
field that is one voxel thick as a 2-D image and lose its place."""


def write(path: Path, field: PhysicalField) -> None:
    """Write ``field`` with its affine included."""
    field = field.dense()
    lps.itk_grid(field.fixed)  # NIfTI could hold sheared axes, but other tools could not read the field
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
    """Read a field with intent 1007 or 1006; InputError if the file holds something else."""
    header = read_header(path)
    _check(header)
    header.check_direction()
    slope, intercept = header.scale
    stored = read_voxels(header)
    data = (stored if header.scale == (1, 0) else stored * slope + intercept).astype(np.float32)
    affine = header.affine
    if header.intent == DISPLACEMENT:
        data[:2] *= -1
    if header.description == REPEATED and data.shape[3] == 3:
        data = data[..., 1:2]
        affine[:3, 3] += affine[:3, 2]
    if len(data) == 2:
        affine, data = affine[[0, 1, 3]][:, [0, 1, 3]], data[..., 0]
    return lps.from_vectors(data, Geometry(lps.slice_shape(data.shape[1:]), affine))


def _check(header: NiftiHeader) -> None:
    components, plane = header.components, len(header.shape) == 3 and header.shape[2] == 1
    if not (components == 3 or (components == 2 and plane)) or header.intent not in (VECTOR, DISPLACEMENT):
        found = header.sizes if components == 1 else (*header.shape, 1, components)
        raise InputError(
            f"{header.path} has {times(found)} values with intent code {header.intent}, so it is not a displacement "
            "field of ITK or ANTs; expected ...x1x3 (2-D: ...x1x1x2) with intent code 1007."
        )
    if header.intent_name.lower() == MAPPING:
        raise InputError(
            f"{header.path} holds positions (an SPM mapping), expected displacements; convert it with SPM."
        )
