"""A registration network for every λ of several penalties.

Hoopes et al., HyperMorph, IPMI 2021 and MELBA 2022; Mok and Chung, Conditional Deformable Image Registration with
Convolutional Neural Network, MICCAI 2021.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...transforms.basics.errors import InputError, quoted
from ..backbones.vocabulary import whole
from ..field_model import Registration
from ..voxelmorph import VoxelMorph
from .conditioning import Conditioning
from .ranges import KINDS, MOST_WIDTH, Condition, Kind, LambdaRanges


class ConditionalVoxelMorph(nn.Module):
    """A :class:`.VoxelMorph` of any backbone whose weights are a function of the penalty and λ.

    The condition enters as a code: the mixture of the penalties and the level of λ, see :class:`.Condition`. A batch
    has one condition.

    Args:
        network: gives the architecture and the weights to start from.
        ranges: penalties by name, and the range (low, high) of λ of each.
        kind: how the weights depend on the code: ``modulation`` or ``weights``, see :class:`.Conditioning`.
        width: hidden units between the code and the weights.
        recommended: (penalty, λ) to take if none is given; default: the first penalty, in the middle of log λ.

    Raises:
        InputError: the ranges are bad, or do not contain ``recommended``.
        ValueError: ``kind`` or ``width`` is bad.
    """

    def __init__(
        self,
        network: VoxelMorph,
        ranges: Mapping[str, tuple[float, float]],
        kind: Kind = "modulation",
        width: int = 64,
        recommended: tuple[str, float] | None = None,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(KINDS)}, got {quoted(kind)}")
        if not whole(width, 1, MOST_WIDTH):
            raise ValueError(f"width must be a whole number from 1 to {MOST_WIDTH}, got {quoted(width)}")
        self.network, self.kind, self.width = network, kind, width
        self.ranges = LambdaRanges(dict(ranges))
        first = self.ranges.names[0]
        penalty, weight = recommended or (first, self.ranges.weight_at(first, 0.5))
        self.ranges.locate(penalty, weight)
        self.recommended = str(penalty), float(weight)
        parameters = dict(network.field.named_parameters())
        self.conditioning = Conditioning(parameters, len(self.ranges.names) + 1, self.kind, width)

    @property
    def spatial_dims(self) -> int:
        """D."""
        return self.network.spatial_dims

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of :meth:`from_config`, as plain values."""
        condition = {
            "ranges": [[name, *bounds] for name, bounds in self.ranges.ranges.items()],  # in the order of the code
            "kind": self.kind,
            "width": self.width,
            "recommended": list(self.recommended),
        }
        return {**self.network.config, "condition": condition}

    @classmethod
    def from_config(cls, condition: Any, **arguments: Any) -> "ConditionalVoxelMorph":
        """Make a network from the arguments of :class:`.VoxelMorph` and its ``condition``, see :attr:`config`.

        Raises:
            ValueError, TypeError, InputError: they are not what :attr:`config` gives.
        """
        known = {"ranges", "kind", "width", "recommended"}
        if not isinstance(condition, Mapping) or set(condition) != known:
            found = quoted(condition)
            raise InputError(f"its condition is {found}, expected a mapping with {', '.join(sorted(known))}")
        ranges, recommended = condition["ranges"], condition["recommended"]
        if not isinstance(ranges, list) or not all(_is_named(each, 2) for each in ranges):
            raise InputError(f"its ranges of λ are {quoted(ranges)}, expected lists of a penalty, low and high")
        if not _is_named(recommended, 1):
            raise InputError(f"its recommended condition is {quoted(recommended)}, expected a penalty and λ")
        given = {**condition, "ranges": {name: tuple(bounds) for name, *bounds in ranges}}
        return cls(VoxelMorph(**arguments), **{**given, "recommended": tuple(recommended)})

    def code(self, condition: Condition | None = None) -> Tensor:
        """Return the code (penalties + 1,) of a condition: its mixture, and its level from -1 to 1."""
        mixture, level = condition or self.ranges.locate(*self.recommended)
        return self.conditioning.head.bias.new_tensor([*mixture, 2 * level - 1])

    def weights(self, code: Tensor) -> dict[str, Tensor]:
        """Return the backbone's parameters by name for a code; gradients reach the parameters of this module."""
        return self.conditioning(dict(self.network.field.named_parameters()), code)

    def at(self, penalty: str, weight: float) -> VoxelMorph:
        """Return the plain network for a penalty (or a weighted sum) and λ. It shares nothing with this one.

        Raises:
            InputError: the network was not trained for this penalty or λ.
        """
        return self.under(self.ranges.locate(penalty, weight))

    def under(self, condition: Condition) -> VoxelMorph:
        """Return the plain network for a condition."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            network.field.load_state_dict(self.weights(self.code(condition)), strict=False)
        return network

    def forward(self, moving: Tensor, fixed: Tensor, code: Tensor | None = None, inverse: bool = False) -> Registration:
        """Register ``moving`` to ``fixed`` as :class:`.VoxelMorph` does, with the weights for ``code``.

        Args:
            moving, fixed, inverse: see :meth:`.VoxelMorph.forward`.
            code: from :meth:`code`; None: the recommended condition.
        """
        return self.network(moving, fixed, inverse, weights=self.weights(self.code() if code is None else code))

    def register_both(self, moving: Tensor, fixed: Tensor, code: Tensor | None = None) -> Registration:
        """Register a batch of pairs in both directions, see :meth:`.VoxelMorph.register_both`."""
        return self.network.register_both(moving, fixed, self.weights(self.code() if code is None else code))

    def warp(self, image: Tensor, displacement: Tensor) -> Tensor:
        """Warp an image as the network does."""
        return self.network.warp(image, displacement)

    def extra_repr(self) -> str:
        ranges = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in self.ranges.ranges.items())
        return f"{ranges}; kind={self.kind!r}, width={self.width}"


def _is_named(value: Any, numbers: int) -> bool:
    """Whether a value from a file is a list of a name and so many numbers."""
    if not isinstance(value, list) or len(value) != numbers + 1 or not isinstance(value[0], str):
        return False
    return all(isinstance(number, int | float) and not isinstance(number, bool) for number in value[1:])
