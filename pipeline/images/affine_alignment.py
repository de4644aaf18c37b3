"""Affine alignment of two images: first rigid, then affine, by mutual information at several resolutions."""

from collections.abc import Callable

import numpy as np

from ...transforms import Geometry, InputError
from .affine_itk import levels_of, optimize, place, to_itk
from .relative_position import centre, centre_of_mass, check_planes, frame, normal, overlap
from .volumes import Volume

RECIPE = 1
"""Version of the method, part of the names of cached maps and aligned cohorts. Raise it if the same images give
another map."""
LEAST_OVERLAP = 0.25
"""Smallest accepted overlap, as a fraction of the smaller field of view."""
MOST_SCALING = 4.0
"""Largest accepted factor by which an affine map changes volumes, up or down; anatomy does not differ by more."""


def register_affine(fixed: Volume, moving: Volume, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Find the affine map from points of the fixed image to points of the moving image.

    Rigid alignment starts three times: from the images' positions in the world, from their centres of mass and from
    the centres of their grids. The best result is refined to an affine map. Only voxels within both grids count. One
    thread and a fixed seed make the result reproducible. The metric is the mutual information of Mattes et al., IEEE
    TMI 2003, in ITK's ``ImageRegistrationMethodv4``. The first call loads ITK, which takes some seconds.

    Args:
        fixed, moving: images with the same number of axes; their contrasts may differ.
        progress: called with (steps done, total steps).

    Returns:
        T, 4x4, RAS mm -> RAS mm: moving point = T(fixed point).

    Raises:
        InputError: an image is constant, 2-D slices are of different planes, or the images do not show the same: they
            hardly overlap, or the map changes volumes more than fourfold.
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
        raise InputError(f"{moving.path} cannot be aligned with {fixed.path}: they do not overlap.")
    _, number, improved = min(rigid, key=lambda result: result[:2])
    place(pair[1], fixed.grid, moving.grid, starts[number])
    found = optimize(*pair, improved, levels[1:] or levels)
    transform = _in_world(fixed.grid, starts[number], found[1] if found else improved)
    _check(fixed, moving, transform)
    tell(len(starts) + 1, len(starts) + 1)
    return transform


def _starts(fixed: Volume, moving: Volume) -> list[np.ndarray]:
    """Initial translations in the world: none, between the centres of mass, between the centres of the grids."""
    starts: list[np.ndarray] = []
    shifts = [np.zeros(3), centre_of_mass(moving) - centre_of_mass(fixed), centre(moving.grid) - centre(fixed.grid)]
    for shift in shifts:
        start = np.eye(4)
        start[:3, 3] = shift
        if fixed.grid.axes == 2:  # a slice cannot be searched for across its plane
            start[:3, 3] += _depth(fixed.grid, moving.grid, start)
        near = any(np.linalg.norm(start - other) < max(fixed.grid.spacing) / 2 for other in starts)
        if not near and overlap(fixed.grid, moving.grid, start) >= LEAST_OVERLAP:
            starts.append(start)
    return starts


def _depth(fixed: Geometry, moving: Geometry, start: np.ndarray) -> np.ndarray:
    """The translation to add to ``start`` so that the fixed slice's plane falls on the moving slice's plane."""
    across = normal(moving)
    return across * (across @ (centre(moving) - (start @ [*centre(fixed), 1])[:3]))


def _in_world(fixed: Geometry, start: np.ndarray, improved: np.ndarray) -> np.ndarray:
    """The 4x4 map in world mm: ``start`` combined with ``improved`` (D + 1, D + 1), in mm along the fixed axes."""
    whole, kept = np.eye(4), [*range(len(fixed.shape)), 3]
    whole[np.ix_(kept, kept)] = improved
    return start @ frame(fixed) @ whole @ np.linalg.inv(frame(fixed))


def _check(fixed: Volume, moving: Volume, transform: np.ndarray) -> None:
    shared, scaling = overlap(fixed.grid, moving.grid, transform), float(np.linalg.det(transform[:3, :3]))
    if shared < LEAST_OVERLAP:
        raise InputError(
            f"{moving.path} cannot be aligned with {fixed.path}: their best overlap is {100 * shared:.0f} %; "
            "do they show the same part of the body?"
        )
    if not 1 / MOST_SCALING < scaling < MOST_SCALING:
        raise InputError(
            f"{moving.path} cannot be aligned with {fixed.path}: the best affine map changes volumes by a factor of "
            f"{scaling:.2g}; are their voxel sizes correct, and do they show the same part of the body?"
        )
