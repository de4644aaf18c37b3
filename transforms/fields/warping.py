"""Displacement and velocity fields: warping, composition, inversion, integration, resizing, units.

A displacement field u is (B, D, *spatial), components in axis order (i, j[, k]), in voxels of the fixed grid:

    warped(x) = moving(x + u(x))

A stationary velocity field v has the same form; its flow for unit time is the displacement ``integrate(v)``.
Coordinates are computed in float32 or better and outside autocast: in bfloat16 they are off by up to 0.3 voxel.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..basics.cached_tensors import keep
from .differences import check_field, check_spacing, float32_or_better

Interpolation = Literal["bilinear", "nearest"]
Padding = Literal["zeros", "border"]
_WIDE = (torch.int32, torch.int64, torch.uint32, torch.uint64)
"""Integers that float32 does not hold."""


def identity_grid(
    shape: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """The voxel coordinates x of every grid point: (1, D, *shape)."""
    return _kept_grid(tuple(shape), dtype, torch.device(device)).clone()


def warp(
    image: Tensor, displacement: Tensor, mode: Interpolation = "bilinear", padding_mode: Padding = "border"
) -> Tensor:
    """warped(x) = image(x + u(x)).

    Args:
        image: (B, C, *spatial); with ``nearest`` of any dtype, in which its values come back as they are.
        displacement: (B, D, *spatial), voxels, on the grid of ``image``.
        mode: ``bilinear`` (trilinear in 3-D) or ``nearest``.
        padding_mode: outside the image: ``border`` repeats the edge, ``zeros`` is what VoxelMorph does.

    Raises:
        ValueError: shapes that do not belong together.
    """
    check_field(displacement)
    if image.shape[2:] != displacement.shape[2:] or image.shape[0] != displacement.shape[0]:
        raise ValueError(
            f"image {tuple(image.shape)} and displacement {tuple(displacement.shape)} differ in batch or grid"
        )
    floating = image.dtype if image.is_floating_point() else torch.float32
    dtype = torch.promote_types(torch.promote_types(displacement.dtype, floating), torch.float32)
    with torch.autocast(displacement.device.type, enabled=False):
        return _sample(image, _to_sampling_units(displacement.to(dtype)), mode, padding_mode)


def integrate(velocity: Tensor, steps: int = 7, padding_mode: Padding = "zeros") -> Tensor:
    """The displacement of exp(v) by scaling and squaring: u₀ = v / 2ⁿ, then n times u ← u + u∘(id + u).

    Arsigny et al., MICCAI 2006, "A log-Euclidean framework for statistics on diffeomorphisms".

    Args:
        velocity: (B, D, *spatial), voxels per unit time.
        steps: n >= 0 squarings; 0 returns the velocity itself as a displacement.
        padding_mode: beyond the grid: ``zeros`` as VoxelMorph, ``border`` for half the inverse-consistency error.
    """
    check_field(velocity)
    if steps < 0:
        raise ValueError(f"integration steps must be 0 or more, got {steps}")
    if steps == 0:
        return velocity
    with torch.autocast(velocity.device.type, enabled=False):
        velocity = velocity.to(float32_or_better(velocity))
        displacement = _to_sampling_units(velocity / 2**steps)  # once, not at every squaring
        for _ in range(steps):
            displacement = displacement + _sample(displacement, displacement, "bilinear", padding_mode)
        return _from_sampling_units(displacement)


def compose(first: Tensor, second: Tensor, padding_mode: Padding = "border") -> Tensor:
    """One displacement for warping with ``first`` and the result with ``second``: u(x) = u₂(x) + u₁(x + u₂(x)).

    Both (B, D, *spatial), voxels of the same grid. As maps it is (id + u₁) ∘ (id + u₂).
    """
    return second + warp(first, second, padding_mode=padding_mode)


def displace_points(points: Tensor, displacement: Tensor) -> Tensor:
    """x + u(x) between the voxels, u interpolated linearly: where points of the fixed image lie in the moving one.

    Args:
        points: (N, D), voxel coordinates on the grid of ``displacement``; beyond it the edge's displacement counts.
        displacement: (1, D, *spatial), voxels.

    Returns:
        (N, D), voxel coordinates.
    """
    axes = check_field(displacement)
    if points.ndim != 2 or points.shape[1] != axes or displacement.shape[0] != 1:
        raise ValueError(
            f"points {tuple(points.shape)} need one field (1, {axes}, *spatial) and the shape (N, {axes}); "
            f"the field has {tuple(displacement.shape)}"
        )
    columns = points.to(displacement).T.reshape(1, axes, -1, *[1] * (axes - 1))
    return points + sample(displacement, columns).flatten(2)[0].T.to(points)


def sample(image: Tensor, points: Tensor, mode: Interpolation = "bilinear", padding_mode: Padding = "border") -> Tensor:
    """image(y) between its voxels.

    Args:
        image: (B, C, *spatial), floating; with ``nearest`` of any dtype, which it keeps.
        points: y, (B, D, *any) voxel coordinates of ``image``, D axes of any sizes.
        mode: ``bilinear`` (trilinear in 3-D) or ``nearest``.
        padding_mode: outside the image: ``border`` repeats the edge, or ``zeros``.

    Returns:
        (B, C, *any).
    """
    units = _per_component(points, _units_per_voxel(image.shape[2:]))
    grid = (points * units - 1).flip(1).movedim(1, -1)  # grid_sample takes the last axis first
    return _look_up(image, grid, mode, padding_mode)


def resize_displacement(field: Tensor, size: Sequence[int], scale: float | None = None) -> Tensor:
    """The same field on a grid of another size: linear interpolation, corners stay corners, values rescaled.

    Args:
        field: (B, D, *spatial), voxels of its own grid.
        size: D new sizes.
        scale: the factor on the values; None takes the exact (new - 1) / (old - 1) per axis. VoxelMorph multiplies by
            the plain ratio of the sizes (1/2 down, 2 up).

    Returns:
        (B, D, *size), voxels of the new grid.
    """
    axes = check_field(field)
    if len(size) != axes:
        raise ValueError(f"size needs {axes} numbers for a field of {tuple(field.shape)}, got {tuple(size)}")
    if scale is None:
        ratios = [(new - 1) / (old - 1) if old > 1 else 1.0 for new, old in zip(size, field.shape[2:], strict=True)]
        factor = _per_component(field, ratios)
    else:
        factor = scale
    mode = "bilinear" if axes == 2 else "trilinear"
    # Scale on the smaller grid, as VoxelMorph does: the same result with less memory.
    if size[0] > field.shape[2]:
        return F.interpolate(field * factor, size=tuple(size), mode=mode, align_corners=True)
    return F.interpolate(field, size=tuple(size), mode=mode, align_corners=True) * factor


def voxel_to_mm(field: Tensor, spacing: Sequence[float]) -> Tensor:
    """A field (B, D, *spatial) in voxels as one in mm along the same axes; ``spacing`` in mm per voxel."""
    return field * _per_component(field, check_spacing(field, spacing))


def field_in_mm(field: Tensor, spacing: Sequence[float] | None) -> Tensor:
    """:func:`voxel_to_mm`; without ``spacing`` the field (B, D, *spatial) itself, checked."""
    if spacing is not None:
        return voxel_to_mm(field, spacing)
    check_field(field)
    return field


def mm_to_voxel(field: Tensor, spacing: Sequence[float]) -> Tensor:
    """A field (B, D, *spatial) in mm along the grid's axes as one in voxels; ``spacing`` in mm per voxel."""
    return field / _per_component(field, check_spacing(field, spacing))


def _per_component(field: Tensor, values: Sequence[float]) -> Tensor:
    check_field(field)
    return _kept_factors(tuple(values), field.ndim - 2, field.dtype, field.device)


def _sample(image: Tensor, displacement: Tensor, mode: str, padding_mode: str) -> Tensor:
    """image(x + u(x)) for a displacement (B, D, *spatial) in the units of ``_to_sampling_units``."""
    if mode not in ("bilinear", "nearest") or padding_mode not in ("zeros", "border"):
        raise ValueError(
            f"warp: mode {mode!r} or padding_mode {padding_mode!r} is unknown; use bilinear or nearest, zeros or border"
        )
    points = _sampling_grid(tuple(displacement.shape[2:]), displacement.dtype, displacement.device)
    points = points + displacement.movedim(1, -1)
    return _look_up(image, points, mode, padding_mode)


def _look_up(image: Tensor, points: Tensor, mode: str, padding_mode: str) -> Tensor:
    """Torch's ``grid_sample`` at points (B, *any, D), of images of any dtype; ``nearest`` keeps it."""
    if mode == "nearest" and image.dtype in _WIDE:
        return _by_index(image, points, padding_mode)
    dtype = torch.promote_types(points.dtype, image.dtype) if image.is_floating_point() else points.dtype
    found = F.grid_sample(image.to(dtype), points.to(dtype), mode, padding_mode, align_corners=True)
    return found.to(image.dtype) if mode == "nearest" else found


def _by_index(image: Tensor, points: Tensor, padding_mode: str) -> Tensor:
    """As :func:`_look_up`, nearest: what is sampled are the places of the voxels, so that no value becomes a float."""
    voxels = image.shape[2:].numel()
    dtype = torch.float64 if voxels >= 2**24 else points.dtype  # in which every place is exact
    numbers = torch.arange(1, voxels + 1, dtype=dtype, device=points.device).view(1, 1, *image.shape[2:])
    numbers = numbers.expand(len(points), *numbers.shape[1:])
    places = F.grid_sample(numbers, points.to(dtype), "nearest", padding_mode, align_corners=True)[:, 0].long()
    beyond = image.new_zeros(*image.shape[:2], 1)  # place 0
    values = torch.cat([beyond, image.flatten(2)], dim=2)
    return torch.stack([one[:, place] for one, place in zip(values, places, strict=True)])


def _to_sampling_units(displacement: Tensor) -> Tensor:
    """Voxels, components i, j[, k] -> the units of torch's ``grid_sample``: last axis first, -1 to 1 along a grid."""
    return (displacement * _per_component(displacement, _units_per_voxel(displacement.shape[2:]))).flip(1)


def _from_sampling_units(displacement: Tensor) -> Tensor:
    return displacement.flip(1) / _per_component(displacement, _units_per_voxel(displacement.shape[2:]))


def _units_per_voxel(shape: Sequence[int]) -> list[float]:
    return [2 / max(size - 1, 1) for size in shape]


@keep
def _kept_factors(values: tuple[float, ...], axes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, D, 1, ...). Kept, because numbers on their way to a GPU make the host wait for it."""
    return torch.tensor(values, dtype=dtype, device=device).view(1, -1, *[1] * axes)


@keep
def _kept_grid(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    axes = [torch.arange(size, dtype=dtype, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


@keep
def _sampling_grid(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The points of the grid in sampling units, correctly rounded: (1, *shape, D)."""
    exact = _to_sampling_units(_kept_grid(shape, torch.float64, torch.device("cpu"))) - 1
    return exact.movedim(1, -1).contiguous().to(device, dtype)
