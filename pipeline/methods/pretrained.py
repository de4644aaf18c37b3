"""Registration of the test pairs by a network that was trained before. Nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..settings.vocabulary import METHODS, MethodEntry

if TYPE_CHECKING:
    from pathlib import Path

    from ..cohorts.preparation import Prepared
    from ..models.trained_model import Trained
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
    from ..models.suitability import check_digest, differences, digest_of
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
