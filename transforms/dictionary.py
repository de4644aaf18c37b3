"""Dictionary twins of the array transforms in :mod:`.array`. The spellings d, D and Dict are one class."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, RandomizableTransform, Transform
from monai.utils.misc import ensure_tuple, ensure_tuple_rep
from torch import Tensor

from .array import DeformationGrid, JacobianDeterminant, RandDiffeomorphic, WarpImage
from .fields.warping import Interpolation, Padding

Modes = Interpolation | Sequence[Interpolation]
Paddings = Padding | Sequence[Padding]


class RandDiffeomorphicd(RandomizableTransform, MapTransform, InvertibleTransform):
    """Dictionary twin of :class:`RandDiffeomorphic`: all keys of a sample are deformed by one draw.

    Args:
        keys: the images (C, *spatial) to deform, all of one spatial shape.
        prob, magnitude, smoothness, integration_steps: as there.
        mode: ``bilinear`` or ``nearest``, one for all keys or one per key, e.g. ``("bilinear", "nearest")``.
        padding_mode: ``border`` or ``zeros``, one for all keys or one per key.
        displacement_key: where to put the displacement that was applied, (D, *spatial), voxels; zeros when the sample
            was left alone. None puts it nowhere.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = RandDiffeomorphic.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        magnitude: Sequence[float] = (1.0, 5.0),
        smoothness: Sequence[float] = (8.0, 16.0),
        integration_steps: int = 7,
        mode: Modes = "bilinear",
        padding_mode: Paddings = "border",
        displacement_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.deform = RandDiffeomorphic(prob, magnitude, smoothness, integration_steps)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.padding_mode = ensure_tuple_rep(padding_mode, len(self.keys))
        self.displacement_key = displacement_key

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> "RandDiffeomorphicd":
        self.deform.set_random_state(seed, state)
        super().set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        """One draw, the array transform's."""
        self.deform.randomize()
        self._do_transform = self.deform._do_transform

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """A copy of the sample with ``keys`` deformed.

        Raises:
            ValueError: images of different spatial shape.
        """
        d: dict[Hashable, Any] = dict(data)
        first = self.first_key(d)
        if first == ():
            return d
        self.randomize()
        spatial_shape = tuple(d[first].shape[1:])
        displacement = self.deform.displacement(spatial_shape)
        for key, mode, padding_mode in self.key_iterator(d, self.mode, self.padding_mode):
            if tuple(d[key].shape[1:]) != spatial_shape:
                raise ValueError(
                    f"{key!r} {tuple(d[key].shape)} and {first!r} {tuple(d[first].shape)} differ in spatial shape, "
                    "and one deformation cannot serve both"
                )
            warped = self.deform.apply(d[key], displacement, mode, padding_mode)
            d[key] = self.push_transform(warped, extra_info=self.deform.record(mode, padding_mode))
        if self.displacement_key is not None:
            affine = d[first].affine if isinstance(d[first], MetaTensor) else None
            d[self.displacement_key] = MetaTensor(displacement, affine=affine) if get_track_meta() else displacement
        return d

    def inverse(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Any]:
        """A copy of the sample with the deformation of ``keys`` undone; the displacement, if kept, stays."""
        d: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.deform.undo(d[key], self.pop_transform(d[key]))
        return d


class WarpImaged(MapTransform):
    """Dictionary twin of :class:`WarpImage`: warps ``keys`` with the displacement under ``displacement_key``.

    Args:
        keys: the images (C, *spatial) to warp.
        displacement_key: where the displacement (D, *spatial), voxels, is.
        mode: ``bilinear`` or ``nearest``, one for all keys or one per key.
        padding_mode: ``border`` or ``zeros``.
        reference_key: the fixed image, or what lies on its grid: the warped images take its affine and metadata
            instead of keeping their own.
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


class _DisplacementMapd(MapTransform):
    """From the displacement under each key to one map of it, in place or under ``output_keys``."""

    def __init__(
        self,
        transform: Transform,
        keys: KeysCollection,
        output_keys: KeysCollection | None,
        allow_missing_keys: bool,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform
        self.output_keys = self.keys if output_keys is None else ensure_tuple(output_keys)
        if len(self.output_keys) != len(self.keys):
            raise ValueError(f"one output key per key: got output_keys {self.output_keys} for keys {self.keys}")

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        d: dict[Hashable, Any] = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.transform(d[key])
        return d


class JacobianDeterminantd(_DisplacementMapd):
    """Dictionary twin of :class:`JacobianDeterminant`.

    Args:
        keys: displacements (D, *spatial), voxels.
        output_keys: where to put the maps (1, *spatial), one per key; None replaces the displacements.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = JacobianDeterminant.backend

    def __init__(
        self, keys: KeysCollection, output_keys: KeysCollection | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(JacobianDeterminant(), keys, output_keys, allow_missing_keys)


class DeformationGridd(_DisplacementMapd):
    """Dictionary twin of :class:`DeformationGrid`.

    Args:
        keys: displacements (D, *spatial), voxels.
        output_keys: where to put the pictures (1, *spatial), one per key; None replaces the displacements.
        spacing, thickness, axes: as there.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = DeformationGrid.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        spacing: int = 8,
        thickness: int = 1,
        axes: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(DeformationGrid(spacing, thickness, axes), keys, output_keys, allow_missing_keys)


RandDiffeomorphicD = RandDiffeomorphicDict = RandDiffeomorphicd
WarpImageD = WarpImageDict = WarpImaged
JacobianDeterminantD = JacobianDeterminantDict = JacobianDeterminantd
DeformationGridD = DeformationGridDict = DeformationGridd
