"""Local correlation of two feature maps, computed as matrix products over short rows of voxels.

A short row has ``WIDTH`` voxels. Its products with all voxels that any of them is compared with are one small matrix
product. The correlation is on some diagonals of the result. The other entries are not used, but this is still faster
than a product of whole maps for every offset.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...transforms.fields.differences import slabs

WIDTH = 8
"""Number of voxels of the last axis in one matrix product; 8 was the fastest of 4, 8, 16 and 32 on a CPU."""
SLAB_NUMBERS = 2**24
"""Largest number of features gathered at once."""


def correlation(first: Tensor, second: Tensor, radius: int, both: bool = False) -> Tensor:
    """Correlate two features locally: the mean over channels of ``first`` at x times ``second`` at x + o.

    Args:
        first, second: features (B, C, *grid); they count as 0 outside the grid.
        radius: largest offset o along each axis, in voxels.
        both: also return the correlation of ``second`` with ``first``.

    Returns:
        (B, (2 · radius + 1)^D, *grid), one channel per offset, the last axis fastest; with ``both`` (2 B, ...).
    """
    with torch.autocast(first.device.type, enabled=False):  # compute in the precision of the features
        if torch.is_grad_enabled():
            return _Correlation.apply(first, second, radius, both)
        return _correlate(first, second, radius, both)


class _Correlation(torch.autograd.Function):
    """The correlation with its gradients, which are matrix products over short rows, too."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, radius: int, both: bool) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.radius, ctx.both = radius, both
        return _correlate(first, second, radius, both)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        first, second = ctx.saved_tensors
        if ctx.both:
            there, back = gradient.chunk(2)
            gradient = there + _turned(back, ctx.radius)
        of_first = _weighted(gradient, second, ctx.radius)
        return of_first, _weighted(_turned(gradient, ctx.radius), first, ctx.radius), None, None


def _correlate(first: Tensor, second: Tensor, radius: int, both: bool) -> Tensor:
    (size, rows), channels = _rows(second, radius), first.shape[1]
    found = []
    for own, gathered in _gathered(second, radius):
        short = F.pad(first.movedim(1, -1)[:, own], [0, 0, 0, -size % WIDTH]).reshape(-1, WIDTH, channels)
        products = torch.bmm(short, gathered.transpose(1, 2)).flatten(1)
        length = gathered.shape[1]
        # If rows are made one longer, a diagonal becomes a column.
        columns = F.pad(products, [0, WIDTH]).view(-1, WIDTH, length + 1)[..., :length].unflatten(-1, (rows, -1))
        columns = columns[..., : 2 * radius + 1].reshape(
            *first.shape[:1], -1, *first.shape[3:-1], size + -size % WIDTH, rows * (2 * radius + 1)
        )
        found.append(columns[..., :size, :])
    whole = (torch.cat(found, dim=1) if len(found) > 1 else found[0]).movedim(-1, 1) / channels
    order = torch.channels_last if whole.ndim == 4 else torch.channels_last_3d
    return (torch.cat([whole, _turned(whole, radius)]) if both else whole).contiguous(memory_format=order)


def _weighted(weights: Tensor, features: Tensor, radius: int) -> Tensor:
    """Compute Σ over o of weights at (o, x) times features at x + o, divided by the number of channels."""
    (size, rows), channels = _rows(features, radius), features.shape[1]
    weights, found = (weights / channels).movedim(1, -1), []
    for own, gathered in _gathered(features, radius):
        length = gathered.shape[1]
        short = F.pad(weights[:, own], [0, 0, 0, -size % WIDTH]).reshape(-1, WIDTH, rows, 2 * radius + 1)
        band = F.pad(F.pad(short, [0, WIDTH - 1]).flatten(2), [0, 1]).flatten(1)[:, : WIDTH * length]
        mixed = torch.bmm(band.view(-1, WIDTH, length), gathered)
        found.append(
            mixed.reshape(len(features), -1, *features.shape[3:-1], size + -size % WIDTH, channels)[..., :size, :]
        )
    return (torch.cat(found, dim=1) if len(found) > 1 else found[0]).movedim(-1, 1)


def _turned(weights: Tensor, radius: int) -> Tensor:
    """Compute the correlation of the swapped features: the entry (-o, x + o) moves to (o, x); 0 outside the grid."""
    padded = F.pad(weights, [radius] * 2 * (weights.ndim - 2))
    views = [padded]
    for axis in range(2, padded.ndim):
        length = weights.shape[axis]
        views = [view.narrow(axis, start, length) for view in views for start in range(2 * radius + 1)]
    return torch.stack([view[:, -1 - place] for place, view in enumerate(views)], dim=1)


def _rows(features: Tensor, radius: int) -> tuple[int, int]:
    """Return the length of the last axis, and the number of rows of voxels that each voxel is compared with."""
    return features.shape[-1], (2 * radius + 1) ** (features.ndim - 3)


def _gathered(features: Tensor, radius: int) -> Iterator[tuple[slice, Tensor]]:
    """Gather, in slabs of the first axis, the features that each short row is compared with.

    Yields:
        The slab, and the features (short rows, rows · (WIDTH + 2 · radius), C).
    """
    _, channels, first, *_, size = features.shape
    axes, across = features.ndim - 2, 2 * radius + 1
    margins = [0, 0, radius, radius + -size % WIDTH] + [radius] * 2 * (axes - 1)
    padded = F.pad(features.movedim(1, -1), margins)
    numbers = features[:, 0, 0].numel() * channels * across ** (axes - 1)
    for own, _ in slabs(first, max(SLAB_NUMBERS // max(numbers, 1), 1)):
        views = padded[:, own.start : own.stop + 2 * radius]
        for axis in range(1, axes):
            views = views.unfold(axis, across, 1)
        views = views.unfold(axes, WIDTH + 2 * radius, WIDTH)  # (B, *rows, short rows, C, offsets ..., WIDTH + 2 r)
        order = [*range(axes + 1), *range(axes + 2, views.ndim), axes + 1]
        yield own, views.permute(order).reshape(-1, across ** (axes - 1) * (WIDTH + 2 * radius), channels)
