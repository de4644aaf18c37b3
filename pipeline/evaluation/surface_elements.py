"""Surfaces between voxels, each element with its area: what the Hausdorff distance of Learn2Reg is made of.

The elements lie at the corners of the voxels. An element is where the 2 x 2 (x 2) voxels around a corner are not alike;
its area (in 2-D: length) is that of the surface which marching cubes would draw there, from MONAI's table.
"""

import itertools
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue] (KDTree with less overhead)


def robust_hausdorff(one: np.ndarray, other: np.ndarray, percent: float = 95.0) -> float:
    """The percentile of the distances between the surfaces of two masks, in voxels; the larger of both directions.

    Each element counts with its area: the distance of a direction is the first one, of the distances in order, at which
    the elements up to it have ``percent`` of the whole area.

    Args:
        one, other: boolean (*spatial), 2-D or 3-D, neither empty.
        percent: 0 to 100.
    """
    (first, first_areas), (second, second_areas) = surface_elements(one), surface_elements(other)
    there, back = cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]
    return max(_percentile(there, first_areas, percent), _percentile(back, second_areas, percent))


def surface_elements(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The elements of a mask's surface: places (N, D) in voxels, at the corners of voxels, and areas (N,).

    Args:
        mask: boolean (*spatial), 2-D or 3-D; beyond its edges it is False.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    code = np.zeros([size + 1 for size in mask.shape], np.uint8)
    for bit, corner in enumerate(itertools.product((1, 0), repeat=mask.ndim)):
        code |= (
            padded[tuple(slice(start, start + size + 1) for start, size in zip(corner, mask.shape, strict=True))] << bit
        )
    places = np.argwhere((code != 0) & (code != 2**2**mask.ndim - 1))
    return places - 0.5, _areas(mask.ndim)[code[tuple(places.T)]]


@lru_cache(maxsize=2)
def _areas(axes: int) -> np.ndarray:
    """By code, the area of a corner's element in voxels; MONAI's table is that of the package surface-distance."""
    from monai.metrics.utils import get_code_to_measure_table

    table = get_code_to_measure_table((1,) * axes)
    return np.asarray((table[0] if isinstance(table, tuple) else table).tolist())


def _percentile(distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
    order = np.lexsort((areas, distances))
    shares = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order][min(np.searchsorted(shares, percent / 100), len(distances) - 1)])
