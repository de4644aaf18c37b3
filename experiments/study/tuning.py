"""The study that measures one network for many λ on somebody's own pairs, over its λ. Nothing is trained."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...networks import PENALTIES
from ...pipeline.methods.pretrained import ENTRY
from ...pipeline.settings.vocabulary import READERS
from ...transforms.basics.bounds import LONGEST_NAME
from ...transforms.basics.errors import InputError
from .study import Group, Study

if TYPE_CHECKING:
    from ...networks import ConditionalVoxelMorph, LambdaRanges
    from ...pipeline import Trained

PREFIX = "tune-"
OF_OBJECTIVE = ("similarity", "acts_on", "multiplier")
"""What the rows of a network tell of its objective, besides penalty and λ."""


def tuning_study(
    model: Path,
    trained: "Trained",
    data: Mapping[str, Any],
    penalties: Sequence[str] = (),
    count: int = 8,
    device: str = "auto",
) -> Study:
    """Make the study: a group of trials per penalty, over ``count`` λ of its trained range.

    The images come to the network as in its training: with the same ``cohort.intensity``, and aligned if its training
    images were.

    Args:
        model: the network as a person names it.
        trained: the network.
        data: dotted keys of cohort, split and pairs; they replace the defaults.
        penalties: penalties, or weighted sums, that the network knows; none: the recommended one.
        count: how many λ, evenly spaced in log λ.
        device: as ``compute.device``.

    Raises:
        InputError: the network is for one λ, or does not know a penalty, or the data are to have other axes.
    """
    from ...pipeline.models.suitability import digest_of  # here, because it loads torch

    network = conditional(trained)
    settings = trained.settings
    assert settings is not None  # a network for many λ has them
    dims = data.get("cohort.spatial_dims", network.spatial_dims)
    if dims != network.spatial_dims:
        raise InputError(f"cohort.spatial_dims is {dims}, but {trained.source} is for {network.spatial_dims}-D images.")
    objective = settings.objective.model_dump(mode="json", by_alias=True)
    base = {
        "cohort.spatial_dims": network.spatial_dims,
        "cohort.intensity": settings.cohort.intensity,
        **({"cohort.align": settings.cohort.align} if READERS[data["cohort.reader"]].on_disk else {}),
        **{"split.train": 0, "split.validation": 0, "split.test": 1.0},
        **data,
        "model.method": ENTRY.name,
        "model.integration_steps": trained.network.integration_steps,
        **{f"objective.{key}": objective[key] for key in OF_OBJECTIVE},
        **{"pretrained.model": str(model), "pretrained.digest": digest_of(trained.source)},
        "compute.device": device,
        # threads that wait for each other cost more than they gain on a slice, above all if the cores are shared
        "compute.threads": 1 if network.spatial_dims == 2 else None,
    }
    groups = [
        Group(name, {"objective.penalty": name}, {"objective.lambda": spread(network.ranges, name, count)})
        for name in dict.fromkeys(PENALTIES.check(name) for name in penalties or [network.recommended[0]])
    ]
    name = study_name(model)
    question = f"Which λ of the network {model} is best for these pairs?"
    return Study(name, f"λ of {name.removeprefix(PREFIX)} for own pairs", question, base, tuple(groups))


def conditional(trained: "Trained") -> "ConditionalVoxelMorph":
    """The network for many λ; InputError if there is only one for one λ."""
    if trained.conditional is not None:
        return trained.conditional
    own = trained.settings and trained.settings.objective
    known = f", {own.penalty} at λ = {own.weight:g}" if own else ""
    raise InputError(
        f"{trained.source} is a network for one λ{known}, so there is none to choose; give a network that was trained "
        "for many λ (objective.condition)."
    )


def spread(ranges: "LambdaRanges", penalty: str, count: int) -> tuple[float, ...]:
    """λ evenly spaced in log λ over the trained range of a penalty, with both ends; those between have three digits.

    Raises:
        InputError: the network was not trained for this penalty.
    """
    low, high = ranges.bounds(penalty)
    rounded = (float(f"{weight:.3g}") for weight in np.geomspace(low, high, count)[1:-1])
    return (low, *dict.fromkeys(weight for weight in rounded if low < weight < high), high)


def study_name(model: Path) -> str:
    """``tune-`` and the name of a network: of a shipped model, of its file, or of its folder."""
    place = model if model.name else model.resolve()
    if place.suffix == (ending := ".safetensors"):
        place = place.resolve().parent if place.name == f"model{ending}" else place.with_suffix("")
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", place.name).strip("-")
    return (PREFIX + clean)[:LONGEST_NAME]
