"""The training objective: similarity + λ · penalty, with its terms by name."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...transforms.fields.warping import warp
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

    Both can be weighted sums: ``mse+gradient-mse``, ``0.01*l2+folding``. λ is then a factor on the whole sum. Penalties
    of the Jacobian determinant and on both directions always act on the displacement.

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

    @property
    def both_directions(self) -> bool:
        """Whether a penalty needs the registration of the fixed to the moving image, too."""
        return any(penalty.entry.both_directions for penalty in self.penalties)

    def forward(self, registration: Registration, fixed: Tensor, weight_map: Tensor | None = None) -> ObjectiveTerms:
        """Evaluate the objective of a registration.

        Args:
            registration: of a batch; where :attr:`both_directions`, with its ``inverse_displacement``.
            fixed: the fixed images (B, 1, *spatial).
            weight_map: λ as a field: a factor on the penalty for every voxel of the fixed images (B or 1, 1, *spatial);
                1 changes nothing. It is interpolated on the grid of the penalized field.

        Raises:
            InputError: there is a weight map, and a penalty of another package does not take one.
            ValueError: the map lies on another grid, or the inverse displacement is missing.
        """
        similarity = self.similarity(registration.warped, fixed)
        if weight_map is not None and weight_map.shape[1:] != fixed[:, :1].shape[1:]:
            raise ValueError(f"the weight map {tuple(weight_map.shape)} is not on the grid of {tuple(fixed.shape)}")
        parts = [
            share * self._penalty(penalty, registration, weight_map)
            for share, penalty in zip(self.shares, self.penalties, strict=True)
        ]
        penalty = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
        return ObjectiveTerms(similarity + self.weight * self.multiplier * penalty, similarity, penalty)

    def of_both(
        self,
        forward: Registration,
        backward: Registration,
        moving: Tensor,
        fixed: Tensor,
        weight_map: Tensor | None = None,
    ) -> ObjectiveTerms:
        """Evaluate both directions of a registration: the mean of the terms of both.

        Args:
            forward, backward: the registrations of the moving to the fixed images and the reverse.
            moving, fixed: images (B, 1, *spatial).
            weight_map: of the fixed images, see :meth:`forward`; for the moving ones it is warped by ``backward``.
        """
        there = forward._replace(inverse_displacement=backward.displacement)
        back = backward._replace(inverse_displacement=forward.displacement)
        warped = (
            None
            if weight_map is None
            else warp(weight_map.expand(len(fixed), -1, *fixed.shape[2:]), backward.displacement.detach())
        )
        pairs = zip(self(there, fixed, weight_map), self(back, moving, warped), strict=True)
        return ObjectiveTerms(*((one + other) / 2 for one, other in pairs))

    def _penalty(self, penalty: nn.Module, registration: Registration, weight_map: Tensor | None) -> Tensor:
        field = getattr(registration, penalty.entry.field or self.acts_on)
        if weight_map is not None and weight_map.shape[2:] != field.shape[2:]:
            mode = "bilinear" if field.ndim == 4 else "trilinear"
            weight_map = F.interpolate(weight_map, field.shape[2:], mode=mode, align_corners=True)
        return penalty(field, registration.inverse_displacement, weight_map)

    def extra_repr(self) -> str:
        return f"weight={self.weight}, acts_on={self.acts_on!r}, multiplier={self.multiplier}"
