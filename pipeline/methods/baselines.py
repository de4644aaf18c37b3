"""Registration without training: what a user would have got from the established tools, or from doing nothing."""

import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from ...networks import Registration
from ...transforms import warp
from ...transforms.basics.errors import InputError, one_line
from ..cohorts.cohort import Sample
from ..evaluation.rows import Registrar
from ..settings.schema import TrialSettings
from ..training.loop import TrialFailed

PACKAGES = {"syn": "antspyx", "elastix": "itk-elastix"}
"""Method -> the package of the extra ``baselines`` that it needs."""
Displace = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], np.ndarray]
"""moving, fixed (*spatial) and mm per voxel -> displacement (D, *spatial) in voxels of the fixed grid."""


def require(methods: Iterable[str]) -> None:
    """Check that methods can be used here.

    Raises:
        InputError: the package of one is not installed.
    """
    for method in methods:
        try:
            if method in PACKAGES:
                version(PACKAGES[method])
        except PackageNotFoundError:
            raise InputError(
                f"model.method = {method} needs the package {PACKAGES[method]}, which is not installed; "
                "install it with `pip install smoothmorph[baselines]`, or leave the method out."
            ) from None


def by_baseline(settings: TrialSettings) -> Registrar:
    """Registers with ``model.method`` on the CPU; the seconds are the tool's, from images in memory to displacement.

    There is no velocity: as in the displacement model, that is another word for the displacement. Beyond the border
    the moving image is 0, as both tools and VoxelMorph have it.

    Raises:
        InputError: the method's package is not installed.
        TrialFailed: from the registrar, where the tool gives up on a pair.
    """
    require([settings.model.method])
    displace = _METHODS[settings.model.method](settings)

    def register(moving: Sample, fixed: Sample) -> tuple[Registration, float]:
        images = moving["image"][0].numpy(), fixed["image"][0].numpy()
        started = time.perf_counter()
        try:
            displacement = displace(*images, fixed["spacing"])
        except RuntimeError as error:  # of ITK, whose text may be long
            raise TrialFailed(
                f"{settings.model.method} cannot register {moving['id']} to {fixed['id']}: {one_line(error)}"
            ) from error
        seconds = time.perf_counter() - started
        field = torch.from_numpy(np.ascontiguousarray(displacement))[None]
        warped = warp(moving["image"][None], field, padding_mode="zeros")
        return Registration(warped, field, field), seconds

    return register


def _identity(settings: TrialSettings) -> Displace:
    return lambda moving, fixed, spacing: np.zeros((fixed.ndim, *fixed.shape), np.float32)


def _syn(settings: TrialSettings) -> Displace:
    from .syn import load, syn

    threads = torch.get_num_threads()
    load(threads)
    own = settings.baseline
    return lambda moving, fixed, spacing: syn(moving, fixed, spacing, own.iterations, threads)


def _elastix(settings: TrialSettings) -> Displace:
    from .elastix import elastix, load

    load(settings.cohort.spatial_dims)
    own, threads = settings.baseline, torch.get_num_threads()
    return lambda moving, fixed, spacing: elastix(
        moving, fixed, spacing, own.grid_spacing, own.bending_weight, settings.seed, threads
    )


_METHODS: dict[str, Callable[[TrialSettings], Displace]] = {"identity": _identity, "syn": _syn, "elastix": _elastix}
