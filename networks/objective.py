"""What training minimizes: similarity + λ · penalty, with its terms by name."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from .penalties import PENALTIES
from .voxelmorph import Registration


class LocalNCCLoss(_Loss):
    """Minus the mean squared local normalized cross-correlation: -1 is a perfect local linear relation.

    MONAI's loss with VoxelMorph's window, in float32 outside autocast: half precision gives NaN on blank background.
    Both images are first shifted and scaled so that the fixed one has the range 0 to 1: correlation does not depend on
    it, but MONAI's variances do, as differences of sums with an absolute floor. So windows of the fixed image's
    background, its lowest value, count as 0, whatever that value is. Avants et al., Medical Image Analysis 2008, Eq. 5.

    Args:
        spatial_dims: 2 or 3.
        window: side of the cubic window in voxels, odd.
        reduction: ``mean``, ``sum`` or ``none`` over samples and voxels.
    """

    def __init__(self, spatial_dims: int, window: int = 9, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.loss = LocalNormalizedCrossCorrelationLoss(spatial_dims, window, reduction=reduction)
        smallest = torch.tensor(self.loss.smooth_dr)
        del self.loss.smooth_dr  # as a plain number it makes the host wait for the GPU at every step
        self.loss.register_buffer("smooth_dr", smallest, persistent=False)

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, 1, *spatial) of one intensity range, whichever it is."""
        with torch.autocast(warped.device.type, enabled=False):
            low, high = fixed.detach().float().flatten(1).aminmax(dim=1)
            low, high = (value.view(-1, *[1] * (fixed.ndim - 1)) for value in (low, high))
            scale = torch.where(high > low, high - low, 1)
            return self.loss((warped.float() - low) / scale, (fixed.float() - low) / scale)


SIMILARITIES: dict[str, Callable[[int], nn.Module]] = {"mse": lambda _: nn.MSELoss(), "ncc": LocalNCCLoss}


class ObjectiveTerms(NamedTuple):
    """``loss`` = ``similarity`` + λ · multiplier · ``penalty``; the penalty is without its factors. Scalars."""

    loss: Tensor
    similarity: Tensor
    penalty: Tensor


class Objective(nn.Module):
    """similarity(warped, fixed) + λ · multiplier · penalty(field).

    Args:
        spatial_dims: 2 or 3.
        similarity: ``mse`` or ``ncc`` (window 9).
        penalty: ``l1``, ``l2``, ``bending-hessian``, ``bending-laplacian`` or ``bending-pure``.
        weight: λ.
        acts_on: the field that is penalized, ``velocity`` (VoxelMorph's way) or ``displacement``.
        multiplier: 2 is VoxelMorph's ``loss_mult`` at half resolution, hidden in the published study's λ.
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
        if similarity not in SIMILARITIES or penalty not in PENALTIES:
            raise ValueError(
                f"similarity is one of {', '.join(SIMILARITIES)} and penalty one of {', '.join(PENALTIES)}; "
                f"got {similarity!r} and {penalty!r}"
            )
        self.similarity = SIMILARITIES[similarity](spatial_dims)
        self.penalty = PENALTIES[penalty]()
        self.weight = weight
        self.acts_on = acts_on
        self.multiplier = multiplier

    def forward(self, registration: Registration, fixed: Tensor) -> ObjectiveTerms:
        similarity = self.similarity(registration.warped, fixed)
        penalty = self.penalty(getattr(registration, self.acts_on))
        return ObjectiveTerms(similarity + self.weight * self.multiplier * penalty, similarity, penalty)

    def extra_repr(self) -> str:
        return f"weight={self.weight}, acts_on={self.acts_on!r}, multiplier={self.multiplier}"
