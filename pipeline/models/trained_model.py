"""A trained network with its origin, its settings and the images it was trained on."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...networks import VoxelMorph, read_model
from ...transforms.basics.bounds import MOST_NETWORK_VOXELS
from ...transforms.basics.errors import InputError, quoted, times
from ..settings.schema import TrialSettings, from_identity
from .built_in import find_model
from .training_images import TrainingImages

TRIAL = re.compile(r"[\w.+-]{0,200}")
"""Pattern of trial ids."""


@dataclass(frozen=True)
class Trained:
    """A trained network with what is known about it.

    ``source`` is its file. ``trial`` and ``settings`` are None for a network that was not trained by a trial of
    smoothmorph. ``images`` describes the training images.
    """

    network: VoxelMorph
    source: Path
    trial: str | None = None
    settings: TrialSettings | None = None
    images: TrainingImages = field(default_factory=TrainingImages)

    @property
    def origin(self) -> dict[str, Any]:
        """The trial's id and settings as plain values, for exported files; empty if they are not known."""
        return {} if self.settings is None else {"trial": self.trial, "settings": self.settings.identity()}

    def shape_or(self, given: Sequence[int] | None) -> tuple[int, ...]:
        """The given shape, or otherwise the shape of the training images.

        Raises:
            InputError: there is neither, or the shape has too many voxels or does not have the network's axes.
        """
        shape = tuple(given or self.images.shape or ())
        if not shape:
            raise InputError(f"{self.source} does not state the shape of its images; give --shape, e.g. 160x192.")
        if len(shape) != self.network.spatial_dims or min(shape) < 1:
            raise InputError(
                f"--shape {times(shape)} does not fit {self.source}, a {self.network.spatial_dims}-D network."
            )
        if math.prod(shape) > MOST_NETWORK_VOXELS:
            raise InputError(
                f"--shape {times(shape)} has more than {MOST_NETWORK_VOXELS:,} voxels, the limit for a network."
            )
        return shape


def about(trial: str, settings: TrialSettings, images: TrainingImages) -> dict[str, Any]:
    """The information that a trial stores with its weights, for :func:`open_trained`."""
    return {"trial": trial, "settings": settings.identity(), "images": images.note()}


def open_trained(path: Path) -> Trained:
    """Read a trained network.

    Args:
        path: a trial's folder, a ``model.safetensors``, or the name of a shipped model.

    Raises:
        InputError: there is no such model, or it is damaged.
    """
    file = find_model(path)
    network, told = read_model(file)
    settings = from_identity(told["settings"], str(file)) if "settings" in told else None
    if settings is not None and settings.cohort.spatial_dims != network.spatial_dims:
        raise InputError(
            f"{file}: about.settings are of a {settings.cohort.spatial_dims}-D trial, but its network is "
            f"{network.spatial_dims}-D."
        )
    noted = told.get("images", {"shape": settings.cohort.size} if settings is not None else {})
    images = TrainingImages.read(noted, network.spatial_dims, file)
    trial = told.get("trial", "")
    if not isinstance(trial, str) or not TRIAL.fullmatch(trial):
        raise InputError(f"{file}: about.trial is {quoted(trial)}, expected a trial's id.")
    return Trained(network, file, None if settings is None else trial, settings, images)
