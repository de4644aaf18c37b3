"""Warp an image with a given displacement.

Images are channel-first (C, *spatial), 2-D or 3-D, one sample at a time. A displacement is (D, *spatial) in voxels of
the image's grid, warped(x) = image(x + u(x)). As with MONAI's own transforms, the result is a ``MetaTensor`` with the
affine and metadata of the input (a plain tensor after ``monai.data.set_track_meta(False)``). ``bilinear`` gives
float32; ``nearest`` keeps the dtype and every value.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.misc import ensure_tuple_rep
from torch import Tensor

from .basics.metadata import TORCH, like, plain, tracked
from .fields.warping import Interpolation, Padding, warp

Modes = Interpolation | Sequence[Interpolation]


class WarpImage(Transform):
    """Warps an image with a given displacement: warped(x) = image(x + u(x)).

    Args:
        mode: ``bilinear``, or ``nearest`` for label maps.
        padding_mode: values outside the image: ``border`` or ``zeros``.
    """

    backend = TORCH

    def __init__(self, mode: Interpolation = "bilinear", padding_mode: Padding = "border") -> None:
        self.mode: Interpolation = mode
        self.padding_mode: Padding = padding_mode

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        img: NdarrayOrTensor,
        displacement: NdarrayOrTensor,
        mode: Interpolation | None = None,
        reference: NdarrayOrTensor | None = None,
    ) -> Tensor:
        """Return ``img`` (C, *spatial) warped with ``displacement`` (D, *spatial) in voxels.

        Args:
            img: the image to warp.
            displacement: the field, on the image's grid.
            mode: overrides the transform's mode.
            reference: the fixed image, or any image on its grid; the result takes its affine and metadata.
        """
        warped = warp_tracked(tracked(img), displacement, mode or self.mode, self.padding_mode)
        return warped if reference is None else like(plain(warped), tracked(reference))


class WarpImaged(MapTransform):
    """Dictionary-based version of :class:`WarpImage`: warps ``keys`` with the displacement in ``displacement_key``.

    Args:
        keys: keys of the images (C, *spatial) to warp.
        displacement_key: key of the displacement (D, *spatial) in voxels.
        mode: ``bilinear`` or ``nearest``, one for all keys or one per key.
        padding_mode: ``border`` or ``zeros``.
        reference_key: key of the fixed image, or of any image on its grid. Warped images take its affine and metadata;
            None keeps their own.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = WarpImage.backend

    def __init__(
        self,
        keys: KeysCollection,
        displacement_key: str = "displacement",
        mode: Modes = "bilinear",
        padding_mode: Padding = "border",
        reference_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.displacement_key = displacement_key
        self.reference_key = reference_key
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.warp_image = WarpImage(padding_mode=padding_mode)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        for key, mode in self.key_iterator(d, self.mode):
            reference = None if self.reference_key is None else d[self.reference_key]
            d[key] = self.warp_image(d[key], d[self.displacement_key], mode, reference)
        return d


def warp_tracked(img: Tensor, displacement: NdarrayOrTensor, mode: Interpolation, padding_mode: Padding) -> Tensor:
    """Warp one image (C, *spatial) with :func:`~smoothmorph.transforms.warp` and keep its metadata."""
    image = plain(img)
    if image.dtype == torch.float64 and mode == "bilinear":
        image = image.float()  # MONAI's spatial transforms return float32
    return like(warp(image[None], plain(displacement).to(image.device)[None], mode, padding_mode)[0], img)


WarpImageD = WarpImageDict = WarpImaged
