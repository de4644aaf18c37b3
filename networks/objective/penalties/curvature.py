"""The curvature penalty: the squared Laplacian, including the edges of the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

CURVATURE = PENALTIES.add(
    PenaltyEntry(
        name="curvature",
        title="Curvature",
        meaning="mean (∇²u)², with the field mirrored at its edges; inside it equals bending-laplacian",
        source="Fischer and Modersitzki, J. Math. Imaging Vis. 2003, without the factor 1/2",
        target=f"{__name__}:curvature_penalty",
        always=False,
        place=5,
    )
)


def curvature_penalty(field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None) -> Tensor:
    """Curvature penalty: mean (∇²u)² over all voxels and components, with the field mirrored at its edges.

    This is the curvature of Fischer and Modersitzki (2003) with their Neumann boundary, but without the factor 1/2, and
    with a mean over components instead of a sum. ``bending_energy(form="laplacian")`` has the same integrand in the
    interior only. The difference is at the boundary: here the slope of an affine field costs at the edges.
    """
    field = transforms.field_in_mm(field, spacing)
    return transforms.mean_over_voxels(transforms.laplacian(field, spacing).square(), weight, field)
