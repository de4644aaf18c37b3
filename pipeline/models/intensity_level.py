"""The level of an image's tissue and of its darkest voxels, by which images of different units are brought together."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...transforms import InputError
from ..cohorts.loading import scale
from ..images.volumes import Volume

BRIGHT, DARK = 99.8, 0.2
"""The percentiles that stand for an image's brightest and darkest voxels."""
TISSUE = 85
"""The percentile, of the voxels that show something, that stands for the level of an image's tissue. In a pair those
voxels count that show something in both: so it is the brain's with a bright scalp and without, within 2 %, where the
brightest voxels are three times as bright."""
SHOWS = 0.1
"""A voxel shows something if it is so far above the darkest, as a part of the mean."""
ALIKE, UNKNOWN = 1.05, 2.0
"""A pair whose levels are within this factor of the training images' is left as it is: in Neurite-OASIS they differ by
1 %, and an image that is 9 % brighter costs 0.02 in Dice. The second is for models that do not note how much their
images differ."""


@dataclass(frozen=True)
class Units:
    """Intensities that become those of the training: ``ground + factor · (image - low)``."""

    low: float
    factor: float
    ground: float

    def __call__(self, image: Tensor) -> Tensor:
        return (image - self.low) * self.factor + self.ground

    def __str__(self) -> str:
        return f"x {self.factor:.3g}" + (f" from {self.low:.3g} on" if self.low else "")


def scaled(image: Volume, intensity: str) -> Tensor:
    """Intensities by the training's own rule, ``cohort.intensity``: (1, *spatial) float32.

    Raises:
        InputError: as :func:`~smoothmorph.pipeline.cohorts.loading.scale`; hardly a voxel is brighter than the darkest.
    """
    found = scale(image.values, intensity, str(image.path)).float()
    if percentile(found, BRIGHT) == float(found.min()):
        raise InputError(
            f"fewer than {100 - BRIGHT:.2g} % of the voxels of {image.path} are brighter than its darkest ones, "
            "too few to register; crop it to what it shows."
        )
    return found


def offset_of(image: Tensor, tissue: float, ground: float) -> float:
    """The intensity that is to become ``ground``. An image that shows tissue all over has no voxel for 0."""
    low = percentile(image, DARK)
    return low if ground or low < (1 - ALIKE) * (tissue - low) else 0.0


def percentile(values: Tensor, share: float) -> float:
    """Below which ``share`` % of the values lie."""
    return float(np.percentile(values.numpy(), share))


def shows(image: Tensor, inside: Tensor | None = None) -> Tensor:
    """Which voxels of an image (1, *spatial) are above its background, of those ``inside`` (*spatial), if given."""
    inside = torch.ones_like(image, dtype=torch.bool) if inside is None else inside[None]
    seen = image[inside]
    if not len(seen):
        return inside
    low = percentile(seen, DARK)
    return inside & (image > low + SHOWS * (float(seen.mean()) - low))
