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

from ...transforms.basics.options import Option
from ..settings.vocabulary import METHODS, MethodEntry
from .without_training import Displace

if TYPE_CHECKING:
    from ..settings.schema import TrialSettings

METRICS = {"cross-correlation": ("CC", 4), "mutual-information": ("mattes", 32)}
"""For each ``baseline.metric``, ANTs' name and parameter: the radius of a window, 9 voxels wide as in VoxelMorph's NCC;
the bins of the histogram, ANTs' default."""

METHODS.add(
    MethodEntry(
        name="syn",
        title="SyN",
        meaning="symmetric diffeomorphic registration by ANTs; for each pair it maximizes the local cross-correlation "
        "or the mutual information",
        source="Avants et al., Medical Image Analysis 2008",
        target=f"{__name__}:by_syn",
        options=(
            Option(
                name="iterations",
                kind=int,
                many=True,
                fewest=1,
                least=0,
                default=(100, 100, 50),
                meaning="maximum number of iterations per level, coarse to fine",
                always_in_id=True,
            ),
            Option(
                name="metric",
                kind=str,
                among=tuple(METRICS),
                default="cross-correlation",
                meaning="what it maximizes; in 3-D, mutual information takes less than a third of the time",
            ),
            Option(
                name="update_variance",
                kind=float,
                least=0,
                default=3.0,
                meaning="variance of the Gaussian that smooths each update, in voxels²",
            ),
            Option(
                name="total_variance",
                kind=float,
                least=0,
                default=0.0,
                meaning="variance of the Gaussian that smooths the total field, in voxels²",
            ),
        ),
        how="ANTs without an affine step; {metric} (correlation in windows 9 voxels wide, information from 32 bins); "
        "at most {iterations} iterations, coarse to fine; gradient step 0.2; updates smoothed with a variance of "
        "{update_variance:g} voxels², the total field with {total_variance:g} voxels²",
        package="antspyx",
        place=2,
    )
)


def by_syn(settings: TrialSettings) -> Displace:
    """Registration by SyN, with torch's number of threads."""
    import torch

    threads, own = torch.get_num_threads(), settings.baseline
    load(threads)
    return lambda moving, fixed, spacing: syn(
        moving, fixed, spacing, own.iterations, threads, own.update_variance, own.total_variance, own.metric
    )


def load(threads: int) -> Any:
    """Load ANTs, which takes some seconds. It reads the number of threads at the first registration only."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    import ants

    return ants


def syn(
    moving: np.ndarray,
    fixed: np.ndarray,
    spacing: Sequence[float],
    iterations: Sequence[int],
    threads: int = 1,
    update_variance: float = 3.0,
    total_variance: float = 0.0,
    metric: str = "cross-correlation",
) -> np.ndarray:
    """Register ``moving`` to ``fixed`` without an affine step, as networks do.

    All else is ANTs' default, as its gradient step of 0.2. Nothing is random: the same number of threads gives the same
    bits.

    Args:
        moving, fixed: (*spatial) float32, of the same shape.
        spacing: mm per voxel.
        iterations: maximum number of iterations per level, coarse to fine; each level has twice the resolution of
            the one before.
        threads: number of threads. ANTs keeps the number of the first registration in a process.
        update_variance, total_variance: of the Gaussians that smooth each update and the total field, in voxels² of the
            level; ANTs calls them ``flow_sigma`` and ``total_sigma``. 0 does not smooth.
        metric: one of ``METRICS``.

    Returns:
        the displacement (D, *spatial) float32, in voxels of the fixed grid.

    Raises:
        RuntimeError: ANTs fails.
    """
    ants, (name, parameter) = load(threads), METRICS[metric]
    images = [ants.from_numpy(np.ascontiguousarray(image), spacing=tuple(spacing)) for image in (fixed, moving)]
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "syn_")
        registered = ants.registration(
            *images, "SyNOnly", initial_transform="Identity", outprefix=prefix,
            syn_metric=name, syn_sampling=parameter, reg_iterations=tuple(iterations),
            flow_sigma=update_variance, total_sigma=total_variance,
        )  # fmt: skip
        warp, _ = registered["fwdtransforms"]  # the second is the initial transform, the identity
        millimetres = ants.image_read(warp).numpy()  # (*spatial, D); x comes first and is axis i: direction is identity
    return np.moveaxis(millimetres / np.asarray(spacing, np.float32), -1, 0)
