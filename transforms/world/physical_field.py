"""Displacement fields in world coordinates: a field, the fixed image's grid, and an optional affine after the field.

The map takes points p of the fixed image to points T(p) of the moving image, both in RAS mm:

    T(p) = A (p + d(p))        warped(p) = moving(T(p))

With F the affine of the fixed grid and u the displacement in its voxels, F x + d(F x) = F (x + u(x)). Internally, all
coordinates have W components. A slice in space is lifted to three, with third voxel coordinate 0.

Outside the fixed grid, the displacement of its edge is used. If a field rotates or flips the whole grid, this holds for
its remainder without the affine part, and the affine part continues outside.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import KDTree
from torch import Tensor

from ..basics.errors import InputError
from ..fields.affine import apply_affine, apply_linear
from ..fields.differences import central_differences
from ..fields.inversion import find_preimages, split_affine
from ..fields.jacobian import jacobian_determinant
from ..fields.warping import Interpolation, sample
from .grid import Geometry

INVERTED = 1e-3
"""A preimage is reliable if its error is at most this many voxels."""


@dataclass(frozen=True, eq=False)
class PhysicalField:
    """A displacement field with its grid in the world and an optional affine.

    Args:
        displacement: u, (D, *fixed.shape) in voxels of the fixed grid, components in axis order; stored as float32.
        fixed: the grid of the fixed image.
        affine: A, (W + 1, W + 1), RAS mm -> RAS mm, applied after the displacement; None is the identity.

    Raises:
        ValueError: ``displacement`` does not have that shape.
    """

    displacement: Tensor
    fixed: Geometry
    affine: np.ndarray | None = None

    def __post_init__(self) -> None:
        expected = (self.fixed.axes, *self.fixed.shape)
        if tuple(self.displacement.shape) != expected:
            raise ValueError(f"this grid needs a displacement of {expected}, got {tuple(self.displacement.shape)}")
        object.__setattr__(self, "displacement", self.displacement.detach().cpu().float())

    @classmethod
    def identity(cls, grid: Geometry) -> "PhysicalField":
        """Return the identity on this grid, a displacement of 0."""
        return cls(torch.zeros(grid.axes, *grid.shape), grid)

    def map_points(self, points: Tensor) -> Tensor:
        """Map points of the fixed image to the moving image: T(p).

        Args:
            points: (N, W) in RAS mm.

        Returns:
            (N, W) in RAS mm, float64.
        """
        if self.apart is not self:
            return self.apart.map_points(points)
        x = apply_affine(np.linalg.inv(self.fixed.affine), self._columns(points))
        return apply_affine(self._to_moving, self._moved(x)).flatten(1).T

    def unmap_points(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Map points of the moving image to the fixed image: T⁻¹(q).

        Args:
            points: (N, W) in RAS mm.

        Returns:
            (N, W) in RAS mm, float64, and the error of T at each point in voxels, (N,). It is infinite where the field
            folds, because q then has several preimages.
        """
        if self.apart is not self:
            return self.apart.unmap_points(points)
        x, missed = self._preimages(apply_affine(np.linalg.inv(self._to_moving), self._columns(points)))
        return apply_affine(self.fixed.affine, x).flatten(1).T, missed.flatten()

    def warp(
        self, image: Tensor, moving: Geometry, mode: Interpolation = "bilinear", background: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Warp an image onto the fixed grid: warped(p) = moving(T(p)).

        Args:
            image: the moving image (C, *moving.shape). ``nearest`` keeps its dtype and every value.
            moving: the grid of the moving image, anywhere in the world.
            mode: ``bilinear`` (trilinear in 3-D; gives float32), or ``nearest`` for label maps.
            background: value outside the moving image, which ends half a voxel beyond its outermost voxel centres.

        Returns:
            The warped image (C, *fixed.shape), and a mask (*fixed.shape) of the voxels that come from inside the moving
            image.

        Raises:
            InputError: one of the two is a true 2-D image, and the other lies in 3-D space.
        """
        self._check_world(moving, "the moving image")
        y = apply_affine(np.linalg.inv(moving.affine) @ self._to_moving, self._moved(self.fixed.points()))
        inside = moving.contains(y)
        source = moving.lift(image if mode == "nearest" else image.float())
        warped = sample(source[None], y[None].double() if mode == "nearest" else y[None].to(source), mode)[0]
        warped = warped.where(inside, torch.tensor(background, dtype=warped.dtype)).view(-1, *self.fixed.shape)
        return warped, inside.view(self.fixed.shape)

    def dense(self) -> "PhysicalField":
        """Return the same map with the affine included in the displacement.

        Raises:
            InputError: the affine leaves the plane of a slice.
        """
        if self.affine is None:
            return self
        matrix = np.linalg.inv(self.fixed.affine) @ self._to_moving
        # u' = (M - I) x + M u; subtracting large coordinates would lose digits
        moved = apply_affine(matrix - np.diag([*[1.0] * self.fixed.world_axes, 0]), self.fixed.points())
        return PhysicalField(self.fixed.in_plane(moved + apply_linear(matrix, self._lifted())), self.fixed)

    def jacobian_determinant(self) -> Tensor:
        """Compute det ∂T/∂p on the fixed grid (*fixed.shape), for a slice within its plane.

        With M the affine in voxels of the fixed grid, it is det M · det(I + ∂u/∂x) by the chain rule. The grid's own
        affine cancels.
        """
        return jacobian_determinant(self.displacement[None])[0] * self.affine_determinant

    @property
    def affine_determinant(self) -> float:
        """det M, or 1 without an affine. If it is below 0, the affine flips the axes."""
        if self.affine is None:
            return 1.0
        matrix = np.linalg.inv(self.fixed.affine) @ self._to_moving
        return float(np.linalg.det(matrix[: self.fixed.axes, : self.fixed.axes]))

    def resampled_onto(self, grid: Geometry) -> "PhysicalField":
        """Resample the field onto another grid of the fixed image by linear interpolation of d; A stays separate.

        Raises:
            InputError: the grids differ in the number of world axes, or in their planes.
        """
        self._check_world(grid, "the grid")
        if self.apart is not self:
            return self.apart.resampled_onto(grid)
        x = apply_affine(np.linalg.inv(self.fixed.affine) @ grid.affine, grid.points())
        displacement = apply_linear(np.linalg.inv(grid.affine) @ self.fixed.affine, self._moved(x) - x)
        return PhysicalField(grid.in_plane(displacement), grid, self.affine)

    def followed_by(self, second: "PhysicalField") -> "PhysicalField":
        """Compose two fields, T = T₁ ∘ T₂ on the grid of ``second``: warping with this one, then with ``second``.

        The affine A₁ stays separate.
        """
        self._check_world(second.fixed, "the second field")
        if self.apart is not self:
            return self.apart.followed_by(second)
        x, grid = second.fixed.points(), second.fixed
        y = apply_affine(np.linalg.inv(self.fixed.affine) @ second._to_moving, second._moved(x))
        moved = apply_affine(np.linalg.inv(grid.affine) @ self.fixed.affine, self._moved(y))
        return PhysicalField(grid.in_plane(moved - x), grid, self.affine)

    def inverse(self, grid: Geometry | None = None) -> "PhysicalField":
        """Compute the inverse T⁻¹, from the moving to the fixed image. Warns where the field folds and has no inverse.

        Args:
            grid: the grid of the moving image; None takes that of the fixed image.

        Returns:
            T⁻¹(q) = A⁻¹ (q + d'(q)). The inverted affine stays separate, and so does that of :attr:`apart`.
        """
        grid = grid or self.fixed
        self._check_world(grid, "the grid")
        if self.apart is not self:
            return self.apart.inverse(grid)
        q = grid.points()
        x, missed = self._preimages(apply_affine(np.linalg.inv(self._to_moving) @ grid.affine, q))
        lost = 100 * float((missed > INVERTED).float().mean())
        if lost:
            warnings.warn(
                f"{lost:.3g} % of the voxels have no reliable inverse: the field folds there or nearby", stacklevel=2
            )
        moved = apply_affine(np.linalg.inv(grid.affine) @ self._to_moving, x)
        affine = None if self.affine is None else np.linalg.inv(self.affine)
        return PhysicalField(grid.in_plane(moved - q), grid, affine)

    def enters(self, grid: Geometry) -> Tensor:
        """Return a mask (*fixed.shape) of the voxels that T maps into ``grid``, which may lie anywhere in the world.

        Raises:
            InputError: one of the two is truly 2-D, and the other lies in 3-D space.
        """
        self._check_world(grid, "the grid")
        y = apply_affine(np.linalg.inv(grid.affine) @ self._to_moving, self._moved(self.fixed.points()))
        return grid.contains(y).view(self.fixed.shape)

    def inverse_error(self, inverse: "PhysicalField") -> Tensor:
        """Compute |T⁻¹(T(p)) - p| in mm, (N,), for all voxels p that T maps into the grid of ``inverse``."""
        x = self.fixed.points()
        y = apply_affine(np.linalg.inv(inverse.fixed.affine) @ self._to_moving, self._moved(x))
        back = apply_affine(np.linalg.inv(self.fixed.affine) @ inverse._to_moving, inverse._moved(y))
        return apply_linear(self.fixed.affine, back - x).norm(dim=0)[inverse.fixed.contains(y)]

    @cached_property
    def apart(self) -> "PhysicalField":
        """The same map with any rotation, flip or stretch of the whole grid moved into the affine.

        See :func:`~smoothmorph.transforms.fields.inversion.split_affine`. Nearly all fields stay as they are.
        """
        split = split_affine(self.displacement[None])
        if split is None:
            return self
        matrix, kept = np.eye(self.fixed.world_axes + 1), [*range(self.fixed.axes), -1]
        matrix[np.ix_(kept, kept)] = split[0]
        return PhysicalField(split[1][0], self.fixed, self._to_moving @ matrix @ np.linalg.inv(self.fixed.affine))

    @property
    def _to_moving(self) -> np.ndarray:
        """A F: displaced voxel coordinates -> RAS mm of the moving image."""
        return self.fixed.affine if self.affine is None else self.affine @ self.fixed.affine

    def _lifted(self) -> Tensor:
        """Return u as (W, *lifted_shape)."""
        lifted = self.fixed.lift(self.displacement)
        return F.pad(lifted.movedim(0, -1), (0, self.fixed.world_axes - self.fixed.axes)).movedim(-1, 0)

    def _moved(self, x: Tensor) -> Tensor:
        """Compute x + u(x) for voxel coordinates (W, *any)."""
        return x + sample(self._lifted().to(x.dtype)[None], x[None])[0]

    def _preimages(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Find x with x + u(x) = y for voxel coordinates (W, *any), and the error in voxels, infinite in folds."""
        x, missed = find_preimages(y[None], self._lifted().to(y.dtype)[None], tolerance=INVERTED)
        return x[0], missed[0].where(~self._in_a_fold(y), torch.inf)

    def _in_a_fold(self, y: Tensor) -> Tensor:
        """Tell which voxel coordinates y = x + u(x), (W, *any), are covered by folded voxels x: (*any)."""
        axes = self.fixed.axes
        folded = (jacobian_determinant(self.displacement[None])[0] <= 0).nonzero()
        covered = torch.zeros(y.shape[1:], dtype=torch.bool)
        if not len(folded):
            return covered
        at = (slice(None), *folded.T)
        gradient = torch.stack([part[0][at] for part in central_differences(self.displacement[None])])  # (D, D, folds)
        stretch = (gradient.movedim(2, 0) + torch.eye(axes)).norm(dim=(1, 2))
        images = folded + self.displacement[at].T
        near = KDTree(y[:axes].flatten(1).T.numpy()).query_ball_point(images.numpy(), (0.5 * stretch + 0.5).numpy())
        covered.view(-1)[torch.as_tensor(sorted({index for found in near for index in found}), dtype=torch.long)] = True
        return covered

    def _columns(self, points: Tensor) -> Tensor:
        """Reshape points (N, W) to a grid of points (W, N, 1[, 1]), float64."""
        world = self.fixed.world_axes
        if points.ndim != 2 or points.shape[1] != world:
            raise ValueError(f"points of this field have the shape (N, {world}), got {tuple(points.shape)}")
        return points.double().T.reshape(world, -1, *[1] * (world - 1))

    def _check_world(self, grid: Geometry, what: str) -> None:
        if grid.world_axes != self.fixed.world_axes:
            kinds = {2: "is truly 2-D", 3: "lies in 3-D space"}
            raise InputError(
                f"the field {kinds[self.fixed.world_axes]} but {what} {kinds[grid.world_axes]}; "
                "save both as volumes, as one-slice volumes or as 2-D images."
            )
