"""Pareto fronts of accuracy against smoothness, and the hypervolume they dominate; both from moocore."""

import moocore
import numpy as np

from ...pipeline.evaluation import METRICS, SDLOGJ
from .curves import Curve
from .sample import Sample, Statistic

REFERENCE_SDLOGJ = 0.5
"""SDlogJ of the reference point, the same in every study; its error is the one before registration."""


def error(metric: str, values: np.ndarray) -> np.ndarray:
    """A metric as an error to minimize, 0 at its best value if it has one: Dice and NCC become 1 - value."""
    entry = METRICS[metric]
    away = np.asarray(values) - (entry.best or 0.0)
    return away if entry.smaller_is_better else -away


def error_name(metric: str) -> str:
    """The name of `error`: ``1 - Dice``."""
    entry = METRICS[metric]
    if entry.smaller_is_better:
        return entry.title
    return f"-{entry.title}" if entry.best is None else f"{entry.best:g} - {entry.title}"


def on_front(errors: np.ndarray, roughness: np.ndarray) -> np.ndarray:
    """Which points are not dominated: no other point is better in both. Equal points all stay."""
    return moocore.is_nondominated(np.stack([errors, roughness], axis=-1), keep_weakly=True)


def dominated_share(curve: Curve, metric: str, before: float) -> Statistic:
    """The statistic: which share of the box between (0, 0) and the reference point a curve's points dominate.

    Hypervolume (Zitzler and Thiele 1999, IEEE Transactions on Evolutionary Computation 3:257) divided by the area of
    the box: 0 for a curve no better than no registration, 1 for perfect accuracy without any change of volume.
    ``before``: the metric before registration.
    """
    worst = np.array([float(error(metric, np.array(before))), REFERENCE_SDLOGJ])

    def statistic(means: dict[str, np.ndarray]) -> np.ndarray:
        errors = error(metric, means[metric][..., curve.places])
        points = np.stack([errors, means[SDLOGJ][..., curve.places]], axis=-1) / worst
        flat = points.reshape(-1, *points.shape[-2:])
        volumes = [moocore.hypervolume(own, ref=[1.0, 1.0]) for own in flat]
        return np.array(volumes).reshape(*points.shape[:-2], 1)

    return statistic


def front_of(sample: Sample, group: list[Curve], metric: str) -> dict[int, bool]:
    """For each configuration of a group (by its line): whether it is on the common front of all penalties."""
    places = np.concatenate([curve.places for curve in group])
    means = sample.means()
    flags = on_front(error(metric, means[metric][places]), means[SDLOGJ][places])
    return dict(zip(places.tolist(), flags.tolist(), strict=True))
