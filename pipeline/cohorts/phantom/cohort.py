"""The built-in cohort: the ICBM152 brain with a random deformation, contrast and noise for each subject.

    subject(x) = template(x + u(x)),  u = exp(v),  v a random smooth velocity field of the subject

The correct registration of two subjects is therefore known: a landmark p of the template is at the x with
x + u(x) = p.
"""

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import Transform
from scipy import ndimage
from torch import Tensor

from ....transforms.fields.random_velocity import random_velocity
from ....transforms.fields.warping import integrate, warp
from ...settings.schema import CohortSettings
from ..cohort import Cohort, Subject
from ..loading import Transforms, finishing
from .anatomy import AXES, LABEL_NAMES, SPACING, read_template, template_digest

COUNT = {2: 40, 3: 24}
"""Default number of subjects, by number of axes."""
RECIPE = 1
"""Version of the recipe, part of the fingerprint. Raise it whenever the same parameters give different samples."""


@dataclass(frozen=True)
class Variation:
    """How subjects differ. Values are drawn uniformly from each range."""

    displacement: float = 5.0
    """Largest |v| in voxels. It bounds |u|, which nearly reaches it; the mean of |u| over the brain is about 2."""
    smoothness: tuple[float, float] = (10.0, 6.0)
    """Standard deviation of the Gaussian that smooths v, in voxels, for 2-D and 3-D."""
    gains: tuple[tuple[float, float], ...] = ((0.60, 0.75), (0.72, 0.85), (0.25, 0.45))
    """Factors of the T1 signal of gray matter, white matter and CSF."""
    gamma: tuple[float, float] = (0.8, 1.25)
    bias: tuple[float, float] = (0.05, 0.15)
    """Largest deviation of the multiplicative bias field from 1."""
    noise: tuple[float, float] = (0.01, 0.025)
    """Standard deviation of the Rician noise."""


VARIATION = Variation()


def make_phantom(settings: CohortSettings) -> Cohort:
    """The phantom cohort. Each subject depends on ``settings.seed`` and its own number only."""
    dims = settings.spatial_dims
    ids = [subject_id(index) for index in range(settings.subjects or COUNT[dims])]
    reading = settings.model_dump(mode="json", include={"seed", "intensity", "size"})
    return Cohort(
        name="phantom",
        spatial_dims=dims,
        subjects=tuple(Subject(id=name, group=name) for name in ids),
        label_names=LABEL_NAMES,
        declared_split=None,
        transform=Transforms([MakePhantomd(settings.spatial_dims, settings.seed), *finishing(settings)]),
        reading={**reading, "recipe": RECIPE, **asdict(VARIATION), "template": template_digest()},
    )


def subject_id(index: int) -> str:
    """The id of the subject with this number."""
    return f"phantom-{index:04d}"


class MakePhantomd(Transform):
    """Generates the subject whose number is in ``id``: the template with a deformation, contrast, bias field and noise.

    Args:
        spatial_dims: D, 2 or 3.
        seed: random seed of the cohort.

    Raises:
        InputError: nilearn lacks the template.
    """

    def __init__(self, spatial_dims: int, seed: int) -> None:
        self.spatial_dims, self.seed = spatial_dims, seed

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add ``image`` and ``label`` (1, *spatial), ``landmarks``, ``spacing`` and ``axes``, as in a sample."""
        generator = subject_generator(self.seed, int(data["id"].rpartition("-")[2]))
        template = read_template(self.spatial_dims)
        displacement = random_displacement(self.spatial_dims, generator)
        image = _contrast(torch.from_numpy(template.t1), torch.from_numpy(template.tissues), generator)
        inside = torch.from_numpy(template.label) > 0
        image = warp((image * inside)[None, None], displacement)[0]
        label = warp(torch.from_numpy(template.label)[None, None], displacement, mode="nearest")[0]
        image = image * bias_field(image.shape[1:], generator)
        return {
            **data,
            "image": rician(image, generator) * (label > 0),  # skull-stripped: exactly 0 outside
            "label": label,
            "landmarks": torch.from_numpy(locate(template.landmarks, displacement[0].numpy())),
            "spacing": (float(SPACING[self.spatial_dims]),) * self.spatial_dims,
            "axes": AXES[self.spatial_dims],
        }


def random_displacement(spatial_dims: int, generator: torch.Generator) -> Tensor:
    """The displacement u of one subject, (1, D, *spatial) in voxels. x + u(x) maps the grid onto itself."""
    shape = read_template(spatial_dims).t1.shape
    smoothness = VARIATION.smoothness[spatial_dims - 2]
    velocity = random_velocity(shape, generator, VARIATION.displacement, smoothness)
    return integrate(velocity, steps=7, padding_mode="border")


def locate(points: np.ndarray, displacement: np.ndarray, tolerance: float = 1e-4) -> np.ndarray:
    """Solve x + u(x) = p for every point p by damped fixed-point iteration, with linear interpolation of u.

    Args:
        points: (N, D) voxel coordinates in the template.
        displacement: (D, *spatial) in voxels; x + u(x) must be invertible.
        tolerance: largest accepted |x + u(x) - p| along an axis, in voxels.

    Returns:
        (N, D) voxel coordinates in the subject.

    Raises:
        RuntimeError: there is no such x on the grid. This cannot happen if x + u(x) maps the grid onto itself without
            folding.
    """
    position = points.copy()
    residual = np.full_like(position, np.inf)
    for _ in range(500):
        at = [ndimage.map_coordinates(component, position.T, order=1, mode="nearest") for component in displacement]
        residual = position + np.stack(at, axis=1) - points
        if np.abs(residual).max() < tolerance:
            break
        position = position - 0.5 * residual
    inside = (position >= 0).all() and (position <= np.array(displacement.shape[1:]) - 1).all()
    if not (inside and np.abs(residual).max() < tolerance):
        raise RuntimeError(f"no solution of x + u(x) = p: {np.abs(residual).max():.3g} voxels off, or outside the grid")
    return position


def subject_generator(seed: int, index: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)  # torch takes 63 bits


def uniform(low_high: tuple[float, float], generator: torch.Generator) -> float:
    low, high = low_high
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _contrast(t1: Tensor, tissues: Tensor, generator: torch.Generator) -> Tensor:
    """Scale the signal of each tissue and apply a gamma curve; the result is in 0..1."""
    gains = [uniform(gain, generator) for gain in VARIATION.gains]
    signal = t1 * torch.einsum("t,t...->...", torch.tensor(gains), tissues)
    return signal.clamp(0, 1) ** uniform(VARIATION.gamma, generator)


def bias_field(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """1 + a random sum of low-frequency cosines along each axis, scaled to a random largest deviation: (*shape)."""
    field = torch.randn([4] * len(shape), generator=generator)
    field.view(-1)[0] = 0  # no constant part
    for size in shape:
        waves = torch.cos(torch.pi * torch.arange(4)[:, None] * (torch.arange(size) + 0.5) / size)
        field = field.movedim(0, -1) @ waves  # after all axes, each is back at its position
    return 1 + uniform(VARIATION.bias, generator) * field / field.abs().max()


def rician(image: Tensor, generator: torch.Generator) -> Tensor:
    """Add Rician noise, the magnitude of a complex signal with Gaussian noise on both parts; clip to 0..1."""
    deviation = uniform(VARIATION.noise, generator)
    real, imaginary = deviation * torch.randn((2, *image.shape), generator=generator)
    return torch.hypot(image + real, imaginary).clamp(0, 1)
