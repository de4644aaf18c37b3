"""Intensity levels of an image, its tissue and its darkest voxels, by which images in other units are rescaled."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...transforms import InputError
from ..cohorts.loading import scale
from ..images.volumes import Volume

BRIGHT, DARK = 99.8, 0.2
"""Percentiles that define the level of an image's brightest and darkest voxels."""
TISSUE = 85
"""Percentile of the foreground voxels that defines the tissue level of an image. For a pair, only voxels that are
foreground in both images count. The level then is that of the brain, with a bright scalp or without it, within 2 %,
although the scalp makes the brightest voxels three times as bright."""
SHOWS = 0.1
"""A voxel is foreground if it exceeds the darkest voxels by this fraction of the mean."""
ALIKE, UNKNOWN = 1.05, 2.0
"""A pair is not rescaled if its levels are within ALIKE, a factor, of the training images' levels. In Neurite-OASIS,
levels differ by 1 %; an image that is 9 % brighter loses 0.02 in Dice. UNKNOWN is the factor for models that do not
state how much the levels of their training images differ."""


@dataclass(frozen=True)
class Units:
    """The conversion of an image to the intensities of the training: ``ground + factor · (image - low)``."""

    low: float
    factor: float
    ground: float

    def __call__(self, image: Tensor) -> Tensor:
        return (image - self.low) * self.factor + self.ground

    def __str__(self) -> str:
        return f"x {self.factor:.3g}" + (f" from {self.low:.3g} on" if self.low else "")


def scaled(image: Volume, intensity: str) -> Tensor:
    """Scale an image by the rule used in training, ``cohort.intensity``: (1, *spatial) float32.

    Raises:
        InputError: as :func:`~smoothmorph.pipeline.cohorts.loading.scale`, or hardly any voxel is above the minimum.
    """
    found = scale(image.values, intensity, str(image.path)).float()
    if percentile(found, BRIGHT) == float(found.min()):
        raise InputError(
            f"fewer than {100 - BRIGHT:.2g} % of the voxels of {image.path} are brighter than its darkest voxels, "
            "too few to register; crop the image around the object."
        )
    return found


def offset_of(image: Tensor, tissue: float, ground: float) -> float:
    """The intensity that becomes ``ground``: the darkest voxels' if it is below 0 or ``ground`` is not 0, otherwise 0.

    Darkest voxels above 0 do not show an offset: an image without background has no voxels at 0.
    """
    low = percentile(image, DARK)
    return low if ground or low < (1 - ALIKE) * (tissue - low) else 0.0


def percentile(values: Tensor, share: float) -> float:
    """The percentile ``share`` (0 to 100) of the values."""
    return float(np.percentile(values.numpy(), share))


def shows(image: Tensor, inside: Tensor | None = None) -> Tensor:
    """The foreground mask of an image (1, *spatial), restricted to the mask ``inside`` (*spatial) if given."""
    inside = torch.ones_like(image, dtype=torch.bool) if inside is None else inside[None]
    seen = image[inside]
    if not len(seen):
        return inside
    low = percentile(seen, DARK)
    return inside & (image > low + SHOWS * (float(seen.mean()) - low))
