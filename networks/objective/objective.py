"""The training objective: similarity + λ · penalty, with its terms by name."""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from ..voxelmorph import Registration
from .vocabulary import PENALTIES, SIMILARITIES


class ObjectiveTerms(NamedTuple):
    """The terms of the objective, as scalars: ``loss`` = ``similarity`` + λ · multiplier · ``penalty``.

    ``penalty`` is the value before it is multiplied by λ and the multiplier.
    """

    loss: Tensor
    similarity: Tensor
    penalty: Tensor


class Objective(nn.Module):
    """The training objective: similarity(warped, fixed) + λ · multiplier · penalty(field).

    Args:
        spatial_dims: 2 or 3.
        similarity: the name of a similarity, such as ``mse`` or ``ncc``.
        penalty: the name of a penalty, such as ``l2``.
        weight: λ.
        acts_on: the penalized field: ``velocity``, as in VoxelMorph, or ``displacement``.
        multiplier: extra factor on the penalty. VoxelMorph uses 2 at half resolution (``loss_mult``); the published
            study did too, but did not count it in its λ.

    Raises:
        InputError: no similarity or penalty has this name.
    """

    def __init__(
        self,
        spatial_dims: int,
        similarity: str = "mse",
        penalty: str = "l2",
        weight: float = 0.01,
        acts_on: Literal["velocity", "displacement"] = "velocity",
        multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.minimizes = SIMILARITIES.check(similarity)
        self.similarity = SIMILARITIES[similarity](spatial_dims)
        self.penalty = PENALTIES[PENALTIES.check(penalty)]()
        self.weight = weight
        self.acts_on = acts_on
        self.multiplier = multiplier

    def forward(self, registration: Registration, fixed: Tensor) -> ObjectiveTerms:
        similarity = self.similarity(registration.warped, fixed)
        penalty = self.penalty(getattr(registration, self.acts_on))
        return ObjectiveTerms(similarity + self.weight * self.multiplier * penalty, similarity, penalty)

    def extra_repr(self) -> str:
        return f"weight={self.weight}, acts_on={self.acts_on!r}, multiplier={self.multiplier}"
