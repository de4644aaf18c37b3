"""A cohort whose images are not aligned: every subject is brought onto the voxels of one of them, the reference.

``centre`` lays the middles of the fields of view onto each other, along the axes of the world. It looks at no voxel: in
crops around an organ the centre of mass is that of the crop and of its shading. ``affine`` registers, see
:mod:`..images.affine_alignment`; its result is kept in the cache, so that it is computed once for a subject and a
reference. Neither looks at labels.
"""

import contextlib
import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform

from ...transforms import Geometry, InputError
from ...transforms.basics.errors import naming
from ...transforms.basics.metadata import FILE, plain
from ..files.text import cache_folder, read_json, write_text
from ..images.affine_alignment import RECIPE, register_affine
from ..images.relative_position import centre, check_planes, in_voxels, resample
from ..images.volumes import Volume
from ..settings.schema import CohortSettings
from .cohort import Cohort
from .loading import Transforms, reading, scaling
from .subject_transforms import ToSampled, first_voxel, source_of


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
    noted = {**cohort.reading, "align": settings.align, "reference": reference.id, "recipe": RECIPE}
    stored = reading(settings.spatial_dims, cohort.label_names)
    onto = Reference(reference.item, Transforms(stored), settings.align, settings.size)
    steps = [*stored, FindPlaced(onto), *scaling(settings.intensity), ResampleOnd(onto), ToSampled()]
    return replace(cohort, transform=Transforms(steps), reading=noted)


class FindPlaced(Transform):
    """Finds where the voxels of the reference lie in ``image``: ``place`` (D + 1, D + 1), voxels to voxels.

    It looks at the intensities as they are in the file, so it stands before their scaling.
    """

    def __init__(self, reference: "Reference") -> None:
        self.reference = reference

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """InputError if the image cannot be aligned."""
        return {**data, "place": self.reference.place_in(data["id"], _volume(data))}


class ResampleOnd(Transform):
    """Samples ``image`` (linearly) and ``label`` (nearest) on the grid of the reference.

    MONAI's ``SpatialResampled`` samples by ``grid_sample`` in normalized coordinates, which changes voxels that are
    only to be copied, does not smooth before larger voxels, and rounds large labels.
    """

    def __init__(self, reference: "Reference") -> None:
        self.reference = reference

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        shape, about = self.reference.grid.shape, f"{source_of(data)}, aligned with {self.reference.item['id']},"
        images = {key: (data[key], order) for key, order in (("image", 1), ("label", 0)) if key in data}
        placed = {key: resample(plain(image), data["place"], shape, order) for key, (image, order) in images.items()}
        placed["image"] = MetaTensor(placed["image"], meta={FILE: about})
        return {**data, **placed, **{key: self.reference.stored[key] for key in ("spacing", "axes")}}


@dataclass(frozen=True)
class Reference:
    """The subject whose voxels, padded or cropped in the middle to ``size``, every image comes onto.

    ``item``: of the data list. ``reading``: what reads its files, unscaled. ``align``: ``centre`` or ``affine``.
    """

    item: Mapping[str, Any]
    reading: Transforms
    align: str
    size: Sequence[int] | None

    def __repr__(self) -> str:
        return f"{self.item['id']!r}"

    def place_in(self, subject_id: str, volume: Volume) -> np.ndarray:
        """(D + 1, D + 1), voxels of :attr:`grid` -> voxels of ``volume``, the image of a subject as it is stored."""
        check_planes(self.volume, volume)
        transform = np.eye(4) if subject_id == self.item["id"] else self._transform(volume)
        to_moving = np.linalg.inv(volume.grid.affine_4x4) @ transform @ self.grid.affine_4x4
        return in_voxels(to_moving, self.grid.shape, whole=self.align == "centre")

    @cached_property
    def stored(self) -> Mapping[Hashable, Any]:
        """Its files as they are."""
        return self.reading(self.item)

    @cached_property
    def volume(self) -> Volume:
        """Its image as it is."""
        return _volume(self.stored)

    @cached_property
    def grid(self) -> Geometry:
        """The voxels that every image comes onto."""
        stored = self.volume.grid
        size, start = tuple(self.size or stored.shape), np.eye(4)
        start[: stored.axes, 3] = first_voxel(stored.shape, size)
        return Geometry(size, stored.affine_4x4 @ start)

    @cached_property
    def _reference_digest(self) -> str:
        return _digest(self.volume)

    def _transform(self, volume: Volume) -> np.ndarray:
        """4x4, RAS mm of the reference -> RAS mm of another subject."""
        if self.align == "affine":
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
        found = register_affine(self.volume, volume)
        with contextlib.suppress(InputError):  # where nothing can be kept, it is found again next time
            write_text(path, json.dumps(found.tolist()))
        return found


def _volume(data: Mapping[Hashable, Any]) -> Volume:
    """The image of an item as :class:`.Volume`; InputError where its grid is none."""
    image, path = data["image"], Path(source_of(data))
    with naming(path):
        return Volume(path, plain(image), Geometry(tuple(image.shape[1:]), image.affine.numpy()))


def _digest(volume: Volume) -> str:
    """sha256 of all voxels and the affine."""
    digest = hashlib.sha256(repr((volume.grid.shape, volume.grid.affine_4x4.tolist())).encode())
    digest.update(volume.values.double().contiguous().numpy().data)
    return digest.hexdigest()
