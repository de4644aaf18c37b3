"""Images with their place in the world (RAS mm, as MONAI's): how far two overlap, and one on another grid."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..transforms.errors import InputError

COARSER = 1.5
"""Onto voxels that are so many times larger an image is smoothed before it is sampled."""


class Volume(NamedTuple):
    """An image with its place in the world."""

    image: Tensor
    """(1, *spatial), 2-D or 3-D."""
    affine: np.ndarray
    """4x4, voxel -> RAS mm; of a 2-D image that of its slice."""
    name: str
    """For the sentences."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.image.shape[1:])

    @property
    def spacing(self) -> np.ndarray:
        """mm per voxel along each axis of the image."""
        return np.linalg.norm(self.affine[:3, : len(self.shape)], axis=0)

    @property
    def frame(self) -> np.ndarray:
        """4x4, mm along the image's own axes -> world."""
        return self.affine @ np.diag([*(1 / self.spacing), *[1] * (4 - len(self.shape))])

    def to_world(self, voxel: np.ndarray) -> np.ndarray:
        """The world coordinates (3,) of a point in voxels (D,)."""
        return (self.affine @ [*voxel, *[0] * (3 - len(voxel)), 1])[:3]

    @property
    def normal(self) -> np.ndarray:
        """The unit vector across the plane of the first two axes, in the world."""
        normal = np.cross(self.affine[:3, 0], self.affine[:3, 1])
        return normal / np.linalg.norm(normal)

    @property
    def centre(self) -> np.ndarray:
        """World coordinates of the middle of the grid."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    @property
    def centre_of_mass(self) -> np.ndarray:
        """World coordinates of the mean of the voxels, each weighted by how far it is above the darkest."""
        image = self.image[0].double().numpy()
        return self.to_world(np.array(ndimage.center_of_mass(image - image.min())))


def check_planes(fixed: Volume, moving: Volume) -> None:
    """Raise InputError if one image is 2-D and the other 3-D, both are slices of other planes, or one lies nowhere."""
    for volume in (fixed, moving):
        if not abs(np.linalg.det(volume.affine)) > 1e-12:
            raise InputError(f"{volume.name} has an affine that cannot be inverted: two of its axes are one, or none.")
    if len(fixed.shape) != len(moving.shape):
        axes = f"{len(moving.shape)}-D and {fixed.name} {len(fixed.shape)}-D"
        raise InputError(f"{moving.name} is {axes}; both must have the same number of axes.")
    if len(fixed.shape) == 2 and abs(fixed.normal @ moving.normal) < np.cos(np.deg2rad(0.5)):
        raise InputError(f"{moving.name} and {fixed.name} are slices of different planes: their affines say so.")


def overlap(fixed: Volume, moving: Volume, transform: np.ndarray) -> float:
    """The part of the smaller field of view, 0 to 1, that lies in the other one."""
    points = np.stack(np.meshgrid(*[np.linspace(0, length - 1, 12) for length in fixed.shape], indexing="ij"), axis=-1)
    axes = len(fixed.shape)
    to_moving = np.linalg.inv(moving.affine) @ transform @ fixed.affine
    mapped = points.reshape(-1, axes) @ to_moving[:axes, :axes].T + to_moving[:axes, 3]
    inside = ((mapped >= -0.5) & (mapped <= np.array(moving.shape) - 0.5)).all(axis=1).mean()
    voxels = np.prod(moving.shape) / np.prod(fixed.shape) / abs(np.linalg.det(to_moving[:axes, :axes]))
    return min(1.0, float(inside) / min(1.0, float(voxels)))


def in_voxels(to_moving: np.ndarray, size: Sequence[int], whole: bool) -> np.ndarray:
    """A map of voxels (4x4) without the axis that slices lack: (D + 1, D + 1).

    Where it is a permutation and a shift of axes but for rounding, it becomes one exactly, so that voxels are copied
    and not interpolated; ``whole`` rounds the shift, too, however far it is from whole voxels.
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
    """An image (1, *spatial) on another grid: ``new(x) = image(matrix x)``, 0 outside.

    Args:
        image: of any dtype; it keeps it.
        matrix: (D + 1, D + 1), voxels of the new grid -> voxels of the image.
        size: of the new grid.
        order: 1 linear, after smoothing where the new voxels are much larger; 0 nearest.

    Returns:
        (1, *size).
    """
    axes = len(size)
    linear, shift = matrix[:axes, :axes], matrix[:axes, axes]
    voxels = np.asarray(image[0])
    steps = np.linalg.norm(linear, axis=1)  # voxels of the image in one of the new grid, along each axis
    if order and steps.max() > COARSER:
        voxels = ndimage.gaussian_filter(voxels, np.maximum(steps - 1, 0) / 2)  # as scikit-image before downsampling
    placed = ndimage.affine_transform(voxels, linear, shift, tuple(size), order=order, mode="grid-constant")
    return torch.from_numpy(placed)[None]
