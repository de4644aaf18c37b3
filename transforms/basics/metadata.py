"""Helpers for MONAI's transforms: tensors with affine and metadata, and ranges of random parameters."""

from collections.abc import Hashable, Mapping, Sequence
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
"""MONAI's metadata key of the file name; ``SaveImaged`` reads it."""


def tracked(data: NdarrayOrTensor) -> Tensor:
    """Return ``data`` as a ``MetaTensor``, or as a plain tensor if MONAI does not track metadata."""
    if isinstance(data, np.ndarray) and data.dtype.kind == "u":
        data = torch.from_numpy(np.ascontiguousarray(data))  # MONAI would make large unsigned numbers negative
    return convert_to_tensor(data, track_meta=get_track_meta())


def plain(data: NdarrayOrTensor) -> Tensor:
    """Return ``data`` as a tensor without metadata."""
    return convert_to_tensor(data, track_meta=False)


def like(result: Tensor, source: Tensor) -> Tensor:
    """Return ``result`` with the class and the metadata of ``source``."""
    return convert_to_dst_type(result, source, dtype=result.dtype)[0]


def check_range(name: str, values: Sequence[float], unit: str = "") -> tuple[float, float]:
    """Return the range that a random parameter is drawn from; ValueError unless 0 <= lowest <= highest."""
    if len(values) != 2 or not 0 <= values[0] <= values[1] < float("inf"):
        raise ValueError(f"{name} must be (lowest, highest){unit}, 0 <= lowest <= highest, got {values}")
    return float(values[0]), float(values[1])


class EachKeyd(MapTransform):
    """Base of dictionary transforms: applies ``transform`` to each key, in place or into ``output_keys``.

    Raises:
        ValueError: ``output_keys`` are not as many as ``keys``.
    """

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
            raise ValueError(f"expected one output key per key, got output_keys {self.output_keys} for {self.keys}")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.transform(d[key])
        return d


def described(role: str, image: NdarrayOrTensor) -> str:
    """Describe an image for a message by its role, shape and file."""
    file = image.meta.get(FILE) if isinstance(image, MetaTensor) else None
    return f"{role} {tuple(image.shape)}{f' ({file})' if file else ''}"
