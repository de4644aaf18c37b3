"""Displacement fields in the files of other tools.

| file | what it holds | read and written by |
|---|---|---|
| .nii, .nii.gz | 5-D vector image, intent 1007, LPS mm | ITK, ANTs, Slicer |
| .mha, .nrrd | vector image, LPS mm | ITK, ANTs, Slicer, elastix |
| .mhd | the same, its voxels in a file beside it; read only | ITK, elastix |
| .h5 | composite transform: fields and linear transforms, any chain of them | ITK, ANTs, Slicer |
| .npz | voxels of the fixed grid, ``vol`` (and here ``affine``) | VoxelMorph |
| .mat, .tfm, .txt | a linear transform, or text of a composite; read only | ITK, ANTs, c3d, ITK-SNAP, Slicer |

The first two have no room for an affine: it is folded into the field. Everywhere else in the project a field is in
voxels of its grid and the world is RAS; LPS and vectors in mm exist in this package only (and the LPS of image files
in their headers).
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..basics.atomic import write_atomically
from ..basics.errors import InputError, naming

if TYPE_CHECKING:
    from ..world.grid import Geometry
    from ..world.physical_field import PhysicalField

WRITERS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".mha": "itk_images",
    ".nrrd": "itk_images",
    ".h5": "itk_transforms",
    ".npz": "voxelmorph",
}
READERS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    **dict.fromkeys((".mha", ".mhd", ".nrrd"), "itk_images"),
    **dict.fromkeys((".h5", ".mat", ".tfm", ".txt"), "itk_transforms"),
    ".npz": "voxelmorph",
}
"""The module for each ending, loaded where it is needed: with torch it takes seconds."""


def read_field(path: Path | str, like: Geometry | None = None) -> PhysicalField:
    """Read a displacement field.

    Args:
        path: one of the files above.
        like: the fixed image's grid, for files that do not say theirs: VoxelMorph's, and transforms whose first step
            is an affine. Other files keep their own grid; compare it with the one you expect.

    Raises:
        InputError: missing, unknown format, damaged, not a displacement field, without direction cosines or (where
            one is needed) without a grid, or with NaN.
    """
    path = Path(path)
    check_readable(path)
    with naming(path):
        field: PhysicalField = _module(path).read(path, like)
    if not field.displacement.isfinite().all():
        raise InputError(f"{path} holds NaN or infinite displacements; every one must be a finite number.")
    return field


def is_affine(path: Path) -> bool:
    """Whether a file that :func:`read_field` reads holds an affine alone, which holds on any grid."""
    check_readable(path)
    with naming(path):
        return READERS[file_type(path, READERS)] == "itk_transforms" and _module(path).is_affine(path)


def write_field(path: Path | str, field: PhysicalField) -> Path:
    """Write a displacement field, atomically; the format is that of the file's name.

    Raises:
        InputError: unknown format, a sheared grid, which these formats cannot hold, or the folder cannot be written.
    """
    path = Path(path)
    suffix = file_type(path, WRITERS)
    with naming(path, "cannot write "):
        return write_atomically(path, lambda temporary: _module(path).write(temporary, field), suffix)


def check_readable(path: Path) -> None:
    """Raise InputError unless ``path`` has an ending of :func:`read_field`, and there is such a file."""
    file_type(path, READERS)
    if not path.is_file():
        raise InputError(f"{path} does not exist.")


def _module(path: Path) -> Any:
    return import_module(f".{READERS[file_type(path, READERS)]}", __name__)


def file_type(path: Path, known: dict) -> str:
    """The ending of ``path``, lower case, that is in ``known``; InputError if none is."""
    suffix = next((suffix for suffix in known if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{path} has none of the endings of displacement fields: {', '.join(known)}.")
    return suffix
