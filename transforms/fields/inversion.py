"""The inverse of x ↦ x + u(x): points whose images are given, and the displacement field that leads back.

A map that turns, flips or stretches its axes as a whole is taken apart first, into a mild displacement and an affine
that follows it: the search below is for maps near the identity, and beyond the grid the edge's displacement would lead
back into the image.
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from .affine import apply_affine
from .differences import check_field, float32_or_better
from .warping import identity_grid, sample

MILD = 0.5
"""The eigenvalues of a mild linear map differ from 1 by no more: it turns by less than 29 degrees."""
FLAT = 1e-3
"""An affine whose singular values differ by a smaller factor is too flat to be inverted."""
SWEEPS = 40
"""Of the fixed point, which is cheap and enough where the map stretches little."""
STEPS, HALVINGS = 40, 6
"""Of Newton's method for the points that are left, and of a step that makes a point miss by more."""


def invert(displacement: Tensor, tolerance: float = 1e-3) -> Tensor:
    """The displacement v of the inverse map, v(x) = -u(x + v(x)). Not differentiable.

    Args:
        displacement: (B, D, *spatial), voxels. Beyond the grid the edge's displacement counts, after
            :func:`split_affine`.
        tolerance: every voxel misses its equation by no more (voxels); a warning tells where that is not reached,
            because the field folds and has no inverse.
    """
    displacement = displacement.detach().to(float32_or_better(displacement))
    grid = identity_grid(displacement.shape[2:], displacement.dtype, displacement.device)
    found = [find_preimages(grid, one[None], tolerance) for one in displacement]
    error = max(float(missed.max()) for _, missed in found)
    if not error < tolerance:
        warnings.warn(
            f"invert: off by {error:.3g} voxels; the field folds so that it has no reliable inverse there", stacklevel=2
        )
    return torch.cat([points - grid for points, _ in found])


def split_affine(displacement: Tensor) -> tuple[np.ndarray, Tensor] | None:
    """M and u' with x + u(x) = M (x + u'(x)), M the affine that fits x + u(x) best (least squares over the grid).

    Args:
        displacement: u, (1, D, *spatial), voxels; along an axis of one voxel M changes nothing.

    Returns:
        M, (D + 1, D + 1) float64, and u', (1, D, *spatial); None if M is mild, as that of any anatomical deformation,
        or so flat that it cannot be inverted.
    """
    sizes, u = displacement.shape[2:], displacement[0].detach()
    axes, centre = check_field(displacement), (np.array(sizes) - 1) / 2
    matrix = np.eye(axes + 1)
    linear = matrix[:axes, :axes]
    for axis, size in enumerate(sizes):  # of a whole grid the axes are independent
        others = [other + 1 for other in range(axes) if other != axis]
        offsets = np.arange(size) - centre[axis]
        linear[:, axis] += u.mean(others, dtype=torch.float64).cpu().numpy() @ offsets / max((offsets**2).sum(), 1)
    if not np.isfinite(linear).all() or (abs(np.linalg.eigvals(linear) - 1) <= MILD).all():
        return None
    if 1 / np.linalg.cond(linear) < FLAT:
        return None
    matrix[:axes, axes] = centre + u.flatten(1).mean(1, dtype=torch.float64).cpu().numpy() - linear @ centre
    x = identity_grid(sizes, torch.float64, u.device)[0]
    return matrix, (apply_affine(np.linalg.inv(matrix), x + u) - x).to(u.dtype)[None]


def find_preimages(points: Tensor, displacement: Tensor, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
    """The points x with x + u(x) = y. Not differentiable.

    A damped fixed point (Chen et al., Medical Physics 2008, "A simple fixed-point approach to invert a deformation
    field"; halving each step makes it converge where the map stretches by up to about four instead of two), then, for
    the points that are left, Newton's method with steps that are halved until they help.

    Args:
        points: y, (1, D, *any) voxel coordinates.
        displacement: u, (1, D, *spatial), voxels; beyond the grid that of the edge counts, after :func:`split_affine`.
        tolerance: the largest miss to leave a point with, voxels.

    Returns:
        x, (1, D, *any), and by how many voxels at most x + u(x) misses y, (1, *any): more than ``tolerance`` where the
        field folds, so that there is no such x, or several.
    """
    apart = split_affine(displacement)
    if apart is None:
        return _search(points, displacement, tolerance)
    matrix, rest = apart
    stretch = float(np.linalg.norm(matrix[:-1, :-1], 2))
    found, missed = _search(apply_affine(np.linalg.inv(matrix), points[0])[None], rest, tolerance / stretch)
    return found, missed * stretch


def _search(points: Tensor, displacement: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """As :func:`find_preimages`, of a map whose affine is mild."""
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
    """As :func:`find_preimages`, for points (1, D, N, 1[, 1])."""
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
    """s with (I + ∇u) s = residual at points (1, D, N, 1[, 1]); the least one where the matrix is singular."""
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
