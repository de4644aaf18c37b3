"""Make label maps of random smooth shapes, SynthMorph's "shapes" (Hoffmann et al., IEEE TMI 2022).

A network that learns to register them learns no anatomy.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.transforms.transform import MapTransform, RandomizableTransform
from torch import Tensor

from .basics.metadata import TORCH, like, plain, tracked
from .fields.random_velocity import smooth_noise
from .fields.warping import warp
from .rand_diffeomorphic import RandDiffeomorphic

COARSE = 4
"""Spacing in voxels of the coarse grid on which smooth shapes are drawn, before linear interpolation."""


def random_shapes(shape: Sequence[int], generator: torch.Generator | None, regions: int, smoothness: float) -> Tensor:
    """Draw a label map of random smooth shapes: at each voxel, the label is the number of the largest noise image.

        label(x) = argmax over r of (G * n_r)(x),  n_r white noise, G a Gaussian

    Args:
        shape: the D = 2 or 3 sizes of the grid.
        generator: generator of the noise; the same state gives the same shapes. None uses torch's global one.
        regions: number of noise images. A few of the labels 0 to ``regions`` - 1 may not occur.
        smoothness: standard deviation of the Gaussian in voxels; shapes are about three to four times as wide.

    Returns:
        (1, *shape), int16, on the CPU.

    Raises:
        ValueError: there are not 2 or 3 sizes, not 2 to 32767 regions, or the smoothness is not above 0.
    """
    shape = tuple(int(size) for size in shape)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"random shapes need 2 or 3 sizes, got {shape}")
    if not 2 <= regions <= torch.iinfo(torch.int16).max:
        raise ValueError(f"regions must be 2 to {torch.iinfo(torch.int16).max}, got {regions}")
    if not 0 < smoothness < np.inf:
        raise ValueError(f"smoothness must be a number of voxels above 0, got {smoothness}")
    step = COARSE if smoothness >= 2 * COARSE else 1
    coarse = [max(1, -(-size // step)) for size in shape]
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    largest = torch.full(shape, -np.inf)
    label = torch.zeros(shape, dtype=torch.int16)
    for region in range(regions):
        noise = smooth_noise(coarse, generator, smoothness / step)[None, None]
        noise = noise if step == 1 else torch.nn.functional.interpolate(noise, shape, mode=mode, align_corners=True)
        larger = noise[0, 0] > largest
        label[larger] = region
        largest[larger] = noise[0, 0][larger]
    return label[None]


class RandShapes(RandomizableTransform):
    """Replaces a label map by random shapes on its grid, deformed by a random diffeomorphism.

    Args:
        prob: probability that the label map is replaced.
        regions: number of shapes, including the background 0; see :func:`random_shapes` (SynthMorph: 26).
        smoothness: range of the standard deviation that smooths the shapes, in voxels.
        magnitude: range of the largest velocity of the deformation in voxels; see :class:`.RandDiffeomorphic`.
        velocity_smoothness: range of the standard deviation that smooths the velocity, in voxels.

    Raises:
        ValueError: a range is not (lowest, highest), ``smoothness`` is not above 0, or ``regions`` is below 2.
    """

    backend = TORCH

    def __init__(
        self,
        prob: float = 0.1,
        regions: int = 26,
        smoothness: Sequence[float] = (8.0, 16.0),
        magnitude: Sequence[float] = (1.0, 5.0),
        velocity_smoothness: Sequence[float] = (6.0, 12.0),
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        if len(smoothness) != 2 or not 0 < smoothness[0] <= smoothness[1] < float("inf"):
            raise ValueError(f"smoothness must be (lowest, highest) in voxels, both above 0, got {smoothness}")
        if regions < 2:
            raise ValueError(f"regions must be 2 or more, got {regions}")
        self.regions, self.smoothness = int(regions), (float(smoothness[0]), float(smoothness[1]))
        self.deform = RandDiffeomorphic(1.0, magnitude, velocity_smoothness)
        self.drawn: dict[str, Any] = {}

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> "RandShapes":
        super().set_random_state(seed, state)
        self.deform.set_random_state(state=self.R)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw whether to make shapes, and the parameters of shapes and deformation, ``drawn``."""
        super().randomize(None)
        self.drawn = {"smoothness": float(self.R.uniform(*self.smoothness)), "seed": int(self.R.randint(2**31 - 1))}
        self.drawn["deformation"] = self.draw_deformation()

    def draw_deformation(self) -> dict[str, Any]:
        """Draw the parameters of one deformation; see :class:`.RandDiffeomorphic`."""
        self.deform.randomize()
        return dict(self.deform.drawn)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Tensor:
        """Return shapes with the grid, metadata and dtype of ``img`` (1, *spatial).

        ``randomize=False`` repeats the last draw; without one, it draws.
        """
        if randomize or not self.drawn:
            self.randomize()
        image = tracked(img)
        if not self._do_transform:
            return image
        return self.place(image, self.shapes(image.shape[1:]), self.drawn["deformation"])

    def shapes(self, spatial_shape: Sequence[int]) -> Tensor:
        """Return the shapes of the last draw before their deformation: (1, *spatial), int16."""
        generator = torch.Generator().manual_seed(self.drawn["seed"])
        return random_shapes(spatial_shape, generator, self.regions, self.drawn["smoothness"])

    def place(self, image: Tensor, shapes: Tensor, deformation: dict[str, Any]) -> Tensor:
        """Deform ``shapes``, and give them the dtype and the metadata of ``image``."""
        self.deform.drawn = deformation
        displacement = self.deform.displacement(image.shape[1:])
        deformed = warp(shapes[None], displacement[None], "nearest", "border")[0]
        return like(deformed.to(plain(image).dtype), image)


class RandShapesd(RandomizableTransform, MapTransform):
    """Dictionary-based version of :class:`RandShapes`: all keys get the same shapes, but each its own deformation.

    So the label maps of a sample can be registered to each other.

    Args:
        keys: keys of the label maps (1, *spatial) to replace, all with the same spatial shape.
        prob: probability that all label maps of a sample are replaced; otherwise none is.
        regions, smoothness, magnitude, velocity_smoothness: see :class:`RandShapes`.
        allow_missing_keys: skip keys that a sample lacks.
    """

    backend = RandShapes.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        regions: int = 26,
        smoothness: Sequence[float] = (8.0, 16.0),
        magnitude: Sequence[float] = (1.0, 5.0),
        velocity_smoothness: Sequence[float] = (6.0, 12.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.make = RandShapes(1.0, regions, smoothness, magnitude, velocity_smoothness)
        self.deformations: list[dict[str, Any]] = []

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> "RandShapesd":
        super().set_random_state(seed, state)
        self.make.set_random_state(state=self.R)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw whether to make shapes, the parameters of the shapes, and those of each key's deformation."""
        super().randomize(None)
        self.make.randomize()
        self.deformations = [self.make.draw_deformation() for _ in self.keys]

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """Return a copy of the sample with replaced label maps.

        Raises:
            ValueError: the label maps differ in spatial shape.
        """
        d: dict[Hashable, Any] = dict(data)
        self.randomize()
        first = self.first_key(d)
        if not self._do_transform or first == ():
            return d
        spatial_shape = tuple(d[first].shape[1:])
        shapes = self.make.shapes(spatial_shape)
        for key, deformation in self.key_iterator(d, self.deformations):
            if tuple(d[key].shape[1:]) != spatial_shape:
                raise ValueError(
                    f"{key!r} {tuple(d[key].shape)} and {first!r} {tuple(d[first].shape)} differ in spatial shape; "
                    "the same shapes need one spatial shape for all keys"
                )
            d[key] = self.make.place(tracked(d[key]), shapes, deformation)
        return d


RandShapesD = RandShapesDict = RandShapesd
