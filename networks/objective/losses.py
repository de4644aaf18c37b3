"""Smoothness penalties as losses, in MONAI's form."""

from collections.abc import Sequence

from monai.utils.enums import LossReduction
from torch import Tensor
from torch.nn.modules.loss import _Loss

from .penalties.bending import FORMS, BendingForm
from .vocabulary import PENALTIES, PenaltyEntry


class Penalty(_Loss):
    """A smoothness penalty as a loss: ``multiplier`` · penalty, reduced over the samples of a batch.

    Args:
        penalty: the name of a penalty, such as ``l2``, or a :class:`PenaltyEntry`.
        spacing: voxel size along each axis in mm; None computes in voxels.
        multiplier: factor on the value; VoxelMorph's scripts and the published study use 2 silently (``loss_mult``).
        reduction: ``mean`` or ``sum`` over the samples; ``none`` returns one value per sample (B,).

    Raises:
        InputError: no penalty has this name.
    """

    def __init__(
        self,
        penalty: str | PenaltyEntry,
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=LossReduction(reduction).value)
        self.entry = PENALTIES[PENALTIES.check(penalty)] if isinstance(penalty, str) else penalty
        self.function = self.entry.load()
        self.spacing = spacing
        self.multiplier = multiplier

    def forward(self, field: Tensor) -> Tensor:
        """Return the penalty of ``field`` (B, D, *spatial), a displacement or velocity field in voxels."""
        values = self.multiplier * self.function(field, spacing=self.spacing, **self.entry.arguments)
        if self.reduction == LossReduction.NONE.value:
            return values
        return values.mean() if self.reduction == LossReduction.MEAN.value else values.sum()

    def extra_repr(self) -> str:
        name, more = self.entry.name, f"multiplier={self.multiplier}, reduction={self.reduction!r}"
        return f"{name!r}, spacing={self.spacing}, {more}"


class L1Penalty(Penalty):
    """The L1 penalty, mean_a mean |∂u/∂x_a|, as a loss; see :func:`l1_penalty`."""

    def __init__(
        self, spacing: Sequence[float] | None = None, multiplier: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__("l1", spacing, multiplier, reduction)


class L2Penalty(Penalty):
    """The L2 penalty, mean_a mean (∂u/∂x_a)², as a loss; see :func:`l2_penalty`."""

    def __init__(
        self, spacing: Sequence[float] | None = None, multiplier: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__("l2", spacing, multiplier, reduction)


class BendingEnergy(Penalty):
    """The bending energy as a loss; ``form`` is ``hessian``, ``laplacian`` or ``pure``; see :func:`bending_energy`."""

    def __init__(
        self,
        form: BendingForm = "hessian",
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"the form of the bending energy must be one of {', '.join(FORMS)}; got {form!r}")
        super().__init__(f"bending-{form}", spacing, multiplier, reduction)
