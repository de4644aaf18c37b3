"""What surrounds the training steps: the rest of an epoch, and a study with one worker and with several."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ...pipeline import training
from ...pipeline.preparation import prepare
from ...pipeline.trial import run_trial
from ..executors import LocalExecutor
from ..jobs import Job
from .networks import benchmark_settings
from .sides import Case, Place, Sides

_SUBJECTS = {"subjects": 12}


def epoch_overhead(case: Case, place: Place, precision: str) -> Sides:
    """Official: the time of `train` without its validation; ours: what of it was spent in the training steps."""
    steps = {"epochs": 1, "steps_per_epoch": 4} if place.quick else {"epochs": 3, "steps_per_epoch": 100}
    pairs = {"validation": 1, "test": 1}
    settings = benchmark_settings(case, precision, cohort=_SUBJECTS, pairs=pairs, training=steps)
    prepared = prepare(settings, None)
    spent = {"step": 0.0, "validation": 0.0}
    validate: Any = training.ValidationHandler.__call__

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            place.synchronize()
            started = time.perf_counter()
            result = work(*arguments)
            place.synchronize()
            spent[name] += time.perf_counter() - started
            return result

        return run

    def whole() -> float:
        spent.update(step=0.0, validation=0.0)
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(training, "training_step", timed("step", training.training_step)),
            patch.object(training.ValidationHandler, "__call__", timed("validation", validate)),
        ):
            started = time.perf_counter()
            training.train(settings, prepared, Path(folder), place.device)
            return time.perf_counter() - started - spent["validation"]

    return Sides(whole, lambda: float(spent["step"]))


def studies(case: Case, place: Place, precision: str) -> Sides:
    """Trials from their start to their rows: one worker with all threads against one worker per thread."""
    steps = {"epochs": 1, "steps_per_epoch": 2} if place.quick else {"epochs": 10, "steps_per_epoch": 100}
    pairs, compute = {"validation": 4, "test": 4}, {"device": str(place.device)}
    settings = benchmark_settings(case, precision, cohort=_SUBJECTS, pairs=pairs, training=steps, compute=compute)
    trials = [settings.model_copy(update={"seed": seed}) for seed in range(2 if place.quick else 4)]

    def study(workers: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            jobs = [Job(str(trial.seed), trial, Path(folder) / str(trial.seed), None) for trial in trials]
            LocalExecutor(workers).run(jobs, run_trial, lambda _: None)

    return Sides(lambda: study(1), lambda: study(max(place.threads, 2)))
