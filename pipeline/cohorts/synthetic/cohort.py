"""Synthetic brains: the ICBM152 tissue maps with a random deformation and random cortical folds for each subject.

    fractions(x) = template(x + u(x)),  u = exp(v),  v the sum of random smooth velocities of several scales
    tissue(x)    = argmax over t of  k log fractions_t(x) + signal_t(x) + noise_t(x) + folds_t(d(x))

In the cortex, signal_t prefers CSF where the template's T1 signal is low and white matter where it is high.
The template is an average of many brains, so it blends tissues. There, each subject gets random folds: d is the
distance to random sheets, the sulci, and folds_t prefers CSF close to them, then gray matter, then white matter. The
topology therefore differs between subjects, which a deformation alone cannot achieve.
The brains are for training, with their labels. ``image`` is T1-weighted; ``RandSyntheticImaged`` makes other contrasts.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from monai.transforms.transform import Transform
from torch import Tensor

from ....transforms.fields.random_velocity import random_velocity, smooth_noise
from ....transforms.fields.warping import integrate, warp
from ...settings.schema import CohortSettings
from ..cohort import Cohort, Subject
from ..loading import Transforms, finishing
from ..phantom.anatomy import template_digest
from ..phantom.cohort import bias_field, rician, subject_generator, uniform
from .anatomy import AXES, LABEL_NAMES, check_spacing, folded, label_of, read_atlas

COUNT = {2: 200, 3: 100}
"""Default number of subjects, by number of axes."""
RECIPE = 1
"""Version of the recipe, part of the fingerprint. Raise it whenever the same parameters give different samples."""


@dataclass(frozen=True)
class Variation:
    """How subjects differ. Values are drawn uniformly from each range; lengths are in mm."""

    velocities: tuple[tuple[float, tuple[float, float]], ...] = ((24.0, (4, 12)), (12.0, (3, 8)), (6.0, (1, 3)))
    """For each part of v: standard deviation of the Gaussian that smooths it, and range of its largest magnitude."""
    sharpness: float = 1.0
    """The factor k above."""
    t1: float = 40.0
    """Preference for CSF in dark and for white matter in bright voxels of the cortex, per unit of template signal."""
    levels: tuple[float, float] = (0.62, 0.72)
    """Thresholds of the template's T1 signal: between CSF and gray matter, and between gray and white matter."""
    borders: tuple[float, tuple[float, float]] = (8.0, (0.2, 0.8))
    """For noise_t: standard deviation of the Gaussian that smooths it, and range of its own standard deviation."""
    gyri: tuple[float, float] = (2.5, 3.5)
    """Standard deviation of the Gaussian that smooths the noise whose zeros are the sulci. The mean distance between
    sulci is 4.4 times as large."""
    depth: tuple[float, float] = (3.0, 6.0)
    """Largest preference for CSF in sulci, and for white matter in gyri."""
    sulcus: tuple[float, float] = (1.0, 2.0)
    """Half width of a sulcus."""
    cortex: tuple[float, float] = (1.5, 3.0)
    """Thickness of the cortex."""
    gains: tuple[tuple[float, float], ...] = ((0.45, 0.68), (0.75, 0.95), (0.08, 0.30))
    """Signal of gray matter, white matter and CSF."""


VARIATION = Variation()


def make_synthetic(settings: CohortSettings) -> Cohort:
    """The cohort of synthetic brains. Each subject depends on ``settings.seed`` and its own number only.

    Raises:
        InputError: there is no template with this spacing.
    """
    dims, spacing = settings.spatial_dims, check_spacing(settings.spatial_dims, settings.spacing)
    ids = [f"synthetic-{index:04d}" for index in range(settings.subjects or COUNT[dims])]
    reading = settings.model_dump(mode="json", include={"seed", "intensity", "size"})
    return Cohort(
        name=settings.reader,
        spatial_dims=dims,
        subjects=tuple(Subject(id=name, group=name) for name in ids),
        label_names=LABEL_NAMES,
        declared_split=None,
        transform=Transforms([MakeSyntheticBraind(dims, spacing, settings.seed), *finishing(settings)]),
        reading={**reading, "spacing": spacing, "recipe": RECIPE, **asdict(VARIATION), "template": template_digest()},
    )


class MakeSyntheticBraind(Transform):
    """Generates the subject whose number is in ``id``: its anatomy and a T1-weighted image.

    Args:
        spatial_dims: D, 2 or 3.
        spacing: mm per voxel.
        seed: random seed of the cohort.

    Raises:
        InputError: nilearn lacks the template.
    """

    def __init__(self, spatial_dims: int, spacing: int, seed: int) -> None:
        self.spatial_dims, self.spacing, self.seed = spatial_dims, spacing, seed

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add ``image`` and ``label`` (1, *spatial), ``spacing`` and ``axes``, as in a sample."""
        generator = subject_generator(self.seed, int(data["id"].rpartition("-")[2]))
        atlas = read_atlas(self.spatial_dims, self.spacing)
        displacement = random_displacement(self.spatial_dims, self.spacing, generator)
        t1, *fractions = warp(torch.from_numpy(atlas.maps)[None], displacement, padding_mode="zeros")[0]
        fractions = torch.stack(fractions)
        regions = warp(torch.from_numpy(atlas.regions)[None, None], displacement, mode="nearest")[0, 0]
        inside = fractions.sum(0) >= 0.5
        fractions = individual(fractions, t1, folded(regions), self.spacing, generator)
        label = torch.from_numpy(label_of(fractions.argmax(0).numpy(), regions.numpy())) * inside
        gains = torch.tensor([uniform(gain, generator) for gain in VARIATION.gains])
        signal = torch.einsum("t,t...->...", gains, fractions) * bias_field(inside.shape, generator)
        return {
            **data,
            "image": (rician(signal, generator) * inside)[None],  # skull-stripped: exactly 0 outside
            "label": label[None],
            "spacing": (float(self.spacing),) * self.spatial_dims,
            "axes": AXES[self.spatial_dims],
        }


def random_displacement(spatial_dims: int, spacing: int, generator: torch.Generator) -> Tensor:
    """The displacement u of one subject, (1, D, *spatial) in voxels. x + u(x) maps the grid onto itself."""
    shape = read_atlas(spatial_dims, spacing).regions.shape
    velocity = torch.zeros(1, spatial_dims, *shape)
    for smoothness, speed in VARIATION.velocities:
        velocity += random_velocity(shape, generator, uniform(speed, generator) / spacing, smoothness / spacing)
    return integrate(velocity, steps=7, padding_mode="border")


def individual(fractions: Tensor, t1: Tensor, cortical: Tensor, spacing: int, generator: torch.Generator) -> Tensor:
    """Tissue fractions (3, *spatial) of an individual brain: sharper than the average, with other tissue borders.

    Args:
        fractions: tissue fractions (3, *spatial) of the deformed template.
        t1: T1 signal (*spatial) of the deformed template.
        cortical: mask (*spatial) of the folded cortex.
        spacing: mm per voxel.
        generator: random generator of the subject.
    """
    blended = ((1 - fractions.amax(0)) / 0.4).clamp(0, 1) * cortical
    logits = VARIATION.sharpness * fractions.clamp_min(1e-3).log()
    dark, bright = VARIATION.levels
    logits += VARIATION.t1 * cortical * torch.stack([torch.zeros_like(t1), t1 - bright, dark - t1])
    smoothness, deviation = VARIATION.borders
    strength = uniform(deviation, generator)
    for part in logits:
        part += strength * smooth_noise(part.shape, generator, smoothness / spacing)
    return (logits + blended * folds(fractions.shape[1:], spacing, generator)).softmax(0)


def folds(shape: Sequence[int], spacing: int, generator: torch.Generator) -> Tensor:
    """The preference for gray matter, white matter and CSF by the position in random folds: (3, *shape).

    Sulci are the zeros of smooth noise n. The distance to them is d = |n| / s, where s = 1 / (√2 smoothness) is the
    standard deviation of the derivative of n along an axis.
    """
    smoothness, depth, sulcus, cortex = (
        uniform(range_, generator) for range_ in (VARIATION.gyri, VARIATION.depth, VARIATION.sulcus, VARIATION.cortex)
    )
    distance = smooth_noise(shape, generator, smoothness / spacing).abs() * (2**0.5 * smoothness)
    csf = (1 - distance / sulcus).clamp(-1, 1)
    white = ((distance - sulcus - cortex) / cortex).clamp(-1, 1)
    return depth * torch.stack([torch.zeros_like(distance), white, csf])
