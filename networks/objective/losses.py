"""Smoothness penalties as losses, in MONAI's form."""

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from monai.utils.enums import LossReduction
from torch import Tensor
from torch.nn.modules.loss import _Loss

from ...transforms.basics.errors import InputError
from ...transforms.fields.differences import float32_or_better
from .penalties.bending import FORMS, BendingForm
from .penalties.consistency import GRADICON, INVERSE_CONSISTENCY
from .penalties.curvature import CURVATURE
from .penalties.elasticity import DIVERGENCE, LINEAR_ELASTICITY
from .penalties.sobolev import LENGTH, SOBOLEV
from .penalties.total_variation import EPSILON, TOTAL_VARIATION
from .penalties.volume import DIGITAL_FOLDING, FOLDING, LEAST, LOG_JACOBIAN
from .vocabulary import PENALTIES, PenaltyEntry


class Penalty(_Loss):
    """A smoothness penalty as a loss: ``multiplier`` · penalty, reduced over the samples of a batch.

    Args:
        penalty: the name of a penalty, such as ``l2``, or a :class:`PenaltyEntry`.
        spacing: voxel size along each axis in mm; None computes in voxels.
        multiplier: factor on the value; VoxelMorph's scripts and the published study use 2 silently (``loss_mult``).
        reduction: ``mean`` or ``sum`` over the samples; ``none`` returns one value per sample (B,).
        arguments: further arguments of the penalty's function; default: the entry's arguments.

    Raises:
        InputError: no penalty has this name.
    """

    def __init__(
        self,
        penalty: str | PenaltyEntry,
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
        **arguments: Any,
    ) -> None:
        super().__init__(reduction=LossReduction(reduction).value)
        self.entry = PENALTIES[PENALTIES.check(penalty)] if isinstance(penalty, str) else penalty
        self.function = self.entry.load()
        self.spacing = spacing
        self.multiplier = multiplier
        self.arguments = {**self.entry.arguments, **arguments}

    @cached_property
    def takes_weight(self) -> bool:
        """Whether the penalty supports a weight per voxel."""
        return "weight" in inspect.signature(self.function).parameters

    def forward(self, field: Tensor, inverse: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """Return the penalty of ``field``.

        Args:
            field: (B, D, *spatial), a displacement or velocity field in voxels.
            inverse: (B, D, *spatial), the displacement that registers the fixed to the moving image. Only penalties on
                both directions need it.
            weight: (B or 1, 1, *spatial), a factor for every voxel of the field's grid: λ as a field.

        Returns:
            In float32 or better, also for a field in half precision, whose squares would be lost.

        Raises:
            InputError: the penalty does not support a weight per voxel.
            ValueError: ``inverse`` is missing.
        """
        options: dict[str, Any] = {"spacing": self.spacing, **self.arguments}
        if self.entry.both_directions:
            if inverse is None:
                raise ValueError(f"the penalty {self.entry.name} needs the displacements of both directions")
            options["inverse"] = inverse.to(float32_or_better(inverse))
        if weight is not None:
            if not self.takes_weight:
                raise InputError(
                    f"the penalty {self.entry.name} cannot be weighted by voxel; leave the weight map out."
                )
            options["weight"] = weight
        with torch.autocast(field.device.type, enabled=False):
            values = self.multiplier * self.function(field.to(float32_or_better(field)), **options)
        if self.reduction == LossReduction.NONE.value:
            return values
        return values.mean() if self.reduction == LossReduction.MEAN.value else values.sum()

    def extra_repr(self) -> str:
        name, more = self.entry.name, f"multiplier={self.multiplier}, reduction={self.reduction!r}"
        own = "".join(f"{argument}={value!r}, " for argument, value in self.arguments.items())
        return f"{name!r}, {own}spacing={self.spacing}, {more}"


class _Named(Penalty):
    """A penalty with a class of its own, which sets ``penalty``; the other arguments are those of :class:`Penalty`."""

    penalty: ClassVar[str | PenaltyEntry]

    def __init__(
        self, spacing: Sequence[float] | None = None, multiplier: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__(self.penalty, spacing, multiplier, reduction)


class L1Penalty(_Named):
    """The L1 penalty, mean_a mean |∂u/∂x_a|, as a loss; see :func:`l1_penalty`."""

    penalty = "l1"


class L2Penalty(_Named):
    """The L2 penalty, mean_a mean (∂u/∂x_a)², as a loss; see :func:`l2_penalty`."""

    penalty = "l2"


class BendingEnergy(Penalty):
    """The bending energy as a loss; ``form`` is ``hessian``, ``laplacian`` or ``pure``; see :func:`bending_energy`.

    Raises:
        ValueError: ``form`` is another word.
    """

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


class CurvaturePenalty(_Named):
    """The curvature penalty, mean (∇²u)² including the edges, as a loss; see :func:`curvature_penalty`."""

    penalty = CURVATURE


class LinearElasticityPenalty(Penalty):
    """The linear elastic energy with Lamé's constants μ and λ as a loss; see :func:`linear_elasticity`."""

    def __init__(
        self,
        mu: float = 1.0,
        lam: float = 1.0,
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(LINEAR_ELASTICITY, spacing, multiplier, reduction, mu=mu, lam=lam)


class DivergencePenalty(_Named):
    """The divergence penalty, mean (div u)², as a loss; see :func:`divergence_penalty`."""

    penalty = DIVERGENCE


class TotalVariationPenalty(Penalty):
    """Isotropic total variation, smoothed below ``epsilon``, as a loss; see :func:`total_variation`."""

    def __init__(
        self,
        epsilon: float = EPSILON,
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(TOTAL_VARIATION, spacing, multiplier, reduction, epsilon=epsilon)


class LogJacobianPenalty(Penalty):
    """The log-Jacobian penalty, mean (log det)², as a loss; see :func:`log_jacobian`."""

    def __init__(
        self,
        least: float = LEAST,
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(LOG_JACOBIAN, spacing, multiplier, reduction, least=least)


class FoldingPenalty(_Named):
    """The folding penalty, mean max(0, -det), as a loss; see :func:`folding_penalty`."""

    penalty = FOLDING


class DigitalFoldingPenalty(_Named):
    """The part of the grid that turns inside out as a loss; see :func:`digital_folding`."""

    penalty = DIGITAL_FOLDING


class SobolevPenalty(Penalty):
    """The Sobolev norm with the length ℓ as a loss; see :func:`sobolev_norm`."""

    def __init__(
        self,
        length: float = LENGTH,
        spacing: Sequence[float] | None = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(SOBOLEV, spacing, multiplier, reduction, length=length)


class InverseConsistencyPenalty(_Named):
    """Inverse consistency as a loss of (u, w), both directions' displacements; see :func:`inverse_consistency`."""

    penalty = INVERSE_CONSISTENCY


class GradICONPenalty(_Named):
    """GradICON as a loss of (u, w), the displacements of both directions; see :func:`gradicon`."""

    penalty = GRADICON


def sum_of_penalties(
    field: Tensor,
    members: Sequence[tuple[str, float]],
    spacing: Sequence[float] | None = None,
    weight: Tensor | None = None,
    inverse: Tensor | None = None,
) -> Tensor:
    """Compute a weighted sum of penalties (B,) of one field (B, D, *spatial); each member is (name, share)."""
    parts = [share * Penalty(name, spacing, reduction="none")(field, inverse, weight) for name, share in members]
    return torch.stack(parts).sum(0)
