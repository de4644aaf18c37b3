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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..basics.atomic import write_atomically
from ..basics.errors import InputError
from ..world.grid import Geometry
from ..world.physical_field import PhysicalField
from . import itk_images, itk_transforms, nifti, voxelmorph

WRITERS = {
    ".nii": nifti.write,
    ".nii.gz": nifti.write,
    ".mha": itk_images.write,
    ".nrrd": itk_images.write,
    ".h5": itk_transforms.write,
    ".npz": voxelmorph.write,
}
READERS = {
    ".nii": nifti.read,
    ".nii.gz": nifti.read,
    **dict.fromkeys((".mha", ".mhd", ".nrrd"), itk_images.read),
    **dict.fromkeys((".h5", ".mat", ".tfm", ".txt"), itk_transforms.read),
    ".npz": voxelmorph.read,
}


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
    read = _reader(path)
    with _naming(path):
        field = read(path, like)
    if not torch.isfinite(field.displacement).all():
        raise InputError(f"{path} holds NaN or infinite displacements; every one must be a finite number.")
    return field


def is_affine(path: Path) -> bool:
    """Whether a file that :func:`read_field` reads holds an affine alone, which holds on any grid."""
    with _naming(path):
        return _reader(path) is itk_transforms.read and itk_transforms.is_affine(path)


def write_field(path: Path | str, field: PhysicalField) -> Path:
    """Write a displacement field, atomically; the format is that of the file's name.

    Raises:
        InputError: unknown format, a sheared grid, which these formats cannot hold, or the folder cannot be written.
    """
    path = Path(path)
    suffix = file_type(path, WRITERS)
    try:
        return write_atomically(path, lambda temporary: WRITERS[suffix](temporary, field), suffix)
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"cannot write {path}: {error}") from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file before an InputError that does not name it."""
    try:
        yield
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None


def _reader(path: Path) -> Callable[[Path, Geometry | None], PhysicalField]:
    suffix = file_type(path, READERS)
    if not path.is_file():
        raise InputError(f"{path} does not exist.")
    return READERS[suffix]


def file_type(path: Path, known: dict) -> str:
    """The ending of ``path``, lower case, that is in ``known``; InputError if none is."""
    suffix = next((suffix for suffix in known if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{path} has none of the endings of displacement fields: {', '.join(known)}.")
    return suffix
