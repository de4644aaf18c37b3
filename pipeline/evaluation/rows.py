"""Evaluation of a trial: one row per test pair, and a few example pairs for figures.

Figures and reports read rows and examples only, never a model.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...networks import PENALTIES, Objective, Registration, VoxelMorph
from ...networks.displacement_network import check_finite
from ...transforms import InputError, warp
from ..cohorts.cohort import Sample
from ..cohorts.preparation import Prepared
from ..settings.schema import ObjectiveSettings, TrialSettings
from ..training.failure import TrialFailed
from ..training.parts import build_objective
from ..training.step import autocast
from ..training.weight_map import weight_map
from .finished_pairs import FinishedPairs
from .measured_pair import LabelMap, MeasuredPair
from .metrics.cost import SECONDS
from .vocabulary import METRICS, MetricEntry

EXAMPLES = 3  # number of test pairs whose images and fields are kept


Registrar = Callable[[Sample, Sample], tuple[Registration, float]]
"""(moving, fixed) -> registration (float32, on the CPU) and its duration in seconds."""


class Found(NamedTuple):
    """A pair that was registered with others: parts on the CPU in float32, its share of the seconds, steps taken."""

    registration: Registration
    seconds: float
    steps: int | None = None


@dataclass(frozen=True)
class Together:
    """A registrar of ``size`` pairs at once, of (moving, fixed) each; the last of a list may be fewer."""

    register: Callable[[Sequence[tuple[Sample, Sample]]], Sequence[Found]]
    size: int


def one_by_one(register: Registrar) -> Together:
    """A registrar of single pairs as one of batches."""
    return Together(lambda pairs: [Found(*register(*pair)) for pair in pairs], 1)


def evaluate(
    register: Registrar | Together,
    settings: TrialSettings,
    prepared: Prepared,
    progress: Callable[[int, int, str], None] | None = None,
    slow: bool = True,
    finished: FinishedPairs | None = None,
    columns: Mapping[str, Any] | None = None,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Measure every test pair, before and after registration.

    Args:
        register: the trained network (see `by_network`) or a baseline.
        settings: the trial.
        prepared: its data.
        progress: called with (pairs done, total pairs, message).
        slow: whether to measure the slow metrics, too.
        finished: keeps the pairs of a slow method one by one; a pair that is kept is not measured again.
        columns: further columns, the same in every row.

    Returns:
        rows, one per test pair, and the examples: ``moving``, ``fixed``, ``warped``
        (P, H, W), ``displacement`` (P, 2, H, W) and ``velocity`` (P, 2, h, w) in voxels of their own grid,
        ``moving_id`` and ``fixed_id``. Examples of 3-D images are the middle slice along the second axis, with
        the two field components in its plane.
    """
    together = register if isinstance(register, Together) else one_by_one(register)
    trial = {"trial": settings.trial_id(prepared.fingerprint), **settings.columns(), **(columns or {})}
    measure, cohort = _measurement(settings, prepared, slow), prepared.cohort
    rows, examples, count = [], [], len(prepared.test_pairs)
    for start in range(0, count, together.size):
        pairs = prepared.test_pairs[start : start + together.size]
        about = [
            {
                **trial,
                "moving": moving,
                "fixed": fixed,
                "moving_group": cohort[moving].group,
                "fixed_group": cohort[fixed].group,
            }
            for moving, fixed in pairs
        ]
        kept = [finished.read(start + place, own) if finished else None for place, own in enumerate(about)]
        found: Sequence[Found] = ()
        if None in kept:  # all of a batch, so that its numbers do not depend on where a trial was stopped
            found = together.register([(prepared.samples[moving], prepared.samples[fixed]) for moving, fixed in pairs])
        for place, (own, measured) in enumerate(zip(about, kept, strict=True)):
            if measured is None:
                moving, fixed = (prepared.samples[own[side]] for side in ("moving", "fixed"))
                measured = {**own, **measure(moving, fixed, found[place])}, {}
                if start + place < EXAMPLES:
                    example = _example(moving, fixed, found[place].registration)
                    measured[1].update(example, moving_id=own["moving"], fixed_id=own["fixed"])
                if finished is not None:
                    finished.write(start + place, *measured)
            rows.append(measured[0])
            examples += [measured[1]] if measured[1] else []
            if progress is not None:
                seconds = measured[0][SECONDS]
                progress(len(rows), count, "" if math.isnan(seconds) else f"{seconds:.2g} s a pair")
    return pd.DataFrame(rows), {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _measurement(
    settings: TrialSettings, prepared: Prepared, slow: bool
) -> Callable[[Sample, Sample, Found], dict[str, float]]:
    """What measures a pair of this trial."""
    own = settings.model.has_objective
    objective = build_objective(settings) if own else None
    minimized = (settings.objective.similarity, settings.objective.penalty) if own else (None, None)
    metrics = METRICS.measured(minimized[0], slow, minimized[1])
    return partial(_measure, metrics, objective, settings.objective, prepared.cohort.label_names)


def by_network(model: VoxelMorph, settings: TrialSettings, device: torch.device) -> Registrar:
    """A registrar that runs a network on ``device``. Its seconds count the network only.

    The registrar raises TrialFailed for a displacement that is not finite.
    """
    model = model.to(device).eval()
    both_directions = PENALTIES[settings.objective.penalty].both_directions

    def register(moving: Sample, fixed: Sample) -> tuple[Registration, float]:
        images = moving["image"][None].to(device), fixed["image"][None].to(device)
        _synchronize(device)
        started = time.perf_counter()
        with torch.no_grad(), autocast(settings, device):
            registration = model(*images)
        _synchronize(device)
        seconds = time.perf_counter() - started
        try:
            check_finite(registration.displacement, f"the network of {moving['id']} to {fixed['id']}")
        except InputError as error:
            raise TrialFailed(str(error)) from None
        parts = [registration.warped, registration.displacement, registration.velocity]
        if both_directions:
            with torch.no_grad(), autocast(settings, device):
                parts.append(model(*reversed(images)).displacement)
        return Registration(*(part.float().cpu() for part in parts)), seconds

    return register


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _measure(
    metrics: Sequence[MetricEntry],
    objective: Objective | None,
    objective_settings: ObjectiveSettings,
    names: Mapping[int, str],
    moving: Sample,
    fixed: Sample,
    found: Found,
) -> dict[str, float]:
    """The metrics of one pair before registration (as ``dice_before`` and ``dice_before/left``) and after it."""
    registration, spacing = found.registration, fixed["spacing"]
    landmarks = (moving["landmarks"], fixed["landmarks"])
    shared: dict[str, Any] = {"spacing": spacing, "landmarks": None if None in landmarks else landmarks}
    shared["inverse_displacement"] = registration.inverse_displacement
    if fixed["label"] is not None:
        shared["weight_map"] = weight_map(objective_settings, fixed["label"][None])
    labels: list[Any] = [None, None]
    if moving["label"] is not None and fixed["label"] is not None:
        own = moving["label"][None]
        warped = warp(own, registration.displacement, mode="nearest", padding_mode="zeros")
        ours, after, truth = (LabelMap(maps, names, spacing) for maps in (own, warped, fixed["label"][None]))
        labels = [(ours, truth), (after, truth)]
    image = fixed["image"][None]
    before = MeasuredPair(moving["image"][None], image, labels=labels[0], **shared).measure(metrics)
    after = MeasuredPair(
        registration.warped, image, registration.displacement, registration.velocity,
        labels=labels[1], objective=objective, seconds=found.seconds, steps=found.steps, **shared,
    )  # fmt: skip
    return {"_before/".join(name.split("/", 1)) if "/" in name else f"{name}_before": value
            for name, value in before.items()} | after.measure(metrics)  # fmt: skip


def _example(moving: Sample, fixed: Sample, registration: Registration) -> dict[str, np.ndarray]:
    images = {"moving": moving["image"][None], "fixed": fixed["image"][None], "warped": registration.warped}
    fields = {"displacement": registration.displacement, "velocity": registration.velocity}
    in_plane = [0, -1]  # the components in the slice, of two or of three
    return {
        **{name: _middle(image)[0].numpy() for name, image in images.items()},
        **{name: _middle(field)[in_plane].numpy() for name, field in fields.items()},
    }


def _middle(volume: Tensor) -> Tensor:
    """(1, C, *spatial) -> (C, H, W): a 2-D image itself, or the middle slice along the second axis."""
    return volume[0] if volume.ndim == 4 else volume[0, :, :, volume.shape[3] // 2]
