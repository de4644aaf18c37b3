"""Warp an image with a random diffeomorphism. Images and displacements have the form that :mod:`.warp_image` states."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils.enums import TraceKeys
from monai.utils.misc import ensure_tuple_rep
from torch import Tensor

from .basics.metadata import TORCH, check_range, like, plain, tracked
from .fields.random_velocity import random_velocity
from .fields.warping import Interpolation, Padding, integrate
from .warp_image import Modes, warp_tracked

Paddings = Padding | Sequence[Padding]
NOTHING = {"magnitude": 0.0, "smoothness": 0.0, "seed": 0}
"""The parameters of a draw that deforms nothing."""


class RandDiffeomorphic(RandomizableTransform, InvertibleTransform):
    """Warps an image with a random diffeomorphism exp(v), where v is a smooth random velocity field.

    Each draw samples three numbers: the magnitude, the smoothness and the seed of :func:`random_velocity`. They are
    recorded in the image's ``applied_operations``, and ``inverse`` uses them to warp with exp(-v). The result differs
    from the original by the blur of two interpolations, and where the image was moved out of its grid.

    Args:
        prob: probability that an image is deformed.
        magnitude: range of the largest velocity in voxels; it bounds the largest displacement.
        smoothness: range of the Gaussian filter's standard deviation in voxels. Keep it above half the magnitude:
            no folding was seen there; below, the sampled field may fold.
        integration_steps: number of squarings of :func:`integrate`.
        mode: ``bilinear``, or ``nearest`` for label maps.
        padding_mode: values outside the image: ``border`` or ``zeros``.

    Raises:
        ValueError: a range is not (lowest, highest) with 0 <= lowest <= highest, or ``integration_steps`` is below 1.
    """

    backend = TORCH

    def __init__(
        self,
        prob: float = 0.1,
        magnitude: Sequence[float] = (1.0, 5.0),
        smoothness: Sequence[float] = (8.0, 16.0),
        integration_steps: int = 7,
        mode: Interpolation = "bilinear",
        padding_mode: Padding = "border",
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        self.magnitude = check_range("magnitude", magnitude, " in voxels")
        self.smoothness = check_range("smoothness", smoothness, " in voxels")
        if integration_steps < 1:
            raise ValueError(f"integration_steps must be 1 or more for a diffeomorphism, got {integration_steps}")
        self.integration_steps = integration_steps
        self.mode: Interpolation = mode
        self.padding_mode: Padding = padding_mode
        self.drawn: Mapping[str, float] = NOTHING

    def randomize(self, data: Any = None) -> None:
        """Draw whether to deform, and the three parameters in ``drawn``; the magnitude is 0 if not."""
        super().randomize(None)
        self.drawn = NOTHING
        if self._do_transform:
            self.drawn = {
                "magnitude": float(self.R.uniform(*self.magnitude)),
                "smoothness": float(self.R.uniform(*self.smoothness)),
                "seed": int(self.R.randint(2**31 - 1)),
            }

    def displacement(self, spatial_shape: Sequence[int]) -> Tensor:
        """Return the displacement of the last draw on a grid of this shape, (D, *spatial) float32; 0 if none."""
        return self._flow(self.drawn, spatial_shape)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Tensor:
        """Return the deformed image; ``randomize=False`` repeats the last draw."""
        if randomize:
            self.randomize()
        img = self.apply(img, self.displacement(img.shape[1:]), self.mode, self.padding_mode)
        return self.push_transform(img, extra_info=self.record(self.mode, self.padding_mode))

    def inverse(self, data: Tensor) -> Tensor:
        """Undo the last deformation of ``data``, a ``MetaTensor`` that this transform returned."""
        return self.undo(data, self.pop_transform(data))

    def apply(self, img: NdarrayOrTensor, displacement: Tensor, mode: Interpolation, padding_mode: Padding) -> Tensor:
        """Warp ``img`` (C, *spatial) with the last draw's displacement; unchanged if that draw deforms nothing."""
        image = tracked(img)
        if not self._do_transform:
            return like(plain(image), image)  # a copy: recording the transform must not change the caller's image
        return warp_tracked(image, displacement, mode, padding_mode)

    def record(self, mode: Interpolation, padding_mode: Padding) -> dict[str, Any]:
        """Return what :meth:`undo` needs from the last draw, as numbers and strings that data loaders can collate."""
        return {**self.drawn, "mode": str(mode), "padding_mode": str(padding_mode)}

    def undo(self, img: Tensor, recorded: Mapping[str, Any]) -> Tensor:
        """Warp ``img`` (C, *spatial) with the inverse of the deformation that is recorded in its metadata."""
        if not recorded[TraceKeys.DO_TRANSFORM]:
            return img
        drawn = recorded[TraceKeys.EXTRA_INFO]
        displacement = self._flow(drawn, img.shape[1:], direction=-1)
        return warp_tracked(img, displacement, drawn["mode"], drawn["padding_mode"])

    def _flow(self, drawn: Mapping[str, Any], spatial_shape: Sequence[int], direction: int = 1) -> Tensor:
        if drawn["magnitude"] == 0:
            return torch.zeros(len(spatial_shape), *spatial_shape)
        generator = torch.Generator().manual_seed(int(drawn["seed"]))
        velocity = random_velocity(spatial_shape, generator, float(drawn["magnitude"]), float(drawn["smoothness"]))
        return integrate(direction * velocity, self.integration_steps)[0]


class RandDiffeomorphicd(RandomizableTransform, MapTransform, InvertibleTransform):
    """Dictionary-based version of :class:`RandDiffeomorphic`: one draw deforms all keys of a sample.

    Args:
        keys: keys of the images (C, *spatial) to deform, all with the same spatial shape.
        prob, magnitude, smoothness, integration_steps: see :class:`RandDiffeomorphic`.
        mode: ``bilinear`` or ``nearest``, one for all keys or one per key, e.g. ``("bilinear", "nearest")``.
        padding_mode: ``border`` or ``zeros``, one for all keys or one per key.
        displacement_key: the key to store the applied displacement (D, *spatial) in voxels under; it is 0 if the sample
            was not deformed. None does not store it.
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
        """Draw once, with the array transform."""
        self.deform.randomize()
        self._do_transform = self.deform._do_transform

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """Return a copy of the sample with deformed ``keys``.

        Raises:
            ValueError: the images differ in spatial shape.
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
                    f"{key!r} {tuple(d[key].shape)} and {first!r} {tuple(d[first].shape)} differ in spatial shape; "
                    "one deformation needs one shape for all keys"
                )
            warped = self.deform.apply(d[key], displacement, mode, padding_mode)
            d[key] = self.push_transform(warped, extra_info=self.deform.record(mode, padding_mode))
        if self.displacement_key is not None:
            affine = d[first].affine if isinstance(d[first], MetaTensor) else None
            d[self.displacement_key] = MetaTensor(displacement, affine=affine) if get_track_meta() else displacement
        return d

    def inverse(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Any]:
        """Return a copy of the sample with the deformation of ``keys`` undone; a stored displacement stays."""
        d: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.deform.undo(d[key], self.pop_transform(d[key]))
        return d


RandDiffeomorphicD = RandDiffeomorphicDict = RandDiffeomorphicd
