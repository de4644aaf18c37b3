"""The training objective: similarity + λ · penalty, with its terms by name."""

import math
from numbers import Real
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...transforms.fields.warping import warp
from ..field_model import Registration
from .vocabulary import PENALTIES, SIMILARITIES, PenaltyEntry

FIELDS, REDUCTIONS = ("velocity", "displacement"), ("mean", "none")


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

    Both terms can be weighted sums: ``mse+gradient-mse``, ``0.01*l2+folding``. λ is then a factor on the whole sum of
    penalties. Penalties on the Jacobian determinant or on both directions always act on the displacement.

    Args:
        spatial_dims: 2 or 3.
        similarity: the name of a similarity, such as ``mse`` or ``ncc``, or a sum.
        penalty: the name of a penalty, such as ``l2``, or a sum.
        weight: λ.
        acts_on: the penalized field: ``velocity``, as in VoxelMorph, or ``displacement``.
        multiplier: extra factor on the penalty. VoxelMorph uses 2 at half resolution (``loss_mult``); the published
            study did too, but did not count it in its λ.
        reduction: ``mean`` averages over the samples of a batch. ``none`` gives the terms of every sample, (B,).

    Raises:
        InputError: no similarity or penalty has this name, or a weight in a sum is not finite and above 0.
        ValueError: ``weight`` or ``multiplier`` is not a number of 0 or more; ``acts_on`` or ``reduction`` is unknown.
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
        for name, value in (("weight", weight), ("multiplier", multiplier)):
            if not (isinstance(value, Real) and 0 <= value < math.inf):
                raise ValueError(f"{name} must be a number of 0 or more, got {value!r}")
        for name, value, known in (("acts_on", acts_on, FIELDS), ("reduction", reduction, REDUCTIONS)):
            if value not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {value!r}")
        self.minimizes = SIMILARITIES.check(similarity)
        self.similarity = SIMILARITIES[self.minimizes](spatial_dims, reduction)
        terms = PENALTIES.terms(penalty)
        self.entries = [PENALTIES[term.name] for term in terms]
        self.penalties = nn.ModuleList(entry(reduction=reduction) for entry in self.entries)
        self.shares = [term.weight for term in terms]
        self.weight = weight
        self.acts_on = acts_on
        self.multiplier = multiplier
        self.reduction = reduction

    @property
    def both_directions(self) -> bool:
        """Whether a penalty also needs the registration of the fixed to the moving image."""
        return any(entry.both_directions for entry in self.entries)

    def forward(self, registration: Registration, fixed: Tensor, weight_map: Tensor | None = None) -> ObjectiveTerms:
        """Evaluate the objective of a registration.

        Args:
            registration: registration of a batch. If :attr:`both_directions`, its ``inverse_displacement`` must be the
                field by which the fixed image was registered to the moving one, as :meth:`of_both` sets it. The inverse
                that ``inverse=True`` computes from the field itself would make the penalty vanish.
            fixed: fixed images (B, 1, *spatial).
            weight_map: λ as a field: (B or 1, 1, *spatial), a factor on the penalty for every voxel of the fixed image.
                1 changes nothing. It is interpolated to the grid of the penalized field.

        Raises:
            InputError: there is a weight map, but a penalty of another package does not take one.
            ValueError: the map is not on the grid of the fixed images, or the inverse displacement is missing.
        """
        similarity = self.similarity(registration.warped, fixed)
        if weight_map is not None and weight_map.shape[1:] != fixed[:, :1].shape[1:]:
            raise ValueError(f"the weight map {tuple(weight_map.shape)} is not on the grid of {tuple(fixed.shape)}")
        parts = [
            share * penalty(*self._of(entry, registration, weight_map))
            for share, entry, penalty in zip(self.shares, self.entries, self.penalties, strict=True)
            if share
        ]
        penalty = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
        return ObjectiveTerms(similarity + self.weight * self.multiplier * penalty, similarity, penalty)

    def of_both(
        self, registration: Registration, moving: Tensor, fixed: Tensor, weight_map: Tensor | None = None
    ) -> ObjectiveTerms:
        """Evaluate both directions of B pairs. Each term is the mean over both directions.

        Args:
            registration: registrations of 2 B pairs: first moving to fixed images, then fixed to moving images.
            moving, fixed: images (B, 1, *spatial).
            weight_map: map of the fixed images, see :meth:`forward`. It is warped onto the moving images.

        Returns:
            Scalars; with ``reduction="none"`` (B,), one number per pair.

        Raises:
            InputError, ValueError: as :meth:`forward`.
        """
        count, displacement = len(fixed), registration.displacement
        if weight_map is not None:
            weight_map = weight_map.expand(count, *weight_map.shape[1:])
            weight_map = torch.cat([weight_map, warp(weight_map, displacement[count:].detach())])
        both = registration._replace(inverse_displacement=displacement.roll(count, 0))
        terms = self(both, torch.cat([fixed, moving]), weight_map)
        if self.reduction == "mean":
            return terms
        return ObjectiveTerms(*(term.view(2, count).mean(0) for term in terms))

    def _of(
        self, entry: PenaltyEntry, registration: Registration, weight_map: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the arguments of a penalty: field, inverse displacement, and the weights on the grid of the field."""
        field = getattr(registration, entry.field or self.acts_on)
        if weight_map is not None and weight_map.shape[2:] != field.shape[2:]:
            mode = "bilinear" if field.ndim == 4 else "trilinear"
            weight_map = F.interpolate(weight_map, field.shape[2:], mode=mode, align_corners=True)
        return field, registration.inverse_displacement, weight_map

    def extra_repr(self) -> str:
        return f"weight={self.weight}, acts_on={self.acts_on!r}, multiplier={self.multiplier}"
