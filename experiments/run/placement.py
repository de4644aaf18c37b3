"""Place the λ of every penalty and model of a study, see :mod:`smoothmorph.pipeline.lambda_grid`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...networks import PENALTIES
from ...pipeline.settings.schema import TrialSettings
from ...transforms.basics.errors import InputError
from ..study.study import Study


@dataclass(frozen=True)
class Curve:
    """The trials of a study with one penalty and one model."""

    penalty: str
    trials: Sequence[TrialSettings]

    @property
    def name(self) -> str:
        return f"{self.penalty}, {self.trials[0].model.kind}"


def curves_of(study: Study, penalties: Sequence[str]) -> list[Curve]:
    """The curves of a study; with ``penalties``, only theirs.

    Raises:
        InputError: no trial has an objective, or none has one of the penalties.
    """
    curves: dict[tuple[str, str], list[TrialSettings]] = {}
    for trial in study.trials:
        if trial.model.has_objective:
            curves.setdefault((trial.objective.penalty, trial.model.kind), []).append(trial)
    found = [Curve(penalty, trials) for (penalty, _), trials in curves.items()]
    known = list(dict.fromkeys(curve.penalty for curve in found))
    if not found:
        raise InputError(f"study {study.name} has no trial with a penalty.")
    for name in map(PENALTIES.check, penalties):
        if name not in known:
            raise InputError(f"study {study.name} has no trial with the penalty {name}; it has {', '.join(known)}.")
    return [curve for curve in found if not penalties or curve.penalty in map(PENALTIES.check, penalties)]


def placed(
    curve: Curve,
    root: Path | None,
    ends: tuple[float, float],
    count: int,
    most_pairs: int,
    device: str,
    progress: Callable[[str, int, int], None],
) -> dict[float, float]:
    """The λ of a curve and the SDlogJ that each gave.

    Args:
        curve: the trials; the search begins at the mean of their log λ.
        root: folder of the cohort's files.
        ends: the smallest and the largest SDlogJ.
        count: number of λ; they are denser where fields are smooth.
        most_pairs: number of validation pairs, or of test pairs in a study without validation subjects.
        device: the device to compute on.
        progress: called with (activity, done, total).
    """
    from ...pipeline import choose_device, prepare
    from ...pipeline.lambda_grid import grid, roughness

    like, where = curve.trials[0], choose_device(device)
    prepared = prepare(like, root, lambda done, total: progress("loading", done, total))
    drawn = prepared.validation_pairs or prepared.test_pairs
    chosen = drawn[:: max(len(drawn) // most_pairs, 1)][:most_pairs]
    pairs = [(prepared.samples[one], prepared.samples[other]) for one, other in chosen]
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
