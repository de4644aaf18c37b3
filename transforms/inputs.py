"""MONAI transforms from images as they are loaded to what registration networks take."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

_TORCH = [TransformBackends.TORCH]
FILE, SHAPE = "filename_or_obj", "spatial_shape"
"""MONAI's names in the metadata; ``SaveImaged`` reads both."""


class DropSingletons(Transform):
    """Drops trailing axes of length one: a slice that is stored as a volume of one becomes an image.

    The affine stays that of the volume, where the slice lies. MONAI's ``SqueezeDim`` drops its column, which leaves
    none for a slice across another axis, and refuses an image that has no such axis.

    Args:
        spatial_dims: D, 2 or 3.
    """

    backend = _TORCH

    def __init__(self, spatial_dims: int) -> None:
        self.spatial_dims = spatial_dims

    def __call__(self, img: NdarrayOrTensor) -> Tensor:
        """(C, *spatial, 1, ...) -> (C, *spatial).

        Raises:
            ValueError: another number of axes.
        """
        image = convert_to_tensor(img, track_meta=get_track_meta())
        shape = (*image.shape[: self.spatial_dims + 1], *[1] * (image.ndim - self.spatial_dims - 1))
        if image.ndim <= self.spatial_dims or tuple(image.shape) != shape:
            raise ValueError(f"{_named('this image', image)} is not {self.spatial_dims}-D")
        image = image.reshape(shape[: self.spatial_dims + 1])
        if isinstance(image, MetaTensor):
            image.meta = {**image.meta, SHAPE: list(image.shape[1:])}
        return image


class DropSingletonsd(MapTransform):
    """Dictionary twin of :class:`DropSingletons`.

    Args:
        keys: images (C, *spatial, 1, ...).
        spatial_dims: D, 2 or 3.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = DropSingletons.backend

    def __init__(self, keys: KeysCollection, spatial_dims: int, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.drop = DropSingletons(spatial_dims)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.drop(d[key])
        return d


class PairImages(Transform):
    """Stacks a moving and a fixed image as the two channels that registration networks take.

    The pair lies on the grid of the fixed image: it has its affine and its metadata, and so has what a network makes
    of it, such as a displacement.
    """

    backend = _TORCH

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, moving: NdarrayOrTensor, fixed: NdarrayOrTensor
    ) -> Tensor:
        """(2, *spatial), channel 0 the moving and channel 1 the fixed image, both (1, *spatial) of one shape.

        Raises:
            ValueError: images of different shape or with other than one channel.
        """
        if moving.shape != fixed.shape or moving.shape[0] != 1:
            raise ValueError(
                f"{_named('moving', moving)} and {_named('fixed', fixed)} need one shape (1, *spatial); "
                "pad or crop them to it"
            )
        images = [convert_to_tensor(image, track_meta=False) for image in (moving, fixed)]
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


def _named(role: str, image: NdarrayOrTensor) -> str:
    file = image.meta.get(FILE) if isinstance(image, MetaTensor) else None
    return f"{role} {tuple(image.shape)}{f' ({file})' if file else ''}"


DropSingletonsD = DropSingletonsDict = DropSingletonsd
PairImagesD = PairImagesDict = PairImagesd
