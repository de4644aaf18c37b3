"""A registration network with one input and one output tensor, for MONAI's engines and bundles and exported graphs."""

from typing import Literal

import torch
from torch import Tensor, nn

from ..transforms.basics.errors import InputError
from .voxelmorph import VoxelMorph


class DisplacementNetwork(nn.Module):
    """Predicts the displacement from a pair of images in one tensor, as MONAI's ``RegUNet`` does.

    Args:
        network: the network that registers the pair.
        output: the field to return: ``displacement``, or ``velocity``, which ``RefineRegistrationd`` can refine.
    """

    def __init__(self, network: VoxelMorph, output: Literal["displacement", "velocity"] = "displacement") -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, image: Tensor) -> Tensor:
        """Return the displacement u (B, D, *spatial) in voxels, warped(x) = moving(x + u(x)), or the velocity.

        Args:
            image: (B, 2, *spatial), channel 0 the moving and channel 1 the fixed image.
        """
        moving, fixed = image.tensor_split(2, dim=1)
        return getattr(self.network(moving, fixed), self.output)


def check_finite(displacement: Tensor, by: str) -> Tensor:
    """Return ``displacement`` unless it holds NaN or infinity. On a GPU this waits for the device.

    Args:
        displacement: any field, in voxels.
        by: what computed it, for the message.

    Raises:
        InputError: it holds NaN or infinity.
    """
    if not torch.isfinite(displacement).all():
        raise InputError(
            f"the displacement by {by} is not finite: intensities or weights are too large for single precision."
        )
    return displacement
