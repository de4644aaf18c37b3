"""One row per (trial, test pair), and a few pairs kept as pictures. Figures and reports read these, never a model."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...networks import Objective, Registration, VoxelMorph
from ...networks.displacement_network import check_finite
from ...transforms import InputError, warp
from ..cohorts.cohort import Sample
from ..cohorts.preparation import Prepared
from ..settings.schema import TrialSettings
from ..training.loop import TrialFailed, autocast, build_objective
from .finished_pairs import FinishedPairs
from .measured_pair import LabelMap, MeasuredPair
from .vocabulary import METRICS, MetricEntry

EXAMPLES = 3  # test pairs whose images and fields are kept


Registrar = Callable[[Sample, Sample], tuple[Registration, float]]
"""(moving, fixed) -> their registration, its parts on the CPU in float32, and the seconds that it took."""


def evaluate(
    register: Registrar,
    settings: TrialSettings,
    prepared: Prepared,
    progress: Callable[[int, int, str], None] | None = None,
    slow: bool = True,
    finished: FinishedPairs | None = None,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Measure every test pair, before and after registration.

    Args:
        register: the trained network (see `by_network`) or a baseline.
        settings: the trial.
        prepared: its data.
        progress: called with (pairs done, pairs, message).
        slow: also measure what takes longer than all the rest.
        finished: where pairs are kept one by one, for a slow method; those that are there are not measured again.

    Returns:
        rows, one per test pair, and the examples: ``moving``, ``fixed``, ``warped``
        (P, H, W), ``displacement`` (P, 2, H, W) and ``velocity`` (P, 2, h, w) in voxels of their own grid,
        ``moving_id`` and ``fixed_id``; of 3-D images the middle coronal slice with the components in its plane.
    """
    trial = {"trial": settings.trial_id(prepared.fingerprint), **settings.columns()}
    trained = settings.model.trains
    objective = build_objective(settings) if trained else None
    metrics = METRICS.measured(settings.objective.similarity if trained else None, slow)
    cohort = prepared.cohort
    rows, examples = [], []
    for index, (moving_id, fixed_id) in enumerate(prepared.test_pairs):
        about = {**trial, "moving": moving_id, "fixed": fixed_id}
        about |= {"moving_group": cohort[moving_id].group, "fixed_group": cohort[fixed_id].group}
        kept = finished.read(index, about) if finished is not None else None
        if kept is None:
            moving, fixed = prepared.samples[moving_id], prepared.samples[fixed_id]
            registration, seconds = register(moving, fixed)
            names = prepared.cohort.label_names
            kept = {**about, **_measure(metrics, objective, names, moving, fixed, registration, seconds)}, {}
            if index < EXAMPLES:
                kept[1].update(_example(moving, fixed, registration), moving_id=moving_id, fixed_id=fixed_id)
            if finished is not None:
                finished.write(index, *kept)
        rows.append(kept[0])
        examples += [kept[1]] if kept[1] else []
        if progress is not None:
            progress(index + 1, len(prepared.test_pairs), f"{kept[0]['seconds']:.2g} s a pair")
    return pd.DataFrame(rows), {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def by_network(model: VoxelMorph, settings: TrialSettings, device: torch.device) -> Registrar:
    """Registers with a network on ``device``; the seconds are the network's alone.

    It raises TrialFailed for a displacement that is not finite.
    """
    model = model.to(device).eval()

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
        parts = (registration.warped, registration.displacement, registration.velocity)
        return Registration(*(part.float().cpu() for part in parts)), seconds

    return register


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _measure(
    metrics: Sequence[MetricEntry],
    objective: Objective | None,
    names: Mapping[int, str],
    moving: Sample,
    fixed: Sample,
    registration: Registration,
    seconds: float,
) -> dict[str, float]:
    """The row of one pair: before registration, as ``dice_before`` and ``dice_before/left``, and after."""
    spacing = fixed["spacing"]
    landmarks = (moving["landmarks"], fixed["landmarks"])
    shared: dict[str, Any] = {"spacing": spacing, "landmarks": None if None in landmarks else landmarks}
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
        labels=labels[1], objective=objective, seconds=seconds, **shared,
    )  # fmt: skip
    return {"_before/".join(name.split("/", 1)) if "/" in name else f"{name}_before": value
            for name, value in before.items()} | after.measure(metrics)  # fmt: skip


def _example(moving: Sample, fixed: Sample, registration: Registration) -> dict[str, np.ndarray]:
    images = {"moving": moving["image"][None], "fixed": fixed["image"][None], "warped": registration.warped}
    fields = {"displacement": registration.displacement, "velocity": registration.velocity}
    in_plane = [0, -1]  # of both axes, or of three
    return {
        **{name: _coronal(image)[0].numpy() for name, image in images.items()},
        **{name: _coronal(field)[in_plane].numpy() for name, field in fields.items()},
    }


def _coronal(volume: Tensor) -> Tensor:
    """(1, C, *spatial) -> (C, H, W): the slice itself, or the middle one along the second axis."""
    return volume[0] if volume.ndim == 4 else volume[0, :, :, volume.shape[3] // 2]
