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
LAMBDA, RANGES, PENALTY = "objective.lambda", "objective.condition.lambda", "objective.penalty"
STEPS = "model.integration_steps"
Key = tuple[str, str]
"""A penalty and the kind of a model."""
Progress = Callable[[str, int, int], None]
"""Called with (activity, done, total)."""


@dataclass(frozen=True)
class Curve:
    """The trials of a study with one penalty and one model."""

    key: Key
    trials: Sequence[TrialSettings]

    @property
    def penalty(self) -> str:
        return self.key[0]

    @property
    def name(self) -> str:
        return ", ".join(self.key)


def _curves(trials: Sequence[TrialSettings]) -> list[Curve]:
    """The trials that have an objective, by penalty and model."""
    curves: dict[Key, list[TrialSettings]] = {}
    for trial in trials:
        if trial.model.has_objective:
            curves.setdefault((trial.objective.penalty, trial.model.kind), []).append(trial)
    return [Curve(key, own) for key, own in curves.items()]


def curves_of(study: Study, penalties: Sequence[str]) -> list[Curve]:
    """The curves of a study; with ``penalties``, only theirs.

    Raises:
        InputError: no trial has an objective, or none has one of the penalties.
    """
    found = _curves(study.trials)
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
        progress(f"{curve.name}: λ = {weight:g}", tried, max(3 * count, tried + 1))
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
    """The curves of a group; one that holds nothing that was found, or baselines, stays as it is."""
    trials = study.group_trials(group.name)
    curves = _curves(trials)
    if not any(curve.key in found for curve in curves) or not all(trial.model.has_objective for trial in trials):
        return [group]
    return [_with_lambda(group, curve, found, alone=len(curves) == 1) for curve in curves]


def _with_lambda(group: Group, curve: Curve, found: Mapping[Key, Sequence[float]], alone: bool) -> Group:
    """The part of a group that is one curve, with the λ that were found for it."""
    first, (penalty, kind) = curve.trials[0], curve.key
    settings = {name: value for name, value in group.settings.items() if name != LAMBDA} | {PENALTY: penalty}
    axes = {name: values for name, values in group.axes.items() if name not in (LAMBDA, PENALTY)}
    if STEPS in axes:
        axes[STEPS] = tuple(steps for steps in axes[STEPS] if bool(steps) == bool(first.model.integration_steps))
    own = dict.fromkeys(trial.objective.weight for trial in curve.trials)
    axes[LAMBDA] = tuple(found.get(curve.key, own))
    if (ranges := first.objective.condition.of_each) is not None:
        placed = {name: found.get((name, kind), bounds) for name, bounds in ranges.ranges.items()}
        settings[RANGES] = {name: [min(weights), max(weights)] for name, weights in placed.items()}
    return Group(group.name if alone else f"{group.name}, {curve.name}", settings, axes)
