"""The grid on which a network registers two image files: what brings images there, and fields back."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...transforms import Geometry, PhysicalField
from ..images.relative_position import in_voxels, resample
from ..images.volumes import Volume


@dataclass(frozen=True)
class NetworkGrid:
    """A grid over the fixed image with the axes and the spacing of the training images.

    Attributes:
        grid: it.
        fixed: the fixed image's own grid.
        affine: (4, 4), the world of the fixed image to that of the moving image in mm; None if they are aligned.
    """

    grid: Geometry
    fixed: Geometry
    affine: np.ndarray | None = None

    def of_moving(self, image: Tensor, own: Geometry) -> Tensor:
        """The moving image (1, *own), aligned: (1, 1, *grid)."""
        return self._sampled(image, own, np.eye(4) if self.affine is None else self.affine)

    def of_fixed(self, image: Tensor) -> Tensor:
        """The fixed image (1, *fixed): (1, 1, *grid)."""
        return self._sampled(image, self.fixed, np.eye(4))

    def of_weights(self, weights: Volume) -> Tensor:
        """A weight map of the fixed image: (1, 1, *grid), and 1 outside of it."""
        return 1 + self.of_fixed(weights.values.float() - 1).clamp_min(-1)

    def field(self, displacement: Tensor) -> PhysicalField:
        """A displacement of the network (1, D, *grid), with the affine, on the fixed image's own grid."""
        return PhysicalField(displacement[0], self.grid, self.affine_of_axes).resampled_onto(self.fixed)

    @property
    def affine_of_axes(self) -> np.ndarray | None:
        """The affine without the world axes that slices lack."""
        kept = [*range(self.grid.world_axes), 3]
        return None if self.affine is None else self.affine[np.ix_(kept, kept)]

    def _sampled(self, image: Tensor, own: Geometry, to_world: np.ndarray) -> Tensor:
        matrix = np.linalg.inv(own.affine_4x4) @ (to_world @ self.grid.affine_4x4)
        return resample(image, in_voxels(matrix, self.grid.shape, whole=False), self.grid.shape, order=1)[None]
