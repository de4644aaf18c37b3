"""The weights that a training starts from: random ones, or those of a network that was trained before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...networks import ConditionalVoxelMorph, Network
from ...networks.backbones.vocabulary import BACKBONES
from ...transforms.basics.errors import InputError, quoted
from ..cohorts.preparation import Prepared
from ..models.suitability import check_digest, differences, digest_of
from ..models.trained_model import open_trained
from ..settings.schema import TrialSettings

FREE = {
    "integration_steps": "it was trained for another kind of field",
    "integration_downsize": "its field was on another grid",
    "padding_mode": "values beyond the border were others",
}
"""Arguments of every network that its weights do not depend on, and what it means that they differ."""


def take_start(
    settings: TrialSettings, model: Network, prepared: Prepared | None, log: Callable[[str], None] = lambda line: None
) -> None:
    """Give ``model`` the weights of ``training.start``; without that setting it keeps its own.

    A network for one λ can start from one for many, at its own penalty and λ.

    Args:
        settings: the trial.
        model: the trial's network, which is changed.
        prepared: the trial's data; None: its images are not compared with those of the first training.
        log: called with the file and its digest, and with what differs from the first training.

    Raises:
        InputError: there is no such model, it has another digest, it was not trained for this penalty and λ, or it is
            another network.
    """
    if settings.training.start is None:
        return
    found = open_trained(Path(settings.training.start))
    check_digest(found.source, settings.training.start_digest, "training.start_digest")
    if isinstance(model, ConditionalVoxelMorph) or found.conditional is None:
        start = found.whole
    else:
        start = found.at(settings.objective.penalty, settings.objective.weight).network
    if faults := "; ".join(_differences(start.config, model.config)):
        raise InputError(
            f"training.start: {found.source} has {faults}; set the same in the trial, or leave training.start out."
        )
    model.load_state_dict(start.state_dict())
    log(f"starts from {found.source}, sha256 {digest_of(found.source)}...")
    for line in _notices(start.config, model.config):
        log(f"notice: {line}")
    # A network can be trained for slices of another plane.
    for line in differences(found, settings, prepared, same_plane=False) if prepared else ():
        log(f"notice: {line}")


def _free(config: dict[str, Any]) -> dict[str, str]:
    """What can differ, by name, with what it means that it does."""
    return FREE | dict.fromkeys(BACKBONES[config["backbone"]].free, "its weights were used in another way")


def _notices(start: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    """What differs without a change of the weights."""
    for name, meaning in _free(own).items():
        if start.get(name) != own.get(name):
            yield f"model.{name} is {own.get(name)}, but {start.get(name)} in the first training: {meaning}"
    theirs, ours = (config.get("condition", {}).get("ranges") for config in (start, own))
    if theirs != ours and theirs and ours:
        yield "the ranges of λ differ from those of the first training: the network has to learn λ again"


def _differences(start: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    """How the network of the file differs from that of the trial, in its weights or in what they mean."""
    if start["backbone"] != own["backbone"]:
        yield f"model.backbone {quoted(start['backbone'])}, but the trial has {quoted(own['backbone'])}"
        return
    for name in sorted({*start, *own} - {*_free(own), "condition"}):
        if start.get(name) != own.get(name):
            section = "cohort" if name == "spatial_dims" else "model"
            yield f"{section}.{name} {quoted(start.get(name))}, but the trial has {quoted(own.get(name))}"
    theirs, ours = start.get("condition"), own.get("condition")
    if theirs is None and ours is not None:
        yield "one λ, but the trial has objective.condition"
    elif theirs is not None and ours is not None:
        penalties, others = (", ".join(name for name, *_ in condition["ranges"]) for condition in (theirs, ours))
        if penalties != others:
            yield f"objective.condition.penalties {penalties}, but the trial has {others}"
        for name in ("kind", "width"):
            if theirs[name] != ours[name]:
                yield f"objective.condition.{name} {theirs[name]}, but the trial has {ours[name]}"
