"""The positions of two images in the world (RAS mm): their overlap, and resampling one on the other's grid."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...transforms import Geometry, InputError
from .volumes import Volume

COARSER = 1.5
"""An image is smoothed before it is resampled to voxels larger by more than this factor."""


def frame(grid: Geometry) -> np.ndarray:
    """The 4x4 matrix from mm along the axes of the grid to world mm."""
    return grid.affine_4x4 @ np.diag([*(1 / np.array(grid.spacing)), *[1] * (4 - grid.axes)])


def to_world(grid: Geometry, voxel: np.ndarray) -> np.ndarray:
    """The world coordinates (3,) of a point with voxel coordinates (D,)."""
    return (grid.affine_4x4 @ [*voxel, *[0] * (3 - len(voxel)), 1])[:3]


def normal(grid: Geometry) -> np.ndarray:
    """The unit normal, in the world, of the plane of the first two axes."""
    across = np.cross(grid.affine_4x4[:3, 0], grid.affine_4x4[:3, 1])
    return across / np.linalg.norm(across)


def centre(grid: Geometry) -> np.ndarray:
    """The world coordinates of the centre of the grid."""
    return to_world(grid, (np.array(grid.shape) - 1) / 2)


def centre_of_mass(volume: Volume) -> np.ndarray:
    """The world coordinates of the centre of mass; a voxel's mass is its intensity minus the minimum."""
    image = volume.values[0].double().numpy()
    return to_world(volume.grid, np.array(ndimage.center_of_mass(image - image.min())))


def check_planes(fixed: Volume, moving: Volume) -> None:
    """Raise InputError if one image is 2-D and the other 3-D, or both are slices of different planes."""
    if fixed.grid.axes != moving.grid.axes:
        axes = f"{moving.grid.axes}-D and {fixed.path} {fixed.grid.axes}-D"
        raise InputError(f"{moving.path} is {axes}; both must have the same number of axes.")
    if in_different_planes(fixed.grid, moving.grid):
        raise InputError(
            f"{moving.path} and {fixed.path} are slices of different planes, as their affines say; "
            "a 2-D registration needs two slices of one plane."
        )


def in_different_planes(one: Geometry, other: Geometry) -> bool:
    """Whether both are grids of slices, which are not parallel."""
    both = one.axes == other.axes == 2
    return both and abs(float(normal(one) @ normal(other))) < np.cos(np.deg2rad(0.5))


def overlap(fixed: Geometry, moving: Geometry, transform: np.ndarray) -> float:
    """The fraction (0 to 1) of the smaller field of view that lies in the other one under the 4x4 ``transform``."""
    points = np.stack(np.meshgrid(*[np.linspace(0, length - 1, 12) for length in fixed.shape], indexing="ij"), axis=-1)
    axes = fixed.axes
    to_moving = np.linalg.inv(moving.affine_4x4) @ transform @ fixed.affine_4x4
    mapped = points.reshape(-1, axes) @ to_moving[:axes, :axes].T + to_moving[:axes, 3]
    inside = ((mapped >= -0.5) & (mapped <= np.array(moving.shape) - 0.5)).all(axis=1).mean()
    voxels = np.prod(moving.shape) / np.prod(fixed.shape) / abs(np.linalg.det(to_moving[:axes, :axes]))
    return min(1.0, float(inside) / min(1.0, float(voxels)))


def in_voxels(to_moving: np.ndarray, size: Sequence[int], whole: bool) -> np.ndarray:
    """The part (D + 1, D + 1) of a 4x4 voxel map: for slices, without the third axis.

    If the map permutes and shifts axes apart from rounding errors, it is made exact, so that voxels are copied instead
    of interpolated. With ``whole``, the shift is then always rounded to whole voxels.
    """
    axes = len(size)
    kept = [*range(axes), 3]
    matrix = to_moving[np.ix_(kept, kept)]
    linear, shift = matrix[:axes, :axes], matrix[:axes, axes]
    whole_steps = linear.round()
    if np.abs((linear - whole_steps) * size).max() < 0.01 and abs(round(np.linalg.det(whole_steps))) == 1:
        linear[:] = whole_steps
        if whole or np.abs(shift - shift.round()).max() < 0.01:
            shift[:] = np.floor(shift + 0.5)
    return matrix


def resample(image: Tensor, matrix: np.ndarray, size: Sequence[int], order: int) -> Tensor:
    """Resample an image (1, *spatial) on another grid: ``new(x) = image(matrix x)``, 0 outside.

    Args:
        image: the image; its dtype is kept.
        matrix: (D + 1, D + 1), voxels of the new grid -> voxels of the image.
        size: size of the new grid.
        order: 1 for linear interpolation, with smoothing before if the new voxels are much larger; 0 for nearest.

    Returns:
        (1, *size).
    """
    if not order and int(image.max()) > 2**53:  # SciPy would round such labels: resample their indices instead
        values, numbers = torch.cat([image.new_zeros(1), image.flatten()]).unique(return_inverse=True)
        return values[numbers[0] + resample((numbers[1:] - numbers[0]).view_as(image), matrix, size, order)]
    axes = len(size)
    linear, shift = matrix[:axes, :axes], matrix[:axes, axes]
    voxels = np.asarray(image[0])
    steps = np.linalg.norm(linear, axis=1)  # new voxel size in voxels of the image, along each axis
    if order and steps.max() > COARSER:
        voxels = ndimage.gaussian_filter(voxels, np.maximum(steps - 1, 0) / 2)  # as scikit-image before downsampling
    offset: Any = shift  # SciPy accepts one value per axis, although its type says float
    placed = ndimage.affine_transform(voxels, linear, offset, tuple(size), order=order, mode="grid-constant")
    return torch.from_numpy(placed)[None]
