"""A registration network in the form that MONAI's engines and bundles, and exported graphs, expect."""

from typing import Literal

import torch
from torch import Tensor, nn

from ..transforms.basics.errors import InputError
from .voxelmorph import VoxelMorph


class DisplacementNetwork(nn.Module):
    """One tensor in, one out, as MONAI's ``RegUNet``: from a pair of images to the displacement.

    Args:
        network: registers the pair.
        output: the field that it gives, ``displacement`` or ``velocity``, from which ``RefineRegistrationd`` goes on.
    """

    def __init__(self, network: VoxelMorph, output: Literal["displacement", "velocity"] = "displacement") -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, image: Tensor) -> Tensor:
        """The displacement u (B, D, *spatial), voxels, warped(x) = moving(x + u(x)); or the velocity (B, D, *grid).

        Args:
            image: (B, 2, *spatial), channel 0 the moving and channel 1 the fixed image.
        """
        moving, fixed = image.tensor_split(2, dim=1)
        return getattr(self.network(moving, fixed), self.output)


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
