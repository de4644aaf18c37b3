"""Displacement fields as ITK's vector images: .mha, .nrrd, and .mhd (read only)."""

from pathlib import Path
from typing import Any

import numpy as np

from ..basics.errors import InputError
from ..basics.quiet import writing_with_itk
from ..image_files import read_header, read_voxels
from ..world.grid import Geometry
from ..world.physical_field import PhysicalField
from . import lps


def write(path: Path, field: PhysicalField) -> None:
    """Write ``field`` with its affine included."""
    itk = lps.load_itk()
    image = to_itk(field)
    with writing_with_itk():
        itk.imwrite(image, str(path), compression=True)


def read(path: Path, like: Geometry | None = None) -> PhysicalField:
    """Read a field; InputError if the file holds something else."""
    header = read_header(path)
    world, components = len(header.shape), header.components
    if world not in (2, 3) or components != world:
        raise InputError(
            f"{path} is an image of {world} axes with {components} component{'s'[: components != 1]} per voxel, so "
            "it is not a displacement field; expected 3 components on 3 axes, or 2 on 2."
        )
    header.check_direction()
    if header.unframed:
        raise InputError(
            f"{path}: {header.unframed}, and tools interpret its vectors differently; write the field in "
            "left-posterior-superior."
        )
    return lps.from_vectors(read_voxels(header), Geometry(lps.slice_shape(header.shape), header.affine))


def to_itk(field: PhysicalField) -> Any:
    """Convert ``field``, with its affine included, to an ``itk.Image`` of float vectors in LPS mm."""
    itk = lps.load_itk()
    field = field.dense()
    origin, spacing, direction = lps.itk_grid(field.fixed)
    world = field.fixed.world_axes
    data = np.ascontiguousarray(lps.vectors(field).T)  # k, j, i, component
    image = itk.image_from_array(data, ttype=(itk.Image[itk.Vector[itk.F, world], world],))
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image
