"""Alignment of a cohort: every subject is resampled onto the voxel grid of one of them, the reference.

``centre`` matches the centres of the fields of view, along the axes of the world. It ignores the intensities: in images
cropped around an organ, the centre of mass depends on the crop and the shading. ``affine`` registers, see
:mod:`..images.affine_alignment`; the result is cached, so that each subject and reference are registered only once.
Neither uses labels.
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
    """A cohort that aligns its images when it loads them; the same cohort if ``settings.align`` is none.

    Args:
        cohort: a cohort from a reader that reads files.
        settings: the settings of this cohort.
        train: ids of the training subjects, or of all where none trains; the first is the reference unless the settings
            name one.

    Raises:
        InputError: the cohort does not have the reference, or a reference is given although ``align`` is none.
    """
    if settings.align == "none":
        if settings.reference is not None:
            raise InputError(
                f"cohort.reference is {settings.reference!r}, but cohort.align is none; set cohort.align, too."
            )
        return cohort
    reference = cohort[settings.reference or train[0]]
    noted = {**cohort.reading, "align": settings.align, "reference": reference.id, "recipe": RECIPE}
    stored = reading(settings.spatial_dims, cohort.label_names)
    onto = Reference(reference.item, Transforms(stored), settings.align, settings.size)
    steps = [*stored, FindPlaced(onto), *scaling(settings.intensity), ResampleOnd(onto), ToSampled()]
    return replace(cohort, transform=Transforms(steps), reading=noted)


class FindPlaced(Transform):
    """Adds ``place``: the matrix (D + 1, D + 1) from voxels of the reference to voxels of ``image``.

    It needs the intensities as stored in the file, so it comes before intensity scaling.
    """

    def __init__(self, reference: "Reference") -> None:
        self.reference = reference

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """InputError if the image cannot be aligned."""
        return {**data, "place": self.reference.place_in(data["id"], _volume(data))}


class ResampleOnd(Transform):
    """Resamples ``image`` (linear) and ``label`` (nearest neighbour) onto the grid of the reference.

    MONAI's ``SpatialResampled`` uses ``grid_sample`` in normalized coordinates. It changes voxels that should only be
    copied, does not smooth before downsampling, and rounds large labels.
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
    """The reference subject. Its grid, padded or cropped around its centre to ``size``, becomes that of all images.

    ``item`` is its entry in the data list; ``reading`` reads its files without intensity scaling; ``align`` is
    ``centre`` or ``affine``.
    """

    item: Mapping[str, Any]
    reading: Transforms
    align: str
    size: Sequence[int] | None

    def __repr__(self) -> str:
        return f"{self.item['id']!r}"

    def place_in(self, subject_id: str, volume: Volume) -> np.ndarray:
        """The matrix (D + 1, D + 1) from voxels of :attr:`grid` to voxels of ``volume``, a subject's stored image."""
        check_planes(self.volume, volume)
        transform = np.eye(4) if subject_id == self.item["id"] else self._transform(volume)
        to_moving = np.linalg.inv(volume.grid.affine_4x4) @ transform @ self.grid.affine_4x4
        return in_voxels(to_moving, self.grid.shape, whole=self.align == "centre")

    @cached_property
    def stored(self) -> Mapping[Hashable, Any]:
        """Its files as stored."""
        return self.reading(self.item)

    @cached_property
    def volume(self) -> Volume:
        """Its image as stored."""
        return _volume(self.stored)

    @cached_property
    def grid(self) -> Geometry:
        """The grid onto which every image is resampled."""
        stored = self.volume.grid
        size, start = tuple(self.size or stored.shape), np.eye(4)
        start[: stored.axes, 3] = first_voxel(stored.shape, size)
        return Geometry(size, stored.affine_4x4 @ start)

    @cached_property
    def _reference_digest(self) -> str:
        return _digest(self.volume)

    def _transform(self, volume: Volume) -> np.ndarray:
        """The 4x4 matrix from RAS mm of the reference to RAS mm of another subject."""
        if self.align == "affine":
            return self._affine(volume)
        shift = np.eye(4)
        shift[:3, 3] = centre(volume.grid) - centre(self.grid)
        return shift

    def _affine(self, volume: Volume) -> np.ndarray:
        key = hashlib.sha256(f"{RECIPE} {self._reference_digest} {_digest(volume)}".encode()).hexdigest()
        path = cache_folder() / "affine" / f"{key}.json"
        with contextlib.suppress(OSError, ValueError):  # missing or damaged: compute it again
            kept = np.array(read_json(path), dtype=float)
            if kept.shape == (4, 4) and np.isfinite(kept).all():
                return kept
        found = register_affine(self.volume, volume)
        with contextlib.suppress(InputError):  # the cache cannot be written: compute it again next time
            write_text(path, json.dumps(found.tolist()))
        return found


def _volume(data: Mapping[Hashable, Any]) -> Volume:
    """The image of an item as :class:`.Volume`; InputError if its grid is invalid."""
    image, path = data["image"], Path(source_of(data))
    with naming(path):
        return Volume(path, plain(image), Geometry(tuple(image.shape[1:]), image.affine.numpy()))


def _digest(volume: Volume) -> str:
    """sha256 of all voxels and the affine."""
    digest = hashlib.sha256(repr((volume.grid.shape, volume.grid.affine_4x4.tolist())).encode())
    digest.update(volume.values.double().contiguous().numpy().data)
    return digest.hexdigest()
