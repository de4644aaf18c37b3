"""Invert the map x ↦ x + u(x): as a displacement field, or at single points.

The search below needs a map near the identity. A map that rotates, flips or stretches the whole grid is therefore first
split into a small displacement followed by an affine. Outside the grid, its edge displacement would also lead back into
the image.
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from .affine import apply_affine
from .differences import check_field, float32_or_better
from .warping import identity_grid, sample

MILD = 0.5
"""A linear map is mild if its eigenvalues differ from 1 by at most this; it then rotates by less than 29 degrees."""
FLAT = 1e-3
"""An affine is too flat to be inverted if its smallest singular value divided by its largest is less than this."""
SWEEPS = 40
"""Fixed-point iterations; they are cheap, and enough where the map stretches little."""
STEPS, HALVINGS = 40, 6
"""Newton steps for the remaining points, and how often a step that increases the error is halved."""


def invert(displacement: Tensor, tolerance: float = 1e-3) -> Tensor:
    """Compute the displacement v of the inverse map, v(x) = -u(x + v(x)). Not differentiable.

    Args:
        displacement: (B, D, *spatial) in voxels. Outside the grid, the edge's displacement is used, after
            :func:`split_affine`.
        tolerance: largest allowed error of the equation in voxels. A warning says if it is not reached, because the
            field folds and has no inverse there.
    """
    displacement = displacement.detach().to(float32_or_better(displacement))
    grid = identity_grid(displacement.shape[2:], displacement.dtype, displacement.device)
    found = [find_preimages(grid, one[None], tolerance) for one in displacement]
    error = max(float(missed.max()) for _, missed in found)
    if not error < tolerance:
        warnings.warn(
            f"invert: off by {error:.3g} voxels, for the field folds and has no reliable inverse there", stacklevel=2
        )
    return torch.cat([points - grid for points, _ in found])


def split_affine(displacement: Tensor) -> tuple[np.ndarray, Tensor] | None:
    """Split a map into an affine M and a displacement u': x + u(x) = M (x + u'(x)).

    M is the least-squares fit of x + u(x) over the grid.

    Args:
        displacement: u, (1, D, *spatial) in voxels; M leaves an axis of one voxel unchanged.

    Returns:
        M, (D + 1, D + 1) float64, and u', (1, D, *spatial). None if M is mild, as in every anatomical deformation, or
        too flat to be inverted.
    """
    sizes, u = displacement.shape[2:], displacement[0].detach()
    axes, centre = check_field(displacement), (np.array(sizes) - 1) / 2
    matrix = np.eye(axes + 1)
    linear = matrix[:axes, :axes]
    for axis, size in enumerate(sizes):  # the axes of a full grid are independent
        others = [other + 1 for other in range(axes) if other != axis]
        offsets = np.arange(size) - centre[axis]
        linear[:, axis] += u.mean(others, dtype=torch.float64).cpu().numpy() @ offsets / ((offsets**2).sum() or 1)
    if not np.isfinite(linear).all() or (abs(np.linalg.eigvals(linear) - 1) <= MILD).all():
        return None
    if 1 / np.linalg.cond(linear) < FLAT:
        return None
    matrix[:axes, axes] = centre + u.flatten(1).mean(1, dtype=torch.float64).cpu().numpy() - linear @ centre
    x = identity_grid(sizes, torch.float64, u.device)[0]
    return matrix, (apply_affine(np.linalg.inv(matrix), x + u) - x).to(u.dtype)[None]


def find_preimages(points: Tensor, displacement: Tensor, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Find the points x with x + u(x) = y. Not differentiable.

    A damped fixed-point iteration comes first (Chen et al., Medical Physics 2008, "A simple fixed-point approach to
    invert a deformation field"). Halving each step makes it converge where the map stretches by up to about 4 instead
    of 2. Newton's method solves the remaining points; a step is halved until it reduces the error.

    Args:
        points: y, (1, D, *any) voxel coordinates.
        displacement: u, (1, D, *spatial) in voxels. Outside the grid, the edge's displacement is used, after
            :func:`split_affine`.
        tolerance: largest allowed error of a point in voxels.

    Returns:
        x, (1, D, *any), and the error of x + u(x) = y in voxels, (1, *any). It exceeds ``tolerance`` where the field
        folds, so that no such x or several exist.
    """
    apart = split_affine(displacement)
    if apart is None:
        return _search(points, displacement, tolerance)
    matrix, rest = apart
    stretch = float(np.linalg.norm(matrix[:-1, :-1], 2))
    found, missed = _search(apply_affine(np.linalg.inv(matrix), points[0])[None], rest, tolerance / stretch)
    return found, missed * stretch


def _search(points: Tensor, displacement: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Find preimages, see :func:`find_preimages`, for a map whose affine is mild."""
    with torch.no_grad():
        found = points - sample(displacement, points)
        residual = found + sample(displacement, found) - points
        for _ in range(SWEEPS):
            if float(residual.norm(dim=1).max()) < tolerance:
                break
            found = found - residual / 2
            residual = found + sample(displacement, found) - points
        missed = residual.norm(dim=1)
        left = (missed >= tolerance)[0]
        if left.any():
            column = (1, points.shape[1], -1, *[1] * (displacement.ndim - 3))
            better, misses = _newton(points[:, :, left].view(column), displacement, tolerance)
            found[:, :, left], missed[:, left] = better.flatten(2), misses.flatten(1)
    return found, missed


def _newton(points: Tensor, displacement: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Find preimages, see :func:`find_preimages`, of points (1, D, N, 1[, 1]) by Newton's method."""
    found = points.clone()
    residual = found + sample(displacement, found) - points
    for _ in range(STEPS):
        if float(residual.norm(dim=1).max()) < tolerance:
            break
        step = -_solve(found, displacement, residual)
        for _ in range(HALVINGS):
            there = found + step
            new = there + sample(displacement, there) - points
            helps = new.norm(dim=1, keepdim=True) < residual.norm(dim=1, keepdim=True)
            found, residual = found.where(~helps, there), residual.where(~helps, new)
            step = torch.where(helps, 0, step / 2)
    return found, residual.norm(dim=1)


def _solve(points: Tensor, displacement: Tensor, residual: Tensor) -> Tensor:
    """Solve (I + ∇u) s = residual for s at points (1, D, N, 1[, 1]); the shortest s if the matrix is singular."""
    axes = points.shape[1]
    columns = []
    for axis in range(axes):
        half = torch.zeros_like(points)
        half[:, axis] = 0.5
        columns.append(sample(displacement, points + half) - sample(displacement, points - half))
    matrix = torch.stack(columns, dim=-1).reshape(axes, -1, axes).movedim(1, 0).double()
    matrix += torch.eye(axes, dtype=matrix.dtype, device=matrix.device)
    right = residual.reshape(axes, -1).T.double()
    normal = matrix.mT @ matrix + 1e-6 * torch.eye(axes, dtype=matrix.dtype, device=matrix.device)
    solved = torch.linalg.solve(normal, matrix.mT @ right[..., None])[..., 0]
    return solved.T.reshape(residual.shape).to(residual)
