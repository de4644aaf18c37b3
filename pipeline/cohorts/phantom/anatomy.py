"""The anatomy of the phantom: the ICBM152 T1 average and its tissue maps, which are part of the nilearn wheel.

It is the 2009a symmetric average, skull-stripped, at 1 mm: Fonov et al., NeuroImage 2011, "Unbiased average
age-appropriate atlases for pediatric studies". Nothing is downloaded.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from ....transforms.basics.errors import InputError
from ..cohort import file_digest

FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
TISSUES = ("gray matter", "white matter", "CSF")
LABEL_NAMES = {
    side * len(TISSUES) + index + 1: f"{name} {tissue}"
    for side, name in enumerate(("left", "right"))
    for index, tissue in enumerate(TISSUES)
}
CORONAL_MM = -14
"""Position of the 2-D slice. It shows lateral and third ventricle, thalamus, putamen, hippocampus, temporal lobes."""
SHAPE = {2: (160, 192), 3: (80, 96, 80)}
SPACING = {2: 1, 3: 2}
"""mm per voxel."""
AXES = {2: "LIA", 3: "LAI"}
"""Directions of the axes in the template's space; the slice's last letter is the axis across it."""
LANDMARKS = {2: 12, 3: 20}


@dataclass(frozen=True)
class Template:
    """Arrays on one grid. Axis 0 runs from right to left, the last axis downwards; in 3-D, axis 1 runs forwards."""

    t1: np.ndarray
    """(*spatial) float32 in 0..1, 0 outside the brain."""
    tissues: np.ndarray
    """(3, *spatial) float32, fractions of gray matter, white matter and CSF; CSF is the rest of the brain."""
    label: np.ndarray
    """(*spatial) int16, see LABEL_NAMES."""
    landmarks: np.ndarray
    """(N, D) float64, voxel coordinates of corner-like points, far from each other."""


def template_files() -> tuple[Path, Path, Path]:
    """The files of T1, gray matter and white matter in the installed nilearn, which is not imported.

    Raises:
        InputError: nilearn is not installed or lacks the files.
    """
    spec = find_spec("nilearn")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        t1, gray, white = (Path(folder) / "datasets" / "data" / FILE.format(kind) for kind in ("t1", "gm", "wm"))
        if t1.is_file() and gray.is_file() and white.is_file():
            return t1, gray, white
    raise InputError("the phantom needs the ICBM152 template, which is part of nilearn; install nilearn >= 0.10.")


@lru_cache(maxsize=1)
def template_digest() -> str:
    """A hash of the template's files."""
    return "-".join(file_digest(path)[:16] for path in template_files())


@lru_cache(maxsize=2)
def read_template(spatial_dims: int) -> Template:
    """The template on the phantom's grid. It is read once per process.

    In 2-D, it is a coronal slice of 160x192 voxels at 1 mm. In 3-D, it has 80x96x80 voxels at 2 mm, each the mean of
    eight voxels at 1 mm.

    Raises:
        InputError: nilearn lacks the template.
    """
    volumes = [nibabel.Nifti1Image.from_filename(path) for path in template_files()]
    maps = np.stack([np.asarray(volume.dataobj, dtype=np.float32) / 255 for volume in volumes])
    origin = np.asarray(volumes[0].affine)[:3, 3]  # the affine is a translation
    brain = (maps[0] > 0).astype(np.float32)
    csf = np.clip(brain - maps[1] - maps[2], 0, 1)
    left = np.broadcast_to((np.arange(brain.shape[0]) + origin[0] < 0)[:, None, None], brain.shape)
    stack = np.stack([maps[0], maps[1] * brain, maps[2] * brain, csf, left])
    if spatial_dims == 2:
        stack = stack[:, :, round(CORONAL_MM - origin[1])]
    stack = average(centre(stack, spatial_dims), SPACING[spatial_dims])
    stack = np.ascontiguousarray(np.flip(stack, (1, -1)))
    t1, tissues, left = stack[0], stack[1:4], stack[4]
    inside = tissues.sum(axis=0) >= 0.5
    label = (tissues.argmax(axis=0) + 1 + len(TISSUES) * (left < 0.5)) * inside
    landmarks = _landmarks(t1, inside, LANDMARKS[spatial_dims])
    return Template(t1, tissues, label.astype(np.int16), landmarks)


def centre(stack: np.ndarray, spatial_dims: int) -> np.ndarray:
    """Crop, or pad with zeros, so that the brain's bounding box is at the centre of the grid."""
    boxes = ndimage.find_objects((stack[0] > 0).astype(np.int8))[0]
    kept, padding = [slice(None)], [(0, 0)]
    for box, size, there in zip(boxes, SHAPE[spatial_dims], stack.shape[1:], strict=True):
        size *= SPACING[spatial_dims]
        start = (box.start + box.stop - size) // 2
        kept.append(slice(max(0, start), min(start + size, there)))
        padding.append((max(0, -start), max(0, start + size - there)))
    return np.pad(stack[tuple(kept)], padding)


def average(stack: np.ndarray, factor: int) -> np.ndarray:
    shape = [stack.shape[0]]
    for size in stack.shape[1:]:
        shape += [size // factor, factor]
    return stack.reshape(shape).mean(axis=tuple(range(2, len(shape), 2)), dtype=np.float32)


def _landmarks(image: np.ndarray, inside: np.ndarray, count: int) -> np.ndarray:
    """Corners of the image at least 4 voxels inside the brain: first the strongest, then each the farthest from all."""
    strength = _cornerness(image) * ndimage.binary_erosion(inside, iterations=4)
    peaks = (strength == ndimage.maximum_filter(strength, size=5)) & (strength > 0)
    points = np.argwhere(peaks)
    values = strength[peaks]
    points = points[values >= np.median(values)]
    chosen = [int(np.argmax(values[values >= np.median(values)]))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return points[chosen].astype(np.float64)


def _cornerness(image: np.ndarray) -> np.ndarray:
    """det(S) / trace(S)^(D-1) of the structure tensor S, which is large where the image changes in every direction.

    Förstner and Gülch 1987, "A fast operator for detection and precise location of distinct points".
    """
    gradients = np.gradient(ndimage.gaussian_filter(image, 1))
    products = [[ndimage.gaussian_filter(a * b, 2) for b in gradients] for a in gradients]
    tensor = np.stack([np.stack(row, axis=-1) for row in products], axis=-2)
    trace = np.trace(tensor, axis1=-2, axis2=-1)
    return np.linalg.det(tensor) / np.maximum(trace, 1e-9) ** (image.ndim - 1)
