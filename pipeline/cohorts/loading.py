"""From the files of a cohort to its samples: MONAI transforms in one ``Compose``, and MONAI datasets that hold them."""

import hashlib
import inspect
import math
import reprlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import monai.transforms
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
from ..settings.schema import CohortSettings
from .cohort import Cohort, Sample
from .memory_mapped import MappedDataset
from .subject_transforms import AddGridd, CheckImaged, CheckLabeld, CheckSpreadd, MoveLandmarksd, ReadImaged, ToSampled

SCALING: dict[str, dict[str, dict[str, Any]]] = {
    "none": {},
    "minmax": {"ScaleIntensityd": {}},
    "percentile": {"ScaleIntensityRangePercentilesd": {"lower": 1, "upper": 99, "b_min": 0, "b_max": 1, "clip": True}},
}
"""``cohort.intensity`` as MONAI's dictionary transforms, by name, with their arguments."""
IN_MEMORY = 4 << 30
"""Bytes of a cohort that a process holds in memory; a larger one is mapped from files in the user's cache."""
Progress = Callable[[int, int], None]
"""Called with (done, total)."""
SAME_SPACING = 0.01
"""Spacings of one cohort differ by no more than this fraction, so by about a voxel in a hundred."""


class Transforms(Compose):
    """MONAI's ``Compose``, but it can be printed, and what a transform raises is raised as it is.

    MONAI wraps it in a RuntimeError that names the transform; a fault in a file is one sentence, an InputError.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().__call__(*arguments, **options)
        except RuntimeError as error:
            raise error if error.__cause__ is None else error.__cause__ from None

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {_described(transform)},\n" for transform in self.transforms) + ")"


def _described(transform: Any) -> str:
    """A transform and those of its arguments that it, or what it wraps, keeps under their names."""
    wrapped = [value for value in vars(transform).values() if isinstance(value, Transform)]
    held = {name: value for part in (*wrapped, transform) for name, value in vars(part).items()}
    names = [name for name in inspect.signature(type(transform)).parameters if name in held]
    return f"{type(transform).__name__}({', '.join(f'{name}={reprlib.repr(held[name])}' for name in names)})"


def file_transforms(settings: CohortSettings, names: Mapping[int, str] | None = None) -> Transforms:
    """From ``{"id", "image", "label"}`` of a data list, files of one subject, to its sample.

    Args:
        settings: axes, intensity scaling and size.
        names: the values a label map may hold besides 0; None allows all.

    Raises:
        InputError: when called: a file is missing, unreadable or truncated; wrong number of axes; NaN, infinite or
            constant image; label of another shape or affine, not of integers from 0 on, or with a value that has no
            name; what :func:`scaling` raises.
    """
    return Transforms([*reading(settings.spatial_dims, names), *finishing(settings)])


def reading(spatial_dims: int, names: Mapping[int, str] | None = None) -> list[Any]:
    """The files as they are, checked: image in float64, label in int64, with their affines; spacing and axes."""
    return [
        ReadImaged("image", spatial_dims),
        CheckImaged("image"),
        AddGridd(),
        ReadImaged("label", spatial_dims, labels=True, allow_missing_keys=True),
        CheckLabeld(names),
    ]


def finishing(settings: CohortSettings) -> list[Any]:
    """Intensities and size of an image, its label and landmarks; then the sample.

    Raises:
        InputError: when called: as :func:`scaling`; nothing but one value is left of the image, or a landmark is
            cropped away.
    """
    steps = scaling(settings.intensity)
    if settings.size is not None:
        resize = ResizeWithPadOrCropd(("image", "label"), settings.size, allow_missing_keys=True)
        steps += [MoveLandmarksd(settings.size), resize]
    return [*steps, ToSampled()]


def scaling(intensity: str) -> list[Any]:
    """What scales the intensities of ``image``.

    Raises:
        InputError: when called: they cannot be scaled, as nearly every voxel has the same one or they are too large.
    """
    steps = []
    for name, own in SCALING[intensity].items():
        steps += [CheckSpreadd("image", own["lower"], own["upper"])] if "lower" in own else []
        steps.append(getattr(monai.transforms, name)("image", **own))
    return [*steps, CheckImaged("image", after="intensity scaling")]


def scale(image: Tensor, intensity: str, source: str) -> Tensor:
    """An image (1, *spatial), as it is in the file ``source``, scaled as :func:`scaling` does it."""
    return plain(Transforms(scaling(intensity))({"id": source, "image": image})["image"])


class Samples(Mapping[str, Sample]):
    """The samples of a MONAI dataset by their ids."""

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
    """Load subjects, several at once, into a MONAI dataset.

    ``CacheDataset`` holds them in memory; what exceeds ``IN_MEMORY`` bytes is in a :class:`.MappedDataset`.

    Args:
        cohort: the subjects and how to load one.
        ids: each is loaded once; the result is sorted by id.
        progress: called with (done, total) after each subject.

    Raises:
        InputError: an unknown id, whatever loading one subject raises, or subjects of different shapes or spacings;
            they exceed the disk.
    """
    items = [cohort[subject_id].item for subject_id in sorted(set(ids))]
    dataset: Dataset = CacheDataset(items, cohort.transform, progress=False, as_contiguous=False, runtime_cache=True)
    first: Any = dataset[0] if items else None
    if items and _exceeds_memory(first, len(items)):
        dataset = MappedDataset(items, cohort.transform, _folder_for(cohort, first, len(items)))
    pool = ThreadPoolExecutor(torch.get_num_threads())
    try:  # MONAI's own way to fill the cache goes on in its threads after a fault
        for done, _ in enumerate(pool.map(dataset.__getitem__, range(len(items))), 1):
            if progress is not None:
                progress(done, len(items))
    finally:  # after a fault or Ctrl-C, too: threads that still load while the interpreter ends abort the process
        pool.shutdown(cancel_futures=True)
    samples = Samples(dataset)
    _check_grids(samples)
    return samples


def _exceeds_memory(first: Sample, subjects: int) -> bool:
    """Whether so many subjects like the first one do."""
    label = torch.int16 if first["label"] is None else first["label"].dtype
    return needed_bytes(first["image"].shape, subjects, label) > IN_MEMORY


def _folder_for(cohort: Cohort, first: Sample, subjects: int) -> Path:
    """Where the samples of a cohort are kept; InputError if they exceed the disk."""
    folder = cache_folder() / "samples" / hashlib.sha256(cohort.fingerprint().encode()).hexdigest()[:16]
    if not folder.is_dir():
        check_disk(first["image"].shape[1:], subjects, folder)
    return folder


def needed_bytes(size: Sequence[int], subjects: int, label: torch.dtype = torch.int16) -> int:
    """Of images and label maps of so many subjects."""
    return subjects * math.prod(size) * (torch.float32.itemsize + label.itemsize)


def check_disk(size: Sequence[int], subjects: int, folder: Path) -> None:
    """Raise InputError if images and label maps that exceed the memory exceed the disk of ``folder``, too."""
    there = next(parent for parent in folder.parents if parent.exists())
    needed, free = needed_bytes(size, subjects), shutil.disk_usage(there).free
    if needed > max(free, IN_MEMORY):
        raise InputError(
            f"{subjects} subjects of {times(size)} voxels take {needed / 2**30:,.0f} GiB, but {there} has "
            f"{free / 2**30:,.0f} GiB free; make cohort.size smaller or cohort.subjects fewer, or "
            "let SMOOTHMORPH_CACHE name a folder on a larger disk."
        )


def _check_grids(samples: Mapping[str, Sample]) -> None:
    """Raise InputError unless all images have one shape and, within 1 %, one voxel spacing.

    The network sees voxels only: between two spacings it would learn the difference in scale as a deformation, and
    millimetres, taken from the fixed image, would be wrong for the moving one.
    """
    first_id, first = next(iter(samples.items()), ("", {}))
    for subject_id, sample in samples.items():
        shape, first_shape = sample["image"].shape[1:], first["image"].shape[1:]
        if shape != first_shape:
            raise InputError(
                f"{subject_id} has {times(shape)} voxels but {first_id} has {times(first_shape)}; "
                "set cohort.size to pad or crop every image to one shape."
            )
        if not np.allclose(sample["spacing"], first["spacing"], rtol=SAME_SPACING, atol=0):
            raise InputError(
                f"{subject_id} has voxels of {times(sample['spacing'])} mm but {first_id} of "
                f"{times(first['spacing'])} mm; resample every image to one voxel spacing, or set cohort.align."
            )
        if sample["axes"] != first["axes"]:
            raise InputError(
                f"the voxel axes of {subject_id} lead to {sample['axes']} but those of {first_id} to {first['axes']}; "
                "bring every image into one orientation, or set cohort.align."
            )
