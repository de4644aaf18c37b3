"""The Sobolev norm of a field as a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 2.0
SOBOLEV = PENALTIES.add(
    PenaltyEntry(
        name="sobolev",
        title="Sobolev",
        meaning=f"mean (u - ℓ² ∇²u)² with the length ℓ = {LENGTH:g} voxels; also a translation costs",
        source="Beg et al., Int. J. Comput. Vis. 2005, the norm of LDDMM with L = Id - ℓ² ∇²",
        target=f"{__name__}:sobolev_norm",
        always=False,
        place=14,
    )
)


def sobolev_norm(
    field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None, length: float = LENGTH
) -> Tensor:
    """Sobolev norm: mean over voxels and components of (u - ℓ² ∇²u)², with the field mirrored at its edges.

    This is the norm of LDDMM (Beg et al. 2005). At the minimum of data term plus penalty, the field is the data term's
    gradient, smoothed by the kernel (1 - ℓ² ∇²)⁻² of width about ℓ. The demons instead smooth the updates with a
    Gaussian. That is not a penalty: it changes the path to the minimum, but not the minimum. The result depends on when
    one stops, and λ has no common meaning in training, refinement and optimization. A norm with a Gaussian kernel would
    grow exponentially with frequency; this norm grows as a polynomial.

    Args:
        field: (B, D, *spatial) in voxels.
        spacing: mm per voxel; None computes in voxels.
        weight: (B or 1, 1, *spatial), a factor for every voxel.
        length: ℓ, in mm with ``spacing``, otherwise in voxels of the field's grid.
    """
    field = transforms.field_in_mm(field, spacing)
    return transforms.mean_over_voxels(
        (field - length**2 * transforms.laplacian(field, spacing)).square(), weight, field
    )
