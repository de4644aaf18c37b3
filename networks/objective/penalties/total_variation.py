"""Isotropic total variation, smoothed at 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 0.01
TOTAL_VARIATION = PENALTIES.add(
    PenaltyEntry(
        name="total-variation",
        title="Total variation",
        meaning=f"mean |∇u| over voxels, with all derivatives in one norm, Huber-smoothed below ε = {EPSILON:g}",
        source="Vishnevskiy et al., IEEE TMI 2017; Huber function as in Werlberger et al., BMVC 2009",
        target=f"{__name__}:total_variation",
        always=False,
        place=7,
    )
)


def total_variation(
    field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None, epsilon: float = EPSILON
) -> Tensor:
    """Isotropic total variation: mean over voxels of h(|∇u|), |∇u|² = Σ_ab (∂u_b/∂x_a)² with forward differences.

    h is Huber's function: h(s) = s² / 2ε for s <= ε, otherwise s - ε/2. It is the length minus a constant, but smooth
    at 0. The penalty allows jumps in the field: a sliding border costs its height, no matter how sharp it is.

    Args:
        field: (B, D, *spatial) in voxels.
        spacing: mm per voxel; None computes in voxels.
        weight: (B or 1, 1, *spatial), a factor for every voxel.
        epsilon: ε, in units of the derivatives (none).
    """
    rows = transforms.gradient(transforms.field_in_mm(field, spacing), spacing)
    first, *others = (row.square().sum(1, keepdim=True) for row in rows)
    squares = sum(others, start=first)
    long = squares.clamp_min(epsilon**2).sqrt() - epsilon / 2
    return transforms.mean_over_voxels((squares / (2 * epsilon)).where(squares < epsilon**2, long), weight, field)
