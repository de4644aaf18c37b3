"""Ignite handlers of the training engine: history, validation and selection, checkpoint, progress."""

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ..networks import Objective, ObjectiveTerms, VoxelMorph
from ..transforms.errors import InputError, one_line
from .config import TrainingSettings, TrialSettings
from .files import write_atomically

Weights = dict[str, Tensor]


@dataclass
class TrainingState:
    """What a trial knows after an epoch, and all that resuming needs beside the optimizer and its schedule."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)

    @classmethod
    def resume(
        cls, folder: Path, settings: TrialSettings, model: VoxelMorph, optimization: Mapping[str, Any]
    ) -> "TrainingState":
        """The state in ``folder/checkpoint.pt``, loaded into the model and, by name, into what optimizes it.

        A fresh one without that file. ``history.parquet`` is written anew from it.

        Raises:
            InputError: the file is damaged or belongs to another configuration.
        """
        path = folder / "checkpoint.pt"
        if not path.exists():
            return cls()
        advice = "delete it to train this trial from the beginning"
        device = next(model.parameters()).device
        try:
            saved = torch.load(path, map_location=device, weights_only=True)
            if saved.pop("identity") != json.dumps(settings.identity(), sort_keys=True):
                raise InputError(f"{path} belongs to another configuration; {advice}.")
            for name, part in optimization.items():
                part.load_state_dict(saved.pop(name))
            state = cls(**saved)
            model.load_state_dict(state.last)
        except InputError:
            raise
        except Exception as error:  # torch and pickle raise many kinds for a damaged file
            raise InputError(f"{path} is damaged ({one_line(error)}); {advice}.") from None
        state._write_history(folder)  # somebody may have deleted it
        return state

    def save(self, folder: Path, settings: TrialSettings, model: VoxelMorph, optimization: Mapping[str, Any]) -> None:
        """Write ``checkpoint.pt`` and ``history.parquet``, each atomically."""
        self.last = _copy(model)
        content: dict[str, Any] = {
            "identity": json.dumps(settings.identity(), sort_keys=True),
            **{name: part.state_dict() for name, part in optimization.items()},
            **vars(self),
        }
        # The checkpoint last: killed between the two, a trial repeats the epoch and writes the same history again.
        self._write_history(folder)
        serialized = io.BytesIO()  # onto a full disk, torch.save itself raises RuntimeError
        torch.save(content, serialized)
        write_atomically(folder / "checkpoint.pt", lambda path: path.write_bytes(serialized.getbuffer()))

    def _write_history(self, folder: Path) -> None:
        write_atomically(folder / "history.parquet", pd.DataFrame(self.history).to_parquet)

    def selected(self, selection: str) -> Weights:
        """The weights that are measured: of the lowest validation loss, or the last."""
        return self.best if selection == "best" else self.last


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
            self.state.best = _copy(self.model)


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
    """Tells how far training is: every few steps to ``report``, every epoch to ``log``."""

    def __init__(
        self,
        state: TrainingState,
        training: TrainingSettings,
        report: Callable[[int, int, str], None] | None,
        log: Callable[[str], None] | None,
    ) -> None:
        self.state, self.training = state, training
        self.report = report or (lambda *_: None)
        self.log = log or (lambda _: None)
        self.message = ""

    def attach(self, engine: Engine) -> None:
        every = max(self.training.steps_per_epoch // 10, 1)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=every), self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)

    def _step(self, engine: Engine) -> None:
        total = self.training.epochs * self.training.steps_per_epoch
        self.report(engine.state.iteration, total, self.message)

    def _epoch(self, engine: Engine) -> None:
        row = self.state.history[-1]
        self.message = f"loss {row['train_loss']:.3g}, validation {row['validation_loss']:.3g}"
        self.log(f"epoch {engine.state.epoch}/{self.training.epochs}: {self.message}, {row['seconds']:.1f} s")


def _copy(model: VoxelMorph) -> Weights:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}
