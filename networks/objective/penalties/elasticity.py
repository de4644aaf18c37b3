"""The linear elasticity penalty, and a penalty on the divergence alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

LINEAR_ELASTICITY = PENALTIES.add(
    PenaltyEntry(
        name="linear-elasticity",
        title="Linear elasticity",
        meaning="mean μ/4 Σ (∂_a u_b + ∂_b u_a)² + λ/2 (div u)² with Lamé's constants μ = λ = 1: Poisson's ratio 1/4",
        source="Broit 1981; Modersitzki, Numerical Methods for Image Registration, 2004, Chapter 9",
        target=f"{__name__}:linear_elasticity",
        always=False,
        place=6,
    )
)
DIVERGENCE = PENALTIES.add(
    PenaltyEntry(
        name="divergence",
        title="Divergence",
        meaning="mean (div u)², which preserves volumes to first order",
        source="Mansi et al., Int. J. Comput. Vis. 2011, the incompressibility of iLogDemons as a soft penalty",
        target=f"{__name__}:divergence_penalty",
        always=False,
        place=8,
    )
)


def linear_elasticity(
    field: Tensor,
    spacing: Sequence[float] | None = None,
    weight: Tensor | None = None,
    mu: float = 1.0,
    lam: float = 1.0,
) -> Tensor:
    """Linear elastic (Navier-Lamé) energy: mean of μ/4 Σ_ab (∂u_b/∂x_a + ∂u_a/∂x_b)² + λ/2 (div u)².

    A translation and a small rotation cost nothing. The mean is over voxels; components are summed. All forward
    differences are taken at the same points.
    Source: Broit 1981; Modersitzki, Numerical Methods for Image Registration, 2004, Chapter 9.

    Args:
        field: (B, D, *spatial) in voxels.
        spacing: mm per voxel; None computes in voxels.
        weight: (B or 1, 1, *spatial), a factor for every voxel.
        mu, lam: Lamé's constants μ (shear modulus) and λ (not the weight of the penalty).
    """
    rows = transforms.gradient(transforms.field_in_mm(field, spacing), spacing)
    axes = range(len(rows))
    shear = sum((rows[a][:, b] + rows[b][:, a]).square() for a in axes for b in axes)
    energy = mu / 4 * shear + lam / 2 * _divergence(rows).square()
    return transforms.mean_over_voxels(energy[:, None], weight, field)


def divergence_penalty(field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None) -> Tensor:
    """Divergence penalty: mean over voxels of (Σ_a ∂u_a/∂x_a)², with forward differences at the same points.

    The divergence of a velocity is its rate of expansion. A velocity field without divergence preserves volumes.
    """
    rows = transforms.gradient(transforms.field_in_mm(field, spacing), spacing)
    return transforms.mean_over_voxels(_divergence(rows).square()[:, None], weight, field)


def _divergence(rows: Sequence[Tensor]) -> Tensor:
    """Compute Σ_a ∂u_a/∂x_a (B, *points) from ∂u/∂x_a for every axis a."""
    first, *others = (row[:, axis] for axis, row in enumerate(rows))
    return sum(others, start=first)
