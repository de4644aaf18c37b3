"""A trained network with what is known about it: where it comes from, what it was trained for, what it achieves."""

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
"""Ids of trials."""


@dataclass(frozen=True)
class Trained:
    """``trial`` and ``settings`` are None for a network that no trial of ours trained.

    ``images`` are those it was trained on.
    """

    network: VoxelMorph
    source: Path
    trial: str | None = None
    settings: TrialSettings | None = None
    images: TrainingImages = field(default_factory=TrainingImages)

    @property
    def origin(self) -> dict[str, Any]:
        """The trial and its settings as plain values, for files that are made of the network; empty without them."""
        return {} if self.settings is None else {"trial": self.trial, "settings": self.settings.identity()}

    def shape_or(self, given: Sequence[int] | None) -> tuple[int, ...]:
        """The shape that is given, or else the one that the network was trained on.

        Raises:
            InputError: neither, of another number of axes than the network, or of too many voxels.
        """
        shape = tuple(given or self.images.shape or ())
        if not shape:
            raise InputError(f"{self.source} does not say for which images its network is; give --shape, e.g. 160x192.")
        if len(shape) != self.network.spatial_dims or min(shape) < 1:
            raise InputError(
                f"--shape {times(shape)} does not fit {self.source}, a {self.network.spatial_dims}-D network."
            )
        if math.prod(shape) > MOST_NETWORK_VOXELS:
            raise InputError(
                f"--shape {times(shape)} is of more than {MOST_NETWORK_VOXELS:,} voxels, too many for a network."
            )
        return shape


def about(trial: str, settings: TrialSettings, images: TrainingImages) -> dict[str, Any]:
    """What a trial writes beside its weights, for :func:`open_trained`."""
    return {"trial": trial, "settings": settings.identity(), "images": images.note()}


def open_trained(path: Path) -> Trained:
    """Read a network.

    Args:
        path: a trial's folder, a ``model.safetensors``, or the name of a shipped model.

    Raises:
        InputError: no model there, or a damaged one.
    """
    file = find_model(path)
    network, told = read_model(file)
    settings = from_identity(told["settings"], str(file)) if "settings" in told else None
    if settings is not None and settings.cohort.spatial_dims != network.spatial_dims:
        raise InputError(f"{file}: about.settings are of a {settings.cohort.spatial_dims}-D trial, its network is not.")
    noted = told.get("images", {"shape": settings.cohort.size} if settings is not None else {})
    images = TrainingImages.read(noted, network.spatial_dims, file)
    trial = told.get("trial", "")
    if not isinstance(trial, str) or not TRIAL.fullmatch(trial):
        raise InputError(f"{file}: about.trial is {quoted(trial)}, expected a trial's id.")
    return Trained(network, file, None if settings is None else trial, settings, images)
