"""Loading of samples from files: a ``Compose`` of MONAI transforms, and MONAI datasets that keep the samples."""

import hashlib
import inspect
import math
import reprlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.dataset import CacheDataset, Dataset
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import ResizeWithPadOrCropd
from monai.transforms.transform import Transform
from torch import Tensor

from ...transforms.basics.errors import InputError
from ...transforms.basics.metadata import plain
from ..files.text import cache_folder
from ..images.reading import times
from ..settings.data_sections import SMALLEST
from ..settings.intensities import INTENSITIES
from ..settings.schema import CohortSettings
from .cohort import Cohort, Sample
from .memory_mapped import MappedDataset
from .subject_transforms import AddGridd, CheckImaged, CheckLabeld, CheckSpreadd, MoveLandmarksd, ReadImaged, ToSampled

IN_MEMORY = 4 << 30
"""A cohort up to this size in bytes is kept in memory; a larger one is memory-mapped from files in the user's cache."""
Progress = Callable[[int, int], None]
"""Called with (done, total)."""
SAME_SPACING = 0.01
"""Spacings within a cohort may differ by this fraction: one voxel in a hundred."""


class Transforms(Compose):
    """MONAI's ``Compose`` with a readable ``repr``, which passes on the errors of its transforms unchanged.

    MONAI would wrap every error in a RuntimeError that names the transform. Here, a fault in a file stays an
    InputError of one sentence.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().__call__(*arguments, **options)
        except RuntimeError as error:
            raise error if error.__cause__ is None else error.__cause__ from None

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {_described(transform)},\n" for transform in self.transforms) + ")"


def _described(transform: Any) -> str:
    """A transform with its arguments, as far as it or the transform that it wraps stores them under their names."""
    wrapped = [value for value in vars(transform).values() if isinstance(value, Transform)]
    held = {name: value for part in (*wrapped, transform) for name, value in vars(part).items()}
    names = [name for name in inspect.signature(type(transform)).parameters if name in held]
    return f"{type(transform).__name__}({', '.join(f'{name}={reprlib.repr(held[name])}' for name in names)})"


def file_transforms(settings: CohortSettings, names: Mapping[int, str] | None = None) -> Transforms:
    """The transforms from an item ``{"id", "image", "label"}`` of a data list, with files, to its sample.

    Args:
        settings: axes, intensity scaling and size.
        names: the values that a label map may hold besides 0; None allows all.

    Raises:
        InputError: raised by the transforms: a file is missing, unreadable or truncated; the number of axes is wrong;
            the image is constant or has NaN or infinite values; the label map has another shape or affine, negative or
            fractional values, or a value without a name; intensity scaling fails.
    """
    return Transforms([*reading(settings.spatial_dims, names), *finishing(settings)])


def reading(spatial_dims: int, names: Mapping[int, str] | None = None) -> list[Any]:
    """Transforms that read and check the files: image (float64), label (int64), affines, spacing and axes."""
    return [
        ReadImaged("image", spatial_dims),
        CheckImaged("image"),
        AddGridd(),
        ReadImaged("label", spatial_dims, labels=True, allow_missing_keys=True),
        CheckLabeld(names),
    ]


def finishing(settings: CohortSettings) -> list[Any]:
    """Transforms that scale intensities, pad or crop image, label and landmarks, and make the sample.

    Raises:
        InputError: raised by the transforms: intensity scaling fails, cropping leaves a constant image, or a landmark
            is cropped away.
    """
    steps = scaling(settings.intensity)
    if settings.size is not None:
        resize = ResizeWithPadOrCropd(("image", "label"), settings.size, allow_missing_keys=True)
        steps += [MoveLandmarksd(settings.size), resize]
    return [*steps, ToSampled()]


def scaling(intensity: str) -> list[Any]:
    """Transforms that scale the intensities of ``image``.

    Raises:
        InputError: raised by the transforms: nearly all voxels have the same intensity, or intensities are too large.
    """
    entry = INTENSITIES[intensity]
    steps: list[Any] = [CheckSpreadd("image", *entry.spread)] if entry.spread else []
    steps += [entry.load()("image", **entry.arguments)] if entry.target else []
    return [*steps, CheckImaged("image", after="intensity scaling")]


def scale(image: Tensor, intensity: str, source: str) -> Tensor:
    """Scale the intensities of an image (1, *spatial) as in :func:`scaling`; ``source`` names it in error messages."""
    return plain(Transforms(scaling(intensity))({"id": source, "image": image})["image"])


class Samples(Mapping[str, Sample]):
    """The samples of a MONAI dataset by subject id."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._index = {item["id"]: index for index, item in enumerate(dataset.data)}

    def __getitem__(self, subject_id: str) -> Sample:
        sample: Any = self.dataset[self._index[subject_id]]
        return sample

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


def load_samples(cohort: Cohort, ids: Iterable[str], progress: Progress | None = None) -> Samples:
    """Load subjects into a MONAI dataset, several subjects in parallel.

    Up to ``IN_MEMORY`` bytes, a ``CacheDataset`` keeps them in memory; beyond, a :class:`.MappedDataset` maps files.

    Args:
        cohort: the subjects and the transform that loads them.
        ids: subject ids. Each is loaded once; the result is sorted by id.
        progress: called after each subject with (subjects done, total subjects).

    Raises:
        InputError: an id is unknown, a subject cannot be loaded, shapes, spacings or axes differ, or the disk is too
            small.
    """
    items = [cohort[subject_id].item for subject_id in sorted(set(ids))]
    dataset: Dataset = CacheDataset(items, cohort.transform, progress=False, as_contiguous=False, runtime_cache=True)
    first: Any = dataset[0] if items else None
    if items and _exceeds_memory(first, len(items)):
        dataset = MappedDataset(items, cohort.transform, _folder_for(cohort, first, len(items)))
    pool = ThreadPoolExecutor(torch.get_num_threads())
    try:  # MONAI's own filling of the cache would not stop its threads after an error
        for done, _ in enumerate(pool.map(dataset.__getitem__, range(len(items))), 1):
            if progress is not None:
                progress(done, len(items))
    finally:  # also after an error or Ctrl-C: threads still loading while the interpreter exits abort the process
        pool.shutdown(cancel_futures=True)
    samples = Samples(dataset)
    _check_grids(samples)
    return samples


def _exceeds_memory(first: Sample, subjects: int) -> bool:
    """Whether this many subjects, all like the first, exceed ``IN_MEMORY``."""
    label = torch.int16 if first["label"] is None else first["label"].dtype
    return needed_bytes(first["image"].shape, subjects, label) > IN_MEMORY


def _folder_for(cohort: Cohort, first: Sample, subjects: int) -> Path:
    """The cache folder for the samples of a cohort; InputError if the disk is too small for them."""
    folder = cache_folder() / "samples" / hashlib.sha256(cohort.fingerprint().encode()).hexdigest()[:16]
    if not folder.is_dir():
        check_disk(first["image"].shape[1:], subjects, folder)
    return folder


def needed_bytes(size: Sequence[int], subjects: int, label: torch.dtype = torch.int16) -> int:
    """The size in bytes of the images (float32) and label maps of this many subjects."""
    return subjects * math.prod(size) * (torch.float32.itemsize + label.itemsize)


def check_disk(size: Sequence[int], subjects: int, folder: Path) -> None:
    """Raise InputError if images and label maps exceed both the memory limit and the free disk space at ``folder``."""
    there = next(parent for parent in folder.parents if parent.exists())
    needed, free = needed_bytes(size, subjects), shutil.disk_usage(there).free
    if needed > max(free, IN_MEMORY):
        raise InputError(
            f"{subjects} subjects of {times(size)} voxels need {needed / 2**30:,.0f} GiB, but {there} has "
            f"{free / 2**30:,.0f} GiB free; reduce cohort.size or cohort.subjects, or "
            "set SMOOTHMORPH_CACHE to a folder on a larger disk."
        )


def _check_grids(samples: Mapping[str, Sample]) -> None:
    """Raise InputError unless all images have the same grid."""
    first: Sample | None = None
    for sample in samples.values():
        first = first or sample
        if found := grid_differences(sample, first):
            raise InputError(next(iter(found.values())))


def grid_differences(sample: Sample, first: Sample) -> dict[str, str]:
    """How the grid of an image differs from the first one's: sentences by ``shape``, ``spacing`` (over 1 %), ``axes``.

    The network sees voxels only. With two spacings, it would learn the difference in scale as a deformation. Distances
    in mm use the fixed image's spacing, so they would be wrong for the moving image.
    """
    found, one, other = {}, sample["id"], first["id"]
    shape, first_shape = sample["image"].shape[1:], first["image"].shape[1:]
    if shape != first_shape:
        found["shape"] = (
            f"{one} has {times(shape)} voxels but {other} has {times(first_shape)}; "
            "set cohort.size to pad or crop all images to the same size."
        )
    if not np.allclose(sample["spacing"], first["spacing"], rtol=SAME_SPACING, atol=0):
        found["spacing"] = (
            f"{one} has voxels of {times(sample['spacing'])} mm but {other} has "
            f"{times(first['spacing'])} mm; resample all images to one voxel spacing, or set cohort.align."
        )
    if sample["axes"] != first["axes"]:
        found["axes"] = (
            f"{one} has the orientation {sample['axes']} but {other} has {first['axes']}; "
            "reorient all images in the same way, or set cohort.align."
        )
    return found


def size_fault(shape: Sequence[int], size: Sequence[int] | None) -> str:
    """Why images of this shape (*spatial) cannot be registered, and what to do; empty if they can.

    Args:
        shape: voxels of an image as it is registered.
        size: ``cohort.size``.
    """
    if min(shape) >= SMALLEST:
        return ""
    flat = len(shape) == 3 and 1 in shape
    advice = "set cohort.spatial_dims to 2" if flat else "set cohort.size to pad them"
    needs = f"{times(shape)} voxels, but registration needs at least {SMALLEST} along each axis"
    return f"{needs}; {advice if size is None else 'give a larger cohort.size'}"
