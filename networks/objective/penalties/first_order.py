"""The L1 and L2 penalties on the first differences of a field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES.add(
    PenaltyEntry(
        name="l1",
        title="L1",
        meaning="mean |∂u|, first differences",
        source="VoxelMorph's Grad('l1')",
        target=f"{__name__}:l1_penalty",
        place=0,
    )
)
PENALTIES.add(
    PenaltyEntry(
        name="l2",
        title="L2",
        meaning="mean (∂u)², first differences (diffusion)",
        source="Balakrishnan et al., IEEE TMI 2019, Eq. 4",
        target=f"{__name__}:l2_penalty",
        place=1,
    )
)


def l1_penalty(field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None) -> Tensor:
    """L1 penalty: mean_a mean |∂u/∂x_a| with forward differences, as VoxelMorph's ``Grad('l1')``."""
    derivatives = transforms.forward_differences(transforms.field_in_mm(field, spacing), spacing)
    return transforms.mean_over_axes([derivative.abs() for derivative in derivatives], weight, field)


def l2_penalty(field: Tensor, spacing: Sequence[float] | None = None, weight: Tensor | None = None) -> Tensor:
    """L2 (diffusion) penalty: mean_a mean (∂u/∂x_a)² with forward differences, as VoxelMorph's ``Grad('l2')``.

    Source: Balakrishnan et al., IEEE TMI 2019, Eq. 4.
    """
    derivatives = transforms.forward_differences(transforms.field_in_mm(field, spacing), spacing)
    return transforms.mean_over_axes([derivative.square() for derivative in derivatives], weight, field)
