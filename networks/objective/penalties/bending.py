"""Three penalties that are called bending energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from .... import transforms
from ..vocabulary import PENALTIES, PenaltyEntry

if TYPE_CHECKING:
    from torch import Tensor

BendingForm = Literal["hessian", "laplacian", "pure"]
FORMS = {
    "hessian": ("mean of Σ (∂²u/∂a∂b)² with the mixed derivatives", "Rueckert et al., IEEE TMI 1999"),
    "laplacian": ("mean of (∇²u)², as the published study writes it", ""),
    "pure": ("mean (∂²u/∂a²)² without mixed derivatives, as the published study computes it; 0 on a twist", ""),
}
for _place, (_form, (_meaning, _source)) in enumerate(FORMS.items(), start=2):
    PENALTIES.add(
        PenaltyEntry(
            name=f"bending-{_form}",
            title=f"Bending ({_form.capitalize() if _form != 'pure' else _form})",
            meaning=_meaning,
            source=_source,
            target=f"{__name__}:bending_energy",
            arguments={"form": _form},
            place=_place,
        )
    )


def bending_energy(
    field: Tensor,
    form: BendingForm = "hessian",
    spacing: Sequence[float] | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Bending energy of a field: its squared second differences, in one of three forms.

    ``hessian``: mean of Σ_ab (∂²u/∂x_a∂x_b)² with mixed derivatives (Rueckert et al., IEEE TMI 1999, Eq. 5), as in
    MONAI 1.6.
    ``laplacian``: mean of (∇²u)², the formula that the published study prints.
    ``pure``: mean_a mean (∂²u/∂x_a²)² without mixed derivatives, which the published study's code computes. It is 0 for
    a twist.

    Raises:
        ValueError: the form is unknown.
    """
    if form not in FORMS:
        raise ValueError(f"the form of the bending energy must be one of {', '.join(FORMS)}; got {form!r}")
    field = transforms.field_in_mm(field, spacing)
    axes = range(field.ndim - 2)

    def second(a: int, b: int, keep: Sequence[int]) -> Tensor:
        return transforms.second_difference(transforms.interior(field, but=keep), a, b, spacing)

    if form == "pure":
        return transforms.mean_over_axes([second(axis, axis, axes).square() for axis in axes], weight, field)
    if form == "laplacian":
        terms = [second(axis, axis, [axis]) for axis in axes]
        return transforms.mean_over_voxels(sum(terms[1:], start=terms[0]).square(), weight, field)
    energy = field.new_zeros(())
    for a in axes:
        for b in range(a, field.ndim - 2):
            term = second(a, b, [a, b]).square()
            energy = energy + (term if a == b else 2 * term)
    return transforms.mean_over_voxels(energy, weight, field)
