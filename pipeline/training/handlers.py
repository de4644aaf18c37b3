"""Ignite handlers of the training engine: the warm-up of λ, the average of the weights, and progress."""

import copy
from collections.abc import Callable, Mapping

from ignite.engine import Engine, Events
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...networks import Network, Objective
from ..settings.schema import TrainingSettings
from .checkpoint import TrainingState, Weights, copy_weights


class PenaltyWarmUpHandler:
    """Lets λ grow linearly from 0 to ``weight`` over the first ``steps``. It has no state that resuming would need."""

    def __init__(self, objective: Objective, weight: float, steps: float) -> None:
        self.objective, self.weight, self.steps = objective, weight, steps

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        done = engine.state.iteration - 1
        self.objective.weight = self.weight * (min(done / self.steps, 1.0) if self.steps else 1.0)


class WeightAveragingHandler:
    """Keeps an exponential moving average of the weights: after step n, average ← d · average + (1 - d) · weights.

    d = min(``decay``, (1 + n) / (10 + n)), as in TensorFlow's ``ExponentialMovingAverage``: the random weights of the
    start leave the average soon. The decay depends on the step alone, so resuming needs nothing but the average.

    Attributes:
        average: the network with the averaged weights, in evaluation mode.
    """

    def __init__(self, model: Network, decay: float) -> None:
        self.model, self.decay = model, decay
        self.average = copy.deepcopy(model).eval().requires_grad_(False)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        steps = engine.state.iteration
        update = get_ema_multi_avg_fn(min(self.decay, (1 + steps) / (10 + steps)))
        update([*self.average.parameters()], [*self.model.parameters()], steps)

    def state_dict(self) -> Weights:
        return copy_weights(self.average)

    def load_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        self.average.load_state_dict(weights)


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
