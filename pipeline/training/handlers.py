"""Ignite handlers of the training engine: the warm-up of λ, and progress."""

from collections.abc import Callable

from ignite.engine import Engine, Events

from ...networks import Objective
from ..settings.schema import TrainingSettings
from .checkpoint import TrainingState


class PenaltyWarmUpHandler:
    """Lets λ grow linearly from 0 to ``weight`` over the first ``steps``. It has no state that resuming would need."""

    def __init__(self, objective: Objective, weight: float, steps: float) -> None:
        self.objective, self.weight, self.steps = objective, weight, steps

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        done = engine.state.iteration - 1
        self.objective.weight = self.weight * (min(done / self.steps, 1.0) if self.steps else 1.0)


class ProgressHandler:
    """Reports the progress of training: to ``progress`` ten times per epoch, to ``log`` after every epoch."""

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
