"""What training minimizes: similarity + λ · penalty, with its terms by name."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..voxelmorph import Registration
from .vocabulary import PENALTIES, SIMILARITIES


class ObjectiveTerms(NamedTuple):
    """``loss`` = ``similarity`` + λ · multiplier · ``penalty``; the penalty is without its factors.

    Scalars, the means over a batch; of an objective with ``reduction="none"`` one number per sample (B,).
    """

    loss: Tensor
    similarity: Tensor
    penalty: Tensor


class Objective(nn.Module):
    """similarity(warped, fixed) + λ · multiplier · penalty(field).

    Both can be weighted sums: ``mse+gradient-mse``, ``0.01*l2+folding``. λ is then a factor on the whole sum.

    Args:
        spatial_dims: 2 or 3.
        similarity: the name of a similarity, such as ``mse`` or ``ncc``, or a sum.
        penalty: the name of a penalty, such as ``l2``, or a sum.
        weight: λ.
        acts_on: the field that is penalized, ``velocity`` (VoxelMorph's way) or ``displacement``.
        multiplier: 2 is VoxelMorph's ``loss_mult`` at half resolution, hidden in the published study's λ.
        reduction: ``mean`` over the samples of a batch; ``none`` gives terms of shape (B,), each what the sample has
            alone.

    Raises:
        InputError: no similarity or penalty has this name, or a weight in a sum is not finite and above 0.
    """

    def __init__(
        self,
        spatial_dims: int,
        similarity: str = "mse",
        penalty: str = "l2",
        weight: float = 0.01,
        acts_on: Literal["velocity", "displacement"] = "velocity",
        multiplier: float = 1.0,
        reduction: Literal["mean", "none"] = "mean",
    ) -> None:
        super().__init__()
        self.minimizes = SIMILARITIES.check(similarity)
        self.similarity = SIMILARITIES[self.minimizes](spatial_dims, reduction)
        terms = PENALTIES.terms(penalty)
        self.penalties = nn.ModuleList(PENALTIES[term.name](reduction=reduction) for term in terms)
        self.shares = [term.weight for term in terms]
        self.weight = weight
        self.acts_on = acts_on
        self.multiplier = multiplier
        self.reduction = reduction

    def forward(self, registration: Registration, fixed: Tensor) -> ObjectiveTerms:
        similarity = self.similarity(registration.warped, fixed)
        field = getattr(registration, self.acts_on)
        parts = [share * penalty(field) for share, penalty in zip(self.shares, self.penalties, strict=True)]
        penalty = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
        return ObjectiveTerms(similarity + self.weight * self.multiplier * penalty, similarity, penalty)

    def extra_repr(self) -> str:
        return f"weight={self.weight}, acts_on={self.acts_on!r}, multiplier={self.multiplier}"
