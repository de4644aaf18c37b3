"""The registry entry of VoxelMorph's U-Net."""

from typing import Any

from ....transforms.basics.bounds import MOST_CHANNELS, MOST_CONVOLUTIONS, MOST_LEVELS
from ....transforms.basics.errors import quoted
from ..vocabulary import BACKBONES, BackboneEntry, channel_numbers, whole

CHANNELS, FINAL_CHANNELS = (16, 32, 32, 32, 32, 32, 32, 32), (16, 16)
"""Channel numbers of the official network: (down, up) per level from the top, and after the top level."""

BACKBONES.add(
    BackboneEntry(
        name="voxelmorph",
        title="VoxelMorph",
        meaning="a U-Net whose two input channels are the moving and the fixed image",
        source="Balakrishnan et al., IEEE TMI 2019, Fig. 2",
        target="smoothmorph.networks.backbones.unet:PairUNet",
        options=(
            channel_numbers("channels", "channels of the U-Net, (down, up) per level from the top; null: its default"),
            channel_numbers("final_channels", "channels of the convolutions after the U-Net; null: its default"),
        ),
        check=f"{__name__}:check_widths",
        usual="at the official widths",
        references=(
            "Balakrishnan et al., VoxelMorph: A Learning Framework for Deformable Medical Image Registration, IEEE TMI "
            "2019.",
            "Dalca et al., Unsupervised Learning of Probabilistic Diffeomorphic Registration, Medical Image Analysis "
            "2019.",
        ),
        part="unet",
        place=0,
    )
)


def check_widths(channels: Any = CHANNELS, final_channels: Any = FINAL_CHANNELS) -> None:
    """Raise ValueError unless these are channel numbers within the bounds of ``transforms/basics/bounds.py``."""
    for name, widths, most in (
        ("channels", channels, 2 * MOST_LEVELS),
        ("final_channels", final_channels, MOST_CONVOLUTIONS),
    ):
        listed = isinstance(widths, list | tuple) and len(widths) <= most
        if not listed or not all(whole(width, 1, MOST_CHANNELS) for width in widths):
            allowed = f"at most {most} whole numbers from 1 to {MOST_CHANNELS}"
            raise ValueError(f"{name} must be {allowed}, got {quoted(widths)}")
    if not channels or len(channels) % 2:
        raise ValueError(f"channels must be given in pairs, (down, up) per level, got {len(channels)} of them")
