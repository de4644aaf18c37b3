"""Registration without training: by an established tool, or not at all."""

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
    from torch import Tensor

    from ..evaluation.rows import Registrar
    from ..settings.schema import TrialSettings

Displace = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], np.ndarray]
"""moving, fixed (*spatial) and mm per voxel -> displacement (D, *spatial) in voxels of the fixed grid."""


def moved_by(displacement: Tensor, moving: Sample) -> networks.Registration:
    """The registration that a displacement (D, *spatial), in voxels of the fixed grid, means for a moving image.

    There is no velocity, so ``velocity`` is the displacement, as in the displacement model. The moving image is 0
    beyond its border, as in SyN, elastix and VoxelMorph.
    """
    field = displacement[None].contiguous()
    return networks.Registration(transforms.warp(moving["image"][None], field, padding_mode="zeros"), field, field)


def by_baseline(settings: TrialSettings) -> Registrar:
    """A registrar that runs ``model.method`` on the CPU. Its time starts with the images in memory.

    Raises:
        InputError: the method's package is not installed.
        TrialFailed: raised by the registrar if the tool fails on a pair.
    """
    import torch

    from ..training.failure import TrialFailed

    method = METHODS[settings.model.method]
    method.require()
    displace: Displace = method.load()(settings, **method.arguments)

    def register(moving: Sample, fixed: Sample) -> tuple[networks.Registration, float]:
        images = moving["image"][0].numpy(), fixed["image"][0].numpy()
        started = time.perf_counter()
        try:
            displacement = displace(*images, fixed["spacing"])
        except RuntimeError as error:  # from ITK, with a text that may be long
            raise TrialFailed(
                f"{method.name} cannot register {moving['id']} to {fixed['id']}: {one_line(error)}"
            ) from error
        seconds = time.perf_counter() - started
        return moved_by(torch.from_numpy(np.ascontiguousarray(displacement)), moving), seconds

    return register
