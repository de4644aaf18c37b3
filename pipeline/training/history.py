"""The history of a training: mean terms of each epoch, over its steps and over the validation pairs."""

import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from ...networks import Network, Objective, ObjectiveTerms
from ..cohorts.preparation import Prepared, validation_loader
from ..settings.schema import TrialSettings
from .checkpoint import TrainingState, copy_weights
from .conditions import Conditions, impose
from .failure import TrialFailed
from .step import autocast, evaluate_batch
from .weight_map import weight_map

VALIDATION_BATCH = 8  # pairs, for speed only; a conditional network takes 1, because each pair has its own condition


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
    """The mean terms of the objective over the validation pairs. A conditional network gets a condition per pair."""
    device = next(model.parameters()).device
    model.eval()
    terms = []
    mapped, conditions = bool(settings.objective.weight_map.labels), Conditions.of(settings)
    size = VALIDATION_BATCH if conditions is None else 1
    loader = validation_loader(prepared, size, pin_memory=device.type == "cuda", labels=mapped)
    with torch.no_grad():
        for place, batch in enumerate(loader):
            moving, fixed = batch["moving"].to(device), batch["fixed"].to(device)
            weights = weight_map(settings.objective, batch.get("fixed_label"), device)
            code = None if conditions is None else impose(conditions.of_pair(place), model, objective)
            found = evaluate_batch(model, objective, autocast(settings, device), moving, fixed, weights, code=code)
            terms.append((len(moving), found))
    return mean_terms(terms)


def mean_terms(terms: Iterable[tuple[int, ObjectiveTerms]]) -> ObjectiveTerms:
    """The mean over all pairs, from (number of pairs in the batch, mean terms of the batch)."""
    weighted = [(count, torch.stack(list(values)).double()) for count, values in terms]
    total = torch.stack([count * values for count, values in weighted]).sum(0) / sum(count for count, _ in weighted)
    return ObjectiveTerms(*total.unbind())
