"""Instance optimization: the network's field of one pair as the start of an optimization of that field itself.

Balakrishnan et al., IEEE TMI 2019, Section III-C ("VoxelMorph ... instance-specific optimization").
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .objective.objective import Objective
from .voxelmorph import Registration, VoxelMorph


class Refinement(NamedTuple):
    """The ``registration`` with the lowest objective that was met, the first of ``losses`` being the network's own."""

    registration: Registration
    losses: list[float]

    @property
    def gained(self) -> float:
        """How much lower the objective is than the network's, never negative."""
        return self.losses[0] - min(self.losses)


def refine(
    network: VoxelMorph,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int,
    learning_rate: float = 0.05,
    report: Callable[[int, int, str], None] | None = None,
) -> Refinement:
    """Lower the objective of one pair by gradient descent (Adam) on its velocity; the network's weights stay.

    The velocity is that of the model's own grid, so that a diffeomorphic model stays one.

    Args:
        network: gives the first velocity and what a velocity means.
        objective: similarity + λ · penalty, usually that of the network's training.
        moving, fixed: (1, 1, *spatial).
        steps: of the optimization; 0 returns the network's registration.
        learning_rate: of Adam, voxels of the velocity's grid.
        report: called with (steps done, steps, the objective in words).

    Returns:
        the best registration met, detached; never one worse than the network's.
    """
    network = network.eval()
    with torch.no_grad():
        velocity = network(moving, fixed).velocity
    return refine_field(network.register_with, velocity, objective, moving, fixed, steps, learning_rate, report)


def refine_field(
    register: Callable[[Tensor, Tensor], Registration],
    start: Tensor,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int,
    learning_rate: float = 0.05,
    report: Callable[[int, int, str], None] | None = None,
) -> Refinement:
    """As :func:`refine`, but from any field.

    Args:
        register: the registration that a field and the moving image mean.
        start: the field (1, D, *grid), voxels.
    """
    velocity = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([velocity], lr=learning_rate)
    best, losses = velocity.detach().clone(), []
    for done in range(steps + 1):
        with torch.enable_grad():
            loss = objective(register(velocity, moving), fixed).loss
        losses.append(float(loss.detach()))
        if losses[-1] <= min(losses):
            best = velocity.detach().clone()
        if report is not None:
            report(done, steps, f"objective {losses[-1]:.5f}")
        if done == steps or not torch.isfinite(loss):
            break
        (velocity.grad,) = torch.autograd.grad(loss, [velocity])
        optimizer.step()
    with torch.no_grad():
        return Refinement(register(best, moving), losses)
