"""A backbone of another package: three convolutions at the resolution of the integration."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smoothmorph.networks import Integration


class Slim(nn.Module):
    def __init__(
        self, spatial_dims: int, integration: Integration, channels: Sequence[int] = (4, 4), slope: float = 0.2
    ) -> None:
        super().__init__()
        self.downsize = integration.downsize if integration.steps else 1
        self.options = {"channels": list(channels), "slope": slope}
        kind = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        widths = [2, *channels]
        self.features = nn.ModuleList(kind(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.flow = kind(widths[-1], spatial_dims, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=1e-5)
        nn.init.zeros_(self.flow.bias)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        pair = torch.cat([moving, fixed], dim=1)
        pair = F.interpolate(pair, size=[max(size // self.downsize, 1) for size in pair.shape[2:]])
        for convolution in self.features:
            pair = F.leaky_relu(convolution(pair), self.options["slope"])
        return self.flow(pair)
