"""A registration network in the form that MONAI's engines and bundles, and exported graphs, expect."""

import torch
from torch import Tensor, nn

from ..transforms.basics.errors import InputError
from .voxelmorph import VoxelMorph


class DisplacementNetwork(nn.Module):
    """One tensor in, one out, as MONAI's ``RegUNet``: from a pair of images to the displacement.

    Args:
        network: registers the pair.
    """

    def __init__(self, network: VoxelMorph) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """The displacement u (B, D, *spatial), voxels, warped(x) = moving(x + u(x)).

        Args:
            image: (B, 2, *spatial), channel 0 the moving and channel 1 the fixed image.
        """
        moving, fixed = image.tensor_split(2, dim=1)
        return self.network(moving, fixed).displacement


def check_finite(displacement: Tensor, by: str) -> Tensor:
    """``displacement`` as it may go into a file; waits for its device.

    Args:
        displacement: voxels.
        by: what made it, for the sentence.

    Raises:
        InputError: it holds NaN or infinity.
    """
    if not torch.isfinite(displacement).all():
        raise InputError(
            f"the displacement by {by} is not finite: intensities or weights are too large for single precision."
        )
    return displacement
