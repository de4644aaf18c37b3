"""Small cohorts on disk, in the layouts of the readers."""

from pathlib import Path

import nibabel
import numpy as np

SHAPE = (20, 24)


def write_image(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = np.eye(4) if affine is None else affine
    nibabel.Nifti1Image(voxels, place, dtype=voxels.dtype).to_filename(path)
    return path


def image(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def label(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A label map: 1 in the first half of axis 0, 2 in the second half, 0 in the first row of axis 1."""
    values = np.ones(shape, np.uint8)
    values[shape[0] // 2 :] = 2
    values[:, 0] = 0
    return values


def neurite_id(number: int) -> str:
    return f"OASIS_OAS1_{number:04d}_MR1"


def write_neurite(root: Path, numbers: range | list[int] = range(1, 6)) -> Path:
    """Write a 2-D Neurite-OASIS cohort: 20x24x1 voxels of 1 mm, label sets seg4 and seg24."""
    for number in numbers:
        folder = root / neurite_id(number)
        write_image(folder / "slice_norm.nii.gz", image(number)[..., None])
        for labels in ("seg4", "seg24"):
            write_image(folder / f"slice_{labels}.nii.gz", label()[..., None])
    table = "#ID   Label Name   R G B A\n\n0  Unknown  0 0 0 0\n1  One  1 2 3 0\n2  Two  1 2 3 0\n3  Three  0 0 0 0\n"
    for labels in ("seg4", "seg24"):
        (root / f"{labels}_labels.txt").write_text(table)
    return root
