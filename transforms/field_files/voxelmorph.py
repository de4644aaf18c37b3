"""VoxelMorph's displacement files: .npz, in voxels of the fixed grid.

``voxelmorph.py.utils.save_volfile`` writes one array ``vol``. PyTorch scripts put the components first, TensorFlow
scripts last. As here, warped(x) = moving(x + u(x)); moving and fixed image share one grid. VoxelMorph's files do not
say where that grid lies. Ours do, in a second array ``affine``, which VoxelMorph ignores.
"""

from pathlib import Path

import numpy as np
import torch

from ..basics.errors import InputError, reason, times
from ..basics.npz import read_npz
from ..world.grid import Geometry
from ..world.physical_field import PhysicalField


def write(path: Path, field: PhysicalField) -> None:
    """Write ``vol``, components first, including the field's affine, and the grid's ``affine`` (voxels -> RAS mm)."""
    field = field.dense()
    np.savez_compressed(path, vol=field.displacement.numpy(), affine=field.fixed.affine)


def read(path: Path, like: Geometry | None = None) -> PhysicalField:
    """Read a displacement field.

    Args:
        path: an .npz file.
        like: the grid of the fixed and moving image; not needed if the file has ``affine``.

    Raises:
        InputError: the file is not such a file, or not on the grid of ``like``.
    """
    arrays = _arrays(path)
    affine = arrays.pop("affine", None)
    if affine is not None and (affine.dtype.kind not in "iuf" or affine.ndim != 2):
        raise InputError(
            f"{path} has an affine that is {times(affine.shape) or 'one'} {affine.dtype}; expected 3x3 or 4x4 numbers, "
            "voxels to RAS mm."
        )
    warp = arrays.get("vol") if len(arrays) != 1 else next(iter(arrays.values()))
    if warp is None or warp.dtype.kind != "f" or warp.ndim not in (3, 4):
        found = ", ".join(f"{name} {times(array.shape)} {array.dtype}" for name, array in arrays.items()) or "nothing"
        raise InputError(f"{path} holds {found}; expected a VoxelMorph warp: one array vol of D x spatial numbers.")
    if affine is None and like is None:
        raise InputError(
            f"{path} is a VoxelMorph warp, which does not say where its grid lies; name the fixed image with --like."
        )
    warp = _components_first(path, warp, like.shape if like is not None else None)
    grid = Geometry(warp.shape[1:], affine) if affine is not None else like
    assert grid is not None
    return PhysicalField(torch.from_numpy(np.ascontiguousarray(warp)), grid)


def shares_one_grid(path: Path) -> bool:
    """Whether the moving image must be on the fixed grid: VoxelMorph's own files know voxels but no world."""
    return path.suffix.lower() == ".npz" and "affine" not in _arrays(path, ("affine",))


def _arrays(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    try:
        return read_npz(path, names)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} as a VoxelMorph warp: {reason(error)}.") from None


def _components_first(path: Path, warp: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """Return the field as (D, *spatial), in whichever order it is stored."""
    axes = warp.ndim - 1
    last = np.moveaxis(warp, -1, 0)
    fitting = [way for way in (warp, last) if len(way) == axes and shape in (None, way.shape[1:])]
    if not fitting:
        expected = "D x spatial" if shape is None else f"{axes}x{times(shape)}"
        raise InputError(
            f"{path} holds a warp of {times(warp.shape)} numbers, expected {expected}: it is for another grid than "
            "that of the fixed image."
        )
    return fitting[0]
