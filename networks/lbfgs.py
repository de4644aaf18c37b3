"""L-BFGS for several fields at once. Every field has its own objective, step length and end.

Nocedal and Wright, Numerical Optimization, 2006: the two-loop recursion (Algorithm 7.4) with a preconditioner as the
first inverse Hessian, and backtracking by Armijo's rule (Equation 3.4). Legend of shapes: B fields, D axes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MEMORY = 8
"""Steps and gradient differences that are kept."""
SUFFICIENT = 1e-4
"""Armijo's rule: a step is accepted if it lowers the objective by this share of what the slope promises."""
SHRINK = 0.4
"""A rejected step is shortened by this factor."""
FIRST, LONGEST = 0.5, 2.0
"""Voxels: the largest component of a vector in the first step, and in any step."""
PATIENCE = 4
"""After so many rejected steps in a row, what is known of the curvature is dropped."""
LEAST_COSINE = 1e-8
"""Between a step and its gradient difference: below it, the curvature is not positive enough to be kept."""

Value = Callable[[Tensor, Tensor], Tensor]
"""(fields (b, D, *grid), their places (b,) among the B) -> their objectives (b,)."""


def has_converged(values: Tensor, tolerance: float, window: int) -> Tensor:
    """Which optimizations are done: the stopping rule.

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


class Minimum(NamedTuple):
    """The best ``fields`` (B, D, *grid), their ``values`` (B,), and the evaluations ``steps`` (B,) that each took."""

    fields: Tensor
    values: Tensor
    steps: Tensor


def minimize(
    value: Value,
    start: Tensor,
    precondition: Callable[[Tensor], Tensor] = lambda gradient: gradient,
    steps: int = 100,
    tolerance: float = 0.0,
    window: int = 10,
    report: Callable[[int, Tensor], None] | None = None,
) -> Minimum:
    """Lower the objective of every field from ``start`` on. No field ends above its start.

    Args:
        value: the objectives; differentiable.
        start: fields (B, D, *grid), voxels of their grid.
        precondition: a symmetric positive operator on gradients (b, D, *grid), about the inverse Hessian.
        steps: evaluations of objective and gradient, at most.
        tolerance, window: a field is done when :func:`has_converged` says so.
        report: called with (steps done, objectives of the fields that are not done).

    Returns:
        The field of each sample where it ended, its objective, and the steps that it took.
    """
    search = _Search(value, start, precondition)
    if report is not None:
        report(0, search.value)
    found = Minimum(start.clone(), search.value.clone(), torch.zeros(len(start), dtype=torch.long))
    for step in range(1, steps + 1):
        search.advance()
        if report is not None:
            report(step, search.value)
        done = has_converged(search.history, tolerance, window)
        if step == steps:
            done = torch.ones_like(done)
        if bool(done.any()):
            places = search.places[done]
            found.fields[places], found.values[places] = search.field[done], search.value[done]
            found.steps[places.cpu()] = step
            search.keep(~done)
        if not len(search.places):
            break
    return found


class _Search:
    """The fields that are not done, and what is known of each."""

    def __init__(self, value: Value, start: Tensor, precondition: Callable[[Tensor], Tensor]) -> None:
        self.objective, self.precondition = value, precondition
        self.places = torch.arange(len(start), device=start.device)
        self.field = start.clone()
        self.value, self.gradient = self._evaluate(self.field)
        self.history = self.value[None]
        self.moves: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverses: list[Tensor] = []
        """1 / (move · change); 0 where the pair does not count."""
        smoothed = precondition(self.gradient)
        self.scale = FIRST / _longest(smoothed).clamp_min(torch.finfo(start.dtype).tiny)
        self.rejected = torch.zeros_like(self.value)
        self.length = torch.ones_like(self.value)
        self.direction, self.slope = self._descent()
        self._bound_length(self.length > 0)

    def advance(self) -> None:
        """Try one step of every field; accepted ones are taken, the others shortened."""
        move = _each(self.length, self.direction) * self.direction
        value, gradient = self._evaluate(self.field + move)
        accepted = value <= self.value + SUFFICIENT * self.length * self.slope  # False for NaN
        taken = _each(accepted, move)
        move, change = torch.where(taken, move, 0), torch.where(taken, gradient - self.gradient, 0)
        self._remember(move, change, accepted)
        self.field = self.field + move
        self.value, self.gradient = torch.where(accepted, value, self.value), self.gradient + change
        self.history = torch.cat([self.history, self.value[None]])
        self.rejected = torch.where(accepted, 0, self.rejected + 1)
        lost = self.rejected == PATIENCE
        self.inverses = [torch.where(lost, 0, inverse) for inverse in self.inverses]
        direction, slope = self._descent()
        anew = accepted | lost
        self.direction = torch.where(_each(anew, direction), direction, self.direction)
        self.slope = torch.where(anew, slope, self.slope)
        self.length = torch.where(accepted, 1, self.length * SHRINK)
        self._bound_length(accepted)

    def keep(self, those: Tensor) -> None:
        """Go on with ``those`` (b,) fields only."""
        for name in ("places", "field", "value", "gradient", "scale", "rejected", "length", "direction", "slope"):
            setattr(self, name, getattr(self, name)[those])
        self.history = self.history[:, those]
        for known in (self.moves, self.changes, self.inverses):
            known[:] = [one[those] for one in known]

    def _evaluate(self, field: Tensor) -> tuple[Tensor, Tensor]:
        field = field.detach().requires_grad_()
        with torch.enable_grad():
            value = self.objective(field, self.places)
            (gradient,) = torch.autograd.grad(value.sum(), [field])
        return value.detach(), gradient

    def _remember(self, move: Tensor, change: Tensor, accepted: Tensor) -> None:
        product = _dot(move, change)
        counts = accepted & (product > LEAST_COSINE * (_dot(move, move) * _dot(change, change)).sqrt())
        self.moves.append(move)
        self.changes.append(change)
        self.inverses.append(torch.where(counts, 1 / torch.where(counts, product, 1), 0))
        for known in (self.moves, self.changes, self.inverses):
            del known[:-MEMORY]
        scale = product / _dot(change, self.precondition(change))
        self.scale = torch.where(counts, scale, self.scale)

    def _descent(self) -> tuple[Tensor, Tensor]:
        """The direction (b, D, *grid) of each field's step, and the slope (b,) of its objective along it."""
        direction, shares = self.gradient, []
        for move, change, inverse in zip(self.moves[::-1], self.changes[::-1], self.inverses[::-1], strict=True):
            shares.append(inverse * _dot(move, direction))
            direction = direction - _each(shares[-1], change) * change
        direction = _each(self.scale, direction) * self.precondition(direction)
        for move, change, inverse in zip(self.moves, self.changes, self.inverses, strict=True):
            share = shares.pop() - inverse * _dot(change, direction)
            direction = direction + _each(share, move) * move
        return -direction, -_dot(self.gradient, direction)

    def _bound_length(self, those: Tensor) -> None:
        bound = LONGEST / _longest(self.direction).clamp_min(torch.finfo(self.direction.dtype).tiny)
        self.length = torch.where(those, torch.minimum(self.length, bound), self.length)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """(b,): the scalar product of each field of one with that of the other."""
    return (one * other).flatten(1).sum(1)


def _longest(field: Tensor) -> Tensor:
    """(b,): the largest component of each field."""
    return field.flatten(1).abs().amax(1)


def _each(values: Tensor, fields: Tensor) -> Tensor:
    """Values (b,) in the form in which they multiply fields (b, D, *grid)."""
    return values.view(-1, *[1] * (fields.ndim - 1))
