"""Measure everything around the training steps: loading, the rest of an epoch, a study with one or several workers."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from official_voxelmorph import import_voxelmorph
from smoothmorph.experiments.run.executors import LocalExecutor
from smoothmorph.experiments.run.jobs import Event, Job
from smoothmorph.pipeline.cohorts.preparation import prepare, training_loader
from smoothmorph.pipeline.training import history
from smoothmorph.pipeline.training import loop as training
from smoothmorph.pipeline.trial import run_trial

from .networks import benchmark_settings
from .sides import Case, Place, Sides

_SUBJECTS, _ONE_PAIR = {"subjects": 12}, {"validation": 1, "test": 1}


def loading(case: Case, place: Place, precision: str) -> Sides:
    """Load the batches of an epoch: voxelmorph's ``scan_to_scan`` reads .npz files; our images are in memory.

    voxelmorph's documentation allows preloaded volumes, but in 0.2 they raise a TypeError.
    """
    steps = {"epochs": 1, "steps_per_epoch": 4 if place.quick else 100}
    settings = benchmark_settings(case, precision, cohort=_SUBJECTS, pairs=_ONE_PAIR, training=steps)
    prepared = prepare(settings, None)
    folder, names = tempfile.TemporaryDirectory(), prepared.split.train
    voxelmorph = import_voxelmorph()

    def file(name: str) -> str:  # the folder is deleted with the last function that uses it
        return f"{folder.name}/{name}.npz"

    def generator() -> Iterator[Any]:
        yield from voxelmorph.generators.scan_to_scan([file(name) for name in names], no_warp=True)

    for name in names:
        np.savez_compressed(file(name), vol=prepared.samples[name]["image"][0].numpy())
    batches = generator()

    def official() -> None:
        for _ in range(steps["steps_per_epoch"]):
            for images in next(batches):  # as scripts/torch/train.py
                _ = [torch.from_numpy(image).float().permute(0, 3, 1, 2) for image in images]

    def ours() -> None:
        for _ in training_loader(prepared, settings, first_epoch=1, pin_memory=False):
            pass

    def results() -> list[tuple[Tensor, Tensor]]:
        read = [torch.from_numpy(voxelmorph.py.utils.load_volfile(file(name))) for name in names]
        return [(prepared.samples[name]["image"][0], image) for name, image in zip(names, read, strict=True)]

    return Sides(official, ours, results)


def epoch_overhead(case: Case, place: Place, precision: str) -> Sides:
    """Time an epoch. "Official" is our `train` without validation; "ours" is the part spent in training steps."""
    steps = {"epochs": 1, "steps_per_epoch": 4} if place.quick else {"epochs": 3, "steps_per_epoch": 100}
    settings = benchmark_settings(case, precision, cohort=_SUBJECTS, pairs=_ONE_PAIR, training=steps)
    prepared = prepare(settings, None)
    spent = {"step": 0.0, "validation": 0.0}
    validate, build = history.validate, training.build_step

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
            patch.object(training, "build_step", lambda *parts: timed("step", build(*parts))),
            patch.object(history, "validate", timed("validation", validate)),
        ):
            started = time.perf_counter()
            training.train(settings, prepared, Path(folder), place.device)
            return time.perf_counter() - started - spent["validation"]

    return Sides(whole, lambda: float(spent["step"]))


def studies(case: Case, place: Place, precision: str) -> Sides:
    """Time trials from the first training step to the last rows: one worker with all threads, or one per thread.

    The start of the worker processes is left out, because a real study is much longer than these few trials.
    """
    steps = {"epochs": 1, "steps_per_epoch": 2} if place.quick else {"epochs": 10, "steps_per_epoch": 100}
    pairs, compute = {"validation": 4, "test": 4}, {"device": str(place.device)}
    settings = benchmark_settings(case, precision, cohort=_SUBJECTS, pairs=pairs, training=steps, compute=compute)
    trials = [settings.model_copy(update={"seed": seed}) for seed in range(2 if place.quick else 4)]

    def study(workers: int) -> float:
        begun: list[float] = []

        def listen(event: Event) -> None:
            if event.kind == "progress" and event.progress.stage == "training":
                begun.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            jobs = [Job(str(trial.seed), trial, Path(folder) / str(trial.seed), None) for trial in trials]
            LocalExecutor(workers).run(jobs, run_trial, listen)
            return time.perf_counter() - begun[0]

    return Sides(lambda: study(1), lambda: study(max(place.threads, 2)))
