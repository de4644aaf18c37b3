"""MONAI dictionary transforms from a subject's files to its sample. A fault in a file gives an error of one sentence.

MONAI lacks these transforms; :func:`.loading.file_transforms` combines them with MONAI's own.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from torch import Tensor

from ...transforms.basics.errors import InputError
from ...transforms.basics.metadata import FILE, plain
from ..images.reading import axes_of, check_image, check_label, check_same_grid, read_image, spacing_of, times
from .cohort import Sample

Item = Mapping[Hashable, Any]


class ReadImaged(MapTransform):
    """Reads image files or label maps of every supported format; each fault is an InputError.

    MONAI's ``LoadImaged`` would try one reader after another and fail with all their tracebacks. It would also not
    check headers before its libraries read them.

    Args:
        keys: keys of the files. Each becomes a ``MetaTensor`` (1, *spatial), float64 or int64 for labels, with its 4x4
            affine (voxels to RAS mm).
        spatial_dims: D, 2 or 3.
        labels: whether the files are label maps.
        allow_missing_keys: skip keys that an item lacks.
    """

    def __init__(
        self, keys: KeysCollection, spatial_dims: int, labels: bool = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spatial_dims, self.labels = spatial_dims, labels

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image, affine = read_image(Path(d[key]), self.spatial_dims, self.labels)
            d[key] = MetaTensor(image, affine=torch.from_numpy(affine), meta={FILE: str(d[key])})
        return d


class CheckImaged(MapTransform):
    """Raises InputError if an image is constant or has values that are NaN, infinite or too large for float32.

    Args:
        keys: keys of the images.
        after: the processing before this check, for the error message.
    """

    def __init__(self, keys: KeysCollection, after: str = "") -> None:
        super().__init__(keys)
        self.after = after

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            check_image(plain(data[key]), f"{source_of(data)}, after {self.after}," if self.after else source_of(data))
        return dict(data)


class CheckSpreadd(MapTransform):
    """Raises InputError if two percentiles of an image are equal; MONAI would divide by 0 or not scale the image.

    Args:
        keys: keys of the images.
        lower, upper: the percentiles.
    """

    def __init__(self, keys: KeysCollection, lower: float, upper: float) -> None:
        super().__init__(keys)
        self.lower, self.upper = lower, upper

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            low, high = np.percentile(plain(data[key]).numpy(), (self.lower, self.upper))
            if low == high:
                raise InputError(
                    f"{self.upper - self.lower:g} % of the voxels of {source_of(data)} are {low:g}, so its intensities "
                    "cannot be scaled by percentiles; crop the image around the object."
                )
        return dict(data)


class AddGridd(Transform):
    """Adds ``spacing`` (mm per voxel) and ``axes`` of ``image``, see :class:`.Sample`."""

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        image = data["image"]
        affine = image.affine.numpy()
        return {**data, "spacing": spacing_of(affine, image.ndim - 1, source_of(data)), "axes": axes_of(affine)}


class CheckLabeld(Transform):
    """Raises InputError unless ``label``, if it exists, has the grid of ``image`` and only known labels.

    Args:
        names: the values that it may hold besides 0, with their names; None allows all values from 0 on.
    """

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        self.names = names

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        if "label" in data:
            image, label = data["image"], data["label"]
            grids = image.shape[1:], image.affine.numpy(), label.shape[1:], label.affine.numpy()
            check_same_grid(*grids, label.meta[FILE])
            check_label(plain(label), label.meta[FILE], self.names)
        return dict(data)


class MoveLandmarksd(Transform):
    """Shifts ``landmarks`` (voxels) as MONAI's ``ResizeWithPadOrCropd``, which comes next, pads or crops ``image``.

    Args:
        spatial_size: size of the new grid.
    """

    def __init__(self, spatial_size: Sequence[int]) -> None:
        self.spatial_size = tuple(spatial_size)

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        """InputError if a landmark is cropped away."""
        if data.get("landmarks") is None:
            return dict(data)
        moved = data["landmarks"] - torch.tensor(first_voxel(data["image"].shape[1:], self.spatial_size))
        if bool(((moved < 0) | (moved > torch.tensor(self.spatial_size) - 1)).any()):
            raise InputError(
                f"cohort.size {times(self.spatial_size)} crops landmarks of {source_of(data)}; choose a larger size."
            )
        return {**data, "landmarks": moved}


class ToSampled(Transform):
    """Makes the :class:`.Sample` of an item: plain contiguous tensors with defined dtypes.

    MONAI's ``EnsureTyped`` keeps the memory order of the file, and one dtype for all label maps.
    """

    def __call__(self, data: Item) -> Sample:
        """The sample; InputError if scaling and cropping left a constant image."""
        label, landmarks = data.get("label"), data.get("landmarks")
        image = plain(data["image"]).float().contiguous()
        check_image(image, f"{source_of(data)}, after intensity scaling and size,")
        return Sample(
            id=data["id"],
            image=image,
            label=None if label is None else plain(label).to(_smallest(label)).contiguous(),
            landmarks=None if landmarks is None else landmarks.float().contiguous(),
            spacing=data["spacing"],
            axes=data["axes"],
        )


def first_voxel(size: Sequence[int], new_size: Sequence[int]) -> list[int]:
    """The position of the new grid's first voxel in voxels of the old grid, after MONAI's padding or cropping."""
    return [-((new - old) // 2) if new >= old else old // 2 - new // 2 for old, new in zip(size, new_size, strict=True)]


def source_of(data: Item) -> str:
    """The name of an item's image in messages: its file, or the subject's id if there is no file."""
    image = data["image"]
    return image.meta.get(FILE, data["id"]) if isinstance(image, MetaTensor) else data["id"]


def _smallest(label: Tensor) -> torch.dtype:
    """The smallest dtype of int16, int32 and int64 that holds the labels."""
    types = (torch.int16, torch.int32, torch.int64)
    return next(dtype for dtype in types if int(label.max()) <= torch.iinfo(dtype).max)
