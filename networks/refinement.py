"""Instance optimization: fine-tune the network's field for one pair of images.

Balakrishnan et al., IEEE TMI 2019, Section III-C ("VoxelMorph ... instance-specific optimization").
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .objective.objective import Objective
from .voxelmorph import Registration, VoxelMorph


def has_converged(values: Tensor, tolerance: float, window: int) -> Tensor:
    """Which optimizations are done: the stopping rule of refinement and of :mod:`.coarse_to_fine`.

    An optimization is done when its lowest value fell by no more than ``tolerance`` times itself over the last
    ``window`` evaluations.

    Args:
        values: (S, B), the objectives of B optimizations at S evaluations, in order.
        tolerance: a share of the objective, 0 or more; 0 ends what does not fall at all.
        window: evaluations, 1 or more; before so many nothing is done.

    Returns:
        (B,), boolean.
    """
    if len(values) <= window:
        return torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
    before, now = values[:-window].amin(0), values.amin(0)
    return before - now <= tolerance * now.abs()


class Refinement(NamedTuple):
    """The ``registration`` with the lowest objective, and the objective at every step, ``losses``.

    ``losses[0]`` belongs to the starting field, usually the network's.
    """

    registration: Registration
    losses: list[float]

    @property
    def gained(self) -> float:
        """How far the objective fell below that of the starting field; never negative."""
        return self.losses[0] - min(self.losses)


def refine(
    network: VoxelMorph,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int,
    learning_rate: float = 0.05,
    report: Callable[[int, int, str], None] | None = None,
    weight_map: Tensor | None = None,
    tolerance: float | None = None,
    window: int = 10,
) -> Refinement:
    """Fine-tune the network's velocity field for one pair by gradient descent (Adam). The network does not change.

    The velocity is optimized on the model's own grid, so a diffeomorphic model stays diffeomorphic.

    Args:
        network: predicts the first velocity, and turns every velocity into a registration.
        objective: similarity + λ · penalty, usually the one that the network was trained with.
        moving, fixed: images (1, 1, *spatial).
        steps: number of optimization steps; 0 returns the network's registration.
        learning_rate: Adam's learning rate, in voxels of the velocity's grid.
        report: called at every step with (steps done, steps, the objective as text).
        weight_map: (1, 1, *spatial), a factor on the penalty for every voxel; see :meth:`Objective.forward`.
        tolerance, window: end earlier, by :func:`has_converged`; None takes all steps.

    Returns:
        The best registration found, detached. It is never worse than the network's.
    """
    network = network.eval()
    with torch.no_grad():
        velocity = network(moving, fixed).velocity
        backward = network(fixed, moving).velocity if objective.both_directions else None
    options: dict[str, Any] = {"report": report, "weight_map": weight_map, "backward": backward}
    options |= {"tolerance": tolerance, "window": window}
    return refine_field(network.register_with, velocity, objective, moving, fixed, steps, learning_rate, **options)


def refine_field(
    register: Callable[[Tensor, Tensor], Registration],
    start: Tensor,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int,
    learning_rate: float = 0.05,
    report: Callable[[int, int, str], None] | None = None,
    weight_map: Tensor | None = None,
    backward: Tensor | None = None,
    tolerance: float | None = None,
    window: int = 10,
) -> Refinement:
    """Fine-tune any field for one pair, as :func:`refine` does with a network's.

    Args:
        register: computes the registration from (field, moving).
        start: the field to start from, (1, D, *grid) in voxels.
        objective, moving, fixed, steps, learning_rate, report, weight_map, tolerance, window: see :func:`refine`.
        backward: field of the fixed to the moving image to start from, if the objective is on both directions. Both
            fields are then optimized together, for the mean objective of both directions, and the result has its
            ``inverse_displacement``. None: minus ``start``.

    Returns:
        The best registration found, detached. It is never worse than that of ``start``.
    """
    both = objective.both_directions
    if both:  # a batch of two: moving to fixed, and fixed to moving
        start = torch.cat([start, -start if backward is None else backward])
    images = torch.cat([moving, fixed]) if both else moving
    velocity = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([velocity], lr=learning_rate)
    best, losses = velocity.detach().clone(), []
    for done in range(steps + 1):
        with torch.enable_grad():
            found = register(velocity, images)
            terms = objective.of_both(found, moving, fixed, weight_map) if both else objective(found, fixed, weight_map)
        loss = terms.loss
        losses.append(float(loss.detach()))
        if losses[-1] <= min(losses):
            best = velocity.detach().clone()
        if report is not None:
            report(done, steps, f"objective {losses[-1]:.5f}")
        ended = tolerance is not None and bool(has_converged(torch.tensor(losses)[:, None], tolerance, window))
        if done == steps or ended or not torch.isfinite(loss):
            break
        (velocity.grad,) = torch.autograd.grad(loss, [velocity])
        optimizer.step()
    with torch.no_grad():
        found = register(best, images)
    if both:
        inverse = found.displacement[1:]
        found = Registration(found.warped[:1], found.displacement[:1], found.velocity[:1], inverse)
    return Refinement(found, losses)
