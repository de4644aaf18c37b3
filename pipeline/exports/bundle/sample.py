"""A synthetic pair of images that shows that a bundle runs, so that it contains no person's image."""

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from ....transforms import integrate, random_velocity, warp


def write_sample(folder: Path, shape: Sequence[int], spacing: Sequence[float] | None) -> None:
    """Write ``moving.nii.gz``, ``fixed.nii.gz`` (intensities 0 to 1) and the list ``pairs.json`` into ``folder``."""
    generator = torch.Generator().manual_seed(0)
    smoothness = max(min(shape) / 16, 1.0)
    velocity = random_velocity(shape, generator, magnitude=smoothness, smoothness=2 * smoothness)
    moving = _ellipsoid(shape)
    fixed = warp(moving, integrate(velocity))
    steps = [*(spacing or [1.0] * len(shape)), 1.0][:3]
    affine = np.diag([*steps, 1.0])
    for name, image in (("moving", moving), ("fixed", fixed)):
        file = nib.Nifti1Image(image[0, 0].numpy(), affine)
        file.header.set_data_dtype(np.uint8)  # for a small file; nibabel stores the scale factor
        nib.save(file, folder / f"{name}.nii.gz")
    pairs = [{"moving": "moving.nii.gz", "fixed": "fixed.nii.gz", "name": "sample"}]
    (folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")


def _ellipsoid(shape: Sequence[int]) -> Tensor:
    """An image (1, 1, *shape) with bright shells around the centre, 0 at the edges."""
    axes = [torch.linspace(-1, 1, size) for size in shape]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0) / 0.8
    return ((0.6 + 0.4 * torch.cos(9 * radius)) * torch.sigmoid(20 * (1 - radius)))[None, None]
