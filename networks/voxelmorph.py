"""VoxelMorph built from MONAI's parts, with the official network's channels, integration and initialization.

Balakrishnan et al., IEEE TMI 2019 (displacement model); Dalca et al., Medical Image Analysis 2019 (diffeomorphic).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ..transforms.basics.errors import quoted
from ..transforms.fields.differences import float32_or_better
from ..transforms.fields.warping import Padding, resize_displacement
from .backbones.vocabulary import BACKBONES, Integration, check_pair, whole
from .field_model import FieldModel, Registration


class VoxelMorph(FieldModel):
    """Registers a moving image to a fixed image in one forward pass.

    The default is the official ``VxmDense``: 109,170 parameters in 2-D, 327,331 in 3-D.

    Args:
        spatial_dims: D, 2 or 3.
        integration_steps, integration_downsize, padding_mode: what the field means, see :class:`.FieldModel`.
        backbone: name of the network that predicts the field; see ``smoothmorph.networks.BACKBONES``.
        options: options of the backbone. VoxelMorph's are the channel numbers of the U-Net: ``channels``, (down, up)
            per level from the top, and ``final_channels`` for the convolutions after the top level.

    Raises:
        ValueError: an argument is invalid or out of the bounds of ``transforms/basics/bounds.py``.
        TypeError: the backbone does not have an option.
    """

    def __init__(
        self,
        spatial_dims: int,
        integration_steps: int = 7,
        integration_downsize: int = 2,
        padding_mode: Padding = "zeros",
        backbone: str = "voxelmorph",
        **options: Any,
    ) -> None:
        super().__init__(integration_steps, integration_downsize, padding_mode)
        if not whole(spatial_dims, 2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {quoted(spatial_dims)}")
        if not isinstance(backbone, str):
            raise ValueError(f"backbone must be a name, got {quoted(backbone)}")
        self.entry = BACKBONES[BACKBONES.check(backbone)]
        self.spatial_dims = int(spatial_dims)
        integration = Integration(self.integration_steps, self.integration_downsize, padding_mode)
        self.add_module(self.entry.part, self.entry(self.spatial_dims, integration, options))

    @property
    def field(self) -> Any:
        """The backbone, which predicts a field from (moving, fixed)."""
        return self.get_submodule(self.entry.part)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain values."""
        return {
            "spatial_dims": self.spatial_dims,
            "integration_steps": self.integration_steps,
            "integration_downsize": self.integration_downsize,
            "padding_mode": self.padding_mode,
            "backbone": self.entry.name,
            **self.field.options,
        }

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] (it predicts the velocity)
        self, moving: Tensor, fixed: Tensor, inverse: bool = False, weights: Mapping[str, Tensor] | None = None
    ) -> Registration:
        """Register ``moving`` to ``fixed``, both (B, 1, *spatial) of any size.

        Args:
            inverse: also return the inverse displacement: exp(-v), or a fixed-point inverse in the displacement model.
            weights: parameters of the backbone by name, in place of its own.

        Raises:
            ValueError: the images differ in shape, or the network has another number of axes.
        """
        check_pair("VoxelMorph", self.spatial_dims, moving, fixed)
        return self.register_with(self._velocity(moving, fixed, weights), moving, inverse)

    def register_both(self, moving: Tensor, fixed: Tensor, weights: Mapping[str, Tensor] | None = None) -> Registration:
        """Register a batch of pairs in both directions. The results are one batch (2 B, ...), moving to fixed first.

        A symmetric backbone is evaluated only once, because swapping the images only changes the sign of its field.

        Args:
            moving, fixed, weights: see ``forward``.
        """
        check_pair("VoxelMorph", self.spatial_dims, moving, fixed)
        images = torch.cat([moving, fixed])
        if getattr(self.field, "symmetric", False):
            velocity = self._velocity(moving, fixed, weights)
            return self.register_with(torch.cat([velocity, -velocity]), images)
        return self.register_with(self._velocity(images, torch.cat([fixed, moving]), weights), images)

    def _velocity(self, moving: Tensor, fixed: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        pair = moving, fixed
        field = self.field(*pair) if weights is None else functional_call(self.field, dict(weights), pair)
        size = list(moving.shape[2:])
        field = field.to(float32_or_better(field)).contiguous()
        grid = self.grid(size)
        if field.shape[1] != self.spatial_dims or list(field.shape[2:]) not in (size, grid):
            raise ValueError(
                f"the backbone {self.entry.name} gives a field {tuple(field.shape)} for images of {tuple(size)}; "
                f"expected {self.spatial_dims} channels on that grid or on {tuple(grid)}"
            )
        whole_size = self.factor > 1 and list(field.shape[2:]) == size
        return resize_displacement(field, grid, 1 / self.factor) if whole_size else field
