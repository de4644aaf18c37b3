"""Run training steps and forward passes: of the official VxmDense and our network, or of two networks of ours."""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from official_voxelmorph import import_voxelmorph, official_network
from smoothmorph.networks import from_official, to_official
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.training.conditions import Conditions, impose
from smoothmorph.pipeline.training.parts import build_model, build_objective, build_optimizer, build_training_objective
from smoothmorph.pipeline.training.step import autocast, build_step

from .sides import Case, Place, Sides

LAMBDA, LOSS_MULT = 0.01, 2.0
_SIDE = 16  # side length of the tiny grids


def benchmark_settings(case: Case, precision: str, **sections: dict[str, Any]) -> TrialSettings:
    """Return the trial settings of a case."""
    content = {
        "cohort": {"spatial_dims": len(case.shape)},
        "objective": {"lambda": LAMBDA, "multiplier": LOSS_MULT},
        "training": {"precision": "bfloat16" if precision == "bfloat16" else "float32"},
    }
    for section, values in sections.items():
        content[section] = content.get(section, {}) | values
    return parse(TrialSettings, content, "benchmark")


def training_steps(case: Case, place: Place, precision: str) -> Sides:
    """Run a whole step as voxelmorph's ``scripts/torch/train.py``: forward, MSE + λ · 2 · L2, backward, Adam."""
    settings = benchmark_settings(case, precision)
    network, model, moving, fixed = _networks(case, place, precision, settings)
    losses, optimizer = import_voxelmorph().losses, torch.optim.Adam(network.parameters(), lr=1e-4)
    objective = build_objective(settings).to(place.device)
    step = build_step(settings, model, objective, build_optimizer(settings, model))

    def official() -> list[Tensor]:
        warped, velocity = network(moving, fixed)
        if moving.ndim == 5:
            penalty = losses.Grad("l2", loss_mult=LOSS_MULT).loss(None, velocity)
        else:  # voxelmorph 0.2's Grad is 3-D only; this is the same formula per axis
            penalty = LOSS_MULT * sum(velocity.diff(dim=axis).square().mean() for axis in (2, 3)) / 2
        loss = losses.MSE().loss(fixed, warped) + LAMBDA * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return [warped, velocity, loss]

    def ours() -> Any:
        return step(moving, fixed)

    def results() -> list[tuple[Tensor, Tensor]]:
        with torch.no_grad(), autocast(settings, place.device):
            registration = model(moving, fixed)
        own, theirs = [registration.warped, registration.velocity, ours().loss], official()
        return [*zip(own, theirs, strict=True), *_gradients(network, model)]

    return Sides(official, ours, results)


def conditional_steps(kind: str, case: Case, place: Place, precision: str) -> Sides:
    """Run a step of an ordinary network ("official") and of one for every λ of three penalties ("ours").

    Args:
        kind: how λ enters the network, see ``objective.condition.kind``.
        case, place, precision: as of the other cases.
    """
    ranges = {"penalties": ["l1", "l2", "bending-hessian"], "lambda": [0.001, 1.0], "kind": kind}
    moving, fixed = _images(_shape(case, place)).to(place.device)
    number = count(1)

    def step_of(settings: TrialSettings) -> Callable[[], Any]:
        model = build_model(settings).to(place.device)
        objective, conditions = build_training_objective(settings).to(place.device), Conditions.of(settings)
        step = build_step(settings, model, objective, build_optimizer(settings, model))
        if conditions is None:
            return lambda: step(moving, fixed)
        return lambda: step(moving, fixed, code=impose(conditions.of_step(next(number)), model, objective))

    return Sides(
        step_of(benchmark_settings(case, precision)),
        step_of(benchmark_settings(case, precision, objective={"condition": ranges})),
    )


def forward_passes(case: Case, place: Place, precision: str) -> Sides:
    """Compute the warped image and the full-resolution displacement without gradients."""
    network, model, moving, fixed = _networks(case, place, precision, benchmark_settings(case, precision))
    for module in (network, model):
        module.eval()

    def official() -> list[Tensor]:
        with torch.no_grad():
            return network(moving, fixed, registration=True)

    def ours() -> list[Tensor]:
        with torch.no_grad():
            registration = model(moving, fixed)
        return [registration.warped, registration.displacement]

    return Sides(official, ours, lambda: list(zip(ours(), official(), strict=True)))


def _networks(case: Case, place: Place, precision: str, settings: TrialSettings) -> tuple[Any, Any, Tensor, Tensor]:
    """Make the official and our network with equal weights (fields of about a voxel), and two smooth images."""
    shape = _shape(case, place)
    torch.manual_seed(0)
    official = official_network(shape)
    torch.nn.init.normal_(official.flow.weight, std=5.0)
    ours = build_model(settings)
    ours.load_state_dict(from_official(official.state_dict()).state_dict())
    form = {"device": place.device, "dtype": torch.float64 if precision == "float64" else torch.float32}
    moving, fixed = _images(shape).to(**form)
    return official.to(**form), ours.to(**form), moving, fixed


def _shape(case: Case, place: Place) -> tuple[int, ...]:
    return tuple(_SIDE for _ in case.shape) if place.quick else case.shape


def _images(shape: tuple[int, ...]) -> Tensor:
    """Two smooth images: (2, 1, 1, *shape)."""
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    coarse = torch.rand(2, 1, *[length // 8 for length in shape], generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, shape, mode=mode)[:, None]


def _gradients(network: Any, model: Any) -> list[tuple[Tensor, Tensor]]:
    """Pair the gradients of all parameters, ours in the official order and layout."""
    holder = from_official(network.state_dict()).to(network.flow.weight.dtype)
    holder.load_state_dict({name: parameter.grad for name, parameter in model.named_parameters()})
    ours = to_official(holder)
    return [(ours[name], parameter.grad.cpu()) for name, parameter in network.named_parameters()]
