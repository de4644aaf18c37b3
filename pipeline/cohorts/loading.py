"""Loading subjects: files -> checked, plain tensors, one subject at a time or a whole split into memory."""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from monai.transforms.intensity.array import ScaleIntensity, ScaleIntensityRangePercentiles
from torch import Tensor

from ...transforms.basics.errors import InputError
from ..files.text import cache_folder
from ..images.reading import axes_of, check_image, check_label, check_same_grid, read_image, spacing_of, times
from ..settings.schema import CohortSettings
from .cohort import Cohort, Sample, Subject
from .memory_mapped import MappedLoader

PERCENTILES = (1, 99)
SCALING: dict[str, Callable[[Tensor], Any]] = {
    "none": lambda image: image,
    "minmax": ScaleIntensity(),
    "percentile": ScaleIntensityRangePercentiles(*PERCENTILES, b_min=0, b_max=1, clip=True),
}
IN_MEMORY = 4 << 30
"""Bytes of a cohort that a process holds in memory; a larger one is mapped from files in the user's cache."""
Progress = Callable[[int, int], None]
"""Called with (done, total)."""
SAME_SPACING = 0.01
"""Spacings of one cohort differ by no more than this fraction, so by about a voxel in a hundred."""


def read_subject(subject: Subject, settings: CohortSettings, label_names: Mapping[int, str] | None = None) -> Sample:
    """Read the files of one subject, check them and turn them into a sample.

    Args:
        subject: has an image file; a label file is optional.
        settings: axes, intensity scaling and size.
        label_names: the values a label map may hold besides 0; None allows all.

    Raises:
        InputError: as :func:`read_stored`, and as :func:`finish`.
    """
    sample, _ = read_stored(subject, settings.spatial_dims, label_names)
    return finish(sample, settings, str(subject.image))


def read_stored(
    subject: Subject, spatial_dims: int, label_names: Mapping[int, str] | None = None
) -> tuple[Sample, np.ndarray]:
    """The checked files of one subject as they are, in float64, labels in int64; the image's 4x4 affine (to RAS mm).

    Raises:
        InputError: a file is missing, unreadable or truncated; wrong number of axes; NaN, infinite or constant
            image; label of another shape or affine, not of integers from 0 on, or with a value that has no name.
    """
    if subject.image is None:
        raise InputError(f"subject {subject.id} has no image file.")
    source = str(subject.image)
    image, affine = read_image(subject.image, spatial_dims)
    check_image(image, source)
    spacing = spacing_of(affine, spatial_dims, source)
    label = None
    if subject.label is not None:
        label, label_affine = read_image(subject.label, spatial_dims, labels=True)
        check_same_grid(image.shape[1:], affine, label.shape[1:], label_affine, str(subject.label))
        check_label(label, str(subject.label), label_names)
    sample = Sample(
        id=subject.id,
        image=image,
        label=label,
        landmarks=None,
        spacing=spacing,
        axes=axes_of(affine),
    )
    return sample, affine


def scale(image: Tensor, intensity: str, source: str) -> Tensor:
    """An image (1, *spatial), as it is in its file, with its intensities scaled for a network.

    Raises:
        InputError: they cannot be scaled, because nearly every voxel has the same one or they are too large.
    """
    if intensity == "percentile":
        low, high = np.percentile(image.numpy(), PERCENTILES)
        if low == high:  # MONAI would divide by 0, or leave the image as it is
            raise InputError(
                f"98 % of the voxels of {source} are {low:g}, so its intensities cannot be scaled by their "
                "percentiles; crop it to what it shows."
            )
    scaled = SCALING[intensity](image)
    check_image(scaled, f"{source}, after intensity scaling,")
    return scaled


def finish(sample: Sample, settings: CohortSettings, source: str) -> Sample:
    """Scale the intensities, pad or crop to ``settings.size``, and settle the types.

    Landmarks move along with padding and cropping.

    Raises:
        InputError: as :func:`scale`; nothing but one value is left of the image, or a landmark is cropped away.
    """
    image, label, landmarks = scale(sample["image"], settings.intensity, source), sample["label"], sample["landmarks"]
    if settings.size is not None and tuple(image.shape[1:]) != settings.size:
        resized = ResizeWithPadOrCrop(settings.size)(MetaTensor(_plain(image, torch.float32)))
        assert isinstance(resized, MetaTensor)
        start = resized.affine[: len(settings.size), -1]  # of the new grid, in voxels of the old one
        image = resized.as_tensor()
        label = ResizeWithPadOrCrop(settings.size)(label) if label is not None else None
        landmarks = landmarks - start if landmarks is not None else None
        if landmarks is not None and bool(((landmarks < 0) | (landmarks > torch.tensor(settings.size) - 1)).any()):
            raise InputError(f"cohort.size {times(settings.size)} cuts landmarks off {source}; choose a larger size.")
    image = _plain(image, torch.float32)
    check_image(image, f"{source}, after intensity scaling and size,")
    return Sample(
        id=sample["id"],
        image=image,
        label=_plain(label, _smallest(label)) if label is not None else None,
        landmarks=_plain(landmarks, torch.float32) if landmarks is not None else None,
        spacing=sample["spacing"],
        axes=sample["axes"],
    )


def _smallest(label: Tensor) -> torch.dtype:
    """The smallest type from int16 on that holds the labels."""
    types = (torch.int16, torch.int32, torch.int64)
    return next(dtype for dtype in types if int(label.max()) <= torch.iinfo(dtype).max)


def _plain(values: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = values.as_tensor() if isinstance(values, MetaTensor) else values
    return tensor.to(dtype).contiguous()


def load_samples(cohort: Cohort, ids: Iterable[str], progress: Progress | None = None) -> dict[str, Sample]:
    """Load subjects, several at once: into memory, or mapped from files if they exceed ``IN_MEMORY``.

    Args:
        cohort: the subjects and how to load one.
        ids: each is loaded once; the result is sorted by id.
        progress: called with (done, total) after each subject.

    Raises:
        InputError: an unknown id, whatever loading one subject raises, or subjects of different shapes or spacings;
            they exceed the disk.
    """
    subjects = [cohort[subject_id] for subject_id in sorted(set(ids))]
    if not subjects:
        return {}
    samples = {subjects[0].id: cohort.load(subjects[0])}
    load = _loader(cohort, samples[subjects[0].id], len(subjects))
    pool = ThreadPoolExecutor(torch.get_num_threads())
    try:
        for subject, sample in zip(subjects, pool.map(load, subjects), strict=True):
            samples[subject.id] = sample
            if progress is not None:
                progress(len(samples), len(subjects))
    finally:  # after a fault or Ctrl-C, too: threads that still load while the interpreter ends abort the process
        pool.shutdown(cancel_futures=True)
    _check_grids(samples)
    return samples


def _loader(cohort: Cohort, first: Sample, subjects: int) -> Callable[[Subject], Sample]:
    """How to load the other subjects, seeing the first one."""
    shape = first["image"].shape[1:]
    label = torch.int16 if first["label"] is None else first["label"].dtype
    if needed_bytes(shape, subjects, label) <= IN_MEMORY:
        return lambda subject: first if subject.id == first["id"] else cohort.load(subject)
    folder = cache_folder() / "samples" / hashlib.sha256(cohort.fingerprint().encode()).hexdigest()[:16]
    if not folder.is_dir():
        check_disk(shape, subjects, folder)
    return MappedLoader(cohort.load, folder)


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
    if not samples:
        return
    first_id, first = next(iter(samples.items()))
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
