"""Finite differences of fields. Every penalty and every Jacobian in the project uses these functions.

Shapes: B batch, C components, D spatial axes; ``*spatial`` is H, W (D = 2) or H, W, L (D = 3).
``spacing`` is the distance between neighbouring grid points along each axis in mm; None means 1 (voxels).
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def forward_differences(field: Tensor, spacing: Sequence[float] | None = None) -> list[Tensor]:
    """Compute forward differences, ∂f/∂x_a ≈ (f(x + e_a) - f(x)) / h_a.

    Args:
        field: (B, C, *spatial).
        spacing: D step lengths; None means 1.

    Returns:
        One tensor per axis a, one point shorter than ``field`` along that axis.

    Raises:
        ValueError: an axis has one point, or ``spacing`` is not D positive numbers.
    """
    steps = check_spacing(field, spacing)
    check_points(field, 2, "forward differences need")
    return [field.diff(dim=axis + 2) / step for axis, step in enumerate(steps)]


def central_differences(field: Tensor, spacing: Sequence[float] | None = None) -> list[Tensor]:
    """Compute central differences, ∂f/∂x_a ≈ (f(x + e_a) - f(x - e_a)) / 2h_a, one-sided at the ends.

    ``numpy.gradient`` computes the same.

    Args:
        field: (B, C, *spatial), at least two points per axis.
        spacing: D step lengths; None means 1.

    Returns:
        D tensors of the shape of ``field``.

    Raises:
        ValueError: an axis has one point, or ``spacing`` is not D positive numbers.
    """
    steps = check_spacing(field, spacing)
    check_points(field, 2, "central differences need")
    return [torch.gradient(field, spacing=step, dim=axis + 2)[0] for axis, step in enumerate(steps)]


def second_difference(field: Tensor, axis_a: int, axis_b: int, spacing: Sequence[float] | None = None) -> Tensor:
    """Compute the second difference ∂²f/∂x_a∂x_b at all points where its compact stencil fits.

    If a = b: (f(x + e) - 2 f(x) + f(x - e)) / h². If a ≠ b: the four diagonal neighbours / (4 h_a h_b).

    Args:
        field: (B, C, *spatial).
        axis_a, axis_b: spatial axes, 0 to D - 1.
        spacing: D step lengths; None means 1.

    Returns:
        (B, C, *spatial), two points shorter along a and along b.

    Raises:
        ValueError: an axis has fewer than three points, or ``spacing`` is not D positive numbers.
    """
    steps = check_spacing(field, spacing)
    check_points(field, 3, "second differences need", (axis_a, axis_b))
    if axis_a == axis_b:
        return field.diff(n=2, dim=axis_a + 2) / steps[axis_a] ** 2
    mixed = _span(_span(field, axis_a + 2), axis_b + 2)
    return mixed / (4 * steps[axis_a] * steps[axis_b])


def laplacian(field: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Compute the Laplacian Σ_a ∂²f/∂x_a² at every point, with the field mirrored at its edges (Neumann boundary).

    Args:
        field: (B, C, *spatial).
        spacing: D step lengths; None means 1.

    Returns:
        A tensor of the shape of ``field``. Inside, it is the sum of the second differences; at an edge, one of the two
        neighbours is the point itself.
    """
    total = torch.zeros_like(field)
    for axis, step in enumerate(check_spacing(field, spacing)):
        dim, last = axis + 2, field.shape[axis + 2] - 1
        slopes = field.diff(dim=dim, prepend=field.narrow(dim, 0, 1), append=field.narrow(dim, last, 1))
        total = total + slopes.diff(dim=dim) / step**2
    return total


def gradient(field: Tensor, spacing: Sequence[float] | None = None) -> list[Tensor]:
    """Compute all forward differences at the same points: all points but the last along each axis.

    Args:
        field: (B, C, *spatial), at least two points per axis.
        spacing: D step lengths; None means 1.

    Returns:
        ∂f/∂x_a for every axis a, each (B, C, *(spatial - 1)).

    Raises:
        ValueError: an axis has one point, or ``spacing`` is not D positive numbers.
    """
    check_points(field, 2, "a gradient needs")
    derivatives = forward_differences(field, spacing)
    own = [slice(size - 1) for size in field.shape[2:]]
    return [derivative[(..., *own)] for derivative in derivatives]


def interior(field: Tensor, but: Sequence[int] = ()) -> Tensor:
    """Drop the first and last point of ``field`` (B, C, *spatial) along every spatial axis that is not in ``but``.

    Raises:
        ValueError: one of these axes has fewer than three points.
    """
    trimmed = [axis for axis in range(field.ndim - 2) if axis not in but]
    check_points(field, 3, "points inside of the borders need", trimmed)
    for axis in trimmed:
        field = field.narrow(axis + 2, 1, field.shape[axis + 2] - 2)
    return field


def slabs(length: int, planes: int, before: int = 0, after: int = 0) -> Iterator[tuple[slice, slice]]:
    """Cut an axis of ``length`` points into slabs of ``planes`` planes.

    Yields:
        The slice to read, with up to ``before`` and ``after`` extra planes, and the slab's own planes within it.
    """
    for start in range(0, length, planes):
        first, stop = max(start - before, 0), min(start + planes, length)
        yield slice(first, min(stop + after, length)), slice(start - first, stop - first)


def float32_or_better(values: Tensor) -> torch.dtype:
    """Return the dtype to compute a field in: its own, but at least float32."""
    return torch.promote_types(values.dtype, torch.float32)


def mean_over_axes(derivatives: Sequence[Tensor], weight: Tensor | None = None, field: Tensor | None = None) -> Tensor:
    """Average each derivative over components and voxels, then over axes: D tensors (B, ...) give (B,).

    ``weight`` and ``field`` are as in :func:`mean_over_voxels`.
    """
    return torch.stack([mean_over_voxels(derivative, weight, field) for derivative in derivatives]).mean(0)


def mean_over_voxels(values: Tensor, weight: Tensor | None = None, field: Tensor | None = None) -> Tensor:
    """Average over components and voxels: (B, C, *points) give (B,).

    Args:
        values: (B, C, *points), values on a grid, or differences, which are one or two points shorter along some axes.
        weight: (B or 1, 1, *spatial), a factor for every voxel of the grid; between two voxels, the mean of both. The
            sum is divided by the number of points, not by the sum of weights, so weights of 2 double the value.
        field: what the values were computed from. The weight must be on its grid; without it, a weight that is one or
            two points larger than the values cannot be told from that of their field.

    Raises:
        ValueError: ``weight`` has another shape, or is not on the grid of ``field`` or of the values.
    """
    if weight is not None:
        whole = values if field is None else field
        on_grid = field is None or weight.shape[2:] == field.shape[2:]
        if weight.ndim != whole.ndim or weight.shape[1] != 1 or len(weight) not in (1, len(whole)) or not on_grid:
            raise ValueError(
                f"a weight of {tuple(weight.shape)} is not a factor (B or 1, 1, *spatial) for every voxel of "
                f"{tuple(whole.shape)}"
            )
        values = values * _at_points(weight, values)
    return values.flatten(1).mean(1)


def check_field(field: Tensor) -> int:
    """Return the number of spatial axes D of a vector field (B, D, *spatial).

    Raises:
        ValueError: this is not a batch of fields with D components on D = 2 or 3 spatial axes.
    """
    axes = field.ndim - 2
    if axes not in (2, 3) or field.shape[1] != axes:
        raise ValueError(
            f"a vector field must have the shape (B, 2, H, W) or (B, 3, H, W, L), one component per spatial axis; "
            f"got {tuple(field.shape)}"
        )
    return axes


def check_spacing(field: Tensor, spacing: Sequence[float] | None) -> tuple[float, ...]:
    """Return ``spacing`` as D positive numbers; None gives ones.

    Raises:
        ValueError: it is not D positive numbers.
    """
    axes = field.ndim - 2
    if spacing is None:
        return (1.0,) * axes
    if len(spacing) != axes or not all(0 < step < math.inf for step in spacing):
        raise ValueError(f"spacing needs {axes} positive numbers for a field of {tuple(field.shape)}, got {spacing}")
    return tuple(float(step) for step in spacing)


def check_points(field: Tensor, least: int, what: str, axes: Sequence[int] | None = None) -> None:
    """Raise ValueError if ``field`` (B, C, *spatial) has fewer than ``least`` points along one of ``axes`` (all)."""
    sizes = field.shape[2:] if axes is None else [field.shape[axis + 2] for axis in axes]
    if min(sizes, default=least) < least:
        raise ValueError(f"{what} at least {least} points per axis, got a field of {tuple(field.shape)}")


def _at_points(weight: Tensor, values: Tensor) -> Tensor:
    """Return ``weight`` (B, 1, *spatial) at the points of differences: between voxels, or without the outer ones."""
    fitted = weight
    for dim in range(2, values.ndim):
        missing, points = fitted.shape[dim] - values.shape[dim], values.shape[dim]
        if missing == 1:
            fitted = (fitted.narrow(dim, 0, points) + fitted.narrow(dim, 1, points)) / 2
        elif missing in (0, 2):
            fitted = fitted.narrow(dim, missing // 2, points)
        else:
            raise ValueError(f"a weight of {tuple(weight.shape)} is not on the grid of values of {tuple(values.shape)}")
    return fitted


def _span(field: Tensor, dim: int) -> Tensor:
    """Compute f(x + e) - f(x - e) along tensor dimension ``dim``."""
    points = field.shape[dim] - 2
    return field.narrow(dim, 2, points) - field.narrow(dim, 0, points)
