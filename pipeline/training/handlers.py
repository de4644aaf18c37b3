"""Ignite handlers of the training engine: history, validation and selection, checkpoint, progress."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ...networks import Objective, ObjectiveTerms, VoxelMorph
from ..settings.schema import TrainingSettings, TrialSettings
from .checkpoint import TrainingState, copy_weights


class PenaltyWarmUpHandler:
    """Lets λ grow linearly from 0 to ``weight`` over the first ``steps``: a function of the step, nothing to resume."""

    def __init__(self, objective: Objective, weight: float, steps: float) -> None:
        self.objective, self.weight, self.steps = objective, weight, steps

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        done = engine.state.iteration - 1
        self.objective.weight = self.weight * (min(done / self.steps, 1.0) if self.steps else 1.0)


class HistoryHandler:
    """Averages the terms of the steps of an epoch, without waiting for the device at each, and stops on NaN."""

    def __init__(self, state: TrainingState, fail: Callable[[int], Any]) -> None:
        self.state, self.fail = state, fail
        self.terms: list[Tensor] = []
        self.started = 0.0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.terms, self.started = [], time.perf_counter()

    def _keep(self, engine: Engine) -> None:
        terms: Any = engine.state.output  # the step's ObjectiveTerms
        self.terms.append(torch.stack(list(terms)))

    def _finish(self, engine: Engine) -> None:
        loss, similarity, penalty = torch.stack(self.terms).double().mean(0).tolist()
        if not math.isfinite(loss):
            self.fail(engine.state.epoch)
        self.state.epoch = engine.state.epoch
        self.state.history.append(
            {
                "epoch": engine.state.epoch,
                "train_loss": loss,
                "train_similarity": similarity,
                "train_penalty": penalty,
                "seconds": time.perf_counter() - self.started,
            }
        )


class ValidationHandler:
    """Measures the frozen validation pairs after every epoch and keeps the best weights."""

    def __init__(
        self,
        state: TrainingState,
        validate: Callable[[], ObjectiveTerms],
        model: VoxelMorph,
        fail: Callable[[int], Any],
    ) -> None:
        self.state, self.validate, self.model, self.fail = state, validate, model, fail

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        terms = self.validate()
        if not math.isfinite(float(terms.loss)):
            self.fail(engine.state.epoch)
        self.state.history[-1].update({f"validation_{name}": float(term) for name, term in terms._asdict().items()})
        if float(terms.loss) < self.state.best_loss:
            self.state.best_loss, self.state.best_epoch = float(terms.loss), engine.state.epoch
            self.state.best = copy_weights(self.model)


class CheckpointHandler:
    """Saves the state after every epoch, so that a trial killed at any moment loses that epoch at most."""

    def __init__(
        self,
        state: TrainingState,
        folder: Path,
        settings: TrialSettings,
        model: VoxelMorph,
        optimization: Mapping[str, Any],
    ) -> None:
        self.state, self.arguments = state, (folder, settings, model, optimization)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self.state.save(*self.arguments)


class ProgressHandler:
    """Tells how far training is: every few steps to ``progress``, every epoch to ``log``."""

    def __init__(
        self,
        state: TrainingState,
        training: TrainingSettings,
        progress: Callable[[int, int, str], None] | None,
        log: Callable[[str], None] | None,
    ) -> None:
        self.state, self.training = state, training
        self.progress = progress or (lambda *_: None)
        self.log = log or (lambda _: None)
        self.message = ""

    def attach(self, engine: Engine) -> None:
        every = max(self.training.steps_per_epoch // 10, 1)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=every), self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)

    def _step(self, engine: Engine) -> None:
        total = self.training.epochs * self.training.steps_per_epoch
        self.progress(engine.state.iteration, total, self.message)

    def _epoch(self, engine: Engine) -> None:
        row = self.state.history[-1]
        self.message = f"loss {row['train_loss']:.3g}, validation {row['validation_loss']:.3g}"
        self.log(f"epoch {engine.state.epoch}/{self.training.epochs}: {self.message}, {row['seconds']:.1f} s")
