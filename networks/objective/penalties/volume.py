"""Penalties on the Jacobian determinant det(I + ∂u/∂x): how a deformation changes volumes, and where it folds.

They act on the displacement: the determinant of a velocity is not that of the deformation. A determinant has no unit,
so ``spacing`` changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 0.1
LOG_JACOBIAN = PENALTIES.add(
    PenaltyEntry(
        name="log-jacobian",
        title="Log-Jacobian",
        meaning=f"mean (log det)² of the displacement, continued linearly where det < {LEAST:g}",
        source="after Rohlfing et al., IEEE TMI 2003, who take |log det|",
        target=f"{__name__}:log_jacobian",
        always=False,
        field="displacement",
        place=9,
    )
)
FOLDING = PENALTIES.add(
    PenaltyEntry(
        name="folding",
        title="Folding",
        meaning="mean max(0, -det) of the displacement, by central differences",
        source="Kuang and Schmah, MLMI 2019",
        target=f"{__name__}:folding_penalty",
        always=False,
        field="displacement",
        place=10,
    )
)
DIGITAL_FOLDING = PENALTIES.add(
    PenaltyEntry(
        name="digital-folding",
        title="Digital folding",
        meaning="part of the grid that the displacement turns inside out, measured on triangles or tetrahedra",
        source="the volume of Liu et al., IJCV 2024, as a penalty",
        target=f"{__name__}:digital_folding",
        always=False,
        field="displacement",
        place=11,
    )
)


def log_jacobian(
    field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None, least: float = LEAST
) -> Tensor:
    """Log-Jacobian penalty: mean over voxels of (log det)², det by central differences.

    Doubling a volume costs as much as halving it. Where det < ``least``, which includes folds, the function continues
    along its tangent: (log m)² + (2 log m / m) (det - m) with m = ``least``. It stays finite and smooth, and its
    gradient leads out of a fold.
    """
    transforms.field_in_mm(field, spacing)  # checks field and spacing
    determinant = transforms.jacobian_determinant(field)
    below = (determinant - least).clamp_max(0)
    values = determinant.clamp_min(least).log().square() + 2 * math.log(least) / least * below
    return transforms.mean_over_voxels(values[:, None], weight, field)


def folding_penalty(field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None) -> Tensor:
    """Folding penalty: mean over voxels of max(0, -det), det by central differences.

    Where nothing folds, the penalty and its gradient are 0. So use it in a sum with a smoothness penalty. Central
    differences miss folds between voxels; see :func:`digital_folding`.
    Source: Kuang and Schmah, MLMI 2019.
    """
    transforms.field_in_mm(field, spacing)
    determinant = transforms.jacobian_determinant(field)
    return transforms.mean_over_voxels((-determinant).clamp_min(0)[:, None], weight, field)


def digital_folding(field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None) -> Tensor:
    """Digital folding: mean over cells of :func:`~smoothmorph.transforms.inverted_part`.

    It equals the metric ``nondiffeomorphic_percent`` / 100. At 0, no triangle (2-D) or tetrahedron (3-D) of the grid
    turns inside out.
    Source: the measure of Liu et al., IJCV 2024, used as a penalty.
    """
    transforms.field_in_mm(field, spacing)
    return transforms.mean_over_voxels(transforms.inverted_part(field)[:, None], weight, field)
