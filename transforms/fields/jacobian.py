"""Jacobian determinants of x ↦ x + u(x) and regularity statistics of a deformation.

All functions take a displacement field u (B, D, *spatial) in voxels and compute in float32 or better. The determinant
does not depend on the voxel size, as long as the field's components and its grid have the same unit.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from .differences import central_differences, check_field, check_points, float32_or_better, slabs

_SLAB_VOXELS = {"cpu": 2**17}  # number of voxels computed at once; other devices take more
_PERCENTILES = {"det_p01": 0.01, "det_p05": 0.05, "det_p50": 0.5, "det_p95": 0.95, "det_p99": 0.99}


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """Compute det(I + ∂u/∂x) as VoxelMorph does: by central differences that are one-sided at the edges.

    Args:
        displacement: (B, D, *spatial) in voxels.

    Returns:
        (B, *spatial); 1 where nothing moves, <= 0 where the deformation folds.

    Raises:
        ValueError: ``displacement`` is not (B, D, *spatial) with D of 2 or 3, or an axis has one point.
    """
    check_field(displacement)
    parts = _parts(displacement, before=1, after=1)
    return torch.cat([_determinant(_gradients(central_differences(part)))[:, own] for part, own in parts], dim=1)


def jacobian_statistics(displacement: Tensor) -> dict[str, Tensor]:
    """Compute statistics of the regularity of a deformation, one number per sample.

    Args:
        displacement: (B, D, *spatial) in voxels.

    Returns:
        Tensors (B,) by name:
        ``nonpositive_percent``: voxels with det <= 0, in %.
        ``nondiffeomorphic_percent``: see :func:`nondiffeomorphic_percent`.
        ``sdlogj``: standard deviation of log det, with det clipped to [1e-9, 1e9].
        ``sdlogj_l2r``: Learn2Reg's SDlogJ: standard deviation of log(det + 3), clipped to the same range, without two
        voxels at each side. It hardly reacts to folding, and is NaN on grids of four voxels or fewer.
        ``det_min``, ``det_p01``, ``det_p05``, ``det_p50``, ``det_p95``, ``det_p99``, ``det_max``.

    Raises:
        ValueError: as :func:`jacobian_determinant`.
    """
    determinant = jacobian_determinant(displacement)
    flat = determinant.flatten(1)
    quantiles = _quantiles(flat, list(_PERCENTILES.values()))
    return {
        "nonpositive_percent": 100 * (~(flat > 0)).to(flat.dtype).mean(1),  # NaN counts as folded
        "nondiffeomorphic_percent": nondiffeomorphic_percent(displacement),
        "sdlogj": _sd_of_log(flat),
        "sdlogj_l2r": _sd_of_log(_crop(determinant, 2).flatten(1) + 3),
        "det_min": flat.amin(1),
        **dict(zip(_PERCENTILES, quantiles.unbind(1), strict=True)),
        "det_max": flat.amax(1),
    }


def nondiffeomorphic_percent(displacement: Tensor) -> Tensor:
    """Compute the non-diffeomorphic area (2-D) or volume (3-D) of the digital transformation in % of the grid.

    Every grid cell is cut into simplices whose corners move with the voxels: two triangles or five tetrahedra. There
    are two ways to cut a cell. The result is the total area or volume of the simplices that turn inside out, averaged
    over both ways. At 0, the transformation is digitally diffeomorphic.
    Source: Liu et al., IJCV 2024, "On finite difference Jacobian computation in deformable image registration" (NDA,
    NDV).

    Args:
        displacement: (B, D, *spatial) in voxels.

    Returns:
        (B,).
    """
    inverted = inverted_part(displacement)
    return 100 * inverted.double().flatten(1).mean(1).to(inverted.dtype)


def inverted_part(displacement: Tensor) -> Tensor:
    """Compute the part of each grid cell that turns inside out: the map behind :func:`nondiffeomorphic_percent`.

    Args:
        displacement: (B, D, *spatial) in voxels.

    Returns:
        (B, *(spatial - 1)), the area or volume of the inverted simplices in cells, averaged over both ways to cut.

    Raises:
        ValueError: an axis has one point.
    """
    check_field(displacement)
    check_points(displacement, 2, "cells need")
    found = []
    for part, _ in _parts(displacement, after=1):
        first, *others = (measure.clamp_max(0) for measure in _simplex_measures(part))
        found.append(-sum(others, start=first) / 2)
    return torch.cat(found, dim=1)


Rows = Sequence[Sequence[Tensor]]


def _simplex_measures(displacement: Tensor) -> Iterator[Tensor]:
    """Yield the signed area or volume per cell of all simplices of both ways to cut it; they sum to 2 at rest."""
    axes = displacement.shape[1]
    edges = _gradients([displacement.diff(dim=axis + 2) for axis in range(axes)])
    factorial = 2 if axes == 2 else 6
    for corner in product((0, 1), repeat=axes):
        yield _determinant([_of_cells(edge, axis, corner) for axis, edge in enumerate(edges)]) / factorial
    if axes == 3:
        for start in ((0, 0, 0), (1, 1, 1)):
            yield _determinant(_central_tetrahedron(edges, start)) / factorial


def _of_cells(edge: Sequence[Tensor], axis: int, corner: Sequence[int]) -> list[Tensor]:
    """Return, for every cell, the edge along ``axis`` at ``corner``: components (B, *(spatial - 1))."""
    parts = []
    for component in edge:
        for other, offset in enumerate(corner):
            if other != axis:
                component = component.narrow(other + 1, offset, component.shape[other + 1] - 1)
        parts.append(component)
    return parts


def _central_tetrahedron(edges: Rows, start: tuple[int, ...]) -> Rows:
    """Return three sides of the tetrahedron of four corners of equal parity; each is the sum of two cell edges."""
    sides = []
    for kept in range(3):  # the other corners differ from ``start`` in all axes but one
        first, second = (axis for axis in range(3) if axis != kept)
        turn = [1 - offset if axis == first else offset for axis, offset in enumerate(start)]
        pairs = zip(_of_cells(edges[first], first, start), _of_cells(edges[second], second, turn), strict=True)
        sides.append([one + other for one, other in pairs])
    return sides


def _gradients(derivatives: Sequence[Tensor]) -> Rows:
    """Compute ∂(x + u)/∂x_a by component from ∂u/∂x_a (B, D, *spatial) for every axis a."""
    rows = []
    for axis, derivative in enumerate(derivatives):
        components = list(derivative.unbind(1))
        components[axis] = components[axis] + 1
        rows.append(components)
    return rows


def _determinant(rows: Rows) -> Tensor:
    if len(rows) == 2:
        (a, b), (c, d) = rows
        return torch.addcmul(a * d, b, c, value=-1)
    a, b, c = rows
    determinant = a[0] * torch.addcmul(b[1] * c[2], b[2], c[1], value=-1)
    determinant = torch.addcmul(determinant, a[1], torch.addcmul(b[2] * c[0], b[0], c[2], value=-1))
    return torch.addcmul(determinant, a[2], torch.addcmul(b[0] * c[1], b[1], c[0], value=-1))


def _parts(displacement: Tensor, before: int = 0, after: int = 0) -> Iterator[tuple[Tensor, slice]]:
    """Yield slabs along the first axis that fit the cache, in float32 or better, and the slice of their own planes."""
    voxels = _SLAB_VOXELS.get(displacement.device.type, 2**24)
    planes = max(voxels // max(math.prod(displacement.shape[3:]), 1), 1)
    for read, own in slabs(displacement.shape[2], planes, before, after):
        yield displacement[:, :, read].to(float32_or_better(displacement)), own


def _quantiles(values: Tensor, levels: Sequence[float]) -> Tensor:
    """Compute quantiles (B, levels) of values (B, N) with linear interpolation.

    A CPU uses NumPy's selection, because torch's quantile sorts everything and takes at most 2^24 values. A GPU sorts.
    """
    if values.device.type == "cpu":
        return torch.from_numpy(np.quantile(values.detach().numpy(), levels, axis=1).T).to(values)
    places = torch.tensor(levels, dtype=torch.float64, device=values.device) * (values.shape[1] - 1)
    below = places.long()
    above = (below + 1).clamp(max=values.shape[1] - 1)
    ordered = values.sort(dim=1).values
    return torch.lerp(ordered[:, below], ordered[:, above], (places - below).to(values))


def _sd_of_log(determinant: Tensor) -> Tensor:
    if determinant.shape[1] == 0:
        return determinant.new_full((len(determinant),), torch.nan)
    return determinant.clamp(1e-9, 1e9).log().std(1, correction=0)


def _crop(determinant: Tensor, margin: int) -> Tensor:
    return determinant[(slice(None), *[slice(margin, -margin)] * (determinant.ndim - 1))]
