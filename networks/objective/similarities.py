"""Image similarities that MONAI lacks, or that it computes differently."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.losses.image_dissimilarity import GlobalMutualInformationLoss
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from ...transforms.fields.differences import forward_differences
from .vocabulary import SIMILARITIES
from .window_sums import check_window, window_sums

LEAST_VARIANCE = 1e-5
"""Squared intensities, summed over a window: MONAI's floor of a variance."""
ROUNDING = 64 * torch.finfo(torch.float32).eps
"""A variance below this share of a window's sum of squares is rounding, not contrast."""


def gradient_mse(warped: Tensor, fixed: Tensor) -> Tensor:
    """Compute the mean squared difference of the gradients of two images, Σ_a mean (∂w/∂x_a - ∂f/∂x_a)².

    Gradients are forward differences. Each axis is averaged over its own differences, and the axes are summed. The
    result is 0 for two images that differ by a constant. It follows the gradient constancy of Brox et al., ECCV 2004,
    Eq. 3, but with a plain square, and with the gradient of the warped image instead of the warped gradient.

    Args:
        warped, fixed: (B, C, *spatial).

    Returns:
        (B,), squared units of the intensity.

    Raises:
        ValueError: the shapes differ.
    """
    _check_pair(warped, fixed)
    differences = forward_differences(warped - fixed)
    return torch.stack([difference.square().flatten(1).mean(1) for difference in differences]).sum(0)


class LocalNCCLoss(_Loss):
    """Minus the mean squared local normalized cross-correlation: -1 is a perfect local linear relation.

    It is MONAI's loss with VoxelMorph's window size, but with faster sums over windows. It is computed in float32
    outside autocast, because half precision gives NaN on blank background. Both images are first shifted and scaled so
    that the fixed image has the range 0 to 1. The correlation does not depend on this, but the variances have an
    absolute floor. A second floor is a share of a window's sum of squares: where an image is constant, the difference
    of two sums is rounding, and the quotient of two such differences can be far below -1. So windows in which an image
    is constant count as 0, whatever its value.
    Source: Avants et al., Medical Image Analysis 2008, Eq. 5.

    Args:
        spatial_dims: 2 or 3.
        window: side length of the cubic window in voxels, odd.
        reduction: ``mean`` or ``sum`` over samples and voxels, or ``none`` for (B, C, *spatial).

    Raises:
        ValueError: ``window`` is even or below 1; in ``forward``: the shapes differ or have other axes.
    """

    def __init__(self, spatial_dims: int, window: int = 9, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        check_window(window)
        self.spatial_dims, self.window, self.voxels = spatial_dims, window, window**spatial_dims

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, C, *spatial) that share an intensity range; any range will do."""
        _check_pair(warped, fixed, self.spatial_dims)
        with torch.autocast(warped.device.type, enabled=False):
            low, scale = _range(fixed)
            w, f = ((image.float() - low) / scale for image in (warped, fixed))
            # apart, so that the sums of a fixed image without gradient have none
            sum_f, sum_ff = window_sums(torch.cat([f, f * f], dim=1), self.window).chunk(2, dim=1)
            sum_w, sum_ww, sum_wf = window_sums(torch.cat([w, w * w, w * f], dim=1), self.window).chunk(3, dim=1)
            covariance = sum_wf - sum_w * sum_f / self.voxels
            variances = self._variance(sum_w, sum_ww) * self._variance(sum_f, sum_ff)
            return _reduced(-covariance * covariance / variances, self.reduction)

    def extra_repr(self) -> str:
        return f"spatial_dims={self.spatial_dims}, window={self.window}, reduction={self.reduction!r}"

    def _variance(self, total: Tensor, squares: Tensor) -> Tensor:
        """The variance of each window, times its number of voxels, from its sums."""
        floor = (ROUNDING * squares.detach()).clamp_min(LEAST_VARIANCE)
        return torch.maximum(squares - total * total / self.voxels, floor)


class MutualInformationLoss(_Loss):
    """Minus the mutual information of both images' intensities, in nats, for images of different modalities.

    This is MONAI's loss with soft (Gaussian) bins, in float32 outside autocast. Its bins cover 0 to 1, so each image is
    first shifted and scaled to this range. Memory grows with voxels times bins: at 160x192x224 voxels, one such array
    takes 0.6 GB, and the gradient needs several.
    Source: Viola and Wells, IJCV 1997.

    Args:
        bins: number of bins of each image.
        reduction: ``mean``, ``sum`` or ``none`` over samples.
    """

    def __init__(self, bins: int = 23, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.loss = GlobalMutualInformationLoss(num_bins=bins, reduction=reduction)

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, 1, *spatial) of any two modalities."""
        with torch.autocast(warped.device.type, enabled=False):
            warped, fixed = (image.float() for image in (warped, fixed))
            (low, scale), (low_fixed, scale_fixed) = _range(warped), _range(fixed)
            return self.loss((warped - low) / scale, (fixed - low_fixed) / scale_fixed)


class CharbonnierLoss(_Loss):
    """The Charbonnier loss, mean sqrt((w - f)² + ε²) - ε: squared for small differences, absolute for large ones.

    Source: Charbonnier et al., ICIP 1994; here with a scale ε, and shifted to be 0 for equal images.

    Args:
        epsilon: ε, in the units of the intensity.
        reduction: ``mean`` or ``sum`` over samples, or ``none`` for (B,); voxels are averaged.
    """

    def __init__(self, epsilon: float = 0.02, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.epsilon = epsilon

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, C, *spatial); ValueError if their shapes differ."""
        _check_pair(warped, fixed)
        distances = ((warped - fixed).square() + self.epsilon**2).sqrt() - self.epsilon
        return _reduced(distances.flatten(1).mean(1), self.reduction)

    def extra_repr(self) -> str:
        return f"epsilon={self.epsilon}, reduction={self.reduction!r}"


class GradientMSELoss(_Loss):
    """The gradient MSE (see :func:`gradient_mse`) as a loss; ``reduction``: ``mean``, ``sum`` or ``none``."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, C, *spatial); ValueError if their shapes differ."""
        return _reduced(gradient_mse(warped, fixed), self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class SumOfSimilarities(_Loss):
    """A weighted sum of similarities, such as ``mse+gradient-mse``.

    Args:
        spatial_dims: 2 or 3.
        members: (name, weight) of each similarity.
        reduction: ``mean`` over samples, or ``none`` for (B,).
    """

    def __init__(self, spatial_dims: int, members: Sequence[tuple[str, float]], reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        per_sample = "none" if reduction == "none" else "mean"
        self.losses = nn.ModuleList(SIMILARITIES[name](spatial_dims, per_sample) for name, _ in members)
        self.weights = [weight for _, weight in members]

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, 1, *spatial)."""
        parts = [weight * loss(warped, fixed) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(parts).sum(0)


class PerSample(nn.Module):
    """Evaluates any loss of images for each sample alone: (B,).

    A loss class that takes ``reduction`` compares all samples at once, any other class one sample after the other.

    Args:
        loss: the loss class, or a function that makes the loss.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        super().__init__()
        self.at_once = "reduction" in inspect.signature(loss).parameters
        self.loss = loss(reduction="none") if self.at_once else loss()

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Compare two images (B, 1, *spatial)."""
        if self.at_once:
            return self.loss(warped, fixed).reshape(len(warped), -1).mean(1)
        pairs = zip(warped.split(1), fixed.split(1), strict=True)
        return torch.stack([self.loss(*pair).mean() for pair in pairs])


def _check_pair(warped: Tensor, fixed: Tensor, spatial_dims: int | None = None) -> None:
    """Raise ValueError unless the images have one shape, with ``spatial_dims`` spatial axes if these are known."""
    if warped.shape != fixed.shape or (spatial_dims is not None and fixed.ndim != spatial_dims + 2):
        wanted = "(B, C, *spatial)" + ("" if spatial_dims is None else f" with {spatial_dims} spatial axes")
        raise ValueError(f"the images must have one shape {wanted}, got {tuple(warped.shape)} and {tuple(fixed.shape)}")


def _reduced(values: Tensor, reduction: str) -> Tensor:
    """Reduce values, such as (B,), as MONAI's losses do."""
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()


def _range(images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the lowest intensity of each image and the width of its range, both (B, 1, ...); 1 if it is constant."""
    low, high = images.detach().float().flatten(1).aminmax(dim=1)
    low, high = (value.view(-1, *[1] * (images.ndim - 1)) for value in (low, high))
    return low, torch.where(high > low, high - low, 1)
