"""One step of a training: a batch is registered, the objective evaluated, the weights updated."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...networks import Network, Objective, ObjectiveTerms, VoxelMorph
from ..settings.schema import TrialSettings
from .cuda_graph import GraphedStep, Step


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
