"""The weights that a training starts from: random ones, or those of a network that was trained before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...networks import ConditionalVoxelMorph, Network
from ...transforms.basics.errors import InputError, quoted
from ..methods.pretrained import digest_of
from ..models.trained_model import open_trained
from ..settings.schema import TrialSettings

FREE = {"integration_steps", "integration_downsize", "padding_mode"}
"""Arguments of a network that its weights do not depend on."""


def take_start(settings: TrialSettings, model: Network, log: Callable[[str], None] = lambda line: None) -> None:
    """Give ``model`` the weights of ``training.start``; without that setting it keeps its own.

    A network for one λ can start from one for many, at its own penalty and λ.

    Args:
        settings: the trial.
        model: the trial's network, which is changed.
        log: called with the file and its digest.

    Raises:
        InputError: there is no such model, it was not trained for this penalty and λ, or it is another network.
    """
    if settings.training.start is None:
        return
    found = open_trained(Path(settings.training.start))
    if isinstance(model, ConditionalVoxelMorph) or found.conditional is None:
        start = found.whole
    else:
        start = found.at(settings.objective.penalty, settings.objective.weight).network
    if differences := "; ".join(_differences(start.config, model.config)):
        raise InputError(
            f"training.start: {found.source} has {differences}; set the same in the trial, or leave training.start out."
        )
    model.load_state_dict(start.state_dict())
    log(f"starts from {found.source}, sha256 {digest_of(found.source)}...")


def _differences(start: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    """What the network of the file has and that of the trial has not, in its weights or in what they mean."""
    for name in sorted({*start, *own} - {*FREE, "condition"}):
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
