"""Loading of a field file with its options, and warping of an image with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.basics.errors import InputError
from ...transforms.field_files import check_readable, is_affine, read_field
from ..images.output_paths import IMAGES, check_output
from ..images.volumes import Volume, check_headers, read_grid, read_volume, stored_type, write_volume

if TYPE_CHECKING:
    from torch import Tensor

    from ...transforms import Geometry, PhysicalField

Files = Iterable[Path | None]
"""Paths; None for a file that was not given."""


@dataclass(frozen=True)
class Done:
    """The result of a command: the file it wrote, its output lines, and notices that the user should read."""

    path: Path
    told: tuple[str, ...]
    notices: tuple[str, ...] = ()


def check_files(out: Path, endings: Sequence[str], fields: Files, images: Files = (), others: Files = ()) -> None:
    """Check the output path, see :func:`check_output`, and the input files, before heavy packages are loaded.

    Args:
        out: the file to write.
        endings: its allowed endings.
        fields: input fields and affines.
        images: input images.
        others: other input files, which their own readers check.

    Raises:
        InputError: the first fault found.
    """
    fields, images = list(fields), list(images)
    check_output(out, endings, [*fields, *images, *others])
    for path in fields:
        if path is not None:
            check_readable(path)
    check_headers(images)


def load_field(path: Path, like: Path | None = None, affine: Path | None = None) -> PhysicalField:
    """Read the field of a file.

    Args:
        path: as for :func:`~smoothmorph.transforms.read_field`.
        like: the fixed image; the field must have its grid.
        affine: an ITK or ANTs file with only an affine, which is applied after the field: A(p + d(p)), like
            ANTs' list [field, affine].

    Raises:
        InputError: as ``read_field``; the grid differs, or ``affine`` holds more than an affine.
    """
    grid = read_grid(like) if like is not None else None
    field = read_field(path, grid)
    if grid is not None and not field.fixed.is_same(grid):
        raise InputError(
            f"{path} lies on another grid than {like}: {field.fixed}, expected {grid}; give the fixed image of this "
            f"field, or resample the field with `smoothmorph convert {path} --like {like} -o ...`."
        )
    return field if affine is None else follow(field, affine)


def follow(field: PhysicalField, path: Path) -> PhysicalField:
    """Append the affine A of a file to the field's map T: A ∘ T.

    Raises:
        InputError: the file cannot be read, or holds more than an affine.
    """
    alone = read_field(path, field.fixed)
    if alone.affine is None or not is_affine(path):
        raise InputError(f"{path} must hold only an affine; combine fields with `smoothmorph compose`.")
    return replace(field, affine=alone.affine if field.affine is None else alone.affine @ field.affine)


def apply(
    path: Path,
    image: Path,
    out: Path,
    like: Path | None = None,
    labels: bool = False,
    affine: Path | None = None,
    background: float = 0.0,
) -> Done:
    """Warp an image file with any grid onto the field's fixed grid: warped(p) = moving(T(p)).

    Args:
        path: the field.
        image: the moving image, or a label map of it.
        out: the warped image to write.
        like: the fixed image.
        labels: use nearest neighbour and keep the file's dtype; otherwise use linear interpolation and float32.
        affine: see :func:`load_field`.
        background: the value where T(p) is outside of the moving image; for a label map always 0.

    Raises:
        InputError: files cannot be used or do not belong together, or ``out`` is an input.
    """
    if labels and background:
        raise InputError(f"the background of a label map is always 0, got {background:g}; leave out --background.")
    check_background(background)
    check_files(out, IMAGES, [path, affine], [image, like])
    field = load_field(path, like, affine)
    moving = read_volume(image, labels, constant=True)
    _check_moving(path, field, moving)
    values = moving.values
    warped, inside = field.warp(values, moving.grid, "nearest" if labels else "bilinear", background)
    share = 100 * float(inside.float().mean())
    if not share:
        raise InputError(
            f"{path} maps no point into {image} ({moving.grid}); is this the moving image, and does the field map "
            "from the fixed to the moving image?"
        )
    if labels:
        write_labels(out, warped[0], image, field.fixed)
    else:
        write_volume(out, warped[0].numpy(), field.fixed)
    notices = []
    if not labels and moving.looks_like_labels:
        notices.append(f"{image} looks like a label map and was interpolated; if it is one, add --labels.")
    if share < 100:
        notices.append(outside(inside, image, background))
    how = "nearest neighbour" if labels else "linear interpolation"
    return Done(out, (f"wrote {out}: {image} on the fixed grid, {field.fixed}; {how}.",), tuple(notices))


def check_background(background: float) -> None:
    """Raise InputError unless it is a number that a voxel in float32 can have."""
    if not abs(background) <= np.finfo(np.float32).max:
        raise InputError(f"the background is {background:g}, expected a number that a voxel in float32 can have.")


def outside(inside: Tensor, image: Path, background: float) -> str:
    """A notice on the voxels that map outside of the moving image; ``inside``: the mask of the others."""
    share = 100 * (1 - float(inside.float().mean()))
    return f"{share:.3g} % of the voxels map outside of {image}; they are set to {background:g}."


def write_labels(path: Path, labels: Tensor, source: Path, grid: Geometry) -> Path:
    """Write a label map (*grid.shape), int64, with the dtype of the file ``source`` that it comes from.

    Raises:
        InputError: as :func:`~smoothmorph.pipeline.images.volumes.write_volume`.
    """
    stored = labels.numpy().astype(stored_type(source))
    exact = bool((stored.astype(np.int64) == labels.numpy()).all())  # scaled labels may exceed the file's dtype
    return write_volume(path, stored if exact else labels.numpy(), grid)


def _check_moving(path: Path, field: PhysicalField, moving: Volume) -> None:
    from ...transforms.field_files.voxelmorph import shares_one_grid
    from ..images.relative_position import in_different_planes

    check_world(path, field.fixed, moving.path, moving.grid)
    if field.affine is None and in_different_planes(field.fixed, moving.grid):
        raise InputError(
            f"{moving.path} and {path} are slices of different planes, as their affines say; is this the moving image?"
        )
    if shares_one_grid(path) and not moving.grid.is_same(field.fixed):
        raise InputError(
            f"{path} is a VoxelMorph warp, for moving and fixed images on one grid, but {moving.path} has "
            f"{moving.grid}, expected {field.fixed}; resample the image onto the fixed image's grid."
        )


def check_world(path: Path, grid: Geometry, other: Path, other_grid: Geometry) -> None:
    """Raise InputError unless both files are in two dimensions, or both in 3-D space."""
    if grid.world_axes != other_grid.world_axes:
        kinds = {2: "two dimensions", 3: "3-D space"}
        raise InputError(
            f"{path} lies in {kinds[grid.world_axes]}, but {other} in {kinds[other_grid.world_axes]}; save both as "
            "volumes, as one-slice volumes or as 2-D images."
        )
