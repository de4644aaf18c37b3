"""Training of one trial by an Ignite engine. Its step and validation are in this file; handlers do the rest."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from monai.utils.misc import set_determinism
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from ...networks import ConditionalVoxelMorph, Network, Objective, ObjectiveTerms, VoxelMorph
from ..cohorts.preparation import Prepared, training_loader, validation_loader
from ..settings.schema import BACKBONE_OPTIONS, TrialSettings
from .checkpoint import TrainingState, copy_weights
from .conditions import Conditions, impose
from .cuda_graph import GraphedStep, Step
from .handlers import PenaltyWarmUpHandler, ProgressHandler, WeightAveragingHandler
from .weight_map import check_weight_map, weight_map

VALIDATION_BATCH = 8  # pairs; it only affects the speed


class TrialFailed(RuntimeError):  # noqa: N818 (the name says what happened)
    """A trial cannot give a result; the message says why. Other trials are not affected."""


def build_model(settings: TrialSettings) -> Network:
    """The network of a trial, initialized from its seed."""
    set_determinism(seed=settings.seed)
    return _network(settings)


def count_parameters(settings: TrialSettings) -> int:
    """The number of parameters of a trial's network, counted without allocating them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _network(settings).parameters())


def _network(settings: TrialSettings) -> Network:
    given = settings.model.model_dump(exclude={"method", *BACKBONE_OPTIONS})
    network = VoxelMorph(settings.cohort.spatial_dims, **given, **settings.model.options)
    condition = settings.objective.condition
    if condition.of_each is None:
        return network
    return ConditionalVoxelMorph(network, condition.of_each.ranges, condition.kind, condition.width)


def build_optimizer(settings: TrialSettings, model: Network) -> torch.optim.Optimizer:
    """Adam, which updates all parameters in one fused kernel."""
    return torch.optim.Adam(model.parameters(), lr=settings.training.learning_rate, fused=True)


def build_schedule(settings: TrialSettings, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """The learning-rate schedule over all steps of the trial.

    One-cycle (Smith and Topin, arXiv:1708.07120): a linear rise over the first 10 % of the steps, then a linear fall to
    about 0.
    """
    training = settings.training
    if training.schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    steps = training.epochs * training.steps_per_epoch
    rise = 0.1 if steps != 10 else 0.2  # torch divides by zero if the rise is exactly one step
    return OneCycleLR(
        optimizer, training.learning_rate, steps, pct_start=rise, anneal_strategy="linear", cycle_momentum=False
    )


def build_objective(settings: TrialSettings, reduction: Literal["mean", "none"] = "mean") -> Objective:
    """The objective of a trial, as the mean of a batch or for each of its samples."""
    return Objective(settings.cohort.spatial_dims, **settings.objective.arguments(), reduction=reduction)


def build_training_objective(settings: TrialSettings) -> Objective:
    """The objective of the training; of a conditional network, the sum of its penalties, with a λ of 1 at first."""
    ranges = settings.objective.condition.of_each
    if ranges is None:
        return build_objective(settings)
    arguments = {**settings.objective.arguments(), "penalty": "+".join(ranges.names), "weight": 1.0}
    return Objective(settings.cohort.spatial_dims, **arguments)


def build_averaging(settings: TrialSettings, model: Network) -> WeightAveragingHandler | None:
    """The moving average of the weights of ``model``, if the trial uses one."""
    decay = settings.training.weight_averaging
    return None if decay is None else WeightAveragingHandler(model, decay)


def build_step(settings: TrialSettings, model: Network, objective: Objective, optimizer: torch.optim.Optimizer) -> Step:
    """The training step for images on the model's device; in 2-D on a GPU it is replayed as a CUDA graph.

    3-D steps are not: they keep a GPU busy anyway, and long 3-D trainings with a graph have not been checked. Nor are
    those of conditional networks, whose penalty changes from step to step.
    """
    device = next(model.parameters()).device
    step = partial(
        training_step, model, objective, optimizer, autocast(settings, device),
        both_directions=settings.training.both_directions, gradient_clipping=settings.training.gradient_clipping,
    )  # fmt: skip
    recorded = device.type == "cuda" and settings.cohort.spatial_dims == 2 and isinstance(model, VoxelMorph)
    return GraphedStep(step, objective, optimizer) if recorded else step


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
    model = build_model(settings).to(device)
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


def training_step(
    model: Network,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    precision: torch.autocast,
    moving: Tensor,
    fixed: Tensor,
    weights: Tensor | None = None,
    both_directions: bool = False,
    gradient_clipping: float | None = None,
    code: Tensor | None = None,
) -> ObjectiveTerms:
    """Register a batch (B, 1, *spatial), take one optimizer step and return the detached terms of the objective.

    Args:
        model, objective, optimizer: what is trained.
        precision: precision of the network.
        moving, fixed: the images of the batch, with a second channel if the similarity compares other images.
        weights: factor on the penalty for every voxel of ``fixed``, (B, 1, *spatial).
        both_directions: also register ``fixed`` to ``moving``; the objective is the mean over both directions.
        gradient_clipping: a gradient with a larger norm, over all parameters, is scaled down to this norm.
        code: the condition of a conditional network.
    """
    if not model.training:  # model.train() visits every module, which takes as long as ten kernels
        model.train()
    optimizer.zero_grad(set_to_none=True)
    terms = evaluate_batch(model, objective, precision, moving, fixed, weights, both_directions, code)
    terms.loss.backward()
    if gradient_clipping is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), gradient_clipping, foreach=True)
    optimizer.step()
    return ObjectiveTerms(*(term.detach() for term in terms))


def evaluate_batch(
    model: Network,
    objective: Objective,
    precision: torch.autocast,
    moving: Tensor,
    fixed: Tensor,
    weights: Tensor | None = None,
    both_directions: bool = False,
    code: Tensor | None = None,
) -> ObjectiveTerms:
    """Register a batch and evaluate the objective, in both directions if that is asked for or the objective needs it.

    The arguments are those of :func:`training_step`. The network registers the first channel of the images, and the
    similarity compares the last one: the same, or a second one.
    """
    both = both_directions or objective.both_directions
    seen: Any = (moving[:, :1], fixed[:, :1], *([] if code is None else [code]))
    with precision:
        registration = model.register_both(*seen) if both else model(*seen)
    if moving.shape[1] > 1:
        moving, fixed = moving[:, 1:], fixed[:, 1:]
        compared = torch.cat([moving, fixed]) if both else moving
        registration = registration._replace(warped=model.warp(compared, registration.displacement))
    if both:
        return objective.of_both(registration, moving, fixed, weights)
    return objective(registration, fixed, weights)


def with_clean(batch: Mapping[str, Tensor], key: str) -> Tensor:
    """The images of a batch (B, 1, *spatial), with the clean ones that the similarity compares as a second channel."""
    clean = f"{key}_clean"
    return torch.cat([batch[key], batch[clean]], dim=1) if clean in batch else batch[key]


def autocast(settings: TrialSettings, device: torch.device) -> torch.autocast:
    """The autocast context of the network; warping, integration and losses keep float32 even within it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.training.precision == "bfloat16")


def mean_terms(terms: Iterable[tuple[int, ObjectiveTerms]]) -> ObjectiveTerms:
    """The mean over all pairs, from (number of pairs in the batch, mean terms of the batch)."""
    weighted = [(count, torch.stack(list(values)).double()) for count, values in terms]
    total = torch.stack([count * values for count, values in weighted]).sum(0) / sum(count for count, _ in weighted)
    return ObjectiveTerms(*total.unbind())


class HistoryHandler:
    """Adds a row to the history after every epoch: the mean terms over its steps and over the validation pairs.

    It also keeps the weights with the lowest validation loss. It does not wait for the device within an epoch.

    Args:
        state: gets the rows and the weights.
        settings, prepared: the trial and its data.
        model: the network to evaluate: the one that is trained, or the average of its weights.
        objective: the objective with the final λ, for the validation pairs.

    Raises:
        TrialFailed: a mean loss is not finite.
    """

    def __init__(
        self, state: TrainingState, settings: TrialSettings, prepared: Prepared, model: Network, objective: Objective
    ) -> None:
        self.state, self.settings, self.prepared = state, settings, prepared
        self.model, self.objective = model, objective
        self.terms: list[Tensor] = []
        self.started = 0.0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _start(self, engine: Engine) -> None:
        self.terms, self.started = [], time.perf_counter()

    def _keep(self, engine: Engine) -> None:
        terms: Any = engine.state.output  # the step's ObjectiveTerms
        self.terms.append(torch.stack(list(terms)))

    def _end(self, engine: Engine) -> None:
        epoch, state = engine.state.epoch, self.state
        trained = self._finite(ObjectiveTerms(*torch.stack(self.terms).double().mean(0)), epoch, "train")
        seconds = time.perf_counter() - self.started
        terms = validate(self.settings, self.prepared, self.model, self.objective)
        validated = self._finite(terms, epoch, "validation")
        state.epoch = epoch
        state.history.append({"epoch": epoch, **trained, "seconds": seconds, **validated})
        if validated["validation_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = validated["validation_loss"], epoch
            state.best = copy_weights(self.model)

    def _finite(self, terms: ObjectiveTerms, epoch: int, name: str) -> dict[str, float]:
        if not math.isfinite(terms.loss):
            raise TrialFailed(
                f"the loss is not finite in epoch {epoch} (λ = {self.settings.objective.weight:g}, learning rate "
                f"{self.settings.training.learning_rate:g}): training diverged; lower the learning rate or λ."
            )
        return {f"{name}_{part}": float(value) for part, value in terms._asdict().items()}


def validate(settings: TrialSettings, prepared: Prepared, model: Network, objective: Objective) -> ObjectiveTerms:
    """The mean terms of the objective over the validation pairs. A conditional network gets a condition per batch."""
    device = next(model.parameters()).device
    model.eval()
    terms = []
    mapped, conditions = bool(settings.objective.weight_map.labels), Conditions.of(settings)
    loader = validation_loader(prepared, VALIDATION_BATCH, pin_memory=device.type == "cuda", labels=mapped)
    with torch.no_grad():
        for place, batch in enumerate(loader):
            moving, fixed = batch["moving"].to(device), batch["fixed"].to(device)
            weights = weight_map(settings.objective, batch.get("fixed_label"), device)
            code = None if conditions is None else impose(conditions.of_batch(place), model, objective)
            found = evaluate_batch(model, objective, autocast(settings, device), moving, fixed, weights, code=code)
            terms.append((len(moving), found))
    return mean_terms(terms)
