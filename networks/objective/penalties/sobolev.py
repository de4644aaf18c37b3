"""The Sobolev norm of a field, whose kernel smooths it."""

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
        meaning=f"mean (u - ℓ² ∇²u)² with the length ℓ = {LENGTH:g} voxels; a translation costs, too",
        source="Beg et al., Int. J. Comput. Vis. 2005, the norm of LDDMM with L = Id - ℓ² ∇²",
        target=f"{__name__}:sobolev_norm",
        always=False,
        place=14,
    )
)


def sobolev_norm(
    field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None, length: float = LENGTH
) -> Tensor:
    """Sobolev norm: mean over voxels and components of (u - ℓ² ∇²u)², the field mirrored at its edges.

    Its minimum under a data term is the data's gradient, smoothed with the kernel (1 - ℓ² ∇²)⁻² of about ℓ: this is the
    norm of LDDMM (Beg et al. 2005), and the way to ask for a field as smooth as a smoothing makes it. Smoothing the
    updates with a Gaussian, as the demons do, is no penalty: it changes the way to the minimum and not the minimum, so
    that the result depends on when one stops, and no λ of it means the same in training, refinement and optimization.
    The norm whose kernel is a Gaussian grows exponentially with frequency; this one is its tame relative.

    Args:
        field: (B, D, *spatial) in voxels.
        spacing: mm per voxel; None computes in voxels.
        weight: (B or 1, 1, *spatial), a factor for every voxel.
        length: ℓ, in mm with ``spacing``, otherwise in voxels of the field's grid.
    """
    field = transforms.field_in_mm(field, spacing)
    return transforms.mean_over_voxels((field - length**2 * transforms.laplacian(field, spacing)).square(), weight)
