"""A moving and a fixed image as the input of a registration network."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from torch import Tensor

from .basics.metadata import FILE, TORCH, described, plain


class PairImages(Transform):
    """Stacks a moving and a fixed image as the two channels that registration networks take.

    The pair lies on the grid of the fixed image: it has its affine and its metadata, and so has what a network makes
    of it, such as a displacement.
    """

    backend = TORCH

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, moving: NdarrayOrTensor, fixed: NdarrayOrTensor
    ) -> Tensor:
        """(2, *spatial), channel 0 the moving and channel 1 the fixed image, both (1, *spatial) of one shape.

        Raises:
            ValueError: images of different shape or with other than one channel.
        """
        if moving.shape != fixed.shape or moving.shape[0] != 1:
            raise ValueError(
                f"{described('moving', moving)} and {described('fixed', fixed)} need one shape (1, *spatial); "
                "pad or crop them to it"
            )
        images = [plain(image) for image in (moving, fixed)]
        pair = torch.cat([image.to(images[1]) for image in images])
        if not get_track_meta():
            return pair
        return MetaTensor(pair, meta=dict(fixed.meta) if isinstance(fixed, MetaTensor) else None)  # and its affine


class PairImagesd(MapTransform):
    """Dictionary twin of :class:`PairImages`.

    Args:
        keys: two, of the moving and of the fixed image.
        output_key: where to put the pair.
        name_key: where the name of the pair is. ``SaveImaged`` then names what lies on the grid of the fixed image by
            it, and not by the fixed image's file, which several pairs may share. Samples may be without.
        allow_missing_keys: leave samples alone that lack an image.
    """

    backend = PairImages.backend

    def __init__(
        self,
        keys: KeysCollection = ("moving", "fixed"),
        output_key: str = "image",
        name_key: str = "name",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 2:
            raise ValueError(f"a pair is made of two keys, moving and fixed, got {self.keys}")
        self.output_key = output_key
        self.name_key = name_key
        self.pair_images = PairImages()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        if len([*self.key_iterator(d)]) < 2:
            return d
        moving, fixed = (d[key] for key in self.keys)
        if self.name_key in d and isinstance(fixed, MetaTensor):
            fixed = fixed.clone()
            fixed.meta[FILE] = f"{d[self.name_key]}.nii.gz"
            d[self.keys[1]] = fixed
        d[self.output_key] = self.pair_images(moving, fixed)
        return d


PairImagesD = PairImagesDict = PairImagesd
