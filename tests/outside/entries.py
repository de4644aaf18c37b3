"""An entry of several kinds of another package. Importing this file does not load torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smoothmorph.networks import BackboneEntry, Option
from smoothmorph.pipeline.settings.intensities import IntensityEntry
from smoothmorph.pipeline.settings.random_transforms import RandomTransformEntry
from smoothmorph.pipeline.settings.vocabulary import MethodEntry, ReaderEntry

if TYPE_CHECKING:
    from smoothmorph.pipeline.cohorts.cohort import Cohort
    from smoothmorph.pipeline.methods.without_training import Displace
    from smoothmorph.pipeline.settings.schema import CohortSettings, TrialSettings

PICTURES = ReaderEntry(
    name="pictures",
    title="a folder of pictures",
    meaning="pictures of discs in one folder",
    source="discs drawn by the outside package",
    terms="Nobody minds what is done with the discs.",
    target=f"{__name__}:read_pictures",
    options=(Option(name="first", kind=str, default="image", meaning="the first letters of the names of pictures"),),
)
WINDOW = IntensityEntry(
    name="window",
    title="Window",
    meaning="0 to 2 becomes 0 to 1, and what is beyond is clipped",
    target="monai.transforms:ScaleIntensityRanged",
    arguments={"a_min": 0, "a_max": 2, "b_min": 0, "b_max": 1, "clip": True},
    bounds=(0, 1),
)
SHIFT = MethodEntry(
    name="shift",
    title="whole shift",
    meaning="the translation by whole voxels that the phase of both images tells",
    source="Kuglin and Hines, 1975",
    target=f"{__name__}:by_shift",
    how="one step of phase correlation, at most {longest:g} voxels; seed {seed} changes nothing",
    options=(
        Option(name="longest", kind=float, least=0, default=100.0, meaning="longest shift along an axis, in voxels"),
    ),
    settings=("seed",),
)
SLIM = BackboneEntry(
    name="slim",
    title="Slim net",
    meaning="three convolutions on the grid of the integration",
    source="The outside package, 2026",
    target="outside.slim:Slim",
    options=(
        Option(
            name="channels",
            kind=int,
            least=1,
            most=1024,
            many=True,
            meaning="channels of the convolutions; null: [4, 4]",
        ),
        Option(name="slope", kind=float, least=0, most=1, meaning="slope of the activation below 0; null: 0.2"),
    ),
)


STRIPES = RandomTransformEntry(
    name="stripes",
    title="Stripes",
    meaning="random stripes of another brightness",
    target="outside.stripes:RandStripesd",
    moves=False,
)


def read_pictures(settings: CohortSettings, root: Path) -> Cohort:
    """All files ``image*.nii.gz`` in the folder, each with the label map of the same number."""
    from smoothmorph.pipeline import file_cohort
    from smoothmorph.pipeline.cohorts.cohort import Subject

    subjects = []
    for image in root.glob(f"{settings.first}*.nii.gz"):
        name = image.name.removesuffix(".nii.gz")
        subjects.append(Subject(name, name, image, image.with_name(image.name.replace(settings.first, "label"))))
    return file_cohort(settings, root, subjects, {1: "disc"})


def by_shift(settings: TrialSettings) -> Displace:
    """A constant displacement."""
    import numpy as np

    def displace(moving, fixed, spacing):
        cross = np.fft.fftn(moving) * np.conj(np.fft.fftn(fixed))
        peak = np.unravel_index(np.argmax(np.fft.ifftn(cross).real), fixed.shape)
        shift = [place - size if place > size // 2 else place for place, size in zip(peak, fixed.shape, strict=True)]
        shift = np.clip(shift, -settings.baseline.longest, settings.baseline.longest)
        return np.broadcast_to(
            np.array(shift, np.float32).reshape(-1, *[1] * fixed.ndim), (fixed.ndim, *fixed.shape)
        ).copy()

    return displace
