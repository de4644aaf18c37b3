"""The anatomy of synthetic brains: the ICBM152 tissue maps, which are part of the nilearn wheel, divided into regions.

Regions are simple shapes in the template's space (MNI, RAS, mm), placed by eye on its landmarks. They need not be
exact: it only matters that the same position has the same label in every subject. A label is a tissue in a region.
"""

from dataclasses import dataclass
from functools import lru_cache

import nibabel
import numpy as np
from scipy import ndimage
from torch import Tensor

from ....transforms.basics.errors import InputError
from ..phantom.anatomy import CORONAL_MM, average, centre, template_files

SPACINGS = {2: (1,), 3: (2, 1)}
"""Possible spacings in mm per voxel, by number of axes; the first is the default."""
AXES = {2: "LIA", 3: "RAS"}
"""Directions of the axes in the template's space; the slice's last letter is the axis across it."""
TISSUES = ("gray matter", "white matter", "CSF")
REGIONS = ("frontal", "parietal", "temporal", "occipital", "deep", "cerebellar")
STEM = len(REGIONS)
"""Region number of the brainstem, which has one label for all tissues and both sides."""


def _names() -> dict[int, str]:
    sides = [
        *(f"{region} {tissue}" for tissue in TISSUES[:2] for region in REGIONS),
        "outer CSF",
        "ventricle",
    ]
    names = [f"{side} {name}" for side in ("left", "right") for name in sides]
    return dict(enumerate([*names, "brainstem"], start=1))


LABEL_NAMES = _names()
PER_SIDE = 2 * len(REGIONS) + 2
CLASSES = (0, *2 * (*len(REGIONS) * (1,), *len(REGIONS) * (2,), 3, 3), 2)
"""Tissue of each label, starting with label 0, the background, in the form for ``RandSyntheticImaged``.

The brainstem counts as white matter."""


@dataclass(frozen=True)
class Atlas:
    """Arrays on one grid."""

    maps: np.ndarray
    """(4, *spatial) float32: the T1 average in 0..1, and the fractions of gray matter, white matter and CSF.

    CSF is the rest of the brain.
    """
    regions: np.ndarray
    """(*spatial) int16: index of a region in ``REGIONS``, or ``STEM``; on the right side, plus ``STEM`` + 1."""


@lru_cache(maxsize=2)
def read_atlas(spatial_dims: int, spacing: int) -> Atlas:
    """The template on the cohort's grid. It is read once per process.

    In 2-D, it is a coronal slice of 160x192 voxels at 1 mm. In 3-D, it has 160x192x160 voxels at 1 mm, or 80x96x80
    voxels at 2 mm, each the mean of eight.

    Raises:
        InputError: nilearn lacks the template.
    """
    volumes = [nibabel.Nifti1Image.from_filename(path) for path in template_files()]
    t1, gray, white = (np.asarray(volume.dataobj, dtype=np.float32) / 255 for volume in volumes)
    origin = np.asarray(volumes[0].affine)[:3, 3]  # the affine is a translation
    brain = (t1 > 0).astype(np.float32)
    axes = [np.arange(size, dtype=np.float32) + np.float32(first) for size, first in zip(t1.shape, origin, strict=True)]
    regions = divide(*np.meshgrid(*axes, indexing="ij", sparse=True)).astype(np.float32) + 1  # 0: beyond the template
    stack = np.stack([t1, gray * brain, white * brain, np.clip(brain - gray - white, 0, 1), regions])
    if spatial_dims == 2:
        stack = np.flip(stack[:, :, round(CORONAL_MM - origin[1])], (1, 2))
    stack = centre(stack, spatial_dims)
    maps = average(stack[:4], spacing)
    nearest = stack[4][(slice(spacing // 2, None, spacing),) * spatial_dims]
    there = ndimage.distance_transform_edt(nearest == 0, return_distances=False, return_indices=True)
    regions = nearest[tuple(there)].astype(np.int16) - 1  # pyright: ignore[reportArgumentType]
    return Atlas(np.ascontiguousarray(maps), np.ascontiguousarray(regions))


def divide(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The region number, as in :attr:`Atlas.regions`, at each position in RAS mm of the template.

    The central sulcus, the lateral fissure, the parieto-occipital sulcus and the tentorium are planes. The deep part of
    a hemisphere (basal ganglia, thalamus, lateral ventricle) is an ellipsoid.
    """
    a = np.abs(x)
    deep = ((a - 15) / 22) ** 2 + ((y + 8) / 44) ** 2 + ((z - 10) / 20) ** 2 < 1
    stem = (a < 16) & (z < -8) & (y < -8) & (y > 0.25 * z - 33.5)
    cerebellum = (y < -36) & (z < -8 - 0.3 * a - 0.05 * (-y - 60)) & ~((a > 45) & (y > -62))
    temporal = (a > 18) & (y < 22) & (y > -60) & (z < -2 - 0.45 * y)
    occipital = y < -58 - 0.4 * np.maximum(z, 0)
    frontal = y > -12 - 0.4 * (z - 10)
    tests = [stem, cerebellum, deep, temporal, occipital, frontal]
    names = ["cerebellar", "deep", "temporal", "occipital", "frontal"]
    region = np.select(tests, [STEM, *map(REGIONS.index, names)], default=REGIONS.index("parietal"))
    return region.astype(np.int16) + (STEM + 1) * (x >= 0).astype(np.int16)


def label_of(tissue: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The label of each voxel, see ``LABEL_NAMES``.

    Args:
        tissue: index of the tissue in ``TISSUES``.
        region: region number as in :attr:`Atlas.regions`.
    """
    side, place = np.divmod(region, STEM + 1)
    csf = 2 * len(REGIONS) + (place == REGIONS.index("deep"))
    of_side = np.where(tissue == 2, csf, tissue * len(REGIONS) + place)
    return np.where(place == STEM, 2 * PER_SIDE + 1, 1 + side * PER_SIDE + of_side).astype(np.int16)


def folded(regions: Tensor) -> Tensor:
    """Mask of the folded cortex: everything except the deep part of the hemispheres and the brainstem."""
    place = regions % (STEM + 1)
    return (place != STEM) & (place != REGIONS.index("deep"))


def check_spacing(spatial_dims: int, spacing: float | None) -> int:
    """The spacing in mm per voxel; None is the default spacing.

    Raises:
        InputError: there is no template with this spacing.
    """
    known = SPACINGS[spatial_dims]
    if spacing is None:
        return known[0]
    if spacing not in known:
        raise InputError(
            f"cohort.spacing is {spacing:g}, but synthetic brains in {spatial_dims}-D have voxels of "
            f"{' or '.join(map(str, known))} mm; choose one of them, or leave the key out."
        )
    return int(spacing)
