"""Displacement fields as vector images of ITK: .mha and .nrrd."""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, reason
from ..geometry import Geometry
from ..headers import check_direction
from ..physical import PhysicalField
from ..quiet import writing_with_itk
from . import lps


def write(path: Path, field: PhysicalField) -> None:
    """Write ``field``, with its affine folded in."""
    itk = lps.load_itk()

    image = to_itk(field)
    with writing_with_itk():
        itk.imwrite(image, str(path), compression=True)


def read(path: Path, like: Geometry | None = None) -> PhysicalField:
    """Read a field. Raises InputError where the file holds something else."""
    itk = lps.load_itk()

    try:
        io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        if io is None:
            raise InputError(f"cannot read {path} as a displacement field: it is not what its ending says.")
        io.SetFileName(str(path))
        io.ReadImageInformation()
        world, components = io.GetNumberOfDimensions(), io.GetNumberOfComponents()
        if world not in (2, 3) or components != world:
            raise InputError(
                f"{path} is an image of {world} axes with {components} component{'s'[: components != 1]} per voxel, so "
                "it is no displacement field; expected 3 components on 3 axes, or 2 on 2."
            )
        image = itk.imread(str(path), pixel_type=itk.Vector[itk.F, world])
    except RuntimeError as error:
        raise InputError(f"cannot read {path} as a displacement field: {reason(error)}.") from None
    check_direction(path)
    return from_itk(image)


def to_itk(field: PhysicalField) -> Any:
    """``field`` as an ``itk.Image`` of float vectors in LPS mm, with its affine folded in."""
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


def from_itk(image: Any) -> PhysicalField:
    """The inverse of :func:`to_itk`."""
    itk = lps.load_itk()

    size, direction = list(itk.size(image)), itk.array_from_matrix(image.GetDirection())
    grid = lps.from_itk_grid(size, list(image.GetOrigin()), list(image.GetSpacing()), direction)
    return lps.from_vectors(itk.array_view_from_image(image).T, grid)
