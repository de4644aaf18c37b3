"""Smoothness penalties on a displacement or velocity field.

Each is a pure function of a field u (B, D, *spatial) in voxels, returning one number per sample (B,), and a ``_Loss``
over it. With ``spacing`` (mm per voxel) the field and the derivatives are taken in mm; without, in voxels.
Averages are over voxels and components, and where it says so over axes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from monai.utils.enums import LossReduction
from torch import Tensor
from torch.nn.modules.loss import _Loss

from ..transforms.differences import check_field, forward_differences, interior, second_difference
from ..transforms.fields import voxel_to_mm

BendingForm = Literal["hessian", "laplacian", "pure"]
Spacing = Sequence[float] | None


def l1_penalty(field: Tensor, spacing: Spacing = None) -> Tensor:
    """mean_a mean |∂u/∂x_a|, forward differences: VoxelMorph's ``Grad('l1')``."""
    return _mean_over_axes(forward_differences(_in_units(field, spacing), spacing), torch.abs)


def l2_penalty(field: Tensor, spacing: Spacing = None) -> Tensor:
    """mean_a mean (∂u/∂x_a)², forward differences (diffusion): VoxelMorph's ``Grad('l2')``, TMI 2019, Eq. 4."""
    return _mean_over_axes(forward_differences(_in_units(field, spacing), spacing), torch.square)


def bending_energy(field: Tensor, form: BendingForm = "hessian", spacing: Spacing = None) -> Tensor:
    """Three quantities that go by the name of bending energy.

    ``hessian``: mean of Σ_ab (∂²u/∂x_a∂x_b)² with mixed terms (Rueckert et al., IEEE TMI 1999, Eq. 5); as MONAI 1.6.
    ``laplacian``: mean of (∇²u)², as the published study writes it.
    ``pure``: mean_a mean (∂²u/∂x_a²)², without mixed terms, as the published study computes it: 0 on a twist.
    """
    field = _in_units(field, spacing)
    axes = range(field.ndim - 2)
    if form == "pure":
        return _mean_over_axes([second_difference(field, axis, axis, spacing) for axis in axes], torch.square)
    if form == "laplacian":
        terms = [second_difference(interior(field, but=[axis]), axis, axis, spacing) for axis in axes]
        return torch.stack(terms).sum(0).square().flatten(1).mean(1)
    if form != "hessian":
        raise ValueError(f"bending energy has the forms {', '.join(get_args(BendingForm))}; got {form!r}")
    energy = field.new_zeros(())
    for a in axes:
        for b in range(a, field.ndim - 2):
            term = second_difference(interior(field, but=[a, b]), a, b, spacing).square()
            energy = energy + (term if a == b else 2 * term)
    return energy.flatten(1).mean(1)


class Penalty(_Loss):
    """A penalty as a loss: ``multiplier`` times the penalty, reduced over the samples of a batch.

    Args:
        spacing: mm per voxel and axis; None works in voxels.
        multiplier: a factor on the value; VoxelMorph's scripts and the published study hide a 2 here (``loss_mult``).
        reduction: ``mean`` or ``sum`` over samples, or ``none`` for (B,).
    """

    def __init__(self, spacing: Spacing = None, multiplier: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=LossReduction(reduction).value)
        self.spacing = spacing
        self.multiplier = multiplier

    def per_sample(self, field: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, field: Tensor) -> Tensor:
        """Penalize ``field`` (B, D, *spatial), a displacement or velocity field in voxels."""
        values = self.multiplier * self.per_sample(field)
        if self.reduction == LossReduction.NONE.value:
            return values
        return values.mean() if self.reduction == LossReduction.MEAN.value else values.sum()

    def extra_repr(self) -> str:
        return f"spacing={self.spacing}, multiplier={self.multiplier}, reduction={self.reduction!r}"


class L1Penalty(Penalty):
    """:func:`l1_penalty` as a loss."""

    def per_sample(self, field: Tensor) -> Tensor:
        return l1_penalty(field, self.spacing)


class L2Penalty(Penalty):
    """:func:`l2_penalty` as a loss."""

    def per_sample(self, field: Tensor) -> Tensor:
        return l2_penalty(field, self.spacing)


class BendingEnergy(Penalty):
    """:func:`bending_energy` as a loss; ``form`` is ``hessian``, ``laplacian`` or ``pure``."""

    def __init__(
        self,
        form: BendingForm = "hessian",
        spacing: Spacing = None,
        multiplier: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(spacing, multiplier, reduction)
        if form not in get_args(BendingForm):
            raise ValueError(f"bending energy has the forms {', '.join(get_args(BendingForm))}; got {form!r}")
        self.form: BendingForm = form

    def per_sample(self, field: Tensor) -> Tensor:
        return bending_energy(field, self.form, self.spacing)

    def extra_repr(self) -> str:
        return f"form={self.form!r}, {super().extra_repr()}"


PENALTIES: dict[str, Callable[..., Penalty]] = {
    "l1": L1Penalty,
    "l2": L2Penalty,
    **{f"bending-{form}": partial(BendingEnergy, form) for form in get_args(BendingForm)},
}


def _mean_over_axes(derivatives: list[Tensor], measure: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.stack([measure(derivative).flatten(1).mean(1) for derivative in derivatives]).mean(0)


def _in_units(field: Tensor, spacing: Spacing) -> Tensor:
    check_field(field)
    return field if spacing is None else voxel_to_mm(field, spacing)
