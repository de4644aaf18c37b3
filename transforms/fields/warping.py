"""Displacement and velocity fields: warping, composition, integration, resizing, units.

A displacement field u is (B, D, *spatial), with components in axis order (i, j[, k]) in voxels of the fixed grid:

    warped(x) = moving(x + u(x))

A stationary velocity field v has the same form. Its flow for unit time is the displacement ``integrate(v)``.
Coordinates are computed in float32 or better, outside autocast: in bfloat16 they are wrong by up to 0.3 voxel.
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
"""Integer types that float32 cannot represent exactly."""


def identity_grid(
    shape: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the voxel coordinates x of every grid point: (1, D, *shape)."""
    return _kept_grid(tuple(shape), dtype, torch.device(device)).clone()


def warp(
    image: Tensor, displacement: Tensor, mode: Interpolation = "bilinear", padding_mode: Padding = "border"
) -> Tensor:
    """Warp an image: warped(x) = image(x + u(x)).

    Args:
        image: (B, C, *spatial). With ``nearest`` any dtype is allowed, and values stay exactly as they are.
        displacement: (B, D, *spatial) in voxels, on the grid of ``image``.
        mode: ``bilinear`` (trilinear in 3-D) or ``nearest``.
        padding_mode: values outside the image: ``border`` repeats the edge; ``zeros`` is VoxelMorph's.

    Raises:
        ValueError: the shapes do not match.
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
    """Integrate a velocity to the displacement of exp(v) by scaling and squaring.

    The displacement starts as u₀ = v / 2ⁿ; then u ← u + u∘(id + u) is repeated n times.
    Source: Arsigny et al., MICCAI 2006, "A log-Euclidean framework for statistics on diffeomorphisms".

    Args:
        velocity: (B, D, *spatial) in voxels per unit time.
        steps: number n of squarings, 0 or more; 0 returns the velocity itself as a displacement.
        padding_mode: values outside the grid: ``zeros``, as in VoxelMorph, or ``border``, which halves the
            inverse-consistency error.

    Raises:
        ValueError: ``velocity`` is not (B, D, *spatial) with D of 2 or 3, or ``steps`` is below 0.
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
    """Compose two displacements: warping with the result is warping with ``first``, then with ``second``.

    u(x) = u₂(x) + u₁(x + u₂(x)); as maps, (id + u₁) ∘ (id + u₂). Both are (B, D, *spatial) in voxels of the same grid.
    """
    return second + warp(first, second, padding_mode=padding_mode)


def displace_points(points: Tensor, displacement: Tensor) -> Tensor:
    """Map points of the fixed image to the moving image: x + u(x), with u interpolated linearly.

    Args:
        points: (N, D) voxel coordinates on the grid of ``displacement``; outside it, the edge's displacement is used.
        displacement: (1, D, *spatial) in voxels.

    Returns:
        (N, D) voxel coordinates.

    Raises:
        ValueError: the shapes are others.
    """
    axes = check_field(displacement)
    if points.ndim != 2 or points.shape[1] != axes or displacement.shape[0] != 1:
        raise ValueError(
            f"expected points (N, {axes}) and one field (1, {axes}, *spatial), got {tuple(points.shape)} "
            f"and {tuple(displacement.shape)}"
        )
    columns = points.to(displacement).T.reshape(1, axes, -1, *[1] * (axes - 1))
    return points + sample(displacement, columns).flatten(2)[0].T.to(points)


def sample(image: Tensor, points: Tensor, mode: Interpolation = "bilinear", padding_mode: Padding = "border") -> Tensor:
    """Sample image(y) at any points y by interpolation.

    Args:
        image: (B, C, *spatial), floating; ``nearest`` takes and keeps any dtype.
        points: y, (B, D, *any) voxel coordinates of ``image``; *any are D axes of any size.
        mode: ``bilinear`` (trilinear in 3-D) or ``nearest``.
        padding_mode: values outside the image: ``border`` repeats the edge, or ``zeros``.

    Returns:
        (B, C, *any).
    """
    units = _per_component(points, _units_per_voxel(image.shape[2:]))
    grid = (points * units - 1).flip(1).movedim(1, -1)  # grid_sample takes the last axis first
    return _look_up(image, grid, mode, padding_mode)


def resize_displacement(field: Tensor, size: Sequence[int], scale: float | None = None) -> Tensor:
    """Resample a field to a grid of another size by linear interpolation with aligned corners, and rescale its values.

    Args:
        field: (B, D, *spatial) in voxels of its own grid.
        size: D new sizes.
        scale: factor on the values; None uses the exact (new - 1) / (old - 1) per axis. VoxelMorph uses the ratio of
            the sizes (1/2 down, 2 up).

    Returns:
        (B, D, *size) in voxels of the new grid.

    Raises:
        ValueError: ``field`` is not (B, D, *spatial) with D of 2 or 3, or ``size`` is not D numbers.
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
    # Scale on the smaller grid, as VoxelMorph does: it gives the same result with less memory.
    if size[0] > field.shape[2]:
        return F.interpolate(field * factor, size=tuple(size), mode=mode, align_corners=True)
    return F.interpolate(field, size=tuple(size), mode=mode, align_corners=True) * factor


def voxel_to_mm(field: Tensor, spacing: Sequence[float]) -> Tensor:
    """Convert a field (B, D, *spatial) from voxels to mm along the grid's axes; ``spacing`` is in mm per voxel."""
    return field * _per_component(field, check_spacing(field, spacing))


def field_in_mm(field: Tensor, spacing: Sequence[float] | None) -> Tensor:
    """Convert a field (B, D, *spatial) from voxels to mm; without ``spacing``, check it and return it unchanged."""
    if spacing is not None:
        return voxel_to_mm(field, spacing)
    check_field(field)
    return field


def mm_to_voxel(field: Tensor, spacing: Sequence[float]) -> Tensor:
    """Convert a field (B, D, *spatial) from mm along the grid's axes to voxels; ``spacing`` is in mm per voxel."""
    return field / _per_component(field, check_spacing(field, spacing))


def _per_component(field: Tensor, values: Sequence[float]) -> Tensor:
    check_field(field)
    return _kept_factors(tuple(values), field.ndim - 2, field.dtype, field.device)


def _sample(image: Tensor, displacement: Tensor, mode: str, padding_mode: str) -> Tensor:
    """Compute image(x + u(x)) for a displacement (B, D, *spatial) in the units of ``_to_sampling_units``."""
    if mode not in ("bilinear", "nearest") or padding_mode not in ("zeros", "border"):
        raise ValueError(
            f"warp: mode must be bilinear or nearest and padding_mode zeros or border, got {mode!r} and "
            f"{padding_mode!r}"
        )
    points = _sampling_grid(tuple(displacement.shape[2:]), displacement.dtype, displacement.device)
    points = points + displacement.movedim(1, -1)
    return _look_up(image, points, mode, padding_mode)


def _look_up(image: Tensor, points: Tensor, mode: str, padding_mode: str) -> Tensor:
    """Call torch's ``grid_sample`` at points (B, *any, D) for images of any dtype; ``nearest`` keeps the dtype."""
    if mode == "nearest" and image.dtype in _WIDE:
        return _by_index(image, points, padding_mode)
    dtype = torch.promote_types(points.dtype, image.dtype) if image.is_floating_point() else points.dtype
    found = F.grid_sample(image.to(dtype), points.to(dtype), mode, padding_mode, align_corners=True)
    return found.to(image.dtype) if mode == "nearest" else found


def _by_index(image: Tensor, points: Tensor, padding_mode: str) -> Tensor:
    """Look up the nearest voxels by sampling their indices, so that no value is converted to float."""
    voxels = image.shape[2:].numel()
    dtype = torch.float64 if voxels >= 2**24 else points.dtype  # represents every index exactly
    numbers = torch.arange(1, voxels + 1, dtype=dtype, device=points.device).view(1, 1, *image.shape[2:])
    numbers = numbers.expand(len(points), *numbers.shape[1:])
    places = F.grid_sample(numbers, points.to(dtype), "nearest", padding_mode, align_corners=True)[:, 0].long()
    beyond = image.new_zeros(*image.shape[:2], 1)  # index 0 stands for outside
    values = torch.cat([beyond, image.flatten(2)], dim=2)
    return torch.stack([one[:, place] for one, place in zip(values, places, strict=True)])


def _to_sampling_units(displacement: Tensor) -> Tensor:
    """Convert voxels, components i, j[, k], to the units of torch's ``grid_sample``: last axis first, -1 to 1."""
    return (displacement * _per_component(displacement, _units_per_voxel(displacement.shape[2:]))).flip(1)


def _from_sampling_units(displacement: Tensor) -> Tensor:
    return displacement.flip(1) / _per_component(displacement, _units_per_voxel(displacement.shape[2:]))


def _units_per_voxel(shape: Sequence[int]) -> list[float]:
    return [2 / max(size - 1, 1) for size in shape]


@keep
def _kept_factors(values: tuple[float, ...], axes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return values as (1, D, 1, ...). They are cached, because copying numbers to a GPU makes the host wait."""
    return torch.tensor(values, dtype=dtype, device=device).view(1, -1, *[1] * axes)


@keep
def _kept_grid(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    axes = [torch.arange(size, dtype=dtype, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


@keep
def _sampling_grid(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the grid points in sampling units, correctly rounded: (1, *shape, D)."""
    exact = _to_sampling_units(_kept_grid(shape, torch.float64, torch.device("cpu"))) - 1
    return exact.movedim(1, -1).contiguous().to(device, dtype)
