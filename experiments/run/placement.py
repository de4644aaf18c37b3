"""Place the λ of every penalty and model of a study, see :mod:`smoothmorph.pipeline.lambda_grid`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...networks import PENALTIES
from ...pipeline.settings.schema import TrialSettings
from ...transforms.basics.errors import InputError
from ..study.study import Group, Study

if TYPE_CHECKING:
    from ...pipeline import Sample

    Pair = tuple[Sample, Sample]
LAMBDA, PENALTY, STEPS, RANGES = (
    "objective.lambda",
    "objective.penalty",
    "model.integration_steps",
    "objective.condition.lambda",
)
Key = tuple[str, str]
"""A penalty and the kind of a model."""
Progress = Callable[[str, int, int], None]
"""Called with (activity, done, total)."""


@dataclass(frozen=True)
class Curve:
    """The trials of a study with one penalty and one model."""

    penalty: str
    trials: Sequence[TrialSettings]

    @property
    def key(self) -> Key:
        return _key(self.trials[0])

    @property
    def name(self) -> str:
        return ", ".join(self.key)


def _key(trial: TrialSettings) -> Key:
    return trial.objective.penalty, trial.model.kind


def curves_of(study: Study, penalties: Sequence[str]) -> list[Curve]:
    """The curves of a study; with ``penalties``, only theirs.

    Raises:
        InputError: no trial has an objective, or none has one of the penalties.
    """
    curves: dict[Key, list[TrialSettings]] = {}
    for trial in study.trials:
        if trial.model.has_objective:
            curves.setdefault(_key(trial), []).append(trial)
    found = [Curve(penalty, trials) for (penalty, _), trials in curves.items()]
    known = list(dict.fromkeys(curve.penalty for curve in found))
    if not found:
        raise InputError(f"study {study.name} has no trial with a penalty.")
    wanted = [PENALTIES.check(name) for name in penalties]
    for name in wanted:
        if name not in known:
            raise InputError(f"study {study.name} has no trial with the penalty {name}; it has {', '.join(known)}.")
    return [curve for curve in found if not wanted or curve.penalty in wanted]


class DrawnPairs:
    """The pairs to optimize: validation pairs, or test pairs of a study without validation subjects.

    Args:
        root: folder of the cohort's files.
        most: number of pairs.
    """

    def __init__(self, root: Path | None, most: int) -> None:
        self.root, self.most = root, most
        self._data: Any = None
        self._pairs: list[Pair] = []

    def of(self, trial: TrialSettings, progress: Progress) -> list[Pair]:
        """The pairs of a trial; the data are read again only if they differ from those of the last trial."""
        from ...pipeline import prepare

        data = trial.cohort, trial.split, trial.pairs
        if data != self._data:
            prepared = prepare(trial, self.root, lambda done, total: progress("loading", done, total))
            drawn = prepared.validation_pairs or prepared.test_pairs
            chosen = drawn[:: max(len(drawn) // self.most, 1)][: self.most]
            self._pairs = [(prepared.samples[one], prepared.samples[other]) for one, other in chosen]
            self._data = data
        return self._pairs


def placed(
    curve: Curve, drawn: DrawnPairs, ends: tuple[float, float], count: int, device: str, progress: Progress
) -> dict[float, float]:
    """The λ of a curve and the SDlogJ that each gave.

    Args:
        curve: the trials; the search begins at the mean of their log λ.
        drawn: the pairs to optimize.
        ends: the smallest and the largest SDlogJ.
        count: number of λ; they are denser where fields are smooth.
        device: the device to compute on.
        progress: called with (activity, done, total).
    """
    from ...pipeline import choose_device
    from ...pipeline.lambda_grid import grid, roughness

    like, where = curve.trials[0], choose_device(device)
    pairs = drawn.of(like, progress)
    weights = [trial.objective.weight for trial in curve.trials if trial.objective.weight > 0]
    tried = 0

    def measure(weight: float) -> float:
        nonlocal tried
        progress(f"{curve.name}: λ = {weight:g}", tried, 3 * count)
        tried += 1
        return roughness(like.at(curve.penalty, weight), pairs, where)

    low, high = ends
    targets = np.linspace(low**0.5, high**0.5, count) ** 2
    return grid(measure, float(np.exp(np.mean(np.log(weights or [0.01])))), targets.tolist())


def with_lambda(study: Study, found: Mapping[Key, Sequence[float]]) -> Study:
    """The study with other λ: each curve that was ``found`` gets these, as a group of its own.

    Where a network is trained for many λ, its range for a penalty goes from the lowest to the highest one.
    """
    return replace(study, groups=tuple(part for group in study.groups for part in _divided(study, group, found)))


def _divided(study: Study, group: Group, found: Mapping[Key, Sequence[float]]) -> list[Group]:
    """The curves of a group; one that holds nothing that was found stays as it is."""
    trials = study.group_trials(group.name)
    curves = {_key(trial): trial for trial in trials if trial.model.has_objective}
    if not any(key in found for key in curves) or len(curves) < len({_key(trial) for trial in trials}):
        return [group]
    parts: list[Group] = []
    for (penalty, kind), trial in curves.items():
        settings = {name: value for name, value in group.settings.items() if name != LAMBDA} | {PENALTY: penalty}
        axes = {name: values for name, values in group.axes.items() if name not in (LAMBDA, PENALTY)}
        if STEPS in axes:
            axes[STEPS] = tuple(steps for steps in axes[STEPS] if bool(steps) == bool(trial.model.integration_steps))
        own = [each.objective.weight for each in trials if _key(each) == (penalty, kind)]
        axes[LAMBDA] = tuple(found.get((penalty, kind), dict.fromkeys(own)))
        if (ranges := trial.objective.condition.of_each) is not None:
            placed = {name: found.get((name, kind), bounds) for name, bounds in ranges.ranges.items()}
            settings[RANGES] = {name: [min(weights), max(weights)] for name, weights in placed.items()}
        name = group.name if len(curves) == 1 else f"{group.name}, {penalty}, {kind}"
        parts.append(Group(name, settings, axes))
    return parts
