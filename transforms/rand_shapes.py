"""Label maps of random smooth shapes, which resemble nothing: SynthMorph's "shapes" (Hoffmann et al., IEEE TMI 2022).

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
"""Shapes are drawn on a grid of so many voxels' spacing where they are smooth enough, and interpolated linearly."""


def random_shapes(shape: Sequence[int], generator: torch.Generator | None, regions: int, smoothness: float) -> Tensor:
    """A label map of random smooth shapes: of as many smooth noise images, the number of the one that is largest.

        label(x) = argmax over r of (G * n_r)(x),  n_r white noise, G a Gaussian

    Args:
        shape: the D = 2 or 3 sizes of the grid.
        generator: where the noise is drawn from; the same state gives the same shapes. None is torch's global one.
        regions: how many noise images; few of the labels 0 to ``regions`` - 1 may occur nowhere.
        smoothness: standard deviation of the Gaussian, voxels: shapes are about three to four times as wide.

    Returns:
        (1, *shape), int16, on the CPU.

    Raises:
        ValueError: not 2 or 3 sizes, fewer than 2 regions or more than 32767, or no positive smoothness.
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
        regions: how many shapes, with the background 0; see :func:`random_shapes` (SynthMorph: 26).
        smoothness: range of the standard deviation that smooths the shapes, voxels.
        magnitude: range of the largest velocity of the deformation, voxels, as of :class:`.RandDiffeomorphic`.
        velocity_smoothness: range of the standard deviation that smooths the velocity, voxels.
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
            raise ValueError(f"smoothness is a range (lowest, highest) of voxels above 0, got {smoothness}")
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
        """Draws whether to make shapes, and the parameters ``drawn`` of shapes and of their deformation."""
        super().randomize(None)
        self.drawn = {"smoothness": float(self.R.uniform(*self.smoothness)), "seed": int(self.R.randint(2**31 - 1))}
        self.drawn["deformation"] = self.draw_deformation()

    def draw_deformation(self) -> dict[str, Any]:
        """The parameters of one deformation, see :class:`.RandDiffeomorphic`."""
        self.deform.randomize()
        return dict(self.deform.drawn)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Tensor:
        """The shapes, of the grid, the metadata and the type of ``img`` (1, *spatial).

        ``randomize=False`` repeats the last draw.
        """
        if randomize:
            self.randomize()
        image = tracked(img)
        if not self._do_transform:
            return image
        return self.place(image, self.shapes(image.shape[1:]), self.drawn["deformation"])

    def shapes(self, spatial_shape: Sequence[int]) -> Tensor:
        """The shapes of the last draw before they are deformed: (1, *spatial), int16."""
        generator = torch.Generator().manual_seed(self.drawn["seed"])
        return random_shapes(spatial_shape, generator, self.regions, self.drawn["smoothness"])

    def place(self, image: Tensor, shapes: Tensor, deformation: dict[str, Any]) -> Tensor:
        """``shapes`` deformed, of the type and with the metadata of ``image``."""
        self.deform.drawn = deformation
        displacement = self.deform.displacement(image.shape[1:])
        deformed = warp(shapes[None], displacement[None], "nearest", "border")[0]
        return like(deformed.to(plain(image).dtype), image)


class RandShapesd(RandomizableTransform, MapTransform):
    """Dictionary twin of :class:`RandShapes`: all keys get the same shapes, and each its own deformation.

    So the label maps of a sample can be registered to each other.

    Args:
        keys: the label maps (1, *spatial) to replace, all of one spatial shape.
        prob: probability that the label maps of a sample are replaced; all are, or none.
        regions, smoothness, magnitude, velocity_smoothness: as there.
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
        """Draws whether to make shapes, their parameters, and those of the deformation of each key."""
        super().randomize(None)
        self.make.randomize()
        self.deformations = [self.make.draw_deformation() for _ in self.keys]

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, Any]:
        """A copy of the sample with the label maps replaced.

        Raises:
            ValueError: label maps of different spatial shape.
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
                    f"{key!r} {tuple(d[key].shape)} and {first!r} {tuple(d[first].shape)} differ in spatial shape, "
                    "and the same shapes cannot fill both"
                )
            d[key] = self.make.place(tracked(d[key]), shapes, deformation)
        return d


RandShapesD = RandShapesDict = RandShapesd
