"""Compute the matrices of ITK's linear transforms with ITK itself."""

from typing import Any

import numpy as np

from ..basics.errors import InputError, reason
from . import lps
from .stored import Stored

ANY = (
    "Affine", "CenteredAffine", "FixedCenterOfRotationAffine", "Identity", "ScalableAffine", "Scale",
    "ScaleLogarithmic", "Translation",
)  # fmt: skip
PLANAR = ("CenteredRigid2D", "CenteredSimilarity2D", "Euler2D", "Rigid2D", "Similarity2D")
SPATIAL = (
    "CenteredEuler3D", "ComposeScaleSkewVersor3D", "Euler3D", "QuaternionRigid", "Rigid3D", "ScaleSkewVersor3D",
    "ScaleVersor3D", "Similarity3D", "Versor", "VersorRigid3D",
)  # fmt: skip
LINEAR = {
    **{f"{name}Transform": (2, 3) for name in ANY},
    **{f"{name}Transform": (2,) for name in PLANAR},
    **{f"{name}Transform": (3,) for name in SPATIAL},
    "MatrixOffsetTransformBase": (2, 3),
}
"""The kinds of linear transforms, and the dimensions that each exists in."""
LARGEST = 1e9
"""Largest number of an affine in mm; anything larger cannot be a place in a body."""


def matrix(stored: Stored) -> np.ndarray:
    """Compute the affine (W + 1, W + 1) of a linear transform in LPS mm.

    Raises:
        InputError: the transform is of another kind, has a wrong number of parameters, or has no inverse.
    """
    kind, world = stored.kind, stored.world
    if world not in LINEAR.get(kind, ()):
        raise InputError(
            f"it holds a {kind} in {world} dimensions; expected displacement fields and linear transforms: make a "
            "displacement field of it with ITK's TransformToDisplacementFieldFilter."
        )
    transform = _new(kind, world)
    expected, fixed = transform.GetNumberOfParameters(), transform.GetNumberOfFixedParameters()
    if len(stored.parameters) != expected or len(stored.fixed) not in {fixed, min(fixed, world)}:  # Euler3D had no 4th
        raise InputError(
            f"its {kind} has {len(stored.parameters)} parameters and {len(stored.fixed)} fixed ones, expected "
            f"{expected} and {fixed}."
        )
    try:
        transform.SetFixedParameters(_vector(stored.fixed))
        transform.SetParameters(_vector(stored.parameters))
    except RuntimeError as error:  # such as a Rigid3D that is not a rotation
        raise InputError(f"its {kind} is invalid: {reason(error)}.") from None
    found = np.eye(world + 1)
    found[:-1, -1] = np.array(transform.TransformPoint([0.0] * world))
    for axis, unit in enumerate(np.eye(world).tolist()):
        found[:-1, axis] = np.array(transform.TransformPoint(unit)) - found[:-1, -1]
    if not np.abs(found).max() < LARGEST or abs(np.linalg.det(found)) < 1e-12:
        raise InputError(f"its {kind} maps the world onto a plane, or far away; expected one that can be inverted.")
    return found


def _new(kind: str, world: int) -> Any:
    itk = lps.load_itk()
    if kind == "MatrixOffsetTransformBase":
        return itk.MatrixOffsetTransformBase[itk.D, world, world].New()
    template = getattr(itk, kind)
    return (template[itk.D] if len(LINEAR[kind]) == 1 else template[itk.D, world]).New()


def _vector(numbers: np.ndarray) -> Any:
    itk = lps.load_itk()
    return itk.OptimizerParameters[itk.D](numbers.astype(float).tolist())
