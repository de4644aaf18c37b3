"""SyN by ANTs: symmetric diffeomorphic registration with local cross-correlation.

Avants et al., Medical Image Analysis 2008, "Symmetric diffeomorphic image registration with cross-correlation".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..settings.vocabulary import METHODS, MethodEntry
from .without_training import Displace

if TYPE_CHECKING:
    from ..settings.schema import TrialSettings

RADIUS = 4
"""Voxels of the window of the cross-correlation on each side: windows of 9, as VoxelMorph's NCC."""

METHODS.add(
    MethodEntry(
        name="syn",
        title="SyN",
        meaning="symmetric diffeomorphic registration by ANTs, which maximizes the local correlation of each pair anew",
        source="Avants et al., Medical Image Analysis 2008",
        target=f"{__name__}:by_syn",
        settings=("baseline.iterations",),
        how=f"ANTs, without an affine part; cross-correlation in windows of {2 * RADIUS + 1} voxels; at most "
        "{iterations} iterations, from coarse to fine; gradient step 0.2, updates smoothed with a variance of 3 "
        "voxels²",
        package="antspyx",
        place=2,
    )
)


def by_syn(settings: TrialSettings) -> Displace:
    """SyN with as many threads as torch has."""
    import torch

    threads = torch.get_num_threads()
    load(threads)
    return lambda moving, fixed, spacing: syn(moving, fixed, spacing, settings.baseline.iterations, threads)


def load(threads: int) -> Any:
    """ANTs, which takes some seconds to load. The number of threads counts until the first registration."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    import ants

    return ants


def syn(
    moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float], iterations: Sequence[int], threads: int = 1
) -> np.ndarray:
    """Register ``moving`` to ``fixed`` without an affine part, as a network does.

    The rest is as ANTs has it: gradient step 0.2, update smoothed with a variance of 3 voxels², the total field not
    smoothed. Nothing is drawn at random: the same number of threads gives the same bits.

    Args:
        moving, fixed: (*spatial) float32, of one shape.
        spacing: mm per voxel.
        iterations: at most so many on each level, coarse to fine; each level halves the voxels of the next.
        threads: of ANTs, which keeps to the number of the first registration in a process.

    Returns:
        the displacement (D, *spatial) float32, in voxels of the fixed grid.

    Raises:
        RuntimeError: ANTs gives up.
    """
    ants = load(threads)
    images = [ants.from_numpy(np.ascontiguousarray(image), spacing=tuple(spacing)) for image in (fixed, moving)]
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "syn_")
        registered = ants.registration(
            *images, "SyNOnly", initial_transform="Identity", outprefix=prefix,
            syn_metric="CC", syn_sampling=RADIUS, reg_iterations=tuple(iterations),
        )  # fmt: skip
        warp, _ = registered["fwdtransforms"]  # the other is the identity that it started from
        millimetres = ants.image_read(warp).numpy()  # (*spatial, D), x first, which is axis i: no direction is given
    return np.moveaxis(millimetres / np.asarray(spacing, np.float32), -1, 0)
