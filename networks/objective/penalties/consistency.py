"""Penalties on both directions of a registration: the composition of their maps should be the identity.

u is the displacement of the registration, and w that of the reverse registration, of the fixed to the moving image. The
residual of x -> (id + w)(x + u(x)) is r(x) = u(x) + w(x + u(x)), on the grid of the fixed image. Outside the image, w
has the value at its border.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

INVERSE_CONSISTENCY = PENALTIES.add(
    PenaltyEntry(
        name="inverse-consistency",
        title="Inverse consistency",
        meaning="mean |r|² of the residual r(x) = u(x) + w(x + u(x)) of the displacements u and w of both directions",
        source="Christensen and Johnson, IEEE TMI 2001; Greer et al. (ICON), ICCV 2021",
        target=f"{__name__}:inverse_consistency",
        always=False,
        field="displacement",
        both_directions=True,
        place=12,
    )
)
GRADICON = PENALTIES.add(
    PenaltyEntry(
        name="gradicon",
        title="GradICON",
        meaning="mean |∇r|² of the residual r(x) = u(x) + w(x + u(x)) of the displacements u and w of both directions",
        source="Tian et al., CVPR 2023",
        target=f"{__name__}:gradicon",
        always=False,
        field="displacement",
        both_directions=True,
        place=13,
    )
)


def inverse_consistency(
    field: Tensor, inverse: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None
) -> Tensor:
    """Inverse consistency: mean over voxels of |r|², r(x) = u(x) + w(x + u(x)).

    Args:
        field: u (B, D, *spatial), the displacement of the registration in voxels.
        inverse: w (B, D, *spatial), the displacement of the reverse registration.
        spacing: mm per voxel; None computes in voxels.
        weight: (B or 1, 1, *spatial), a factor for every voxel.
    """
    residual = transforms.field_in_mm(transforms.compose(inverse, field), spacing)
    return transforms.mean_over_voxels(residual.square().sum(1, keepdim=True), weight, field)


def gradicon(
    field: Tensor, inverse: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None
) -> Tensor:
    """GradICON: mean over voxels of the squared Frobenius norm of ∇r, r(x) = u(x) + w(x + u(x)).

    ∇ uses forward differences; each axis is averaged over its own differences. A constant residual costs nothing.
    The arguments are those of :func:`inverse_consistency`. Source: Tian et al., CVPR 2023.
    """
    residual = transforms.field_in_mm(transforms.compose(inverse, field), spacing)
    derivatives = transforms.forward_differences(residual, spacing)
    return len(derivatives) ** 2 * transforms.mean_over_axes([part.square() for part in derivatives], weight, field)
