"""Stack a moving and a fixed image into the input of a registration network."""

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
    """Stacks a moving and a fixed image into one image of two channels, the input of registration networks.

    The pair takes the affine and metadata of the fixed image, and a network's output, such as a displacement, takes
    them from the pair.
    """

    backend = TORCH

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, moving: NdarrayOrTensor, fixed: NdarrayOrTensor
    ) -> Tensor:
        """Return the pair (2, *spatial), channel 0 moving and channel 1 fixed; both images are (1, *spatial).

        Raises:
            ValueError: the images differ in shape, do not have one channel, or hold NaN or infinite voxels.
        """
        if moving.shape != fixed.shape or moving.shape[0] != 1:
            raise ValueError(
                f"{described('moving', moving)} and {described('fixed', fixed)} must have the same shape "
                "(1, *spatial); pad or crop them"
            )
        images = [plain(image) for image in (moving, fixed)]
        for name, given, image in zip(("moving", "fixed"), (moving, fixed), images, strict=True):
            if not bool(image.isfinite().all()):
                raise ValueError(f"{described(name, given)} holds NaN or infinite voxels; replace them")
        pair = torch.cat([image.to(images[1]) for image in images])
        if not get_track_meta():
            return pair
        return MetaTensor(pair, meta=dict(fixed.meta) if isinstance(fixed, MetaTensor) else None)  # with its affine


class PairImagesd(MapTransform):
    """Dictionary-based version of :class:`PairImages`.

    Args:
        keys: the keys of the moving and of the fixed image.
        output_key: the key to store the pair under.
        name_key: the key of the pair's name, if a sample has one. ``SaveImaged`` then names outputs on the fixed grid
            after the pair, not after the fixed image's file, which several pairs may share.
        allow_missing_keys: return a sample unchanged if one of its images is missing.

    Raises:
        ValueError: ``keys`` are not two.
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
            raise ValueError(f"two keys are needed, for the moving and the fixed image, got {self.keys}")
        self.output_key = output_key
        self.name_key = name_key
        self.pair_images = PairImages()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        if len([*self.key_iterator(d)]) < 2:
            return d
        moving, fixed = (d[key] for key in self.keys)
        d[self.output_key] = self.pair_images(moving, fixed)  # its errors name the images' own files
        if self.name_key in d and isinstance(fixed, MetaTensor):
            d[self.keys[1]] = fixed.clone()
            for key in (self.keys[1], self.output_key):
                if isinstance(d[key], MetaTensor):
                    d[key].meta[FILE] = f"{d[self.name_key]}.nii.gz"
        return d


PairImagesD = PairImagesDict = PairImagesd
