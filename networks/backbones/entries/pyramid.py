"""The registry entry of the coarse-to-fine pyramid, and the check of its options."""

from typing import Any

from ....transforms.basics.bounds import MOST_CHANNELS, MOST_CONVOLUTIONS, MOST_LEVELS
from ....transforms.basics.errors import quoted
from ....transforms.basics.options import Option
from ..vocabulary import BACKBONES, BackboneEntry, channel_numbers, whole

CHANNELS = (8, 32, 32, 32, 32)
"""Channel numbers of the encoder, from the image's grid to the coarsest level."""
MOST_RADIUS = 4
"""Largest radius of the correlation: 81 products in 2-D, 729 in 3-D."""
COUNTS = {"radius": (0, MOST_RADIUS), "convolutions": (1, MOST_CONVOLUTIONS), "repeats": (1, MOST_CONVOLUTIONS)}

BACKBONES.add(
    BackboneEntry(
        name="pyramid",
        title="Pyramid",
        meaning="a feature pyramid: from coarse to fine, each level warps and compares features and adds to the field",
        source="Hu et al., MICCAI 2019; Mok and Chung, MICCAI 2020",
        target="smoothmorph.networks.backbones.pyramid:Pyramid",
        options=(
            channel_numbers(
                "channels", "channels of the encoder's levels, from the image's grid to the coarsest; null: its default"
            ),
            Option(
                name="symmetric",
                kind=bool,
                meaning="swapping the images gives exactly the negated field; null: true",
            ),
            Option(
                name="radius",
                kind=int,
                least=COUNTS["radius"][0],
                most=COUNTS["radius"][1],
                meaning="radius of the correlation, in voxels of each level; null: 1",
            ),
            Option(
                name="convolutions",
                kind=int,
                least=COUNTS["convolutions"][0],
                most=COUNTS["convolutions"][1],
                meaning="number of convolutions per level; null: 2",
            ),
            Option(
                name="repeats",
                kind=int,
                least=COUNTS["repeats"][0],
                most=COUNTS["repeats"][1],
                meaning="number of applications of the finest level; null: 3",
            ),
            Option(
                name="residual",
                kind=bool,
                meaning="add the input of a level's convolutions to their output; null: false",
            ),
        ),
        check=f"{__name__}:check_options",
        usual="five levels, symmetric",
        free=("repeats",),
        references=(
            "Sun et al., PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume, CVPR 2018.",
            "Hu et al., Dual-Stream Pyramid Registration Network, MICCAI 2019.",
            "Mok and Chung, Large Deformation Diffeomorphic Image Registration with Laplacian Pyramid Networks, MICCAI "
            "2020.",
            "Greer et al., Inverse Consistency by Construction for Multistep Deep Registration, MICCAI 2023.",
        ),
        place=1,
    )
)


def check_options(channels: Any = CHANNELS, symmetric: Any = True, residual: Any = False, **counts: Any) -> None:
    """Raise ValueError unless these are options of a pyramid within the bounds of ``transforms/basics/bounds.py``."""
    listed = isinstance(channels, list | tuple) and 2 <= len(channels) <= MOST_LEVELS + 1
    if not listed or not all(whole(width, 1, MOST_CHANNELS) for width in channels):
        allowed = f"2 to {MOST_LEVELS + 1} whole numbers from 1 to {MOST_CHANNELS}"
        raise ValueError(f"channels must be {allowed}, one per level, got {quoted(channels)}")
    for name, value in (("symmetric", symmetric), ("residual", residual)):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {quoted(value)}")
    for name, value in counts.items():
        least, most = COUNTS[name]
        if not whole(value, least, most):
            raise ValueError(f"{name} must be a whole number from {least} to {most}, got {quoted(value)}")
