"""Images as MONAI's transforms take and return them: tensors that keep their affine and metadata."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.misc import ensure_tuple
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

TORCH = [TransformBackends.TORCH]
FILE = "filename_or_obj"
"""MONAI's name of the file in the metadata; ``SaveImaged`` reads it."""


def tracked(data: NdarrayOrTensor) -> Tensor:
    """``data`` as a ``MetaTensor``, where MONAI tracks metadata."""
    if isinstance(data, np.ndarray) and data.dtype.kind == "u":
        data = torch.from_numpy(np.ascontiguousarray(data))  # of large ones, MONAI would make negative numbers
    return convert_to_tensor(data, track_meta=get_track_meta())


def plain(data: NdarrayOrTensor) -> Tensor:
    """``data`` as a tensor without metadata."""
    return convert_to_tensor(data, track_meta=False)


def like(result: Tensor, source: Tensor) -> Tensor:
    """``result`` with the class and the metadata of ``source``."""
    return convert_to_dst_type(result, source, dtype=result.dtype)[0]


class EachKeyd(MapTransform):
    """A dictionary twin: ``transform`` of what is under each key, in place or under ``output_keys``."""

    def __init__(
        self,
        transform: Transform,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform
        self.output_keys = self.keys if output_keys is None else ensure_tuple(output_keys)
        if len(self.output_keys) != len(self.keys):
            raise ValueError(f"one output key per key: got output_keys {self.output_keys} for keys {self.keys}")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.transform(d[key])
        return d


def described(role: str, image: NdarrayOrTensor) -> str:
    """An image in a sentence: its role, shape and file."""
    file = image.meta.get(FILE) if isinstance(image, MetaTensor) else None
    return f"{role} {tuple(image.shape)}{f' ({file})' if file else ''}"
