"""Registration without training: what a user would have got from the established tools, or from doing nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ... import networks, transforms
from ...transforms.basics.errors import one_line
from ..cohorts.cohort import Sample
from ..settings.vocabulary import METHODS

if TYPE_CHECKING:
    from ..evaluation.rows import Registrar
    from ..settings.schema import TrialSettings

Displace = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], np.ndarray]
"""moving, fixed (*spatial) and mm per voxel -> displacement (D, *spatial) in voxels of the fixed grid."""


def by_baseline(settings: TrialSettings) -> Registrar:
    """Registers with ``model.method`` on the CPU; the seconds are the tool's, from images in memory to displacement.

    There is no velocity: as in the displacement model, that is another word for the displacement. Beyond the border
    the moving image is 0, as both tools and VoxelMorph have it.

    Raises:
        InputError: the method's package is not installed.
        TrialFailed: from the registrar, where the tool gives up on a pair.
    """
    import torch

    from ..training.loop import TrialFailed

    method = METHODS[settings.model.method]
    method.require()
    displace: Displace = method.load()(settings, **method.arguments)

    def register(moving: Sample, fixed: Sample) -> tuple[networks.Registration, float]:
        images = moving["image"][0].numpy(), fixed["image"][0].numpy()
        started = time.perf_counter()
        try:
            displacement = displace(*images, fixed["spacing"])
        except RuntimeError as error:  # of ITK, whose text may be long
            raise TrialFailed(
                f"{method.name} cannot register {moving['id']} to {fixed['id']}: {one_line(error)}"
            ) from error
        seconds = time.perf_counter() - started
        field = torch.from_numpy(np.ascontiguousarray(displacement))[None]
        warped = transforms.warp(moving["image"][None], field, padding_mode="zeros")
        return networks.Registration(warped, field, field), seconds

    return register
