"""Whether a trained network is the one that was meant, and whether a trial's images are like its training images."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ...transforms.basics.errors import InputError, times
from ..cohorts.preparation import Prepared
from ..settings.schema import TrialSettings
from .intensity_level import ALIKE
from .trained_model import Trained
from .training_images import TrainingImages, plane_of

DIGITS = 12
"""Hexadecimal digits of a file's sha256 in ``pretrained.digest``."""
FAR = 1.1
"""A voxel size that differs from the training's by more than this factor is told."""
LOOKED_AT = 4
"""Test subjects whose intensities are compared with those of the training images."""


def digest_of(file: Path) -> str:
    """The first digits of a file's sha256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


def check_digest(file: Path, expected: str | None, key: str) -> None:
    """Raise InputError if a digest is given, as the setting ``key``, and is not that of the file."""
    if expected is not None and (own := digest_of(file)) != expected:
        raise InputError(
            f"{file} has the sha256 {own}..., but {key} is {expected}: it is another network; give the file that was "
            "meant, or its own digest."
        )


def differences(found: Trained, settings: TrialSettings, prepared: Prepared, same_plane: bool = True) -> Iterator[str]:
    """How the images differ from the training images, where that is known: sentences without a full stop.

    The network gets the images as they are: unlike `register`, a study does not resample or rescale each pair.

    Raises:
        InputError: ``same_plane``, and the images are slices of another plane.
    """
    names = list(dict.fromkeys(name for pair in prepared.test_pairs for name in pair))[:LOOKED_AT]
    own, trained = TrainingImages.of(prepared, names), found.images
    yield from _of_grid(own, trained, same_plane)
    before = found.settings.cohort.intensity if found.settings is not None else settings.cohort.intensity
    if before != settings.cohort.intensity:
        yield f"cohort.intensity is {settings.cohort.intensity}, but the network was trained with {before}"
    elif before == "none":
        yield from _of_units(own, trained)


def _of_grid(own: TrainingImages, trained: TrainingImages, same_plane: bool) -> Iterator[str]:
    if own.spacing is not None and trained.spacing is not None:
        factors = [max(one / other, other / one) for one, other in zip(own.spacing, trained.spacing, strict=True)]
        if max(factors) > FAR:
            yield (
                f"the images have voxels of {times(own.spacing)} mm, but the network was trained on voxels of "
                f"{times(trained.spacing)} mm; resample the images"
            )
    if len(own.shape or ()) == 2 and own.axes and trained.axes and plane_of(own.axes) != plane_of(trained.axes):
        found = (
            f"the images are slices of the {plane_of(own.axes)} plane, but the network was trained on slices of the "
            f"{plane_of(trained.axes)} one"
        )
        if same_plane:
            raise InputError(f"{found}; choose another network.")
        yield found
    elif own.axes and trained.axes and own.axes != trained.axes:
        yield (
            f"the images have the orientation {own.axes}, but the network was trained on {trained.axes}; reorient the "
            "images"
        )


def _of_units(own: TrainingImages, trained: TrainingImages) -> Iterator[str]:
    if own.tissue is not None and trained.tissue is not None:
        factor = own.tissue / trained.tissue
        if max(factor, 1 / factor) > max(trained.spread, ALIKE):
            yield (
                f"the tissue of the images has an intensity of {own.tissue:.3g}, but that of the training images had "
                f"{trained.tissue:.3g}; multiply the images by {1 / factor:.3g}"
            )
