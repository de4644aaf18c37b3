"""Image similarities that MONAI lacks, or that it computes differently."""

import torch
from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss
from torch import Tensor
from torch.nn.modules.loss import _Loss


class LocalNCCLoss(_Loss):
    """Minus the mean squared local normalized cross-correlation: -1 is a perfect local linear relation.

    This is MONAI's loss with VoxelMorph's window size. It is computed in float32 outside autocast, because half
    precision gives NaN on blank background. Both images are first shifted and scaled so that the fixed image has the
    range 0 to 1. The correlation does not depend on this, but MONAI's variances have an absolute floor. Windows of
    constant background in the fixed image therefore count as 0, whatever the background value.
    Source: Avants et al., Medical Image Analysis 2008, Eq. 5.

    Args:
        spatial_dims: 2 or 3.
        window: side length of the cubic window in voxels, odd.
        reduction: ``mean``, ``sum`` or ``none``, over samples and voxels.
    """

    def __init__(self, spatial_dims: int, window: int = 9, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.loss = LocalNormalizedCrossCorrelationLoss(spatial_dims, window, reduction=reduction)
        smallest = torch.tensor(self.loss.smooth_dr)
        del self.loss.smooth_dr  # a Python number would make the host wait for the GPU at every step
        self.loss.register_buffer("smooth_dr", smallest, persistent=False)

    def forward(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Return the loss of two images (B, 1, *spatial) that share an intensity range; any range will do."""
        with torch.autocast(warped.device.type, enabled=False):
            low, high = fixed.detach().float().flatten(1).aminmax(dim=1)
            low, high = (value.view(-1, *[1] * (fixed.ndim - 1)) for value in (low, high))
            scale = torch.where(high > low, high - low, 1)
            return self.loss((warped.float() - low) / scale, (fixed.float() - low) / scale)
