"""The weights of a network as a function of the regularization: by factors of channels, or by directions in weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..backbones.pyramid_level import SLOPE
from .ranges import Kind

DIRECTIONS = 16
"""Directions in the space of weights. Each is divided by their number: Adam changes all of them at every step, so that
otherwise the weights of the network would change by several times the learning rate, and training diverged."""


class Conditioning(nn.Module):
    """Predicts the change of a network's parameters from a code (C,) of the regularization.

    ``modulation`` scales and shifts the output of every convolution, channel by channel (feature modulation; Mok and
    Chung, MICCAI 2021, in the place of their normalization). As a convolution is linear, this is the same as other
    weights: W_c ← (1 + γ_c) W_c and b_c ← (1 + γ_c) b_c + β_c. ``weights`` adds learned directions to all parameters,
    θ ← θ + Σ_k h_k Δ_k / K, as the last layer of a hypernetwork does (HyperMorph; Hoopes et al., IPMI 2021).

    At first, the parameters are those of the network for every code.

    Args:
        parameters: parameters of the network by name.
        codes: C.
        kind: ``modulation`` or ``weights``.
        width: hidden units.
    """

    def __init__(self, parameters: Mapping[str, Tensor], codes: int, kind: Kind, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self.embedding = nn.Sequential(
            nn.Linear(codes, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE)
        )
        if kind == "modulation":
            self.head = nn.Linear(width, sum(shape[0] for shape in self.shapes.values()))
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        else:
            self.head = nn.Linear(width, DIRECTIONS)
            self.directions = nn.Parameter(torch.zeros(DIRECTIONS, sum(s.numel() for s in self.shapes.values())))

    def forward(self, parameters: Mapping[str, Tensor], code: Tensor) -> dict[str, Tensor]:
        """Return the parameters for ``code``, (C,)."""
        with torch.autocast(code.device.type, enabled=False):  # the weights themselves are in float32
            change = self.head(self.embedding(code))
            return self._modulated(parameters, change) if self.kind == "modulation" else self._moved(parameters, change)

    def _modulated(self, parameters: Mapping[str, Tensor], change: Tensor) -> dict[str, Tensor]:
        parts = dict(zip(self.shapes, change.split([shape[0] for shape in self.shapes.values()]), strict=True))
        changed = {}
        for name, own in parameters.items():
            layer, _, kind = name.rpartition(".")
            scale = 1 + parts.get(f"{layer}.weight", parts[name])
            changed[name] = own * scale.view(-1, *[1] * (own.ndim - 1))
            if kind == "bias":
                changed[name] = changed[name] + parts[name]
        return changed

    def _moved(self, parameters: Mapping[str, Tensor], change: Tensor) -> dict[str, Tensor]:
        moves = (change / DIRECTIONS @ self.directions).split([shape.numel() for shape in self.shapes.values()])
        return {name: own + move.view_as(own) for (name, own), move in zip(parameters.items(), moves, strict=True)}
