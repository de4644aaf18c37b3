"""Transforms of ITK: composites of displacement fields and affines (.h5), and affines alone (.mat, .tfm, .txt).

A composite applies to a point first the transform that was added last. ANTs' lists of files name first what is applied
first: [field, affine] is p ↦ A(p + d(p)).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, reason
from ..geometry import Geometry
from ..headers import check_hdf5
from ..physical import PhysicalField
from . import lps
from .itk_images import to_itk


def write(path: Path, field: PhysicalField) -> None:
    """Write a composite of the affine, if the field has one, and the displacement, in single precision."""
    itk = lps.load_itk()

    world = field.fixed.world_axes
    composite = itk.CompositeTransform[itk.F, world].New()
    if field.affine is not None:
        matrix = lps.turn(field.affine)[:-1]
        numbers = np.concatenate([matrix[:, :-1].ravel(), matrix[:, -1]])
        affine = itk.AffineTransform[itk.F, world].New()
        affine.SetParameters(itk.OptimizerParameters[itk.F](numbers.tolist()))
        composite.AddTransform(affine)
    displacement = itk.DisplacementFieldTransform[itk.F, world].New()
    displacement.SetDisplacementField(to_itk(replace(field, affine=None)))
    composite.AddTransform(displacement)
    writer = itk.TransformFileWriterTemplate[itk.F].New()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.SetInput(composite)
    try:
        writer.Update()
    except RuntimeError as error:
        raise OSError(reason(error)) from None


def read(path: Path, like: Geometry | None = None) -> PhysicalField:
    """Read a transform as one field.

    Args:
        path: .h5, .mat, .tfm or .txt.
        like: the fixed image's grid, for a transform whose first step is an affine.

    Raises:
        InputError: not such a file, a transform of another kind, or no grid.
    """
    field, leading = None, None
    for step in _steps(path):
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
    """Whether a file holds affines and no field. Raises InputError as :func:`read`."""
    return not any(isinstance(step, PhysicalField) for step in _steps(path))


def _steps(path: Path) -> list[PhysicalField | np.ndarray]:
    """The fields and affines of a file, in the order in which they are applied."""
    itk = lps.load_itk()

    if path.suffix.lower() == ".h5":
        check_hdf5(path)
    try:
        transforms = itk.transformread(str(path))
    except RuntimeError as error:
        said = reason(error)
        if "Transform IO" in said:  # which of ITK's readers gave up, not why
            said = "it is damaged, or not what its ending says"
        raise InputError(f"cannot read {path} as a transform of ITK: {said}.") from None
    if len(transforms) != 1:
        raise InputError(f"{path} holds {len(transforms)} transforms, expected one, or one composite of them.")
    return [_step(path, transform) for transform in reversed(list(_parts(transforms[0])))]  # the last is applied first


def _parts(transform: Any) -> Iterator[Any]:
    """The transforms in a composite, those in inner composites included, in the order in which they were added."""
    itk = lps.load_itk()

    transform = itk.down_cast(transform)
    if not hasattr(transform, "GetNthTransform"):
        yield transform
        return
    for index in range(transform.GetNumberOfTransforms()):
        yield from _parts(transform.GetNthTransform(index))


def _step(path: Path, transform: Any) -> PhysicalField | np.ndarray:
    """A displacement field, or the affine (W + 1, W + 1) in RAS of any linear transform."""
    if hasattr(transform, "GetDisplacementField"):
        return _displacement(transform)
    world = transform.GetInputSpaceDimension()
    if not transform.IsLinear():
        raise InputError(
            f"{path} holds a {type(transform).__name__.removeprefix('itk')}; expected displacement fields and affine "
            "transforms: make a displacement field of it with ITK's TransformToDisplacementFieldFilter."
        )
    matrix = np.eye(world + 1)
    matrix[:-1, -1] = np.array(transform.TransformPoint([0.0] * world))
    for axis in range(world):
        unit = [float(other == axis) for other in range(world)]
        matrix[:-1, axis] = np.array(transform.TransformPoint(unit)) - matrix[:-1, -1]
    return lps.turn(matrix)


def _displacement(transform: Any) -> PhysicalField:
    itk = lps.load_itk()

    fixed = np.array(list(transform.GetFixedParameters()))
    world = transform.GetInputSpaceDimension()
    size, origin, spacing = fixed[: 3 * world].reshape(3, world)
    grid = lps.from_itk_grid(
        size.astype(int).tolist(), origin.tolist(), spacing.tolist(), fixed[3 * world :].reshape(world, world)
    )
    data = itk.array_view_from_vnl_vector(transform.GetParameters())
    return lps.from_vectors(data.reshape(*size.astype(int)[::-1], world).T, grid)


def _affine_alone(path: Path, affine: np.ndarray, like: Geometry | None) -> PhysicalField:
    if like is None:
        raise InputError(
            f"{path} begins with an affine, so it does not say which grid its field is for; name the fixed image, "
            "with --like (invert: --fixed)."
        )
    if len(affine) - 1 != like.world_axes:
        raise InputError(f"{path} is an affine in {len(affine) - 1} dimensions, expected {like.world_axes}.")
    return replace(PhysicalField.identity(like), affine=affine)
