"""ITK's transform files: composites of displacement fields and linear transforms (.h5), or one (.mat, .tfm, .txt).

A composite applies the transform that was added last to a point first. ANTs' lists of files are in the order of
application: [field, affine] is p ↦ A(p + d(p)).
"""

from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from ..basics.errors import InputError, one_line
from ..world.grid import Geometry
from ..world.physical_field import PhysicalField
from . import lps
from .hdf5 import read_hdf5, write_hdf5
from .linear import matrix
from .stored import Stored, parts, read_matlab, read_text

READERS = {".h5": read_hdf5, ".mat": read_matlab, ".tfm": read_text, ".txt": read_text}
FIELDS = (
    "DisplacementFieldTransform",
    "GaussianSmoothingOnUpdateDisplacementFieldTransform",
    "BSplineSmoothingOnUpdateDisplacementFieldTransform",
)
"""The kinds whose parameters are displacements, not velocities."""


def write(path: Path, field: PhysicalField) -> None:
    """Write a composite of the displacement and, if the field has one, its affine, in single precision."""
    origin, spacing, direction = lps.itk_grid(field.fixed)
    grid = [*field.fixed.lifted_shape, *origin, *spacing, *direction.ravel()]
    transforms = [(FIELDS[0], lps.vectors(replace(field, affine=None)).T.ravel(), np.array(grid))]
    if field.affine is not None:
        linear = lps.turn(field.affine)[:-1]
        numbers = np.concatenate([linear[:, :-1].ravel(), linear[:, -1]])
        transforms.insert(0, ("AffineTransform", numbers, np.zeros(len(linear))))
    write_hdf5(path, field.fixed.world_axes, transforms)


def read(path: Path, like: Geometry | None = None) -> PhysicalField:
    """Read a transform as one field.

    Args:
        path: .h5, .mat, .tfm or .txt.
        like: grid of the fixed image, for a transform whose first step is an affine.

    Raises:
        InputError: the file has another format or kind of transform, or a needed grid is missing.
    """
    field, leading = None, None
    for stored in reversed(_stored(path)):  # the last is applied first
        step = _displacement(stored) if stored.kind in FIELDS else lps.turn(matrix(stored))
        if isinstance(step, PhysicalField):
            before = field if leading is None else _affine_alone(path, leading, like)
            field, leading = (step if before is None else step.followed_by(before)), None
        elif field is None:
            leading = step if leading is None else step @ leading
        else:
            field = replace(field, affine=step if field.affine is None else step @ field.affine)
    if field is not None:
        return field
    if leading is None:
        raise InputError(f"{path} holds an empty transform.")
    return _affine_alone(path, leading, like)


def is_affine(path: Path) -> bool:
    """Whether a file holds affines and no field; InputError as :func:`read`."""
    return not any(stored.kind in FIELDS for stored in _stored(path))


def _stored(path: Path) -> list[Stored]:
    """Read the transforms of a file in the order in which they were added, without the enclosing composite."""
    try:
        return parts(READERS[path.suffix.lower()](path))
    except InputError:
        raise
    except Exception as error:  # h5py raises many exceptions
        raise InputError(
            f"cannot read {path} as an ITK transform: {one_line(error)}; it is damaged, or not what its ending says."
        ) from None


def _displacement(stored: Stored) -> PhysicalField:
    """Make the field of a transform; its fixed parameters are W sizes, origin, spacing and the direction (W, W)."""
    fixed, world = stored.fixed, stored.world
    if len(fixed) != 3 * world + world**2:
        raise InputError(f"its field has {len(fixed)} fixed parameters, expected {3 * world + world**2}.")
    size, (origin, spacing) = [int(number) for number in fixed[:world]], fixed[world : 3 * world].reshape(2, world)
    if size != fixed[:world].tolist() or min(size) < 1 or spacing.min() <= 0:
        raise InputError("its field's grid must have whole sizes and spacings above 0.")
    if prod(size) * world != len(stored.parameters):
        raise InputError(f"its field states {prod(size):.4g} voxels, but has {len(stored.parameters)} parameters.")
    grid = lps.from_itk_grid(size, origin.tolist(), spacing.tolist(), fixed[3 * world :].reshape(world, world))
    return lps.from_vectors(stored.parameters.reshape(*size[::-1], world).T, grid)


def _affine_alone(path: Path, affine: np.ndarray, like: Geometry | None) -> PhysicalField:
    if like is None:
        raise InputError(
            f"{path} begins with an affine, so it does not say which grid its field is for; name the fixed image "
            "with --like (invert: --fixed)."
        )
    if len(affine) - 1 != like.world_axes:
        raise InputError(f"{path} is an affine in {len(affine) - 1} dimensions, expected {like.world_axes}.")
    return replace(PhysicalField.identity(like), affine=affine)
