"""Affine alignment of two images: rigid, then affine, by mutual information, from coarse to fine."""

from collections.abc import Callable

import numpy as np

from ...transforms import Geometry, InputError
from .affine_itk import levels_of, optimize, place, to_itk
from .relative_position import centre, centre_of_mass, check_planes, frame, normal, overlap
from .volumes import Volume

RECIPE = 1
"""To be raised whenever the same images give another map: it is part of what names kept maps and aligned cohorts."""
LEAST_OVERLAP = 0.25
"""Of the smaller field of view."""
MOST_SCALING = 4.0
"""An affine map that changes volumes by more, either way, is none of anatomy."""


def register_affine(fixed: Volume, moving: Volume, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """The affine map that takes the points of the fixed image to those of the moving one.

    Rigid alignment starts from the images' places in the world, from their centres of mass and from the centres of
    their grids, and goes on from the best. Only voxels that lie in both grids count; one thread and a fixed seed make
    the result repeatable. Mattes et al., IEEE TMI 2003 (mutual information), by ITK's ``ImageRegistrationMethodv4``.
    ITK takes some seconds to load at the first call.

    Args:
        fixed, moving: of the same number of axes; contrasts may differ.
        progress: called with (steps done, steps).

    Returns:
        4x4, RAS mm -> RAS mm: moving point = T(fixed point).

    Raises:
        InputError: a constant image, 2-D slices of different planes, or images that do not show the same thing: they
            hardly overlap, or only by a map that changes volumes more than fourfold.
    """
    tell = progress or (lambda *_: None)
    check_planes(fixed, moving)
    pair = to_itk(fixed), to_itk(moving)
    levels, starts = levels_of(fixed.grid), _starts(fixed, moving)
    rigid: list[tuple[float, int, np.ndarray]] = []
    for number, start in enumerate(starts):
        place(pair[1], fixed.grid, moving.grid, start)
        found = optimize(*pair, None, levels[:2])
        if found is not None:
            value, improved = found
            rigid.append(
                (value * overlap(fixed.grid, moving.grid, _in_world(fixed.grid, start, improved)), number, improved)
            )
        tell(number + 1, len(starts) + 1)
    if not rigid:
        raise InputError(f"{moving.path} cannot be aligned with {fixed.path}: no start makes them overlap.")
    _, number, improved = min(rigid, key=lambda result: result[:2])
    place(pair[1], fixed.grid, moving.grid, starts[number])
    found = optimize(*pair, improved, levels[1:] or levels)
    transform = _in_world(fixed.grid, starts[number], found[1] if found else improved)
    _check(fixed, moving, transform)
    tell(len(starts) + 1, len(starts) + 1)
    return transform


def _starts(fixed: Volume, moving: Volume) -> list[np.ndarray]:
    """Translations of the world: none, centre of mass to centre of mass, centre of the grid to centre of the grid."""
    starts: list[np.ndarray] = []
    shifts = [np.zeros(3), centre_of_mass(moving) - centre_of_mass(fixed), centre(moving.grid) - centre(fixed.grid)]
    for shift in shifts:
        start = np.eye(4)
        start[:3, 3] = shift
        if fixed.grid.axes == 2:  # a slice has no neighbours to look for in its depth
            start[:3, 3] += _depth(fixed.grid, moving.grid, start)
        near = any(np.linalg.norm(start - other) < max(fixed.grid.spacing) / 2 for other in starts)
        if not near and overlap(fixed.grid, moving.grid, start) >= LEAST_OVERLAP:
            starts.append(start)
    return starts


def _depth(fixed: Geometry, moving: Geometry, start: np.ndarray) -> np.ndarray:
    """What is missing from a translation to take the plane of the fixed slice onto that of the moving one."""
    across = normal(moving)
    return across * (across @ (centre(moving) - (start @ [*centre(fixed), 1])[:3]))


def _in_world(fixed: Geometry, start: np.ndarray, improved: np.ndarray) -> np.ndarray:
    """The start and the map (D + 1, D + 1) in mm along the axes of the fixed image that improved it, as one."""
    whole, kept = np.eye(4), [*range(len(fixed.shape)), 3]
    whole[np.ix_(kept, kept)] = improved
    return start @ frame(fixed) @ whole @ np.linalg.inv(frame(fixed))


def _check(fixed: Volume, moving: Volume, transform: np.ndarray) -> None:
    shared, scaling = overlap(fixed.grid, moving.grid, transform), float(np.linalg.det(transform[:3, :3]))
    if shared < LEAST_OVERLAP:
        raise InputError(
            f"{moving.path} cannot be aligned with {fixed.path}: they overlap by {100 * shared:.0f} % at best; "
            "do they show the same part of the body?"
        )
    if not 1 / MOST_SCALING < scaling < MOST_SCALING:
        raise InputError(
            f"{moving.path} cannot be aligned with {fixed.path}: the best affine map changes volumes by a factor of "
            f"{scaling:.2g}; are their voxel sizes right, and do they show the same thing?"
        )
