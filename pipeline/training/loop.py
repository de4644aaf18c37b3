"""Training of one trial by an Ignite engine."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ...networks import Network, ObjectiveTerms
from ..cohorts.preparation import Prepared, training_loader
from ..settings.schema import TrialSettings
from .checkpoint import TrainingState, copy_weights, has_checkpoint
from .conditions import Conditions, impose
from .handlers import PenaltyWarmUpHandler, ProgressHandler
from .history import HistoryHandler
from .parts import build_averaging, build_model, build_optimizer, build_schedule, build_training_objective
from .start import take_start
from .step import build_step, with_clean
from .weight_map import check_weight_map, weight_map


def train(
    settings: TrialSettings,
    prepared: Prepared,
    folder: Path,
    device: torch.device,
    progress: Callable[[int, int, str], None] | None = None,
    log: Callable[[str], None] | None = None,
) -> Network:
    """Train, or resume from ``folder/checkpoint.pt``, and return the network with the selected weights.

    Args:
        settings: the trial.
        prepared: its data.
        folder: gets ``checkpoint.pt`` and ``history.parquet``, written atomically after every epoch.
        device: the device to compute on.
        progress: called during training with (steps done, total steps, message).
        log: called with one line per epoch.

    Raises:
        TrialFailed: the loss is not finite.
        InputError: the checkpoint is damaged or cannot be written.
    """
    check_weight_map(settings.objective, prepared)
    model = build_model(settings)
    if not has_checkpoint(folder):
        take_start(settings, model, prepared, log or (lambda line: None))
    model.to(device)
    # two objectives: λ of the first may still warm up, the second always has the final λ
    objective, whole_objective = (build_training_objective(settings).to(device) for _ in range(2))
    optimizer = build_optimizer(settings, model)
    schedule = build_schedule(settings, optimizer)
    averaging = build_averaging(settings, model)
    optimization = {"optimizer": optimizer, "schedule": schedule, **({"average": averaging} if averaging else {})}
    measured = averaging.average if averaging else model
    state = TrainingState.resume(folder, settings, model, optimization)
    take_step = build_step(settings, model, objective, optimizer)
    conditions = Conditions.of(settings)

    def step(engine: Engine, batch: dict[str, Tensor]) -> ObjectiveTerms:
        moving, fixed = (with_clean(batch, key).to(device, non_blocking=True) for key in ("moving", "fixed"))
        weights = weight_map(settings.objective, batch.get("fixed_label"), device)
        given: dict[str, Tensor] = {}
        if conditions is not None:
            given["code"] = impose(conditions.of_step(engine.state.iteration), model, objective)
        return take_step(moving, fixed, *([] if weights is None else [weights]), **given)

    trainer = Engine(step)
    trainer.logger.setLevel(logging.CRITICAL)  # errors are raised; Ignite would log them a second time
    epochs, steps = settings.training.epochs, settings.training.steps_per_epoch
    warm_up = settings.training.penalty_warmup * epochs * steps
    PenaltyWarmUpHandler(objective, whole_objective.weight, warm_up).attach(trainer)
    if averaging:
        averaging.attach(trainer)
    HistoryHandler(state, settings, prepared, measured, whole_objective).attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())
    # so that a trial killed at any moment loses at most one epoch
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: state.save(folder, settings, model, optimization))
    ProgressHandler(state, settings.training, progress, log).attach(trainer)

    if state.epoch < epochs:
        loader = training_loader(prepared, settings, state.epoch + 1, pin_memory=device.type == "cuda")
        trainer.load_state_dict({"epoch": state.epoch, "max_epochs": epochs, "epoch_length": steps})
        trainer.run(loader, max_epochs=epochs, epoch_length=steps)
    model.load_state_dict(state.best if settings.training.selection == "best" else copy_weights(measured))
    return model.eval()
