"""MONAI dictionary transforms from a subject's files to its sample. What is wrong with a file is one sentence.

Those that MONAI lacks; they stand beside MONAI's own in :func:`.loading.file_transforms`.
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
    """Reads image files, or label maps, of every format that is known here; each fault is an InputError.

    MONAI's ``LoadImaged`` would try one reader after another and end with all their tracebacks, and the headers would
    not be checked before its libraries see them.

    Args:
        keys: of the files; each becomes a ``MetaTensor`` (1, *spatial), float64 or of labels int64, with its 4x4 affine
            (voxels to RAS mm).
        spatial_dims: D, 2 or 3.
        labels: they are label maps.
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
    """InputError if an image holds one value only, NaN, infinity, or what single precision cannot hold.

    Args:
        keys: of images.
        after: what was done to them, for the sentence.
    """

    def __init__(self, keys: KeysCollection, after: str = "") -> None:
        super().__init__(keys)
        self.after = after

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            check_image(plain(data[key]), f"{source_of(data)}, after {self.after}," if self.after else source_of(data))
        return dict(data)


class CheckSpreadd(MapTransform):
    """InputError where two percentiles of an image are one value, and MONAI would divide by 0 or leave it as it is.

    Args:
        keys: of images.
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
                    "cannot be scaled by their percentiles; crop it to what it shows."
                )
        return dict(data)


class AddGridd(Transform):
    """Notes where the voxels of ``image`` lie: ``spacing`` (mm) and ``axes``, see :class:`.Sample`."""

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        image = data["image"]
        affine = image.affine.numpy()
        return {**data, "spacing": spacing_of(affine, image.ndim - 1, source_of(data)), "axes": axes_of(affine)}


class CheckLabeld(Transform):
    """InputError unless ``label``, if there is one, lies on the grid of ``image`` and holds known labels from 0 on.

    Args:
        names: those that it may hold besides 0; None allows all.
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
    """Lets ``landmarks``, voxels, move along where MONAI's ``ResizeWithPadOrCropd`` then pads or crops ``image``.

    Args:
        spatial_size: of the new grid.
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
                f"cohort.size {times(self.spatial_size)} cuts landmarks off {source_of(data)}; choose a larger size."
            )
        return {**data, "landmarks": moved}


class ToSampled(Transform):
    """The :class:`.Sample` of an item: plain contiguous tensors of settled types.

    MONAI's ``EnsureTyped`` leaves voxels in the order in which their file has them, and takes one type for all labels.
    """

    def __call__(self, data: Item) -> Sample:
        """InputError if nothing but one value is left of the image."""
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
    """Where the grid that MONAI pads or crops to begins, in voxels of the old one."""
    return [-((new - old) // 2) if new >= old else old // 2 - new // 2 for old, new in zip(size, new_size, strict=True)]


def source_of(data: Item) -> str:
    """What an item's image is called in sentences: its file, or the subject's id where it has none."""
    image = data["image"]
    return image.meta.get(FILE, data["id"]) if isinstance(image, MetaTensor) else data["id"]


def _smallest(label: Tensor) -> torch.dtype:
    """The smallest type from int16 on that holds the labels."""
    types = (torch.int16, torch.int32, torch.int64)
    return next(dtype for dtype in types if int(label.max()) <= torch.iinfo(dtype).max)
