"""The parts of a training, each built from a trial's settings."""

from typing import Literal

import torch
from monai.utils.misc import set_determinism
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from ...networks import ConditionalVoxelMorph, Network, Objective, VoxelMorph
from ..settings.model_sections import ModelSettings
from ..settings.schema import TrialSettings
from .handlers import WeightAveragingHandler


def build_model(settings: TrialSettings) -> Network:
    """The network of a trial, initialized from its seed."""
    set_determinism(seed=settings.seed)
    return _network(settings)


def count_parameters(settings: TrialSettings) -> int:
    """The number of parameters of a trial's network, counted without allocating them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _network(settings).parameters())


def _network(settings: TrialSettings) -> Network:
    given = settings.model.model_dump(exclude={"method", *ModelSettings.option_names()})
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
