"""MONAI's registration blocks with a cached grid and float32 coordinates; drop-in replacements.

MONAI 1.6 rebuilds the grid of its ``Warp`` at every call, in the dtype of the field. In bfloat16, coordinates above 256
are not exact.
"""

import warnings

from monai.networks.blocks import warp as monai_blocks
from torch import Tensor

from ..transforms.fields.warping import Interpolation, Padding, integrate, warp


class Warp(monai_blocks.Warp):
    """Warps an image: warped(x) = image(x + u(x)). This is :func:`~smoothmorph.transforms.warp` as a block.

    Args:
        mode: ``bilinear`` (trilinear in 3-D), or ``nearest``, which keeps the dtype of label maps.
        padding_mode: values outside the image: ``border`` repeats the edge, MONAI's default; ``zeros`` is VoxelMorph's.

    Raises:
        ValueError: the mode or padding is unknown.
    """

    def __init__(self, mode: Interpolation = "bilinear", padding_mode: Padding = "border") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI warns that it uses torch's grid_sample
            super().__init__(mode, padding_mode)
        if mode not in ("bilinear", "nearest") or padding_mode not in ("zeros", "border"):
            raise ValueError(
                f"Warp takes mode bilinear or nearest and padding_mode zeros or border, got {mode} and {padding_mode}"
            )
        self.mode: Interpolation = mode
        self.padding_mode: Padding = padding_mode

    def forward(self, image: Tensor, ddf: Tensor) -> Tensor:
        """Warp ``image`` (B, C, *spatial) with the displacement ``ddf`` (B, D, *spatial), voxels."""
        return warp(image, ddf, self.mode, self.padding_mode)

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}, padding_mode={self.padding_mode!r}"


class DVF2DDF(monai_blocks.DVF2DDF):
    """Integrates a stationary velocity. This is :func:`~smoothmorph.transforms.integrate` as a block.

    Args:
        num_steps: number of squarings, 1 or more.
        mode: ``bilinear``.
        padding_mode: values outside the grid: ``zeros``, as in MONAI and VoxelMorph, or ``border``, which halves the
            error of exp(-v) as the inverse of exp(v).

    Raises:
        ValueError: there are no steps, or the mode or padding is unknown.
    """

    def __init__(self, num_steps: int = 7, mode: Interpolation = "bilinear", padding_mode: Padding = "zeros") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(num_steps, mode, padding_mode)
        if mode != "bilinear":
            raise ValueError(f"a velocity is interpolated bilinearly, got mode {mode}")
        self.warp_layer = Warp(mode, padding_mode)

    def forward(self, dvf: Tensor) -> Tensor:
        """Return the displacement of the velocity ``dvf``, both (B, D, *spatial) in voxels of the same grid."""
        return integrate(dvf, self.num_steps, self.warp_layer.padding_mode)

    def extra_repr(self) -> str:
        return f"num_steps={self.num_steps}"
