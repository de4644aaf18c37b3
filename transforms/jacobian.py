"""Jacobian determinants of x ↦ x + u(x) and the regularity statistics of a deformation.

All of them take a displacement field u (B, D, *spatial) in voxels and compute in float32 or better. The determinant
does not depend on the voxel size, as long as the field's components and its grid share it.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from .differences import central_differences, check_field

_PERCENTILES = {"det_p01": 0.01, "det_p05": 0.05, "det_p50": 0.5, "det_p95": 0.95, "det_p99": 0.99}


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """det(I + ∂u/∂x) by central differences, one-sided at the edges, as VoxelMorph's ``jacobian_determinant``.

    Args:
        displacement: (B, D, *spatial), voxels.

    Returns:
        (B, *spatial); 1 where nothing moves, <= 0 where the deformation folds.
    """
    check_field(displacement)
    return _determinant(central_differences(_precise(displacement)))


def jacobian_statistics(displacement: Tensor) -> dict[str, Tensor]:
    """The regularity of a deformation, one number per sample.

    Args:
        displacement: (B, D, *spatial), voxels.

    Returns:
        Tensors (B,):
        ``nonpositive_percent``: voxels with det <= 0, in %.
        ``nondiffeomorphic_percent``: see :func:`nondiffeomorphic_percent`.
        ``sdlogj``: standard deviation of log det, det clipped to [1e-9, 1e9].
        ``sdlogj_l2r``: Learn2Reg's SDlogJ, of log(det + 3) clipped the same way, two voxels cropped at each side; it
        hardly sees folding. NaN on grids of four voxels or fewer.
        ``det_min``, ``det_p01``, ``det_p05``, ``det_p50``, ``det_p95``, ``det_p99``, ``det_max``.
    """
    determinant = jacobian_determinant(displacement)
    flat = determinant.flatten(1)
    levels = torch.tensor(list(_PERCENTILES.values()), dtype=flat.dtype, device=flat.device)
    quantiles = torch.stack([torch.quantile(sample, levels) for sample in flat])  # (B, levels)
    return {
        "nonpositive_percent": 100 * (~(flat > 0)).to(flat.dtype).mean(1),  # NaN counts as folded
        "nondiffeomorphic_percent": nondiffeomorphic_percent(displacement),
        "sdlogj": _sd_of_log(flat),
        "sdlogj_l2r": _sd_of_log(_crop(determinant, 2).flatten(1) + 3),
        "det_min": flat.amin(1),
        **{name: quantiles[:, index] for index, name in enumerate(_PERCENTILES)},
        "det_max": flat.amax(1),
    }


def nondiffeomorphic_percent(displacement: Tensor) -> Tensor:
    """Non-diffeomorphic area (2-D) or volume (3-D) of the digital transformation, in % of the grid.

    Every grid cell is cut into simplices whose corners move with the voxels: two triangles along either diagonal, or
    five tetrahedra in either of the two ways. Counted is the area or volume of the simplices that turn inside out,
    averaged over the two ways; 0 says that the transformation is digitally diffeomorphic.
    Liu et al., IJCV 2024, "On finite difference Jacobian computation in deformable image registration" (NDA, NDV).

    Args:
        displacement: (B, D, *spatial), voxels.

    Returns:
        (B,).
    """
    check_field(displacement)
    measures = _simplex_measures(_precise(displacement))
    inverted = torch.stack([(-measure).clamp_min(0).flatten(1).sum(1) for measure in measures]).sum(0)
    cells = math.prod(size - 1 for size in displacement.shape[2:])
    return 100 * inverted / (2 * cells)


def _simplex_measures(displacement: Tensor) -> Iterator[Tensor]:
    """Signed area or volume, per cell, of the simplices of both ways to cut it; they sum to 2 where nothing moves."""
    axes = displacement.shape[1]
    corners: dict[tuple[int, ...], Tensor] = {
        corner: _corner(displacement, corner) for corner in product((0, 1), repeat=axes)
    }
    factorial = 2 if axes == 2 else 6
    for corner in corners:
        yield _determinant(_edges(corners, corner)) / factorial
    if axes == 3:
        for start in ((0, 0, 0), (1, 1, 1)):
            yield _central_tetrahedron(corners, start)


def _corner(displacement: Tensor, corner: tuple[int, ...]) -> Tensor:
    """The displacement at one corner of every cell: (B, D, *(spatial - 1))."""
    for axis, offset in enumerate(corner):
        displacement = displacement.narrow(axis + 2, offset, displacement.shape[axis + 2] - 1)
    return displacement


def _edges(corners: dict[tuple[int, ...], Tensor], corner: tuple[int, ...]) -> list[Tensor]:
    """∂u/∂x_a along the edge of the cell that meets ``corner``, for every axis a: the one-sided differences there."""
    edges = []
    for axis in range(len(corner)):
        low, high = list(corner), list(corner)
        low[axis], high[axis] = 0, 1
        edges.append(corners[tuple(high)] - corners[tuple(low)])
    return edges


def _central_tetrahedron(corners: dict[tuple[int, ...], Tensor], start: tuple[int, ...]) -> Tensor:
    """Signed volume of the tetrahedron of the four corners of one parity; 1/3 where nothing moves."""
    sides = []
    for kept in range(3):  # the other corners differ from ``start`` in all axes but one
        end = tuple(s if axis == kept else 1 - s for axis, s in enumerate(start))
        move = corners[end] - corners[start]
        sides.append([move[:, axis] + (end[axis] - start[axis]) for axis in range(3)])
    sign = 1 if start == (0, 0, 0) else -1  # of the orientation at rest
    return sign * _det3(*sides) / 6


def _determinant(derivatives: list[Tensor]) -> Tensor:
    """det(I + ∂u/∂x) from ∂u/∂x_a (B, D, *spatial) for every axis a."""
    rows = []
    for axis, derivative in enumerate(derivatives):
        components = list(derivative.unbind(1))
        components[axis] = components[axis] + 1
        rows.append(components)
    if len(rows) == 2:
        (a, b), (c, d) = rows
        return a * d - b * c
    return _det3(*rows)


def _det3(a: Sequence[Tensor], b: Sequence[Tensor], c: Sequence[Tensor]) -> Tensor:
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def _sd_of_log(determinant: Tensor) -> Tensor:
    if determinant.shape[1] == 0:
        return determinant.new_full((len(determinant),), torch.nan)
    return determinant.clamp(1e-9, 1e9).log().std(1, correction=0)


def _crop(determinant: Tensor, margin: int) -> Tensor:
    return determinant[(slice(None), *[slice(margin, -margin)] * (determinant.ndim - 1))]


def _precise(field: Tensor) -> Tensor:
    return field.to(torch.promote_types(field.dtype, torch.float32))
