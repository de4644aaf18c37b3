"""Loading subjects: files -> checked, plain tensors, one subject at a time or a whole split into memory."""

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from monai.data.dataset import CacheDataset
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from monai.transforms.intensity.array import ScaleIntensity, ScaleIntensityRangePercentiles
from monai.transforms.transform import Transform
from torch import Tensor

from ..transforms.errors import InputError
from .config import CohortSettings
from .images import check_image, check_label, check_same_grid, read_image, spacing_of, times
from .subjects import Cohort, Sample, Subject

SCALING: dict[str, Callable[[Tensor], Any]] = {
    "none": lambda image: image,
    "minmax": ScaleIntensity(),
    "percentile": ScaleIntensityRangePercentiles(lower=1, upper=99, b_min=0, b_max=1, clip=True),
}
Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def read_subject(subject: Subject, settings: CohortSettings, label_names: Mapping[int, str] | None = None) -> Sample:
    """Read the files of one subject, check them and turn them into a sample.

    Args:
        subject: has an image file; a label file is optional.
        settings: axes, intensity scaling and size.
        label_names: the values a label map may hold besides 0; None allows all.

    Raises:
        InputError: a file is missing, unreadable or truncated; wrong number of axes; NaN, infinite or constant
            image; label of another shape or affine, not of integers, or with a value that has no name.
    """
    if subject.image is None:
        raise InputError(f"subject {subject.id} has no image file.")
    source = str(subject.image)
    image, affine = read_image(subject.image, settings.spatial_dims)
    check_image(image, source)
    label = None
    if subject.label is not None:
        label, label_affine = read_image(subject.label, settings.spatial_dims)
        check_same_grid(image.shape[1:], affine, label.shape[1:], label_affine, str(subject.label))
        check_label(label, str(subject.label), label_names)
    sample = Sample(
        id=subject.id,
        image=image,
        label=label,
        landmarks=None,
        spacing=spacing_of(affine, settings.spatial_dims, source),
    )
    return finish(sample, settings, source)


def finish(sample: Sample, settings: CohortSettings, source: str) -> Sample:
    """Scale the intensities, pad or crop to ``settings.size``, and settle the types.

    Landmarks move along with padding and cropping.

    Raises:
        InputError: nothing but one value is left of the image, or a landmark is cropped away.
    """
    image, label, landmarks = SCALING[settings.intensity](sample["image"]), sample["label"], sample["landmarks"]
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
        label=_plain(label, torch.int16) if label is not None else None,
        landmarks=_plain(landmarks, torch.float32) if landmarks is not None else None,
        spacing=sample["spacing"],
    )


def _plain(values: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = values.as_tensor() if isinstance(values, MetaTensor) else values
    return tensor.to(dtype).contiguous()


def load_samples(cohort: Cohort, ids: Iterable[str], progress: Progress | None = None) -> dict[str, Sample]:
    """Load subjects into memory with ``monai.data.CacheDataset``.

    Args:
        cohort: the subjects and how to load one.
        ids: each is loaded once; the result is sorted by id.
        progress: called with (done, total) after each subject.

    Raises:
        InputError: an unknown id, whatever loading one subject raises, or subjects of different shapes.
    """
    subjects = [cohort[subject_id] for subject_id in sorted(set(ids))]
    load = Compose([_Load(cohort.load, len(subjects), progress)])
    try:
        dataset = CacheDataset(subjects, load, num_workers=torch.get_num_threads(), progress=False)
    except RuntimeError as error:
        raise _unwrap(error) from None
    samples = {subject.id: cast(Sample, dataset[index]) for index, subject in enumerate(subjects)}
    _check_shapes(samples)
    return samples


class _Load(Transform):
    """``Cohort.load`` as a deterministic MONAI transform: CacheDataset keeps what it returns."""

    def __init__(self, load: Callable[[Subject], Sample], total: int, progress: Progress | None):
        self.load, self.total, self.progress = load, total, progress
        self.count, self.lock = itertools.count(1), threading.Lock()

    def __call__(self, data: Subject) -> Sample:
        sample = self.load(data)
        if self.progress is not None:
            with self.lock:
                self.progress(next(self.count), self.total)
        return sample


def _unwrap(error: BaseException) -> BaseException:
    """The InputError that MONAI wrapped in a RuntimeError, or else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    return cause or error


def _check_shapes(samples: Mapping[str, Sample]) -> None:
    shapes = {subject_id: tuple(sample["image"].shape[1:]) for subject_id, sample in samples.items()}
    first = next(iter(shapes), "")
    for subject_id, shape in shapes.items():
        if shape != shapes[first]:
            raise InputError(
                f"{subject_id} has {times(shape)} voxels but {first} has {times(shapes[first])}; "
                "set cohort.size to pad or crop every image to one shape."
            )
