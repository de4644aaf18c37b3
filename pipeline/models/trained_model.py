"""A trained network with its origin, its settings and the images it was trained on."""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...networks import ConditionalVoxelMorph, Network, VoxelMorph, read_model
from ...transforms.basics.bounds import MOST_NETWORK_VOXELS
from ...transforms.basics.errors import InputError, naming, quoted, times
from ..settings.schema import TrialSettings, from_identity
from .built_in import find_model
from .card_texts import CardTexts
from .training_images import TrainingImages

TRIAL = re.compile(r"[\w.+-]{0,200}")
"""Pattern of trial ids."""


@dataclass(frozen=True)
class Trained:
    """A trained network with what is known about it.

    ``source`` is its file. ``trial`` and ``settings`` are None for a network that was not trained by a trial of
    smoothmorph. ``images`` describes the training images. ``conditional`` is the network for every λ that this network
    was taken from, if it was; :meth:`at` takes another one. ``texts`` is what its file keeps for model cards.
    """

    network: VoxelMorph
    source: Path
    trial: str | None = None
    settings: TrialSettings | None = None
    images: TrainingImages = field(default_factory=TrainingImages)
    conditional: ConditionalVoxelMorph | None = None
    texts: CardTexts = field(default_factory=CardTexts)

    def at(self, penalty: str | None = None, weight: float | None = None) -> "Trained":
        """The network for another penalty and λ; None: those that it has. The settings say the new ones.

        Raises:
            InputError: it is an ordinary network, or was not trained for this penalty or λ.
        """
        if self.conditional is None or self.settings is None:
            raise InputError(
                f"{self.source} is a network for one λ; another λ needs a network that was trained for many."
            )
        objective = self.settings.objective
        ranges = self.conditional.ranges
        penalty = objective.penalty if penalty is None else penalty
        with naming(self.source):
            if weight is None and penalty != objective.penalty:  # the λ of about the same smoothness
                weight = ranges.weight_at(penalty, ranges.locate(objective.penalty, objective.weight).level)
            weight = objective.weight if weight is None else weight
            network = self.conditional.at(penalty, weight)
        return replace(self, network=network, settings=self.settings.at(penalty, weight))

    @property
    def whole(self) -> Network:
        """The network, or the one for every λ that it was taken from, which then recommends its penalty and λ."""
        if self.conditional is None or self.settings is None:
            return self.network
        network = copy.copy(self.conditional)
        network.recommended = self.settings.objective.penalty, self.settings.objective.weight
        return network

    @property
    def origin(self) -> dict[str, Any]:
        """The trial's id and settings and the texts of model cards as plain values, for exported files, where known."""
        known = {} if self.settings is None else {"trial": self.trial, "settings": self.settings.identity()}
        return known | ({"card": texts} if (texts := self.texts.kept()) else {})

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
    trial, conditional = told.get("trial", ""), None
    if not isinstance(trial, str) or not TRIAL.fullmatch(trial):
        raise InputError(f"{file}: about.trial is {quoted(trial)}, expected a trial's id.")
    if isinstance(network, ConditionalVoxelMorph):
        if settings is None:
            raise InputError(f"{file}: about.settings is missing, which a network for many λ needs.")
        conditional, network = network, network.at(*network.recommended)
        settings = settings.at(*conditional.recommended)
    texts = CardTexts.read(told.get("card", {}), file)
    return Trained(network, file, None if settings is None else trial, settings, images, conditional, texts)
