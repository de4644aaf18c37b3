"""Instance optimization: fine-tune the network's field for one pair of images.

Balakrishnan et al., IEEE TMI 2019, Section III-C ("VoxelMorph ... instance-specific optimization").
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .descent import Register, lower_objective, registration_of
from .field_model import Registration
from .objective.objective import Objective
from .voxelmorph import VoxelMorph

MOST_STEPS = 100
"""Steps of a refinement that ends by itself, at most."""
LEAST_GAIN = 0.005
"""The ``tolerance`` of a refinement that ends by itself."""
WINDOW = 10
"""Steps over which the gain is compared with the ``tolerance``."""


class Refinement(NamedTuple):
    """The ``registration`` with the lowest objective, and the lowest objective so far at every step, ``losses``.

    ``losses[0]`` belongs to the starting field, usually the network's.
    """

    registration: Registration
    losses: list[float]

    @property
    def gained(self) -> float:
        """How far the objective fell below that of the starting field; never negative."""
        return self.losses[0] - self.losses[-1]


def refine(
    network: VoxelMorph,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int,
    report: Callable[[int, int, str], None] | None = None,
    weight_map: Tensor | None = None,
    tolerance: float | None = None,
) -> Refinement:
    """Fine-tune the network's velocity field for one pair. The network does not change.

    The velocity is optimized on the model's own grid, so a diffeomorphic model stays diffeomorphic. The method is
    L-BFGS with Sobolev gradients, see :mod:`.descent`.

    Args:
        network: predicts the first velocity, and turns every velocity into a registration.
        objective: similarity + λ · penalty, usually the one that the network was trained with.
        moving, fixed: images (1, 1, *spatial).
        steps: number of optimization steps; 0 returns the network's registration.
        report: called at every step with (steps done, steps, the objective as text).
        weight_map: (1, 1, *spatial), a factor on the penalty for every voxel; see :meth:`Objective.forward`.
        tolerance: end earlier, when the objective falls by no more than this share of it over `WINDOW` steps, see
            :func:`has_converged`; None takes all steps.

    Returns:
        The best registration found, detached. It is never worse than the network's.

    Raises:
        ValueError: as :func:`refine_field`.
    """
    trains = network.training
    network.eval()
    with torch.no_grad():
        velocity = network(moving, fixed).velocity
        backward = network(fixed, moving).velocity if objective.both_directions else None
    network.train(trains)
    options: dict[str, Any] = {"report": report, "weight_map": weight_map, "backward": backward, "tolerance": tolerance}
    return refine_field(network.register_with, velocity, objective, moving, fixed, steps, **options)


def refine_field(
    register: Register,
    start: Tensor,
    objective: Objective,
    moving: Tensor,
    fixed: Tensor,
    steps: int,
    report: Callable[[int, int, str], None] | None = None,
    weight_map: Tensor | None = None,
    backward: Tensor | None = None,
    tolerance: float | None = None,
) -> Refinement:
    """Fine-tune any field for one pair, as :func:`refine` does with a network's.

    Args:
        register: computes the registration from (field, moving).
        start: the field to start from, (1, D, *grid) in voxels.
        objective, moving, fixed, steps, report, weight_map, tolerance: see :func:`refine`.
        backward: field of the fixed to the moving image to start from, if the objective is on both directions. Both
            fields are then optimized together, for the mean objective of both directions, and the result has its
            ``inverse_displacement``. None: minus ``start``.

    Returns:
        The best registration found, detached. It is never worse than that of ``start``.

    Raises:
        ValueError: ``steps`` is below 0, or there is more than one pair.
    """
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, got {steps}")
    if moving.shape != fixed.shape or fixed.shape[:2] != (1, 1) or len(start) != 1:
        raise ValueError(
            f"one pair of images (1, 1, *spatial) and one field are refined, got {tuple(moving.shape)}, "
            f"{tuple(fixed.shape)} and {tuple(start.shape)}; `optimize` takes several pairs"
        )
    if objective.both_directions:
        start = torch.cat([start, -start if backward is None else backward], dim=1)
    losses: list[float] = []

    def tell(done: int, values: Tensor) -> None:
        losses.append(float(values))
        if report is not None:
            report(done, steps, f"objective {losses[-1]:.5f}")

    ending = steps, -1.0 if tolerance is None else tolerance, WINDOW  # no fall is below a negative share
    found = lower_objective(register, objective, moving, fixed, weight_map, start, *ending, tell)
    with torch.no_grad():
        return Refinement(registration_of(register, found.fields, moving, fixed), losses)
