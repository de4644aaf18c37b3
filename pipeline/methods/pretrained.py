"""Registration of the test pairs by a network that was trained before. Nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..settings.vocabulary import METHODS, MethodEntry

if TYPE_CHECKING:
    from pathlib import Path

    from ..cohorts.preparation import Prepared
    from ..models.trained_model import Trained
    from ..models.training_images import TrainingImages
    from ..settings.schema import TrialSettings

ENTRY = METHODS.add(
    MethodEntry(
        name="pretrained",
        title="pretrained network",
        meaning="a network that was trained before, at the trial's penalty and λ",
        target=f"{__name__}:take_network",
        settings=("model.integration_steps", "objective", "refinement", "pretrained.model", "pretrained.digest"),
        how="the network {model}, trained before; it is taken at the penalty and λ of each trial",
        has_objective=True,
        reads_network=True,
        place=-1,
    )
)
DIGITS = 12
"""Hexadecimal digits of a file's sha256 in ``pretrained.digest``."""
FAR = 1.1
"""A voxel size that differs from the training's by more than this factor is told."""
LOOKED_AT = 4
"""Test subjects whose intensities are compared with those of the training images."""


def take_network(
    settings: TrialSettings, prepared: Prepared, log: Callable[[str], None] = lambda line: None
) -> Trained:
    """The network of ``settings.pretrained``, at the trial's penalty and λ.

    Args:
        settings: the trial.
        prepared: its data.
        log: called with the file and its digest, and with each way in which images differ from the training images.

    Raises:
        InputError: there is no such model, it has another digest, or it was not trained for what the trial asks.
    """
    from ..models.trained_model import open_trained

    found = open_trained(_path(settings))
    log(f"network {found.source}, sha256 {digest_of(found.source)}...")
    check_digest(found.source, settings.pretrained.digest, "pretrained.digest")
    taken = at_objective(found, settings)
    for line in differences(found, settings, prepared):
        log(f"notice: {line}")
    return taken


def _path(settings: TrialSettings) -> Path:
    from pathlib import Path

    return Path(settings.pretrained.model)


def digest_of(file: Path) -> str:
    """The first digits of a file's sha256."""
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


def check_digest(file: Path, expected: str | None, key: str) -> None:
    """Raise InputError if a digest is given, as the setting ``key``, and is not that of the file."""
    from ...transforms.basics.errors import InputError

    if expected is not None and (own := digest_of(file)) != expected:
        raise InputError(
            f"{file} has the sha256 {own}..., but {key} is {expected}: it is another network; give the file that was "
            "meant, or its own digest."
        )


def at_objective(found: Trained, settings: TrialSettings) -> Trained:
    """The network at the trial's penalty and λ, after a check that it is for such a trial.

    Raises:
        InputError: it has another number of axes or another kind of field, or was trained for another objective.
    """
    _check_form(found, settings)
    if found.settings is None:  # what it was trained for is not known
        return found
    _check_loss(found, settings)
    wanted, own = settings.objective, found.settings.objective
    if found.conditional is not None:
        return found.at(wanted.penalty, wanted.weight)
    if wanted.penalty != own.penalty or not math.isclose(wanted.weight, own.weight, rel_tol=1e-6):
        _refuse(
            found,
            f"was trained for {own.penalty} at λ = {own.weight:g}, but the trial asks for {wanted.penalty} at λ = "
            f"{wanted.weight:g}; set objective.penalty and objective.lambda to those of the network, or give a network "
            "that was trained for many λ",
        )
    return found


def _check_form(found: Trained, settings: TrialSettings) -> None:
    network, axes = found.network, settings.cohort.spatial_dims
    if network.spatial_dims != axes:
        _refuse(
            found, f"is for {network.spatial_dims}-D images, but cohort.spatial_dims is {axes}; choose another network"
        )
    own, asked = network.integration_steps, settings.model.integration_steps
    if bool(own) != bool(asked):
        kind = "diffeomorphic" if own else "displacement"
        _refuse(found, f"is a {kind} model, but model.integration_steps is {asked}; set it to {own}")


def _check_loss(found: Trained, settings: TrialSettings) -> None:
    """Rows state the similarity, the field that is penalized and the multiplier of the trial: they must be true."""
    own = found.settings.objective if found.settings is not None else settings.objective
    for key in ("similarity", "acts_on", "multiplier"):
        asked, trained = getattr(settings.objective, key), getattr(own, key)
        if asked != trained:
            _refuse(
                found, f"was trained with objective.{key} {trained}, but the trial has {asked}; set it to {trained}"
            )


def _refuse(found: Trained, why: str) -> None:
    from ...transforms.basics.errors import InputError

    raise InputError(f"{found.source} {why}.")


def differences(found: Trained, settings: TrialSettings, prepared: Prepared) -> Iterator[str]:
    """How the images differ from the training images, where that is known: sentences without a full stop.

    The network gets the images as they are: unlike `register`, a study does not resample or rescale each pair.
    """
    from ..models.training_images import TrainingImages

    names = list(dict.fromkeys(name for pair in prepared.test_pairs for name in pair))[:LOOKED_AT]
    own, trained = TrainingImages.of(prepared, names), found.images
    yield from _of_grid(own, trained)
    before = found.settings.cohort.intensity if found.settings is not None else settings.cohort.intensity
    if before != settings.cohort.intensity:
        yield f"cohort.intensity is {settings.cohort.intensity}, but the network was trained with {before}"
    elif before == "none":
        yield from _of_units(own, trained)


def _of_grid(own: TrainingImages, trained: TrainingImages) -> Iterator[str]:
    from ...transforms.basics.errors import InputError, times
    from ..models.training_images import plane_of

    if own.spacing is not None and trained.spacing is not None:
        factors = [max(one / other, other / one) for one, other in zip(own.spacing, trained.spacing, strict=True)]
        if max(factors) > FAR:
            yield (
                f"the images have voxels of {times(own.spacing)} mm, but the network was trained on voxels of "
                f"{times(trained.spacing)} mm; resample the images"
            )
    if len(own.shape or ()) == 2 and own.axes and trained.axes and plane_of(own.axes) != plane_of(trained.axes):
        raise InputError(
            f"the images are slices of the {plane_of(own.axes)} plane, but the network was trained on slices of the "
            f"{plane_of(trained.axes)} one; choose another network."
        )
    if own.axes and trained.axes and own.axes != trained.axes:
        yield (
            f"the images have the orientation {own.axes}, but the network was trained on {trained.axes}; reorient the "
            "images"
        )


def _of_units(own: TrainingImages, trained: TrainingImages) -> Iterator[str]:
    from ..models.intensity_level import ALIKE

    if own.tissue is not None and trained.tissue is not None:
        factor = own.tissue / trained.tissue
        if max(factor, 1 / factor) > max(trained.spread, ALIKE):
            yield (
                f"the tissue of the images has an intensity of {own.tissue:.3g}, but that of the training images had "
                f"{trained.tissue:.3g}; multiply the images by {1 / factor:.3g}"
            )
