"""Affine alignment: a known map is recovered for any axes, voxels and contrast, and unrelated images are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smoothmorph.pipeline.images.affine_alignment import register_affine
from smoothmorph.pipeline.images.relative_position import to_world
from smoothmorph.pipeline.images.volumes import Volume
from smoothmorph.transforms import Geometry, InputError

SHAPE = {2: (56, 64), 3: (44, 52, 40)}


def anatomy(points: np.ndarray) -> np.ndarray:
    """Intensities of a smooth scene without symmetry at RAS mm (..., 3); it is about 60 mm wide around 0."""
    generator = np.random.default_rng(0)
    scene = np.zeros(points.shape[:-1])
    for _ in range(25):
        centre, width = generator.uniform(-22, 22, 3) * [1, 1.2, 0.9], generator.uniform(3, 9)
        scene += generator.uniform(0.3, 1) * np.exp(-((points - centre) ** 2).sum(-1) / (2 * width**2))
    return scene


def flat(points: np.ndarray) -> np.ndarray:
    """The same scene for 2-D, constant along the third axis."""
    return anatomy(points * [1, 1, 0])


def picture(affine: np.ndarray, shape: tuple[int, ...], transform: np.ndarray, name: str) -> Volume:
    """An image of the scene, moved by ``transform``, on the given grid."""
    grid = np.stack(np.meshgrid(*[np.arange(length) for length in shape], indexing="ij"), axis=-1).astype(float)
    whole = np.zeros((*shape, 4))
    whole[..., : len(shape)], whole[..., 3] = grid, 1
    points = (whole @ (np.linalg.inv(transform) @ affine).T)[..., :3]
    values = torch.from_numpy((flat if len(shape) == 2 else anatomy)(points))[None]
    return Volume(Path(name), values, Geometry(shape, affine))


def centred(linear: np.ndarray, shape: tuple[int, ...], middle: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = middle - linear @ [*(np.array(shape) - 1) / 2, *[0] * (3 - len(shape))]
    return affine


def pose(dims: int, degrees: float, shift: float) -> np.ndarray:
    """An affine map: rotation about the third axis, slight scaling and shear, and a translation (mm)."""
    angle, transform = np.deg2rad(degrees), np.eye(4)
    transform[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    transform[:3, :3] @= [[1.08, 0.05, 0], [0, 0.95, 0], [0, 0, 1.05 if dims == 3 else 1]]
    transform[:2, 3] = shift, -shift / 2
    transform[2, 3] = shift / 3 if dims == 3 else 0
    return transform


def largest_error(fixed: Volume, found: np.ndarray, true: np.ndarray) -> float:
    """The largest distance in mm between two maps, over the corners of the grid."""
    corners = np.stack([*np.ndindex(*[2] * fixed.grid.axes)]) * (np.array(fixed.grid.shape) - 1)
    return max(np.abs((found - true) @ [*to_world(fixed.grid, corner), 1]).max() for corner in corners)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("shift", [3.0, 400.0])
def test_a_known_map_is_found_again(dims, shift):
    true = pose(dims, degrees=12, shift=shift)
    fixed = picture(centred(np.diag([1.5, 1.5, 1.5]), SHAPE[dims], np.zeros(3)), SHAPE[dims], np.eye(4), "fixed")
    # another grid: axes exchanged, flipped and sheared, other voxel sizes, not centred on the anatomy
    shape = (SHAPE[dims][1], SHAPE[dims][0], *SHAPE[dims][2:])
    axes = np.array([[0, -1.7, 0], [1.3, 0.1, 0], [0, 0, 1.6]])
    middle = true[:3, 3] + [4, -3, 2 if dims == 3 else 0]
    moving = picture(centred(axes, shape, middle), shape, true, "moving")
    moving = replace(moving, values=1e5 * (1 - moving.values / 3) ** 2)  # inverted contrast
    done = []
    found = register_affine(fixed, moving, lambda *progress: done.append(progress))
    assert largest_error(fixed, found, true) < 0.75  # half a voxel
    assert done[-1][0] == done[-1][1] == len(done)
    assert np.array_equal(register_affine(fixed, moving), found)


@pytest.mark.parametrize("dims", [2, 3])
def test_an_image_with_itself_is_the_identity(dims):
    fixed = picture(centred(np.diag([1.5, -1.5, 1.5]), SHAPE[dims], np.ones(3)), SHAPE[dims], np.eye(4), "fixed")
    assert largest_error(fixed, register_affine(fixed, fixed), np.eye(4)) < 0.5  # a third of a voxel


def test_an_outlier_does_not_matter():
    true = pose(3, degrees=8, shift=3)
    volumes = [
        picture(centred(1.5 * np.eye(3), SHAPE[3], np.zeros(3)), SHAPE[3], move, name)
        for move, name in ((np.eye(4), "fixed"), (true, "moving"))
    ]
    for volume in volumes:
        volume.values[0, 3, 4, 5] = 1e6
    assert largest_error(volumes[0], register_affine(*volumes), true) < 0.75


def test_what_cannot_be_aligned_is_refused():
    fixed = picture(centred(np.eye(3), SHAPE[3], np.zeros(3)), SHAPE[3], np.eye(4), "fixed.nii")
    constant = Volume(Path("moving.nii"), torch.full((1, 20, 20, 20), 3.0), Geometry((20, 20, 20), np.eye(4)))
    with pytest.raises(InputError, match=r"moving\.nii is constant \(every voxel is 3\)"):
        register_affine(fixed, constant)
    grown = replace(
        fixed, grid=Geometry(SHAPE[3], fixed.grid.affine @ np.diag([2, 2, 2, 1])), path=Path("moving.nii")
    )  # wrong voxel sizes
    with pytest.raises(InputError, match=r"moving\.nii cannot be aligned with fixed\.nii"):
        register_affine(fixed, grown)


def test_slices_of_different_planes_are_refused():
    fixed = picture(centred(np.eye(3), SHAPE[2], np.zeros(3)), SHAPE[2], np.eye(4), "axial.nii")
    coronal = replace(fixed, grid=Geometry(SHAPE[2], np.eye(4)[[0, 2, 1, 3]]), path=Path("coronal.nii"))
    with pytest.raises(InputError, match=r"coronal\.nii and axial\.nii are slices of different planes"):
        register_affine(fixed, coronal)
