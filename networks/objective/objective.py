"""The training objective: similarity + λ · penalty, with its terms by name."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..voxelmorph import Registration
from .vocabulary import PENALTIES, SIMILARITIES


class ObjectiveTerms(NamedTuple):
    """The terms of the objective: ``loss`` = ``similarity`` + λ · multiplier · ``penalty``.

    ``penalty`` is the value before it is multiplied by λ and the multiplier. The terms are scalars, means over the
    batch. With ``reduction="none"`` they have the shape (B,), one number per sample.
    """

    loss: Tensor
    similarity: Tensor
    penalty: Tensor


class Objective(nn.Module):
    """The training objective: similarity(warped, fixed) + λ · multiplier · penalty(field).

    Both can be weighted sums: ``mse+gradient-mse``, ``0.01*l2+folding``. λ is then a factor on the whole sum.

    Args:
        spatial_dims: 2 or 3.
        similarity: the name of a similarity, such as ``mse`` or ``ncc``, or a sum.
        penalty: the name of a penalty, such as ``l2``, or a sum.
        weight: λ.
        acts_on: the penalized field: ``velocity``, as in VoxelMorph, or ``displacement``.
        multiplier: extra factor on the penalty. VoxelMorph uses 2 at half resolution (``loss_mult``); the published
            study did too, but did not count it in its λ.
        reduction: ``mean`` averages over the samples of a batch. ``none`` gives terms of shape (B,): for each sample
            the terms of that sample alone.

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
