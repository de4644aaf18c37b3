"""Optimization of every test pair's own field, without a network: what the objective alone allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..settings.vocabulary import METHODS, MethodEntry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..cohorts.cohort import Sample
    from ..evaluation.rows import Found, Together
    from ..settings.schema import TrialSettings

METHODS.add(
    MethodEntry(
        name="optimization",
        title="optimization",
        meaning="each test pair's own field, optimized under the trial's objective, without a network",
        source="Nocedal and Wright, Numerical Optimization, 2006; Neuberger, Sobolev Gradients and Differential "
        "Equations, 1997",
        target=f"{__name__}:by_optimization",
        settings=(
            *("model.integration_steps", "model.integration_downsize", "model.padding_mode"),
            "objective",
            *(f"optimization.{name}" for name in ("levels", "steps", "tolerance", "window", "batch_size")),
        ),
        how="L-BFGS on the field of each pair, with Sobolev gradients, from coarse to fine on {levels} levels; on each "
        "at most {steps} evaluations of the objective, fewer where it falls by less than {tolerance:g} of itself over "
        "{window} evaluations; {batch_size} pairs at once",
        has_objective=True,
        place=0,
    )
)


def by_optimization(settings: TrialSettings, device: torch.device) -> Together:
    """A registrar that optimizes the fields of several pairs together on ``device``. Nothing is drawn at random.

    A pair's seconds are its share of the batch's. The registrar raises TrialFailed for an objective that is not finite.
    """
    import torch

    from ...networks import FieldModel, Registration, Schedule, optimize
    from ..evaluation.rows import Found, Together
    from ..training.failure import TrialFailed
    from ..training.parts import build_objective

    own, model = settings.optimization, settings.model
    meaning = FieldModel(model.integration_steps, model.integration_downsize, model.padding_mode)
    schedule = Schedule(own.levels, own.steps, own.tolerance, own.window)
    objective = build_objective(settings, reduction="none").to(device)

    def register(pairs: Sequence[tuple[Sample, Sample]]) -> list[Found]:
        moving, fixed = (torch.stack([sample["image"] for sample in side]) for side in zip(*pairs, strict=True))
        started = time.perf_counter()
        found = optimize(
            meaning, objective, moving.to(device), fixed.to(device), schedule, _weights(settings, pairs, device)
        )
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        seconds = (time.perf_counter() - started) / len(pairs)
        for (one, other), value in zip(pairs, found.values.tolist(), strict=True):
            if not torch.isfinite(torch.tensor(value)):
                raise TrialFailed(
                    f"the objective of {one['id']} to {other['id']} is not finite: intensities or λ are too large for "
                    "single precision."
                )
        parts = {name: part.cpu() for name, part in found.registration._asdict().items() if part is not None}
        own = [{name: part[place : place + 1] for name, part in parts.items()} for place in range(len(pairs))]
        return [Found(Registration(**one), seconds, int(steps)) for one, steps in zip(own, found.steps, strict=True)]

    return Together(register, own.batch_size)


def _weights(settings: TrialSettings, pairs: Sequence[tuple[Sample, Sample]], device: torch.device) -> Tensor | None:
    """The weight maps of the fixed images (B, 1, *spatial), where the objective has one."""
    import torch

    from ..training.weight_map import weight_map

    labels = [fixed["label"] for _, fixed in pairs]
    known = [label for label in labels if label is not None]
    return weight_map(settings.objective, torch.stack(known) if len(known) == len(pairs) else None, device)
