"""Read and write displacement fields in the file formats of other tools.

| file | content | used by |
|---|---|---|
| .nii, .nii.gz | 5-D vector image, intent 1007, LPS mm | ITK, ANTs, Slicer |
| .mha, .nrrd | vector image, LPS mm | ITK, ANTs, Slicer, elastix |
| .mhd | the same with voxels in a second file; read only | ITK, elastix |
| .h5 | composite transform: any chain of fields and linear transforms | ITK, ANTs, Slicer |
| .npz | array ``vol`` in voxels of the fixed grid (and our ``affine``) | VoxelMorph |
| .mat, .tfm, .txt | a linear transform, or a composite as text; read only | ITK, ANTs, c3d, ITK-SNAP, Slicer |

Image formats (.nii, .mha, .nrrd) cannot hold an affine; it is included in the field. Everywhere else in the project, a
field is in voxels of its grid and the world is RAS. LPS and vectors in mm exist only in this package, and in the
headers of image files.
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
"""The module for each ending. It is loaded on first use, because torch takes seconds."""


def read_field(path: Path | str, like: Geometry | None = None) -> PhysicalField:
    """Read a displacement field.

    Args:
        path: a file of one of the formats above.
        like: grid of the fixed image, for files without one: VoxelMorph's, and transforms whose first step is an
            affine. Other files keep their own grid; compare it with the one you expect.

    Raises:
        InputError: the file is missing or damaged, its format is unknown, it is not a displacement field, it has no
            direction cosines, a needed grid is missing, or it holds NaN.
    """
    path = Path(path)
    check_readable(path)
    with naming(path):
        field: PhysicalField = _module(path).read(path, like)
    if not field.displacement.isfinite().all():
        raise InputError(f"{path} holds NaN or infinite displacements; every one must be a finite number.")
    return field


def is_affine(path: Path) -> bool:
    """Whether a file that :func:`read_field` reads holds only an affine, which is valid on any grid."""
    check_readable(path)
    with naming(path):
        return READERS[file_type(path, READERS)] == "itk_transforms" and _module(path).is_affine(path)


def write_field(path: Path | str, field: PhysicalField) -> Path:
    """Write a displacement field atomically; the ending of the name selects the format.

    Raises:
        InputError: the format is unknown or cannot hold the field (a sheared grid), or the folder cannot be written.
    """
    path = Path(path)
    suffix = file_type(path, WRITERS)
    with naming(path, "cannot write "):
        return write_atomically(path, lambda temporary: _module(path).write(temporary, field), suffix)


def check_readable(path: Path) -> None:
    """Raise InputError unless ``path`` exists and has an ending that :func:`read_field` knows."""
    file_type(path, READERS)
    if not path.is_file():
        raise InputError(f"{path} does not exist.")


def _module(path: Path) -> Any:
    return import_module(f".{READERS[file_type(path, READERS)]}", __name__)


def file_type(path: Path, known: dict) -> str:
    """Return the ending of ``path`` that is in ``known``, in lower case; InputError if there is none."""
    suffix = next((suffix for suffix in known if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{path} has none of the endings of displacement fields: {', '.join(known)}.")
    return suffix
