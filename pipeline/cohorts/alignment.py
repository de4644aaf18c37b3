"""A cohort whose images are not aligned: every subject is brought onto the voxels of one of them, the reference.

``centre`` lays the middles of the fields of view onto each other, along the axes of the world. It looks at no voxel: in
crops around an organ the centre of mass is that of the crop and of its shading. ``affine`` registers, see
:mod:`..images.affine_alignment`; its result is kept in the cache, so that it is computed once for a subject and a
reference. Neither looks at labels.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...transforms import Geometry, InputError
from ..files.text import cache_folder, read_json, write_text
from ..images.affine_alignment import RECIPE, register_affine
from ..images.relative_position import centre, check_planes, in_voxels, resample
from ..images.volumes import Volume
from ..settings.schema import CohortSettings
from .cohort import Cohort, Sample, Subject
from .loading import finish, read_stored, scale


def align_cohort(cohort: Cohort, settings: CohortSettings, train: Sequence[str]) -> Cohort:
    """The cohort with images that are aligned when they are loaded; the same one where ``settings.align`` is none.

    Args:
        cohort: of a reader that reads files.
        settings: its own.
        train: ids of the training subjects; the first is the reference unless the settings name one.

    Raises:
        InputError: a reference that the cohort does not have, or one where nothing is aligned.
    """
    if settings.align == "none":
        if settings.reference is not None:
            raise InputError(f"cohort.reference is {settings.reference!r}, but cohort.align is none; set it, too.")
        return cohort
    reference = cohort[settings.reference or train[0]]
    reading = {**cohort.reading, "align": settings.align, "reference": reference.id, "recipe": RECIPE}
    return replace(cohort, load=Aligner(settings, cohort.label_names, reference).load, reading=reading)


@dataclass(frozen=True)
class Aligner:
    """Loads subjects on the grid of a reference: its voxels, padded or cropped in the middle to ``settings.size``."""

    settings: CohortSettings
    label_names: Mapping[int, str]
    reference: Subject

    def load(self, subject: Subject) -> Sample:
        """Read a subject, scale its intensities, and sample image (linearly) and label (nearest) on the grid.

        Raises:
            InputError: as reading it or the reference does; it cannot be aligned, or nothing of it is on the grid.
        """
        sample, volume = self._read(subject)
        check_planes(self.fixed, volume)
        to_moving = np.linalg.inv(volume.grid.affine_4x4) @ self._transform(subject, volume) @ self.grid.affine_4x4
        matrix = in_voxels(to_moving, self.grid.shape, whole=self.settings.align == "centre")
        image, label = scale(sample["image"], self.settings.intensity, str(volume.path)), sample["label"]
        placed = Sample(
            id=sample["id"],
            image=resample(image, matrix, self.grid.shape, order=1),
            label=None if label is None else resample(label, matrix, self.grid.shape, order=0),
            landmarks=None,
            spacing=self._reference[0]["spacing"],
            axes=self._reference[0]["axes"],
        )
        done = self.settings.model_copy(update={"intensity": "none", "size": None})
        return finish(placed, done, f"{volume.path}, aligned with {self.reference.id},")

    @property
    def fixed(self) -> Volume:
        """The reference as it is stored."""
        return self._reference[1]

    @cached_property
    def grid(self) -> Geometry:
        """The voxels that every image comes onto."""
        stored = self.fixed.grid
        size = self.settings.size or stored.shape
        start = np.eye(4)
        for axis, (new, old) in enumerate(zip(size, stored.shape, strict=True)):
            start[axis, 3] = -((new - old) // 2) if new >= old else old // 2 - new // 2  # as MONAI pads and crops
        return Geometry(size, stored.affine_4x4 @ start)

    @cached_property
    def _reference(self) -> tuple[Sample, Volume]:
        return self._read(self.reference)

    def _read(self, subject: Subject) -> tuple[Sample, Volume]:
        """The files of a subject as they are."""
        sample, affine = read_stored(subject, self.settings.spatial_dims, self.label_names)
        assert subject.image is not None
        image = sample["image"]
        try:
            return sample, Volume(subject.image, image, Geometry(tuple(image.shape[1:]), affine))
        except InputError as error:
            raise InputError(f"{subject.image}: {error}") from None

    @cached_property
    def _reference_digest(self) -> str:
        return _digest(self.fixed)

    def _transform(self, subject: Subject, volume: Volume) -> np.ndarray:
        """4x4, RAS mm of the reference -> RAS mm of the subject."""
        if subject.id == self.reference.id:
            return np.eye(4)
        if self.settings.align == "affine":
            return self._affine(volume)
        shift = np.eye(4)
        shift[:3, 3] = centre(volume.grid) - centre(self.grid)
        return shift

    def _affine(self, volume: Volume) -> np.ndarray:
        key = hashlib.sha256(f"{RECIPE} {self._reference_digest} {_digest(volume)}".encode()).hexdigest()
        path = cache_folder() / "affine" / f"{key}.json"
        with contextlib.suppress(OSError, ValueError):  # not there, or damaged: it is found again
            kept = np.array(read_json(path), dtype=float)
            if kept.shape == (4, 4) and np.isfinite(kept).all():
                return kept
        found = register_affine(self.fixed, volume)
        with contextlib.suppress(InputError):  # where nothing can be kept, it is found again next time
            write_text(path, json.dumps(found.tolist()))
        return found


def _digest(volume: Volume) -> str:
    """sha256 of all voxels and the affine."""
    digest = hashlib.sha256(repr((volume.grid.shape, volume.grid.affine_4x4.tolist())).encode())
    digest.update(volume.values.double().contiguous().numpy().data)
    return digest.hexdigest()
